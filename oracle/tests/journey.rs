//! The whole way of a reading on real embedded parts: device → oracle → block store and chain → reader; and what happens when parts fail.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::{HOUR_MS, PATIENCE, START_MS, World, epoch_at, eventually, oracle_keys, readings};
use pulsegate_ipfs::grant_keys::GrantKeys;
use pulsegate_ipfs::key_tree::GenerationSecret;
use pulsegate_ipfs::manifest::Leaf;
use pulsegate_ipfs::record;
use pulsegate_ipfs::store::BlockStore;
use pulsegate_ledger::Ledger;
use pulsegate_oracle::chain::DEVICE_STALENESS_MS_MAX;
use pulsegate_oracle::directories::DIRECTORY_STALENESS_MS_MAX;
use pulsegate_oracle::payload::Payload;
use pulsegate_reading::{LoincCode, SignedReading, Unit};
use pulsegate_rules::consent::Effect;
use pulsegate_rules::records::BatchKind;
use pulsegate_rules::registry::DeviceStatus;
use pulsegate_rules::{Category, Epoch, Generation, Purpose};

/// Opens every record of the reader's grant in an epoch, with the tree keys of the grant and the oracle's shares.
async fn open_all(world: &mut World, grant: pulsegate_rules::GrantId, epoch: Epoch) -> Vec<SignedReading> {
    let request = world.request(&[epoch]);
    let (body, answer) = world.release(&request).await;
    let shares = answer.open_shares(&world.reader.decryption, &body).unwrap();
    let (_, share) = shares.into_iter().find(|(released, _)| *released == epoch).expect("the epoch is released");
    let grant = world.parts.contracts.consent.grant_of(grant).await.unwrap().unwrap();
    let cid = pulsegate_ipfs::block::cid_from_bytes(&grant.request.wrapped_keys.unwrap()).unwrap();
    let keys = world.parts.blocks.get(&cid).await.unwrap();
    let (patient, reader) = (world.patient.principal(), world.reader.principal());
    let keys = GrantKeys::open(&keys, &world.reader.decryption, patient, reader).unwrap();
    let mut opened = Vec::new();
    for leaf in world.leaves(BatchKind::Records).await {
        let Leaf::Record(leaf) = leaf else { panic!("a records batch holds records") };
        if leaf.epoch != epoch {
            continue;
        }
        let block = world.parts.blocks.get(&leaf.record).await.unwrap();
        let seed = keys.leaf(leaf.generation, Category::VitalSigns, epoch).unwrap();
        let (header, plaintext) = record::open(&block, &seed, &share).unwrap();
        assert_eq!((header.device, header.sequence), (leaf.device, leaf.sequence));
        let payload = Payload::decode(&plaintext).unwrap();
        let signed = SignedReading::decode(&payload.reading).unwrap();
        assert_eq!(signed.hash(), leaf.link);
        opened.push(signed);
    }
    opened
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_travels_from_device_to_permitted_reader() {
    let mut world = World::new().await;
    for rate in [61.0, 62.0, 63.0] {
        world.heart_rate(rate).await;
    }
    let progress = world.settle().await;
    assert_eq!((progress.accepted, progress.records_anchored, progress.entries_waiting), (3, 3, 0));
    let epoch = epoch_at(START_MS);
    let grant = world.grant(Effect::Permit, Category::VitalSigns, Purpose::Treatment, epoch, 2).await;
    let opened = open_all(&mut world, grant, epoch).await;
    assert_eq!(opened.len(), 3);
    let device = world.parts.contracts.registry.device(world.device.id()).await.unwrap().unwrap();
    for (signed, sequence) in opened.iter().zip(1..) {
        assert_eq!(signed.verify(&device.public_key).unwrap().sequence, sequence);
    }
    let progress = world.settle().await;
    assert_eq!(progress.receipts_anchored, 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resent_reading_is_a_duplicate_and_is_anchored_once() {
    let mut world = World::new().await;
    let body = world.device.heart_rate(START_MS, 61.0);
    world.accept(body.clone()).await;
    let (status, answer) = world.post(body.clone()).await;
    assert_eq!((status, answer["status"].as_str(), answer["position"].as_u64()), (202, Some("duplicate"), Some(1)));
    world.settle().await;
    world.stop().await;
    world.start().await;
    let (status, answer) = world.post(body).await;
    assert_eq!((status, answer["status"].as_str()), (202, Some("duplicate")));
    world.settle().await;
    assert_eq!(world.leaves(BatchKind::Records).await.len(), 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_at_a_stop_is_anchored_after_the_next_start() {
    let mut world = World::with(|config| config.batch_age_ms = 3_600_000).await;
    for rate in [61.0, 62.0] {
        world.heart_rate(rate).await;
    }
    world.stop().await;
    world.start().await;
    let head = world.http.get(world.url(&format!("/v1/devices/{}", world.device.id()))).send().await.unwrap();
    let head: serde_json::Value = head.json().await.unwrap();
    assert_eq!(head["last_sequence"], 2);
    assert_eq!(head["last_hash"], format!("0x{}", hex::encode(world.device.previous)));
    let progress = world.settle().await;
    assert_eq!((progress.accepted, progress.records_anchored), (2, 2));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_without_an_epoch_key_waits_and_delays_nobody() {
    let mut world = World::new().await;
    // The device may send ECG too, but the patient published keys for vital signs only.
    let step = readings::quantity(&world.device, START_MS, LoincCode::Steps, 12.0, Unit::Steps);
    let body = world.device.commit(&step);
    world.accept(body).await;
    world.heart_rate(61.0).await;
    let progress = world.settle().await;
    assert_eq!((progress.parked, progress.entries_waiting, progress.records_anchored), (1, 1, 1));
    let metrics = world.http.get(world.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("pulsegate_parked_readings 1"), "{metrics}");
    let categories = [Category::VitalSigns, Category::Activity];
    world.publish(Generation(0), &categories, epoch_at(START_MS), 24).await;
    eventually("the parked reading is sealed", async || {
        (world.running().progress().unwrap().parked == 0).then_some(())
    })
    .await;
    assert_eq!(world.settle().await.records_anchored, 2);
    world.stop().await;
}

/// How much longer than a stated staleness a test waits: scheduling and the request itself.
const MARGIN: Duration = Duration::from_secs(5);

/// The generations of all anchored records, in order.
async fn generations(world: &World) -> Vec<Generation> {
    let leaves = world.leaves(BatchKind::Records).await.into_iter();
    leaves
        .map(|leaf| match leaf {
            Leaf::Record(leaf) => leaf.generation,
            Leaf::Receipt(_) => panic!("a records batch holds records"),
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_patient_is_sealed_to_under_the_new_generation() {
    let mut world = World::new().await;
    world.heart_rate(61.0).await;
    world.settle().await;
    world.secret = GenerationSecret::from_bytes([10; 32]);
    world.publish(Generation(1), &[Category::VitalSigns], epoch_at(START_MS), 24).await;
    // Until the chain's word is stale at the latest, readings still go to the old generation.
    let since = Instant::now();
    let mut sent = 1;
    loop {
        world.heart_rate(62.0).await;
        sent += 1;
        world.settle().await;
        if generations(&world).await.last() == Some(&Generation(1)) {
            break;
        }
        assert!(since.elapsed() < Duration::from_millis(DIRECTORY_STALENESS_MS_MAX) + MARGIN);
    }
    let generations = generations(&world).await;
    assert_eq!((generations.len(), generations[0]), (sent, Generation(0)));
    assert!(generations.is_sorted());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_chain_and_store_delay_anchoring_and_lose_nothing() {
    let mut world = World::new().await;
    world.heart_rate(61.0).await;
    world.settle().await;
    world.chain.down.store(true, Ordering::SeqCst);
    world.store.down.store(true, Ordering::SeqCst);
    // The device's registration and the patient's keys are still believed for a moment; after it the answer is 503.
    let body = world.device.clone().heart_rate(START_MS, 62.0);
    let refused = eventually("the chain is missed", async || {
        let (status, answer) = world.post(body.clone()).await;
        (status == 503).then_some(answer)
    })
    .await;
    assert_eq!(refused["code"], "LEDGER_UNAVAILABLE");
    eventually("health is degraded", async || {
        let health = world.running().health();
        (health.status == "degraded" && health.parts.values().any(|part| part.code == Some("STORE_UNAVAILABLE")))
            .then_some(())
    })
    .await;
    world.chain.down.store(false, Ordering::SeqCst);
    world.store.down.store(false, Ordering::SeqCst);
    let (status, _) = world.post(world.device.clone().heart_rate(START_MS, 62.0)).await;
    assert_eq!(status, 202);
    world.settle().await;
    assert_eq!(world.leaves(BatchKind::Records).await.len(), 2);
    eventually("health is well again", async || (world.running().health().status == "ok").then_some(())).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_of_the_chain_does_not_anchor_twice() {
    let mut world = World::new().await;
    world.chain.lose_answers.store(true, Ordering::SeqCst);
    world.heart_rate(61.0).await;
    let oracle = oracle_keys().principal();
    eventually("the chain has the batch", async || {
        let head = world.parts.contracts.records.head(oracle, BatchKind::Records).await.unwrap();
        (head.sequence == 1).then_some(())
    })
    .await;
    world.chain.lose_answers.store(false, Ordering::SeqCst);
    world.heart_rate(62.0).await;
    world.settle().await;
    let batches = world.parts.batches(oracle, BatchKind::Records).await;
    assert_eq!(batches.iter().map(|(_, manifest)| manifest.leaves.len()).sum::<usize>(), 2);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halted_chain_delays_and_a_changed_oracle_set_is_signed_for_anew() {
    let mut world = World::new().await;
    let contracts = world.parts.contracts.clone();
    contracts.records.halt(&common::admin()).await.unwrap();
    world.heart_rate(61.0).await;
    eventually("the halt shows in health", async || {
        let parts = world.running().health().parts;
        parts.values().any(|part| part.code == Some("RECORDS_HALTED")).then_some(())
    })
    .await;
    // The batch in flight was signed for version 1; the set's next version must sign anew.
    let version =
        contracts.registry.set_oracles(&common::admin(), 1, &[oracle_keys().oracle_key()]).await.unwrap().value;
    contracts.records.resume(&common::admin()).await.unwrap();
    world.settle().await;
    let batches = world.parts.batches(oracle_keys().principal(), BatchKind::Records).await;
    assert_eq!((batches.len(), batches[0].0.oracle_set), (1, version));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantined_device_is_stored_and_marked_and_a_revoked_one_refused() {
    let mut world = World::new().await;
    let (contracts, owner) = (world.parts.contracts.clone(), world.patient.signer.clone());
    let id = world.device.id();
    contracts.registry.set_device_status(&owner, id, DeviceStatus::Quarantined).await.unwrap();
    let marked = async |world: &mut World| {
        world.heart_rate(62.0).await;
        world.settle().await;
        world.payloads(epoch_at(START_MS)).await.last().is_some_and(|payload| payload.quarantined)
    };
    let since = Instant::now();
    while !marked(&mut world).await {
        assert!(since.elapsed() < Duration::from_millis(DEVICE_STALENESS_MS_MAX) + MARGIN);
    }
    contracts.registry.set_device_status(&owner, id, DeviceStatus::Revoked).await.unwrap();
    // The longest staleness: what is sent after it is refused.
    let since = Instant::now();
    let refused = loop {
        let reading = world.device.draft(START_MS, 63.0);
        let (status, answer) = world.post(world.device.sign(&reading).bytes().to_vec()).await;
        if status != 202 {
            break answer;
        }
        world.device.commit(&reading);
        assert!(since.elapsed() < Duration::from_millis(DEVICE_STALENESS_MS_MAX) + MARGIN);
    };
    assert_eq!(refused["code"], "REVOKED_DEVICE");
    let progress = world.settle().await;
    assert_eq!(progress.records_anchored, world.device.sequence);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_without_the_patients_signature_is_not_used() {
    let mut world = World::new().await;
    let stranger = common::Person::new(7);
    let directory = pulsegate_ipfs::directory::EpochKeyDirectory::build(
        &GenerationSecret::from_bytes([66; 32]),
        world.patient.principal(),
        Generation(0),
        &[Category::VitalSigns],
        epoch_at(START_MS),
        4,
    );
    let block = directory.unwrap().sign(&stranger.signing()).unwrap();
    let cid = block.cid;
    world.parts.blocks.put(&[block], &[cid]).await.unwrap();
    let pointer = pulsegate_ipfs::block::cid_bytes(&cid).unwrap();
    world.parts.contracts.consent.publish_directory(&world.patient.signer, pointer).await.unwrap();
    world.heart_rate(61.0).await;
    let refused = "pulsegate_retries_total{stage=\"directory\",code=\"INVALID_SIGNATURE\"}";
    eventually("the directory is refused", async || {
        let metrics = world.http.get(world.url("/metrics")).send().await.unwrap().text().await.unwrap();
        metrics.contains(refused).then_some(())
    })
    .await;
    assert_eq!(world.running().progress().unwrap().entries_waiting, 1);
    world.publish(Generation(0), &[Category::VitalSigns], epoch_at(START_MS - HOUR_MS), 4).await;
    eventually("the reading is sealed", async || {
        (world.running().progress().unwrap().entries_waiting == 0).then_some(())
    })
    .await;
    world.settle().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_goes_to_the_chain_when_it_is_full_before_it_is_old() {
    let mut world = World::with(|config| {
        config.batch_count_max = 2;
        config.batch_age_ms = 3_600_000;
    })
    .await;
    for rate in [61.0, 62.0, 63.0, 64.0, 65.0] {
        world.heart_rate(rate).await;
    }
    eventually("two full batches are anchored", async || {
        (world.running().progress().unwrap().records_anchored == 4).then_some(())
    })
    .await;
    assert_eq!(world.running().progress().unwrap().records_waiting, 1);
    let progress = world.running().settle(PATIENCE).await.unwrap();
    assert_eq!(progress.records_anchored, 5);
    let sizes: Vec<usize> = world
        .parts
        .batches(oracle_keys().principal(), BatchKind::Records)
        .await
        .iter()
        .map(|(_, manifest)| manifest.leaves.len())
        .collect();
    assert_eq!(sizes, [2, 2, 1]);
    assert!(world.parts.ledger.finalised().await.unwrap().number > 0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_readings_that_claim_one_place_exactly_one_is_accepted() {
    let mut world = World::new().await;
    for round in 0..8 {
        let rate = 60.0 + f64::from(round);
        let drafts = [world.device.draft(START_MS, rate), world.device.draft(START_MS, rate + 0.5)];
        let bodies = drafts.each_ref().map(|draft| world.device.sign(draft).bytes().to_vec());
        let [one, other] = bodies;
        let (one, other) = tokio::join!(world.post(one), world.post(other));
        let winner = match (one.0, other.0) {
            (202, 409) => 0,
            (409, 202) => 1,
            statuses => panic!("one of two is accepted: {statuses:?}"),
        };
        world.device.commit(&drafts[winner]);
    }
    assert_eq!(world.settle().await.records_anchored, 8);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_reading_lies_on_the_oracles_disk_only_encrypted() {
    let mut world = World::new().await;
    // The patient has no key for steps, so the reading stays in the log.
    let step = readings::quantity(&world.device, START_MS, LoincCode::Steps, 4_711.0, Unit::Steps);
    let body = world.device.commit(&step);
    world.accept(body.clone()).await;
    world.heart_rate(61.0).await;
    world.settle().await;
    world.stop().await;
    let disk = std::fs::read(world.config.data_dir.join("log.redb")).unwrap();
    let holds = |pattern: &[u8]| disk.windows(pattern.len()).any(|window| window == pattern);
    for pattern in
        [&body[body.len() - 40..], LoincCode::Steps.as_str().as_bytes(), b"8867-4", &world.patient.principal().0]
    {
        assert!(!holds(pattern));
    }
    assert!(holds(&world.device.id().0), "the search finds what is there");
}
