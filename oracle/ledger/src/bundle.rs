//! A `.contract` file as cargo-contract writes it: the code, its hash, and the selectors of its messages.
//!
//! Guarantees: the code is what the hash says. Must not: trust a length or a name in the file.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::port::{blake2b_256, selector};
use crate::{ContractKind, LedgerError};

/// Largest `.contract` file that is read.
pub const BUNDLE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A parsed `.contract` file.
#[derive(Clone, Debug)]
pub struct Bundle {
    name: String,
    code: Vec<u8>,
    code_hash: [u8; 32],
    selectors: BTreeMap<String, [u8; 4]>,
}

#[derive(Deserialize)]
struct File {
    source: Source,
    contract: Named,
    spec: Spec,
}

#[derive(Deserialize)]
struct Source {
    hash: String,
    wasm: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Spec {
    constructors: Vec<Message>,
    messages: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    label: String,
    selector: String,
}

impl Bundle {
    /// Reads a bundle from the bytes of a `.contract` file.
    ///
    /// # Errors
    /// [`LedgerError::InvalidBundle`] when it is not one, holds no wasm code, or the code is not what the hash says.
    pub fn from_json(bytes: &[u8]) -> Result<Self, LedgerError> {
        let file: File = serde_json::from_slice(bytes).map_err(|error| invalid("(unnamed)", &error.to_string()))?;
        let name = file.contract.name;
        let wasm = file.source.wasm.ok_or_else(|| invalid(&name, "it holds no code (is it a metadata file?)"))?;
        let code = decode_hex(&wasm).ok_or_else(|| invalid(&name, "`source.wasm` is not hex"))?;
        let code_hash = blake2b_256(&code);
        if decode_hex(&file.source.hash).as_deref() != Some(code_hash.as_slice()) {
            return Err(invalid(&name, "`source.hash` is not the hash of `source.wasm`"));
        }
        let mut selectors = BTreeMap::new();
        for message in file.spec.constructors.into_iter().chain(file.spec.messages) {
            let bytes = decode_hex(&message.selector).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
            let bytes =
                bytes.ok_or_else(|| invalid(&name, &format!("the selector of `{}` is not 4 bytes", message.label)))?;
            selectors.insert(message.label, bytes);
        }
        Ok(Self { name, code, code_hash, selectors })
    }

    /// Reads a `.contract` file.
    ///
    /// # Errors
    /// As [`Bundle::from_json`], and when the file cannot be read or is larger than [`BUNDLE_BYTES_MAX`].
    pub fn from_file(path: &Path) -> Result<Self, LedgerError> {
        let name = path.display().to_string();
        let unreadable = |error: std::io::Error| invalid(&name, &error.to_string());
        let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
        if bytes > BUNDLE_BYTES_MAX {
            return Err(LedgerError::TooLarge { what: name, bytes, bytes_max: BUNDLE_BYTES_MAX });
        }
        Self::from_json(&std::fs::read(path).map_err(unreadable)?)
    }

    /// The bundle of a contract that this crate was built with.
    ///
    /// # Errors
    /// As [`Bundle::from_json`], when the file was damaged before the build.
    pub fn embedded(contract: ContractKind) -> Result<Self, LedgerError> {
        Self::from_json(match contract {
            ContractKind::Registry => include_bytes!("../../../contracts/artifacts/registry.contract"),
            ContractKind::Consent => include_bytes!("../../../contracts/artifacts/consent.contract"),
            ContractKind::Records => include_bytes!("../../../contracts/artifacts/records.contract"),
        })
    }

    /// The contract's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The wasm code.
    #[must_use]
    pub fn code(&self) -> &[u8] {
        &self.code
    }

    /// BLAKE2b-256 of the code, by which the chain knows it.
    #[must_use]
    pub const fn code_hash(&self) -> [u8; 32] {
        self.code_hash
    }

    /// Selectors of all constructors and messages, by name.
    #[must_use]
    pub const fn selectors(&self) -> &BTreeMap<String, [u8; 4]> {
        &self.selectors
    }

    /// Whether the contract has this constructor or message under ink!'s default selector.
    #[must_use]
    pub fn has_message(&self, name: &str) -> bool {
        self.selectors.get(name) == Some(&selector(name))
    }
}

/// The bundles of the three contracts.
#[derive(Clone, Debug)]
pub struct Bundles {
    /// `registry.contract`.
    pub registry: Bundle,
    /// `consent.contract`.
    pub consent: Bundle,
    /// `records.contract`.
    pub records: Bundle,
}

impl Bundles {
    /// Reads the three `.contract` files of a directory.
    ///
    /// # Errors
    /// As [`Bundle::from_file`].
    pub fn from_dir(dir: &Path) -> Result<Self, LedgerError> {
        Self::read(|kind| Bundle::from_file(&dir.join(format!("{kind}.contract"))))
    }

    /// The bundles that this crate was built with, so that an installed binary needs no file.
    ///
    /// # Errors
    /// As [`Bundle::embedded`].
    pub fn embedded() -> Result<Self, LedgerError> {
        Self::read(Bundle::embedded)
    }

    fn read(bundle: impl Fn(ContractKind) -> Result<Bundle, LedgerError>) -> Result<Self, LedgerError> {
        let named = |kind: ContractKind| match bundle(kind)? {
            found if found.name() == kind.name() => Ok(found),
            other => Err(invalid(other.name(), &format!("it is not the {kind} contract"))),
        };
        Ok(Self {
            registry: named(ContractKind::Registry)?,
            consent: named(ContractKind::Consent)?,
            records: named(ContractKind::Records)?,
        })
    }
}

fn invalid(name: &str, reason: &str) -> LedgerError {
    LedgerError::InvalidBundle { name: name.to_owned(), reason: reason.to_owned() }
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    hex::decode(text.strip_prefix("0x")?).ok()
}

#[cfg(test)]
mod tests {
    use super::Bundle;
    use crate::port::{blake2b_256, selector};

    fn bundle(wasm: &str, hash: &str, selector: &str) -> String {
        format!(
            r#"{{"source":{{"hash":"{hash}","wasm":"{wasm}"}},"contract":{{"name":"c"}},
               "spec":{{"constructors":[],"messages":[{{"label":"flip","selector":"{selector}"}}]}}}}"#
        )
    }

    #[test]
    fn bundle_whose_hash_does_not_fit_is_refused() {
        let hash = format!("0x{}", hex::encode(blake2b_256(&[1, 2])));
        let flip = format!("0x{}", hex::encode(selector("flip")));
        let good = Bundle::from_json(bundle("0x0102", &hash, &flip).as_bytes()).unwrap();
        assert!(good.has_message("flip") && !good.has_message("flop"));
        assert_eq!(good.code(), [1, 2]);
        for bad in [bundle("0x0103", &hash, &flip), bundle("0x01", &hash, "0x00"), bundle("zz", &hash, &flip)] {
            assert_eq!(Bundle::from_json(bad.as_bytes()).unwrap_err().code(), "INVALID_BUNDLE");
        }
    }

    #[test]
    fn selector_is_the_documented_one() {
        // ink! documentation: the selector of `flip` is 0x633aa551.
        assert_eq!(selector("flip"), [0x63, 0x3a, 0xa5, 0x51]);
    }
}
