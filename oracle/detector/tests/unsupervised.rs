//! Traffic without labels: weights, streaming, devices kept apart, and what raises an alarm.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/together.rs"]
mod together;

use std::path::Path;

use pulsegate_detector::catalogue::{EvaluateOptions, TrainOptions, Trainable};
use pulsegate_detector::data::nsl_kdd;
use pulsegate_detector::model_file::ModelFile;
use pulsegate_detector::progress::Silent;
use pulsegate_detector::traffic::{ConnectionState, Flow, Protocol, Service};
use pulsegate_detector::unsupervised::{DEVICE_STATE_BYTES, GRACE_FLOWS, Unsupervised, UnsupervisedTraffic};
use pulsegate_detector::{Arrival, Assessment, NotAssessed, TrafficClass, TrafficDetector, TrafficFinding};
use pulsegate_rules::DeviceId;

use together::assert_as_alone;

const COMMITTED: &[u8] = include_bytes!("../models/traffic-unsupervised.safetensors");
const START_MS: u64 = 1_800_000_000_000;
const MINUTE_MS: u64 = 60_000;
/// Confidences of [`golden_outputs_of_the_committed_weights`].
const GOLDEN: [f64; 4] = [0.165_058, 0.626_736, 0.200_178, 0.226_564];

fn committed() -> ModelFile {
    ModelFile::read(COMMITTED).unwrap()
}

fn detector() -> UnsupervisedTraffic {
    UnsupervisedTraffic::new(&committed(), 100).unwrap()
}

/// A device that reports once a minute over TLS and hangs up in good order.
fn heartbeat(minute: u64) -> Flow {
    Flow {
        started_at_ms: START_MS + minute * MINUTE_MS,
        duration_ms: Some(120.0 + (minute % 7) as f64),
        protocol: Protocol::Tcp,
        service: Service::Tls,
        state: ConnectionState::SF,
        bytes_sent: Some(820 + minute % 5),
        bytes_received: Some(340),
        packets_sent: Some(9),
        packets_received: Some(8),
    }
}

/// A connection attempt that nobody answers, as in a flood of openings.
fn flood(step: u64) -> Flow {
    Flow {
        started_at_ms: START_MS + 400 * MINUTE_MS + step,
        duration_ms: None,
        service: Service::Unknown,
        state: ConnectionState::S0,
        bytes_sent: Some(0),
        bytes_received: Some(0),
        packets_sent: Some(1),
        packets_received: Some(0),
        ..heartbeat(0)
    }
}

/// A probe of a closed port.
fn probe(step: u64) -> Flow {
    Flow { state: ConnectionState::Rej, packets_received: Some(1), ..flood(step) }
}

fn arrival(device: u8, flow: Flow) -> Arrival {
    let at_ms = flow.started_at_ms;
    Arrival {
        device: DeviceId([device; 32]),
        received_at_ms: at_ms,
        measured_at_ms: at_ms,
        bytes: 500,
        flow: Some(flow),
    }
}

fn is_alarm(assessment: &Assessment<TrafficFinding>) -> bool {
    assessment.finding().is_some_and(|finding| finding.class == TrafficClass::Compromised)
}

/// Runs flows of one device through a detector and counts the alarms.
fn alarms(detector: &mut UnsupervisedTraffic, device: u8, flows: impl Iterator<Item = Flow>) -> usize {
    flows.filter(|flow| is_alarm(&detector.screen(&arrival(device, *flow)).unwrap())).count()
}

#[test]
fn a_steady_device_raises_no_alarm_after_its_grace_and_a_flood_or_scan_does() {
    let mut detector = detector();
    let grace = u64::from(GRACE_FLOWS);
    assert_eq!(alarms(&mut detector, 1, (0..grace).map(heartbeat)), 0, "nothing gross in the grace either");
    assert_eq!(alarms(&mut detector, 1, (grace..grace + 1_500).map(heartbeat)), 0);
    assert!(alarms(&mut detector, 1, (0..100).map(flood)) > 90);
    assert_eq!(alarms(&mut detector, 1, (grace + 2_000..grace + 2_100).map(heartbeat)), 0, "its own flows never alarm");
    assert!(alarms(&mut detector, 1, (0..100).map(probe)) > 90);
}

#[test]
fn an_upload_beyond_all_measure_raises_an_alarm_that_says_what_is_strange() {
    let mut detector = detector();
    let grace = u64::from(GRACE_FLOWS);
    assert_eq!(alarms(&mut detector, 1, (0..grace).map(heartbeat)), 0);
    let upload = Flow {
        bytes_sent: Some(1 << 45),
        packets_sent: Some(1 << 36),
        duration_ms: Some(9e8),
        bytes_received: Some(1 << 44),
        packets_received: Some(1 << 35),
        ..heartbeat(grace)
    };
    let assessment = detector.screen(&arrival(1, upload)).unwrap();
    let finding = assessment.finding().expect("it is judged");
    assert_eq!(finding.class, TrafficClass::Compromised);
    assert!(finding.confidence.is_some_and(|confidence| confidence > 0.9));
    assert!(finding.label.as_ref().is_some_and(|label| label.starts_with("unlike benign traffic: ")), "{finding:?}");
}

#[test]
fn a_late_arrival_and_one_without_a_flow_are_not_judged_and_change_nothing() {
    let (mut one, mut other) = (detector(), detector());
    let late = Arrival { received_at_ms: START_MS + 16 * MINUTE_MS, ..arrival(1, heartbeat(0)) };
    let late = Arrival { measured_at_ms: START_MS, ..late };
    assert_eq!(one.screen(&late), Ok(Assessment::NotAssessed(NotAssessed::Late)));
    let without = Arrival { flow: None, ..arrival(1, heartbeat(0)) };
    assert_eq!(one.screen(&without), Ok(Assessment::NotAssessed(NotAssessed::NoFlow)));
    for minute in 1..300 {
        assert_eq!(one.screen(&arrival(1, heartbeat(minute))), other.screen(&arrival(1, heartbeat(minute))));
    }
}

#[test]
fn a_poisoned_flow_is_refused_and_touches_nobody() {
    let (mut one, mut other) = (detector(), detector());
    let poisons = [
        Flow { duration_ms: Some(f64::NAN), ..heartbeat(0) },
        Flow { duration_ms: Some(f64::INFINITY), ..heartbeat(0) },
        Flow { duration_ms: Some(-1.0), ..heartbeat(0) },
        Flow { bytes_sent: Some(u64::MAX), ..heartbeat(0) },
        Flow { packets_received: Some(u64::MAX), ..heartbeat(0) },
    ];
    for minute in 1..300 {
        let poison = arrival((minute % 2) as u8, poisons[minute as usize % poisons.len()]);
        assert_eq!(one.screen(&poison).unwrap_err().code(), "DETECTOR_UNUSABLE_INPUT");
        assert_eq!(one.screen(&arrival(1, heartbeat(minute))), other.screen(&arrival(1, heartbeat(minute))));
    }
}

#[test]
fn the_order_of_devices_changes_nothing() {
    let flow = |device: u8, at: u64| match (device, at % 11) {
        (0, 0) => probe(at),
        (1, 3) if at > 280 => flood(at),
        _ => heartbeat(at * u64::from(device + 1)),
    };
    let run = |turns: &[(u8, u64)]| {
        let mut detector = detector();
        let mut said: Vec<_> = turns
            .iter()
            .map(|(device, at)| (*device, *at, detector.screen(&arrival(*device, flow(*device, *at)))))
            .collect();
        said.sort_by_key(|(device, at, _)| (*device, *at));
        said
    };
    let together: Vec<(u8, u64)> = (0..320).flat_map(|at| (0..3).map(move |device| (device, at))).collect();
    let one_by_one: Vec<(u8, u64)> = (0..3).rev().flat_map(|device| (0..320).map(move |at| (device, at))).collect();
    assert_eq!(run(&together), run(&one_by_one));
}

/// The committed weights, reading the time since the previous flow in place of the share of bytes sent.
fn reading_history() -> ModelFile {
    let mut file = committed();
    let knots = file.tensor("scale.14", [1, 33]).unwrap().clone();
    file.insert("scale.15", knots);
    file.metadata.settings["features"][14]["read"] = serde_json::json!(false);
    file.metadata.settings["features"][15]["read"] = serde_json::json!(true);
    file
}

#[test]
fn arrivals_judged_together_get_what_each_would_get_alone() {
    // Thirty devices in no order, some several times in a row, with late, poisoned and empty arrivals and missing numbers among them.
    let arrivals: Vec<Arrival> = (0..6_000_u64)
        .map(|number| {
            let device = (number * number / 3 % 30) as u8;
            let flow = if device.is_multiple_of(4) { probe(number) } else { heartbeat(number) };
            let flow = if number.is_multiple_of(7) { Flow { packets_sent: None, ..flow } } else { flow };
            let poisoned = Flow { duration_ms: Some(f64::NAN), ..flow };
            let flow = [Some(flow), Some(flow), Some(flow), None, Some(poisoned)][number as usize % 5];
            let arrival = Arrival { flow, ..arrival(device, heartbeat(number)) };
            if number.is_multiple_of(11) { Arrival { measured_at_ms: 0, ..arrival } } else { arrival }
        })
        .collect();
    for (file, devices_max) in [(committed(), 7), (committed(), 100), (reading_history(), 7), (reading_history(), 100)]
    {
        let new = || UnsupervisedTraffic::new(&file, devices_max).unwrap();
        assert_as_alone(&arrivals, new, &format!("{devices_max} devices at most"));
    }
}

#[test]
fn state_per_device_is_as_stated() {
    const { assert!(DEVICE_STATE_BYTES < 4_096) };
}

#[test]
fn golden_outputs_of_the_committed_weights() {
    let mut detector = detector();
    let flows = [heartbeat(1), flood(1), probe(1), Flow { packets_sent: None, packets_received: None, ..heartbeat(2) }];
    let expected = GOLDEN;
    for (device, (flow, expected)) in (0_u8..).zip(flows.into_iter().zip(expected)) {
        let assessment = detector.screen(&arrival(device, flow)).unwrap();
        let finding = assessment.finding().expect("an ordinary flow is judged");
        assert!((finding.confidence.unwrap() - expected).abs() < 1e-4, "flow {device}: {finding:?}");
    }
}

#[test]
fn truncated_and_foreign_weights_are_refused_with_a_reason() {
    assert_eq!(ModelFile::read(&COMMITTED[..COMMITTED.len() / 2]).unwrap_err().code(), "MODEL_FILE_UNREADABLE");
    let mut other_kind = committed();
    other_kind.metadata.kind = pulsegate_rules::registry::DetectorKind::Traffic;
    let mut no_settings = committed();
    no_settings.metadata.settings = serde_json::json!({});
    let mut huge = committed();
    huge.metadata.settings["prototypes"] = serde_json::json!(u64::MAX);
    let mut short = committed();
    short.insert("levels", ndarray::Array2::zeros((1, 3)));
    for file in [other_kind, no_settings, huge, short] {
        let error = UnsupervisedTraffic::new(&file, 1).err().expect("it is refused");
        assert_eq!(error.code(), "DETECTOR_MODEL_UNUSABLE");
        assert!(error.to_string().contains("pulsegate detector train"), "{error}");
    }
}

/// A small table with the columns of `nsl_kdd`, written for this test.
fn small_set(folder: &Path) {
    let header = "duration,protocol_type,service,flag,src_bytes,dst_bytes,land,wrong_fragment,urgent,hot,num_failed_logins,logged_in,\
                  num_compromised,root_shell,su_attempted,num_root,num_file_creations,num_shells,num_access_files,num_outbound_cmds,\
                  is_host_login,is_guest_login,count,srv_count,serror_rate,srv_serror_rate,rerror_rate,srv_rerror_rate,same_srv_rate,\
                  diff_srv_rate,srv_diff_host_rate,dst_host_count,dst_host_srv_count,dst_host_same_srv_rate,dst_host_diff_srv_rate,\
                  dst_host_same_src_port_rate,dst_host_srv_diff_host_rate,dst_host_serror_rate,dst_host_srv_serror_rate,\
                  dst_host_rerror_rate,dst_host_srv_rerror_rate,attack,difficulty";
    let line = |at: u32| {
        let zeros = "0,".repeat(35);
        let (bytes, word, flag) = if at % 6 == 5 { (0, "neptune", "S0") } else { (200 + at * 7 % 90, "normal", "SF") };
        format!("{},tcp,http,{flag},{bytes},{},{zeros}{word},20\n", at % 3, bytes * 3)
    };
    for file in ["KDDTrain+_20Percent.csv.gz", "KDDTest+_dev.csv.gz"] {
        let text: String = std::iter::once(format!("{header}\n")).chain((0..900).map(line)).collect();
        let out = std::fs::File::create(folder.join(file)).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(out, flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, text.as_bytes()).unwrap();
        gzip.finish().unwrap();
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_attacks_stand_out_and_live_flows_are_judged_as_in_a_file() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("nsl_kdd");
    std::fs::create_dir(&folder).unwrap();
    small_set(&folder);
    let train = |seed| Unsupervised.train(&folder, &TrainOptions { seed, ..TrainOptions::default() }, &Silent).unwrap();
    let file = train(3);
    assert_eq!(file.to_bytes(), train(3).to_bytes());
    assert_ne!(file.to_bytes(), train(4).to_bytes());
    assert_eq!(file.metadata.data.len(), 1, "the official test part taught nothing");

    let options = EvaluateOptions { cross_validate: true, seed: 3, ..EvaluateOptions::default() };
    let evaluation = Unsupervised.evaluate(None, &folder, &options, &Silent).unwrap();
    evaluation.check().unwrap();
    let attack = |row: &usize| evaluation.rows.truth[*row] == 1;
    let served = &evaluation.models[0];
    let found = served.row.iter().zip(&served.decided).filter(|(row, _)| attack(row));
    assert!(found.clone().all(|(_, decided)| *decided == 1), "S0 never occurs among benign rows here");

    let options = EvaluateOptions { seed: 3, ..EvaluateOptions::default() };
    let one_file = folder.join("KDDTest+_dev.csv.gz");
    let judged = Unsupervised.evaluate(Some(&file), &one_file, &options, &Silent).unwrap();
    let mut detector = UnsupervisedTraffic::new(&file, 1_000).unwrap();
    let flows = nsl_kdd::load(&one_file, nsl_kdd::Part::Test).unwrap().flows;
    for (row, flow) in flows.into_iter().enumerate() {
        let mut device = [0; 32];
        device[..8].copy_from_slice(&(row as u64).to_be_bytes());
        let at_ms = START_MS;
        let live = Arrival {
            device: DeviceId(device),
            received_at_ms: at_ms,
            measured_at_ms: at_ms,
            bytes: 0,
            flow: Some(flow),
        };
        let normal =
            detector.screen(&live).unwrap().finding().filter(|finding| finding.class == TrafficClass::Normal).cloned();
        assert_eq!(normal.is_none(), judged.models[0].decided[row] == 1, "row {row}");
        if let Some(finding) = normal {
            let batch = f64::from(judged.models[0].probabilities[[row, 0]]);
            assert!((finding.confidence.unwrap() - batch).abs() < 1e-5, "row {row}");
        }
    }
    let missing = Unsupervised.evaluate(None, &folder, &options, &Silent).unwrap_err();
    assert_eq!(missing.code(), "DETECTOR_NO_WEIGHTS");
    let wrong =
        Unsupervised.train(place.path().join("nowhere").as_path(), &TrainOptions::default(), &Silent).unwrap_err();
    assert_eq!(wrong.code(), "DETECTOR_DATA_UNSUITABLE");
}
