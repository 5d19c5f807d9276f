//! An Ethereum wallet: a secp256k1 key that signs EIP-712 messages.
//!
//! The key is the participant's own (derived from the keystore's seed) or, with the feature `wallet`, one of an Ethereum
//! keystore file (Web3 Secret Storage). It signs digests only; it never submits anything.

use k256::ecdsa::SigningKey;
use sha3::{Digest, Keccak256};

use crate::failure::{Failure, Outcome};

/// A secp256k1 key; wiped when dropped, no `Debug`.
pub(crate) struct Wallet(SigningKey);

impl Wallet {
    /// The wallet of 32 secret bytes; `None` for the few values that are no key (zero, or not below the group's order).
    pub(crate) fn from_secret(secret: &[u8; 32]) -> Option<Self> {
        SigningKey::from_slice(secret).ok().map(Self)
    }

    /// The Ethereum address: the last 20 bytes of Keccak-256 of the uncompressed public key.
    pub(crate) fn address(&self) -> [u8; 20] {
        let point = self.0.verifying_key().to_encoded_point(false);
        let digest = Keccak256::digest(&point.as_bytes()[1..]);
        let mut address = [0u8; 20];
        address.copy_from_slice(&digest[12..]);
        address
    }

    /// Signs a digest (RFC 6979): r ‖ s ‖ v, with a low s and v 27 or 28.
    pub(crate) fn sign(&self, digest: &[u8; 32]) -> Outcome<[u8; 65]> {
        let (signature, recovery) = self.0.sign_prehash_recoverable(digest).map_err(|_| {
            Failure::new("WALLET_SIGNATURE_FAILED", "the wallet could not sign this digest")
                .next("try again with another deadline")
        })?;
        let mut bytes = [0u8; 65];
        bytes[..64].copy_from_slice(&signature.to_bytes());
        bytes[64] = 27 + recovery.to_byte();
        Ok(bytes)
    }

    /// Opens an Ethereum keystore file.
    #[cfg(feature = "wallet")]
    pub(crate) fn of_file(path: &std::path::Path, passphrase: &crate::passphrase::Passphrase) -> Outcome<Self> {
        let wrong = |why: String| {
            Failure::new("WALLET_UNREADABLE", format!("cannot open the Ethereum keystore {}: {why}", path.display()))
                .next("give a Web3 Secret Storage file (version 3) and its passphrase")
        };
        let wallet = ethers_signers::LocalWallet::decrypt_keystore(path, passphrase.bytes())
            .map_err(|error| wrong(error.to_string()))?;
        let secret = zeroize::Zeroizing::new(<[u8; 32]>::from(wallet.signer().to_bytes()));
        Self::from_secret(&secret).ok_or_else(|| wrong("its key is not a secp256k1 key".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_the_published_one_of_a_known_key() {
        // The first account of the development phrase "test test … junk", as Ethereum tools print it.
        let secret = hex::decode("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80").unwrap();
        let wallet = Wallet::from_secret(&secret.try_into().unwrap()).unwrap();
        assert_eq!(hex::encode(wallet.address()), "f39fd6e51aad88f6f4ce6ab8827279cfffb92266");
    }

    #[test]
    fn a_signature_recovers_to_the_address() {
        use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
        let wallet = Wallet::from_secret(&[9; 32]).unwrap();
        let bytes = wallet.sign(&[3; 32]).unwrap();
        let signature = Signature::from_slice(&bytes[..64]).unwrap();
        assert!(signature.normalize_s().is_none(), "s is low");
        let recovery = RecoveryId::from_byte(bytes[64] - 27).unwrap();
        let key = VerifyingKey::recover_from_prehash(&[3; 32], &signature, recovery).unwrap();
        assert_eq!(&key, wallet.0.verifying_key());
        assert!(Wallet::from_secret(&[0; 32]).is_none());
    }

    #[cfg(feature = "wallet")]
    #[test]
    fn an_ethereum_keystore_file_opens_with_its_password_only() {
        use zeroize::Zeroizing;
        let folder = tempfile::tempdir().unwrap();
        let mut rng = rand::rngs::OsRng;
        ethers_signers::LocalWallet::encrypt_keystore(folder.path(), &mut rng, [9; 32], "secret", Some("wallet.json"))
            .unwrap();
        let path = folder.path().join("wallet.json");
        let open =
            |text: &str| Wallet::of_file(&path, &crate::passphrase::Passphrase::new(Zeroizing::new(text.to_owned())));
        assert_eq!(open("secret").unwrap().address(), Wallet::from_secret(&[9; 32]).unwrap().address());
        assert_eq!(open("guess").err().unwrap().code, "WALLET_UNREADABLE");
    }
}
