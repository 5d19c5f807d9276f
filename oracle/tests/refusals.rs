//! Everything that can be wrong with a reading or a request has its own code, says what to do next, and costs nothing already accepted.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::atomic::Ordering;

use common::{Device, Person, START_MS, World, readings};
use pulsegate_oracle::{
    AGE_MS_MAX, BATCH_BYTES_MAX, BATCH_READINGS_MAX, FUTURE_MS_MAX, READING_BYTES_MAX, UNKNOWN_DEVICES_MAX,
};
use pulsegate_reading::{LoincCode, Unit};
use pulsegate_rules::records::BatchKind;
use pulsegate_rules::registry::{DeviceStatus, Role};
use pulsegate_rules::{Categories, Category, Principal};
use serde_json::Value as Json;

/// Replaces the only occurrence of some bytes by others of the same length.
fn patched(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let places: Vec<usize> =
        bytes.windows(from.len()).enumerate().filter(|(_, w)| *w == from).map(|(i, _)| i).collect();
    let [place] = places[..] else { panic!("the pattern occurs {} times", places.len()) };
    let mut bytes = bytes.to_vec();
    bytes[place..place + to.len()].copy_from_slice(to);
    bytes
}

/// Everything that is wrong with a single reading: body, status, code. The device's first reading is accepted.
async fn bad_readings(world: &World) -> Vec<(Vec<u8>, u16, &'static str)> {
    let device = &world.device;
    let next = device.draft(START_MS, 61.5);
    let signed = |reading: &pulsegate_reading::Reading| device.sign(reading).bytes().to_vec();
    let good = signed(&next);
    let mut wrong_signature = good.clone();
    *wrong_signature.last_mut().unwrap() ^= 1;
    let mut replayed = device.draft(START_MS, 99.0);
    (replayed.sequence, replayed.previous) = (1, [0; 32]);
    let mut unlinked = next.clone();
    unlinked.previous = [7; 32];
    let mut gap = next.clone();
    gap.sequence = 3;
    let stranger = Device { seed: [0xEE; 32], ..device.clone() };
    let mut elsewhere = next.clone();
    elsewhere.audience = [1; 32];
    let mut of_another = next.clone();
    of_another.patient = Principal([9; 32]);

    let contracts = &world.parts.contracts;
    let owner = &world.patient.signer;
    let revoked = Device::new(0xD2, device.patient, device.audience);
    revoked.register(contracts, owner, Categories::ALL).await;
    contracts.registry.set_device_status(owner, revoked.id(), DeviceStatus::Revoked).await.unwrap();
    let scale = Device::new(0xD3, device.patient, device.audience);
    scale.register(contracts, owner, Categories::of(&[Category::VitalSigns])).await;
    let steps = readings::quantity(&scale, START_MS, LoincCode::Steps, 3.0, Unit::Steps);

    vec![
        (b"not a reading".to_vec(), 400, "MALFORMED_COSE"),
        (good[..good.len() - 1].to_vec(), 400, "MALFORMED_COSE"),
        (wrong_signature, 403, "WRONG_SIGNATURE"),
        (stranger.clone().heart_rate(START_MS, 61.0), 403, "UNKNOWN_DEVICE"),
        (revoked.clone().heart_rate(START_MS, 61.0), 403, "REVOKED_DEVICE"),
        (scale.sign(&steps).bytes().to_vec(), 403, "WRONG_CATEGORY"),
        (signed(&replayed), 409, "REPLAYED_SEQUENCE"),
        (signed(&unlinked), 409, "BROKEN_HASH_LINK"),
        (signed(&gap), 409, "SEQUENCE_GAP"),
        (signed(&device.draft(START_MS + FUTURE_MS_MAX + 1, 61.0)), 422, "TIME_IN_FUTURE"),
        (signed(&device.draft(START_MS - AGE_MS_MAX - 1, 61.0)), 422, "TOO_OLD"),
        (vec![0; READING_BYTES_MAX + 1], 413, "BODY_TOO_LARGE"),
        (patched(&good, b"8867-4", b"0000-0"), 422, "UNKNOWN_LOINC"),
        // 61.5 and 65504 as the shortest floats.
        (patched(&good, &[0xF9, 0x53, 0xB0], &[0xF9, 0x7B, 0xFF]), 422, "ABSURD_VALUE"),
        (signed(&elsewhere), 422, "WRONG_AUDIENCE"),
        (signed(&of_another), 403, "WRONG_PATIENT"),
    ]
}

fn assert_teaches(answer: &Json, code: &str) {
    assert_eq!(answer["code"], code, "{answer}");
    for field in ["message", "next"] {
        assert!(answer[field].as_str().is_some_and(|text| text.len() > 5), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_reading_has_its_own_code_and_costs_nothing_accepted() {
    let mut world = World::new().await;
    world.heart_rate(60.0).await;
    for (body, status, code) in bad_readings(&world).await {
        let (found, answer) = world.post(body).await;
        assert_eq!(found, status, "{answer}");
        assert_teaches(&answer, code);
    }
    let metrics = world.http.get(world.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("pulsegate_readings_total{outcome=\"BROKEN_HASH_LINK\"} 1"), "{metrics}");
    world.heart_rate(61.0).await;
    let progress = world.settle().await;
    assert_eq!((progress.accepted, progress.records_anchored), (2, 2));
    world.stop().await;
}

/// Posts a batch; status and JSON.
async fn post_batch(world: &World, body: Vec<u8>) -> (u16, Json) {
    let answer = world.http.post(world.url("/v1/readings/batch")).body(body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

fn batch_of(readings: &[Vec<u8>]) -> Vec<u8> {
    let items: Vec<_> = readings.iter().map(|reading| serde_bytes::Bytes::new(reading)).collect();
    let mut body = Vec::new();
    ciborium::into_writer(&items, &mut body).unwrap();
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_reading_costs_its_neighbours_in_the_batch_nothing() {
    let mut world = World::new().await;
    let bad: Vec<_> = {
        world.heart_rate(60.0).await;
        bad_readings(&world).await.into_iter().filter(|(body, _, _)| body.len() <= READING_BYTES_MAX).collect()
    };
    let mut bodies = Vec::new();
    let mut expected = Vec::new();
    for (body, _, code) in bad {
        // Sequence and link are judged in the order of the batch, so those cases would change with good readings between them.
        if ["REPLAYED_SEQUENCE", "BROKEN_HASH_LINK", "SEQUENCE_GAP"].contains(&code) {
            continue;
        }
        bodies.push(body);
        expected.push(code);
        bodies.push(world.device.heart_rate(START_MS, 62.0));
        expected.push("accepted");
    }
    let (status, answers) = post_batch(&world, batch_of(&bodies)).await;
    assert_eq!(status, 200, "{answers}");
    for (answer, expected) in answers.as_array().unwrap().iter().zip(&expected) {
        if *expected == "accepted" {
            assert_eq!(answer["status"], "accepted");
        } else {
            assert_eq!(answer["status"], "rejected");
            assert_teaches(answer, expected);
        }
    }
    let accepted = expected.iter().filter(|code| **code == "accepted").count() as u64;
    let (_, again) = post_batch(&world, batch_of(&bodies)).await;
    let duplicates = again.as_array().unwrap().iter().filter(|answer| answer["status"] == "duplicate").count();
    assert_eq!(duplicates as u64, accepted);
    assert_eq!(world.settle().await.records_anchored, accepted + 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_batch_or_too_large_are_refused_whole() {
    let mut world = World::new().await;
    let cases = [
        (b"\xff\xff".to_vec(), 400, "MALFORMED_BATCH"),
        (batch_of(&[]), 400, "MALFORMED_BATCH"),
        ([batch_of(&[vec![1]]), vec![0]].concat(), 400, "MALFORMED_BATCH"),
        (batch_of(&vec![vec![1]; BATCH_READINGS_MAX + 1]), 413, "TOO_MANY_READINGS"),
        (vec![0; BATCH_BYTES_MAX + 1], 413, "BODY_TOO_LARGE"),
        // An array that claims four billion entries must cost nothing.
        (vec![0x9A, 0xFF, 0xFF, 0xFF, 0xFF], 400, "MALFORMED_BATCH"),
    ];
    for (body, status, code) in cases {
        let (found, answer) = post_batch(&world, body).await;
        assert_eq!(found, status, "{answer}");
        assert_teaches(&answer, code);
    }
    let answer = world.http.get(world.url("/v1/devices/zz")).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    let answer = world.http.get(world.url("/nothing")).send().await.unwrap();
    assert_eq!(answer.status(), 404);
    world.stop().await;
}

/// Steps, for which the world's patient published no keys, so they wait in the log.
async fn post_steps(world: &mut World) -> reqwest::Response {
    let reading = readings::quantity(&world.device, START_MS, LoincCode::Steps, 5.0, Unit::Steps);
    let body = world.device.clone().commit(&reading);
    let answer = world.http.post(world.url("/v1/readings")).body(body).send().await.unwrap();
    if answer.status() == 202 {
        world.device.commit(&reading);
    }
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patient_without_keys_fills_only_its_share_and_the_log_its_limit() {
    let mut world = World::with(|config| (config.log_entries_max, config.patient_backlog_max) = (3, 2)).await;
    for _ in 0..2 {
        assert_eq!(post_steps(&mut world).await.status(), 202);
    }
    let answer = post_steps(&mut world).await;
    assert_eq!((answer.status().as_u16(), answer.headers().contains_key("retry-after")), (429, true));
    assert_teaches(&answer.json().await.unwrap(), "PATIENT_BACKLOG_FULL");
    // The same after a restart: what waits is counted from the log.
    world.stop().await;
    world.start().await;
    assert_eq!(post_steps(&mut world).await.status(), 429);
    // Another patient still has room for one, then the log is full.
    let other = Person::new(4);
    other.register(&world.parts.contracts, Role::Patient).await;
    let mut device = Device::new(0xD4, other.principal(), world.running().audience());
    device.register(&world.parts.contracts, &other.signer, Categories::ALL).await;
    world.accept(device.heart_rate(START_MS, 61.0)).await;
    let answer =
        world.http.post(world.url("/v1/readings")).body(device.heart_rate(START_MS, 61.0)).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers().contains_key("retry-after")), (503, true));
    assert_teaches(&answer.json().await.unwrap(), "LOG_FULL");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_service_says_so_and_stays_observable() {
    let mut world = World::with(|config| config.requests_in_flight_max = 1).await;
    world.chain.silent.store(true, Ordering::SeqCst);
    let body = world.device.heart_rate(START_MS, 61.0);
    let waiting = world.http.post(world.url("/v1/readings")).body(body);
    let waiting = tokio::spawn(async move { waiting.send().await.unwrap().status() });
    let answer = common::eventually("the service is busy", async || {
        let answer = world.http.get(world.url("/v1/oracle")).send().await.unwrap();
        (answer.status() == 503).then_some(answer)
    })
    .await;
    assert!(answer.headers().contains_key("retry-after"));
    assert_teaches(&answer.json().await.unwrap(), "OVERLOADED");
    assert_eq!(world.http.get(world.url("/healthz")).send().await.unwrap().status(), 200);
    world.chain.silent.store(false, Ordering::SeqCst);
    assert_eq!(waiting.await.unwrap(), 202);
    world.settle().await;
    assert_eq!(world.leaves(BatchKind::Records).await.len(), 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_senders_keep_nobody_out_and_are_cut_off() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let mut world = World::with(|config| config.requests_in_flight_max = 1).await;
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut stream = tokio::net::TcpStream::connect(world.running().local_addr()).await.unwrap();
        let head = "POST /v1/readings HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\n1";
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    for rate in 60..70 {
        world.heart_rate(f64::from(rate)).await;
    }
    for mut stream in slow {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("BODY_TOO_SLOW"), "{answer}");
    }
    world.settle().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_asks_the_chain_for_few_devices_that_are_not_registered() {
    let mut world = World::new().await;
    let stranger = |number: u8, audience| Device::new(number, world.patient.principal(), audience);
    let here = world.device.audience;
    let elsewhere: Vec<_> = (1..=100).map(|number| stranger(number, [1; 32]).heart_rate(START_MS, 61.0)).collect();
    let (_, answers) = post_batch(&world, batch_of(&elsewhere)).await;
    assert!(answers.as_array().unwrap().iter().all(|answer| answer["code"] == "WRONG_AUDIENCE"), "{answers}");
    assert_eq!(world.chain.device_reads.load(Ordering::SeqCst), 0, "another deployment's reading costs no question");

    let unknown: Vec<_> = (1..=100).map(|number| stranger(number, here).heart_rate(START_MS, 61.0)).collect();
    let (_, answers) = post_batch(&world, batch_of(&unknown)).await;
    let (asked, rest) = answers.as_array().unwrap().split_at(UNKNOWN_DEVICES_MAX);
    assert!(asked.iter().all(|answer| answer["code"] == "UNKNOWN_DEVICE"), "{answers}");
    for answer in rest {
        assert_teaches(answer, "TOO_MANY_UNKNOWN_DEVICES");
        assert!(answer["retry_after_s"].is_number());
    }
    assert_eq!(world.chain.device_reads.load(Ordering::SeqCst), UNKNOWN_DEVICES_MAX);
    world.heart_rate(61.0).await;
    world.settle().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patient_who_publishes_bytes_that_are_no_key_delays_nobody_else() {
    use pulsegate_ipfs::directory::{EpochKeyDirectory, StreamKeys};
    use pulsegate_ipfs::store::BlockStore;
    use pulsegate_rules::Generation;

    let mut world = World::new().await;
    let other = Person::new(4);
    other.register(&world.parts.contracts, Role::Patient).await;
    // Signed as it should be, but the all-zero point has no private key (RFC 7748, section 6.1).
    let streams = vec![StreamKeys {
        category: Category::VitalSigns,
        first_epoch: common::epoch_at(START_MS),
        public_keys: vec![[0; 32]; 2],
    }];
    let directory = EpochKeyDirectory { patient: other.principal(), generation: Generation(0), streams };
    let block = directory.sign(&other.signing()).unwrap();
    let cid = block.cid;
    world.parts.blocks.put(&[block], &[cid]).await.unwrap();
    let pointer = pulsegate_ipfs::block::cid_bytes(&cid).unwrap();
    world.parts.contracts.consent.publish_directory(&other.signer, pointer).await.unwrap();
    let mut device = Device::new(0xD4, other.principal(), world.running().audience());
    device.register(&world.parts.contracts, &other.signer, Categories::ALL).await;
    for rate in [61.0, 62.0, 63.0] {
        world.accept(device.heart_rate(START_MS, rate)).await;
        world.heart_rate(rate).await;
    }
    let progress = world.settle().await;
    assert_eq!((progress.parked, progress.entries_waiting, progress.records_anchored), (3, 3, 3));
    world.stop().await;
}
