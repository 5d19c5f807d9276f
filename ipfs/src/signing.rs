//! Signatures over off-chain objects by a participant's registered signing key.
//!
//! What is signed is always `context ‖ 0x00 ‖ message`, so a signature over one kind of object never fits another.
//! Ed25519 (RFC 8032, strict verification) or RSA-PSS with SHA-256 (RFC 8017, salt of 32 bytes, 3072 bits or more).

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, PublicKey as RsaPublicKey};
use aws_lc_rs::signature::{KeyPair as _, RSA_PSS_2048_8192_SHA256, RSA_PSS_SHA256, UnparsedPublicKey};
use ed25519_dalek::{Signer as _, VerifyingKey};
use pulsegate_rules::registry::{KeyAlgorithm, PublicKey};

use crate::SealError;
use crate::wrapping::RSA_BITS_MIN;

/// What kind of object is signed. The text must not contain a zero byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SigningContext(pub &'static str);

/// A patient's directory of epoch public keys.
pub const CONTEXT_DIRECTORY: SigningContext = SigningContext("pulsegate/key-directory/v1");
/// A reader's request to the oracle for epoch shares.
pub const CONTEXT_RELEASE_REQUEST: SigningContext = SigningContext("pulsegate/release-request/v1");

/// A participant's private signing key. No `Debug`, zeroised on drop by the crates that hold it.
pub enum SigningKey {
    /// For [`KeyAlgorithm::Ed25519`].
    Ed25519(Box<ed25519_dalek::SigningKey>),
    /// For [`KeyAlgorithm::RsaPssSha256`].
    RsaPss(Box<RsaKeyPair>),
}

impl SigningKey {
    /// The Ed25519 key of a 32-byte seed.
    #[must_use]
    pub fn ed25519_from_seed(seed: &[u8; 32]) -> Self {
        Self::Ed25519(Box::new(ed25519_dalek::SigningKey::from_bytes(seed)))
    }

    /// An RSA key in PKCS #8 form.
    ///
    /// # Errors
    /// [`SealError::InvalidKey`] when it is malformed or shorter than [`RSA_BITS_MIN`].
    pub fn rsa_from_pkcs8(der: &[u8]) -> Result<Self, SealError> {
        let invalid = SealError::InvalidKey { algorithm: KeyAlgorithm::RsaPssSha256 };
        let key = RsaKeyPair::from_pkcs8(der).map_err(|_| invalid.clone())?;
        if key.public_modulus_len() * 8 < RSA_BITS_MIN {
            return Err(invalid);
        }
        Ok(Self::RsaPss(Box::new(key)))
    }

    /// The public key to register.
    ///
    /// # Errors
    /// [`SealError::InvalidKey`] when the RSA key has no SubjectPublicKeyInfo form.
    pub fn public_key(&self) -> Result<PublicKey, SealError> {
        match self {
            Self::Ed25519(key) => {
                Ok(PublicKey { algorithm: KeyAlgorithm::Ed25519, bytes: key.verifying_key().to_bytes().to_vec() })
            }
            Self::RsaPss(key) => {
                let algorithm = KeyAlgorithm::RsaPssSha256;
                let der: aws_lc_rs::encoding::PublicKeyX509Der<'_> =
                    key.public_key().as_der().map_err(|_| SealError::InvalidKey { algorithm })?;
                Ok(PublicKey { algorithm, bytes: der.as_ref().to_vec() })
            }
        }
    }

    /// Signs a message in a context.
    ///
    /// # Errors
    /// [`SealError::InvalidKey`] when the RSA library fails.
    pub fn sign(&self, context: SigningContext, message: &[u8]) -> Result<Vec<u8>, SealError> {
        let message = in_context(context, message);
        match self {
            Self::Ed25519(key) => Ok(key.sign(&message).to_bytes().to_vec()),
            Self::RsaPss(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PSS_SHA256, &SystemRandom::new(), &message, &mut signature)
                    .map_err(|_| SealError::InvalidKey { algorithm: KeyAlgorithm::RsaPssSha256 })?;
                Ok(signature)
            }
        }
    }
}

/// Checks a signature; `object` names what was signed, for the error.
///
/// # Errors
/// [`SealError::InvalidSignature`]; [`SealError::WrongAlgorithm`] for an encryption key; [`SealError::InvalidKey`] for a
/// malformed, weak or short one.
pub fn verify(
    key: &PublicKey,
    context: SigningContext,
    message: &[u8],
    signature: &[u8],
    object: &'static str,
) -> Result<(), SealError> {
    let message = in_context(context, message);
    let invalid_key = SealError::InvalidKey { algorithm: key.algorithm };
    let wrong = SealError::InvalidSignature { object };
    match key.algorithm {
        KeyAlgorithm::Ed25519 => {
            let bytes: [u8; 32] = key.bytes.as_slice().try_into().map_err(|_| invalid_key.clone())?;
            let public = VerifyingKey::from_bytes(&bytes).map_err(|_| invalid_key.clone())?;
            if public.is_weak() {
                return Err(invalid_key);
            }
            let signature = ed25519_dalek::Signature::from_slice(signature).map_err(|_| wrong.clone())?;
            public.verify_strict(&message, &signature).map_err(|_| wrong)
        }
        KeyAlgorithm::RsaPssSha256 => {
            let parsed = RsaPublicKey::from_der(&key.bytes).map_err(|_| invalid_key.clone())?;
            if parsed.modulus_len() * 8 < RSA_BITS_MIN {
                return Err(invalid_key);
            }
            UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, &key.bytes).verify(&message, signature).map_err(|_| wrong)
        }
        found => Err(SealError::WrongAlgorithm { found, action: "verify a signature" }),
    }
}

fn in_context(context: SigningContext, message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(context.0.len() + 1 + message.len());
    bytes.extend_from_slice(context.0.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(message);
    bytes
}
