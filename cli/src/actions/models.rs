//! Detector models on chain: an admin approves a file by its hash, activates it, and may return to the one before.
//!
//! Guarantees: what is approved is what the file is: its SHA-256, the hash of the data that it names, the hash of its evaluation. Approving
//! what is approved already changes nothing. Must not: approve a file that does not read as a model.

use std::path::Path;

use pulsegate_detector::model_file::{MODEL_FILE_BYTES_MAX, ModelFile, ModelFileError};
use pulsegate_detector::runtime::{self, LEARNED};
use pulsegate_ledger::{Contracts, LedgerError, Signer};
use pulsegate_rules::ModelId;
use pulsegate_rules::registry::{DetectorKind, Model};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::TransactionLine;
use crate::failure::{Failure, Outcome};

/// A model's file, read and hashed.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// The model's own name.
    pub(crate) name: String,
    /// SHA-256 of the file.
    pub(crate) id: ModelId,
    /// What it judges.
    pub(crate) kind: DetectorKind,
    /// SHA-256 over the digests of the files that it was trained on.
    pub(crate) data_hash: [u8; 32],
    /// SHA-256 of its evaluation, if the file names it.
    pub(crate) metrics_hash: Option<[u8; 32]>,
}

impl Candidate {
    /// Reads a model of its bytes.
    pub(crate) fn of(bytes: &[u8]) -> Result<Self, ModelFileError> {
        let file = ModelFile::read(bytes)?;
        let metrics = file.metadata.metrics_sha256.as_deref();
        let metrics_hash = metrics.and_then(|text| hex::decode(text.trim_start_matches("0x")).ok()?.try_into().ok());
        let (id, data_hash) = (ModelId(Sha256::digest(bytes).into()), file.data_hash());
        Ok(Self { name: file.metadata.name, id, kind: file.metadata.kind, data_hash, metrics_hash })
    }

    /// Reads a model's file.
    pub(crate) fn read(path: &Path) -> Outcome<Self> {
        let unreadable = |why: String| {
            Failure::new("MODEL_UNREADABLE", format!("cannot read the model {}: {why}", path.display()))
                .next("name a .safetensors file that `pulsegate detector train` wrote")
        };
        let length = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
        if length > MODEL_FILE_BYTES_MAX as u64 {
            return Err(unreadable(format!("it is longer than {MODEL_FILE_BYTES_MAX} bytes")));
        }
        let bytes = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
        Self::of(&bytes).map_err(|error| Failure::new(error.code(), format!("{}: {error}", path.display())))
    }

    /// The models that come with this program to serve. Their figures are in their cards; a file that does not name the hash of its figures
    /// stands with its own hash for both.
    pub(crate) fn committed() -> Outcome<Vec<Self>> {
        let read = |(name, bytes)| {
            let candidate = Self::of(bytes)
                .map_err(|error| Failure::new(error.code(), format!("the committed model {name}: {error}")))?;
            Ok(Self { metrics_hash: candidate.metrics_hash.or(Some(candidate.id.0)), ..candidate })
        };
        runtime::committed().map(read).collect()
    }
}

/// What an approval did.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Approved {
    /// The model's own name.
    pub(crate) name: String,
    /// SHA-256 of the file.
    pub(crate) model: ModelId,
    /// What it judges.
    pub(crate) detector: DetectorKind,
    /// The transactions that were needed; none when all was so already.
    pub(crate) transactions: Vec<TransactionLine>,
}

/// Approves a model where it is not approved yet, and makes it the active one of its kind where `activate` says so. `metrics_hash` is
/// SHA-256 of its evaluation.
pub(crate) async fn approve(
    contracts: &Contracts,
    admin: &Signer,
    candidate: &Candidate,
    metrics_hash: &[u8; 32],
    activate: bool,
) -> Result<Approved, LedgerError> {
    let registry = &contracts.registry;
    let Candidate { name, id, kind, data_hash, .. } = candidate;
    let mut transactions = Vec::new();
    if registry.model(*id).await?.is_none() {
        let approved = registry.approve_model(admin, *id, *kind, data_hash, metrics_hash).await?;
        transactions.push(TransactionLine::of(&approved.transaction));
    }
    let active = registry.active_model(*kind).await?.map(|active| active.current);
    if activate && active != Some(*id) {
        let activated = registry.activate_model(admin, *id).await?;
        transactions.push(TransactionLine::of(&activated.transaction));
    }
    Ok(Approved { name: name.clone(), model: *id, detector: *kind, transactions })
}

/// A kind's models, as the registry has them.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Standing {
    /// What they judge.
    pub(crate) detector: DetectorKind,
    /// The model in use, if any.
    pub(crate) active: Option<ModelId>,
    /// Its name, when it comes with this program.
    pub(crate) name: Option<String>,
    /// What was approved of it.
    pub(crate) approved: Option<Model>,
    /// Where a roll-back leads.
    pub(crate) previous: Option<ModelId>,
}

/// How every kind that learned models judge stands.
pub(crate) async fn list(contracts: &Contracts) -> Outcome<Vec<Standing>> {
    let committed = Candidate::committed()?;
    let mut standings = Vec::with_capacity(LEARNED.len());
    for detector in LEARNED {
        let active = contracts.registry.active_model(detector).await?;
        let (current, previous) = active.map_or((None, None), |active| (Some(active.current), active.previous));
        let approved = match current {
            Some(id) => contracts.registry.model(id).await?,
            None => None,
        };
        let name = committed.iter().find(|model| Some(model.id) == current).map(|model| model.name.clone());
        standings.push(Standing { detector, active: current, name, approved, previous });
    }
    Ok(standings)
}
