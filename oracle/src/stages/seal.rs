//! seal: the plaintext reading becomes a record under two locks, and is forgotten.
//!
//! Guarantees: the record is sealed to the patient's own epoch key of the generation that the chain says is current; every lock that was
//! used is kept with the record in one transaction; when that returns, the plaintext is gone. A reading whose epoch has no published key
//! stays in the log, counted, and waits in its own place (patient, category, epoch): nothing else waits for it, not even the same
//! patient's other readings; it is tried again when the patient's directory changes. Its verdict is kept, so detectors see it once.
//! Must not: keep a patient lock longer than its window is among the [`WINDOWS_MAX`] last used, or a plaintext longer than one run.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use pulsegate_detector::Verdict;
use pulsegate_ipfs::manifest::{Leaf, RecordLeaf};
use pulsegate_ipfs::record::{self, EpochShare, SealingWindow};
use pulsegate_reading::SignedReading;
use pulsegate_rules::records::BatchKind;
use pulsegate_rules::{Category, Epoch, ModelId, Principal, StreamId};
use zeroize::Zeroizing;

use super::screen::Received;
use super::{Item, Stage, StageError};
use crate::context::Context;
use crate::directories::{EpochKey, Lookup};
use crate::log::{PendingLeaf, SealedEntry, ShareId};
use crate::payload::Payload;

/// Most sealing windows (streams in their hour) kept open.
pub(crate) const WINDOWS_MAX: usize = 4_096;

/// A judged reading, still in plaintext.
pub(crate) struct Judged {
    /// The reading.
    pub(crate) received: Received,
    /// What the detectors said.
    pub(crate) verdict: Verdict,
    /// The model that judged it; zero for none.
    pub(crate) model: ModelId,
    /// Whether the verdict is anchored on its own at once.
    pub(crate) critical: bool,
}

/// Where a reading without an epoch key waits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    patient: Principal,
    category: Category,
    epoch: Epoch,
}

/// What is remembered of a parked reading: its verdict, so that it is judged once, and nothing of its content.
pub(crate) struct Parked {
    verdict: Verdict,
    model: ModelId,
    critical: bool,
}

/// What waits in one place.
#[derive(Default)]
struct Waiting {
    /// Whether it is known that the patient published no key; otherwise that is being found out.
    missing: bool,
    readings: BTreeMap<u64, Parked>,
}

/// The stage, with its open windows and parked readings.
pub(crate) struct Seal {
    context: Arc<Context>,
    windows: HashMap<ShareId, (SealingWindow, EpochShare, [u8; 32])>,
    parked: BTreeMap<Place, Waiting>,
}

#[async_trait]
impl Stage for Seal {
    type Input = Vec<Item<Judged>>;
    type Output = u64;

    /// Seals what has a key, parks what has none; returns how many were sealed.
    async fn run(&mut self, input: Self::Input) -> Result<u64, StageError> {
        let mut keyed = Vec::with_capacity(input.len());
        for item in input {
            let Some(place) = place_of(&item.value.received.signed) else {
                return Err(StageError { code: "EPOCH_OVERFLOW" });
            };
            let key = self.context.directories.lookup(&place.patient, place.category, place.epoch);
            match key {
                // What came earlier to the same place goes first, so that a window's readings keep their order.
                Lookup::Ready(key) if self.is_free(&place, item.position) => keyed.push((item, place, key)),
                Lookup::Missing => self.park(place, item, true),
                Lookup::Ready(_) | Lookup::Pending => self.park(place, item, false),
            }
        }
        let outcome = self.seal(&keyed).await;
        if outcome.is_err() {
            // New shares are not on disk, so the windows that use them must go; the readings are tried again from the log.
            self.windows.clear();
            for (item, place, _) in keyed {
                self.park(place, item, false);
            }
        }
        self.count_parked();
        outcome
    }
}

impl Seal {
    /// Nothing open, nothing parked.
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context, windows: HashMap::new(), parked: BTreeMap::new() }
    }

    fn is_free(&self, place: &Place, position: u64) -> bool {
        let first = self.parked.get(place).and_then(|waiting| waiting.readings.first_key_value());
        first.is_none_or(|(first, _)| position < *first)
    }

    fn count_parked(&self) {
        let missing = self.parked.values().filter(|waiting| waiting.missing);
        let parked: usize = missing.map(|waiting| waiting.readings.len()).sum();
        self.context.parked.store(parked as u64, Ordering::SeqCst);
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
        self.context.metrics.parked.set(parked as f64);
    }

    fn park(&mut self, place: Place, item: Item<Judged>, missing: bool) {
        let Judged { verdict, model, critical, .. } = item.value;
        let waiting = self.parked.entry(place).or_default();
        waiting.missing |= missing;
        waiting.readings.insert(item.position, Parked { verdict, model, critical });
    }

    /// Takes out of the parking those readings whose key is known by now, at most `limit`, oldest first.
    pub(crate) async fn unpark(&mut self, limit: usize) -> Result<Vec<Item<Judged>>, StageError> {
        let mut wanted: Vec<(Place, u64)> = Vec::new();
        for (place, waiting) in &mut self.parked {
            match self.context.directories.lookup(&place.patient, place.category, place.epoch) {
                Lookup::Ready(_) => {
                    waiting.missing = false;
                    let room = limit - wanted.len();
                    wanted.extend(waiting.readings.keys().take(room).map(|position| (*place, *position)));
                }
                Lookup::Missing => waiting.missing = true,
                Lookup::Pending => {}
            }
            if wanted.len() >= limit {
                break;
            }
        }
        self.count_parked();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        wanted.sort_unstable_by_key(|(_, position)| *position);
        let positions: Vec<u64> = wanted.iter().map(|(_, position)| *position).collect();
        let entries = self.context.log.run(move |log| log.entries_at(&positions)).await?;
        let mut entries: HashMap<u64, _> = entries.into_iter().map(|entry| (entry.position, entry)).collect();
        let mut items = Vec::with_capacity(wanted.len());
        for (place, position) in wanted {
            let parked = self.parked.get_mut(&place).and_then(|waiting| waiting.readings.remove(&position));
            if self.parked.get(&place).is_some_and(|waiting| waiting.readings.is_empty()) {
                self.parked.remove(&place);
            }
            let (Some(parked), Some(entry)) = (parked, entries.remove(&position)) else { continue };
            let signed = SignedReading::decode(&entry.cose).map_err(|error| StageError { code: error.code() })?;
            let received = Received { signed, received_at_ms: entry.received_at_ms, quarantined: entry.quarantined };
            let Parked { verdict, model, critical } = parked;
            items.push(Item { position, value: Judged { received, verdict, model, critical } });
        }
        self.count_parked();
        Ok(items)
    }

    /// Opens the windows that are needed, seals, and commits records, shares and the end of the plaintexts at once.
    async fn seal(&mut self, keyed: &[(Item<Judged>, Place, EpochKey)]) -> Result<u64, StageError> {
        if keyed.is_empty() {
            return Ok(0);
        }
        let shares = self.open_windows(keyed).await?;
        let mut sealed = Vec::with_capacity(keyed.len());
        for (item, place, key) in keyed {
            let (window, share, _) = &self.windows[&share_id(place, key)];
            sealed.push(seal_one(window, share, item)?);
        }
        let count = sealed.len() as u64;
        let critical = sealed.iter().any(|entry| entry.critical);
        self.context.log.run(move |log| log.commit_sealed(&sealed, &shares)).await?;
        for (_, place, _) in keyed {
            self.context.backlog.remove(&place.patient);
        }
        self.context.metrics.sealed.increment(count);
        self.context.leaves_changed(BatchKind::Records).notify_one();
        if critical {
            self.context.leaves_changed(BatchKind::Critical).notify_one();
        }
        Ok(count)
    }

    /// Makes sure that every reading's window is open; returns the shares that are new and must be kept with the records.
    async fn open_windows(
        &mut self,
        keyed: &[(Item<Judged>, Place, EpochKey)],
    ) -> Result<Vec<(ShareId, EpochShare)>, StageError> {
        let needed: HashMap<ShareId, EpochKey> =
            keyed.iter().map(|(_, place, key)| (share_id(place, key), *key)).collect();
        let missing: Vec<ShareId> = needed
            .iter()
            .filter(|(id, key)| self.windows.get(id).is_none_or(|(_, _, public_key)| *public_key != key.public_key))
            .map(|(id, _)| *id)
            .collect();
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
            let public_key = needed[&id].public_key;
            let window = SealingWindow::new(id.stream, id.generation, id.epoch, &public_key)?;
            let share = share.unwrap_or_else(|| {
                let share = EpochShare::random();
                fresh.push((id, share.clone()));
                share
            });
            self.windows.insert(id, (window, share, public_key));
        }
        Ok(fresh)
    }
}

fn place_of(signed: &SignedReading) -> Option<Place> {
    let reading = signed.unverified();
    let epoch = Epoch::at(reading.measured_at_ms / 1_000)?;
    Some(Place { patient: reading.patient, category: reading.category(), epoch })
}

fn share_id(place: &Place, key: &EpochKey) -> ShareId {
    let stream = StreamId::of(&place.patient, place.category);
    ShareId { stream, generation: key.generation, epoch: place.epoch }
}

fn seal_one(window: &SealingWindow, share: &EpochShare, item: &Item<Judged>) -> Result<SealedEntry, StageError> {
    let judged = &item.value;
    let Received { signed, received_at_ms, quarantined } = &judged.received;
    let reading = signed.unverified();
    let payload = Payload {
        reading: signed.bytes().to_vec(),
        received_at_ms: *received_at_ms,
        quarantined: *quarantined,
        verdict: judged.verdict.clone(),
    };
    let plaintext = payload.encode().map_err(|error| StageError { code: error.code() })?;
    drop(Zeroizing::new(payload.reading));
    let header = window.header(reading.device, reading.sequence);
    let block = record::seal(window, share, &header, &plaintext)?;
    let leaf = Leaf::Record(RecordLeaf {
        record: block.cid,
        stream: window.stream(),
        generation: window.generation(),
        epoch: window.epoch(),
        device: reading.device,
        sequence: reading.sequence,
        link: signed.hash(),
        previous: reading.previous,
    });
    let leaf = PendingLeaf { leaf, block, model: judged.model };
    Ok(SealedEntry { position: item.position, leaf, critical: judged.critical })
}
