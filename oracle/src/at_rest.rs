//! Encryption of what the oracle keeps on its disk: plaintext readings until they are sealed, and epoch shares.
//!
//! XChaCha20-Poly1305 (RFC 8439 with the 192-bit nonce of draft-irtf-cfrg-xchacha-03): `nonce ‖ ciphertext ‖ tag`, nonce random, so
//! that a restored copy of the disk never reuses one. The associated data names table and row: a ciphertext moved to another row does
//! not open. Must not: be used for anything that leaves the machine.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use rand::RngCore;
use zeroize::Zeroizing;

/// Length of the nonce in front of every ciphertext, bytes.
const NONCE_BYTES: usize = 24;

/// A key for rows of the oracle's own database. No `Debug`; the cipher's key schedule is wiped on drop.
pub(crate) struct RowKey(XChaCha20Poly1305);

/// The row does not open: another key, or bytes changed on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a row of table {table} does not open: the data directory belongs to other oracle keys or was changed; restore the keystore that wrote it"
)]
pub struct RowUnreadable {
    /// The table's name.
    pub table: &'static str,
}

impl RowKey {
    /// Takes the 32 key bytes.
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(XChaCha20Poly1305::new(key.into()))
    }

    /// Encrypts a row's value.
    pub(crate) fn seal(&self, table: &'static str, row: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let mut nonce = [0u8; NONCE_BYTES];
        rand::rngs::OsRng.fill_bytes(&mut nonce);
        let aad = [table.as_bytes(), &[0], row].concat();
        let ciphertext = self
            .0
            .encrypt(XNonce::from_slice(&nonce), Payload { msg: plaintext, aad: &aad })
            .expect("a row is far shorter than the cipher's limit of 256 GiB");
        [&nonce[..], &ciphertext].concat()
    }

    /// Decrypts a row's value; the plaintext is wiped on drop.
    ///
    /// # Errors
    /// [`RowUnreadable`] when the key, the row or the bytes are others than those that were sealed.
    pub(crate) fn open(
        &self,
        table: &'static str,
        row: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, RowUnreadable> {
        let (nonce, ciphertext) = sealed.split_at_checked(NONCE_BYTES).ok_or(RowUnreadable { table })?;
        let aad = [table.as_bytes(), &[0], row].concat();
        self.0
            .decrypt(XNonce::from_slice(nonce), Payload { msg: ciphertext, aad: &aad })
            .map(Zeroizing::new)
            .map_err(|_| RowUnreadable { table })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_opens_only_in_its_place_and_under_its_key() {
        let key = RowKey::new(&[7; 32]);
        let sealed = key.seal("entries", b"1", b"plain");
        assert_eq!(&*key.open("entries", b"1", &sealed).unwrap(), b"plain");
        assert!(key.open("entries", b"2", &sealed).is_err());
        assert!(key.open("shares", b"1", &sealed).is_err());
        assert!(RowKey::new(&[8; 32]).open("entries", b"1", &sealed).is_err());
        assert!(key.open("entries", b"1", &sealed[..10]).is_err());
    }
}
