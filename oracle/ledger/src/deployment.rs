//! Where the three contracts are: the deployment file, making a deployment, and opening one.
//!
//! Guarantees: a deployment names its chain's genesis hash and is refused on any other chain; the file is replaced as a whole.
//! Must not: hold a secret.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use parity_scale_codec::Encode;
use pulsegate_rules::Principal;
use rand::RngCore;
use serde::{Deserialize, Serialize};

use crate::{Bundles, ConsentClient, Ledger, LedgerError, RecordsClient, RegistryClient, Signer, selector};

/// Largest deployment file that is read, bytes.
const DEPLOYMENT_BYTES_MAX: u64 = 64 * 1024;

/// The accounts of the three contracts on one chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// The registry contract.
    pub registry: Principal,
    /// The consent contract.
    pub consent: Principal,
    /// The records contract.
    pub records: Principal,
    /// Hash of the chain's genesis block.
    #[serde(with = "hex_bytes")]
    pub genesis: [u8; 32],
}

impl Deployment {
    /// Instantiates the three contracts; `admin` becomes the registry's admin. Every installation makes new contracts.
    ///
    /// # Errors
    /// As [`Ledger::instantiate`].
    pub async fn install(ledger: &dyn Ledger, admin: &Signer, bundles: &Bundles) -> Result<Self, LedgerError> {
        let identity = ledger.identity().await?;
        let chain_id = identity.chain_id();
        let mut salt = [0; 16];
        rand::rngs::OsRng.fill_bytes(&mut salt);
        let (registry, _) = ledger.instantiate(admin, &bundles.registry, &constructor(&()), &salt).await?;
        let (consent, _) = ledger.instantiate(admin, &bundles.consent, &constructor(&(chain_id,)), &salt).await?;
        let arguments = (registry, chain_id);
        let (records, _) = ledger.instantiate(admin, &bundles.records, &constructor(&arguments), &salt).await?;
        Ok(Self { registry, consent, records, genesis: identity.genesis })
    }

    /// Reads a deployment file.
    ///
    /// # Errors
    /// [`LedgerError::InvalidDeployment`] when it cannot be read or is not one.
    pub fn load(path: &Path) -> Result<Self, LedgerError> {
        let bytes = std::fs::metadata(path).map_err(|error| invalid(path, &error))?.len();
        if bytes > DEPLOYMENT_BYTES_MAX {
            let what = path.display().to_string();
            return Err(LedgerError::TooLarge { what, bytes, bytes_max: DEPLOYMENT_BYTES_MAX });
        }
        let bytes = std::fs::read(path).map_err(|error| invalid(path, &error))?;
        serde_json::from_slice(&bytes).map_err(|error| invalid(path, &error))
    }

    /// Writes the deployment file; a crash leaves the old file or the new one, never a part.
    ///
    /// # Errors
    /// [`LedgerError::InvalidDeployment`] when it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), LedgerError> {
        let mut text = serde_json::to_string_pretty(self).map_err(|error| invalid(path, &error))?;
        text.push('\n');
        let partial = path.with_extension("json.partial");
        let write = || -> std::io::Result<()> {
            let mut file = std::fs::File::create(&partial)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&partial, path)?;
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            std::fs::File::open(parent)?.sync_all()
        };
        write().map_err(|error| invalid(path, &error))
    }
}

/// Typed clients of the three contracts of one deployment.
#[derive(Clone)]
pub struct Contracts {
    /// Participants, keys, devices, oracles, models.
    pub registry: RegistryClient,
    /// Grants and decisions.
    pub consent: ConsentClient,
    /// Anchored batches.
    pub records: RecordsClient,
    /// Where they are.
    pub deployment: Deployment,
}

impl Contracts {
    /// Clients of a deployment's contracts, after a check that the chain is the deployment's.
    ///
    /// # Errors
    /// [`LedgerError::WrongChain`], and as [`Ledger::identity`].
    pub async fn open(ledger: Arc<dyn Ledger>, deployment: Deployment) -> Result<Self, LedgerError> {
        let found = ledger.identity().await?.genesis;
        if found != deployment.genesis {
            return Err(LedgerError::WrongChain { expected: deployment.genesis, found });
        }
        Ok(Self {
            registry: RegistryClient::new(Arc::clone(&ledger), deployment.registry),
            consent: ConsentClient::new(Arc::clone(&ledger), deployment.consent),
            records: RecordsClient::new(ledger, deployment.records),
            deployment,
        })
    }
}

/// The data of the constructor `new` with these arguments.
fn constructor(arguments: &impl Encode) -> Vec<u8> {
    let mut data = selector("new").to_vec();
    arguments.encode_to(&mut data);
    data
}

fn invalid(path: &Path, reason: &dyn core::fmt::Display) -> LedgerError {
    LedgerError::InvalidDeployment { path: path.display().to_string(), reason: reason.to_string() }
}

/// 32 bytes as `0x` hex in JSON.
mod hex_bytes {
    use pulsegate_rules::Principal;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        Principal(*bytes).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        Principal::deserialize(deserializer).map(|principal| principal.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Deployment;
    use pulsegate_rules::Principal;

    #[test]
    fn saved_deployment_is_the_loaded_one_and_unknown_keys_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deployment.json");
        let deployment = Deployment {
            registry: Principal([1; 32]),
            consent: Principal([2; 32]),
            records: Principal([3; 32]),
            genesis: [4; 32],
        };
        deployment.save(&path).unwrap();
        assert_eq!(Deployment::load(&path).unwrap(), deployment);
        let text = std::fs::read_to_string(&path).unwrap().replacen('{', "{\"more\":1,", 1);
        std::fs::write(&path, text).unwrap();
        assert_eq!(Deployment::load(&path).unwrap_err().code(), "INVALID_DEPLOYMENT");
    }
}
