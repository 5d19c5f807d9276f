//! A flow takes what Zeek writes and refuses what cannot be.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use pulsegate_detector::traffic::{ConnectionState, FLOW_BYTES_MAX, Flow, Protocol, Service};

const FLOW: Flow = Flow {
    started_at_ms: 1_790_000_000_000,
    duration_ms: Some(12.5),
    protocol: Protocol::Tcp,
    service: Service::Tls,
    state: ConnectionState::SF,
    bytes_sent: Some(310),
    bytes_received: Some(66),
    packets_sent: Some(4),
    packets_received: None,
};

#[test]
fn a_flow_survives_json() {
    let text = serde_json::to_string(&FLOW).unwrap();
    assert!(text.contains(r#""state":"SF""#), "{text}");
    assert_eq!(serde_json::from_str::<Flow>(&text).unwrap(), FLOW);
}

#[test]
fn numbers_that_cannot_be_are_refused_by_field() {
    for (flow, field) in [
        (Flow { duration_ms: Some(f64::NAN), ..FLOW }, "duration_ms"),
        (Flow { duration_ms: Some(f64::INFINITY), ..FLOW }, "duration_ms"),
        (Flow { duration_ms: Some(-1.0), ..FLOW }, "duration_ms"),
        (Flow { bytes_received: Some(FLOW_BYTES_MAX + 1), ..FLOW }, "bytes_received"),
        (Flow { started_at_ms: u64::MAX, ..FLOW }, "started_at_ms"),
        (Flow { packets_sent: Some(u64::MAX), ..FLOW }, "packets_sent"),
    ] {
        let error = flow.check().unwrap_err();
        assert_eq!((error.field, error.code()), (field, "DETECTOR_FLOW_OUT_OF_RANGE"));
    }
    let text = serde_json::to_string(&FLOW).unwrap().replace("12.5", "-12.5");
    assert!(serde_json::from_str::<Flow>(&text).unwrap_err().to_string().contains("duration_ms"));
}

#[test]
fn several_services_count_as_the_first_known_one() {
    for (names, service) in [
        ("-", Service::Unknown),
        ("", Service::Unknown),
        ("ssl", Service::Tls),
        ("gssapi,smb,krb", Service::Smb),
        ("-ssl,http", Service::Http),
        ("gssapi", Service::Other),
    ] {
        assert_eq!(Service::from_zeek(names), service, "{names}");
    }
}

#[test]
fn the_codes_that_weights_depend_on_never_change() {
    assert_eq!((Protocol::Other.code() as usize, Protocol::COUNT), (3, 4));
    assert_eq!((Service::Clinical.code() as usize, Service::COUNT), (26, 27));
    assert_eq!((ConnectionState::Oth.code() as usize, ConnectionState::COUNT), (13, 14));
    assert_eq!(
        (Service::Unknown.code(), Service::Http.code(), Service::Tls.code(), Service::Telnet.code()),
        (0, 2, 3, 24)
    );
    let states = ["S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR", "OTH"];
    for (code, name) in (1..).zip(states) {
        let state = ConnectionState::from_zeek(name);
        assert_eq!(state.code(), code);
        assert_eq!(serde_json::to_string(&state).unwrap(), format!("{name:?}"));
    }
}
