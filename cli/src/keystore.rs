//! The encrypted keystore file: a public part that anybody may read, and a secret part behind a passphrase.
//!
//! JSON. `key ‖ check = Argon2id(passphrase, salt)` (RFC 9106, its second recommended parameter set, stored in the file);
//! `ciphertext = XChaCha20-Poly1305(key, nonce, secret, aad = the file's other fields)`. The check tells a wrong passphrase
//! from a damaged file and binds the file to one key. Files are made with mode 0600 and replaced atomically (written beside,
//! synced, renamed, directory synced), so a crash leaves the old file or the new one.
//! Must not log, print or keep the passphrase or the secret part.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use pulsegate_rules::Principal;
use pulsegate_rules::registry::Role;
use rand::RngCore;
use rand::rngs::OsRng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::failure::{Failure, Outcome};
use crate::passphrase::Passphrase;

/// The file's format and its version.
const FORMAT: &str = "pulsegate-keystore/v1";
/// Memory of the key derivation for new files, KiB (RFC 9106, section 4, second recommendation).
const MEMORY_KIB: u32 = 64 * 1_024;
/// Passes of the key derivation for new files.
const PASSES: u32 = 3;
/// Lanes of the key derivation for new files.
const LANES: u32 = 4;
/// Most memory that a file may ask for, KiB, so that a crafted file cannot exhaust the machine.
const MEMORY_KIB_MAX: u32 = 1_024 * 1_024;
/// Most passes that a file may ask for.
const PASSES_MAX: u32 = 16;
/// Most lanes that a file may ask for.
const LANES_MAX: u32 = 16;
/// Longest keystore file that is read, bytes.
const FILE_BYTES_MAX: u64 = 1_024 * 1_024;
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 24;
const KEY_BYTES: usize = 32;
const CHECK_BYTES: usize = 16;

/// What a keystore is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// A patient, practitioner, insurer or researcher.
    Participant,
    /// An oracle service.
    Oracle,
    /// The administrator of a deployment.
    Operator,
}

impl Kind {
    /// The kind in words.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Participant => "a participant",
            Self::Oracle => "an oracle",
            Self::Operator => "an operator",
        }
    }
}

/// What anybody may read of a keystore, without the passphrase. Authenticated when the secret part is opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublicPart {
    /// What it is for.
    pub(crate) kind: Kind,
    /// The account that its owner acts as.
    pub(crate) account: Principal,
    /// A participant's role.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) role: Option<Role>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeystoreFile {
    format: String,
    public: PublicPart,
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kdf {
    algorithm: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
    check: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cipher {
    algorithm: String,
    nonce: String,
}

/// Whether a file may be there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteMode {
    /// It must not be there.
    Create,
    /// It is replaced atomically.
    Replace,
}

/// Encrypts `secret` and writes the file; durable on return.
pub(crate) fn seal(
    path: &Path,
    public: &PublicPart,
    secret: &[u8],
    passphrase: &Passphrase,
    write: WriteMode,
) -> Outcome<()> {
    if write == WriteMode::Create && path.exists() {
        let message = format!("there is a keystore at {} already", path.display());
        return Err(Failure::new("KEYSTORE_EXISTS", message)
            .next("name another file with --keystore; a keystore is never overwritten"));
    }
    let mut salt = [0u8; SALT_BYTES];
    let mut nonce = [0u8; NONCE_BYTES];
    OsRng.fill_bytes(&mut salt);
    OsRng.fill_bytes(&mut nonce);
    let mut kdf = Kdf {
        algorithm: "argon2id".to_owned(),
        memory_kib: MEMORY_KIB,
        passes: PASSES,
        lanes: LANES,
        salt: hex::encode(salt),
        check: String::new(),
    };
    let derived = derive(&kdf, passphrase).ok_or_else(|| malformed(path, "key derivation parameters"))?;
    kdf.check = hex::encode(&derived[KEY_BYTES..]);
    let cipher = Cipher { algorithm: "xchacha20-poly1305".to_owned(), nonce: hex::encode(nonce) };
    let mut file =
        KeystoreFile { format: FORMAT.to_owned(), public: public.clone(), kdf, cipher, ciphertext: String::new() };
    let payload = Payload { msg: secret, aad: &file.associated_data() };
    let ciphertext = cipher_of(&derived)
        .encrypt(XNonce::from_slice(&nonce), payload)
        .expect("a keystore is far below the cipher's length limit");
    file.ciphertext = hex::encode(ciphertext);
    let text = serde_json::to_string_pretty(&file).expect("a keystore is plain data");
    write_atomically(path, text.as_bytes()).map_err(|error| {
        Failure::new("KEYSTORE_UNWRITABLE", format!("cannot write the keystore {}: {error}", path.display()))
            .next("name a place that you may write to with --keystore")
    })
}

/// Reads and decrypts a file.
pub(crate) fn open(path: &Path, passphrase: &Passphrase) -> Outcome<(PublicPart, Zeroizing<Vec<u8>>)> {
    let file = read(path)?;
    let nonce = hex::decode(&file.cipher.nonce).ok().filter(|nonce| nonce.len() == NONCE_BYTES);
    let nonce = nonce.ok_or_else(|| malformed(path, "nonce"))?;
    let ciphertext = hex::decode(&file.ciphertext).map_err(|_| malformed(path, "ciphertext"))?;
    let derived = derive(&file.kdf, passphrase).ok_or_else(|| malformed(path, "key derivation parameters"))?;
    let check = hex::decode(&file.kdf.check).map_err(|_| malformed(path, "check value"))?;
    if aws_lc_rs::constant_time::verify_slices_are_equal(&check, &derived[KEY_BYTES..]).is_err() {
        let message = format!("this passphrase does not open the keystore {}", path.display());
        return Err(
            Failure::new("WRONG_PASSPHRASE", message).next("try again; there is no way around a lost passphrase")
        );
    }
    let payload = Payload { msg: &ciphertext, aad: &file.associated_data() };
    let secret = cipher_of(&derived).decrypt(XNonce::from_slice(&nonce), payload).map_err(|_| {
        let message = format!("the keystore {} was changed or damaged after it was written", path.display());
        Failure::new("KEYSTORE_TAMPERED", message).next("restore the file from a backup")
    })?;
    Ok((file.public, Zeroizing::new(secret)))
}

/// Reads the public part alone. Not authenticated: whoever can write the file can change it.
pub(crate) fn read_public(path: &Path) -> Outcome<PublicPart> {
    read(path).map(|file| file.public)
}

impl KeystoreFile {
    /// What the ciphertext is bound to: everything else in the file.
    fn associated_data(&self) -> Vec<u8> {
        let others = (&self.format, &self.public, &self.kdf, &self.cipher);
        serde_json::to_vec(&others).expect("a keystore's public fields are plain data")
    }
}

fn read(path: &Path) -> Outcome<KeystoreFile> {
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Failure::new("KEYSTORE_NOT_FOUND", format!("there is no keystore at {}", path.display()))
                .next("make one with `pulsegate enrol`, or name yours with --keystore FILE or PULSEGATE_KEYSTORE")
        }
        _ => Failure::new("KEYSTORE_UNREADABLE", format!("cannot read the keystore {}: {error}", path.display()))
            .next("check who may read the file, or name yours with --keystore FILE or PULSEGATE_KEYSTORE"),
    };
    if std::fs::metadata(path).map_err(unreadable)?.len() > FILE_BYTES_MAX {
        return Err(malformed(path, "length"));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let file: KeystoreFile = serde_json::from_str(&text).map_err(|error| malformed(path, &error.to_string()))?;
    let known =
        file.format == FORMAT && file.kdf.algorithm == "argon2id" && file.cipher.algorithm == "xchacha20-poly1305";
    if !known {
        let message = format!(
            "the keystore {} is of format \"{}\", this program reads \"{FORMAT}\"",
            path.display(),
            file.format
        );
        return Err(Failure::new("KEYSTORE_UNSUPPORTED", message).next("use the version of pulsegate that made it"));
    }
    Ok(file)
}

fn malformed(path: &Path, what: &str) -> Failure {
    Failure::new("KEYSTORE_MALFORMED", format!("{} is not a whole keystore file: {what}", path.display()))
        .next("restore the file from a backup, or name another one with --keystore")
}

fn cipher_of(derived: &[u8; KEY_BYTES + CHECK_BYTES]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(derived[..KEY_BYTES].into())
}

/// Key and check value; `None` when the file's parameters are out of bounds.
fn derive(kdf: &Kdf, passphrase: &Passphrase) -> Option<Zeroizing<[u8; KEY_BYTES + CHECK_BYTES]>> {
    if kdf.memory_kib > MEMORY_KIB_MAX || kdf.passes > PASSES_MAX || kdf.lanes > LANES_MAX {
        return None;
    }
    let salt = hex::decode(&kdf.salt).ok().filter(|salt| salt.len() == SALT_BYTES)?;
    let params = Params::new(kdf.memory_kib, kdf.passes, kdf.lanes, Some(KEY_BYTES + CHECK_BYTES)).ok()?;
    let mut derived = Zeroizing::new([0u8; KEY_BYTES + CHECK_BYTES]);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into(passphrase.bytes(), &salt, derived.as_mut_slice()).ok()?;
    Some(derived)
}

/// Writes a private file (mode 0600) so that a crash leaves the old one or the new one; durable on return.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let name = path.file_name().ok_or(std::io::ErrorKind::InvalidInput)?.to_string_lossy();
    let beside = folder.join(format!(".{name}.{:016x}", OsRng.next_u64()));
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        File::open(folder)?.sync_all()
    });
    if written.is_err() {
        // The error that matters is the one above; a left-over file beside holds only ciphertext.
        let _ = std::fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(Zeroizing::new(text.to_owned()))
    }

    fn public() -> PublicPart {
        PublicPart { kind: Kind::Participant, account: Principal([7; 32]), role: Some(Role::Patient) }
    }

    fn sealed(folder: &Path) -> std::path::PathBuf {
        let path = folder.join("patient.keystore.json");
        seal(&path, &public(), b"the secret part", &passphrase("correct horse"), WriteMode::Create).unwrap();
        path
    }

    fn changed(path: &Path, change: impl Fn(&mut serde_json::Value)) {
        let mut file: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        change(&mut file);
        std::fs::write(path, file.to_string()).unwrap();
    }

    #[test]
    fn the_right_passphrase_opens_and_the_file_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = sealed(folder.path());
        let (read, secret) = open(&path, &passphrase("correct horse")).unwrap();
        assert_eq!((read, secret.as_slice()), (public(), b"the secret part".as_slice()));
        assert_eq!(read_public(&path).unwrap(), public());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_wrong_passphrase_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = sealed(folder.path());
        assert_eq!(open(&path, &passphrase("wrong horse")).unwrap_err().code, "WRONG_PASSPHRASE");
    }

    #[test]
    fn a_truncated_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = sealed(folder.path());
        let whole = std::fs::read(&path).unwrap();
        for length in [0, 1, whole.len() / 2, whole.len() - 2] {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(
                open(&path, &passphrase("correct horse")).unwrap_err().code,
                "KEYSTORE_MALFORMED",
                "{length} bytes"
            );
        }
        std::fs::write(&path, &whole).unwrap();
        changed(&path, |file| {
            let ciphertext = file["ciphertext"].as_str().unwrap().to_owned();
            file["ciphertext"] = ciphertext[..ciphertext.len() - 2].into();
        });
        assert_eq!(open(&path, &passphrase("correct horse")).unwrap_err().code, "KEYSTORE_TAMPERED");
    }

    #[test]
    fn a_tampered_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = sealed(folder.path());
        let whole = std::fs::read(&path).unwrap();
        let other_account = Principal([8; 32]).to_string();
        type Change<'a> = Box<dyn Fn(&mut serde_json::Value) + 'a>;
        let changes: Vec<(&str, Change<'_>)> = vec![
            ("KEYSTORE_TAMPERED", Box::new(|file| file["public"]["account"] = other_account.clone().into())),
            ("KEYSTORE_TAMPERED", Box::new(|file| file["public"]["role"] = "insurer".into())),
            ("KEYSTORE_TAMPERED", Box::new(|file| file["ciphertext"] = "00".repeat(31).into())),
            ("WRONG_PASSPHRASE", Box::new(|file| file["kdf"]["passes"] = 4.into())),
            ("WRONG_PASSPHRASE", Box::new(|file| file["kdf"]["salt"] = "00".repeat(16).into())),
            ("KEYSTORE_MALFORMED", Box::new(|file| file["kdf"]["memory_kib"] = u32::MAX.into())),
            ("KEYSTORE_MALFORMED", Box::new(|file| file["cipher"]["nonce"] = "00".into())),
            ("KEYSTORE_MALFORMED", Box::new(|file| file["extra"] = 1.into())),
            ("KEYSTORE_UNSUPPORTED", Box::new(|file| file["format"] = "pulsegate-keystore/v2".into())),
        ];
        for (code, change) in changes {
            std::fs::write(&path, &whole).unwrap();
            changed(&path, change);
            assert_eq!(open(&path, &passphrase("correct horse")).unwrap_err().code, code);
        }
    }

    #[test]
    fn a_keystore_is_never_overwritten_by_a_new_one_but_replaced_by_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = sealed(folder.path());
        let again = seal(&path, &public(), b"other", &passphrase("correct horse"), WriteMode::Create);
        assert_eq!(again.unwrap_err().code, "KEYSTORE_EXISTS");
        seal(&path, &public(), b"grown", &passphrase("correct horse"), WriteMode::Replace).unwrap();
        assert_eq!(open(&path, &passphrase("correct horse")).unwrap().1.as_slice(), b"grown");
        assert_eq!(read_public(&folder.path().join("none")).unwrap_err().code, "KEYSTORE_NOT_FOUND");
    }
}
