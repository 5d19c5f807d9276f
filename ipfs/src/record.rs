//! A record: one reading sealed under two locks, the patient's (key tree) and the oracle's (epoch share).
//!
//! ```text
//! patient lock = HPKE export("pulsegate/patient-lock/v1", 32) of a base-mode context to the epoch public key,
//!                info = "pulsegate/patient-lock/v1" ‖ stream ‖ generation ‖ epoch          (RFC 9180, section 5.3)
//! record key   = HKDF-SHA-256(salt = 32 random bytes, ikm = patient lock ‖ epoch share,
//!                info = "pulsegate/record-key/v1" ‖ header)                                (RFC 5869)
//! ciphertext   = ChaCha20-Poly1305(record key, zero nonce, aad = header, padded payload)   (RFC 8439)
//! header       = DAG-CBOR of version, stream, generation, epoch, device, sequence, enc, salt
//! ```
//! Guarantees: either lock alone opens nothing; every record has its own key, so no key meets two nonces; the header cannot be changed.
//! The oracle encapsulates once per [`SealingWindow`] and forgets the lock with it.
//!
//! What a stored record shows to everyone: the stream (a hash of patient and category), generation, hour, device id, sequence
//! number, and its length in steps of [`PADDING_BYTES`]. It shows no value, no code, no time finer than the hour.

use hkdf::Hkdf;
use hpke::{Deserializable as _, OpModeR, OpModeS, Serializable as _};
use pulsegate_rules::registry::KeyAlgorithm;
use pulsegate_rules::{DeviceId, Epoch, Generation, StreamId};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::SealError;
use crate::block::{Block, encode};
use crate::key_tree::LeafSeed;
use crate::secret::{random_bytes, secret_bytes};
use crate::wrapping::{HpkeAead, HpkeKdf, HpkeKem, open_once, seal_once};

/// Largest payload of one record, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 512 * 1024;
/// Payloads are padded to a multiple of this, so that lengths tell little about values.
pub const PADDING_BYTES: usize = 256;
/// The version that is written.
pub const RECORD_VERSION: u8 = 1;
const OBJECT: &str = "record";
const LABEL_LOCK: &[u8] = b"pulsegate/patient-lock/v1";
const LABEL_KEY: &[u8] = b"pulsegate/record-key/v1";

secret_bytes!(
    /// The oracle's lock of one stream, generation and epoch. Released to a reader only after the consent check.
    EpochShare
);

impl EpochShare {
    /// A fresh share from OS randomness.
    #[must_use]
    pub fn random() -> Self {
        Self::from_bytes(random_bytes())
    }
}

/// What everyone may see of a record; authenticated by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// [`RECORD_VERSION`].
    pub version: u8,
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
}

/// The patient's lock of one stream, generation and epoch while the oracle seals into it. Keep in memory only.
pub struct SealingWindow {
    stream: StreamId,
    generation: Generation,
    epoch: Epoch,
    enc: [u8; 32],
    lock: Zeroizing<[u8; 32]>,
}

/// The header's wire form, with `enc` and `salt`: the AEAD's associated data.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderWire {
    v: u8,
    stream: StreamId,
    generation: Generation,
    epoch: Epoch,
    device: DeviceId,
    sequence: u64,
    enc: ByteArray<32>,
    salt: ByteArray<32>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordWire {
    header: HeaderWire,
    #[serde(with = "serde_bytes")]
    ciphertext: Vec<u8>,
}

impl SealingWindow {
    /// Encapsulates to the epoch's public key from the patient's directory.
    ///
    /// # Errors
    /// [`SealError::InvalidKey`] when the public key is of low order.
    pub fn new(
        stream: StreamId,
        generation: Generation,
        epoch: Epoch,
        epoch_public_key: &[u8; 32],
    ) -> Result<Self, SealError> {
        let invalid = |_| SealError::InvalidKey { algorithm: KeyAlgorithm::X25519Hpke };
        let public = <HpkeKem as hpke::Kem>::PublicKey::from_bytes(epoch_public_key).map_err(invalid)?;
        let info = lock_info(&stream, generation, epoch);
        let (enc, context) =
            hpke::setup_sender::<HpkeAead, HpkeKdf, HpkeKem>(&OpModeS::Base, &public, &info).map_err(invalid)?;
        let mut lock = Zeroizing::new([0; 32]);
        context.export(LABEL_LOCK, lock.as_mut()).map_err(invalid)?;
        Ok(Self { stream, generation, epoch, enc: enc.to_bytes().into(), lock })
    }

    /// The header of a record sealed in this window.
    #[must_use]
    pub fn header(&self, device: DeviceId, sequence: u64) -> RecordHeader {
        let (stream, generation, epoch) = (self.stream, self.generation, self.epoch);
        RecordHeader { version: RECORD_VERSION, stream, generation, epoch, device, sequence }
    }

    /// Which stream the window seals into.
    #[must_use]
    pub fn stream(&self) -> StreamId {
        self.stream
    }

    /// Which generation the window seals into.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Which epoch the window seals into.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }
}

/// Seals a payload as a record.
///
/// # Errors
/// [`SealError::Mismatch`] when the header is not of this window; [`SealError::TooMany`] above [`PAYLOAD_BYTES_MAX`];
/// [`SealError::UnsupportedVersion`] for another header version.
pub fn seal(
    window: &SealingWindow,
    share: &EpochShare,
    header: &RecordHeader,
    payload: &[u8],
) -> Result<Block, SealError> {
    if header.version != RECORD_VERSION {
        return Err(SealError::UnsupportedVersion { object: OBJECT, version: header.version.into() });
    }
    if *header != window.header(header.device, header.sequence) {
        return Err(SealError::Mismatch { object: "record header", field: "stream, generation or epoch" });
    }
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(SealError::TooMany { what: "payload bytes", count: payload.len(), max: PAYLOAD_BYTES_MAX });
    }
    let header = HeaderWire {
        v: header.version,
        stream: header.stream,
        generation: header.generation,
        epoch: header.epoch,
        device: header.device,
        sequence: header.sequence,
        enc: ByteArray::new(window.enc),
        salt: ByteArray::new(random_bytes()),
    };
    let aad = encode(&header, OBJECT)?;
    let key = record_key(&window.lock, share, &header.salt, &aad);
    let ciphertext = seal_once(&key, &aad, &pad(payload))?;
    Block::dag_cbor(&RecordWire { header, ciphertext })
}

/// Opens a record with both locks. `leaf` is of the record's generation, category and epoch, `share` of its stream and epoch.
///
/// # Errors
/// [`SealError::CannotOpen`] with a wrong lock or changed bytes; everything that decoding finds.
pub fn open(
    block: &Block,
    leaf: &LeafSeed,
    share: &EpochShare,
) -> Result<(RecordHeader, Zeroizing<Vec<u8>>), SealError> {
    const CANNOT_OPEN: SealError = SealError::CannotOpen { object: OBJECT };
    let wire = decode(block)?;
    let (private, _) = leaf.key_pair();
    let enc = <HpkeKem as hpke::Kem>::EncappedKey::from_bytes(&*wire.header.enc).map_err(|_| CANNOT_OPEN)?;
    let info = lock_info(&wire.header.stream, wire.header.generation, wire.header.epoch);
    let context = hpke::setup_receiver::<HpkeAead, HpkeKdf, HpkeKem>(&OpModeR::Base, &private, &enc, &info)
        .map_err(|_| CANNOT_OPEN)?;
    let mut lock = Zeroizing::new([0; 32]);
    context.export(LABEL_LOCK, lock.as_mut()).map_err(|_| CANNOT_OPEN)?;
    let aad = encode(&wire.header, OBJECT)?;
    let key = record_key(&lock, share, &wire.header.salt, &aad);
    let mut payload = open_once(&key, &aad, &wire.ciphertext).ok_or(CANNOT_OPEN)?;
    unpad(&mut payload)?;
    Ok((wire.header.parse(), payload))
}

/// The header of a record, not yet authenticated: only [`open`] shows that it is genuine.
///
/// # Errors
/// Everything that decoding finds.
pub fn header_of(block: &Block) -> Result<RecordHeader, SealError> {
    decode(block).map(|wire| wire.header.parse())
}

fn decode(block: &Block) -> Result<RecordWire, SealError> {
    let wire: RecordWire = block.decode(OBJECT)?;
    if wire.header.v != RECORD_VERSION {
        return Err(SealError::UnsupportedVersion { object: OBJECT, version: wire.header.v.into() });
    }
    Ok(wire)
}

impl HeaderWire {
    fn parse(&self) -> RecordHeader {
        RecordHeader {
            version: self.v,
            stream: self.stream,
            generation: self.generation,
            epoch: self.epoch,
            device: self.device,
            sequence: self.sequence,
        }
    }
}

fn lock_info(stream: &StreamId, generation: Generation, epoch: Epoch) -> Vec<u8> {
    [LABEL_LOCK, &stream.0, &generation.0.to_be_bytes(), &epoch.0.to_be_bytes()].concat()
}

fn record_key(lock: &[u8; 32], share: &EpochShare, salt: &[u8; 32], header: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut locks = Zeroizing::new([0; 64]);
    locks[..32].copy_from_slice(lock);
    locks[32..].copy_from_slice(share.expose());
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(salt), locks.as_ref())
        .expand_multi_info(&[LABEL_KEY, header], key.as_mut())
        .expect("32 bytes are within HKDF's output limit");
    key
}

/// One byte 0x80 and zeros up to the next multiple of [`PADDING_BYTES`] (ISO/IEC 7816-4).
fn pad(payload: &[u8]) -> Zeroizing<Vec<u8>> {
    let padded = (payload.len() / PADDING_BYTES + 1) * PADDING_BYTES;
    let mut bytes = Zeroizing::new(Vec::with_capacity(padded));
    bytes.extend_from_slice(payload);
    bytes.push(0x80);
    bytes.resize(padded, 0);
    bytes
}

fn unpad(bytes: &mut Zeroizing<Vec<u8>>) -> Result<(), SealError> {
    let end = bytes.iter().rposition(|byte| *byte != 0).filter(|end| bytes[*end] == 0x80);
    match end {
        Some(end) if bytes.len() == (end / PADDING_BYTES + 1) * PADDING_BYTES => {
            bytes.truncate(end);
            Ok(())
        }
        _ => Err(SealError::NotCanonical { object: "record padding" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_has_one_form() {
        for length in [0, 1, 255, 256, 257, 511, 512] {
            let payload = vec![0x80; length];
            let mut padded = pad(&payload);
            assert_eq!(padded.len() % PADDING_BYTES, 0);
            unpad(&mut padded).unwrap();
            assert_eq!(*padded, payload);
        }
        let no_end = vec![0; PADDING_BYTES];
        let other_end = [&[1][..], &[0; PADDING_BYTES - 1]].concat();
        let one_step_too_long = [&[0x80][..], &[0; 2 * PADDING_BYTES - 1]].concat();
        let not_a_step = vec![0x80];
        for wrong in [no_end, other_end, one_step_too_long, not_a_step, Vec::new()] {
            assert_eq!(unpad(&mut Zeroizing::new(wrong)).unwrap_err().code(), "NOT_CANONICAL");
        }
    }
}
