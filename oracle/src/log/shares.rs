//! Epoch shares, the oracle's lock: one for every stream, generation and epoch that anything was sealed in.

use pulsegate_ipfs::record::EpochShare;
use pulsegate_rules::{Epoch, Generation, StreamId};
use redb::ReadableDatabase;
use zeroize::Zeroizing;

use super::{DurableLog, LogError, SHARES};

/// Which lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ShareId {
    /// Patient and category.
    pub(crate) stream: StreamId,
    /// The patient's key generation.
    pub(crate) generation: Generation,
    /// Which hour.
    pub(crate) epoch: Epoch,
}

impl ShareId {
    /// Stream ‖ generation ‖ epoch, big-endian.
    pub(super) fn row(&self) -> [u8; 40] {
        let mut row = [0u8; 40];
        row[..32].copy_from_slice(&self.stream.0);
        row[32..36].copy_from_slice(&self.generation.0.to_be_bytes());
        row[36..].copy_from_slice(&self.epoch.0.to_be_bytes());
        row
    }
}

impl DurableLog {
    /// The shares of these locks, in order; `None` where nothing was sealed.
    pub(crate) fn shares(&self, ids: &[ShareId]) -> Result<Vec<Option<EpochShare>>, LogError> {
        let read = self.inner.database.begin_read()?;
        let table = read.open_table(SHARES)?;
        ids.iter()
            .map(|id| {
                let row = id.row();
                let Some(sealed) = table.get(row)? else { return Ok(None) };
                let share = self.inner.share_key.open("shares", &row, sealed.value())?;
                let mut bytes = Zeroizing::new([0u8; 32]);
                if share.len() != bytes.len() {
                    return Err(LogError::Corrupt { table: "shares" });
                }
                bytes.copy_from_slice(&share);
                Ok(Some(EpochShare::from_bytes(*bytes)))
            })
            .collect()
    }
}
