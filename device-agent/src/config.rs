//! How an agent is set up. Time comes in through [`Clock`] and waiting through [`Sleep`], so that tests and sped-up demonstrations decide.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use pulsegate_rules::Principal;

use crate::backoff::Backoff;
use crate::client::BATCH_READINGS_MAX;
use crate::queue::QUEUE_READINGS_MAX;

/// The current time, Unix milliseconds.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;
/// Waits for a time; the only way in which an agent waits.
pub type Sleep = Arc<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>;

/// How an agent is set up.
#[derive(Clone)]
pub struct AgentConfig {
    /// The oracle's address, such as `https://oracle.example`; plain `http` is taken for loopback addresses only.
    pub oracle_url: String,
    /// Whose body the device measures.
    pub patient: Principal,
    /// The deployment that the readings are for (`pulsegate_reading::audience`).
    pub audience: [u8; 32],
    /// Most readings in one request, 1 to [`BATCH_READINGS_MAX`].
    pub batch_readings: usize,
    /// Most readings on disk; more are refused with `QUEUE_FULL` and stay with the source.
    pub queue_readings_max: u64,
    /// How long to wait between attempts.
    pub backoff: Backoff,
    /// How often in a row an attempt may fail before [`crate::Agent::drain`] gives up; the queue stays.
    pub attempts_max: u32,
    /// Longest time for one request, milliseconds.
    pub request_timeout_ms: u64,
    /// How to wait.
    pub sleep: Sleep,
}

impl AgentConfig {
    /// The usual settings for an oracle, a patient and a deployment.
    #[must_use]
    pub fn new(oracle_url: impl Into<String>, patient: Principal, audience: [u8; 32]) -> Self {
        Self {
            oracle_url: oracle_url.into(),
            patient,
            audience,
            batch_readings: BATCH_READINGS_MAX,
            queue_readings_max: QUEUE_READINGS_MAX,
            backoff: Backoff::default(),
            attempts_max: 8,
            request_timeout_ms: 30_000,
            sleep: Arc::new(|time| Box::pin(tokio::time::sleep(time))),
        }
    }
}
