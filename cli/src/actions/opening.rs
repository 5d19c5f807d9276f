//! Reading records: find them on chain, ask the oracle for its lock, open both locks, check the device's signature.
//!
//! Guarantees: nothing is shown that does not check: the record is in a batch that the chain names, it opens under both locks,
//! the reading inside carries the signature of the patient's registered device, and its number and hash link are those of the
//! manifest. What fails any of this is listed as a fault. Must not: keep a key or a plaintext anywhere but in the result.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures::stream::{self, StreamExt};
use pulsegate_ipfs::grant_keys::GrantKeys;
use pulsegate_ipfs::key_tree::LeafSeed;
use pulsegate_ipfs::manifest::{Leaf, RecordLeaf};
use pulsegate_ipfs::record::{self, EpochShare};
use pulsegate_ipfs::{Block, block};
use pulsegate_oracle::payload::Payload;
use pulsegate_oracle::release::protocol::{ReleaseAnswer, ReleaseRequest};
use pulsegate_reading::{Reading, SignedReading};
use pulsegate_rules::consent::{DECISIONS_MAX, Effect};
use pulsegate_rules::records::BatchKind;
use pulsegate_rules::registry::Device;
use pulsegate_rules::{Category, Epoch, Generation, GrantId, OracleKey, Principal, Purpose, StreamId};
use rand::RngCore;
use rand::rngs::OsRng;
use serde::Serialize;

use super::batches::{self, CONCURRENT_MAX, Fault};
use crate::failure::{Failure, Outcome};
use crate::identity::Identity;
use crate::session::Session;

/// What a reader wants to see.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    /// Whose data.
    pub(crate) patient: Principal,
    /// Which data.
    pub(crate) category: Category,
    /// What for.
    pub(crate) purpose: Purpose,
    /// First second of measurement, Unix seconds.
    pub(crate) from_s: u64,
    /// First second no longer wanted, Unix seconds.
    pub(crate) until_s: u64,
}

/// A record on chain that belongs to a wish.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// What the manifest says of it.
    pub(crate) leaf: RecordLeaf,
    /// The batch's oracle.
    pub(crate) oracle: Principal,
    /// The batch's number.
    pub(crate) batch: u64,
    /// Block time of the batch, Unix milliseconds.
    pub(crate) anchored_at_ms: u64,
}

/// A reading that opened and checked.
pub(crate) struct OpenedReading {
    /// Where it was found.
    pub(crate) found: Found,
    /// When the oracle received it, and what the detectors said.
    pub(crate) payload: Payload,
    /// What the device measured.
    pub(crate) reading: Reading,
}

/// Hours that the oracle did not release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Refused {
    /// Which hour.
    pub(crate) epoch: Epoch,
    /// Of which generation.
    pub(crate) generation: Generation,
    /// The reason's code.
    pub(crate) reason: &'static str,
}

/// What came of a wish.
#[derive(Default)]
pub(crate) struct Opening {
    /// By time of measurement.
    pub(crate) readings: Vec<OpenedReading>,
    /// Hours that the oracle refused.
    pub(crate) refused: Vec<Refused>,
    /// Records that were released but that no granted key opens.
    pub(crate) without_keys: u64,
    /// Number of records on chain that the wish covers.
    pub(crate) on_chain: u64,
    /// How many requests the oracle answered; each left a receipt.
    pub(crate) requests: u64,
    /// Grants that permitted.
    pub(crate) grants: BTreeSet<GrantId>,
    /// What did not check.
    pub(crate) faults: Vec<Fault>,
}

/// The keys of the patient's lock that a reader holds.
pub(crate) enum PatientLock<'a> {
    /// The patient's own secrets.
    Own(&'a Identity),
    /// The keys of the reader's grants.
    Granted(Vec<GrantKeys>),
}

impl PatientLock<'_> {
    /// The seed that opens one hour; `None` when no key covers it.
    pub(crate) fn leaf(&self, generation: Generation, category: Category, epoch: Epoch) -> Option<LeafSeed> {
        match self {
            Self::Own(identity) => identity.generation_secret(generation).ok()?.stream_root(category).leaf(epoch).ok(),
            Self::Granted(keys) => keys.iter().find_map(|keys| keys.leaf(generation, category, epoch).ok()),
        }
    }
}

/// Finds, asks, opens and checks.
pub(crate) async fn open(session: &Session, identity: &Identity, wish: &Wish) -> Outcome<Opening> {
    let mut opening = Opening::default();
    let found = find(session, wish, &mut opening.faults).await?;
    opening.on_chain = found.len() as u64;
    let shares = ask(session, identity, wish, &found, &mut opening).await?;
    if shares.is_empty() {
        return Ok(opening);
    }
    let lock = patient_lock(session, identity, wish.patient).await?;
    let mut devices = HashMap::new();
    for found in &found {
        let device = found.leaf.device;
        if let std::collections::hash_map::Entry::Vacant(entry) = devices.entry(device) {
            entry.insert(session.contracts.registry.device(device).await?);
        }
    }
    let audience =
        pulsegate_reading::audience(&session.contracts.deployment.genesis, &session.contracts.deployment.records);
    let bar = session.output.progress(found.len() as u64, "opening records");
    let blocks: Vec<_> =
        stream::iter(found.into_iter().filter(|found| shares.contains_key(&(found.leaf.generation, found.leaf.epoch))))
            .map(|found| async {
                let block = session.blocks.get(&found.leaf.record).await;
                bar.inc(1);
                (found, block)
            })
            .buffered(CONCURRENT_MAX)
            .collect()
            .await;
    bar.finish_and_clear();
    for (found, block) in blocks {
        let (generation, epoch) = (found.leaf.generation, found.leaf.epoch);
        let Some(leaf) = lock.leaf(generation, wish.category, epoch) else {
            opening.without_keys += 1;
            continue;
        };
        let device = devices.get(&found.leaf.device).and_then(Option::as_ref);
        let opened = block
            .map_err(Failure::from)
            .and_then(|block| open_one(&found, &block, &leaf, &shares[&(generation, epoch)], device, wish, &audience));
        match opened {
            Ok((payload, reading)) => opening.readings.push(OpenedReading { found, payload, reading }),
            Err(failure) => {
                let message = format!(
                    "record {} ({} of device {}): {}",
                    found.leaf.record, found.leaf.sequence, found.leaf.device, failure.message
                );
                opening.faults.push(Fault::new(&failure.code, message));
            }
        }
    }
    opening.readings.retain(|opened| (wish.from_s..wish.until_s).contains(&(opened.reading.measured_at_ms / 1_000)));
    opening
        .readings
        .sort_by_key(|opened| (opened.reading.measured_at_ms, opened.found.leaf.device, opened.found.leaf.sequence));
    Ok(opening)
}

/// The records on chain that a wish covers, in the order of anchoring.
pub(crate) async fn find(session: &Session, wish: &Wish, faults: &mut Vec<Fault>) -> Outcome<Vec<Found>> {
    let stream = StreamId::of(&wish.patient, wish.category);
    let first = Epoch::at(wish.from_s);
    let last = Epoch::at(wish.until_s.saturating_sub(1));
    let bar = session.output.progress(0, "reading manifests");
    let chains = batches::read_all(session, BatchKind::Records, &bar).await?;
    bar.finish_and_clear();
    let mut found = Vec::new();
    for chain in chains {
        faults.extend(chain.faults);
        for batch in chain.batches {
            let (sequence, anchored_at_ms) = (batch.header.sequence, batch.anchored_at_ms);
            found.extend(batch.manifest.leaves.into_iter().filter_map(|leaf| match leaf {
                Leaf::Record(leaf)
                    if leaf.stream == stream && Some(leaf.epoch) >= first && Some(leaf.epoch) <= last =>
                {
                    Some(Found { leaf, oracle: chain.oracle, batch: sequence, anchored_at_ms })
                }
                _ => None,
            }));
        }
    }
    Ok(found)
}

/// Asks the oracle for its shares of the hours in which records were found.
pub(crate) async fn ask(
    session: &Session,
    identity: &Identity,
    wish: &Wish,
    found: &[Found],
    opening: &mut Opening,
) -> Outcome<HashMap<(Generation, Epoch), EpochShare>> {
    let mut wanted: BTreeMap<Generation, BTreeSet<Epoch>> = BTreeMap::new();
    for found in found {
        wanted.entry(found.leaf.generation).or_default().insert(found.leaf.epoch);
    }
    let mut shares = HashMap::new();
    let oracles = session.contracts.registry.oracles().await?.members;
    for (generation, epochs) in wanted {
        let epochs: Vec<Epoch> = epochs.into_iter().collect();
        for epochs in epochs.chunks(DECISIONS_MAX) {
            let released = release(session, identity, wish, (generation, epochs), &oracles, opening).await?;
            shares.extend(released.into_iter().map(|(epoch, share)| ((generation, epoch), share)));
        }
    }
    Ok(shares)
}

async fn release(
    session: &Session,
    identity: &Identity,
    wish: &Wish,
    (generation, epochs): (Generation, &[Epoch]),
    oracles: &[OracleKey],
    opening: &mut Opening,
) -> Outcome<Vec<(Epoch, EpochShare)>> {
    let deployment = &session.contracts.deployment;
    let mut nonce = [0; 16];
    OsRng.fill_bytes(&mut nonce);
    let request = ReleaseRequest {
        reader: identity.principal(),
        patient: wish.patient,
        category: wish.category,
        purpose: wish.purpose,
        generation,
        epochs: epochs.to_vec(),
        nonce,
        requested_at_ms: session.now_ms(),
        audience: pulsegate_reading::audience(&deployment.genesis, &deployment.records),
    };
    let body = request.sign(identity.signing())?;
    let answer = ReleaseAnswer::decode(&session.oracle.release(body.clone()).await?)?;
    opening.requests += 1;
    let signer = answer.receipt.signer();
    if !signer.is_some_and(|signer| oracles.contains(&signer)) {
        return Err(Failure::new(
            "RECEIPT_FOREIGN",
            "the answer's receipt is signed by no oracle that the registry accepts",
        )
        .next("check `oracle.url`; do not rely on this answer"));
    }
    opening.grants.extend(answer.grant);
    opening.refused.extend(answer.refused.iter().map(|(epoch, reason)| Refused {
        epoch: *epoch,
        generation,
        reason: reason.code(),
    }));
    Ok(answer.open_shares(identity.decryption(), &body)?)
}

/// The keys that a reader holds for a patient's records.
pub(crate) async fn patient_lock<'a>(
    session: &Session,
    identity: &'a Identity,
    patient: Principal,
) -> Outcome<PatientLock<'a>> {
    let reader = identity.principal();
    if reader == patient {
        return Ok(PatientLock::Own(identity));
    }
    let grants = session.contracts.consent.grants_between(patient, reader).await?.value;
    let mut keys = Vec::new();
    for grant in grants.iter().filter(|grant| grant.revoked_at_ms.is_none() && grant.request.effect == Effect::Permit) {
        let Some(cid) = &grant.request.wrapped_keys else { continue };
        let block = session.blocks.get(&block::cid_from_bytes(cid)?).await?;
        keys.push(GrantKeys::open(&block, identity.decryption(), patient, reader)?);
    }
    Ok(PatientLock::Granted(keys))
}

/// Opens one record and checks everything that its manifest and the registry say of it.
fn open_one(
    found: &Found,
    block: &Block,
    leaf_seed: &LeafSeed,
    share: &EpochShare,
    device: Option<&Device>,
    wish: &Wish,
    audience: &[u8; 32],
) -> Outcome<(Payload, Reading)> {
    let leaf = &found.leaf;
    let (header, plaintext) = record::open(block, leaf_seed, share)?;
    let payload = Payload::decode(&plaintext)?;
    let signed = SignedReading::decode(&payload.reading)?;
    let device = device.ok_or_else(|| Failure::new("UNKNOWN_DEVICE", "its device is not registered"))?;
    let reading = signed.verify(&device.public_key)?.clone();
    let differs = |what: &str| {
        Err(Failure::new("RECORD_MISMATCH", format!("{what} differs between record, manifest and registry")))
    };
    if (header.stream, header.generation, header.epoch) != (leaf.stream, leaf.generation, leaf.epoch) {
        return differs("the stream, generation or hour");
    }
    if (header.device, header.sequence) != (leaf.device, leaf.sequence)
        || (reading.device, reading.sequence) != (leaf.device, leaf.sequence)
    {
        return differs("the device or its number");
    }
    if signed.hash() != leaf.link || reading.previous != leaf.previous {
        return differs("the hash link");
    }
    if device.owner != wish.patient || reading.patient != wish.patient || reading.audience != *audience {
        return differs("the patient or the deployment");
    }
    if reading.category() != wish.category || Epoch::at(reading.measured_at_ms / 1_000) != Some(leaf.epoch) {
        return differs("the category or the time");
    }
    Ok((payload, reading))
}

impl Opening {
    /// The refused hours by reason, most frequent first.
    pub(crate) fn refusals(&self) -> Vec<(&'static str, usize)> {
        let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
        for refused in &self.refused {
            *counts.entry(refused.reason).or_default() += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts
    }
}
