//! The random generator of the contracts' tests: its seed is fixed by `PULSEGATE_SEED`, else fresh, and always printed.
#![expect(clippy::print_stdout, reason = "a failure can be run again only with the printed seed")]

use std::hash::{BuildHasher, Hasher, RandomState};

use rand::rngs::StdRng;
use rand::SeedableRng;

/// A generator for one test; the seed is on the test's output.
pub(crate) fn seeded(test: &str) -> StdRng {
    let fresh = || RandomState::new().build_hasher().finish();
    let seed = std::env::var("PULSEGATE_SEED").map_or_else(|_| fresh(), |text| text.parse().expect("a whole number"));
    println!("{test}: PULSEGATE_SEED={seed}");
    StdRng::seed_from_u64(seed)
}
