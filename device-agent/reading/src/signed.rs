//! The envelope: a tagged COSE_Sign1 (RFC 9052, section 4.2) with algorithm EdDSA and the device id as key id, both protected.
//!
//! Guarantees: `decode(bytes)` succeeds only for the one encoding that `sign` gives, so equal readings have equal bytes up to the
//! signature and nobody but the device can make a second form of one. Must not: call a reading authentic before `verify`.

use coset::cbor::Value as Cbor;
use coset::{CborSerializable, CoseSign1, Header, RegisteredLabelWithPrivate, TaggedCborSerializable, iana};
use ed25519_dalek::{Signature, VerifyingKey};
use pulsegate_rules::DeviceId;
use sha2::{Digest, Sha256};

use crate::error::ReadingError;
use crate::key::DeviceKey;
use crate::reading::Reading;
use crate::wire;

/// Longest signed reading, bytes.
pub const READING_BYTES_MAX: usize = 64 * 1024;
/// External associated data of the signature (RFC 9052, section 4.4): a signature of this format means nothing in another.
pub const SIGNATURE_CONTEXT: &[u8] = b"pulsegate/reading/v1";

/// A reading with its signature, as the bytes that travel. The signature is not yet checked: see [`SignedReading::verify`].
#[derive(Clone, PartialEq)]
pub struct SignedReading {
    reading: Reading,
    bytes: Vec<u8>,
    signed: Vec<u8>,
    signature: [u8; 64],
}

impl std::fmt::Debug for SignedReading {
    /// Shows the hash alone: what was measured has no place in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SignedReading(0x")?;
        self.hash().iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

impl SignedReading {
    pub(crate) fn sign(reading: Reading, key: &DeviceKey) -> Result<Self, ReadingError> {
        reading.check()?;
        if key.device_id() != reading.device {
            return Err(ReadingError::WrongKey);
        }
        let mut cose = envelope(&reading.device, wire::encode(&reading));
        let signed = cose.tbs_data(SIGNATURE_CONTEXT);
        let signature = key.sign(&signed);
        cose.signature = signature.to_vec();
        let bytes = to_bytes(cose);
        within_limit(&bytes)?;
        Ok(Self { reading, bytes, signed, signature })
    }

    /// Reads a signed reading; checks everything but the signature.
    ///
    /// # Errors
    /// Every [`ReadingError`] but `WrongSignature` and `WrongKey`.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReadingError> {
        within_limit(bytes)?;
        let malformed = |reason| ReadingError::MalformedCose { reason };
        let cose = CoseSign1::from_tagged_slice(bytes).map_err(|_| malformed("not CBOR of that form"))?;
        let device = device_of(&cose)?;
        let payload = cose.payload.as_deref().ok_or_else(|| malformed("the payload is detached"))?;
        let signature: [u8; 64] =
            cose.signature.as_slice().try_into().map_err(|_| malformed("the signature has not 64 bytes"))?;
        let reading = wire::decode(device, payload)?;
        let mut again = envelope(&device, wire::encode(&reading));
        let signed = again.tbs_data(SIGNATURE_CONTEXT);
        again.signature = signature.to_vec();
        if to_bytes(again) != bytes {
            return Err(ReadingError::NotDeterministic);
        }
        reading.check()?;
        Ok(Self { reading, bytes: bytes.to_vec(), signed, signature })
    }

    /// The reading, which anybody may have written: for looking up whose key to verify with, and for nothing else.
    #[must_use]
    pub const fn unverified(&self) -> &Reading {
        &self.reading
    }

    /// Checks the signature (strict RFC 8032: no malleable and no small-order forms) and gives the reading.
    ///
    /// # Errors
    /// [`ReadingError::WrongKey`] when the key is not that of the device id, [`ReadingError::WrongSignature`].
    pub fn verify(&self, public_key: &[u8; 32]) -> Result<&Reading, ReadingError> {
        if DeviceId::of_public_key(public_key) != self.reading.device {
            return Err(ReadingError::WrongKey);
        }
        let key = VerifyingKey::from_bytes(public_key).map_err(|_| ReadingError::WrongSignature)?;
        let signature = Signature::from_bytes(&self.signature);
        key.verify_strict(&self.signed, &signature).map_err(|_| ReadingError::WrongSignature)?;
        Ok(&self.reading)
    }

    /// SHA-256 of the signed bytes: the name by which the next reading links to this one.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(&self.bytes).into()
    }

    /// The bytes that travel.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn within_limit(bytes: &[u8]) -> Result<(), ReadingError> {
    if bytes.len() > READING_BYTES_MAX {
        return Err(ReadingError::TooLarge {
            what: "the signed reading",
            actual: bytes.len(),
            limit: READING_BYTES_MAX,
        });
    }
    Ok(())
}

/// The message without its signature.
fn envelope(device: &DeviceId, payload: Vec<u8>) -> CoseSign1 {
    let header = coset::HeaderBuilder::new().algorithm(iana::Algorithm::EdDSA).key_id(device.0.to_vec()).build();
    coset::CoseSign1Builder::new().protected(header).payload(payload).build()
}

fn to_bytes(cose: CoseSign1) -> Vec<u8> {
    cose.to_tagged_vec().expect("a message of byte strings and integers always encodes")
}

/// The device id out of headers that hold algorithm and key id, protected, and nothing else.
fn device_of(cose: &CoseSign1) -> Result<DeviceId, ReadingError> {
    let wrong = |reason| ReadingError::WrongHeader { reason };
    if cose.unprotected != Header::default() {
        return Err(wrong("there is an unprotected header"));
    }
    let header = &cose.protected.header;
    if header.alg != Some(RegisteredLabelWithPrivate::Assigned(iana::Algorithm::EdDSA)) {
        return Err(wrong("the algorithm is not EdDSA"));
    }
    let id = header.key_id.as_slice().try_into().map_err(|_| wrong("the key id has not 32 bytes"))?;
    let expected = Header { alg: header.alg.clone(), key_id: header.key_id.clone(), ..Header::default() };
    if *header != expected {
        return Err(wrong("there are other protected headers"));
    }
    Ok(DeviceId(id))
}

/// Reads one CBOR value and nothing after it.
pub(crate) fn cbor(bytes: &[u8]) -> Option<Cbor> {
    Cbor::from_slice(bytes).ok()
}
