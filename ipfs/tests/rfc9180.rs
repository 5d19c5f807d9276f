//! The HPKE suite against RFC 9180, appendix A.2.1: through this crate's own functions where they allow it, and the suite's types
//! for the parts that need a given ephemeral key.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use hpke::rand_core::{Infallible, TryCryptoRng, TryRng};
use hpke::{Deserializable as _, Kem as _, OpModeR, OpModeS, Serializable as _};
use pulsegate_ipfs::key_tree::LeafSeed;
use pulsegate_ipfs::wrapping::{DecryptionKey, Envelope, unwrap};
use pulsegate_rules::registry::KeyAlgorithm;
use serde_json::Value;

type Kem = hpke::kem::X25519HkdfSha256;
type Kdf = hpke::kdf::HkdfSha256;
type Aead = hpke::aead::ChaCha20Poly1305;

fn vector() -> Value {
    serde_json::from_str(include_str!("../vectors/rfc9180_a2_1.json")).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn bytes32(value: &Value) -> [u8; 32] {
    bytes(value).try_into().unwrap()
}

/// Gives the vector's keying material as "randomness", once.
struct Fixed(Vec<u8>);

impl TryRng for Fixed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let (word, rest) = self.0.split_first_chunk::<4>().expect("only the keying material is asked for");
        let word = u32::from_le_bytes(*word);
        self.0 = rest.to_vec();
        Ok(word)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let (word, rest) = self.0.split_first_chunk::<8>().expect("only the keying material is asked for");
        let word = u64::from_le_bytes(*word);
        self.0 = rest.to_vec();
        Ok(word)
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        out.copy_from_slice(&self.0[..out.len()]);
        self.0.drain(..out.len());
        Ok(())
    }
}

impl TryCryptoRng for Fixed {}

#[test]
fn key_pairs_derive_as_in_the_rfc() {
    let vector = vector();
    for (ikm, private, public) in [("ikmR", "skRm", "pkRm"), ("ikmE", "skEm", "pkEm")] {
        let (sk, pk) = Kem::derive_keypair(&bytes(&vector[ikm]));
        // The RFC prints the key before the clamping that every use of it does; the crate writes it clamped (section 7.1.2).
        let clamped = <Kem as hpke::Kem>::PrivateKey::from_bytes(&bytes(&vector[private])).unwrap();
        assert_eq!(sk.to_bytes(), clamped.to_bytes());
        assert_eq!(pk.to_bytes().to_vec(), bytes(&vector[public]));
        assert_eq!(LeafSeed::from_bytes(bytes32(&vector[ikm])).public_key().to_vec(), bytes(&vector[public]));
        let key = DecryptionKey::x25519_from_seed(&bytes32(&vector[ikm]));
        assert_eq!(key.public_key().unwrap().bytes, bytes(&vector[public]));
    }
}

#[test]
fn the_rfcs_first_message_opens() {
    let vector = vector();
    let key = DecryptionKey::x25519_from_seed(&bytes32(&vector["ikmR"]));
    let message = &vector["encryptions"][0];
    let envelope =
        Envelope { alg: KeyAlgorithm::X25519Hpke, enc: bytes(&vector["enc"]), ciphertext: bytes(&message["ct"]) };
    let plaintext = unwrap(&key, &bytes(&vector["info"]), &bytes(&message["aad"]), &envelope).unwrap();
    assert_eq!(*plaintext, bytes(&vector["pt"]));
}

#[test]
fn every_message_and_export_is_as_in_the_rfc() {
    let vector = vector();
    let info = bytes(&vector["info"]);
    let recipient = <Kem as hpke::Kem>::PublicKey::from_bytes(&bytes(&vector["pkRm"])).unwrap();
    let mut randomness = Fixed(bytes(&vector["ikmE"]));
    let (enc, mut sender) =
        hpke::setup_sender_with_rng::<Aead, Kdf, Kem>(&OpModeS::Base, &recipient, &info, &mut randomness).unwrap();
    assert_eq!(enc.to_bytes().to_vec(), bytes(&vector["enc"]));
    let private = <Kem as hpke::Kem>::PrivateKey::from_bytes(&bytes(&vector["skRm"])).unwrap();
    let mut receiver = hpke::setup_receiver::<Aead, Kdf, Kem>(&OpModeR::Base, &private, &enc, &info).unwrap();

    let mut sequence = 0;
    for message in vector["encryptions"].as_array().unwrap() {
        while sequence < message["sequence"].as_u64().unwrap() {
            let skipped = sender.seal(b"", b"").unwrap();
            receiver.open(&skipped, b"").unwrap();
            sequence += 1;
        }
        let (plaintext, aad) = (bytes(&vector["pt"]), bytes(&message["aad"]));
        let ciphertext = sender.seal(&plaintext, &aad).unwrap();
        assert_eq!(ciphertext, bytes(&message["ct"]), "sequence {sequence}");
        assert_eq!(receiver.open(&ciphertext, &aad).unwrap(), plaintext);
        sequence += 1;
    }
    for export in vector["exports"].as_array().unwrap() {
        let (mut sent, mut received) = ([0; 32], [0; 32]);
        sender.export(&bytes(&export["context"]), &mut sent).unwrap();
        receiver.export(&bytes(&export["context"]), &mut received).unwrap();
        assert_eq!(sent.to_vec(), bytes(&export["value"]));
        assert_eq!(received, sent);
    }
}
