//! The durable log: one redb file that holds everything the oracle must not forget.
//!
//! | table | row | until |
//! |---|---|---|
//! | `entries` | an accepted reading, encrypted under the log key | it is sealed |
//! | `devices`, `accepted` | the last link of every device; its newest [`RECENT_READINGS_MAX`] hashes | for ever; replaced |
//! | `shares` | an epoch share, encrypted under the share key | for ever |
//! | `leaves` | a sealed record, a sealed receipt or a critical pointer | its batch is anchored |
//! | `batches` | the batch in flight of a kind: composition, header, signatures | it is anchored |
//! | `heads` | the newest anchored batch of a kind | replaced |
//! | `receipts` | how many receipts a patient has | for ever |
//! | `cosigned` | what this oracle signed for others | for ever |
//!
//! Guarantees: every write is one transaction with [`Durability::Immediate`], so what a caller was told to be written survives power
//! loss as a whole or was never there; a plaintext leaves `entries` in the same transaction that puts its sealed form into `leaves`.
//! redb overwrites freed pages only when it reuses them, so deleted plaintext may stay on disk for a while: encrypted, like all of it.
//! Must not: hold a plaintext reading or an epoch share unencrypted, block an async thread (callers use [`DurableLog::run`]).

mod append;
mod batches;
mod entries;
mod shares;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pulsegate_rules::records::BatchKind;
use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction,
};

use crate::at_rest::{RowKey, RowUnreadable};
use crate::keys::OracleKeys;

pub(crate) use append::{AppendOutcome, AppendQueue, NewEntry};
pub(crate) use batches::{Head, OpenBatch, PendingLeaf};
pub(crate) use entries::SealedEntry;
pub(crate) use shares::ShareId;

/// How many of a device's newest readings are remembered by hash, so that a resend is recognised.
pub const RECENT_READINGS_MAX: u64 = 1_024;

const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const ENTRIES: TableDefinition<u64, &[u8]> = TableDefinition::new("entries");
const DEVICES: TableDefinition<[u8; 32], [u8; 40]> = TableDefinition::new("devices");
const ACCEPTED: TableDefinition<([u8; 32], u64), [u8; 40]> = TableDefinition::new("accepted");
const SHARES: TableDefinition<[u8; 40], &[u8]> = TableDefinition::new("shares");
const LEAVES: TableDefinition<(u8, u64), &[u8]> = TableDefinition::new("leaves");
const BATCHES: TableDefinition<u8, &[u8]> = TableDefinition::new("batches");
const HEADS: TableDefinition<u8, [u8; 40]> = TableDefinition::new("heads");
const ANCHORED: TableDefinition<u8, u64> = TableDefinition::new("anchored");
const RECEIPTS: TableDefinition<[u8; 32], u64> = TableDefinition::new("receipts");
const COSIGNED: TableDefinition<([u8; 32], u8, u64), [u8; 36]> = TableDefinition::new("cosigned");

const META_OWNER: &str = "owner";
const META_NEXT_POSITION: &str = "next-position";
const META_NEXT_RECEIPT: &str = "next-receipt";

/// The log could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The disk or the file failed.
    #[error(
        "the durable log failed: {reason}; check disk space and permissions of the data directory, then start again"
    )]
    Storage {
        /// What went wrong.
        reason: String,
    },
    /// A row does not open.
    #[error(transparent)]
    Unreadable(#[from] RowUnreadable),
    /// The data directory was made for another deployment or by other oracle keys.
    #[error(
        "the data directory belongs to another deployment or other oracle keys; use its own keystore and deployment file, or an empty data directory"
    )]
    Foreign,
    /// A row does not decode.
    #[error(
        "table {table} holds a row that does not decode; the file was changed or written by another version, restore a backup"
    )]
    Corrupt {
        /// The table's name.
        table: &'static str,
    },
}

impl LogError {
    /// The stable code of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Storage { .. } => "LOG_STORAGE",
            Self::Unreadable(_) => "LOG_ROW_UNREADABLE",
            Self::Foreign => "LOG_FOREIGN",
            Self::Corrupt { .. } => "LOG_CORRUPT",
        }
    }
}

macro_rules! storage_errors {
    ($($error:ty),+) => {$(
        impl From<$error> for LogError {
            fn from(error: $error) -> Self {
                Self::Storage { reason: error.to_string() }
            }
        }
    )+};
}
storage_errors!(
    redb::DatabaseError,
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError,
    redb::SetDurabilityError,
    std::io::Error
);

/// How many rows wait in the log, kept up to date in memory so that every request can look.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// Accepted, not sealed.
    pub(crate) entries: AtomicU64,
    /// Sealed records, not anchored.
    pub(crate) records: AtomicU64,
    /// Receipts, not anchored.
    pub(crate) receipts: AtomicU64,
    /// Critical pointers, not anchored.
    pub(crate) critical: AtomicU64,
    /// Readings accepted since the log began.
    pub(crate) accepted: AtomicU64,
}

impl Waiting {
    /// The counter of a batch kind.
    pub(crate) const fn leaves(&self, kind: BatchKind) -> &AtomicU64 {
        match kind {
            BatchKind::Records => &self.records,
            BatchKind::Receipts => &self.receipts,
            BatchKind::Critical => &self.critical,
        }
    }
}

/// Handle to the durable log; clones share it.
#[derive(Clone)]
pub(crate) struct DurableLog {
    inner: Arc<Inner>,
}

struct Inner {
    database: Database,
    entry_key: RowKey,
    share_key: RowKey,
    waiting: Waiting,
}

impl DurableLog {
    /// Opens or makes the log in `dir`. `audience` names the deployment; a log made for another one is refused.
    ///
    /// # Errors
    /// [`LogError`] when the file cannot be opened, or [`LogError::Foreign`].
    pub(crate) fn open(dir: &Path, keys: &OracleKeys, audience: &[u8; 32]) -> Result<Self, LogError> {
        std::fs::create_dir_all(dir)?;
        let database = Database::create(dir.join("log.redb"))?;
        let log = Self {
            inner: Arc::new(Inner {
                database,
                entry_key: RowKey::new(keys.log()),
                share_key: RowKey::new(keys.shares()),
                waiting: Waiting::default(),
            }),
        };
        log.claim(&[&keys.principal().0[..], audience].concat())?;
        log.count()?;
        Ok(log)
    }

    /// What waits.
    pub(crate) fn waiting(&self) -> &Waiting {
        &self.inner.waiting
    }

    /// Runs a blocking job on the log away from the async threads.
    ///
    /// # Errors
    /// The job's own, or [`LogError::Storage`] when the runtime is shutting down.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Self) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let log = self.clone();
        tokio::task::spawn_blocking(move || job(&log))
            .await
            .unwrap_or_else(|_| Err(LogError::Storage { reason: "the job did not finish".to_owned() }))
    }

    /// Creates all tables and writes down whose log it is, or compares.
    fn claim(&self, owner: &[u8]) -> Result<(), LogError> {
        let write = self.begin()?;
        {
            let mut meta = write.open_table(META)?;
            let known = meta.get(META_OWNER)?.map(|row| row.value().to_vec());
            match known {
                Some(known) if known != owner => return Err(LogError::Foreign),
                Some(_) => {}
                None => {
                    meta.insert(META_OWNER, owner)?;
                }
            }
            write.open_table(ENTRIES)?;
            write.open_table(DEVICES)?;
            write.open_table(ACCEPTED)?;
            write.open_table(SHARES)?;
            write.open_table(LEAVES)?;
            write.open_table(BATCHES)?;
            write.open_table(HEADS)?;
            write.open_table(ANCHORED)?;
            write.open_table(RECEIPTS)?;
            write.open_table(COSIGNED)?;
        }
        write.commit()?;
        Ok(())
    }

    fn count(&self) -> Result<(), LogError> {
        let read = self.inner.database.begin_read()?;
        let waiting = self.waiting();
        waiting.entries.store(read.open_table(ENTRIES)?.len()?, Ordering::Relaxed);
        let next = number(&read.open_table(META)?, META_NEXT_POSITION)?;
        waiting.accepted.store(next.saturating_sub(1), Ordering::Relaxed);
        for row in read.open_table(LEAVES)?.iter()? {
            let (key, _) = row?;
            if let Some(kind) = kind_of(key.value().0) {
                waiting.leaves(kind).fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// A write transaction that is on disk when `commit` returns.
    fn begin(&self) -> Result<WriteTransaction, LogError> {
        let mut write = self.inner.database.begin_write()?;
        write.set_durability(Durability::Immediate)?;
        Ok(write)
    }
}

/// A number of the `meta` table; 1 when it was never written.
fn number(meta: &impl ReadableTable<&'static str, &'static [u8]>, key: &str) -> Result<u64, LogError> {
    match meta.get(key)? {
        Some(row) => row.value().try_into().map(u64::from_be_bytes).map_err(|_| LogError::Corrupt { table: "meta" }),
        None => Ok(1),
    }
}

/// The kind whose code byte this is.
fn kind_of(code: u8) -> Option<BatchKind> {
    [BatchKind::Records, BatchKind::Receipts, BatchKind::Critical].into_iter().find(|kind| *kind as u8 == code)
}

/// 40 bytes of a number and a hash.
fn join(number: u64, hash: &[u8; 32]) -> [u8; 40] {
    let mut row = [0u8; 40];
    row[..8].copy_from_slice(&number.to_be_bytes());
    row[8..].copy_from_slice(hash);
    row
}

/// The number and the hash of 40 bytes.
fn split(row: &[u8; 40]) -> (u64, [u8; 32]) {
    let (mut number, mut hash) = ([0u8; 8], [0u8; 32]);
    number.copy_from_slice(&row[..8]);
    hash.copy_from_slice(&row[8..]);
    (u64::from_be_bytes(number), hash)
}
