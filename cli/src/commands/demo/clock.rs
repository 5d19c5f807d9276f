//! The demo's time: starts where the last run stopped, passes like real time, and is pushed ahead by the stream of readings.
//!
//! Guarantees: never goes back; agent, oracle and chain all read this one clock. Must not: run ahead of the stream, or readings
//! would arrive late.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use pulsegate_ledger::Clock;

/// A clock that can be pushed ahead.
#[derive(Clone)]
pub(super) struct SimulatedClock {
    /// A moment of the demo's time and the real instant at which it was.
    anchor: Arc<Mutex<(u64, Instant)>>,
}

impl SimulatedClock {
    /// A clock that shows `start_ms` (Unix milliseconds) now.
    pub(super) fn new(start_ms: u64) -> Self {
        Self { anchor: Arc::new(Mutex::new((start_ms, Instant::now()))) }
    }

    /// The demo's time, Unix milliseconds.
    pub(super) fn now_ms(&self) -> u64 {
        let anchor = self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        now_of(*anchor)
    }

    /// Pushes the clock ahead; a moment that is past already changes nothing.
    pub(super) fn advance_to(&self, moment_ms: u64) {
        let mut anchor = self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        if moment_ms > now_of(*anchor) {
            *anchor = (moment_ms, Instant::now());
        }
    }

    /// The clock as the other parts take it.
    pub(super) fn as_clock(&self) -> Clock {
        let clock = self.clone();
        Arc::new(move || clock.now_ms())
    }
}

fn now_of((moment_ms, at): (u64, Instant)) -> u64 {
    moment_ms.saturating_add(u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_pushed_ahead_and_never_back() {
        let clock = SimulatedClock::new(1_000_000);
        clock.advance_to(5_000_000);
        let pushed = clock.now_ms();
        assert!(pushed >= 5_000_000);
        clock.advance_to(2_000_000);
        assert!(clock.now_ms() >= pushed);
    }
}
