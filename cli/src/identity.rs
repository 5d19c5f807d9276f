//! A participant's keys, opened from its keystore file.
//!
//! `key = HKDF-SHA-256(seed, "pulsegate/participant/<use>/v1" ‖ attempt)` (RFC 5869), one label each for the account (sr25519),
//! decryption (X25519), signing (Ed25519) and wallet (secp256k1), so one random seed is the whole identity and no key says
//! anything about another. RSA keys, where a participant brings them, replace the X25519 and the Ed25519 key. A patient's
//! generation secrets are random, not derived: destroying one in the file destroys what it opens.
//! Guarantees: a change is in the file before the function returns. Must not: print, log or serialise a secret anywhere else.

use std::path::{Path, PathBuf};

use hkdf::Hkdf;
use pulsegate_ipfs::key_tree::GenerationSecret;
use pulsegate_ipfs::signing::SigningKey;
use pulsegate_ipfs::wrapping::DecryptionKey;
use pulsegate_ledger::Signer;
use pulsegate_oracle::OracleKeys;
use pulsegate_rules::registry::{PublicKey, Role};
use pulsegate_rules::{Generation, Principal};
use rand::RngCore;
use rand::rngs::OsRng;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::failure::{Failure, Outcome};
use crate::keystore::{self, Kind, PublicPart, WriteMode};
use crate::passphrase::Passphrase;
use crate::wallet::Wallet;

/// Most derivations that are tried for the secp256k1 key; one is enough but with probability 2^-128.
const DERIVATIONS_MAX: u8 = 4;
/// Room for the encoded secret part, so that it is never copied to grow, bytes.
const SECRET_BYTES: usize = 256 * 1_024;
/// Longest RSA key file, bytes.
const RSA_FILE_BYTES_MAX: u64 = 64 * 1_024;

/// The keys of one participant. No `Debug`.
pub(crate) struct Identity {
    path: PathBuf,
    passphrase: Passphrase,
    public: PublicPart,
    secret: SecretPart,
    account: Signer,
    decryption: DecryptionKey,
    signing: SigningKey,
}

/// RSA private keys that a participant brings (PKCS#8, PEM or DER, 3072 bits or more).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RsaFiles<'a> {
    /// For wrapping (RSA-OAEP).
    pub(crate) decryption: Option<&'a Path>,
    /// For signing (RSA-PSS). One key never does both.
    pub(crate) signing: Option<&'a Path>,
}

/// What the keystore file encrypts, as JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretPart {
    seed: SecretBytes,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    generations: Vec<KeptGeneration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rsa_decryption: Option<SecretBytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rsa_signing: Option<SecretBytes>,
}

/// A patient's generation.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptGeneration {
    generation: Generation,
    secret: SecretBytes,
    /// When the next one came into force, Unix seconds; `None` while it is in force, or when that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retired_at_s: Option<u64>,
}

/// Secret bytes; wiped when dropped. In the encrypted part they are a list of numbers, which needs no copy as text.
#[derive(Zeroize, ZeroizeOnDrop)]
struct SecretBytes(Vec<u8>);

impl Serialize for SecretBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SecretBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self)
    }
}

impl SecretBytes {
    fn random() -> Self {
        let mut bytes = vec![0u8; 32];
        OsRng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    fn array(&self, path: &Path) -> Outcome<Zeroizing<[u8; 32]>> {
        let array = <[u8; 32]>::try_from(self.0.as_slice()).map_err(|_| malformed(path))?;
        Ok(Zeroizing::new(array))
    }
}

impl Identity {
    /// Makes a new identity and its keystore file, which must not exist.
    pub(crate) fn create(path: &Path, role: Role, rsa: RsaFiles<'_>, passphrase: Passphrase) -> Outcome<Self> {
        if rsa.decryption.is_some() && rsa.decryption == rsa.signing {
            return Err(Failure::new("RSA_KEY_REUSED", "one RSA key must not both wrap and sign")
                .next("give two different key files"));
        }
        let secret = SecretPart {
            seed: SecretBytes::random(),
            generations: Vec::new(),
            rsa_decryption: rsa.decryption.map(read_rsa).transpose()?,
            rsa_signing: rsa.signing.map(read_rsa).transpose()?,
        };
        let account = account_of(&*secret.seed.array(path)?);
        let public = PublicPart { kind: Kind::Participant, account: account.principal(), role: Some(role) };
        let identity = Self::assemble(path, passphrase, public, secret)?;
        identity.save(WriteMode::Create)?;
        Ok(identity)
    }

    /// Opens a participant's keystore file.
    pub(crate) fn unlock(path: &Path, passphrase: Passphrase) -> Outcome<Self> {
        let (public, secret) = keystore::open(path, &passphrase)?;
        if public.kind != Kind::Participant {
            return Err(wrong_kind(path, &public, Kind::Participant));
        }
        let secret = serde_json::from_slice(&secret).map_err(|_| malformed(path))?;
        Self::assemble(path, passphrase, public, secret)
    }

    fn assemble(path: &Path, passphrase: Passphrase, public: PublicPart, secret: SecretPart) -> Outcome<Self> {
        let seed = secret.seed.array(path)?;
        let decryption = match &secret.rsa_decryption {
            Some(der) => DecryptionKey::rsa_from_pkcs8(&der.0)?,
            None => DecryptionKey::x25519_from_seed(&derive(&seed, b"pulsegate/participant/decryption/v1", 0)),
        };
        let signing = match &secret.rsa_signing {
            Some(der) => SigningKey::rsa_from_pkcs8(&der.0)?,
            None => SigningKey::ed25519_from_seed(&derive(&seed, b"pulsegate/participant/signing/v1", 0)),
        };
        Ok(Self { path: path.to_owned(), passphrase, public, account: account_of(&seed), decryption, signing, secret })
    }

    /// The account that the participant acts as.
    pub(crate) fn account(&self) -> &Signer {
        &self.account
    }

    /// The account's public name.
    pub(crate) fn principal(&self) -> Principal {
        self.account.principal()
    }

    /// The key that opens what is wrapped to this participant.
    pub(crate) const fn decryption(&self) -> &DecryptionKey {
        &self.decryption
    }

    /// The key that signs release requests and key directories.
    pub(crate) const fn signing(&self) -> &SigningKey {
        &self.signing
    }

    /// The public key that others wrap to, as the registry keeps it.
    pub(crate) fn encryption_key(&self) -> Outcome<PublicKey> {
        Ok(self.decryption.public_key()?)
    }

    /// The public key that checks signatures, as the registry keeps it.
    pub(crate) fn signing_key(&self) -> Outcome<PublicKey> {
        Ok(self.signing.public_key()?)
    }

    /// The participant's own secp256k1 key.
    pub(crate) fn wallet(&self) -> Outcome<Wallet> {
        let seed = self.secret.seed.array(&self.path)?;
        (0..DERIVATIONS_MAX)
            .find_map(|attempt| Wallet::from_secret(&derive(&seed, b"pulsegate/participant/wallet/v1", attempt)))
            .ok_or_else(|| malformed(&self.path))
    }

    /// The patient's generations, oldest first, each with the time at which it was retired (Unix seconds), where known.
    pub(crate) fn generations(&self) -> impl Iterator<Item = (Generation, Option<u64>)> {
        self.secret.generations.iter().map(|kept| (kept.generation, kept.retired_at_s))
    }

    /// The secret of one generation.
    pub(crate) fn generation_secret(&self, generation: Generation) -> Outcome<GenerationSecret> {
        let kept = self.secret.generations.iter().find(|kept| kept.generation == generation).ok_or_else(|| {
            let message =
                format!("the keystore {} does not hold the secret of generation {generation}", self.path.display());
            Failure::new("GENERATION_MISSING", message)
                .next("use the newest copy of the keystore; without it the records of that generation stay closed")
        })?;
        Ok(GenerationSecret::from_bytes(*kept.secret.array(&self.path)?))
    }

    /// Makes a generation's secret and keeps it in the file, unless it is there.
    pub(crate) fn ensure_generation(&mut self, generation: Generation) -> Outcome<()> {
        if self.secret.generations.iter().any(|kept| kept.generation == generation) {
            return Ok(());
        }
        self.secret.generations.push(KeptGeneration { generation, secret: SecretBytes::random(), retired_at_s: None });
        self.secret.generations.sort_by_key(|kept| kept.generation);
        self.save(WriteMode::Replace)
    }

    /// Notes when a generation was followed by the next one.
    pub(crate) fn retire(&mut self, generation: Generation, at_s: u64) -> Outcome<()> {
        if let Some(kept) = self.secret.generations.iter_mut().find(|kept| kept.generation == generation) {
            kept.retired_at_s = Some(at_s);
        }
        self.save(WriteMode::Replace)
    }

    fn save(&self, mode: WriteMode) -> Outcome<()> {
        keystore::seal(&self.path, &self.public, &encode(&self.secret), &self.passphrase, mode)
    }
}

/// The account of any keystore file, of whatever kind.
pub(crate) fn unlock_account(path: &Path, passphrase: impl FnOnce(&Path) -> Outcome<Passphrase>) -> Outcome<Signer> {
    let kind = keystore::read_public(path)?.kind;
    let (_, secret) = keystore::open(path, &passphrase(path)?)?;
    let secret: SecretPart = serde_json::from_slice(&secret).map_err(|_| malformed(path))?;
    let seed = secret.seed.array(path)?;
    match kind {
        Kind::Participant | Kind::Operator => Ok(account_of(&seed)),
        Kind::Oracle => {
            Err(Failure::new("KEYSTORE_OF_ORACLE", format!("{} is the keystore of an oracle", path.display()))
                .next("name the keystore of a participant or an operator"))
        }
    }
}

/// The operator's account, made with its keystore when there is none yet.
pub(crate) fn operator_account(path: &Path, passphrase: &Passphrase) -> Outcome<Signer> {
    let seed = seed_of(path, passphrase, Kind::Operator, |seed| account_of(seed).principal())?;
    Ok(account_of(&seed))
}

/// An oracle's keys, made with their keystore when there is none yet.
pub(crate) fn oracle_keys(path: &Path, passphrase: &Passphrase) -> Outcome<OracleKeys> {
    let seed = seed_of(path, passphrase, Kind::Oracle, |seed| OracleKeys::from_seed(seed).principal())?;
    Ok(OracleKeys::from_seed(&seed))
}

fn seed_of(
    path: &Path,
    passphrase: &Passphrase,
    kind: Kind,
    account: impl Fn(&[u8; 32]) -> Principal,
) -> Outcome<Zeroizing<[u8; 32]>> {
    if path.exists() {
        let (public, secret) = keystore::open(path, passphrase)?;
        if public.kind != kind {
            return Err(wrong_kind(path, &public, kind));
        }
        let secret: SecretPart = serde_json::from_slice(&secret).map_err(|_| malformed(path))?;
        return secret.seed.array(path);
    }
    let secret =
        SecretPart { seed: SecretBytes::random(), generations: Vec::new(), rsa_decryption: None, rsa_signing: None };
    let seed = secret.seed.array(path)?;
    let public = PublicPart { kind, account: account(&seed), role: None };
    keystore::seal(path, &public, &encode(&secret), passphrase, WriteMode::Create)?;
    Ok(seed)
}

fn encode(secret: &SecretPart) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_BYTES));
    serde_json::to_writer(&mut *bytes, secret).expect("the secret part is numbers and lists, and memory does not fail");
    bytes
}

fn account_of(seed: &[u8; 32]) -> Signer {
    Signer::from_seed(&derive(seed, b"pulsegate/participant/account/v1", 0))
}

fn derive(seed: &[u8; 32], label: &[u8], attempt: u8) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0u8; 32]);
    Hkdf::<Sha256>::new(None, seed)
        .expand_multi_info(&[label, &[attempt]], &mut *key)
        .expect("32 bytes are within HKDF's limit of 8,160");
    key
}

/// Reads a PKCS#8 key, PEM or DER; returns the DER.
fn read_rsa(path: &Path) -> Outcome<SecretBytes> {
    let wrong = |why: String| {
        Failure::new("RSA_KEY_UNREADABLE", format!("cannot use the RSA key {}: {why}", path.display()))
            .next("give an unencrypted PKCS#8 key of 3072 bits or more, PEM or DER: openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072")
    };
    let length = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
    if length > RSA_FILE_BYTES_MAX {
        return Err(wrong(format!("it has more than {RSA_FILE_BYTES_MAX} bytes")));
    }
    let bytes = std::fs::read(path).map(Zeroizing::new).map_err(|error| wrong(error.to_string()))?;
    let der = if bytes.starts_with(b"-----BEGIN") {
        use rustls::pki_types::pem::PemObject;
        let key =
            rustls::pki_types::PrivatePkcs8KeyDer::from_pem_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        SecretBytes(key.secret_pkcs8_der().to_vec())
    } else {
        SecretBytes(bytes.to_vec())
    };
    DecryptionKey::rsa_from_pkcs8(&der.0).map_err(|error| wrong(error.to_string()))?;
    Ok(der)
}

fn malformed(path: &Path) -> Failure {
    Failure::new("KEYSTORE_MALFORMED", format!("the secret part of {} is not a whole one", path.display()))
        .next("restore the file from a backup")
}

fn wrong_kind(path: &Path, public: &PublicPart, wanted: Kind) -> Failure {
    let message = format!("{} is the keystore of {}, not of {}", path.display(), public.kind.words(), wanted.words());
    Failure::new("WRONG_KEYSTORE_KIND", message).next("name the right file")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase() -> Passphrase {
        Passphrase::new(Zeroizing::new("correct horse".to_owned()))
    }

    #[test]
    fn an_unlocked_identity_is_the_created_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anna.json");
        let mut made = Identity::create(&path, Role::Patient, RsaFiles::default(), passphrase()).unwrap();
        made.ensure_generation(Generation(0)).unwrap();
        made.ensure_generation(Generation(1)).unwrap();
        made.retire(Generation(0), 7).unwrap();
        let opened = Identity::unlock(&path, passphrase()).unwrap();
        assert_eq!(opened.principal(), made.principal());
        assert_eq!(opened.wallet().unwrap().address(), made.wallet().unwrap().address());
        assert_eq!(opened.encryption_key().unwrap(), made.encryption_key().unwrap());
        assert_eq!(opened.signing_key().unwrap(), made.signing_key().unwrap());
        assert_eq!(opened.generations().collect::<Vec<_>>(), [(Generation(0), Some(7)), (Generation(1), None)]);
        assert!(opened.generation_secret(Generation(1)).unwrap() == made.generation_secret(Generation(1)).unwrap());
        assert!(opened.generation_secret(Generation(0)).unwrap() != made.generation_secret(Generation(1)).unwrap());
        assert_eq!(opened.generation_secret(Generation(2)).err().unwrap().code, "GENERATION_MISSING");
    }

    #[test]
    fn a_keystore_of_another_kind_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("oracle.json");
        let keys = oracle_keys(&path, &passphrase()).unwrap();
        assert_eq!(oracle_keys(&path, &passphrase()).unwrap().oracle_key(), keys.oracle_key());
        assert_eq!(keystore::read_public(&path).unwrap().account, keys.principal());
        assert_eq!(Identity::unlock(&path, passphrase()).err().unwrap().code, "WRONG_KEYSTORE_KIND");
        assert_eq!(operator_account(&path, &passphrase()).err().unwrap().code, "WRONG_KEYSTORE_KIND");
    }

    #[test]
    fn rsa_keys_replace_the_curve_keys_and_one_key_never_does_both() {
        use pulsegate_rules::registry::KeyAlgorithm;
        let folder = tempfile::tempdir().unwrap();
        let files = ["wrap.der", "sign.der"].map(|name| folder.path().join(name));
        for file in &files {
            std::fs::write(file, &**pulsegate_ipfs::wrapping::generate_rsa_pkcs8().unwrap()).unwrap();
        }
        let path = folder.path().join("insurer.json");
        let same = RsaFiles { decryption: Some(&files[0]), signing: Some(&files[0]) };
        assert_eq!(Identity::create(&path, Role::Insurer, same, passphrase()).err().unwrap().code, "RSA_KEY_REUSED");
        let rsa = RsaFiles { decryption: Some(&files[0]), signing: Some(&files[1]) };
        Identity::create(&path, Role::Insurer, rsa, passphrase()).unwrap();
        let opened = Identity::unlock(&path, passphrase()).unwrap();
        assert_eq!(opened.encryption_key().unwrap().algorithm, KeyAlgorithm::RsaOaepSha256);
        assert_eq!(opened.signing_key().unwrap().algorithm, KeyAlgorithm::RsaPssSha256);
        std::fs::write(&files[0], b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
        let other = folder.path().join("other.json");
        assert_eq!(
            Identity::create(&other, Role::Insurer, rsa, passphrase()).err().unwrap().code,
            "RSA_KEY_UNREADABLE"
        );
        assert!(!other.exists());
    }
}
