//! What was stored and when: batches of records, receipts and critical verdicts, each chained to the one before.
//! State changes are in [`transition`].

pub mod transition;

use parity_scale_codec::{Decode, Encode};

use crate::hash::sha256;
use crate::registry::on_chain;
use crate::{CidBytes, ModelId, Principal};

/// Most leaves in one batch.
pub const BATCH_COUNT_MAX: u32 = 4_096;

on_chain! {
    /// What a batch holds. Every oracle has one chain of batches per kind.
    pub enum BatchKind {
        /// Sealed readings.
        Records,
        /// Sealed receipts of releases and refusals.
        Receipts,
        /// One critical verdict, anchored at once.
        Critical,
    }
}
on_chain! {
    /// What the oracles sign and the chain keeps of a batch.
    pub struct BatchHeader {
        /// What it holds.
        pub kind: BatchKind,
        /// The oracle instance whose chain of batches this extends.
        pub oracle: Principal,
        /// From 1, without a gap, per oracle and kind.
        pub sequence: u64,
        /// [`BatchHeader::digest`] of the batch before; all zero for the first.
        pub previous: [u8; 32],
        /// Root of the Merkle tree over the leaves.
        pub merkle_root: [u8; 32],
        /// The manifest: every leaf in order.
        pub manifest: CidBytes,
        /// Number of leaves, from 1 to [`BATCH_COUNT_MAX`].
        pub count: u32,
        /// The model that judged the batch; all zero when none did.
        pub model: ModelId,
        /// Which version of the oracle set signed.
        pub oracle_set: u32,
        /// When the oracle closed the batch, Unix milliseconds.
        pub closed_at_ms: u64,
    }
}
on_chain! {
    /// A batch as it stands on chain.
    pub struct AnchoredBatch {
        /// What was signed.
        pub header: BatchHeader,
        /// Block time, Unix milliseconds.
        pub anchored_at_ms: u64,
    }
}
on_chain! {
    /// The newest batch of one oracle and kind.
    pub struct BatchHead {
        /// Its sequence; zero before the first.
        pub sequence: u64,
        /// Its digest; all zero before the first.
        pub digest: [u8; 32],
    }
}
on_chain! {
    /// Why the records contract refuses.
    pub enum Error {
        /// The caller may not do this.
        NotAuthorised,
        /// Anchoring is halted.
        Halted,
        /// This sequence is anchored already.
        AlreadyAnchored,
        /// The sequence leaves a gap.
        SequenceGap,
        /// `previous` is not the digest of the newest batch.
        BrokenChain,
        /// Zero leaves, too many, or (critical) not exactly one.
        InvalidCount,
        /// The manifest is not a CIDv1 over SHA-256.
        InvalidManifest,
        /// The oracle set changed since the batch was signed.
        StaleOracleSet,
        /// A signature is malformed, of a stranger, or given twice.
        InvalidSignature,
        /// Fewer signatures than the threshold.
        BelowThreshold,
        /// The registry did not answer.
        RegistryUnavailable,
        /// A counter would overflow.
        Overflow,
    }
}

impl BatchHeader {
    /// What the next batch names as `previous`: SHA-256 of `"pulsegate/batch/v1"` and the SCALE encoding of the header.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        sha256(&[b"pulsegate/batch/v1", &self.encode()])
    }

    /// What each oracle signs (secp256k1, recoverable): SHA-256 of `"pulsegate/batch-signature/v1"`, the records contract's
    /// account, the deployment's `chain_id` (little-endian) and [`BatchHeader::digest`], so a signature fits one chain and contract.
    #[must_use]
    pub fn signing_digest(&self, chain_id: u64, contract: &Principal) -> [u8; 32] {
        sha256(&[b"pulsegate/batch-signature/v1", &contract.0, &chain_id.to_le_bytes(), &self.digest()])
    }
}
