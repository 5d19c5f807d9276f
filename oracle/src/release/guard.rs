//! What protects release from repetition: a bounded memory of nonces, and a turn-taking rate per reader.
//!
//! Nonces are remembered for twice the request's time window, after which the window itself refuses them. When the memory is full the
//! answer is "used before": refusing a fresh request costs its reader one more try, forgetting a nonce would let one be replayed.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pulsegate_rules::Principal;

use super::protocol::REQUEST_SKEW_MS_MAX;

/// Most nonces remembered.
pub(super) const NONCES_MAX: usize = 262_144;
/// Most readers whose rate is followed; when full, those at rest are forgotten.
pub(super) const READERS_MAX: usize = 65_536;
/// The rate's period.
const PERIOD: Duration = Duration::from_secs(60);

type Nonce = (Principal, [u8; 16]);

/// Nonces and rates.
pub(crate) struct Guard {
    nonces: Mutex<Nonces>,
    turns: Mutex<HashMap<Principal, Turns>>,
    per_minute_max: u32,
}

#[derive(Default)]
struct Nonces {
    seen: HashSet<Nonce>,
    /// In order of time, each with the time until which it is remembered, Unix milliseconds.
    until: VecDeque<(u64, Nonce)>,
}

/// A bucket of turns that fills evenly over a minute.
struct Turns {
    left: f64,
    at: Instant,
}

impl Guard {
    /// Allows each reader `per_minute_max` requests a minute.
    pub(crate) fn new(per_minute_max: u32) -> Self {
        Self { nonces: Mutex::default(), turns: Mutex::default(), per_minute_max }
    }

    /// Takes a nonce; `false` when it was taken before or the memory is full.
    pub(crate) fn take_nonce(&self, reader: &Principal, nonce: &[u8; 16], now_ms: u64) -> bool {
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((until, oldest)) = nonces.until.front().copied() {
            if until >= now_ms {
                break;
            }
            nonces.until.pop_front();
            nonces.seen.remove(&oldest);
        }
        let nonce = (*reader, *nonce);
        if nonces.until.len() >= NONCES_MAX || !nonces.seen.insert(nonce) {
            return false;
        }
        nonces.until.push_back((now_ms.saturating_add(2 * REQUEST_SKEW_MS_MAX), nonce));
        true
    }

    /// Takes a turn of a reader, or says after how many seconds there is one.
    ///
    /// # Errors
    /// Seconds to wait.
    pub(crate) fn take_turn(&self, reader: &Principal) -> Result<(), u32> {
        let now = Instant::now();
        let full = f64::from(self.per_minute_max);
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.len() >= READERS_MAX {
            turns.retain(|_, turns| now.duration_since(turns.at) < PERIOD);
            if turns.len() >= READERS_MAX && !turns.contains_key(reader) {
                return Err(60);
            }
        }
        let bucket = turns.entry(*reader).or_insert(Turns { left: full, at: now });
        let filled = now.duration_since(bucket.at).as_secs_f64() / PERIOD.as_secs_f64() * full;
        bucket.left = (bucket.left + filled).min(full);
        bucket.at = now;
        if bucket.left < 1.0 {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 60")]
            let seconds = ((1.0 - bucket.left) / full * PERIOD.as_secs_f64()).ceil().clamp(1.0, 60.0) as u32;
            return Err(seconds);
        }
        bucket.left -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READER: Principal = Principal([1; 32]);

    #[test]
    fn a_nonce_is_taken_once_per_reader_until_its_time_is_over() {
        let guard = Guard::new(1);
        assert!(guard.take_nonce(&READER, &[1; 16], 1_000));
        assert!(!guard.take_nonce(&READER, &[1; 16], 1_001));
        assert!(guard.take_nonce(&Principal([2; 32]), &[1; 16], 1_002));
        assert!(!guard.take_nonce(&READER, &[1; 16], 1_000 + 2 * REQUEST_SKEW_MS_MAX));
        assert!(guard.take_nonce(&READER, &[1; 16], 1_001 + 2 * REQUEST_SKEW_MS_MAX));
    }

    #[test]
    fn a_reader_that_asks_too_often_waits_and_others_do_not() {
        let guard = Guard::new(2);
        assert_eq!(guard.take_turn(&READER), Ok(()));
        assert_eq!(guard.take_turn(&READER), Ok(()));
        assert!(matches!(guard.take_turn(&READER), Err(seconds) if (1..=60).contains(&seconds)));
        assert_eq!(guard.take_turn(&Principal([2; 32])), Ok(()));
    }
}
