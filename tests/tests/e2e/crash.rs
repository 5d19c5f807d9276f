//! Power cuts: `kill -9` of the oracle at every named point and at random moments, of the chain and of Kubo while running.
//!
//! After each, everything is started again on what is on disk. Then: nothing that was acknowledged is lost, nothing is anchored twice.

use std::time::Duration;

use pulsegate_oracle::fault;
use pulsegate_rules::records::BatchKind;
use pulsegate_tests::anchored;
use pulsegate_tests::device::Device;
use pulsegate_tests::eventually::eventually;
use pulsegate_tests::installation::{Installation, Parts};
use pulsegate_tests::parts;
use pulsegate_tests::person::Person;
use pulsegate_tests::seed::seeded;
use rand::Rng;

/// Longest wait until everything that was acknowledged is anchored.
const ANCHORED_WITHIN: Duration = Duration::from_secs(180);
/// Readings per burst.
const BURST: usize = 12;
/// Rounds of a random scenario.
const ROUNDS: usize = 5;
/// Longest life of a server between two power cuts, milliseconds.
const LIFE_MS_MAX: u64 = 1_500;

/// Waits until every acknowledged reading is anchored, and checks that each is anchored exactly once and nothing else is.
async fn nothing_is_lost_or_doubled(installation: &Installation, device: &Device) {
    let (contracts, blocks) = (installation.contracts().await, installation.blocks().await);
    let times = eventually("every acknowledged reading is anchored", ANCHORED_WITHIN, || async {
        let times = anchored::times_anchored(&anchored::records(&contracts, blocks.as_ref()).await);
        let missing = device.acknowledged().iter().filter(|link| !times.contains_key(*link)).count();
        if missing == 0 { Ok(times) } else { Err(format!("{missing} of {} are missing", device.acknowledged().len())) }
    })
    .await;
    let doubled: Vec<usize> = times.values().copied().filter(|count| *count != 1).collect();
    assert!(doubled.is_empty(), "{} readings are anchored more than once", doubled.len());
    // What was sent is acknowledged in the end, because the device sends again until it is.
    assert_eq!(
        times.len(),
        device.acknowledged().len(),
        "readings were anchored that the device never got acknowledged"
    );
}

/// The program's own check agrees, and the patient reads the content of every record.
fn everything_verifies(patient: &Person, device: &Device) {
    let report = patient.does(&["verify", "--decrypt"]).json;
    assert_eq!(report["faults"], serde_json::json!([]), "{report:#}");
    let count = serde_json::json!(device.acknowledged().len());
    assert_eq!((&report["records"], &report["opened"]), (&count, &count), "{report:#}");
}

async fn embedded_with_device() -> (Installation, Person, Device) {
    let installation = Installation::embedded().await;
    let patient = installation.enrol("patient", "patient");
    let device = Device::added(&installation, &patient, &["vital-signs"]);
    (installation, patient, device)
}

#[tokio::test(flavor = "multi_thread")]
async fn oracle_and_embedded_chain_killed_at_every_stage_boundary_lose_and_repeat_nothing() {
    let (mut installation, patient, mut device) = embedded_with_device().await;
    let ingest = fault::POINTS.iter().filter(|point| !point.starts_with("release."));
    for point in ingest {
        println!("power cut at {point}");
        installation.start_to_crash_at(point);
        // The burst may or may not be acknowledged before the cut; the device keeps what was not.
        device.measure(BURST);
        device.send_until_cut_off(&mut installation, point).await;
        installation.start().await;
        device.send_all().await;
    }
    nothing_is_lost_or_doubled(&installation, &device).await;
    everything_verifies(&patient, &device);
}

#[tokio::test(flavor = "multi_thread")]
async fn oracle_on_contracts_node_and_kubo_killed_around_its_submission_loses_and_repeats_nothing() {
    const SCENARIO: &str = "power cuts of the oracle between Kubo, signature and contracts node";
    /// Each point, and how many batches the chain has got when the oracle dies there.
    const POINTS: [(&str, u64); 3] =
        [(fault::STORE_AFTER_PUT, 0), (fault::ANCHOR_SIGNED, 0), (fault::ANCHOR_AFTER_SUBMIT, 1)];
    if !parts::all_found(SCENARIO, &["substrate-contracts-node", "ipfs"]) {
        return;
    }
    let mut installation = Installation::real().await;
    let patient = installation.enrol("patient", "patient");
    let mut device = Device::added(&installation, &patient, &["vital-signs"]);
    device.measure(BURST);
    device.send_all().await;
    nothing_is_lost_or_doubled(&installation, &device).await;
    let records = installation.contracts().await.records;
    let oracle = records.oracles_seen(0, 1).await.expect("the chain answers")[0];
    for (point, batches) in POINTS {
        println!("power cut at {point}");
        let before = records.head(oracle, BatchKind::Records).await.expect("the chain answers").sequence;
        installation.start_to_crash_at(point);
        device.measure(BURST);
        device.send_until_cut_off(&mut installation, point).await;
        let cut = records.head(oracle, BatchKind::Records).await.expect("the chain answers").sequence;
        assert_eq!(cut - before, batches, "{point}: batches on chain when the oracle died");
        installation.start().await;
        device.send_all().await;
        nothing_is_lost_or_doubled(&installation, &device).await;
    }
    everything_verifies(&patient, &device);
    parts::ran(SCENARIO);
}

#[tokio::test(flavor = "multi_thread")]
async fn release_cut_off_around_its_receipt_leaves_no_share_without_a_receipt() {
    let (mut installation, patient, mut device) = embedded_with_device().await;
    let practitioner = installation.enrol("practitioner", "practitioner");
    device.measure(2);
    device.send_all().await;
    nothing_is_lost_or_doubled(&installation, &device).await;
    let reader = practitioner.account().to_string();
    patient.does(&[
        "grant",
        "--to",
        &reader,
        "--category",
        "vital-signs",
        "--purpose",
        "TREAT",
        "--from",
        "-3h",
        "--until",
        "+1h",
    ]);
    let account = patient.account().to_string();
    let open = [
        "open",
        "--patient",
        &account,
        "--category",
        "vital-signs",
        "--purpose",
        "TREAT",
        "--from",
        "-2h",
        "--until",
        "+1h",
    ];
    for (point, receipts) in [(fault::RELEASE_BEFORE_RECEIPT, 0), (fault::RELEASE_AFTER_RECEIPT, 1)] {
        installation.start_to_crash_at(point);
        installation.ready().await;
        let cut_off = practitioner.tries(&open);
        assert_ne!(
            cut_off.code, 0,
            "{point}: the oracle was to end before its answer, but the reader got {}",
            cut_off.json
        );
        installation.ended(point).await;
        installation.start().await;
        eventually("the receipts are anchored", ANCHORED_WITHIN, || async {
            let list = patient.does(&["receipts"]).json;
            let count = list["receipts"].as_array().map_or(0, Vec::len);
            if count == receipts { Ok(()) } else { Err(format!("{point}: {count} receipts instead of {receipts}")) }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn oracle_and_embedded_chain_killed_at_random_moments_lose_and_repeat_nothing() {
    let mut random = seeded("oracle_and_embedded_chain_killed_at_random_moments_lose_and_repeat_nothing");
    let (mut installation, patient, mut device) = embedded_with_device().await;
    for round in 0..ROUNDS {
        let life = Duration::from_millis(random.gen_range(1..=LIFE_MS_MAX));
        let cut = tokio::time::timeout(life, device.stream()).await;
        println!("round {round}: power cut after {life:?}, {} acknowledged so far", device.acknowledged().len());
        assert!(cut.is_err(), "a stream goes on until it is cut");
        installation.kill();
        installation.start().await;
        device.send_all().await;
    }
    nothing_is_lost_or_doubled(&installation, &device).await;
    everything_verifies(&patient, &device);
}

#[tokio::test(flavor = "multi_thread")]
async fn oracle_contracts_node_and_kubo_killed_at_random_moments_lose_and_repeat_nothing() {
    const SCENARIO: &str = "power cuts of oracle, contracts node and Kubo in mid-stream";
    if !parts::all_found(SCENARIO, &["substrate-contracts-node", "ipfs"]) {
        return;
    }
    let mut random = seeded(SCENARIO);
    let mut installation = Installation::real().await;
    let patient = installation.enrol("patient", "patient");
    let mut device = Device::added(&installation, &patient, &["vital-signs"]);
    for (round, victim) in
        ["oracle", "node", "kubo", "node and oracle", "kubo and oracle", "all"].into_iter().enumerate()
    {
        let life = Duration::from_millis(random.gen_range(1..=LIFE_MS_MAX));
        let cut = tokio::time::timeout(life, device.stream()).await;
        println!("round {round}: {victim} cut after {life:?}, {} acknowledged so far", device.acknowledged().len());
        assert!(cut.is_err(), "a stream goes on until it is cut");
        let (with_node, with_kubo) =
            (victim.contains("node") || victim == "all", victim.contains("kubo") || victim == "all");
        let with_oracle = victim.contains("oracle") || victim == "all";
        if with_oracle {
            installation.kill();
        }
        let Parts::Real { node, kubo } = &mut installation.parts else {
            unreachable!("this installation is on real parts")
        };
        if with_node {
            node.kill();
        }
        if with_kubo {
            kubo.kill();
        }
        if !with_oracle {
            // The oracle lives on without the part: what it acknowledges now must be anchored when the part is back.
            let _cut = tokio::time::timeout(Duration::from_millis(LIFE_MS_MAX), device.stream()).await;
        }
        let Parts::Real { node, kubo } = &mut installation.parts else {
            unreachable!("this installation is on real parts")
        };
        if with_node {
            node.restart().await;
        }
        if with_kubo {
            kubo.restart().await;
        }
        if with_oracle {
            installation.start().await;
        }
        device.send_all().await;
    }
    nothing_is_lost_or_doubled(&installation, &device).await;
    everything_verifies(&patient, &device);
    parts::ran(SCENARIO);
}
