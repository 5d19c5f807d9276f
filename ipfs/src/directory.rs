//! The patient's published epoch public keys: what the oracle seals to, without the patient being online.
//!
//! A directory is one block: the DAG-CBOR of the keys and the patient's signature over exactly those bytes. The chain names the
//! CID of the newest one, so an older directory cannot be passed off as current. It shows which categories the patient uses and for
//! which epochs keys are out; the keys themselves are unlinkable to the tree.

use pulsegate_rules::registry::PublicKey;
use pulsegate_rules::{Category, Epoch, Generation, Principal};
use serde::{Deserialize, Serialize};

use crate::SealError;
use crate::block::{Block, decode_canonical, encode};
use crate::key_tree::{EPOCHS, GenerationSecret};
use crate::signing::{CONTEXT_DIRECTORY, SigningKey, verify};

/// Most epochs per stream in one directory: 170 days. With every category the block stays below its limit.
pub const DIRECTORY_EPOCHS_MAX: u32 = 4_096;
const OBJECT: &str = "key directory";
const VERSION: u64 = 1;
const KEY_BYTES: usize = 32;

/// The epoch public keys of one patient and generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochKeyDirectory {
    /// Whose.
    pub patient: Principal,
    /// Of which key trees.
    pub generation: Generation,
    /// One entry per category, in code order, none twice.
    pub streams: Vec<StreamKeys>,
}

/// The epoch public keys of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamKeys {
    /// Which stream.
    pub category: Category,
    /// The epoch of the first key; the others follow without a gap.
    pub first_epoch: Epoch,
    /// X25519 public keys.
    pub public_keys: Vec<[u8; 32]>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignedWire {
    v: u64,
    #[serde(with = "serde_bytes")]
    keys: Vec<u8>,
    #[serde(with = "serde_bytes")]
    signature: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DirectoryWire {
    patient: Principal,
    generation: Generation,
    streams: Vec<StreamWire>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamWire {
    category: Category,
    first: Epoch,
    /// The keys one after the other.
    #[serde(with = "serde_bytes")]
    keys: Vec<u8>,
}

impl EpochKeyDirectory {
    /// Derives the public keys of `count` epochs from `first_epoch` on, for each category.
    ///
    /// # Errors
    /// [`SealError::TooMany`] above [`DIRECTORY_EPOCHS_MAX`]; [`SealError::InvalidWindow`] for no epochs, or past the tree.
    pub fn build(
        secret: &GenerationSecret,
        patient: Principal,
        generation: Generation,
        categories: &[Category],
        first_epoch: Epoch,
        count: u32,
    ) -> Result<Self, SealError> {
        check_range(first_epoch, count as usize)?;
        let mut categories = categories.to_vec();
        categories.sort();
        categories.dedup();
        let mut streams = Vec::with_capacity(categories.len());
        for category in categories {
            let root = secret.stream_root(category);
            let public_keys = (first_epoch.0..first_epoch.0 + count)
                .map(|epoch| root.leaf(Epoch(epoch)).map(|leaf| leaf.public_key()))
                .collect::<Result<_, _>>()?;
            streams.push(StreamKeys { category, first_epoch, public_keys });
        }
        Ok(Self { patient, generation, streams })
    }

    /// Signs the directory with the patient's registered signing key and makes its block.
    ///
    /// # Errors
    /// [`SealError::BlockTooLarge`], [`SealError::InvalidKey`].
    pub fn sign(&self, key: &SigningKey) -> Result<Block, SealError> {
        let streams = self.streams.iter().map(|stream| StreamWire {
            category: stream.category,
            first: stream.first_epoch,
            keys: stream.public_keys.concat(),
        });
        let wire = DirectoryWire { patient: self.patient, generation: self.generation, streams: streams.collect() };
        let keys = encode(&wire, OBJECT)?;
        let signature = key.sign(CONTEXT_DIRECTORY, &keys)?;
        Block::dag_cbor(&SignedWire { v: VERSION, keys, signature })
    }

    /// Opens a directory block: checks the signature, whose it is and which generation.
    ///
    /// # Errors
    /// [`SealError::InvalidSignature`], [`SealError::Mismatch`], and everything that decoding finds.
    pub fn open(
        block: &Block,
        key: &PublicKey,
        patient: &Principal,
        generation: Generation,
    ) -> Result<Self, SealError> {
        let signed: SignedWire = block.decode(OBJECT)?;
        if signed.v != VERSION {
            return Err(SealError::UnsupportedVersion { object: OBJECT, version: signed.v });
        }
        verify(key, CONTEXT_DIRECTORY, &signed.keys, &signed.signature, OBJECT)?;
        let wire: DirectoryWire = decode_canonical(&signed.keys, OBJECT)?;
        if wire.patient != *patient {
            return Err(SealError::Mismatch { object: OBJECT, field: "patient" });
        }
        if wire.generation != generation {
            return Err(SealError::Mismatch { object: OBJECT, field: "generation" });
        }
        if !wire.streams.is_sorted_by(|a, b| a.category < b.category) {
            return Err(SealError::NotCanonical { object: OBJECT });
        }
        let streams = wire.streams.into_iter().map(StreamWire::parse).collect::<Result<_, _>>()?;
        Ok(Self { patient: wire.patient, generation: wire.generation, streams })
    }

    /// The public key of an epoch, if the directory holds it.
    #[must_use]
    pub fn public_key(&self, category: Category, epoch: Epoch) -> Option<[u8; 32]> {
        let stream = self.streams.iter().find(|stream| stream.category == category)?;
        let offset = epoch.0.checked_sub(stream.first_epoch.0)?;
        stream.public_keys.get(offset as usize).copied()
    }
}

impl StreamWire {
    fn parse(self) -> Result<StreamKeys, SealError> {
        let (keys, rest) = self.keys.as_chunks::<KEY_BYTES>();
        if !rest.is_empty() {
            return Err(SealError::MalformedObject { object: OBJECT });
        }
        check_range(self.first, keys.len())?;
        Ok(StreamKeys { category: self.category, first_epoch: self.first, public_keys: keys.to_vec() })
    }
}

fn check_range(first: Epoch, count: usize) -> Result<(), SealError> {
    if count > DIRECTORY_EPOCHS_MAX as usize {
        return Err(SealError::TooMany { what: "epoch keys", count, max: DIRECTORY_EPOCHS_MAX as usize });
    }
    let until = u64::from(first.0) + count as u64;
    if count == 0 || until > u64::from(EPOCHS) {
        return Err(SealError::InvalidWindow { from: first, until: Epoch(u32::try_from(until).unwrap_or(u32::MAX)) });
    }
    Ok(())
}
