//! What the listener measures of its own traffic: an exchange is one request and its answer, and becomes a flow of the devices whose
//! readings it brought.
//!
//! Measured on the TCP stream, so TLS counts with its records, as a network sensor would count: bytes each way, when the first and the last
//! byte passed, and how it ended. Several requests of one kept connection are several exchanges. Packets are not known here and left out.
//! An exchange is over when its answer is written and the next request begins, or when the connection ends, so a device's flow goes into
//! the log with the device's next reading.
//!
//! Guarantees: a flow is charged to a device only when the oracle took a fresh reading in the exchange, signed by that device and next in
//! its chain; a claimed device id, a bad signature or a replayed reading charges nobody. What fails without such a reading is counted by
//! the address it came from. Everything is bounded by a named limit. Must not: log or label an address or a device.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pulsegate_detector::traffic::{ConnectionState, Flow, Protocol, Service};
use pulsegate_ledger::Clock;
use pulsegate_rules::DeviceId;

use crate::metrics::Metrics;

/// Most flows of one device that wait for its next reading; the oldest gives way.
pub const FLOWS_PER_DEVICE_MAX: usize = 8;
/// Most devices whose flows wait; when full, all are forgotten. Only devices that the registry knows get in.
pub const FLOW_DEVICES_MAX: usize = 65_536;
/// Most addresses whose failures are counted; when full, the calm ones are forgotten, then all.
pub const FAILING_PEERS_MAX: usize = 4_096;
/// From how many failures within [`PEER_WINDOW_MS`] on an address counts as failing.
pub const PEER_FAILURES_MIN: u32 = 20;
/// How long an address's failures are added up, milliseconds of real time.
pub const PEER_WINDOW_MS: u64 = 60_000;

/// What may come after the last answer without being a request: the alert by which TLS closes (RFC 8446, 6.1) in its record, bytes.
const CLOSING_BYTES_MAX: u64 = 64;

/// How a sender without a fresh reading failed; the names are labels of the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerFailure {
    /// The request or a reading in it was refused.
    Refused,
    /// The connection ended in the middle of a request.
    Disconnected,
    /// There was no room for the connection.
    NoRoom,
}

impl PeerFailure {
    const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Disconnected => "disconnected",
            Self::NoRoom => "no-room",
        }
    }
}

/// All that is measured; shared by the listener and the handlers.
pub(crate) struct Exchanges {
    clock: Clock,
    metrics: Metrics,
    service: Service,
    /// The meters of open connections, by the sender's address and port.
    meters: Mutex<HashMap<SocketAddr, Arc<Meter>>>,
    flows: Mutex<HashMap<DeviceId, VecDeque<Flow>>>,
    peers: Mutex<HashMap<IpAddr, Failures>>,
}

#[derive(Clone, Copy)]
struct Failures {
    since: Instant,
    count: u32,
}

impl Exchanges {
    /// Nothing measured yet, on a listener with or without TLS.
    pub(crate) fn new(clock: Clock, metrics: Metrics, tls: bool) -> Arc<Self> {
        let service = if tls { Service::Tls } else { Service::Http };
        let (meters, flows, peers) = (Mutex::default(), Mutex::default(), Mutex::default());
        Arc::new(Self { clock, metrics, service, meters, flows, peers })
    }

    /// A connection was taken; it is measured until the guard is dropped.
    pub(crate) fn open(self: &Arc<Self>, peer: SocketAddr) -> Measured {
        let meter = Arc::new(Meter { exchanges: Arc::clone(self), peer, exchange: Mutex::default() });
        lock(&self.meters).insert(peer, Arc::clone(&meter));
        Measured { meter }
    }

    /// The meter of an open connection.
    pub(crate) fn meter(&self, peer: &SocketAddr) -> Option<Arc<Meter>> {
        lock(&self.meters).get(peer).cloned()
    }

    /// Takes the oldest flow of a device that no reading carried yet.
    pub(crate) fn take(&self, device: &DeviceId) -> Option<Flow> {
        let mut flows = lock(&self.flows);
        let waiting = flows.get_mut(device)?;
        let flow = waiting.pop_front();
        if waiting.is_empty() {
            flows.remove(device);
        }
        flow
    }

    /// Puts a flow back whose reading was not taken, before those that came since.
    pub(crate) fn give_back(&self, device: DeviceId, flow: Flow) {
        let mut flows = lock(&self.flows);
        let waiting = waiting_of(&mut flows, device);
        if waiting.len() < FLOWS_PER_DEVICE_MAX {
            waiting.push_front(flow);
        }
    }

    fn ended(&self, device: DeviceId, flow: Flow) {
        let mut flows = lock(&self.flows);
        let waiting = waiting_of(&mut flows, device);
        if waiting.len() >= FLOWS_PER_DEVICE_MAX {
            waiting.pop_front();
        }
        waiting.push_back(flow);
    }

    /// A sender failed without a fresh reading: its address is charged, never a device that it claims to be.
    pub(crate) fn failed(&self, peer: IpAddr, failure: PeerFailure) {
        self.metrics.peer_failure(failure.name());
        let now = Instant::now();
        let mut peers = lock(&self.peers);
        if peers.len() >= FAILING_PEERS_MAX && !peers.contains_key(&peer) {
            peers.retain(|_, failures| failures.is_failing(now));
            if peers.len() >= FAILING_PEERS_MAX {
                peers.clear();
            }
        }
        let failures = peers.entry(peer).or_insert(Failures { since: now, count: 0 });
        if now.duration_since(failures.since) >= Duration::from_millis(PEER_WINDOW_MS) {
            *failures = Failures { since: now, count: 0 };
        }
        failures.count = failures.count.saturating_add(1);
    }

    /// How many addresses failed often lately.
    pub(crate) fn failing_peers(&self) -> usize {
        let now = Instant::now();
        lock(&self.peers).values().filter(|failures| failures.is_failing(now)).count()
    }
}

impl Failures {
    fn is_failing(&self, now: Instant) -> bool {
        self.count >= PEER_FAILURES_MIN && now.duration_since(self.since) < Duration::from_millis(PEER_WINDOW_MS)
    }
}

fn waiting_of(flows: &mut HashMap<DeviceId, VecDeque<Flow>>, device: DeviceId) -> &mut VecDeque<Flow> {
    if flows.len() >= FLOW_DEVICES_MAX && !flows.contains_key(&device) {
        flows.clear();
    }
    flows.entry(device).or_default()
}

/// A poisoned lock is used on: each section leaves the maps whole at every step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Measures one connection.
pub(crate) struct Meter {
    exchanges: Arc<Exchanges>,
    peer: SocketAddr,
    exchange: Mutex<Exchange>,
}

/// The running exchange of a connection.
#[derive(Default)]
struct Exchange {
    /// When its first byte came, as Unix milliseconds and on the monotonic clock.
    began: Option<(u64, Instant)>,
    /// When its last byte passed.
    last: Option<Instant>,
    bytes_in: u64,
    bytes_out: u64,
    /// Whether the service made up its answer, so that what is written from now on is that answer.
    answering: bool,
    /// Whether any of the answer was written.
    answered: bool,
    /// The devices whose fresh readings it brought.
    devices: Vec<DeviceId>,
}

impl Meter {
    /// Bytes came from the sender.
    pub(crate) fn received(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let mut exchange = lock(&self.exchange);
        if exchange.answered {
            self.end(&mut exchange);
        }
        let now = Instant::now();
        exchange.began.get_or_insert_with(|| ((self.exchanges.clock)(), now));
        exchange.last = Some(now);
        exchange.bytes_in = exchange.bytes_in.saturating_add(bytes as u64);
    }

    /// Bytes went to the sender.
    pub(crate) fn sent(&self, bytes: usize) {
        let mut exchange = lock(&self.exchange);
        exchange.last = Some(Instant::now());
        exchange.bytes_out = exchange.bytes_out.saturating_add(bytes as u64);
        exchange.answered = exchange.answered || (exchange.answering && bytes > 0);
    }

    /// The exchange brought fresh readings of these devices, each named once.
    pub(crate) fn brought(&self, devices: Vec<DeviceId>) {
        lock(&self.exchange).devices = devices;
    }

    /// The service made up its answer.
    pub(crate) fn answering(&self) {
        lock(&self.exchange).answering = true;
    }

    /// Something in the exchange was refused.
    pub(crate) fn refused(&self) {
        self.exchanges.failed(self.peer.ip(), PeerFailure::Refused);
    }

    /// Charges the devices and starts over.
    fn end(&self, exchange: &mut Exchange) {
        let Exchange { began, last, bytes_in, bytes_out, answered, devices, .. } = std::mem::take(exchange);
        let Some((started_at_ms, began)) = began else { return };
        if devices.is_empty() {
            if !answered && bytes_in > CLOSING_BYTES_MAX {
                self.exchanges.failed(self.peer.ip(), PeerFailure::Disconnected);
            }
            return;
        }
        let duration = last.map(|last| last.duration_since(began).as_secs_f64() * 1_000.0);
        let flow = Flow {
            started_at_ms,
            duration_ms: duration,
            protocol: Protocol::Tcp,
            service: self.exchanges.service,
            // A device that leaves before its answer breaks off; otherwise the exchange ended as it should.
            state: if answered { ConnectionState::SF } else { ConnectionState::Rsto },
            bytes_sent: Some(bytes_in),
            bytes_received: Some(bytes_out),
            packets_sent: None,
            packets_received: None,
        };
        if flow.check().is_ok() {
            devices.into_iter().for_each(|device| self.exchanges.ended(device, flow));
        }
    }
}

/// Keeps a connection measured; its end ends the running exchange.
pub(crate) struct Measured {
    meter: Arc<Meter>,
}

impl std::ops::Deref for Measured {
    type Target = Meter;

    fn deref(&self) -> &Meter {
        &self.meter
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        self.meter.end(&mut lock(&self.meter.exchange));
        lock(&self.meter.exchanges.meters).remove(&self.meter.peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: DeviceId = DeviceId([1; 32]);

    fn exchanges() -> Arc<Exchanges> {
        Exchanges::new(Arc::new(|| 1_000), Metrics::new(), false)
    }

    fn peer(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 7], port))
    }

    fn request(meter: &Meter, devices: &[DeviceId]) {
        meter.received(200);
        meter.received(100);
        meter.brought(devices.to_vec());
        meter.answering();
        meter.sent(80);
    }

    #[test]
    fn each_exchange_of_a_kept_connection_is_a_flow_of_its_device() {
        let exchanges = exchanges();
        let connection = exchanges.open(peer(1));
        request(&connection, &[DEVICE]);
        assert_eq!(exchanges.take(&DEVICE), None, "it may still go on");
        request(&connection, &[DEVICE]);
        let flow = exchanges.take(&DEVICE).unwrap();
        assert_eq!((flow.bytes_sent, flow.bytes_received), (Some(300), Some(80)));
        assert_eq!((flow.state, flow.service, flow.started_at_ms), (ConnectionState::SF, Service::Http, 1_000));
        assert_eq!((flow.packets_sent, flow.packets_received), (None, None));
        drop(connection);
        assert!(exchanges.take(&DEVICE).is_some() && exchanges.take(&DEVICE).is_none());
        assert!(exchanges.meter(&peer(1)).is_none());
    }

    #[test]
    fn a_device_that_leaves_before_its_answer_broke_off() {
        let exchanges = exchanges();
        let connection = exchanges.open(peer(1));
        connection.received(300);
        connection.brought(vec![DEVICE]);
        drop(connection);
        assert_eq!(exchanges.take(&DEVICE).unwrap().state, ConnectionState::Rsto);
    }

    #[test]
    fn what_brings_no_fresh_reading_charges_the_address_and_no_device() {
        let exchanges = exchanges();
        for port in 0..u16::try_from(PEER_FAILURES_MIN).unwrap() {
            let connection = exchanges.open(peer(port));
            connection.received(500);
        }
        assert_eq!(exchanges.failing_peers(), 1);
        let refused = exchanges.open(peer(9_000));
        request(&refused, &[]);
        refused.refused();
        drop(refused);
        assert_eq!(exchanges.take(&DEVICE), None);
        assert!(lock(&exchanges.flows).is_empty());
    }

    #[test]
    fn a_device_keeps_its_newest_flows_and_a_refused_reading_loses_none() {
        let exchanges = exchanges();
        let connection = exchanges.open(peer(1));
        for _ in 0..FLOWS_PER_DEVICE_MAX + 3 {
            request(&connection, &[DEVICE]);
        }
        drop(connection);
        let first = exchanges.take(&DEVICE).unwrap();
        exchanges.give_back(DEVICE, first);
        assert_eq!(std::iter::from_fn(|| exchanges.take(&DEVICE)).count(), FLOWS_PER_DEVICE_MAX);
    }
}
