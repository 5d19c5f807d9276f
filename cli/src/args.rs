//! What every command takes, and how principals, categories and purposes are written on the command line.

use std::path::{Path, PathBuf};

use clap::Args;
use pulsegate_rules::{Category, DeviceId, Principal, Purpose};

use crate::failure::{Failure, Outcome};
use crate::identity::Identity;
use crate::keystore;
use crate::output::Output;
use crate::passphrase::{Need, Passphrase};

/// The options that every command takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct Globals {
    /// Configuration file: which chain, block store, contracts and oracle.
    #[arg(long, global = true, env = "PULSEGATE_CONFIG", default_value = "pulsegate.toml", value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Your encrypted keystore file [default: pulsegate/keystore.json in your configuration folder].
    #[arg(long, global = true, env = "PULSEGATE_KEYSTORE", value_name = "FILE")]
    pub(crate) keystore: Option<PathBuf>,
    /// File whose first line is the keystore's passphrase; else PULSEGATE_PASSPHRASE, else a prompt.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Print one JSON document instead of words.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

impl Globals {
    /// Where results go.
    pub(crate) const fn output(&self) -> Output {
        Output { json: self.json }
    }

    /// The participant's keystore file.
    pub(crate) fn keystore_path(&self) -> Outcome<PathBuf> {
        if let Some(path) = &self.keystore {
            return Ok(path.clone());
        }
        let configured = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
        let folder = configured.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".config")));
        folder.map(|folder| folder.join("pulsegate").join("keystore.json")).ok_or_else(|| {
            Failure::new("KEYSTORE_NOT_NAMED", "neither --keystore nor HOME says where your keystore is")
                .next("name it with --keystore FILE or PULSEGATE_KEYSTORE")
        })
    }

    /// The passphrase of a keystore.
    pub(crate) fn passphrase(&self, need: Need, keystore: &Path) -> Outcome<Passphrase> {
        Passphrase::obtain(self.passphrase_file.as_deref(), need, keystore)
    }

    /// Opens the participant's keystore.
    pub(crate) fn unlock(&self) -> Outcome<Identity> {
        self.unlock_file(&self.keystore_path()?)
    }

    /// Opens a named keystore of a participant.
    pub(crate) fn unlock_file(&self, path: &Path) -> Outcome<Identity> {
        // A missing file is told before a passphrase is asked for.
        keystore::read_public(path)?;
        Identity::unlock(path, self.passphrase(Need::Unlock, path)?)
    }
}

/// Reads a principal: 32 bytes of hex, an Ethereum address, or a keystore file, whose public part names its account.
pub(crate) fn principal(text: &str) -> Result<Principal, String> {
    if let Ok(principal) = text.parse() {
        return Ok(principal);
    }
    let address =
        text.strip_prefix("0x").and_then(|digits| hex::decode(digits).ok()).and_then(|bytes| bytes.try_into().ok());
    if let Some(address) = address {
        return Ok(Principal::of_ethereum_address(&address));
    }
    let path = Path::new(text);
    if path.is_file() {
        return keystore::read_public(path).map(|public| public.account).map_err(|failure| failure.message);
    }
    Err("give 0x and 64 hex digits (an account), 0x and 40 (an Ethereum address), or a keystore file".to_owned())
}

/// Reads a device id.
pub(crate) fn device(text: &str) -> Result<DeviceId, String> {
    text.parse().map_err(|_| "give 0x and 64 hex digits, as `pulsegate device list` prints them".to_owned())
}

/// Reads a recoverable secp256k1 signature, r ‖ s ‖ v.
pub(crate) fn signature(text: &str) -> Result<[u8; 65], String> {
    let bytes = text.strip_prefix("0x").and_then(|digits| hex::decode(digits).ok());
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| "give 0x and 130 hex digits, as a wallet returns them for typed data".to_owned())
}

/// Reads a category by its FHIR code.
pub(crate) fn category(text: &str) -> Result<Category, String> {
    Category::from_code(&text.to_lowercase()).ok_or_else(|| format!("give one of: {}", codes(Category::ALL)))
}

/// Reads a purpose of use by its HL7 code.
pub(crate) fn purpose(text: &str) -> Result<Purpose, String> {
    Purpose::from_code(&text.to_uppercase()).ok_or_else(|| format!("give one of: {}", codes(Purpose::ALL)))
}

fn codes<T: std::fmt::Display>(all: &[T]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principals_are_accounts_or_ethereum_addresses() {
        assert_eq!(principal(&format!("0x{}", "07".repeat(32))).unwrap(), Principal([7; 32]));
        let mapped = principal(&format!("0x{}", "07".repeat(20))).unwrap();
        assert_eq!(mapped, Principal::of_ethereum_address(&[7; 20]));
        for wrong in ["", "0x", "alice", "0x07", &"0x07".repeat(30)] {
            assert!(principal(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_signature_has_65_bytes() {
        assert_eq!(signature(&format!("0x{}", "1b".repeat(65))).unwrap(), [0x1b; 65]);
        for wrong in ["", "0x", &"1b".repeat(65), &format!("0x{}", "1b".repeat(64))] {
            assert!(signature(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn codes_are_read_in_any_case() {
        assert_eq!(category("Vital-Signs").unwrap(), Category::VitalSigns);
        assert_eq!(purpose("treat").unwrap(), Purpose::Treatment);
        assert!(category("genome").unwrap_err().contains("ecg"));
        assert!(purpose("curiosity").unwrap_err().contains("HRESCH"));
    }
}
