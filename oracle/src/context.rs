//! What all parts of one running service share: its settings, keys, ports, log, caches and counters.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pulsegate_ipfs::store::BlockStore;
use pulsegate_ledger::{Clock, Contracts, Ledger};
use pulsegate_rules::Principal;
use pulsegate_rules::records::BatchKind;
use tokio::sync::{Notify, Semaphore};

use crate::chain::DeviceCache;
use crate::config::OracleConfig;
use crate::detectors::Watch;
use crate::directories::Directories;
use crate::exchanges::Exchanges;
use crate::health::HealthBoard;
use crate::keys::OracleKeys;
use crate::log::{AppendQueue, DurableLog};
use crate::metrics::Metrics;

/// Shared by every task and handler of one service.
pub(crate) struct Context {
    pub(crate) config: OracleConfig,
    pub(crate) keys: OracleKeys,
    /// What readings and release requests must name.
    pub(crate) audience: [u8; 32],
    /// What batch signatures are bound to.
    pub(crate) chain_id: u64,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) contracts: Contracts,
    pub(crate) blocks: Arc<dyn BlockStore>,
    pub(crate) clock: Clock,
    pub(crate) log: DurableLog,
    pub(crate) queue: AppendQueue,
    pub(crate) metrics: Metrics,
    pub(crate) health: HealthBoard,
    pub(crate) devices: DeviceCache,
    pub(crate) directories: Directories,
    /// The active models.
    pub(crate) models: Watch,
    /// What the listener measures.
    pub(crate) exchanges: Arc<Exchanges>,
    pub(crate) backlog: Arc<Backlog>,
    /// When the service started, Unix milliseconds of the injected clock.
    pub(crate) started_at_ms: u64,
    /// How many requests may still be taken at this moment.
    pub(crate) requests: Arc<Semaphore>,
    /// There are new entries, or a directory changed.
    pub(crate) entries_changed: Arc<Notify>,
    /// There are new leaves, by kind.
    pub(crate) leaves_changed: [Arc<Notify>; 3],
    /// Close batches now, whatever their age.
    pub(crate) flushing: AtomicBool,
    /// Readings that wait for an epoch key.
    pub(crate) parked: AtomicU64,
    /// The newest finalised block that was seen.
    pub(crate) finalised_block: AtomicU64,
    /// Asks co-signing oracles.
    pub(crate) cosigner_client: Option<reqwest::Client>,
}

impl Context {
    /// The time, Unix milliseconds.
    pub(crate) fn now_ms(&self) -> u64 {
        (self.clock)()
    }

    /// The notifier of a kind's leaves.
    pub(crate) fn leaves_changed(&self, kind: BatchKind) -> &Notify {
        &self.leaves_changed[kind as usize]
    }
}

/// How many accepted readings of each patient are not sealed yet.
#[derive(Default)]
pub(crate) struct Backlog {
    /// May be below zero for a moment: a reading can be sealed before its acceptance is counted.
    counts: Mutex<HashMap<Principal, i64>>,
}

impl Backlog {
    /// How many of a patient's readings wait.
    pub(crate) fn of(&self, patient: &Principal) -> u64 {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(patient).map_or(0, |count| u64::try_from(*count).unwrap_or(0))
    }

    /// Readings were accepted.
    pub(crate) fn add(&self, added: BTreeMap<Principal, u64>) {
        for (patient, number) in added {
            self.change(&patient, i64::try_from(number).unwrap_or(i64::MAX));
        }
    }

    /// A reading was sealed.
    pub(crate) fn remove(&self, patient: &Principal) {
        self.change(patient, -1);
    }

    fn change(&self, patient: &Principal, by: i64) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(*patient).or_insert(0);
        *count = count.saturating_add(by);
        if *count == 0 {
            counts.remove(patient);
        }
    }
}

/// What the service did and what waits, for a progress bar and for tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Readings accepted since the log began.
    pub accepted: u64,
    /// Of those, not sealed yet.
    pub entries_waiting: u64,
    /// Of the waiting ones, those without an epoch key of their patient.
    pub parked: u64,
    /// Sealed records not anchored yet.
    pub records_waiting: u64,
    /// Receipts not anchored yet.
    pub receipts_waiting: u64,
    /// Critical pointers not anchored yet.
    pub critical_waiting: u64,
    /// Records anchored since the log began.
    pub records_anchored: u64,
    /// Receipts anchored since the log began.
    pub receipts_anchored: u64,
    /// Critical pointers anchored since the log began.
    pub critical_anchored: u64,
}

impl Progress {
    /// Whether everything that can be anchored is; readings without an epoch key wait without making this false.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.entries_waiting == self.parked
            && self.records_waiting == 0
            && self.receipts_waiting == 0
            && self.critical_waiting == 0
    }
}

impl Context {
    /// Reads the counters.
    ///
    /// # Errors
    /// The log's.
    pub(crate) fn progress(&self) -> Result<Progress, crate::log::LogError> {
        let waiting = self.log.waiting();
        let load = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        Ok(Progress {
            accepted: load(&waiting.accepted),
            entries_waiting: load(&waiting.entries),
            parked: load(&self.parked),
            records_waiting: load(&waiting.records),
            receipts_waiting: load(&waiting.receipts),
            critical_waiting: load(&waiting.critical),
            records_anchored: self.log.anchored(BatchKind::Records)?,
            receipts_anchored: self.log.anchored(BatchKind::Receipts)?,
            critical_anchored: self.log.anchored(BatchKind::Critical)?,
        })
    }
}
