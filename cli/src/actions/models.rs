//! Detector models on chain: an admin approves a file by its hash, activates it, and may return to the one before.
//!
//! Guarantees: what is approved is what the file is: its SHA-256, the hash of the data that it names, the hash of its evaluation. Approving
//! what is approved already changes nothing. Must not: approve a file that does not read as a model.

use std::fmt::Display;
use std::path::Path;

use pulsegate_detector::model_file::{self, ModelFile};
use pulsegate_detector::models as committed;
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
    /// SHA-256 of its evaluation.
    pub(crate) metrics_hash: [u8; 32],
}

impl Candidate {
    /// Reads a model of its bytes, which `origin` names. `report` is SHA-256 of its evaluation, when the file itself does not name it.
    fn of(bytes: &[u8], origin: &dyn Display, report: Option<[u8; 32]>) -> Outcome<Self> {
        let file = ModelFile::read(bytes).map_err(|error| Failure::new(error.code(), format!("{origin}: {error}")))?;
        let named = |text: &str| hex::decode(text.trim_start_matches("0x")).ok()?.try_into().ok();
        let metrics_hash = report.or_else(|| named(file.metadata.metrics_sha256.as_deref()?)).ok_or_else(|| {
            Failure::new("MODEL_WITHOUT_METRICS", format!("{origin} does not say how it was evaluated"))
                .next("name the report that `pulsegate detector evaluate` wrote with --metrics FILE")
        })?;
        let (id, data_hash) = (ModelId(Sha256::digest(bytes).into()), file.data_hash());
        Ok(Self { name: file.metadata.name, id, kind: file.metadata.kind, data_hash, metrics_hash })
    }

    /// Reads a model's file. `report` is SHA-256 of its evaluation, when the file itself does not name it.
    pub(crate) fn read(path: &Path, report: Option<[u8; 32]>) -> Outcome<Self> {
        let bytes = model_file::bytes_of(path).map_err(|error| {
            Failure::new("MODEL_UNREADABLE", format!("cannot read the model {}: {error}", path.display()))
                .next("name a .safetensors file that `pulsegate detector train` wrote")
        })?;
        Self::of(&bytes, &path.display(), report)
    }

    /// The models that come with this program to serve. Their evaluation is their card.
    pub(crate) fn committed() -> Outcome<Vec<Self>> {
        let read = |(name, bytes)| {
            let card = committed::card(name).map(|card| Sha256::digest(card).into());
            Self::of(bytes, &format_args!("the committed model {name}"), card)
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

/// Approves a model where it is not approved yet, and makes it the active one of its kind where `activate` says so.
pub(crate) async fn approve(
    contracts: &Contracts,
    admin: &Signer,
    candidate: &Candidate,
    activate: bool,
) -> Result<Approved, LedgerError> {
    let registry = &contracts.registry;
    let Candidate { name, id, kind, data_hash, metrics_hash } = candidate;
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
