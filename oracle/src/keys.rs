//! The oracle's own keys: the account that submits, the key that signs batches and receipts, the keys of its disk.
//!
//! All come from one 32-byte seed by HKDF-SHA-256 (RFC 5869) with a label each, so one keystore entry is enough and no key says anything
//! about another. No `Debug`, no serialisation; wiped on drop. Must not: be logged, sent or stored by this crate.

use hkdf::Hkdf;
use k256::ecdsa::SigningKey;
use pulsegate_ledger::Signer;
use pulsegate_rules::{OracleKey, Principal};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Most derivations that are tried for the secp256k1 key; one is enough but with probability 2^-128.
const DERIVATIONS_MAX: u8 = 4;

/// The oracle's keys.
#[derive(Clone)]
pub struct OracleKeys {
    account: Signer,
    batch: SigningKey,
    log: Zeroizing<[u8; 32]>,
    shares: Zeroizing<[u8; 32]>,
}

impl OracleKeys {
    /// Derives all keys from the oracle's seed. The same seed gives the same keys.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let batch = (0..DERIVATIONS_MAX)
            .find_map(|attempt| SigningKey::from_slice(&*derive(seed, b"pulsegate/oracle/batch/v1", attempt)).ok())
            .expect("four hashes in a row above the group order have a probability of 2^-512");
        Self {
            account: Signer::from_seed(&derive(seed, b"pulsegate/oracle/account/v1", 0)),
            batch,
            log: derive(seed, b"pulsegate/oracle/log/v1", 0),
            shares: derive(seed, b"pulsegate/oracle/shares/v1", 0),
        }
    }

    /// The account that submits batches; its principal names this oracle's chains of batches.
    #[must_use]
    pub fn principal(&self) -> Principal {
        self.account.principal()
    }

    /// The public key that must be in the registry's oracle set.
    #[must_use]
    pub fn oracle_key(&self) -> OracleKey {
        oracle_key_of(&self.batch)
    }

    pub(crate) const fn account(&self) -> &Signer {
        &self.account
    }

    pub(crate) const fn batch(&self) -> &SigningKey {
        &self.batch
    }

    pub(crate) fn log(&self) -> &[u8; 32] {
        &self.log
    }

    pub(crate) fn shares(&self) -> &[u8; 32] {
        &self.shares
    }
}

fn derive(seed: &[u8; 32], label: &[u8], attempt: u8) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0u8; 32]);
    Hkdf::<Sha256>::new(None, seed)
        .expand_multi_info(&[label, &[attempt]], &mut *key)
        .expect("32 bytes are within HKDF's limit of 8,160");
    key
}

/// The compressed public key.
pub(crate) fn oracle_key_of(key: &SigningKey) -> OracleKey {
    let point = key.verifying_key().to_encoded_point(true);
    OracleKey(point.as_bytes().try_into().expect("a compressed secp256k1 point has 33 bytes"))
}

/// Signs a 32-byte digest: r ‖ s ‖ v with low s and v 0 or 1, nonce by RFC 6979.
pub(crate) fn sign_recoverable(key: &SigningKey, digest: &[u8; 32]) -> [u8; 65] {
    let (signature, recovery) =
        key.sign_prehash_recoverable(digest).expect("signing 32 bytes with a valid key does not fail");
    let mut bytes = [0u8; 65];
    bytes[..64].copy_from_slice(&signature.to_bytes());
    bytes[64] = recovery.to_byte();
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};

    #[test]
    fn keys_are_the_same_for_the_same_seed_and_differ_from_each_other() {
        let (one, again, other) =
            (OracleKeys::from_seed(&[1; 32]), OracleKeys::from_seed(&[1; 32]), OracleKeys::from_seed(&[2; 32]));
        assert_eq!(one.oracle_key(), again.oracle_key());
        assert_eq!(one.principal(), again.principal());
        assert_ne!(one.oracle_key(), other.oracle_key());
        assert_ne!(one.log(), one.shares());
    }

    #[test]
    fn a_signature_recovers_to_the_oracle_key() {
        let keys = OracleKeys::from_seed(&[3; 32]);
        let signature = sign_recoverable(keys.batch(), &[9; 32]);
        let recovered = VerifyingKey::recover_from_prehash(
            &[9; 32],
            &Signature::from_slice(&signature[..64]).unwrap(),
            RecoveryId::from_byte(signature[64]).unwrap(),
        )
        .unwrap();
        assert_eq!(recovered.to_encoded_point(true).as_bytes(), keys.oracle_key().0);
    }
}
