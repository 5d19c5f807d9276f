//! A device that behaves, for tests of what is said of it.

use pulsegate_detector::traffic::{ConnectionState, Flow, Protocol, Service};

/// When the devices of the tests begin, Unix milliseconds.
pub(crate) const START_MS: u64 = 1_800_000_000_000;
/// A minute, milliseconds.
pub(crate) const MINUTE_MS: u64 = 60_000;

/// A reading over a connection that is opened, answered and closed.
pub(crate) fn heartbeat(minute: u64) -> Flow {
    Flow {
        started_at_ms: START_MS + minute * MINUTE_MS,
        duration_ms: Some(80.0 + (minute % 7) as f64),
        protocol: Protocol::Tcp,
        service: Service::Tls,
        state: ConnectionState::SF,
        bytes_sent: Some(1_240),
        bytes_received: Some(2_310),
        packets_sent: Some(9),
        packets_received: Some(8),
    }
}
