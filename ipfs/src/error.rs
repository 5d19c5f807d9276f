//! What can go wrong with sealed objects and with the stores that keep them.
//!
//! Every variant has a stable code and a message that says what to do next. None carries a secret or a plaintext.

use cid::Cid;
use pulsegate_rules::registry::KeyAlgorithm;
use pulsegate_rules::{Category, Epoch, Generation};

/// Why a sealed object is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The block is above [`crate::block::BLOCK_BYTES_MAX`].
    #[error("a block of {bytes} bytes is above the limit of {max}: split the object")]
    BlockTooLarge {
        /// Its size in bytes.
        bytes: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The bytes do not hash to the CID that they came with.
    #[error("the bytes of {claimed} hash to {computed}: fetch the block from another source")]
    WrongCid {
        /// The CID that was asked for or claimed.
        claimed: Box<Cid>,
        /// The CID of the bytes.
        computed: Box<Cid>,
    },
    /// Not the bytes or text of a CID.
    #[error("not a CID: expected a CIDv1 of 36 bytes, or its base32 text")]
    MalformedCid,
    /// A CID of another version, codec or hash than Pulsegate writes.
    #[error("{cid} is not a CIDv1 with codec raw or dag-cbor over SHA-256: only such objects are written by Pulsegate")]
    UnsupportedCid {
        /// The CID.
        cid: Cid,
    },
    /// The bytes are not DAG-CBOR of the expected form, or bytes follow it.
    #[error("the bytes are not a {object}: check that the CID names the right object")]
    MalformedObject {
        /// What was expected.
        object: &'static str,
    },
    /// The bytes decode, but another encoding of the same value is the only accepted one.
    #[error(
        "the {object} is not in its one canonical encoding: refuse the object, whoever wrote it is not this software"
    )]
    NotCanonical {
        /// What was decoded.
        object: &'static str,
    },
    /// A later or unknown version of a format.
    #[error("version {version} of the {object} format is unknown here: update the software")]
    UnsupportedVersion {
        /// The format.
        object: &'static str,
        /// Its version.
        version: u64,
    },
    /// A list is longer than its limit.
    #[error("{count} {what} are more than the limit of {max}: send fewer")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// The bytes are not a CAR version 1.
    #[error("not a CAR file: {reason}")]
    MalformedCar {
        /// What is wrong.
        reason: &'static str,
    },
    /// A root of the CAR is not among its blocks.
    #[error("root {cid} is not among the blocks of the CAR file: write the file again with all its blocks")]
    MissingRoot {
        /// The root.
        cid: Cid,
    },
    /// A public or private key that is malformed, weak or too short.
    #[error("the {algorithm:?} key is malformed, weak or shorter than 3072 bits (RSA): register another one")]
    InvalidKey {
        /// How the key was to be read.
        algorithm: KeyAlgorithm,
    },
    /// A key of an algorithm that does not do this.
    #[error("a {found:?} key cannot {action}: use a key of a fitting algorithm")]
    WrongAlgorithm {
        /// The key's algorithm.
        found: KeyAlgorithm,
        /// What was asked of it.
        action: &'static str,
    },
    /// Authenticated decryption failed: another key, another context, or changed bytes. They cannot be told apart.
    #[error("the {object} does not open: it was sealed to another key or for another context, or it was changed")]
    CannotOpen {
        /// What was to be opened.
        object: &'static str,
    },
    /// The signature does not fit the key and the bytes.
    #[error("the signature of the {object} is not its owner's: fetch it again, or ask the owner to publish it anew")]
    InvalidSignature {
        /// What was signed.
        object: &'static str,
    },
    /// A window that is empty or beyond the last epoch of the key tree.
    #[error("epochs {from} to {until} are no window: it must be non-empty and end by epoch {max}", max = crate::key_tree::EPOCHS)]
    InvalidWindow {
        /// First epoch.
        from: Epoch,
        /// First epoch no longer in it.
        until: Epoch,
    },
    /// The keys do not open this epoch.
    #[error("the keys do not cover epoch {epoch}: ask the patient for a grant whose window holds it")]
    EpochNotCovered {
        /// The epoch asked for.
        epoch: Epoch,
    },
    /// The grant has no keys of this stream and generation.
    #[error("no keys for {category} in generation {generation}: ask the patient to grant it, or to re-wrap the grant")]
    StreamNotCovered {
        /// The stream's category.
        category: Category,
        /// The generation asked for.
        generation: Generation,
    },
    /// A position past the end.
    #[error("there is no leaf {index} among {count}")]
    IndexOutOfRange {
        /// The position, from 0.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// A batch without a leaf.
    #[error("the batch is empty: a batch has at least one leaf")]
    EmptyBatch,
    /// A leaf of a kind that does not belong into a batch of this kind.
    #[error("leaf {index} does not belong into a batch of this kind")]
    WrongLeaf {
        /// The leaf's position, from 0.
        index: usize,
    },
    /// The object is authentic, but speaks of something else than expected.
    #[error("the {object} has another {field} than expected: it belongs to something else")]
    Mismatch {
        /// The object.
        object: &'static str,
        /// What differs.
        field: &'static str,
    },
    /// The inclusion proof does not lead to the root.
    #[error("the proof does not lead from the leaf to the root: the batch does not hold this leaf at this place")]
    ProofFails,
}

impl SealError {
    /// Every code, for the test that each has its vector.
    pub const CODES: &'static [&'static str] = &[
        "BLOCK_TOO_LARGE",
        "WRONG_CID",
        "MALFORMED_CID",
        "UNSUPPORTED_CID",
        "MALFORMED_OBJECT",
        "NOT_CANONICAL",
        "UNSUPPORTED_VERSION",
        "TOO_MANY",
        "MALFORMED_CAR",
        "MISSING_ROOT",
        "INVALID_KEY",
        "WRONG_ALGORITHM",
        "CANNOT_OPEN",
        "INVALID_SIGNATURE",
        "INVALID_WINDOW",
        "EPOCH_NOT_COVERED",
        "STREAM_NOT_COVERED",
        "INDEX_OUT_OF_RANGE",
        "EMPTY_BATCH",
        "WRONG_LEAF",
        "MISMATCH",
        "PROOF_FAILS",
    ];

    /// The stable code of the variant.
    #[must_use]
    pub fn code(&self) -> &'static str {
        let position = match self {
            Self::BlockTooLarge { .. } => 0,
            Self::WrongCid { .. } => 1,
            Self::MalformedCid => 2,
            Self::UnsupportedCid { .. } => 3,
            Self::MalformedObject { .. } => 4,
            Self::NotCanonical { .. } => 5,
            Self::UnsupportedVersion { .. } => 6,
            Self::TooMany { .. } => 7,
            Self::MalformedCar { .. } => 8,
            Self::MissingRoot { .. } => 9,
            Self::InvalidKey { .. } => 10,
            Self::WrongAlgorithm { .. } => 11,
            Self::CannotOpen { .. } => 12,
            Self::InvalidSignature { .. } => 13,
            Self::InvalidWindow { .. } => 14,
            Self::EpochNotCovered { .. } => 15,
            Self::StreamNotCovered { .. } => 16,
            Self::IndexOutOfRange { .. } => 17,
            Self::EmptyBatch => 18,
            Self::WrongLeaf { .. } => 19,
            Self::Mismatch { .. } => 20,
            Self::ProofFails => 21,
        };
        Self::CODES[position]
    }
}

/// Why a block store does not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store does not hold the block.
    #[error("the store does not hold {cid}: ask another store, or the one that anchored it")]
    NotFound {
        /// The block.
        cid: Cid,
    },
    /// The store gave other bytes than those of the CID.
    #[error(
        "the store gave bytes of {computed} for {cid}: its data is damaged, restore it or fetch the block elsewhere"
    )]
    Corrupt {
        /// The block asked for.
        cid: Box<Cid>,
        /// The CID of the bytes it gave.
        computed: Box<Cid>,
    },
    /// Another process has the store open.
    #[error("{path} is open in another process: stop it, or reach the store through that process's gateway")]
    InUse {
        /// The store's file.
        path: String,
    },
    /// A block under a root is neither in the store nor among the blocks given.
    #[error("{missing}, which lies under root {root}, is not there: put all blocks of the root together")]
    MissingLink {
        /// The root that was to be pinned.
        root: Box<Cid>,
        /// The block that is missing.
        missing: Box<Cid>,
    },
    /// The store cannot be reached, or went away.
    #[error("{endpoint} is not reachable ({detail}): start it, or correct its address")]
    Unavailable {
        /// Where it was expected.
        endpoint: String,
        /// What the transport said.
        detail: String,
    },
    /// The store did not answer in time; whether it did what was asked is unknown.
    #[error("{endpoint} did not answer within {deadline_ms} ms: try again, putting the same blocks twice does no harm")]
    TimedOut {
        /// Where it is.
        endpoint: String,
        /// The deadline in milliseconds.
        deadline_ms: u64,
    },
    /// The store answered that it will not.
    #[error("{endpoint} refused: {detail}")]
    Refused {
        /// Where it is.
        endpoint: String,
        /// What it said.
        detail: String,
    },
    /// The file system or the database file failed.
    #[error("{path} failed: {detail}: check free space and permissions")]
    Disk {
        /// The store's file.
        path: String,
        /// What the system said.
        detail: String,
    },
    /// The block itself is at fault.
    #[error(transparent)]
    Object(#[from] SealError),
}

impl StoreError {
    /// The stable code of the variant; for [`StoreError::Object`] the object's own code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "NOT_FOUND",
            Self::Corrupt { .. } => "BLOCK_CORRUPT",
            Self::InUse { .. } => "STORE_IN_USE",
            Self::MissingLink { .. } => "MISSING_LINK",
            Self::Unavailable { .. } => "STORE_UNAVAILABLE",
            Self::TimedOut { .. } => "STORE_TIMED_OUT",
            Self::Refused { .. } => "STORE_REFUSED",
            Self::Disk { .. } => "STORE_DISK",
            Self::Object(error) => error.code(),
        }
    }

    /// Whether the same call may succeed later without any change: the caller keeps its data and tries again.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::TimedOut { .. })
    }
}
