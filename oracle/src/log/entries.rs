//! From accepted readings to sealed records: reading the log in order, and the transaction that swaps plaintext for sealed form.

use std::sync::atomic::Ordering;

use pulsegate_rules::records::BatchKind;
use redb::ReadableDatabase;
use zeroize::Zeroizing;

use super::{DurableLog, ENTRIES, LEAVES, LogError, PendingLeaf, SHARES, ShareId};
use crate::fault;
use pulsegate_ipfs::record::EpochShare;

/// An accepted reading as it lies in the log.
pub(crate) struct LogEntry {
    /// Its place, from 1.
    pub(crate) position: u64,
    /// When the oracle received it, Unix milliseconds.
    pub(crate) received_at_ms: u64,
    /// Whether its patient had quarantined the device then.
    pub(crate) quarantined: bool,
    /// The signed reading as it came.
    pub(crate) cose: Zeroizing<Vec<u8>>,
}

/// A reading that is sealed now, ready to replace its plaintext.
pub(crate) struct SealedEntry {
    /// Its place in the log.
    pub(crate) position: u64,
    /// The sealed record and its leaf.
    pub(crate) leaf: PendingLeaf,
    /// Whether its verdict is anchored on its own too.
    pub(crate) critical: bool,
}

impl DurableLog {
    /// Up to `limit` accepted readings after a position, oldest first.
    pub(crate) fn entries_after(&self, position: u64, limit: usize) -> Result<Vec<LogEntry>, LogError> {
        let read = self.inner.database.begin_read()?;
        let entries = read.open_table(ENTRIES)?;
        entries.range(position.saturating_add(1)..)?.take(limit).map(|row| self.entry(row?)).collect()
    }

    /// The accepted readings at these positions; those that are sealed by now are left out.
    pub(crate) fn entries_at(&self, positions: &[u64]) -> Result<Vec<LogEntry>, LogError> {
        let read = self.inner.database.begin_read()?;
        let entries = read.open_table(ENTRIES)?;
        let mut found = Vec::with_capacity(positions.len());
        for position in positions {
            if let Some(row) = entries.get(*position)? {
                found.push(self.decrypt(*position, row.value())?);
            }
        }
        Ok(found)
    }

    fn entry(
        &self,
        (position, row): (redb::AccessGuard<'_, u64>, redb::AccessGuard<'_, &'static [u8]>),
    ) -> Result<LogEntry, LogError> {
        self.decrypt(position.value(), row.value())
    }

    fn decrypt(&self, position: u64, row: &[u8]) -> Result<LogEntry, LogError> {
        let plaintext = self.inner.entry_key.open("entries", &position.to_be_bytes(), row)?;
        let (received, rest) = plaintext.split_first_chunk::<8>().ok_or(LogError::Corrupt { table: "entries" })?;
        let (quarantined, cose) = rest.split_first().ok_or(LogError::Corrupt { table: "entries" })?;
        Ok(LogEntry {
            position,
            received_at_ms: u64::from_be_bytes(*received),
            quarantined: *quarantined != 0,
            cose: Zeroizing::new(cose.to_vec()),
        })
    }

    /// Replaces plaintext readings by their sealed records and keeps the shares that locked them, all or nothing.
    ///
    /// A reading that is no longer in the log was sealed before and is left as it is.
    pub(crate) fn commit_sealed(
        &self,
        sealed: &[SealedEntry],
        shares: &[(ShareId, EpochShare)],
    ) -> Result<(), LogError> {
        let write = self.begin()?;
        let (mut records, mut critical) = (0, 0);
        {
            let mut entries = write.open_table(ENTRIES)?;
            let mut leaves = write.open_table(LEAVES)?;
            let mut rows = write.open_table(SHARES)?;
            for (id, share) in shares {
                rows.insert(id.row(), self.inner.share_key.seal("shares", &id.row(), share.expose()).as_slice())?;
            }
            for entry in sealed {
                if entries.remove(entry.position)?.is_none() {
                    continue;
                }
                let row = entry.leaf.encode();
                leaves.insert((BatchKind::Records as u8, entry.position), row.as_slice())?;
                records += 1;
                if entry.critical {
                    leaves.insert((BatchKind::Critical as u8, entry.position), row.as_slice())?;
                    critical += 1;
                }
            }
        }
        fault::point(fault::SEAL_BEFORE_COMMIT);
        let waiting = self.waiting();
        // What comes is counted before the commit and what goes after it, so that at no moment nothing seems to wait.
        waiting.records.fetch_add(records, Ordering::SeqCst);
        waiting.critical.fetch_add(critical, Ordering::SeqCst);
        if let Err(error) = write.commit() {
            waiting.records.fetch_sub(records, Ordering::SeqCst);
            waiting.critical.fetch_sub(critical, Ordering::SeqCst);
            return Err(error.into());
        }
        fault::point(fault::SEAL_AFTER_COMMIT);
        waiting.entries.fetch_sub(records, Ordering::SeqCst);
        Ok(())
    }
}
