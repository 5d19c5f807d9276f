//! Seeds of random scenarios: fixed by `PULSEGATE_SEED`, else fresh, and always printed so that a failure can be run again.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The environment variable that fixes every seed.
pub const SEED_VARIABLE: &str = "PULSEGATE_SEED";

/// A generator for one scenario, and the seed that it prints.
///
/// # Panics
/// When the variable is set to something that is not a number.
#[must_use]
pub fn seeded(scenario: &str) -> StdRng {
    let seed = match std::env::var(SEED_VARIABLE) {
        Ok(text) => text.parse().expect("PULSEGATE_SEED is a whole number"),
        Err(_) => rand::thread_rng().r#gen(),
    };
    println!("{scenario}: {SEED_VARIABLE}={seed}");
    StdRng::seed_from_u64(seed)
}
