//! The committed deployed model behind the seam: what it says of plain device traffic and of attacks, and what it refuses.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "common/together.rs"]
mod together;

use pulsegate_detector::model_file::ModelFile;
use pulsegate_detector::traffic::detector::{DeepTraffic, TRAFFIC_DEVICES_MAX, TRAFFIC_STATE_BYTES};
use pulsegate_detector::traffic::{ConnectionState, Flow, Protocol, Service};
use pulsegate_detector::{
    Arrival, Assessment, DetectorError, NotAssessed, TrafficClass, TrafficDetector, TrafficFinding,
};
use pulsegate_rules::DeviceId;

use common::{START_MS, heartbeat};
use together::assert_as_alone;

const WEIGHTS: &[u8] = include_bytes!("../models/traffic-serving.safetensors");

fn detector() -> DeepTraffic {
    DeepTraffic::new(&ModelFile::read(WEIGHTS).unwrap(), 100).unwrap()
}

/// A knock at a closed door.
fn probe(number: u64) -> Flow {
    Flow {
        started_at_ms: START_MS + number * 3,
        duration_ms: Some(0.04),
        protocol: Protocol::Tcp,
        service: Service::Unknown,
        state: ConnectionState::Rej,
        bytes_sent: Some(0),
        bytes_received: Some(0),
        packets_sent: Some(1),
        packets_received: Some(1),
    }
}

fn arrival(device: u8, flow: Option<Flow>) -> Arrival {
    let at = flow.map_or(START_MS, |flow| flow.started_at_ms);
    Arrival { device: DeviceId([device; 32]), received_at_ms: at, measured_at_ms: at, bytes: 512, flow }
}

fn finding(detector: &mut DeepTraffic, device: u8, flow: Flow) -> TrafficFinding {
    match detector.screen(&arrival(device, Some(flow))).unwrap() {
        Assessment::Assessed(finding) => finding,
        Assessment::NotAssessed(why) => panic!("not assessed: {why:?}"),
    }
}

#[test]
fn a_device_that_reports_every_minute_is_normal() {
    let mut detector = detector();
    for minute in 0..120 {
        let finding = finding(&mut detector, 1, heartbeat(minute));
        assert_eq!(finding.class, TrafficClass::Normal, "minute {minute}: {finding:?}");
    }
}

#[test]
fn steady_device_traffic_is_normal_whatever_it_speaks() {
    let services = [Service::Unknown, Service::Http, Service::Tls, Service::Mqtt, Service::Clinical];
    let sizes = [(180, 90, 5, 4), (700, 300, 6, 5), (1_240, 2_310, 9, 8), (40_000, 1_500, 38, 22)];
    for (device, service) in services.into_iter().enumerate() {
        for (kind, (bytes_sent, bytes_received, packets_sent, packets_received)) in sizes.into_iter().enumerate() {
            let mut detector = detector();
            for minute in 0..30 {
                let flow = Flow {
                    service,
                    bytes_sent: Some(bytes_sent),
                    bytes_received: Some(bytes_received),
                    packets_sent: Some(packets_sent),
                    packets_received: Some(packets_received),
                    ..heartbeat(minute)
                };
                let finding = finding(&mut detector, device as u8, flow);
                assert_eq!(finding.class, TrafficClass::Normal, "{service:?}, size {kind}: {finding:?}");
            }
        }
    }
}

#[test]
fn a_device_that_knocks_at_closed_doors_is_compromised() {
    let mut detector = detector();
    let found = (0..50).filter(|number| finding(&mut detector, 2, probe(*number)).class == TrafficClass::Compromised);
    assert_eq!(found.count(), 50);
}

#[test]
fn a_late_arrival_or_one_without_a_flow_changes_nothing() {
    let mut detector = detector();
    let late = Arrival { measured_at_ms: 0, ..arrival(3, Some(probe(0))) };
    assert_eq!(detector.screen(&late).unwrap(), Assessment::NotAssessed(NotAssessed::Late));
    assert_eq!(detector.screen(&arrival(3, None)).unwrap(), Assessment::NotAssessed(NotAssessed::NoFlow));
    assert_eq!(detector.devices(), 0);
}

#[test]
fn a_poisoned_flow_is_refused_and_touches_nobody() {
    let (mut poisoned, mut clean) = (detector(), detector());
    for minute in 0..20 {
        for duration_ms in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
            let flow = Flow { duration_ms: Some(duration_ms), ..heartbeat(minute) };
            let error = poisoned.screen(&arrival(9, Some(flow))).unwrap_err();
            assert!(matches!(error, DetectorError::UnusableInput { .. }));
        }
        let huge = Flow { bytes_sent: Some(u64::MAX), ..heartbeat(minute) };
        assert!(poisoned.screen(&arrival(1, Some(huge))).is_err());
        assert_eq!(finding(&mut poisoned, 1, heartbeat(minute)), finding(&mut clean, 1, heartbeat(minute)));
    }
    assert_eq!(poisoned.devices(), 1, "the device that only sent poison has no state");
}

#[test]
fn the_order_of_devices_changes_nothing() {
    let (mut forward, mut backward) = (detector(), detector());
    for minute in 0..20 {
        let flow =
            |device: u8| if device.is_multiple_of(3) { probe(minute) } else { heartbeat(minute + u64::from(device)) };
        let first: Vec<_> = (0..10).map(|device| finding(&mut forward, device, flow(device))).collect();
        let mut second: Vec<_> = (0..10).rev().map(|device| finding(&mut backward, device, flow(device))).collect();
        second.reverse();
        assert_eq!(first, second);
    }
}

#[test]
fn arrivals_judged_together_get_what_each_would_get_alone() {
    let arrivals: Vec<Arrival> = (0..600_u64)
        .map(|number| {
            // Thirty devices in no order, some several times in a row, with late, poisoned and empty arrivals among them.
            let device = u8::try_from(number * number / 3 % 30).unwrap();
            let flow = if device.is_multiple_of(4) { probe(number) } else { heartbeat(number) };
            let poisoned = Flow { duration_ms: Some(f64::NAN), ..flow };
            let flow = [Some(flow), Some(flow), Some(flow), None, Some(poisoned)][usize::try_from(number % 5).unwrap()];
            let arrival = arrival(device, flow);
            if number.is_multiple_of(11) { Arrival { measured_at_ms: 0, ..arrival } } else { arrival }
        })
        .collect();
    for devices_max in [1, 7, 100] {
        let new = || DeepTraffic::new(&ModelFile::read(WEIGHTS).unwrap(), devices_max).unwrap();
        let (alone, together) = assert_as_alone(&arrivals, new, &format!("{devices_max} devices at most"));
        assert_eq!(alone.devices(), together.devices());
    }
}

#[test]
fn the_state_of_a_device_is_as_stated() {
    assert_eq!(detector().state_bytes(), TRAFFIC_STATE_BYTES);
    const { assert!(TRAFFIC_STATE_BYTES * TRAFFIC_DEVICES_MAX < 200 << 20, "all devices fit into 200 MiB") };
}

#[test]
fn what_is_missing_is_named() {
    let flow = Flow { duration_ms: None, packets_sent: None, ..heartbeat(0) };
    let finding = finding(&mut detector(), 1, flow);
    let named: Vec<&str> = finding.missing.iter().map(AsRef::as_ref).collect();
    assert!(named.contains(&"duration_ms") && named.contains(&"sent_packets"), "{named:?}");
    assert!(!named.contains(&"sent_bytes"), "{named:?}");
}

#[test]
fn the_digest_is_that_of_the_window() {
    let mut detector = detector();
    let first = finding(&mut detector, 1, heartbeat(0));
    let second = finding(&mut detector, 1, heartbeat(0));
    let other = finding(&mut detector, 2, heartbeat(0));
    assert!(first.inputs != second.inputs && first.inputs != other.inputs);
}
