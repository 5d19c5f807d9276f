//! How the service is: which of its parts fails now and by which code, for `GET /healthz` and for operators' eyes.
//!
//! The service answers `200` as long as it runs: an oracle whose chain is away still accepts readings, so restarting it would not help.
//! `status` is `degraded` while any part fails. Must not: hold anything but codes, counts and times.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use serde::Serialize;

use crate::log::Waiting;

/// A part that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The chain.
    Ledger,
    /// The block store.
    Blocks,
    /// The durable log.
    Log,
    /// Sealing.
    Seal,
    /// Anchoring of records.
    AnchorRecords,
    /// Anchoring of receipts.
    AnchorReceipts,
    /// Anchoring of critical verdicts.
    AnchorCritical,
    /// The detector models that the chain names active.
    Models,
}

/// The state of one part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartState {
    /// Whether its last attempt succeeded.
    pub ok: bool,
    /// The code of its last failure, if it fails now.
    pub code: Option<&'static str>,
    /// Attempts that failed in a row.
    pub failures: u64,
    /// Since when it is like this, Unix milliseconds.
    pub since_ms: u64,
}

/// What `GET /healthz` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    /// `ok` or `degraded`.
    pub status: &'static str,
    /// Each part that was tried so far.
    pub parts: BTreeMap<Part, PartState>,
    /// The newest finalised block that was seen.
    pub finalised_block: u64,
    /// What waits in the log.
    pub waiting: WaitingState,
}

/// What waits in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WaitingState {
    /// Readings accepted and not yet sealed.
    pub entries: u64,
    /// Of those, readings that wait for an epoch key of their patient.
    pub parked: u64,
    /// Sealed records not yet anchored.
    pub records: u64,
    /// Receipts not yet anchored.
    pub receipts: u64,
    /// Critical pointers not yet anchored.
    pub critical: u64,
}

/// The parts' states, shared by all tasks.
#[derive(Default)]
pub(crate) struct HealthBoard {
    parts: Mutex<BTreeMap<Part, PartState>>,
}

impl HealthBoard {
    /// A part's attempt succeeded. Logs the recovery once.
    pub(crate) fn succeeded(&self, part: Part, now_ms: u64) {
        let mut parts = self.parts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let healthy = PartState { ok: true, code: None, failures: 0, since_ms: now_ms };
        let state = parts.entry(part).or_insert_with(|| healthy.clone());
        if !state.ok {
            tracing::info!(?part, failures = state.failures, "works again");
            *state = healthy;
        }
    }

    /// A part's attempt failed. Logs the first failure in a row and every change of its code.
    pub(crate) fn failed(&self, part: Part, code: &'static str, now_ms: u64) {
        let mut parts = self.parts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let fresh = PartState { ok: true, code: None, failures: 0, since_ms: now_ms };
        let state = parts.entry(part).or_insert(fresh);
        if state.ok {
            state.since_ms = now_ms;
        }
        if state.code != Some(code) {
            tracing::warn!(?part, code, "fails, will try again");
        }
        state.ok = false;
        state.code = Some(code);
        state.failures += 1;
    }

    /// The whole picture.
    pub(crate) fn report(&self, waiting: &Waiting, parked: u64, finalised_block: u64) -> Health {
        let parts = self.parts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let status = if parts.values().all(|state| state.ok) { "ok" } else { "degraded" };
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        Health {
            status,
            parts,
            finalised_block,
            waiting: WaitingState {
                entries: load(&waiting.entries),
                parked,
                records: load(&waiting.records),
                receipts: load(&waiting.receipts),
                critical: load(&waiting.critical),
            },
        }
    }
}
