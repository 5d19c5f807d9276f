//! The device's signing key: Ed25519 (RFC 8032).
//!
//! Guarantees: the secret is wiped on drop and has no `Debug`. Must not: be serialised; callers keep the 32-byte seed in a file of its own.

use ed25519_dalek::{Signer, SigningKey};
use pulsegate_rules::DeviceId;

/// A device's Ed25519 key pair. Wiped on drop.
pub struct DeviceKey {
    signing: SigningKey,
}

impl DeviceKey {
    /// The key pair of a 32-byte secret seed (RFC 8032, section 5.1.5). The seed must come from a random source.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self { signing: SigningKey::from_bytes(seed) }
    }

    /// The public key, as registered on chain.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.signing.verifying_key().to_bytes()
    }

    /// The id that follows from the public key.
    #[must_use]
    pub fn device_id(&self) -> DeviceId {
        DeviceId::of_public_key(&self.public_key())
    }

    /// Signs bytes that already carry their context; only this crate decides what is signed.
    pub(crate) fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        self.signing.sign(bytes).to_bytes()
    }
}
