//! Checking everything against the chain: inclusion, order and completeness, without any key.
//!
//! Guarantees: every batch follows the one before it and carries the Merkle root over its manifest's leaves; every leaf's block
//! is in the store with the CID that the leaf names; every device's readings are numbered from 1 without a gap or a double, each
//! naming the hash of the one before. With the patient's keys the readings themselves are opened and their signatures checked.
//! Must not: trust the store, the oracle, or a manifest by itself.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt};
use pulsegate_ipfs::manifest::{Leaf, RecordLeaf};
use pulsegate_ipfs::{Cid, merkle, record};
use pulsegate_rules::records::BatchKind;
use pulsegate_rules::{Category, DeviceId, Epoch, Principal, Purpose};
use serde::Serialize;

use super::batches::{self, BatchChain, CONCURRENT_MAX, Fault};
use super::opening::{self, Wish};
use crate::failure::{Failure, Outcome};
use crate::identity::Identity;
use crate::session::Session;

/// What was checked, and what did not fit.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Every oracle's chain of batches of every kind.
    pub(crate) chains: Vec<ChainReport>,
    /// Every device.
    pub(crate) devices: Vec<DeviceReport>,
    /// Number of anchored sealed readings.
    pub(crate) records: u64,
    /// Number of anchored sealed receipts.
    pub(crate) receipts: u64,
    /// Number of blocks that were fetched and hashed again.
    pub(crate) blocks: u64,
    /// Number of readings whose content was checked too.
    pub(crate) opened: u64,
    /// What did not fit.
    pub(crate) faults: Vec<Fault>,
}

/// One chain of batches.
#[derive(Debug, Serialize)]
pub(crate) struct ChainReport {
    /// Whose.
    pub(crate) oracle: Principal,
    /// Of what.
    pub(crate) kind: BatchKind,
    /// Number of batches on chain.
    pub(crate) batches: u64,
    /// Number of leaves in them.
    pub(crate) leaves: u64,
}

/// One device's readings.
#[derive(Debug, Serialize)]
pub(crate) struct DeviceReport {
    /// Which.
    pub(crate) device: DeviceId,
    /// Number of anchored readings.
    pub(crate) anchored: u64,
    /// The newest anchored number.
    pub(crate) last_sequence: u64,
    /// How many acknowledged readings are not anchored yet, as the oracle says; `None` when it does not answer.
    pub(crate) pending: Option<u64>,
}

/// The proof that one record is in its batch.
#[derive(Debug, Serialize)]
pub(crate) struct Inclusion {
    /// The record.
    pub(crate) record: String,
    /// The batch's oracle.
    pub(crate) oracle: Principal,
    /// The batch's number.
    pub(crate) batch: u64,
    /// The leaf's place, from 0.
    pub(crate) index: usize,
    /// Number of leaves.
    pub(crate) count: u32,
    /// The Merkle root on chain, hex.
    pub(crate) root: String,
    /// The hashes beside the path from leaf to root, nearest first, hex.
    pub(crate) path: Vec<String>,
    /// Block time of the batch, Unix milliseconds.
    pub(crate) anchored_at_ms: u64,
}

/// Checks all batches, blocks and devices.
pub(crate) async fn verify(session: &Session) -> Outcome<Report> {
    let mut report = Report::default();
    let mut records: Vec<RecordLeaf> = Vec::new();
    let mut others: Vec<Cid> = Vec::new();
    let bar = session.output.progress(0, "checking batches");
    for kind in [BatchKind::Records, BatchKind::Receipts, BatchKind::Critical] {
        for chain in batches::read_all(session, kind, &bar).await? {
            note_chain(&mut report, kind, &chain);
            for batch in chain.batches {
                for leaf in batch.manifest.leaves {
                    match leaf {
                        Leaf::Record(leaf) if kind == BatchKind::Records => records.push(leaf),
                        leaf => others.push(*leaf.cid()),
                    }
                }
            }
            report.faults.extend(chain.faults);
        }
    }
    bar.finish_and_clear();
    report.records = records.len() as u64;
    check_blocks(session, &records, &others, &mut report).await;
    check_devices(session, &records, &mut report).await;
    Ok(report)
}

/// Opens and checks all of a patient's own readings as well.
pub(crate) async fn verify_content(session: &Session, identity: &Identity, report: &mut Report) -> Outcome<()> {
    for category in Category::ALL {
        let wish = Wish {
            patient: identity.principal(),
            category: *category,
            purpose: Purpose::PatientRequest,
            from_s: 0,
            until_s: Epoch(pulsegate_ipfs::key_tree::EPOCHS - 1).start_s(),
        };
        let opening = opening::open(session, identity, &wish).await?;
        report.opened += opening.readings.len() as u64;
        report.faults.extend(opening.faults);
        for refused in &opening.refused {
            let message = format!(
                "the oracle refuses the patient's own {category} of hour {}: {}",
                refused.epoch, refused.reason
            );
            report.faults.push(Fault::new(refused.reason, message));
        }
        if opening.without_keys > 0 {
            let message = format!("{} records of {category} open under no key of this keystore", opening.without_keys);
            report.faults.push(Fault::new("GENERATION_MISSING", message));
        }
    }
    Ok(())
}

/// Proves that one record is in a batch that the chain names.
pub(crate) async fn prove(session: &Session, record: &Cid) -> Outcome<Inclusion> {
    let bar = session.output.progress(0, "searching batches");
    for kind in [BatchKind::Records, BatchKind::Receipts, BatchKind::Critical] {
        for chain in batches::read_all(session, kind, &bar).await? {
            for batch in &chain.batches {
                let Some(index) = batch.manifest.leaves.iter().position(|leaf| leaf.cid() == record) else { continue };
                bar.finish_and_clear();
                let header = &batch.header;
                let proof = batch.manifest.inclusion_proof(index)?;
                merkle::verify(
                    &header.merkle_root,
                    index,
                    header.count as usize,
                    &batch.manifest.leaves[index].hash()?,
                    &proof,
                )?;
                return Ok(Inclusion {
                    record: record.to_string(),
                    oracle: chain.oracle,
                    batch: header.sequence,
                    index,
                    count: header.count,
                    root: hex::encode(header.merkle_root),
                    path: proof.0.iter().map(|hash| hex::encode(**hash)).collect(),
                    anchored_at_ms: batch.anchored_at_ms,
                });
            }
        }
    }
    bar.finish_and_clear();
    Err(Failure::new("RECORD_NOT_ANCHORED", format!("no anchored batch holds {record}"))
        .next("check the CID; a reading is anchored some seconds after it was acknowledged"))
}

fn note_chain(report: &mut Report, kind: BatchKind, chain: &BatchChain) {
    let leaves: u64 = chain.batches.iter().map(|batch| u64::from(batch.header.count)).sum();
    if kind == BatchKind::Receipts {
        report.receipts += leaves;
    }
    if chain.length > 0 {
        report.chains.push(ChainReport { oracle: chain.oracle, kind, batches: chain.length, leaves });
    }
}

/// Fetches every block that a leaf names; the store's answer is hashed again, and a record's header must be its leaf's.
async fn check_blocks(session: &Session, records: &[RecordLeaf], others: &[Cid], report: &mut Report) {
    let bar = session.output.progress((records.len() + others.len()) as u64, "checking blocks");
    let leaves = records.iter().map(|leaf| (leaf.record, Some(leaf))).chain(others.iter().map(|cid| (*cid, None)));
    let faults: Vec<Option<Fault>> = stream::iter(leaves)
        .map(|(cid, leaf)| {
            let bar = &bar;
            async move {
                let fetched = session.blocks.get(&cid).await;
                bar.inc(1);
                match (fetched, leaf) {
                    (Err(error), _) => Some(Fault::new(error.code(), format!("block {cid}: {error}"))),
                    (Ok(block), Some(leaf)) => header_fault(leaf, &block),
                    (Ok(_), None) => None,
                }
            }
        })
        .buffered(CONCURRENT_MAX)
        .collect()
        .await;
    bar.finish_and_clear();
    report.blocks = faults.len() as u64;
    report.faults.extend(faults.into_iter().flatten());
}

fn header_fault(leaf: &RecordLeaf, block: &pulsegate_ipfs::Block) -> Option<Fault> {
    match record::header_of(block) {
        Err(error) => Some(Fault::new(error.code(), format!("record {}: {error}", leaf.record))),
        Ok(header) => {
            let same = (header.stream, header.generation, header.epoch) == (leaf.stream, leaf.generation, leaf.epoch)
                && (header.device, header.sequence) == (leaf.device, leaf.sequence);
            (!same).then(|| {
                Fault::new(
                    "RECORD_MISMATCH",
                    format!("the header of record {} is not what its manifest says", leaf.record),
                )
            })
        }
    }
}

/// Numbers and hash links of every device, and what the oracle acknowledged but has not anchored.
async fn check_devices(session: &Session, records: &[RecordLeaf], report: &mut Report) {
    let mut devices: BTreeMap<DeviceId, Vec<&RecordLeaf>> = BTreeMap::new();
    for leaf in records {
        devices.entry(leaf.device).or_default().push(leaf);
    }
    for (device, mut leaves) in devices {
        leaves.sort_by_key(|leaf| leaf.sequence);
        report.faults.extend(device_faults(device, &leaves));
        let last_sequence = leaves.last().map_or(0, |leaf| leaf.sequence);
        let state = session.oracle.device(&device).await.ok();
        let pending = state.map(|state| state.last_sequence.saturating_sub(last_sequence));
        report.devices.push(DeviceReport { device, anchored: leaves.len() as u64, last_sequence, pending });
    }
}

/// Gaps, doubles and broken links in a device's leaves, which are sorted by number.
fn device_faults(device: DeviceId, leaves: &[&RecordLeaf]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let (mut sequence, mut link) = (0, [0; 32]);
    for leaf in leaves {
        let expected = sequence + 1;
        if leaf.sequence == sequence {
            faults.push(Fault::new(
                "READING_DOUBLED",
                format!("reading {sequence} of device {device} is anchored twice"),
            ));
            continue;
        }
        if leaf.sequence > expected {
            faults.push(Fault::new(
                "READING_GAP",
                format!("readings {expected} to {} of device {device} are missing", leaf.sequence - 1),
            ));
        } else if leaf.previous != link {
            faults.push(Fault::new(
                "READING_LINK_BROKEN",
                format!("reading {expected} of device {device} does not name the one before it"),
            ));
        }
        (sequence, link) = (leaf.sequence, leaf.link);
    }
    faults
}

#[cfg(test)]
mod tests {
    use pulsegate_rules::{Generation, StreamId};

    use super::*;

    fn leaf(sequence: u64, previous: u8) -> RecordLeaf {
        let record = pulsegate_ipfs::Block::dag_cbor(&sequence).unwrap().cid;
        let stream = StreamId([0; 32]);
        let link = [u8::try_from(sequence).unwrap(); 32];
        RecordLeaf {
            record,
            stream,
            generation: Generation(0),
            epoch: Epoch(0),
            device: DeviceId([1; 32]),
            sequence,
            link,
            previous: [previous; 32],
        }
    }

    fn codes(leaves: &[RecordLeaf]) -> Vec<String> {
        device_faults(DeviceId([1; 32]), &leaves.iter().collect::<Vec<_>>())
            .into_iter()
            .map(|fault| fault.code)
            .collect()
    }

    #[test]
    fn readings_in_order_have_no_fault() {
        assert!(codes(&[leaf(1, 0), leaf(2, 1), leaf(3, 2)]).is_empty());
    }

    #[test]
    fn gaps_doubles_and_broken_links_show() {
        assert_eq!(codes(&[leaf(1, 0), leaf(3, 2)]), ["READING_GAP"]);
        assert_eq!(codes(&[leaf(2, 1)]), ["READING_GAP"]);
        assert_eq!(codes(&[leaf(1, 0), leaf(1, 0), leaf(2, 1)]), ["READING_DOUBLED"]);
        assert_eq!(codes(&[leaf(1, 0), leaf(2, 7)]), ["READING_LINK_BROKEN"]);
        assert_eq!(codes(&[leaf(1, 9)]), ["READING_LINK_BROKEN"]);
    }
}
