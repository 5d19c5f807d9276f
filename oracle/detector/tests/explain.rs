//! Why the committed models judge as they do: their answers on a synthetic log, and that asking changes nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use pulsegate_detector::command::{Command, CommandError, ExplainArgs, run};
use pulsegate_detector::ecg::{BeatContext, BeatModel, WINDOW, WINDOW_R};
use pulsegate_detector::explain::{Explanation, Measure, STRONGEST, Told, explain_beat, explain_stay};
use pulsegate_detector::model_file::ModelFile;
use pulsegate_detector::traffic::detector::DeepTraffic;
use pulsegate_detector::traffic::{ConnectionState, Flow, Service};
use pulsegate_detector::unsupervised::UnsupervisedTraffic;
use pulsegate_detector::vitals::{Channel, Demographics, Ensemble, FEATURES, HOURS, History, Hour, State};
use pulsegate_detector::{Arrival, Assessment, TrafficClass, TrafficDetector, TrafficFinding};
use pulsegate_rules::DeviceId;

use common::{MINUTE_MS, START_MS, heartbeat};

const SERVING: &[u8] = include_bytes!("../models/traffic-serving.safetensors");
const UNSUPERVISED: &[u8] = include_bytes!("../models/traffic-unsupervised.safetensors");
const ECG_BEATS: &[u8] = include_bytes!("../models/ecg-beats.safetensors");
const VITAL_SIGNS: &[u8] = include_bytes!("../models/vital-signs.safetensors");
const DEVICE: DeviceId = DeviceId([1; 32]);

fn serving() -> DeepTraffic {
    DeepTraffic::new(&ModelFile::read(SERVING).unwrap(), 100).unwrap()
}

fn unsupervised() -> UnsupervisedTraffic {
    UnsupervisedTraffic::new(&ModelFile::read(UNSUPERVISED).unwrap(), 100).unwrap()
}

/// A knock at a closed door, as in a scan.
fn probe(number: u64) -> Flow {
    Flow {
        started_at_ms: START_MS + 20 * MINUTE_MS + number * 3,
        duration_ms: Some(0.04),
        service: Service::Unknown,
        state: ConnectionState::Rej,
        bytes_sent: Some(0),
        bytes_received: Some(0),
        packets_sent: Some(1),
        packets_received: Some(1),
        ..heartbeat(0)
    }
}

/// A flood: many packets a second, hardly any answer.
fn flood(number: u64) -> Flow {
    Flow {
        started_at_ms: START_MS + 20 * MINUTE_MS + number * 10,
        duration_ms: Some(1_000.0),
        service: Service::Http,
        state: ConnectionState::S0,
        bytes_sent: Some(4_000_000),
        bytes_received: Some(0),
        packets_sent: Some(40_000),
        packets_received: Some(0),
        ..heartbeat(0)
    }
}

fn screened(detector: &mut impl TrafficDetector, flow: Flow) -> TrafficFinding {
    let at_ms = flow.started_at_ms;
    let arrival =
        Arrival { device: DEVICE, received_at_ms: at_ms, measured_at_ms: at_ms, bytes: 500, flow: Some(flow) };
    match detector.screen(&arrival).unwrap() {
        Assessment::Assessed(finding) => finding,
        Assessment::NotAssessed(why) => panic!("not assessed: {why:?}"),
    }
}

fn strongest(explanation: &Explanation) -> Vec<&str> {
    explanation.inputs.iter().take(STRONGEST).map(|input| input.input.as_str()).collect()
}

/// A detector that knows the device from twenty quiet minutes.
fn after_heartbeats() -> DeepTraffic {
    let mut detector = serving();
    (0..20).for_each(|minute| drop(screened(&mut detector, heartbeat(minute))));
    detector
}

#[test]
fn a_scan_and_a_flood_are_told_by_bytes_packets_and_rates() {
    // What the committed weights say, looked at and then written down: sizes and rates first, the service only then, and the quiet
    // flows before speak against an attack.
    let scan = ["sent_bytes", "received_packets_per_s", "received_bytes", "sent_packets_per_s", "service"];
    let flooded = ["sent_bytes", "sent_packets", "sent_bytes_per_packet", "service", "flows_before"];
    for (attack, expected) in [(probe as fn(u64) -> Flow, scan), (flood, flooded)] {
        let explanation = after_heartbeats().explain(&DEVICE, &attack(0)).unwrap();
        assert_eq!((explanation.class.as_str(), explanation.measure), ("attack", Measure::LogOdds));
        assert_eq!(strongest(&explanation), expected);
        let before = explanation.inputs.iter().find(|input| input.input == "flows_before").unwrap();
        assert!(before.contribution < 0.0 && before.value == Some(Told::Number(15.0)), "{before:?}");
        let state = explanation.inputs.iter().find(|input| input.input == "state").unwrap();
        assert!(matches!(state.value, Some(Told::Name("REJ" | "S0"))), "{state:?}");
    }
}

#[test]
fn the_score_is_that_of_the_finding_and_asking_changes_nothing() {
    let (mut asked, mut plain) = (serving(), serving());
    for number in 0..20 {
        let flow = if number % 3 == 0 { probe(number) } else { heartbeat(number) };
        // An empty window, one that fills, and one that is full and has begun anew.
        let explanation = [0, 5, 15, 16, 19].contains(&number).then(|| asked.explain(&DEVICE, &flow).unwrap());
        let found = screened(&mut asked, flow);
        assert_eq!(found, screened(&mut plain, flow), "flow {number}");
        let Some(explanation) = explanation else { continue };
        assert_eq!((found.class == TrafficClass::Compromised), (explanation.class == "attack"));
        let confidence = found.confidence.unwrap();
        let log_odds = (confidence / (1.0 - confidence)).ln();
        // Single precision has few digits left for a probability near 1.
        assert!((explanation.score - log_odds).abs() < 0.01, "flow {number}: {log_odds} and {}", explanation.score);
    }
}

#[test]
fn what_is_missing_has_nothing_to_take_away() {
    let flow = Flow { duration_ms: None, packets_sent: None, ..heartbeat(0) };
    let explanation = serving().explain(&DEVICE, &flow).unwrap();
    for input in explanation.inputs.iter().filter(|input| input.value.is_none()) {
        assert_eq!(input.contribution, 0.0, "{input:?}");
    }
    assert!(explanation.inputs.iter().any(|input| input.input == "sent_packets" && input.value.is_none()));
    assert!(serving().explain(&DEVICE, &Flow { duration_ms: Some(f64::NAN), ..flow }).is_none());
}

#[test]
fn without_labels_a_scan_is_unlike_benign_traffic_by_its_state_and_sizes() {
    let (mut asked, mut plain) = (unsupervised(), unsupervised());
    let explanation = asked.explain(&DEVICE, &probe(0)).unwrap();
    assert_eq!(explanation.measure, Measure::ShareOfDistance);
    assert_eq!(strongest(&explanation)[..2], ["state", "sent_bytes_per_s"]);
    let state = &explanation.inputs[0];
    assert_eq!((state.value, state.typical), (Some(Told::Name("REJ")), Some(Told::Name("SF"))));
    let whole: f32 = explanation.inputs.iter().map(|input| input.contribution).sum();
    assert!((whole - 1.0).abs() < 1e-4, "{whole}");
    assert_eq!(screened(&mut asked, probe(0)), screened(&mut plain, probe(0)));
}

/// Ten hours of a patient whose heart races while the pressure falls; nothing else is measured.
fn decline() -> Vec<Hour> {
    let hours = [0_u8, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(|number| {
        let mut hour = Hour::default();
        assert!(hour.measure(Channel::HeartRate, 90.0 + 5.0 * f32::from(number)));
        assert!(hour.measure(Channel::CuffSystolic, 120.0 - 5.0 * f32::from(number)));
        hour
    });
    hours.to_vec()
}

#[test]
fn a_risk_is_told_by_the_signs_that_were_measured() {
    let file = ModelFile::read(VITAL_SIGNS).unwrap();
    let demographics = Demographics { age_years: Some(80.0), ..Demographics::default() };
    let explanation = explain_stay(&file, &decline(), &demographics).unwrap();
    let of = |name: &str| explanation.inputs.iter().find(|input| input.input == name).unwrap();
    for unknown in ["saturation", "coma", "temperature", "male", "height", "weight"] {
        assert_eq!((of(unknown).value, of(unknown).contribution), (None, 0.0), "{unknown}");
    }
    assert_eq!((of("heart_rate").value, of("age").value), (Some(Told::Number(135.0)), Some(Told::Number(80.0))));
    for known in ["heart_rate", "blood_pressure_systolic", "age"] {
        assert!(of(known).contribution != 0.0 && of(known).typical.is_some(), "{:?}", of(known));
    }
    assert!(of("age").contribution > 0.0, "80 years raise the risk: {:?}", of("age"));
    // The score is the model's own risk at that hour.
    let ensemble = Ensemble::of(&file).unwrap();
    let (mut history, mut state, mut scratch) = (History::default(), State::default(), ensemble.scratch());
    let (mut features, mut logit) = (vec![0.0; FEATURES], 0.0);
    for hour in decline() {
        history.pass(&hour);
        history.write(&demographics, &mut features);
        logit = ensemble.step(&features, &mut state, &mut scratch);
    }
    let risk = ensemble.risk(logit, 9);
    assert!((explanation.score - (risk / (1.0 - risk)).ln()).abs() < 1e-5);
}

#[test]
fn a_stay_has_one_to_48_hours_and_its_own_model() {
    let explain = |bytes, hours: usize| {
        let file = ModelFile::read(bytes).unwrap();
        explain_stay(&file, &vec![Hour::default(); hours], &Demographics::default())
            .map(drop)
            .map_err(|error| error.code())
    };
    assert_eq!(explain(VITAL_SIGNS, 0), Err("EXPLAIN_HOUR"));
    assert_eq!(explain(VITAL_SIGNS, HOURS + 1), Err("EXPLAIN_HOUR"));
    assert_eq!(explain(VITAL_SIGNS, HOURS), Ok(()));
    assert_eq!(explain(SERVING, 1), Err("DETECTOR_OTHER_MODEL"));
}

#[test]
fn a_broad_early_beat_is_ventricular_for_its_complex_and_a_usual_wave_says_nothing() {
    let file = ModelFile::read(ECG_BEATS).unwrap();
    let mut model = BeatModel::read(&file).unwrap();
    let wave = |height: f32, width: f32| -> [f32; WINDOW] {
        std::array::from_fn(|at| {
            let hill = |middle: f32, width: f32| (-((at as f32 - middle) / width).powi(2)).exp();
            height * hill(WINDOW_R as f32, width) + 0.2 * hill(WINDOW_R as f32 + 45.0, 9.0)
        })
    };
    let mut context = BeatContext::new();
    for _ in 0..100 {
        context.observe(&wave(1.0, 2.5), Some(0.8));
    }
    let usual = context.observe(&wave(1.0, 2.5), Some(0.8)).complete(Some(0.8));
    let broad = context.observe(&wave(-1.6, 9.0), Some(0.45)).complete(Some(1.1));
    let of = |explanation: &Explanation, name: &str| {
        explanation.inputs.iter().find(|input| input.input.starts_with(name)).unwrap().clone()
    };
    let explanation = explain_beat(&mut model, file.id(), &broad);
    let probability = f64::from(model.judge(&broad).probabilities[2]);
    assert_eq!((explanation.class.as_str(), explanation.measure), ("V", Measure::LogOdds));
    assert!((explanation.score - (probability / (1.0 - probability)).ln()).abs() < 1e-2, "{explanation:?}");
    assert!(of(&explanation, "QRS complex").contribution > 0.5, "{explanation:?}");
    assert_eq!(explanation, explain_beat(&mut model, file.id(), &broad), "asking changes nothing");
    let explanation = explain_beat(&mut model, file.id(), &usual);
    assert_eq!((explanation.class.as_str(), of(&explanation, "interval before").value), ("N", Some(Told::Number(1.0))));
}

fn model(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("models/{name}.safetensors")).display().to_string()
}

fn of_log(name: &str, log: &Path, uid: Option<&str>) -> ExplainArgs {
    let (zeek, uid) = (Some(log.to_owned()), uid.map(str::to_owned));
    ExplainArgs {
        model: model(name),
        zeek,
        uid,
        data: None,
        patient: None,
        hour: None,
        record: None,
        second: None,
        top: STRONGEST,
    }
}

fn explained(args: ExplainArgs, json: bool) -> Result<String, CommandError> {
    let mut out = Vec::new();
    run(&Command::Explain(args), &mut out, json)?;
    Ok(String::from_utf8(out).unwrap())
}

/// Twenty quiet connections with a scan of three after them, and a line that is none.
fn write_log(path: &Path) {
    let ends = r#""id.orig_h":"192.0.2.7","id.orig_p":1,"id.resp_h":"192.0.2.1","id.resp_p":2,"proto":"tcp""#;
    let line =
        |at: usize, rest: &str| format!(r#"{{"ts":{},"uid":"C{at}",{ends},{rest}}}"#, 1_790_000_000 + 60 * at) + "\n";
    let quiet = r#""service":"ssl","duration":0.08,"orig_bytes":1240,"resp_bytes":2310,"conn_state":"SF","orig_pkts":9,"resp_pkts":8"#;
    let scan = r#""duration":0.00004,"orig_bytes":0,"resp_bytes":0,"conn_state":"REJ","orig_pkts":1,"resp_pkts":1"#;
    let log: String = (0..23).map(|at| line(at, if at < 20 { quiet } else { scan })).collect();
    std::fs::write(path, "{not json\n".to_owned() + &log).unwrap();
}

#[test]
fn a_connection_of_a_log_is_explained_in_words_and_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("conn.log");
    write_log(&log);
    let words = explained(of_log("traffic-serving", &log, Some("C20")), false).unwrap();
    assert!(words.starts_with("C20: compromised") && words.contains("received_packets_per_s"), "{words}");
    assert_eq!(words.lines().filter(|line| line.starts_with("  ") && line.contains(['+', '-'])).count(), 6, "{words}");
    for name in ["traffic-serving", "traffic-unsupervised"] {
        let text = explained(of_log(name, &log, None), true).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let uid: usize = json["of"].as_str().unwrap().trim_start_matches('C').parse().unwrap();
        assert!(uid >= 20, "the scan is what looks most like an attack: {text}");
        let inputs = json["explanation"]["inputs"].as_array().unwrap();
        assert_eq!((inputs.len(), inputs[0]["contribution"].is_number()), (STRONGEST, true));
    }
}

#[test]
fn what_cannot_be_explained_says_what_to_do_next() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("conn.log");
    write_log(&log);
    let failure = |args| explained(args, false).unwrap_err().code();
    assert_eq!(failure(of_log("traffic-serving", &log, Some("C99"))), "EXPLAIN_UNKNOWN_FLOW");
    assert_eq!(failure(of_log("vital-signs", &log, None)), "EXPLAIN_WANTS");
    assert_eq!(failure(of_log("ecg-beats", &log, None)), "EXPLAIN_WANTS");
    assert_eq!(failure(of_log("traffic-nsl-kdd", &log, None)), "MODEL_FILE_FOREIGN");
    assert_eq!(failure(ExplainArgs { zeek: None, ..of_log("traffic-serving", &log, None) }), "EXPLAIN_WANTS");
    std::fs::write(&log, "").unwrap();
    assert_eq!(failure(of_log("traffic-unsupervised", &log, None)), "DETECTOR_NO_CONNECTIONS");
    std::fs::write(&log, "{not json\n").unwrap();
    assert_eq!(failure(of_log("traffic-serving", &log, None)), "ZEEK_NOT_JSON");
}
