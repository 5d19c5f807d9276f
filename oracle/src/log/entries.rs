//! From accepted readings to sealed records: reading the log in order, and the transaction that swaps plaintext for sealed form.
//!
//! A row of `entries` is, before encryption: time of receipt (8 bytes, big-endian) ‖ flags (1 byte) ‖ flow ‖ signed reading. Flag 1 says that
//! the device was in quarantine, flag 2 that a flow is there: its length (2 bytes, big-endian) and itself in DAG-CBOR. Rows that were written
//! before flows were measured have no flag 2 and read as they did; a row with an unknown flag is refused, never guessed at.

use std::sync::atomic::Ordering;

use pulsegate_detector::traffic::Flow;
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
    /// An exchange of the device that ended before, as the listener measured it.
    pub(crate) flow: Option<Flow>,
    /// The signed reading as it came.
    pub(crate) cose: Zeroizing<Vec<u8>>,
}

const FLAG_QUARANTINED: u8 = 1;
const FLAG_FLOW: u8 = 2;

/// An entry's row, before encryption.
pub(super) fn encode(received_at_ms: u64, quarantined: bool, flow: Option<&Flow>, cose: &[u8]) -> Zeroizing<Vec<u8>> {
    let flow =
        flow.map(|flow| serde_ipld_dagcbor::to_vec(flow).expect("a checked flow is numbers and words, which encode"));
    // A flow takes about 200 bytes; one that did not fit would be left out rather than cost a reading.
    let flow = flow.and_then(|bytes| Some((u16::try_from(bytes.len()).ok()?, bytes)));
    let flags = if quarantined { FLAG_QUARANTINED } else { 0 } | if flow.is_some() { FLAG_FLOW } else { 0 };
    let flow_bytes = flow.map_or_else(Vec::new, |(length, bytes)| [&length.to_be_bytes()[..], &bytes].concat());
    Zeroizing::new([&received_at_ms.to_be_bytes()[..], &[flags], &flow_bytes, cose].concat())
}

/// What [`encode`] wrote, or an earlier version; `None` when neither did.
fn decode(position: u64, row: &[u8]) -> Option<LogEntry> {
    let (received, rest) = row.split_first_chunk::<8>()?;
    let (flags, mut rest) = rest.split_first()?;
    if flags & !(FLAG_QUARANTINED | FLAG_FLOW) != 0 {
        return None;
    }
    let mut flow = None;
    if flags & FLAG_FLOW != 0 {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (bytes, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        flow = Some(serde_ipld_dagcbor::from_slice(bytes).ok()?);
        rest = after;
    }
    Some(LogEntry {
        position,
        received_at_ms: u64::from_be_bytes(*received),
        quarantined: flags & FLAG_QUARANTINED != 0,
        flow,
        cose: Zeroizing::new(rest.to_vec()),
    })
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
        decode(position, &plaintext).ok_or(LogError::Corrupt { table: "entries" })
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

#[cfg(test)]
mod tests {
    use pulsegate_detector::traffic::{ConnectionState, Protocol, Service};

    use super::*;

    const FLOW: Flow = Flow {
        started_at_ms: 1_790_000_000_000,
        duration_ms: Some(12.5),
        protocol: Protocol::Tcp,
        service: Service::Tls,
        state: ConnectionState::SF,
        bytes_sent: Some(900),
        bytes_received: Some(300),
        packets_sent: None,
        packets_received: None,
    };

    #[test]
    fn an_entry_keeps_its_flow() {
        for (quarantined, flow) in [(false, None), (true, None), (false, Some(FLOW)), (true, Some(FLOW))] {
            let entry = decode(7, &encode(42, quarantined, flow.as_ref(), b"signed")).unwrap();
            assert_eq!(
                (entry.position, entry.received_at_ms, entry.quarantined, entry.flow),
                (7, 42, quarantined, flow)
            );
            assert_eq!(entry.cose.as_slice(), b"signed");
        }
    }

    #[test]
    fn an_entry_written_before_flows_were_measured_is_read_as_before() {
        let row = [&42_u64.to_be_bytes()[..], &[1], b"signed"].concat();
        let entry = decode(1, &row).unwrap();
        assert_eq!((entry.received_at_ms, entry.quarantined, entry.flow), (42, true, None));
        assert_eq!(entry.cose.as_slice(), b"signed");
    }

    #[test]
    fn an_entry_of_a_version_to_come_or_a_cut_off_one_is_refused() {
        let whole = encode(42, false, Some(&FLOW), b"");
        for length in [0, 7, 8, 9, 10, 11, whole.len() - 1] {
            assert!(decode(1, &whole[..length]).is_none(), "{length} bytes");
        }
        let mut strange = whole.to_vec();
        strange[8] |= 4;
        assert!(decode(1, &strange).is_none());
    }
}
