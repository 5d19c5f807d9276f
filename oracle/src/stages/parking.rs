//! Where readings wait whose epoch has no usable key yet: one place per patient, category and epoch, so that no place delays another.
//!
//! Of a waiting reading nothing is kept but its place in the log and its verdict, so that detectors see it once. How many wait is bounded
//! by the log's own limits, per patient and in all. Must not: hold plaintext.

use std::collections::BTreeMap;

use pulsegate_detector::Verdict;
use pulsegate_reading::SignedReading;
use pulsegate_rules::{Category, Epoch, ModelId, Principal};

use crate::directories::Lookup;

/// A stream in its hour.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Whose.
    pub(crate) patient: Principal,
    /// Which stream.
    pub(crate) category: Category,
    /// Which hour.
    pub(crate) epoch: Epoch,
}

impl Place {
    /// Where a reading belongs; `None` past the last epoch, which `verify` refuses.
    pub(crate) fn of(signed: &SignedReading) -> Option<Self> {
        let reading = signed.unverified();
        let epoch = Epoch::at(reading.measured_at_ms / 1_000)?;
        Some(Self { patient: reading.patient, category: reading.category(), epoch })
    }
}

/// What is remembered of a waiting reading.
pub(crate) struct Parked {
    /// What the detectors said.
    pub(crate) verdict: Verdict,
    /// One id for all models that judged.
    pub(crate) model: ModelId,
    /// Whether the verdict is anchored on its own.
    pub(crate) critical: bool,
}

/// Why a reading waits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The patient's directory is being looked up, or the log did not take the record: to be tried again at once.
    Busy,
    /// The patient published no key for the epoch.
    NoKey,
    /// This published key cannot be sealed to; another one may.
    UnusableKey([u8; 32]),
}

/// What waits in one place.
struct Waiting {
    reason: Reason,
    readings: BTreeMap<u64, Parked>,
}

/// All places.
#[derive(Default)]
pub(crate) struct Parking {
    places: BTreeMap<Place, Waiting>,
}

impl Parking {
    /// Whether nothing that came earlier waits in the place.
    pub(crate) fn is_free(&self, place: &Place, position: u64) -> bool {
        let first = self.places.get(place).and_then(|waiting| waiting.readings.first_key_value());
        first.is_none_or(|(first, _)| position < *first)
    }

    /// Lets a reading wait. `Busy` does not replace a weightier reason.
    pub(crate) fn park(&mut self, place: Place, position: u64, parked: Parked, reason: Reason) {
        let waiting = self.places.entry(place).or_insert_with(|| Waiting { reason, readings: BTreeMap::new() });
        if reason != Reason::Busy {
            waiting.reason = reason;
        }
        waiting.readings.insert(position, parked);
    }

    /// Places in the log of up to `limit` readings whose key is there by now, oldest first.
    pub(crate) fn ready(&mut self, limit: usize, lookup: impl Fn(&Place) -> Lookup) -> Vec<(Place, u64)> {
        let mut ready: Vec<(Place, u64)> = Vec::new();
        for (place, waiting) in &mut self.places {
            match lookup(place) {
                Lookup::Ready(key) if waiting.reason == Reason::UnusableKey(key.public_key) => {}
                Lookup::Ready(_) => {
                    waiting.reason = Reason::Busy;
                    let room = limit - ready.len();
                    ready.extend(waiting.readings.keys().take(room).map(|position| (*place, *position)));
                }
                Lookup::Missing => waiting.reason = Reason::NoKey,
                Lookup::Pending => {}
            }
            if ready.len() >= limit {
                break;
            }
        }
        ready.sort_unstable_by_key(|(_, position)| *position);
        ready
    }

    /// Takes a reading out.
    pub(crate) fn take(&mut self, place: &Place, position: u64) -> Option<Parked> {
        let waiting = self.places.get_mut(place)?;
        let parked = waiting.readings.remove(&position);
        if waiting.readings.is_empty() {
            self.places.remove(place);
        }
        parked
    }

    /// How many readings wait for their patient to publish a usable key.
    pub(crate) fn without_key(&self) -> usize {
        let waiting = self.places.values().filter(|waiting| waiting.reason != Reason::Busy);
        waiting.map(|waiting| waiting.readings.len()).sum()
    }
}
