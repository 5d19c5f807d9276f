//! The way of a reading, one file per stage: `receive → verify` before the acknowledgement, `screen → assess → seal → store → anchor` after.
//!
//! Before the acknowledgement a reading either gets a durable place in the log or an error, and nothing is remembered of it otherwise.
//! After it, every stage takes items with their checkpoint (the place in the log) and gives items with the same checkpoint; only
//! `seal` and `anchor` have effects that last, each in one transaction, so replaying a stage after a crash changes nothing.

pub(crate) mod anchor;
pub(crate) mod assess;
pub(crate) mod parking;
pub(crate) mod receive;
pub(crate) mod screen;
pub(crate) mod seal;
pub(crate) mod store;
pub(crate) mod verify;

use std::time::Duration;

use async_trait::async_trait;
use rand::Rng;

/// First pause after a failed attempt, milliseconds.
const BACKOFF_FIRST_MS: u64 = 100;
/// Longest pause between attempts, milliseconds.
const BACKOFF_MS_MAX: u64 = 15_000;

/// Something on its way, with its place in the log as the checkpoint.
pub(crate) struct Item<T> {
    /// Place in the log, from 1.
    pub(crate) position: u64,
    /// What it is by now.
    pub(crate) value: T,
}

/// One stage after the acknowledgement.
#[async_trait]
pub(crate) trait Stage {
    /// What comes in, with checkpoints.
    type Input: Send;
    /// What goes out, with the same checkpoints.
    type Output: Send;

    /// Works on everything that came in, or fails and leaves all as it was, to be tried again.
    async fn run(&mut self, input: Self::Input) -> Result<Self::Output, StageError>;
}

/// A stage could not do its work now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}")]
pub(crate) struct StageError {
    /// The cause's stable code.
    pub(crate) code: &'static str,
}

impl From<crate::log::LogError> for StageError {
    fn from(error: crate::log::LogError) -> Self {
        Self { code: error.code() }
    }
}

impl From<pulsegate_ledger::LedgerError> for StageError {
    fn from(error: pulsegate_ledger::LedgerError) -> Self {
        Self { code: error.code() }
    }
}

impl From<pulsegate_ipfs::StoreError> for StageError {
    fn from(error: pulsegate_ipfs::StoreError) -> Self {
        Self { code: error.code() }
    }
}

impl From<pulsegate_ipfs::SealError> for StageError {
    fn from(error: pulsegate_ipfs::SealError) -> Self {
        Self { code: error.code() }
    }
}

/// Runs a model's arithmetic away from the async threads. What it worked on is tried again from the log when the runtime goes down.
async fn away<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Result<T, StageError> {
    tokio::task::spawn_blocking(job).await.map_err(|_| StageError { code: "STAGE_NOT_FINISHED" })
}

/// Pauses between attempts: doubling, with jitter, bounded.
pub(crate) struct Backoff {
    next_ms: u64,
}

impl Backoff {
    /// Starts short.
    pub(crate) const fn new() -> Self {
        Self { next_ms: BACKOFF_FIRST_MS }
    }

    /// The pause before the next attempt: between half and the whole of the current step.
    pub(crate) fn next(&mut self) -> Duration {
        let step = self.next_ms;
        self.next_ms = (step * 2).min(BACKOFF_MS_MAX);
        Duration::from_millis(rand::thread_rng().gen_range(step / 2..=step))
    }

    /// Starts short again.
    pub(crate) fn reset(&mut self) {
        self.next_ms = BACKOFF_FIRST_MS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_bounded() {
        let mut backoff = Backoff::new();
        let pauses: Vec<u64> = (0..20).map(|_| u64::try_from(backoff.next().as_millis()).unwrap()).collect();
        assert!(pauses[0] <= BACKOFF_FIRST_MS);
        assert!(pauses.iter().all(|pause| *pause <= BACKOFF_MS_MAX));
        assert!(pauses[19] >= BACKOFF_MS_MAX / 2);
        backoff.reset();
        assert!(backoff.next().as_millis() <= u128::from(BACKOFF_FIRST_MS));
    }
}
