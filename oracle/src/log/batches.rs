//! From sealed leaves to anchored batches: what waits, what is in flight, what is done. And what was signed for other oracles.

use std::sync::atomic::Ordering;

use parity_scale_codec::{Decode, Encode};
use pulsegate_ipfs::block::{Block, CODEC_DAG_CBOR};
use pulsegate_ipfs::manifest::{Leaf, ReceiptLeaf};
use pulsegate_rules::records::{BatchHeader, BatchKind};
use pulsegate_rules::{ModelId, Principal};
use redb::{ReadableDatabase, ReadableTable};
use serde::{Deserialize, Serialize};

use super::{
    ANCHORED, BATCHES, COSIGNED, DurableLog, HEADS, LEAVES, LogError, META, META_NEXT_RECEIPT, RECEIPTS, join, number,
    split,
};
use crate::fault;

/// A sealed object that waits to be anchored: its leaf, its block, who judged it.
#[derive(Clone)]
pub(crate) struct PendingLeaf {
    /// What the manifest will say.
    pub(crate) leaf: Leaf,
    /// The sealed block, a DAG-CBOR one.
    pub(crate) block: Block,
    /// One id for all models that judged it; zero for none.
    pub(crate) model: ModelId,
}

/// [`PendingLeaf`] as it lies on disk.
#[derive(Serialize, Deserialize)]
struct LeafRow {
    leaf: Leaf,
    #[serde(with = "serde_bytes")]
    block: Vec<u8>,
    model: ModelId,
}

impl PendingLeaf {
    pub(super) fn encode(&self) -> Vec<u8> {
        let row = LeafRow { leaf: self.leaf.clone(), block: self.block.bytes.to_vec(), model: self.model };
        serde_ipld_dagcbor::to_vec(&row).expect("a leaf holds numbers, bytes and CIDs, which all encode")
    }

    fn decode(bytes: &[u8]) -> Result<Self, LogError> {
        let corrupt = LogError::Corrupt { table: "leaves" };
        let row: LeafRow = serde_ipld_dagcbor::from_slice(bytes).map_err(|_| corrupt.clone())?;
        let block = Block::from_bytes(CODEC_DAG_CBOR, row.block).map_err(|_| corrupt)?;
        Ok(Self { leaf: row.leaf, block, model: row.model })
    }
}

/// The newest anchored batch of a kind, as this log knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Its sequence; 0 before the first.
    pub(crate) sequence: u64,
    /// Its digest.
    pub(crate) digest: [u8; 32],
}

/// The batch in flight of a kind. Its leaves stay in the log until it is anchored.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct OpenBatch {
    /// What is signed.
    pub(crate) header: BatchHeader,
    /// Rows of the leaves, in the manifest's order.
    pub(crate) positions: Vec<u64>,
    /// Whether the block store has it.
    pub(crate) stored: bool,
    /// Signatures over the header, this oracle's first.
    pub(crate) signatures: Vec<[u8; 65]>,
}

/// Another header was signed for the same place before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CosignRefused;

impl DurableLog {
    /// Up to `limit` waiting leaves of a kind, oldest first, with their rows.
    pub(crate) fn leaves(&self, kind: BatchKind, limit: usize) -> Result<Vec<(u64, PendingLeaf)>, LogError> {
        let read = self.inner.database.begin_read()?;
        let leaves = read.open_table(LEAVES)?;
        let code = kind as u8;
        leaves
            .range((code, 0)..=(code, u64::MAX))?
            .take(limit)
            .map(|row| {
                let (key, value) = row?;
                Ok((key.value().1, PendingLeaf::decode(value.value())?))
            })
            .collect()
    }

    /// The leaves at these rows, in this order.
    pub(crate) fn leaves_at(&self, kind: BatchKind, positions: &[u64]) -> Result<Vec<PendingLeaf>, LogError> {
        let read = self.inner.database.begin_read()?;
        let leaves = read.open_table(LEAVES)?;
        positions
            .iter()
            .map(|position| {
                let row = leaves.get((kind as u8, *position))?.ok_or(LogError::Corrupt { table: "batches" })?;
                PendingLeaf::decode(row.value())
            })
            .collect()
    }

    /// Keeps a sealed receipt until its batch is anchored, as the patient's next one; it is durable on return.
    pub(crate) fn put_receipt(&self, patient: Principal, block: Block, digest: [u8; 32]) -> Result<(), LogError> {
        let write = self.begin()?;
        {
            let mut meta = write.open_table(META)?;
            let next = number(&meta, META_NEXT_RECEIPT)?;
            meta.insert(META_NEXT_RECEIPT, &(next + 1).to_be_bytes()[..])?;
            let mut counts = write.open_table(RECEIPTS)?;
            let sequence = counts.get(patient.0)?.map_or(0, |row| row.value()) + 1;
            counts.insert(patient.0, sequence)?;
            let leaf = Leaf::Receipt(ReceiptLeaf { receipt: block.cid, patient, sequence, digest });
            let row = PendingLeaf { leaf, block, model: ModelId([0; 32]) }.encode();
            write.open_table(LEAVES)?.insert((BatchKind::Receipts as u8, next), row.as_slice())?;
        }
        fault::point(fault::RELEASE_BEFORE_RECEIPT);
        self.waiting().receipts.fetch_add(1, Ordering::SeqCst);
        if let Err(error) = write.commit() {
            self.waiting().receipts.fetch_sub(1, Ordering::SeqCst);
            return Err(error.into());
        }
        fault::point(fault::RELEASE_AFTER_RECEIPT);
        Ok(())
    }

    /// The batch in flight of a kind.
    pub(crate) fn open_batch(&self, kind: BatchKind) -> Result<Option<OpenBatch>, LogError> {
        let read = self.inner.database.begin_read()?;
        let row = read.open_table(BATCHES)?.get(kind as u8)?;
        row.map(|row| OpenBatch::decode(&mut row.value()).map_err(|_| LogError::Corrupt { table: "batches" }))
            .transpose()
    }

    /// Writes down how the batch in flight stands.
    pub(crate) fn save_batch(&self, batch: &OpenBatch) -> Result<(), LogError> {
        let write = self.begin()?;
        write.open_table(BATCHES)?.insert(batch.header.kind as u8, batch.encode().as_slice())?;
        write.commit()?;
        Ok(())
    }

    /// The batch in flight is anchored: forget its leaves and remember it as the newest. `digest` is that of the anchored header.
    pub(crate) fn finish_batch(&self, batch: &OpenBatch, digest: &[u8; 32]) -> Result<(), LogError> {
        let kind = batch.header.kind;
        let write = self.begin()?;
        {
            let mut leaves = write.open_table(LEAVES)?;
            for position in &batch.positions {
                leaves.remove((kind as u8, *position))?;
            }
            write.open_table(BATCHES)?.remove(kind as u8)?;
            write.open_table(HEADS)?.insert(kind as u8, join(batch.header.sequence, digest))?;
            let mut anchored = write.open_table(ANCHORED)?;
            let before = anchored.get(kind as u8)?.map_or(0, |row| row.value());
            anchored.insert(kind as u8, before + batch.positions.len() as u64)?;
        }
        write.commit()?;
        fault::point(fault::ANCHOR_RECORDED);
        self.waiting().leaves(kind).fetch_sub(batch.positions.len() as u64, Ordering::SeqCst);
        Ok(())
    }

    /// The newest anchored batch of a kind; `None` when this log never anchored one.
    pub(crate) fn head(&self, kind: BatchKind) -> Result<Option<Head>, LogError> {
        let read = self.inner.database.begin_read()?;
        let row = read.open_table(HEADS)?.get(kind as u8)?;
        Ok(row.map(|row| {
            let (sequence, digest) = split(&row.value());
            Head { sequence, digest }
        }))
    }

    /// How many leaves of a kind were ever anchored.
    pub(crate) fn anchored(&self, kind: BatchKind) -> Result<u64, LogError> {
        let read = self.inner.database.begin_read()?;
        Ok(read.open_table(ANCHORED)?.get(kind as u8)?.map_or(0, |row| row.value()))
    }

    /// Writes down that this oracle signs a header of another oracle, unless it signed a different one for the same place.
    ///
    /// A newer oracle set asks for a new signature over the same batch: the manifest and root decide whether it is the same.
    pub(crate) fn note_cosigned(&self, header: &BatchHeader) -> Result<Result<(), CosignRefused>, LogError> {
        let place = (header.oracle.0, header.kind as u8, header.sequence);
        let mut row = [0u8; 36];
        row.copy_from_slice(&header.manifest.0);
        let write = self.begin()?;
        {
            let mut cosigned = write.open_table(COSIGNED)?;
            let known = cosigned.get(place)?.map(|row| row.value());
            match known {
                Some(known) if known != row => return Ok(Err(CosignRefused)),
                Some(_) => {}
                None => {
                    cosigned.insert(place, row)?;
                }
            }
        }
        write.commit()?;
        Ok(Ok(()))
    }
}
