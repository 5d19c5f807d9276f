//! The key of an account: sr25519 (Schnorr over Ristretto, as `schnorrkel` does it), signing context `substrate`.
//!
//! Guarantees: the secret is zeroised when the last clone is dropped and cannot be printed, compared or serialised.
//! Must not: derive a key from anything but what it is given.

use std::sync::Arc;

use parity_scale_codec::Encode;
use pulsegate_rules::Principal;
use schnorrkel::derive::ChainCode;
use schnorrkel::{ExpansionMode, Keypair, MiniSecretKey};
use zeroize::Zeroizing;

/// Substrate's signing context.
const SIGNING_CONTEXT: &[u8] = b"substrate";

/// The mini-secret of Substrate's published development phrase, whose accounts `//Alice`, `//Bob`, … a `--dev` node endows.
const DEVELOPMENT_SEED: [u8; 32] = [
    0xfa, 0xc7, 0x95, 0x9d, 0xbf, 0xe7, 0x2f, 0x05, 0x2e, 0x5a, 0x0c, 0x3c, 0x8d, 0x65, 0x30, 0xf2, 0x02, 0xb0, 0x2f,
    0xd8, 0xf9, 0xf5, 0xca, 0x35, 0x80, 0xec, 0x8d, 0xeb, 0x77, 0x97, 0x47, 0x9e,
];

/// An account that can sign. Clones share one copy of the secret.
#[derive(Clone)]
pub struct Signer {
    pair: Arc<Keypair>,
}

impl Signer {
    /// The account of a 32-byte seed, expanded as Substrate does it. The caller zeroises its own copy.
    ///
    /// # Panics
    /// Never: 32 bytes are always a mini-secret.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let mini = MiniSecretKey::from_bytes(seed).expect("every 32 bytes are a mini-secret");
        Self { pair: Arc::new(mini.expand_to_keypair(ExpansionMode::Ed25519)) }
    }

    /// The development account `//NAME`. Its secret is public: for development chains only.
    ///
    /// Hard derivation with the SCALE-encoded name as chain code; names longer than 31 bytes are cut to what fits.
    ///
    /// # Panics
    /// Never: see [`Signer::from_seed`].
    #[must_use]
    pub fn dev(name: &str) -> Self {
        let mut code = [0; 32];
        for (slot, byte) in code.iter_mut().zip(name.encode()) {
            *slot = byte;
        }
        let root = MiniSecretKey::from_bytes(&DEVELOPMENT_SEED).expect("every 32 bytes are a mini-secret");
        let (mini, _) = root.expand(ExpansionMode::Ed25519).hard_derive_mini_secret_key(Some(ChainCode(code)), b"");
        let seed = Zeroizing::new(mini.to_bytes());
        Self::from_seed(&seed)
    }

    /// The account.
    #[must_use]
    pub fn principal(&self) -> Principal {
        Principal(self.pair.public.to_bytes())
    }

    /// Signs bytes.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.pair.sign_simple(SIGNING_CONTEXT, message).to_bytes()
    }

    /// Whether `signature` is `signer`'s over `message`. Malformed keys and signatures are simply not valid.
    #[must_use]
    pub fn verify(signer: &Principal, message: &[u8], signature: &[u8; 64]) -> bool {
        let Ok(public) = schnorrkel::PublicKey::from_bytes(&signer.0) else { return false };
        let Ok(signature) = schnorrkel::Signature::from_bytes(signature) else { return false };
        public.verify_simple(SIGNING_CONTEXT, message, &signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::Signer;

    #[test]
    fn development_account_is_the_published_one() {
        let alice = "0xd43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d";
        assert_eq!(Signer::dev("Alice").principal().to_string(), alice);
    }

    #[test]
    fn signature_of_another_message_or_signer_is_refused() {
        let (one, other) = (Signer::from_seed(&[1; 32]), Signer::from_seed(&[2; 32]));
        let signature = one.sign(b"message");
        assert!(Signer::verify(&one.principal(), b"message", &signature));
        assert!(!Signer::verify(&one.principal(), b"massage", &signature));
        assert!(!Signer::verify(&other.principal(), b"message", &signature));
        assert!(!Signer::verify(&one.principal(), b"message", &[0; 64]));
    }
}
