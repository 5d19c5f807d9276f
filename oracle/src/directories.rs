//! The epoch public keys of patients, as their signed directories on the block store say and the chain points to.
//!
//! Guarantees: a directory is used only if its CID is the one on chain, its signature is of the patient's signing key on chain, and
//! patient and generation are the right ones; what the chain said is believed for [`DIRECTORY_STALENESS_MS_MAX`]; nobody waits:
//! a patient whose directory is not at hand is fetched in the background, so one patient's missing object delays no other.
//! Must not: keep more than [`DIRECTORIES_CACHED_MAX`] directories, run more than [`FETCHES_MAX`] fetches.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pulsegate_ipfs::block::cid_from_bytes;
use pulsegate_ipfs::directory::EpochKeyDirectory;
use pulsegate_ipfs::store::BlockStore;
use pulsegate_ledger::Contracts;
use pulsegate_rules::registry::KeyUse;
use pulsegate_rules::{Category, CidBytes, Epoch, Generation, Principal};
use tokio::sync::{Notify, Semaphore};

/// How long the chain's word about a patient's generation and directory is believed, milliseconds of real time.
pub const DIRECTORY_STALENESS_MS_MAX: u64 = 1_000;
/// Most directories remembered.
pub const DIRECTORIES_CACHED_MAX: usize = 2_048;
/// Most directories fetched at the same time.
pub const FETCHES_MAX: usize = 16;

/// When the cache is full, directories that were asked for in this time are kept if that makes room.
const REMEMBERED: Duration = Duration::from_secs(10);
/// How long to wait after a failed fetch before the next one of the same patient, milliseconds of real time.
const REFETCH_MS: u64 = 500;

/// A patient's keys as they are known.
#[derive(Clone, Default)]
struct Known {
    /// When the chain was asked last.
    asked: Option<Instant>,
    /// When the chain was asked what is known now; `None` when nothing is believed.
    believed: Option<Instant>,
    /// The published directory and its CID.
    directory: Option<(CidBytes, Arc<EpochKeyDirectory>)>,
    fetching: bool,
}

/// An epoch public key and the generation it is of.
#[derive(Clone, Copy)]
pub(crate) struct EpochKey {
    /// The patient's generation.
    pub(crate) generation: Generation,
    /// X25519 public key.
    pub(crate) public_key: [u8; 32],
}

/// The answer to "which key".
pub(crate) enum Lookup {
    /// This one.
    Ready(EpochKey),
    /// The patient published none for that epoch.
    Missing,
    /// Not known yet; [`Directories::changed`] tells when to ask again.
    Pending,
}

/// The cache; clones share it.
#[derive(Clone)]
pub(crate) struct Directories {
    inner: Arc<Inner>,
}

struct Inner {
    contracts: Contracts,
    blocks: Arc<dyn BlockStore>,
    known: Mutex<HashMap<Principal, Known>>,
    fetches: Arc<Semaphore>,
    changed: Arc<Notify>,
    failed: Box<dyn Fn(&'static str) + Send + Sync>,
}

impl Directories {
    /// An empty cache. `changed` is notified when an answer arrived; `failed` is told the code of every failed fetch.
    pub(crate) fn new(
        contracts: Contracts,
        blocks: Arc<dyn BlockStore>,
        changed: Arc<Notify>,
        failed: impl Fn(&'static str) + Send + Sync + 'static,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                contracts,
                blocks,
                known: Mutex::new(HashMap::new()),
                fetches: Arc::new(Semaphore::new(FETCHES_MAX)),
                changed,
                failed: Box::new(failed),
            }),
        }
    }

    /// The public key of a stream's epoch, of the patient's current generation.
    pub(crate) fn lookup(&self, patient: &Principal, category: Category, epoch: Epoch) -> Lookup {
        let mut map = self.inner.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !map.contains_key(patient) && map.len() >= DIRECTORIES_CACHED_MAX {
            map.retain(|_, known| known.fetching || known.believed.is_some_and(|asked| asked.elapsed() < REMEMBERED));
            if map.len() >= DIRECTORIES_CACHED_MAX {
                map.retain(|_, known| known.fetching);
            }
        }
        let known = map.entry(*patient).or_default();
        if known.believed.is_some_and(|asked| asked.elapsed() < Duration::from_millis(DIRECTORY_STALENESS_MS_MAX)) {
            let key = known.directory.as_ref().and_then(|(_, directory)| {
                let public_key = directory.public_key(category, epoch)?;
                Some(EpochKey { generation: directory.generation, public_key })
            });
            return key.map_or(Lookup::Missing, Lookup::Ready);
        }
        let rested = known.asked.is_none_or(|asked| asked.elapsed() >= Duration::from_millis(REFETCH_MS));
        if !known.fetching && (known.believed.is_some() || rested) {
            known.fetching = true;
            let (this, patient, before) = (self.clone(), *patient, known.directory.clone());
            tokio::spawn(async move { this.refresh(patient, before).await });
        }
        Lookup::Pending
    }

    async fn refresh(&self, patient: Principal, before: Option<(CidBytes, Arc<EpochKeyDirectory>)>) {
        let inner = &self.inner;
        let Ok(_permit) = inner.fetches.acquire().await else { return };
        // The age counts from before the question, so the answer is never older than it looks.
        let asked = Some(Instant::now());
        let after = match self.fetch(&patient, before.as_ref()).await {
            Ok(directory) => Known { asked, believed: asked, directory, fetching: false },
            Err(code) => {
                (inner.failed)(code);
                Known { asked, believed: None, directory: before, fetching: false }
            }
        };
        inner.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(patient, after);
        inner.changed.notify_one();
    }

    async fn fetch(
        &self,
        patient: &Principal,
        before: Option<&(CidBytes, Arc<EpochKeyDirectory>)>,
    ) -> Result<Option<(CidBytes, Arc<EpochKeyDirectory>)>, &'static str> {
        let contracts = &self.inner.contracts;
        let pointer = contracts.consent.directory(*patient).await.map_err(|error| error.code())?;
        let Some(pointer) = pointer else { return Ok(None) };
        if let Some((cid, directory)) = before
            && *cid == pointer.cid
            && directory.generation == pointer.generation
        {
            return Ok(before.cloned());
        }
        let cid = cid_from_bytes(&pointer.cid).map_err(|error| error.code())?;
        let block = self.inner.blocks.get(&cid).await.map_err(|error| error.code())?;
        let key = contracts.registry.key(*patient, KeyUse::Signing).await.map_err(|error| error.code())?;
        let key = key.ok_or("NO_SIGNING_KEY")?;
        let directory =
            EpochKeyDirectory::open(&block, &key, patient, pointer.generation).map_err(|error| error.code())?;
        Ok(Some((pointer.cid, Arc::new(directory))))
    }
}
