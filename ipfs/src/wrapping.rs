//! Secrets wrapped to a participant's public key.
//!
//! | algorithm | how |
//! |---|---|
//! | `x25519-hpke` | HPKE base mode, DHKEM(X25519, HKDF-SHA-256), HKDF-SHA-256, ChaCha20-Poly1305 (RFC 9180) |
//! | `rsa-oaep-sha256` | RSA-OAEP with SHA-256 and MGF1-SHA-256 (RFC 8017) of a fresh 32-byte key, label = `info`; then ChaCha20-Poly1305 (RFC 8439) with a zero nonce, which is safe because the key is used once |
//!
//! `info` names the purpose and `aad` the context; both must be the same when opening. Wrapping does not say who wrapped: whoever
//! knows the public key can. Authenticity comes from where the envelope is found (a grant on chain, a signed object).

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
    PublicEncryptingKey,
};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use hpke::{Deserializable as _, Kem as _, OpModeR, OpModeS, Serializable as _};
use pulsegate_rules::registry::{KeyAlgorithm, PublicKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::SealError;
use crate::secret::random_bytes;

/// `info` of the keys of a grant.
pub const INFO_GRANT_KEYS: &[u8] = b"pulsegate/grant-keys/v1";
/// `info` of the epoch shares in a release answer.
pub const INFO_EPOCH_SHARES: &[u8] = b"pulsegate/epoch-shares/v1";
/// `info` of a receipt sealed to the patient.
pub const INFO_RECEIPT: &[u8] = b"pulsegate/receipt/v1";
/// Smallest RSA key, in bits.
pub const RSA_BITS_MIN: usize = 3_072;
/// Largest plaintext of one envelope, in bytes: with everything around it a block stays below its limit.
pub const PLAINTEXT_BYTES_MAX: usize = 900 * 1024;

pub(crate) type HpkeKem = hpke::kem::X25519HkdfSha256;
pub(crate) type HpkeKdf = hpke::kdf::HkdfSha256;
pub(crate) type HpkeAead = hpke::aead::ChaCha20Poly1305;

/// A wrapped secret. What it shows: the algorithm and the length of the plaintext.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// How it is wrapped.
    pub alg: KeyAlgorithm,
    /// HPKE: the encapsulated key, 32 bytes. RSA: the encrypted content key.
    #[serde(with = "serde_bytes")]
    pub enc: Vec<u8>,
    /// The plaintext under the AEAD, with its tag of 16 bytes.
    #[serde(with = "serde_bytes")]
    pub ciphertext: Vec<u8>,
}

/// A participant's private decryption key. No `Debug`, zeroised on drop by the crates that hold it.
pub enum DecryptionKey {
    /// For [`KeyAlgorithm::X25519Hpke`].
    X25519(X25519Key),
    /// For [`KeyAlgorithm::RsaOaepSha256`].
    Rsa(RsaDecryptionKey),
}

/// An X25519 key pair.
pub struct X25519Key {
    private: <HpkeKem as hpke::Kem>::PrivateKey,
    public: [u8; 32],
}

/// An RSA key pair for OAEP.
pub struct RsaDecryptionKey(PrivateDecryptingKey);

impl DecryptionKey {
    /// The X25519 key pair of a 32-byte seed (HPKE `DeriveKeyPair`).
    #[must_use]
    pub fn x25519_from_seed(seed: &[u8; 32]) -> Self {
        let (private, public) = HpkeKem::derive_keypair(seed);
        Self::X25519(X25519Key { private, public: public.to_bytes().into() })
    }

    /// An RSA key in PKCS #8 form.
    ///
    /// # Errors
    /// [`SealError::InvalidKey`] when it is malformed or shorter than [`RSA_BITS_MIN`].
    pub fn rsa_from_pkcs8(der: &[u8]) -> Result<Self, SealError> {
        let invalid = SealError::InvalidKey { algorithm: KeyAlgorithm::RsaOaepSha256 };
        let key = PrivateDecryptingKey::from_pkcs8(der).map_err(|_| invalid.clone())?;
        if key.key_size_bits() < RSA_BITS_MIN {
            return Err(invalid);
        }
        Ok(Self::Rsa(RsaDecryptionKey(key)))
    }

    /// The public key to register.
    ///
    /// # Errors
    /// [`SealError::InvalidKey`] when the RSA key has no SubjectPublicKeyInfo form.
    pub fn public_key(&self) -> Result<PublicKey, SealError> {
        match self {
            Self::X25519(key) => Ok(PublicKey { algorithm: KeyAlgorithm::X25519Hpke, bytes: key.public.to_vec() }),
            Self::Rsa(key) => {
                let algorithm = KeyAlgorithm::RsaOaepSha256;
                let public = key.0.public_key();
                let der = public.as_der().map_err(|_| SealError::InvalidKey { algorithm })?;
                Ok(PublicKey { algorithm, bytes: der.as_ref().to_vec() })
            }
        }
    }

    fn algorithm(&self) -> KeyAlgorithm {
        match self {
            Self::X25519(_) => KeyAlgorithm::X25519Hpke,
            Self::Rsa(_) => KeyAlgorithm::RsaOaepSha256,
        }
    }
}

/// A fresh RSA key of 3072 bits in PKCS #8 form, good for decryption and for signing. Use one key for one of the two only.
///
/// # Errors
/// [`SealError::InvalidKey`] when the library cannot make one.
pub fn generate_rsa_pkcs8() -> Result<Zeroizing<Vec<u8>>, SealError> {
    let invalid = |_| SealError::InvalidKey { algorithm: KeyAlgorithm::RsaOaepSha256 };
    let key = PrivateDecryptingKey::generate(KeySize::Rsa3072).map_err(invalid)?;
    let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = key.as_der().map_err(invalid)?;
    Ok(Zeroizing::new(der.as_ref().to_vec()))
}

/// Wraps a secret to a public key.
///
/// # Errors
/// [`SealError::WrongAlgorithm`] for a signing key, [`SealError::InvalidKey`] for a malformed or weak one,
/// [`SealError::TooMany`] above [`PLAINTEXT_BYTES_MAX`].
pub fn wrap(recipient: &PublicKey, info: &[u8], aad: &[u8], plaintext: &[u8]) -> Result<Envelope, SealError> {
    if plaintext.len() > PLAINTEXT_BYTES_MAX {
        return Err(SealError::TooMany { what: "bytes to wrap", count: plaintext.len(), max: PLAINTEXT_BYTES_MAX });
    }
    match recipient.algorithm {
        KeyAlgorithm::X25519Hpke => wrap_hpke(&recipient.bytes, info, aad, plaintext),
        KeyAlgorithm::RsaOaepSha256 => wrap_rsa(&recipient.bytes, info, aad, plaintext),
        found => Err(SealError::WrongAlgorithm { found, action: "encrypt" }),
    }
}

/// Opens an envelope.
///
/// # Errors
/// [`SealError::WrongAlgorithm`] when the envelope was made for another kind of key; [`SealError::CannotOpen`] for everything
/// else, without telling a wrong key from changed bytes.
pub fn unwrap(
    key: &DecryptionKey,
    info: &[u8],
    aad: &[u8],
    envelope: &Envelope,
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    if envelope.alg != key.algorithm() {
        return Err(SealError::WrongAlgorithm { found: key.algorithm(), action: "open this envelope" });
    }
    match key {
        DecryptionKey::X25519(key) => unwrap_hpke(key, info, aad, envelope),
        DecryptionKey::Rsa(key) => unwrap_rsa(key, info, aad, envelope),
    }
}

const CANNOT_OPEN: SealError = SealError::CannotOpen { object: "envelope" };

fn wrap_hpke(public: &[u8], info: &[u8], aad: &[u8], plaintext: &[u8]) -> Result<Envelope, SealError> {
    let alg = KeyAlgorithm::X25519Hpke;
    let invalid = |_| SealError::InvalidKey { algorithm: alg };
    let public = <HpkeKem as hpke::Kem>::PublicKey::from_bytes(public).map_err(invalid)?;
    let (enc, ciphertext) =
        hpke::single_shot_seal::<HpkeAead, HpkeKdf, HpkeKem>(&OpModeS::Base, &public, info, plaintext, aad)
            .map_err(invalid)?;
    Ok(Envelope { alg, enc: enc.to_bytes().to_vec(), ciphertext })
}

fn unwrap_hpke(key: &X25519Key, info: &[u8], aad: &[u8], envelope: &Envelope) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let enc = <HpkeKem as hpke::Kem>::EncappedKey::from_bytes(&envelope.enc).map_err(|_| CANNOT_OPEN)?;
    let ciphertext = &envelope.ciphertext;
    hpke::single_shot_open::<HpkeAead, HpkeKdf, HpkeKem>(&OpModeR::Base, &key.private, &enc, info, ciphertext, aad)
        .map(Zeroizing::new)
        .map_err(|_| CANNOT_OPEN)
}

fn wrap_rsa(public: &[u8], info: &[u8], aad: &[u8], plaintext: &[u8]) -> Result<Envelope, SealError> {
    let alg = KeyAlgorithm::RsaOaepSha256;
    let invalid = SealError::InvalidKey { algorithm: alg };
    let public = PublicEncryptingKey::from_der(public).map_err(|_| invalid.clone())?;
    if public.key_size_bits() < RSA_BITS_MIN {
        return Err(invalid);
    }
    let public = OaepPublicEncryptingKey::new(public).map_err(|_| invalid.clone())?;
    let content_key = Zeroizing::new(random_bytes());
    let mut enc = vec![0; public.ciphertext_size()];
    let written = public
        .encrypt(&OAEP_SHA256_MGF1SHA256, content_key.as_ref(), &mut enc, Some(info))
        .map_err(|_| invalid.clone())?
        .len();
    enc.truncate(written);
    let ciphertext = seal_once(&content_key, aad, plaintext)?;
    Ok(Envelope { alg, enc, ciphertext })
}

fn unwrap_rsa(
    key: &RsaDecryptionKey,
    info: &[u8],
    aad: &[u8],
    envelope: &Envelope,
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let private = OaepPrivateDecryptingKey::new(key.0.clone()).map_err(|_| CANNOT_OPEN)?;
    let mut buffer = Zeroizing::new(vec![0; private.min_output_size()]);
    let content_key =
        private.decrypt(&OAEP_SHA256_MGF1SHA256, &envelope.enc, &mut buffer, Some(info)).map_err(|_| CANNOT_OPEN)?;
    let content_key = Zeroizing::new(<[u8; 32]>::try_from(&*content_key).map_err(|_| CANNOT_OPEN)?);
    open_once(&content_key, aad, &envelope.ciphertext).ok_or(CANNOT_OPEN)
}

/// ChaCha20-Poly1305 with a zero nonce, for a key that seals exactly once.
pub(crate) fn seal_once(key: &[u8; 32], aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
    ChaCha20Poly1305::new(Key::from_slice(key))
        .encrypt(&Nonce::default(), Payload { msg: plaintext, aad })
        .map_err(|_| SealError::TooMany { what: "bytes to seal", count: plaintext.len(), max: PLAINTEXT_BYTES_MAX })
}

/// Opens what [`seal_once`] made; `None` when key, `aad` or bytes differ.
pub(crate) fn open_once(key: &[u8; 32], aad: &[u8], ciphertext: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    ChaCha20Poly1305::new(Key::from_slice(key))
        .decrypt(&Nonce::default(), Payload { msg: ciphertext, aad })
        .ok()
        .map(Zeroizing::new)
}
