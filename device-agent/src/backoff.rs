//! How long to wait before the next attempt: exponential, capped, with full jitter, never shorter than the oracle asked for.
//!
//! Full jitter (a uniform share of the exponential step) keeps many devices that lost the oracle at once from coming back at once.

use std::time::Duration;

use rand::Rng;

/// Longest Retry-After that is obeyed; a longer one is cut to it. One hour, in seconds.
pub(crate) const RETRY_AFTER_S_MAX: u64 = 3_600;

/// The steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first step, milliseconds.
    pub first_ms: u64,
    /// The longest step, milliseconds.
    pub cap_ms: u64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first_ms: 500, cap_ms: 60_000 }
    }
}

impl Backoff {
    /// The step before attempt `failures + 1`: doubled with every failure, capped, without jitter, in milliseconds.
    #[must_use]
    pub fn step_ms(&self, failures: u32) -> u64 {
        let doublings = failures.saturating_sub(1).min(32);
        self.first_ms.saturating_mul(1 << doublings).min(self.cap_ms)
    }

    /// How long to wait after `failures` failures in a row: between half the step and the step, and at least what the oracle asked for.
    pub fn wait(&self, failures: u32, retry_after_s: Option<u64>, rng: &mut impl Rng) -> Duration {
        let step_ms = self.step_ms(failures);
        let jittered_ms = rng.gen_range(step_ms / 2..=step_ms);
        let asked_ms = retry_after_s.unwrap_or(0).min(RETRY_AFTER_S_MAX) * 1_000;
        Duration::from_millis(jittered_ms.max(asked_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_double_up_to_the_cap_and_jitter_stays_inside() {
        let backoff = Backoff { first_ms: 100, cap_ms: 1_000 };
        let steps: Vec<u64> = (1..=6).map(|failures| backoff.step_ms(failures)).collect();
        assert_eq!(steps, [100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(backoff.step_ms(u32::MAX), 1_000);
        let mut rng = rand::thread_rng();
        for failures in 1..200 {
            let waited = backoff.wait(failures, None, &mut rng).as_millis() as u64;
            assert!((backoff.step_ms(failures) / 2..=backoff.step_ms(failures)).contains(&waited));
        }
        assert_eq!(backoff.wait(1, Some(7), &mut rng), Duration::from_secs(7));
        assert_eq!(backoff.wait(1, Some(u64::MAX), &mut rng), Duration::from_secs(RETRY_AFTER_S_MAX));
    }
}
