//! Property tests whose seed is printed, and can be given: `PULSEGATE_TEST_SEED=<64 hex digits>`.

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseResult, TestRng, TestRunner};
use pulsegate_ipfs::key_tree::GenerationSecret;

/// Runs a property on `cases` random inputs.
pub(crate) fn check<S: Strategy>(cases: u32, strategy: &S, property: impl Fn(S::Value) -> TestCaseResult) {
    let seed = match std::env::var("PULSEGATE_TEST_SEED") {
        Ok(text) => hex::decode(text).expect("PULSEGATE_TEST_SEED is hex"),
        Err(_) => GenerationSecret::random().expose().to_vec(),
    };
    eprintln!("PULSEGATE_TEST_SEED={}", hex::encode(&seed));
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    if let Err(error) = TestRunner::new_with_rng(config, rng).run(strategy, property) {
        panic!("{error}\nseed {}", hex::encode(&seed));
    }
}
