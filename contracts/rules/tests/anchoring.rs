//! Random batches against a plain model of chains of batches, and the quorum of the oracle set.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

#[path = "../../seed.rs"]
mod seed;

use std::collections::{HashMap, HashSet};

use pulsegate_rules::records::transition::{check_header, check_quorum, next_head};
use pulsegate_rules::records::{BatchHead, BatchHeader, BatchKind, Error, BATCH_COUNT_MAX};
use pulsegate_rules::registry::OracleSet;
use pulsegate_rules::{CidBytes, ModelId, OracleKey, Principal};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::Rng;

const STEPS: usize = 20_000;
const NO_BATCH: BatchHead = BatchHead { sequence: 0, digest: [0; 32] };

fn header(oracle: Principal, kind: BatchKind, sequence: u64, previous: [u8; 32]) -> BatchHeader {
    let mut manifest = [5; 36];
    manifest[..4].copy_from_slice(&[1, 0x71, 0x12, 0x20]);
    BatchHeader {
        kind,
        oracle,
        sequence,
        previous,
        merkle_root: [6; 32],
        manifest: CidBytes(manifest),
        count: 1,
        model: ModelId([0; 32]),
        oracle_set: 3,
        closed_at_ms: 1,
    }
}

fn key(mark: u8) -> OracleKey {
    OracleKey([mark; 33])
}

fn set(threshold: u8, members: u8) -> OracleSet {
    OracleSet { version: 3, threshold, members: (0..members).map(key).collect() }
}

/// A header on the end of a chain, at times with one defect; and the error that the defect must give.
fn attempt(
    rng: &mut StdRng,
    chain: &[BatchHeader],
    oracle: Principal,
    kind: BatchKind,
) -> (BatchHeader, Result<(), Error>) {
    let previous = chain.last().map_or([0; 32], BatchHeader::digest);
    let sequence = chain.len() as u64 + 1;
    let mut header = header(oracle, kind, sequence, previous);
    let count_max = if kind == BatchKind::Critical { 1 } else { 4_096 };
    header.count = rng.gen_range(1..=count_max);
    let refusal = match rng.gen_range(0..12) {
        0 => {
            header.sequence = rng.gen_range(0..sequence);
            Err(Error::AlreadyAnchored)
        }
        1 => {
            header.sequence = sequence + rng.gen_range(1..9);
            Err(Error::SequenceGap)
        }
        2 => {
            header.previous[rng.gen_range(0..32)] ^= 1;
            Err(Error::BrokenChain)
        }
        3 => {
            header.count = *[0, count_max + 1, u32::MAX].choose(rng).unwrap();
            Err(Error::InvalidCount)
        }
        4 => {
            header.manifest.0[*[0, 2, 3].choose(rng).unwrap()] ^= 2;
            Err(Error::InvalidManifest)
        }
        _ => Ok(()),
    };
    (header, refusal)
}

#[test]
fn only_the_next_batch_on_the_newest_one_is_anchored() {
    assert_eq!(BATCH_COUNT_MAX, 4_096);
    let mut rng = seed::seeded("anchoring against its model");
    let mut model: HashMap<(Principal, BatchKind), Vec<BatchHeader>> = HashMap::new();
    let mut heads: HashMap<(Principal, BatchKind), BatchHead> = HashMap::new();
    for _ in 0..STEPS {
        let place = (
            Principal([rng.gen_range(0..3); 32]),
            *[BatchKind::Records, BatchKind::Receipts, BatchKind::Critical].choose(&mut rng).unwrap(),
        );
        let chain = model.entry(place).or_default();
        let head = heads.entry(place).or_insert(NO_BATCH);
        let (header, expected) = attempt(&mut rng, chain, place.0, place.1);
        assert_eq!(check_header(true, head, &header), Err(Error::Halted));
        assert_eq!(check_header(false, head, &header), expected);
        if expected.is_ok() {
            *head = next_head(&header);
            chain.push(header);
        }
        assert_eq!(head.sequence, chain.len() as u64);
    }
    for chain in model.values() {
        assert!(chain.windows(2).all(|pair| pair[1].previous == pair[0].digest()));
    }
}

#[test]
fn chain_of_batches_ends_at_the_last_number() {
    let last = BatchHead { sequence: u64::MAX, digest: [0; 32] };
    let header = header(Principal([1; 32]), BatchKind::Records, u64::MAX, [0; 32]);
    assert_eq!(check_header(false, &last, &header), Err(Error::AlreadyAnchored));
}

#[test]
fn quorum_is_the_threshold_of_different_members_and_nothing_else() {
    let mut rng = seed::seeded("quorum against its model");
    let header = header(Principal([1; 32]), BatchKind::Records, 1, [0; 32]);
    for _ in 0..STEPS {
        let members = rng.gen_range(1..=16);
        let set = set(rng.gen_range(1..=members), members);
        // Marks up to one beyond the members, so that strangers and doubles occur; `None` is an unrecoverable signature.
        let signers: Vec<Option<OracleKey>> = if rng.gen() {
            let mut all: Vec<_> = (0..members).map(|mark| Some(key(mark))).collect();
            all.shuffle(&mut rng);
            all.truncate(rng.gen_range(0..=usize::from(members)));
            all
        } else {
            let any = |rng: &mut StdRng| rng.gen_ratio(15, 16).then(|| key(rng.gen_range(0..=members)));
            (0..rng.gen_range(0..6)).map(|_| any(&mut rng)).collect()
        };
        let distinct: HashSet<_> = signers.iter().flatten().filter(|signer| set.members.contains(signer)).collect();
        let expected = if distinct.len() < signers.len() {
            Err(Error::InvalidSignature)
        } else if distinct.len() < usize::from(set.threshold) {
            Err(Error::BelowThreshold)
        } else {
            Ok(())
        };
        assert_eq!(check_quorum(&header, &set, signers.into_iter()), expected);
    }
}

#[test]
fn empty_set_and_another_version_never_suffice() {
    let header = header(Principal([1; 32]), BatchKind::Records, 1, [0; 32]);
    assert_eq!(check_quorum(&header, &set(0, 0), std::iter::empty()), Err(Error::BelowThreshold));
    let newer = OracleSet { version: 4, ..set(1, 1) };
    assert_eq!(check_quorum(&header, &newer, std::iter::once(Some(key(0)))), Err(Error::StaleOracleSet));
}

#[test]
fn signature_over_a_batch_fits_one_chain_and_one_contract() {
    let header = header(Principal([1; 32]), BatchKind::Records, 1, [0; 32]);
    let digest = header.signing_digest(1, &Principal([2; 32]));
    assert_ne!(digest, header.signing_digest(2, &Principal([2; 32])));
    assert_ne!(digest, header.signing_digest(1, &Principal([3; 32])));
    assert_ne!(digest, BatchHeader { count: 2, ..header }.signing_digest(1, &Principal([2; 32])));
}
