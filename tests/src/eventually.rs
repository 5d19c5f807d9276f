//! Waiting for an outcome instead of for a time: a scenario names what must become true and how long that may take.

use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

/// How often an outcome is looked at.
const POLL_EVERY: Duration = Duration::from_millis(100);

/// Polls `attempt` until it succeeds and returns what it gave.
///
/// # Panics
/// When `within` is over: with what was awaited and the last failure.
pub async fn eventually<T, E: Debug, F: Future<Output = Result<T, E>>>(
    what: &str,
    within: Duration,
    mut attempt: impl FnMut() -> F,
) -> T {
    let began = Instant::now();
    let mut ticks = tokio::time::interval(POLL_EVERY);
    loop {
        ticks.tick().await;
        match attempt().await {
            Ok(value) => return value,
            Err(error) if began.elapsed() > within => {
                panic!("{what}: not within {within:?}; the last answer was {error:?}")
            }
            Err(_) => {}
        }
    }
}
