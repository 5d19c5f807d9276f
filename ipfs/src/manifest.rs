//! The manifest of a batch: every leaf in order, each linking to its block, so that one recursive pin of the manifest holds the batch.
//!
//! What a manifest shows to everyone: for a record its stream (a hash of patient and category), generation, hour, device id,
//! sequence number and the hashes that link the device's signed readings; for a receipt the patient's principal and the receipt's
//! number. No value, no code, no name. A link hash cannot be guessed from a value: it covers the device's Ed25519 signature, which
//! nobody else can compute.
//!
//! Receipts are numbered per patient from 1 without a gap, so a patient sees when one is withheld.

use cid::Cid;
use pulsegate_rules::records::{BATCH_COUNT_MAX, BatchHeader, BatchKind};
use pulsegate_rules::{DeviceId, Epoch, Generation, Principal, StreamId};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use crate::SealError;
use crate::block::{Block, check_supported, cid_bytes, encode};
use crate::merkle::{self, InclusionProof};

const OBJECT: &str = "manifest";
const VERSION: u64 = 1;

/// One entry of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leaf {
    /// A sealed reading; in batches of kind `Records` and `Critical`.
    Record(RecordLeaf),
    /// A sealed receipt; in batches of kind `Receipts`.
    Receipt(ReceiptLeaf),
}

/// Where a sealed reading is and what comes before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "RecordLeafWire", into = "RecordLeafWire")]
pub struct RecordLeaf {
    /// The record's block.
    pub record: Cid,
    /// Whose data, of which category, as a hash.
    pub stream: StreamId,
    /// Which of the patient's key trees.
    pub generation: Generation,
    /// The hour of the measurement.
    pub epoch: Epoch,
    /// Which device measured.
    pub device: DeviceId,
    /// The device's own count of readings, from 1.
    pub sequence: u64,
    /// SHA-256 of the signed reading.
    pub link: [u8; 32],
    /// `link` of the device's reading before; all zero for its first.
    pub previous: [u8; 32],
}

/// Where a sealed receipt is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "ReceiptLeafWire", into = "ReceiptLeafWire")]
pub struct ReceiptLeaf {
    /// The receipt's block, sealed to the patient.
    pub receipt: Cid,
    /// Whose data was asked for.
    pub patient: Principal,
    /// The oracle's count of receipts for this patient, from 1.
    pub sequence: u64,
    /// SHA-256 of the signed receipt.
    pub digest: [u8; 32],
}

#[derive(Serialize, Deserialize)]
struct RecordLeafWire(Cid, StreamId, Generation, Epoch, DeviceId, u64, ByteArray<32>, ByteArray<32>);

#[derive(Serialize, Deserialize)]
struct ReceiptLeafWire(Cid, Principal, u64, ByteArray<32>);

/// What a batch holds. Its block is the root of the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// What kind of leaves.
    pub kind: BatchKind,
    /// The oracle whose batch this is.
    pub oracle: Principal,
    /// The batch's number in the oracle's chain of this kind, from 1.
    pub sequence: u64,
    /// From 1 to [`BATCH_COUNT_MAX`], in order; exactly one in a critical batch.
    pub leaves: Vec<Leaf>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestWire {
    v: u64,
    kind: BatchKind,
    oracle: Principal,
    sequence: u64,
    leaves: Vec<Leaf>,
}

impl Leaf {
    /// The block that the leaf links to.
    #[must_use]
    pub fn cid(&self) -> &Cid {
        match self {
            Self::Record(leaf) => &leaf.record,
            Self::Receipt(leaf) => &leaf.receipt,
        }
    }

    /// The leaf's hash in the batch's Merkle tree: over its DAG-CBOR.
    ///
    /// # Errors
    /// None in practice: a leaf always encodes.
    pub fn hash(&self) -> Result<[u8; 32], SealError> {
        Ok(merkle::leaf_hash(&encode(self, "leaf")?))
    }
}

impl Manifest {
    /// Checks the leaves and makes the batch's root block.
    ///
    /// # Errors
    /// [`SealError::EmptyBatch`], [`SealError::TooMany`], [`SealError::WrongLeaf`], [`SealError::UnsupportedCid`].
    pub fn to_block(&self) -> Result<Block, SealError> {
        self.check()?;
        Block::dag_cbor(&ManifestWire {
            v: VERSION,
            kind: self.kind,
            oracle: self.oracle,
            sequence: self.sequence,
            leaves: self.leaves.clone(),
        })
    }

    /// Reads a manifest block.
    ///
    /// # Errors
    /// As [`Manifest::to_block`], and everything that decoding finds.
    pub fn from_block(block: &Block) -> Result<Self, SealError> {
        let wire: ManifestWire = block.decode(OBJECT)?;
        if wire.v != VERSION {
            return Err(SealError::UnsupportedVersion { object: OBJECT, version: wire.v });
        }
        let manifest = Self { kind: wire.kind, oracle: wire.oracle, sequence: wire.sequence, leaves: wire.leaves };
        manifest.check()?;
        Ok(manifest)
    }

    /// The hash of every leaf, in order.
    ///
    /// # Errors
    /// None in practice: a leaf always encodes.
    pub fn leaf_hashes(&self) -> Result<Vec<[u8; 32]>, SealError> {
        self.leaves.iter().map(Leaf::hash).collect()
    }

    /// The root of the Merkle tree over the leaves.
    ///
    /// # Errors
    /// [`SealError::EmptyBatch`].
    pub fn merkle_root(&self) -> Result<[u8; 32], SealError> {
        merkle::root(&self.leaf_hashes()?)
    }

    /// Proves that the leaf at `index` is in the batch; check it with [`merkle::verify`] and [`Leaf::hash`].
    ///
    /// # Errors
    /// [`SealError::IndexOutOfRange`].
    pub fn inclusion_proof(&self, index: usize) -> Result<InclusionProof, SealError> {
        merkle::prove(&self.leaf_hashes()?, index)
    }

    /// Checks the manifest against the header that the chain holds: kind, oracle, sequence, count, Merkle root and CID.
    ///
    /// # Errors
    /// [`SealError::Mismatch`] with the field that differs.
    pub fn check_against(&self, header: &BatchHeader) -> Result<(), SealError> {
        let differs = |field| Err(SealError::Mismatch { object: OBJECT, field });
        if self.kind != header.kind {
            return differs("kind");
        }
        if self.oracle != header.oracle {
            return differs("oracle");
        }
        if self.sequence != header.sequence {
            return differs("sequence");
        }
        if self.leaves.len() != header.count as usize {
            return differs("count");
        }
        if self.merkle_root()? != header.merkle_root {
            return differs("Merkle root");
        }
        if cid_bytes(&self.to_block()?.cid)? != header.manifest {
            return differs("CID");
        }
        Ok(())
    }

    fn check(&self) -> Result<(), SealError> {
        let count = self.leaves.len();
        let max = if self.kind == BatchKind::Critical { 1 } else { BATCH_COUNT_MAX as usize };
        if count == 0 {
            return Err(SealError::EmptyBatch);
        }
        if count > max {
            return Err(SealError::TooMany { what: "leaves", count, max });
        }
        for (index, leaf) in self.leaves.iter().enumerate() {
            check_supported(leaf.cid())?;
            let is_receipt = matches!(leaf, Leaf::Receipt(_));
            if is_receipt != (self.kind == BatchKind::Receipts) {
                return Err(SealError::WrongLeaf { index });
            }
        }
        Ok(())
    }
}

impl From<RecordLeaf> for RecordLeafWire {
    fn from(leaf: RecordLeaf) -> Self {
        let RecordLeaf { record, stream, generation, epoch, device, sequence, link, previous } = leaf;
        Self(record, stream, generation, epoch, device, sequence, ByteArray::new(link), ByteArray::new(previous))
    }
}

impl From<RecordLeafWire> for RecordLeaf {
    fn from(wire: RecordLeafWire) -> Self {
        let RecordLeafWire(record, stream, generation, epoch, device, sequence, link, previous) = wire;
        let (link, previous) = (link.into_array(), previous.into_array());
        Self { record, stream, generation, epoch, device, sequence, link, previous }
    }
}

impl From<ReceiptLeaf> for ReceiptLeafWire {
    fn from(leaf: ReceiptLeaf) -> Self {
        Self(leaf.receipt, leaf.patient, leaf.sequence, ByteArray::new(leaf.digest))
    }
}

impl From<ReceiptLeafWire> for ReceiptLeaf {
    fn from(wire: ReceiptLeafWire) -> Self {
        let ReceiptLeafWire(receipt, patient, sequence, digest) = wire;
        Self { receipt, patient, sequence, digest: digest.into_array() }
    }
}
