//! The serving schema: one code path, bounded state, missing stays missing.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking and prints its seed")]

use pulsegate_detector::traffic::serving::{
    HISTORY_BYTES, HISTORY_FLOWS, History, SERVING_COLUMNS, SERVING_FEATURES, SERVING_FLOW_FEATURES,
};
use pulsegate_detector::traffic::{ConnectionState, Flow, Protocol, Service};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const FLOW: Flow = Flow {
    started_at_ms: 1_790_000_000_000,
    duration_ms: Some(2_000.0),
    protocol: Protocol::Tcp,
    service: Service::Tls,
    state: ConnectionState::SF,
    bytes_sent: Some(300),
    bytes_received: Some(100),
    packets_sent: Some(4),
    packets_received: Some(3),
};

fn named(features: &[f32; SERVING_FEATURES], name: &str) -> f32 {
    features[SERVING_COLUMNS.iter().position(|column| column.name == name).unwrap()]
}

fn bits(features: &[f32; SERVING_FEATURES]) -> Vec<u32> {
    features.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn the_state_of_a_device_is_as_small_as_stated() {
    assert_eq!(std::mem::size_of::<History>(), HISTORY_BYTES);
}

#[test]
fn a_flow_tells_its_own_features() {
    let features = History::new().features(&FLOW);
    for (name, value) in [
        ("duration_ms", 2_000.0),
        ("protocol", 0.0),
        ("service", 3.0),
        ("state", 3.0),
        ("sent_bytes_per_s", 150.0),
        ("received_packets_per_s", 1.5),
        ("sent_bytes_per_packet", 75.0),
        ("sent_bytes_share", 0.75),
    ] {
        assert_eq!(named(&features, name), value, "{name}");
    }
    assert!(features[SERVING_FLOW_FEATURES..].iter().all(|value| value.is_nan()), "there is no history yet");
}

#[test]
fn history_tells_of_the_flows_before() {
    let mut history = History::new();
    let failed = Flow { state: ConnectionState::S0, service: Service::Ssh, duration_ms: None, ..FLOW };
    history.remember(&FLOW);
    history.remember(&Flow { started_at_ms: FLOW.started_at_ms + 1_000, duration_ms: Some(4_000.0), ..failed });
    history.remember(&Flow { started_at_ms: FLOW.started_at_ms + 500, bytes_sent: Some(600), ..failed });
    let features = history.features(&Flow { started_at_ms: FLOW.started_at_ms + 3_000, ..FLOW });
    for (name, value) in [
        ("gap_ms", 2_000.0),
        ("duration_median_ms_4", 3_000.0),
        ("failed_share_16", 2.0 / 3.0),
        ("same_service_share_4", 1.0 / 3.0),
        ("services_64", 2.0),
        ("sent_bytes_mean_4", 400.0),
        ("packets_mean_16", 7.0),
        ("flows_per_s_4", 1.0),
    ] {
        assert_eq!(named(&features, name), value, "{name}");
    }
}

#[test]
fn windows_forget_what_is_older() {
    let mut history = History::new();
    for number in 0..200_u64 {
        let state = if number < 196 { ConnectionState::S0 } else { ConnectionState::SF };
        history.remember(&Flow { state, started_at_ms: FLOW.started_at_ms + number * 100, ..FLOW });
    }
    assert_eq!(history.len(), HISTORY_FLOWS);
    let features = history.features(&Flow { started_at_ms: FLOW.started_at_ms + 200 * 100, ..FLOW });
    assert_eq!(named(&features, "failed_share_4"), 0.0);
    assert_eq!(named(&features, "failed_share_16"), 0.75);
    assert_eq!(named(&features, "failed_share_64"), 60.0 / 64.0);
    assert_eq!(named(&features, "flows_per_s_64"), 10.0);
}

#[test]
fn what_is_not_said_is_missing() {
    let silent = Flow {
        started_at_ms: 0,
        duration_ms: None,
        state: ConnectionState::Unknown,
        bytes_sent: None,
        packets_received: None,
        ..FLOW
    };
    let mut history = History::new();
    history.remember(&silent);
    let features = history.observe(&silent);
    for name in [
        "duration_ms",
        "sent_bytes",
        "sent_bytes_per_s",
        "sent_bytes_share",
        "received_bytes_per_packet",
        "gap_ms",
        "duration_median_ms_64",
        "failed_share_4",
        "packets_mean_4",
        "flows_per_s_16",
    ] {
        assert!(named(&features, name).is_nan(), "{name}");
    }
    assert_eq!(named(&features, "received_bytes_mean_4"), 100.0);
    assert_eq!(named(&features, "services_4"), 1.0);
}

#[test]
fn no_flow_whatever_it_says_makes_a_feature_infinite() {
    let seed = 20_261_121;
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut history = History::new();
    let durations = [f64::NAN, f64::INFINITY, f64::MAX, -1.0, f64::MIN_POSITIVE, 0.0, 1e300, 5.0];
    for _ in 0..5_000 {
        let mut count = || [None, Some(0), Some(1), Some(u64::MAX), Some(40)][rng.gen_range(0..5)];
        let flow = Flow {
            bytes_sent: count(),
            bytes_received: count(),
            packets_sent: count(),
            packets_received: count(),
            duration_ms: Some(durations[rng.gen_range(0..durations.len())]),
            started_at_ms: [0, 1, u64::MAX, rng.r#gen()][rng.gen_range(0..4)],
            ..FLOW
        };
        let features = history.observe(&flow);
        assert!(features.iter().all(|value| !value.is_infinite()), "{flow:?} {features:?}");
    }
}

#[test]
fn devices_do_not_touch_each_other_and_looking_changes_nothing() {
    let flow = |number: u64| Flow { bytes_sent: Some(number * 7), started_at_ms: FLOW.started_at_ms + number, ..FLOW };
    let mut alone = History::new();
    let expected: Vec<_> = (0..100).map(|number| bits(&alone.observe(&flow(number)))).collect();
    let (mut one, mut other) = (History::new(), History::new());
    for number in 0..100 {
        other.observe(&Flow { state: ConnectionState::Rej, ..flow(number * 3) });
        let _looked = one.features(&flow(number + 9));
        assert_eq!(bits(&one.observe(&flow(number))), expected[number as usize]);
    }
}

#[test]
fn every_column_is_named_once() {
    let names: std::collections::HashSet<_> = SERVING_COLUMNS.iter().map(|column| column.name).collect();
    assert_eq!(names.len(), SERVING_FEATURES);
}
