//! Blocks and their CIDs: CIDv1 over SHA-256, codec raw or DAG-CBOR, nothing else.
//!
//! A [`Block`] made here always has the CID of its bytes. Decoding is strict: the bytes must be the one encoding that this
//! software would write for the value, so an unknown key, a longer integer or a trailing byte is refused.
//! Sources: <https://ipld.io/specs/codecs/dag-cbor/spec/>, <https://github.com/multiformats/cid>.

use std::collections::BTreeSet;

use bytes::Bytes;
use cid::Cid;
use ipld_core::ipld::Ipld;
use multihash::Multihash;
use pulsegate_rules::CidBytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::SealError;

/// Largest block, in bytes. Kubo carries blocks of up to 2 MiB between nodes; half of it leaves room.
pub const BLOCK_BYTES_MAX: usize = 1 << 20;
/// Multicodec of plain bytes.
pub const CODEC_RAW: u64 = 0x55;
/// Multicodec of DAG-CBOR.
pub const CODEC_DAG_CBOR: u64 = 0x71;
const HASH_SHA2_256: u64 = 0x12;
const DIGEST_BYTES: usize = 32;

/// Bytes with their CID. Only made by hashing, so the two belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Block {
    /// The CID of the bytes.
    pub cid: Cid,
    /// At most [`BLOCK_BYTES_MAX`].
    pub bytes: Bytes,
}

impl Block {
    /// Encodes a value as DAG-CBOR and hashes it.
    ///
    /// # Errors
    /// [`SealError::BlockTooLarge`]; [`SealError::MalformedObject`] for a value that DAG-CBOR cannot hold (NaN, for one).
    pub fn dag_cbor(value: &impl Serialize) -> Result<Self, SealError> {
        Self::from_bytes(CODEC_DAG_CBOR, encode(value, "DAG-CBOR value")?)
    }

    /// Hashes bytes that are already encoded. The bytes are not decoded.
    ///
    /// # Errors
    /// [`SealError::BlockTooLarge`]; [`SealError::UnsupportedCid`] for a codec that is neither raw nor DAG-CBOR.
    pub fn from_bytes(codec: u64, bytes: impl Into<Bytes>) -> Result<Self, SealError> {
        let bytes = bytes.into();
        if bytes.len() > BLOCK_BYTES_MAX {
            return Err(SealError::BlockTooLarge { bytes: bytes.len(), max: BLOCK_BYTES_MAX });
        }
        let cid = cid_of(codec, &bytes);
        check_supported(&cid)?;
        Ok(Self { cid, bytes })
    }

    /// Takes bytes that came with a CID, and recomputes it.
    ///
    /// # Errors
    /// [`SealError::UnsupportedCid`], [`SealError::BlockTooLarge`], [`SealError::WrongCid`].
    pub fn verified(claimed: &Cid, bytes: impl Into<Bytes>) -> Result<Self, SealError> {
        check_supported(claimed)?;
        let block = Self::from_bytes(claimed.codec(), bytes)?;
        if block.cid != *claimed {
            return Err(SealError::WrongCid { claimed: Box::new(*claimed), computed: Box::new(block.cid) });
        }
        Ok(block)
    }

    /// Checks once more that bytes and CID belong together.
    ///
    /// # Errors
    /// As [`Block::verified`].
    pub fn verify(&self) -> Result<(), SealError> {
        Self::verified(&self.cid, self.bytes.clone()).map(|_| ())
    }

    /// Decodes the block strictly; `object` names what is expected, for the error.
    ///
    /// # Errors
    /// [`SealError::MalformedObject`], [`SealError::NotCanonical`].
    pub fn decode<T: Serialize + DeserializeOwned>(&self, object: &'static str) -> Result<T, SealError> {
        if self.cid.codec() != CODEC_DAG_CBOR {
            return Err(SealError::MalformedObject { object });
        }
        decode_canonical(&self.bytes, object)
    }

    /// The CIDs that the block links to, each once; none for a raw block.
    ///
    /// # Errors
    /// [`SealError::MalformedObject`] when a DAG-CBOR block does not decode.
    pub fn links(&self) -> Result<BTreeSet<Cid>, SealError> {
        let mut links = BTreeSet::new();
        if self.cid.codec() == CODEC_DAG_CBOR {
            let value: Ipld = serde_ipld_dagcbor::from_slice(&self.bytes)
                .map_err(|_| SealError::MalformedObject { object: "DAG-CBOR value" })?;
            value.references(&mut links);
        }
        Ok(links)
    }
}

/// The CID of bytes under a codec.
fn cid_of(codec: u64, bytes: &[u8]) -> Cid {
    let hash =
        Multihash::wrap(HASH_SHA2_256, &Sha256::digest(bytes)).expect("a SHA-256 digest is shorter than 64 bytes");
    Cid::new_v1(codec, hash)
}

/// Refuses every CID that is not CIDv1, raw or DAG-CBOR, over SHA-256.
///
/// # Errors
/// [`SealError::UnsupportedCid`].
pub fn check_supported(cid: &Cid) -> Result<(), SealError> {
    let fits = cid.version() == cid::Version::V1
        && matches!(cid.codec(), CODEC_RAW | CODEC_DAG_CBOR)
        && cid.hash().code() == HASH_SHA2_256
        && cid.hash().digest().len() == DIGEST_BYTES;
    if fits { Ok(()) } else { Err(SealError::UnsupportedCid { cid: *cid }) }
}

/// The 36-byte form of a CID that contracts keep.
///
/// # Errors
/// [`SealError::UnsupportedCid`].
pub fn cid_bytes(cid: &Cid) -> Result<CidBytes, SealError> {
    check_supported(cid)?;
    let bytes = cid.to_bytes().try_into().map_err(|_| SealError::UnsupportedCid { cid: *cid })?;
    Ok(CidBytes(bytes))
}

/// The CID of the 36-byte form that contracts keep.
///
/// # Errors
/// [`SealError::MalformedCid`], [`SealError::UnsupportedCid`].
pub fn cid_from_bytes(bytes: &CidBytes) -> Result<Cid, SealError> {
    let cid = Cid::try_from(&bytes.0[..]).map_err(|_| SealError::MalformedCid)?;
    check_supported(&cid)?;
    Ok(cid)
}

/// Reads the text of a CID, as users and URLs give it.
///
/// # Errors
/// [`SealError::MalformedCid`], [`SealError::UnsupportedCid`].
pub fn cid_from_text(text: &str) -> Result<Cid, SealError> {
    let cid = Cid::try_from(text).map_err(|_| SealError::MalformedCid)?;
    check_supported(&cid)?;
    Ok(cid)
}

/// Encodes a value as DAG-CBOR; `object` names it for the error.
///
/// # Errors
/// [`SealError::MalformedObject`] for a value that DAG-CBOR cannot hold.
pub fn encode(value: &impl Serialize, object: &'static str) -> Result<Vec<u8>, SealError> {
    serde_ipld_dagcbor::to_vec(value).map_err(|_| SealError::MalformedObject { object })
}

/// As [`encode`], into a buffer that is zeroised on drop. With a `capacity` of at least the result's length nothing is left behind
/// by a growing buffer.
pub(crate) fn encode_secret(
    value: &impl Serialize,
    capacity: usize,
    object: &'static str,
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    serde_ipld_dagcbor::to_writer(&mut *bytes, value).map_err(|_| SealError::MalformedObject { object })?;
    Ok(bytes)
}

/// Decodes DAG-CBOR and refuses every encoding but the one that [`encode`] writes for the same value.
///
/// # Errors
/// [`SealError::MalformedObject`], [`SealError::NotCanonical`].
pub fn decode_canonical<T: Serialize + DeserializeOwned>(bytes: &[u8], object: &'static str) -> Result<T, SealError> {
    let value: T = serde_ipld_dagcbor::from_slice(bytes).map_err(|_| SealError::MalformedObject { object })?;
    if *encode_secret(&value, bytes.len(), object)? != bytes {
        return Err(SealError::NotCanonical { object });
    }
    Ok(value)
}
