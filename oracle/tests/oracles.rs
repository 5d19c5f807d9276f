//! Several oracles, critical verdicts, and starting under wrong conditions.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;

use common::{HOUR_MS, Parts, START_MS, World, clock, eventually, oracle_keys, readings};
use pulsegate_ipfs::manifest::Leaf;
use pulsegate_ipfs::store::BlockStore;
use pulsegate_ledger::Ledger;
use pulsegate_oracle::{CRITICAL_REPEAT_MS, OracleConfig, OracleKeys, OracleService, Ports, Running, StartError};
use pulsegate_reading::{LoincCode, Unit};
use pulsegate_rules::Principal;
use pulsegate_rules::records::BatchKind;

fn second_keys() -> OracleKeys {
    OracleKeys::from_seed(&[0x0D; 32])
}

fn ports(world: &World) -> Ports {
    Ports {
        ledger: Arc::clone(&world.parts.ledger) as Arc<dyn Ledger>,
        contracts: world.parts.contracts.clone(),
        blocks: Arc::clone(&world.parts.blocks) as Arc<dyn BlockStore>,
        clock: clock(&world.now_ms),
    }
}

async fn start_second(world: &World) -> Running {
    let config = OracleConfig { data_dir: world.dir.path().join("second"), ..common::config(world.dir.path()) };
    OracleService::start(config, ports(world), second_keys(), None).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_two_oracles_sign_and_one_alone_anchors_nothing() {
    let mut world = World::new().await;
    let members = [oracle_keys().oracle_key(), second_keys().oracle_key()];
    world.parts.contracts.registry.set_oracles(&common::admin(), 2, &members).await.unwrap();
    world.heart_rate(61.0).await;
    eventually("one signature is not enough", async || {
        let parts = world.running().health().parts;
        parts.values().any(|part| part.code == Some("ANCHOR_BELOW_THRESHOLD")).then_some(())
    })
    .await;
    let second = start_second(&world).await;
    world.stop().await;
    world.config.cosigners = vec![format!("http://{}/", second.local_addr())];
    world.start().await;
    world.settle().await;
    assert_eq!(world.leaves(BatchKind::Records).await.len(), 1);
    world.stop().await;
    second.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cosigner_signs_nothing_that_no_member_proposed_or_no_store_holds() {
    use parity_scale_codec::Encode;
    use pulsegate_oracle::cosign::CosignRequest;
    use pulsegate_rules::CidBytes;
    use pulsegate_rules::records::BatchHeader;

    let world = World::new().await;
    let header = BatchHeader {
        kind: BatchKind::Records,
        oracle: Principal([5; 32]),
        sequence: 1,
        previous: [0; 32],
        merkle_root: [0; 32],
        manifest: CidBytes([1; 36]),
        count: 1,
        model: pulsegate_rules::ModelId([0; 32]),
        oracle_set: 1,
        closed_at_ms: START_MS,
    };
    let request = CosignRequest { header, signature: [1; 65] }.encode();
    for (body, status, code) in [(b"x".to_vec(), 400, "COSIGN_MALFORMED"), (request, 403, "COSIGN_STRANGER")] {
        let answer = world.http.post(world.url("/v1/cosign")).body(body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status);
        assert_eq!(answer.json::<serde_json::Value>().await.unwrap()["code"], code);
    }
    world.running.unwrap().shutdown().await;
}

/// Respiration 30, saturation 88 %, pulse 140: NEWS2 of nine.
async fn become_critical(world: &mut World, measured_at_ms: u64) {
    for (code, value, unit) in [
        (LoincCode::RespiratoryRate, 30.0, Unit::PerMinute),
        (LoincCode::OxygenSaturation, 88.0, Unit::Percent),
        (LoincCode::HeartRate, 140.0, Unit::PerMinute),
    ] {
        let reading = readings::quantity(&world.device, measured_at_ms, code, value, unit);
        let body = world.device.commit(&reading);
        world.accept(body).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_critical_verdict_is_anchored_at_once_and_a_late_one_never() {
    // Records would wait for an hour; a critical pointer does not wait for them.
    let mut world = World::with(|config| config.batch_age_ms = 3_600_000).await;
    become_critical(&mut world, START_MS - HOUR_MS).await;
    become_critical(&mut world, START_MS).await;
    let critical = eventually("the critical pointer is anchored", async || {
        let leaves = world.leaves(BatchKind::Critical).await;
        (!leaves.is_empty()).then_some(leaves)
    })
    .await;
    assert_eq!(world.running().progress().unwrap().records_anchored, 0);
    // A lasting state is anchored again only after a while.
    world.heart_rate(141.0).await;
    world.pass(CRITICAL_REPEAT_MS);
    world.heart_rate(142.0).await;
    world.settle().await;
    let [Leaf::Record(first)] = &critical[..] else { panic!("one live verdict is critical: {}", critical.len()) };
    assert_eq!(first.sequence, 6, "the third live reading makes it nine");
    let sequences: Vec<u64> = world
        .leaves(BatchKind::Critical)
        .await
        .iter()
        .map(|leaf| match leaf {
            Leaf::Record(leaf) => leaf.sequence,
            Leaf::Receipt(_) => panic!("a critical batch holds a record"),
        })
        .collect();
    assert_eq!(sequences, [6, 8]);
    assert_eq!(world.leaves(BatchKind::Records).await.len(), 8);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_other_keys_or_another_deployment_is_refused() {
    let mut world = World::new().await;
    world.stop().await;
    let start = async |ports, keys| {
        let started = OracleService::start(world.config.clone(), ports, keys, None).await;
        started.err().map(|error: StartError| error.code())
    };
    assert_eq!(start(ports(&world), second_keys()).await, Some("LOG_FOREIGN"));
    let elsewhere = tempfile::tempdir().unwrap();
    Parts::install(elsewhere.path(), clock(&world.now_ms), &oracle_keys()).await;
    let parts = Parts::open(elsewhere.path(), clock(&world.now_ms)).await;
    let other = Ports {
        ledger: Arc::clone(&parts.ledger) as Arc<dyn Ledger>,
        contracts: parts.contracts.clone(),
        blocks: Arc::clone(&parts.blocks) as Arc<dyn BlockStore>,
        clock: clock(&world.now_ms),
    };
    assert_eq!(start(other, oracle_keys()).await, Some("LOG_FOREIGN"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_the_log_anchors_nothing_and_says_why() {
    let mut world = World::new().await;
    world.heart_rate(61.0).await;
    world.settle().await;
    world.stop().await;
    let log = world.config.data_dir.join("log.redb");
    let copy = world.dir.path().join("copy");
    std::fs::copy(&log, &copy).unwrap();
    world.start().await;
    world.heart_rate(62.0).await;
    world.settle().await;
    world.stop().await;
    std::fs::copy(&copy, &log).unwrap();
    world.start().await;
    // The device sends again what the older log does not know.
    let mut device = world.device.clone();
    device.sequence = 1;
    let head = world.http.get(world.url(&format!("/v1/devices/{}", device.id()))).send().await.unwrap();
    let head: serde_json::Value = head.json().await.unwrap();
    assert_eq!(head["last_sequence"], 1);
    device.previous = head["last_hash"].as_str().unwrap().parse::<Principal>().unwrap().0;
    world.accept(device.heart_rate(START_MS, 63.0)).await;
    eventually("the fork is seen", async || {
        let parts = world.running().health().parts;
        parts.values().any(|part| part.code == Some("ANCHOR_FORKED")).then_some(())
    })
    .await;
    assert_eq!(world.leaves(BatchKind::Records).await.len(), 2);
    world.stop().await;
}
