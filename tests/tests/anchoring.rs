//! Batches on the embedded chain: who signs, in which order, and what the registry says, by cross-contract calls.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/chain.rs"]
mod chain;

use k256::ecdsa::SigningKey;
use parity_scale_codec::Encode;
use pulsegate_ledger::{Ledger, RecordsClient, selector};
use pulsegate_rules::records::{BatchHead, BatchHeader, BatchKind, Error};
use pulsegate_rules::{CidBytes, Principal};
use pulsegate_tests::seed::seeded;
use rand::Rng;
use rand::seq::SliceRandom;

use chain::{Chain, account, bundles, first_batch, high_s_twin, oracle_key, secp256k1, sign};

const BATCHES: usize = 60;

fn oracles() -> Vec<SigningKey> {
    [0x31, 0x32, 0x33].map(secp256k1).to_vec()
}

/// A chain whose oracle set is 2 of 3; its version is 1.
async fn chain_with_oracles() -> Chain {
    let chain = Chain::new().await;
    let members: Vec<_> = oracles().iter().map(oracle_key).collect();
    chain.contracts.registry.set_oracles(&chain.admin, 2, &members).await.unwrap();
    chain
}

async fn signatures(chain: &Chain, header: &BatchHeader, keys: &[SigningKey]) -> Vec<[u8; 65]> {
    let digest = header.signing_digest(chain.domain().await.chain_id, &chain.contracts.records.account());
    keys.iter().map(|key| sign(key, &digest)).collect()
}

/// Relays a batch by somebody who is nobody; `Err` is the contract's own reason.
async fn anchor(chain: &Chain, header: &BatchHeader, signatures: &[[u8; 65]]) -> Result<(), &'static str> {
    let done = chain.contracts.records.anchor(&account(9), header, signatures).await;
    done.map(|committed| committed.value).map_err(|error| error.code())
}

#[tokio::test]
async fn batch_needs_the_threshold_of_different_members_and_every_signature_good() {
    let chain = chain_with_oracles().await;
    let header = first_batch(account(6).principal(), 1);
    let good = signatures(&chain, &header, &oracles()).await;
    let stranger = signatures(&chain, &header, &[secp256k1(0x41)]).await[0];
    let of_other = signatures(&chain, &BatchHeader { count: 65, ..header.clone() }, &oracles()).await[0];
    let mut wrong_v = good[1];
    wrong_v[64] = 29;
    let refused = [
        (vec![], Error::BelowThreshold),
        (vec![good[0]], Error::BelowThreshold),
        (vec![good[0], good[0]], Error::InvalidSignature),
        (vec![good[0], stranger], Error::InvalidSignature),
        (vec![good[0], good[1], stranger], Error::InvalidSignature),
        (vec![good[0], of_other], Error::InvalidSignature),
        (vec![good[0], high_s_twin(&good[1])], Error::InvalidSignature),
        (vec![good[0], wrong_v], Error::InvalidSignature),
        (vec![good[0], [0; 65]], Error::InvalidSignature),
        (vec![good[0]; 200], Error::InvalidSignature),
    ];
    for (signatures, error) in refused {
        assert_eq!(anchor(&chain, &header, &signatures).await, Err(error.code()), "{} signatures", signatures.len());
    }
    assert_eq!(anchor(&chain, &header, &[good[2], good[0]]).await, Ok(()));
    assert_eq!(anchor(&chain, &header, &good).await, Err(Error::AlreadyAnchored.code()));
    let records = &chain.contracts.records;
    let anchored = records.batch(header.oracle, BatchKind::Records, 1).await.unwrap().unwrap();
    assert_eq!((anchored.header, anchored.anchored_at_ms), (header, chain::START_MS));
}

#[tokio::test]
async fn batches_signed_for_an_earlier_set_or_none_are_refused() {
    let chain = Chain::new().await;
    let unsigned = first_batch(account(6).principal(), 0);
    assert_eq!(anchor(&chain, &unsigned, &[]).await, Err(Error::BelowThreshold.code()), "there are no oracles yet");
    let keys = oracles();
    for threshold in [1, 2] {
        let members = [oracle_key(&keys[0]), oracle_key(&keys[1])];
        chain.contracts.registry.set_oracles(&chain.admin, threshold, &members).await.unwrap();
    }
    let old = first_batch(account(6).principal(), 1);
    let signed = signatures(&chain, &old, &keys[..2]).await;
    assert_eq!(anchor(&chain, &old, &signed).await, Err(Error::StaleOracleSet.code()));
    let new = first_batch(account(6).principal(), 2);
    assert_eq!(anchor(&chain, &new, &signatures(&chain, &new, &keys[..2]).await).await, Ok(()));
}

#[tokio::test]
async fn only_the_registrys_admin_of_the_moment_halts_and_resumes() {
    let chain = chain_with_oracles().await;
    let records = &chain.contracts.records;
    let header = first_batch(account(6).principal(), 1);
    let signed = signatures(&chain, &header, &oracles()).await;
    let code = |error: pulsegate_ledger::LedgerError| error.code();
    let refused = Error::NotAuthorised.code();
    assert_eq!(records.halt(&account(9)).await.map_err(code).unwrap_err(), refused);
    records.halt(&chain.admin).await.unwrap();
    assert!(records.halted().await.unwrap());
    assert_eq!(anchor(&chain, &header, &signed).await, Err(Error::Halted.code()));
    let successor = account(7);
    chain.contracts.registry.propose_admin(&chain.admin, successor.principal()).await.unwrap();
    assert_eq!(records.resume(&successor).await.map_err(code).unwrap_err(), refused);
    chain.contracts.registry.accept_admin(&successor).await.unwrap();
    assert_eq!(records.resume(&chain.admin).await.map_err(code).unwrap_err(), refused);
    records.resume(&successor).await.unwrap();
    assert_eq!(anchor(&chain, &header, &signed).await, Ok(()));
}

#[tokio::test]
async fn registry_that_does_not_answer_anchors_nothing() {
    let chain = chain_with_oracles().await;
    let header = first_batch(account(6).principal(), 1);
    let signed = signatures(&chain, &header, &oracles()).await;
    // An account without code, and a contract that knows neither question.
    for registry in [Principal([0x99; 32]), chain.contracts.deployment.consent] {
        let data = [selector("new").to_vec(), (registry, 1u64).encode()].concat();
        let (account, _) = chain.ledger.instantiate(&chain.admin, &bundles().records, &data, b"").await.unwrap();
        let records = RecordsClient::new(chain.ledger.clone(), account);
        let unavailable = Error::RegistryUnavailable.code();
        assert_eq!(records.anchor(&chain.admin, &header, &signed).await.unwrap_err().code(), unavailable);
        assert_eq!(records.halt(&chain.admin).await.unwrap_err().code(), unavailable);
        assert_eq!(records.resume(&chain.admin).await.unwrap_err().code(), unavailable);
    }
}

#[tokio::test]
async fn random_batches_make_gapless_chains_per_oracle_and_kind() {
    let chain = chain_with_oracles().await;
    let mut rng = seeded("random batches");
    let places: Vec<_> = [6, 7]
        .into_iter()
        .flat_map(|mark| [BatchKind::Records, BatchKind::Receipts, BatchKind::Critical].map(|kind| (mark, kind)))
        .collect();
    let mut chains: Vec<Vec<BatchHeader>> = vec![Vec::new(); places.len()];
    let mut seen = Vec::new();
    for _ in 0..BATCHES {
        let place = rng.gen_range(0..places.len());
        let (oracle, kind) = (account(places[place].0).principal(), places[place].1);
        let sequence = chains[place].len() as u64 + 1;
        let previous = chains[place].last().map_or([0; 32], BatchHeader::digest);
        let count = if kind == BatchKind::Critical { 1 } else { rng.gen_range(1..=4_096) };
        let mut header = BatchHeader { kind, sequence, previous, count, ..first_batch(oracle, 1) };
        let expected = match rng.gen_range(0..8) {
            0 if sequence > 1 => {
                header.sequence = rng.gen_range(1..sequence);
                Err(Error::AlreadyAnchored.code())
            }
            1 => {
                header.sequence += 1;
                Err(Error::SequenceGap.code())
            }
            2 => {
                header.previous[0] ^= 1;
                Err(Error::BrokenChain.code())
            }
            3 => {
                header.count = if kind == BatchKind::Critical { 2 } else { 4_097 };
                Err(Error::InvalidCount.code())
            }
            4 => {
                header.manifest = CidBytes([0; 36]);
                Err(Error::InvalidManifest.code())
            }
            _ => Ok(()),
        };
        let mut keys = oracles();
        keys.shuffle(&mut rng);
        keys.truncate(2);
        assert_eq!(anchor(&chain, &header, &signatures(&chain, &header, &keys).await).await, expected);
        if expected.is_ok() {
            chains[place].push(header);
            if !seen.contains(&oracle) {
                seen.push(oracle);
            }
        }
    }
    let records = &chain.contracts.records;
    for ((mark, kind), batches) in places.iter().zip(&chains) {
        let oracle = account(*mark).principal();
        let head =
            BatchHead { sequence: batches.len() as u64, digest: batches.last().map_or([0; 32], BatchHeader::digest) };
        assert_eq!(records.head(oracle, *kind).await.unwrap(), head);
        for batch in batches {
            let anchored = records.batch(oracle, *kind, batch.sequence).await.unwrap();
            assert_eq!(anchored.map(|anchored| anchored.header).as_ref(), Some(batch));
        }
    }
    assert_eq!(records.oracles_seen(0, 9).await.unwrap(), seen);
}
