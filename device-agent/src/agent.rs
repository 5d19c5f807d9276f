//! The agent: queue in front, oracle behind.
//!
//! What happens to a reading by the oracle's answer:
//! - `accepted` and `duplicate`: it leaves the queue.
//! - refused because of its place in the chain (`SEQUENCE_GAP`, `BROKEN_HASH_LINK`, `REPLAYED_SEQUENCE`): nothing is wrong with it. The agent
//!   asks for the oracle's head and signs what is queued anew from there.
//! - refused together with the device or its set-up (`UNKNOWN_DEVICE`, `REVOKED_DEVICE`, `WRONG_AUDIENCE`, …): everything stays queued and
//!   [`Agent::drain`] says so; somebody has to act.
//! - refused for now (the answer says after how many seconds, or the code is one of the oracle's own troubles): it stays, and is sent later.
//! - refused for good by any other code: it is set aside with the code ([`Agent::rejected`]) and never sent again. The readings after it
//!   were linked to it, so they are signed anew from the oracle's head: a refused reading never blocks the device, and the chain that the
//!   oracle anchors has no gap.

use std::path::Path;
use std::sync::Arc;

use pulsegate_reading::DeviceKey;
use pulsegate_rules::DeviceId;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::client::{Answer, BATCH_BYTES_MAX, BATCH_READINGS_MAX, Client, Failure, TryAgain};
use crate::config::{AgentConfig, Clock};
use crate::error::AgentError;
use crate::measurement::Measurement;
use crate::queue::{Queue, Rejected, Settlement};
use crate::sources::Source;

/// How often in a row the queue is signed anew without the oracle taking anything.
const RESYNCS_MAX: u32 = 3;
/// Room that a request's framing takes, bytes.
const FRAMING_BYTES: usize = 4 * BATCH_READINGS_MAX;

/// Refusals that are about a reading's place in the chain.
const CHAIN_CODES: &[&str] = &["SEQUENCE_GAP", "BROKEN_HASH_LINK", "REPLAYED_SEQUENCE"];
/// Refusals that are about the device or the set-up, whatever the reading.
const DEVICE_CODES: &[&str] =
    &["UNKNOWN_DEVICE", "REVOKED_DEVICE", "WRONG_AUDIENCE", "WRONG_PATIENT", "WRONG_SIGNATURE", "WRONG_KEY"];
/// Refusals that are the oracle's own trouble and pass.
const PASSING_CODES: &[&str] = &[
    "PATIENT_BACKLOG_FULL",
    "LEDGER_UNAVAILABLE",
    "LOG_UNAVAILABLE",
    "LOG_FULL",
    "QUEUE_FULL",
    "OVERLOADED",
    "TIMED_OUT",
    "TOO_MANY_REQUESTS",
];

/// What [`Agent::drain`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Readings that the oracle accepted.
    pub accepted: u64,
    /// Readings that it had already.
    pub duplicates: u64,
    /// Readings that were set aside.
    pub rejected: u64,
    /// How often the queue was signed anew.
    pub resyncs: u64,
    /// Requests that failed and were tried again.
    pub retries: u64,
    /// Readings still queued.
    pub remaining: u64,
}

/// A device's agent.
pub struct Agent {
    key: Arc<DeviceKey>,
    queue: Arc<Queue>,
    client: Client,
    config: AgentConfig,
    clock: Clock,
    draining: tokio::sync::Mutex<StdRng>,
}

/// What the answers to one request ask for.
#[derive(Default)]
struct Outcome {
    settlement: Settlement,
    accepted: u64,
    duplicates: u64,
    resync: bool,
    try_again: Option<TryAgain>,
    refused: Option<AgentError>,
}

impl Agent {
    /// Opens the agent of a device in a folder of its own; makes the folder and the queue if there are none.
    ///
    /// # Errors
    /// [`AgentError::BadUrl`], [`AgentError::File`], [`AgentError::Queue`] (also when another agent uses the folder),
    /// [`AgentError::WrongQueue`].
    pub fn open(dir: &Path, key: DeviceKey, config: AgentConfig, clock: Clock) -> Result<Self, AgentError> {
        let client = Client::new(&config.oracle_url, config.request_timeout_ms)?;
        let queue = Queue::open(dir, &key, config.patient, config.audience, config.queue_readings_max)?;
        let draining = tokio::sync::Mutex::new(StdRng::from_entropy());
        Ok(Self { key: Arc::new(key), queue: Arc::new(queue), client, config, clock, draining })
    }

    /// The device's id.
    #[must_use]
    pub fn device_id(&self) -> DeviceId {
        self.key.device_id()
    }

    /// Numbers, links, signs and stores a measurement; it is on disk when this returns. Gives the number. Blocks for the disk.
    ///
    /// # Errors
    /// [`AgentError::Reading`] when the measurement is not acceptable, [`AgentError::QueueFull`], [`AgentError::Queue`].
    pub fn enqueue(&self, measurement: Measurement) -> Result<u64, AgentError> {
        self.enqueue_all(&[measurement])
    }

    /// As [`Agent::enqueue`] for several, all or none, with one write to disk. Gives the last number.
    ///
    /// # Errors
    /// As [`Agent::enqueue`].
    pub fn enqueue_all(&self, measurements: &[Measurement]) -> Result<u64, AgentError> {
        self.queue.append(&self.key, measurements, None)
    }

    /// Takes up to `limit` measurements of a source into the queue, together with the source's place, so that no crash takes one twice or
    /// leaves one out. Gives how many; 0 is the end of the source. Blocks for the disk.
    ///
    /// # Errors
    /// [`AgentError::Source`], and as [`Agent::enqueue`].
    pub fn feed(&self, source: &mut dyn Source, limit: usize) -> Result<usize, AgentError> {
        self.feed_until(source, limit, u64::MAX).map(Option::unwrap_or_default)
    }

    /// As [`Agent::feed`], but leaves measurements after `until_ms` (Unix milliseconds) for later: `None` is the end of the source, 0 means
    /// that the next one's time has not come.
    ///
    /// # Errors
    /// As [`Agent::feed`].
    pub fn feed_until(
        &self,
        source: &mut dyn Source,
        limit: usize,
        until_ms: u64,
    ) -> Result<Option<usize>, AgentError> {
        let id = source.id();
        let place = self.queue.place(&id)?;
        source.seek(place)?;
        let mut measurements = source.read(limit)?;
        if measurements.is_empty() {
            return Ok(None);
        }
        let due = measurements.iter().take_while(|measurement| measurement.measured_at_ms <= until_ms).count();
        measurements.truncate(due);
        if due > 0 {
            self.queue.append(&self.key, &measurements, Some((&id, place + due as u64)))?;
        }
        Ok(Some(due))
    }

    /// Readings that wait on disk.
    ///
    /// # Errors
    /// [`AgentError::Queue`].
    pub fn pending(&self) -> Result<u64, AgentError> {
        self.queue.len()
    }

    /// The number and hash of the last reading that was signed; 0 and zeros when there is none.
    ///
    /// # Errors
    /// [`AgentError::Queue`].
    pub fn head(&self) -> Result<(u64, [u8; 32]), AgentError> {
        self.queue.head().map(|head| (head.sequence, head.hash))
    }

    /// What the oracle refused for good, oldest first.
    ///
    /// # Errors
    /// [`AgentError::Queue`].
    pub fn rejected(&self) -> Result<Vec<Rejected>, AgentError> {
        self.queue.rejected()
    }

    /// Sends until the queue is empty, waiting between failed attempts as configured.
    ///
    /// # Errors
    /// [`AgentError::Unavailable`] after `attempts_max` failures in a row, [`AgentError::Refused`] when somebody has to act,
    /// [`AgentError::Diverged`], [`AgentError::Protocol`], [`AgentError::Queue`]. What is queued stays queued.
    pub async fn drain(&self) -> Result<Progress, AgentError> {
        let mut rng = self.draining.lock().await;
        let mut progress = Progress::default();
        let (mut failures, mut resyncs, mut size) = (0, 0, self.config.batch_readings.clamp(1, BATCH_READINGS_MAX));
        loop {
            let queue = Arc::clone(&self.queue);
            let batch = blocking(move || queue.oldest(size, BATCH_BYTES_MAX - FRAMING_BYTES)).await?;
            if batch.is_empty() {
                progress.remaining = 0;
                return Ok(progress);
            }
            let outcome = match self.client.send(&batch).await {
                Ok(answers) => judge(&batch, answers)?,
                Err(Failure::TryAgain(again)) => Outcome { try_again: Some(again), ..Outcome::default() },
                Err(Failure::TooLarge) if batch.len() > 1 => {
                    size = (batch.len() / 2).max(1);
                    continue;
                }
                Err(Failure::TooLarge) => too_large(batch[0].0),
                Err(Failure::Refused(error)) => return Err(error),
            };
            if outcome.accepted + outcome.duplicates > 0 {
                failures = 0;
            }
            if !outcome.settlement.acknowledged.is_empty() || !outcome.settlement.rejected.is_empty() {
                resyncs = 0;
            }
            let (try_again, resync) = self.apply(outcome, &mut progress).await?;
            let mut wait = try_again;
            if resync {
                if resyncs == RESYNCS_MAX {
                    return Err(AgentError::Diverged);
                }
                match self.resync(&mut progress).await? {
                    None => (resyncs, progress.resyncs) = (resyncs + 1, progress.resyncs + 1),
                    again => wait = again,
                }
            }
            if let Some(again) = wait {
                failures += 1;
                progress.retries += 1;
                if failures >= self.config.attempts_max {
                    return Err(AgentError::Unavailable { attempts: failures, last: again.reason });
                }
                let time = self.config.backoff.wait(failures, again.retry_after_s, &mut *rng);
                tracing::debug!(wait_ms = time.as_millis(), reason = again.reason, "waiting for the oracle");
                (self.config.sleep)(time).await;
            }
        }
    }

    /// Writes down what the answers say. Gives what to wait for, and whether to ask for the head.
    async fn apply(&self, outcome: Outcome, progress: &mut Progress) -> Result<(Option<TryAgain>, bool), AgentError> {
        let Outcome { settlement, accepted, duplicates, resync, try_again, refused } = outcome;
        progress.accepted += accepted;
        progress.duplicates += duplicates;
        progress.rejected += settlement.rejected.len() as u64;
        let resync = resync || !settlement.rejected.is_empty();
        for (sequence, code, _) in &settlement.rejected {
            tracing::warn!(sequence, code, "the oracle refused a reading for good; it is set aside");
        }
        if !settlement.acknowledged.is_empty() || !settlement.rejected.is_empty() {
            let (queue, now_ms) = (Arc::clone(&self.queue), (self.clock)());
            blocking(move || queue.settle(&settlement, now_ms)).await?;
        }
        match refused {
            Some(error) => Err(error),
            None => Ok((try_again, resync)),
        }
    }

    /// Continues the chain at the oracle's head.
    async fn resync(&self, progress: &mut Progress) -> Result<Option<TryAgain>, AgentError> {
        let head = match self.client.head(&self.device_id()).await {
            Ok(head) => head,
            Err(Failure::TryAgain(again)) => return Ok(Some(again)),
            Err(Failure::TooLarge) => return Err(AgentError::Protocol { reason: "a question is not too large" }),
            Err(Failure::Refused(error)) => return Err(error),
        };
        let (queue, key) = (Arc::clone(&self.queue), Arc::clone(&self.key));
        progress.duplicates += blocking(move || queue.continue_from(&key, head)).await?;
        Ok(None)
    }
}

/// Runs work that waits for the disk away from the runtime's threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AgentError> + Send + 'static,
) -> Result<T, AgentError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or(Err(AgentError::QueueCorrupt { reason: "the runtime went down while writing" }))
}

fn too_large(sequence: u64) -> Outcome {
    let message = "The oracle takes no reading of this length.".to_owned();
    let settlement =
        Settlement { rejected: vec![(sequence, "BODY_TOO_LARGE".to_owned(), message)], ..Settlement::default() };
    Outcome { settlement, ..Outcome::default() }
}

/// What the answers ask for; see the module's text.
fn judge(batch: &[(u64, Vec<u8>)], answers: Vec<Answer>) -> Result<Outcome, AgentError> {
    let mut outcome = Outcome::default();
    for ((sequence, _), answer) in batch.iter().zip(answers) {
        match answer.status.as_str() {
            "accepted" => outcome.accepted += 1,
            "duplicate" => outcome.duplicates += 1,
            "rejected" => {
                refuse(&mut outcome, *sequence, answer);
                continue;
            }
            _ => return Err(AgentError::Protocol { reason: "a status that is not known" }),
        }
        outcome.settlement.acknowledged.push(*sequence);
    }
    // Behind a reading that has to wait, a broken chain is only the consequence.
    if outcome.try_again.is_some() && outcome.settlement.rejected.is_empty() {
        outcome.resync = false;
    }
    Ok(outcome)
}

fn refuse(outcome: &mut Outcome, sequence: u64, answer: Answer) {
    let code = answer.code.unwrap_or_else(|| "REJECTED".to_owned());
    let message = answer.message.unwrap_or_default();
    if CHAIN_CODES.contains(&code.as_str()) {
        outcome.resync = true;
    } else if DEVICE_CODES.contains(&code.as_str()) {
        outcome.refused.get_or_insert(AgentError::Refused { code, message });
    } else if answer.retry_after_s.is_some() || PASSING_CODES.contains(&code.as_str()) {
        outcome.try_again.get_or_insert(TryAgain { reason: code, retry_after_s: answer.retry_after_s });
    } else {
        outcome.settlement.rejected.push((sequence, code, message));
    }
}
