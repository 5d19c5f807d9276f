//! seal: the plaintext reading becomes a record under two locks, and is forgotten.
//!
//! Guarantees: the record is sealed to the patient's own epoch key of the generation that the chain says is current; every lock that was
//! used is kept with the record in one transaction; when that returns, the plaintext is gone. A reading whose epoch has no usable key
//! stays in the log, counted, and waits in its own place (patient, category, epoch): nothing else waits for it, not even the same
//! patient's other readings; it is tried again when the patient's directory changes.
//! Must not: keep a patient lock that was not used for [`WINDOW_IDLE_MS_MAX`], or a plaintext longer than one run.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pulsegate_detector::Verdict;
use pulsegate_ipfs::manifest::{Leaf, RecordLeaf};
use pulsegate_ipfs::record::{self, EpochShare, SealingWindow};
use pulsegate_reading::SignedReading;
use pulsegate_rules::records::BatchKind;
use pulsegate_rules::{ModelId, StreamId};
use zeroize::Zeroizing;

use super::parking::{Parked, Parking, Place, Reason};
use super::screen::Received;
use super::{Item, Stage, StageError};
use crate::context::Context;
use crate::directories::{EpochKey, Lookup};
use crate::log::{PendingLeaf, SealedEntry, ShareId};
use crate::payload::Payload;

/// Most sealing windows (streams in their hour) kept open.
pub(crate) const WINDOWS_MAX: usize = 4_096;
/// How long an unused sealing window is kept open, milliseconds of real time.
pub(crate) const WINDOW_IDLE_MS_MAX: u64 = 60_000;

/// A judged reading, still in plaintext.
pub(crate) struct JudgedReading {
    /// The reading.
    pub(crate) received: Received,
    /// What the detectors said.
    pub(crate) verdict: Verdict,
    /// One id for all models that judged.
    pub(crate) model: ModelId,
    /// Whether the verdict is anchored on its own at once.
    pub(crate) critical: bool,
}

/// A reading with its place and the key to seal it to.
type Keyed = (Item<JudgedReading>, Place, EpochKey);

/// Both locks of a stream in its hour.
struct Window {
    patient: SealingWindow,
    share: EpochShare,
    /// The epoch key that the patient's lock is to.
    public_key: [u8; 32],
    used: Instant,
}

/// The stage, with its open windows and parked readings.
pub(crate) struct Seal {
    context: Arc<Context>,
    windows: HashMap<ShareId, Window>,
    parking: Parking,
}

#[async_trait]
impl Stage for Seal {
    type Input = Vec<Item<JudgedReading>>;
    type Output = u64;

    /// Seals what has a key, parks what has none; returns how many were sealed.
    async fn run(&mut self, input: Self::Input) -> Result<u64, StageError> {
        let mut keyed = Vec::with_capacity(input.len());
        for item in input {
            let Some(place) = Place::of(&item.value.received.signed) else {
                return Err(StageError { code: "EPOCH_OVERFLOW" });
            };
            match self.lookup(&place) {
                // What came earlier to the same place goes first, so that a window's readings keep their order.
                Lookup::Ready(key) if self.parking.is_free(&place, item.position) => keyed.push((item, place, key)),
                Lookup::Missing => self.park(place, item, Reason::NoKey),
                Lookup::Ready(_) | Lookup::Pending => self.park(place, item, Reason::Busy),
            }
        }
        let outcome = self.seal(keyed).await;
        self.count_parked();
        outcome
    }
}

impl Seal {
    /// Nothing open, nothing parked.
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context, windows: HashMap::new(), parking: Parking::default() }
    }

    fn lookup(&self, place: &Place) -> Lookup {
        self.context.directories.lookup(&place.patient, place.category, place.epoch)
    }

    fn park(&mut self, place: Place, item: Item<JudgedReading>, reason: Reason) {
        let JudgedReading { verdict, model, critical, .. } = item.value;
        self.parking.park(place, item.position, Parked { verdict, model, critical }, reason);
    }

    fn count_parked(&self) {
        let parked = self.parking.without_key();
        self.context.parked.store(parked as u64, Ordering::SeqCst);
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
        self.context.metrics.parked.set(parked as f64);
    }

    /// Takes out of the parking those readings whose key is known by now, at most `limit`, oldest first.
    pub(crate) async fn unpark(&mut self, limit: usize) -> Result<Vec<Item<JudgedReading>>, StageError> {
        self.windows.retain(|_, window| window.used.elapsed() < Duration::from_millis(WINDOW_IDLE_MS_MAX));
        let directories = &self.context.directories;
        let ready = self.parking.ready(limit, |place| directories.lookup(&place.patient, place.category, place.epoch));
        self.count_parked();
        if ready.is_empty() {
            return Ok(Vec::new());
        }
        let positions: Vec<u64> = ready.iter().map(|(_, position)| *position).collect();
        let entries = self.context.log.run(move |log| log.entries_at(&positions)).await?;
        let mut entries: HashMap<u64, _> = entries.into_iter().map(|entry| (entry.position, entry)).collect();
        let mut items = Vec::with_capacity(ready.len());
        for (place, position) in ready {
            let (Some(parked), Some(entry)) = (self.parking.take(&place, position), entries.remove(&position)) else {
                continue;
            };
            let signed = SignedReading::decode(&entry.cose).map_err(|error| StageError { code: error.code() })?;
            let received = Received {
                signed,
                received_at_ms: entry.received_at_ms,
                quarantined: entry.quarantined,
                flow: entry.flow,
            };
            let Parked { verdict, model, critical } = parked;
            items.push(Item { position, value: JudgedReading { received, verdict, model, critical } });
        }
        Ok(items)
    }

    /// Opens the windows that are needed, seals, and commits records, shares and the end of the plaintexts at once. What cannot be sealed
    /// is parked and costs the others nothing; when the log fails, all of it is parked and tried again.
    async fn seal(&mut self, keyed: Vec<Keyed>) -> Result<u64, StageError> {
        if keyed.is_empty() {
            return Ok(0);
        }
        let shares = match self.open_windows(&keyed).await {
            Ok(shares) => shares,
            Err(error) => return Err(self.give_up(keyed, error)),
        };
        let (mut done, mut sealed) = (Vec::with_capacity(keyed.len()), Vec::with_capacity(keyed.len()));
        for (item, place, key) in keyed {
            let window = self.windows.get(&share_id(&place, &key));
            match window.map(|window| seal_one(window, &item)) {
                Some(Ok(entry)) => {
                    sealed.push(entry);
                    done.push((item, place, key));
                }
                failed => {
                    let code = failed.and_then(Result::err).map_or("UNUSABLE_EPOCH_KEY", |error| error.code);
                    self.context.metrics.retry("seal", code);
                    self.park(place, item, Reason::UnusableKey(key.public_key));
                }
            }
        }
        let (count, critical) = (sealed.len() as u64, sealed.iter().any(|entry| entry.critical));
        if let Err(error) = self.context.log.run(move |log| log.commit_sealed(&sealed, &shares)).await {
            return Err(self.give_up(done, error.into()));
        }
        for (_, place, _) in &done {
            self.context.backlog.remove(&place.patient);
        }
        self.context.metrics.sealed.increment(count);
        self.context.leaves_changed(BatchKind::Records).notify_one();
        if critical {
            self.context.leaves_changed(BatchKind::Critical).notify_one();
        }
        Ok(count)
    }

    /// The log failed: new shares are not on disk, so the windows that use them must go; the readings are tried again from the log.
    fn give_up(&mut self, keyed: Vec<Keyed>, error: StageError) -> StageError {
        self.windows.clear();
        for (item, place, _) in keyed {
            self.park(place, item, Reason::Busy);
        }
        error
    }

    /// Opens every reading's window whose key is usable; returns the shares that are new and must be kept with the records.
    async fn open_windows(&mut self, keyed: &[Keyed]) -> Result<Vec<(ShareId, EpochShare)>, StageError> {
        let now = Instant::now();
        let needed: HashMap<ShareId, EpochKey> =
            keyed.iter().map(|(_, place, key)| (share_id(place, key), *key)).collect();
        let mut missing: Vec<ShareId> = Vec::new();
        for (id, key) in &needed {
            match self.windows.get_mut(id) {
                Some(window) if window.public_key == key.public_key => window.used = now,
                _ => missing.push(*id),
            }
        }
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        if self.windows.len() + missing.len() > WINDOWS_MAX {
            let kept: HashSet<&ShareId> = needed.keys().collect();
            self.windows.retain(|id, _| kept.contains(id));
        }
        let ids = missing.clone();
        let known = self.context.log.run(move |log| log.shares(&ids)).await?;
        let mut fresh = Vec::new();
        for (id, share) in missing.into_iter().zip(known) {
            self.windows.remove(&id);
            let public_key = needed[&id].public_key;
            // A patient may publish bytes that are no key; that window stays closed.
            let Ok(patient) = SealingWindow::new(id.stream, id.generation, id.epoch, &public_key) else { continue };
            let share = share.unwrap_or_else(|| {
                let share = EpochShare::random();
                fresh.push((id, share.clone()));
                share
            });
            self.windows.insert(id, Window { patient, share, public_key, used: now });
        }
        Ok(fresh)
    }
}

fn share_id(place: &Place, key: &EpochKey) -> ShareId {
    let stream = StreamId::of(&place.patient, place.category);
    ShareId { stream, generation: key.generation, epoch: place.epoch }
}

fn seal_one(window: &Window, item: &Item<JudgedReading>) -> Result<SealedEntry, StageError> {
    let judged = &item.value;
    let Received { signed, received_at_ms, quarantined, .. } = &judged.received;
    let reading = signed.unverified();
    let payload = Payload {
        reading: signed.bytes().to_vec(),
        received_at_ms: *received_at_ms,
        quarantined: *quarantined,
        verdict: judged.verdict.clone(),
    };
    let plaintext = payload.encode().map_err(|error| StageError { code: error.code() })?;
    drop(Zeroizing::new(payload.reading));
    let patient = &window.patient;
    let header = patient.header(reading.device, reading.sequence);
    let block = record::seal(patient, &window.share, &header, &plaintext)?;
    let leaf = Leaf::Record(RecordLeaf {
        record: block.cid,
        stream: patient.stream(),
        generation: patient.generation(),
        epoch: patient.epoch(),
        device: reading.device,
        sequence: reading.sequence,
        link: signed.hash(),
        previous: reading.previous,
    });
    let leaf = PendingLeaf { leaf, block, model: judged.model };
    Ok(SealedEntry { position: item.position, leaf, critical: judged.critical })
}
