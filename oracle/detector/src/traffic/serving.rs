//! The serving schema: features that can be had wherever connections can be watched, from [`Flow`]s alone.
//!
//! What is measured is what is served: training on a data set and judging a live connection go through the same [`History::features`].
//! The first [`SERVING_FLOW_FEATURES`] tell of the flow itself; the rest compare it with the flows of the same device before it, over the
//! last [`SERVING_WINDOWS`]. Missing is NaN: what the source does not say, and all of history while there is none, which is so for a device's
//! first flow and for every row of a data set whose order means nothing.
//!
//! Guarantees: no allocation; a feature is finite or NaN whatever a flow says; the state of a device is [`HISTORY_BYTES`] and never grows;
//! nothing is read but the flow and that state. Must not: keep a flow that did not pass [`Flow::check`]; the caller checks.

use super::flow::{ConnectionState, FLOW_DURATION_MAX_MS, Flow, Protocol, Service};

/// How many features there are.
pub const SERVING_FEATURES: usize = 40;
/// How many of them, from the first, tell of the flow alone.
pub const SERVING_FLOW_FEATURES: usize = 15;
/// How many preceding flows the windows of history hold. Where fewer are known, those are taken.
pub const SERVING_WINDOWS: [usize; 3] = [4, 16, HISTORY_FLOWS];
/// How many flows of a device are remembered.
pub const HISTORY_FLOWS: usize = 64;
/// State per device, bytes.
pub const HISTORY_BYTES: usize = 1_552;

/// Features per window.
const PER_WINDOW: usize = 8;
/// A time since the previous flow that is not known.
const NOT_KNOWN_MS: u32 = u32::MAX;

/// A column of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServingColumn {
    /// Name, unit last.
    pub name: &'static str,
    /// How many codes there are when the values are codes; none for a quantity.
    pub codes: Option<usize>,
}

/// The columns in the order of the features. A name ends in the window that it is over.
///
/// `duration_median` is over known durations; `failed_share` is the share of attempts that came to nothing among flows whose state is known;
/// `same_service_share` is the share with this flow's service; `services` counts distinct ones; `bytes_*_mean` and `packets_mean` (both ways)
/// are over flows that tell them; `flows_per_s` counts the window's flows over the time from its oldest start to this one's, at least 1 ms.
pub const SERVING_COLUMNS: [ServingColumn; SERVING_FEATURES] = [
    number("duration_ms"),
    codes("protocol", Protocol::COUNT),
    codes("service", Service::COUNT),
    codes("state", ConnectionState::COUNT),
    number("sent_bytes"),
    number("received_bytes"),
    number("sent_packets"),
    number("received_packets"),
    number("sent_bytes_per_s"),
    number("received_bytes_per_s"),
    number("sent_packets_per_s"),
    number("received_packets_per_s"),
    number("sent_bytes_per_packet"),
    number("received_bytes_per_packet"),
    number("sent_bytes_share"),
    number("gap_ms"),
    number("duration_median_ms_4"),
    number("failed_share_4"),
    number("same_service_share_4"),
    number("services_4"),
    number("sent_bytes_mean_4"),
    number("received_bytes_mean_4"),
    number("packets_mean_4"),
    number("flows_per_s_4"),
    number("duration_median_ms_16"),
    number("failed_share_16"),
    number("same_service_share_16"),
    number("services_16"),
    number("sent_bytes_mean_16"),
    number("received_bytes_mean_16"),
    number("packets_mean_16"),
    number("flows_per_s_16"),
    number("duration_median_ms_64"),
    number("failed_share_64"),
    number("same_service_share_64"),
    number("services_64"),
    number("sent_bytes_mean_64"),
    number("received_bytes_mean_64"),
    number("packets_mean_64"),
    number("flows_per_s_64"),
];

const fn number(name: &'static str) -> ServingColumn {
    ServingColumn { name, codes: None }
}

const fn codes(name: &'static str, codes: usize) -> ServingColumn {
    ServingColumn { name, codes: Some(codes) }
}

/// What is remembered of a device: its last [`HISTORY_FLOWS`] flows, in brief. One device is one source host.
#[derive(Clone, Debug)]
pub struct History {
    past: [Past; HISTORY_FLOWS],
    /// Latest start so far, Unix milliseconds; 0 while none is known.
    latest_start_ms: u64,
    /// Where the next flow goes in `past`.
    next: u16,
    /// How many of `past` are filled.
    filled: u16,
}

/// A flow in brief; NaN is not known.
#[derive(Clone, Copy, Debug)]
struct Past {
    since_previous_ms: u32,
    duration_ms: f32,
    sent_bytes: f32,
    received_bytes: f32,
    packets: f32,
    service: Service,
    state: ConnectionState,
}

impl Default for History {
    fn default() -> Self {
        Self::new()
    }
}

impl History {
    /// Nothing seen yet.
    #[must_use]
    pub const fn new() -> Self {
        let blank = Past {
            since_previous_ms: NOT_KNOWN_MS,
            duration_ms: f32::NAN,
            sent_bytes: f32::NAN,
            received_bytes: f32::NAN,
            packets: f32::NAN,
            service: Service::Unknown,
            state: ConnectionState::Unknown,
        };
        Self { past: [blank; HISTORY_FLOWS], latest_start_ms: 0, next: 0, filled: 0 }
    }

    /// The features of the device's next flow, which is remembered then. Flows come in the order in which the sensor reports them.
    pub fn observe(&mut self, flow: &Flow) -> [f32; SERVING_FEATURES] {
        let features = self.features(flow);
        self.remember(flow);
        features
    }

    /// The features of a flow that would come next, columns as [`SERVING_COLUMNS`]; nothing is remembered.
    #[must_use]
    pub fn features(&self, flow: &Flow) -> [f32; SERVING_FEATURES] {
        let mut features = [f32::NAN; SERVING_FEATURES];
        features[..SERVING_FLOW_FEATURES].copy_from_slice(&of_flow(flow));
        if self.filled == 0 {
            return features;
        }
        let gap_ms = self.since_latest_ms(flow.started_at_ms);
        features[SERVING_FLOW_FEATURES] = as_float_ms(gap_ms);
        let windows = features[SERVING_FLOW_FEATURES + 1..].chunks_exact_mut(PER_WINDOW);
        for (out, window) in windows.zip(SERVING_WINDOWS) {
            self.window(flow.service, gap_ms, window, out);
        }
        features
    }

    /// Remembers a flow.
    pub fn remember(&mut self, flow: &Flow) {
        let past = Past {
            since_previous_ms: self.since_latest_ms(flow.started_at_ms),
            duration_ms: float(duration_ms(flow)),
            sent_bytes: float(as_number(flow.bytes_sent)),
            received_bytes: float(as_number(flow.bytes_received)),
            packets: float(packets(flow)),
            service: flow.service,
            state: flow.state,
        };
        self.past[usize::from(self.next)] = past;
        self.next = (self.next + 1) % HISTORY_FLOWS as u16;
        self.filled = (self.filled + 1).min(HISTORY_FLOWS as u16);
        self.latest_start_ms = self.latest_start_ms.max(flow.started_at_ms);
    }

    /// How many flows are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.filled)
    }

    /// Whether none is.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Milliseconds from the latest start to this one; 0 for a flow that started before (sensors report flows as they end), and
    /// [`NOT_KNOWN_MS`] when either start is not known.
    fn since_latest_ms(&self, started_at_ms: u64) -> u32 {
        if self.latest_start_ms == 0 || started_at_ms == 0 {
            return NOT_KNOWN_MS;
        }
        let since_ms = started_at_ms.saturating_sub(self.latest_start_ms);
        u32::try_from(since_ms).unwrap_or(NOT_KNOWN_MS).min(NOT_KNOWN_MS - 1)
    }

    /// The remembered flows, newest first.
    fn newest(&self, most: usize) -> impl Iterator<Item = &Past> {
        let newest = usize::from(self.next) + HISTORY_FLOWS - 1;
        (0..most.min(self.len())).map(move |back| &self.past[(newest - back) % HISTORY_FLOWS])
    }

    /// The features of one window, in the order of [`SERVING_COLUMNS`].
    fn window(&self, service: Service, gap_ms: u32, window: usize, out: &mut [f32]) {
        let mut durations = Known::<HISTORY_FLOWS>::default();
        let (mut sent, mut received, mut packets) = (Mean::default(), Mean::default(), Mean::default());
        let (mut failed, mut same_service) = (Mean::default(), Mean::default());
        let mut services = 0_u32;
        // The window's oldest start is this flow's gap, and then the gaps of all but the oldest, ago.
        let (mut span_ms, mut next_gap_ms) = (Some(0_u64), gap_ms);
        for past in self.newest(window) {
            span_ms = span_ms.filter(|_| next_gap_ms != NOT_KNOWN_MS).map(|span_ms| span_ms + u64::from(next_gap_ms));
            next_gap_ms = past.since_previous_ms;
            durations.add(past.duration_ms);
            sent.add(past.sent_bytes);
            received.add(past.received_bytes);
            packets.add(past.packets);
            failed.add(past.state.is_failure().map_or(f32::NAN, |failed| f32::from(u8::from(failed))));
            same_service.add(f32::from(u8::from(past.service == service)));
            services |= 1 << past.service.code();
        }
        let flows = window.min(self.len());
        let per_s = span_ms.map(|span_ms| flows as f64 * 1_000.0 / span_ms.max(1) as f64);
        out.copy_from_slice(&[
            durations.median(),
            failed.value(),
            same_service.value(),
            services.count_ones() as f32,
            sent.value(),
            received.value(),
            packets.value(),
            float(per_s),
        ]);
    }
}

/// The features of a flow by itself.
fn of_flow(flow: &Flow) -> [f32; SERVING_FLOW_FEATURES] {
    let duration_ms = duration_ms(flow);
    let (sent, received) = (as_number(flow.bytes_sent), as_number(flow.bytes_received));
    let (packets_sent, packets_received) = (as_number(flow.packets_sent), as_number(flow.packets_received));
    let duration_s = duration_ms.map(|duration_ms| duration_ms / 1_000.0);
    let both = sent.zip(received).map(|(sent, received)| sent + received);
    [
        float(duration_ms),
        f32::from(flow.protocol.code()),
        f32::from(flow.service.code()),
        f32::from(flow.state.code()),
        float(sent),
        float(received),
        float(packets_sent),
        float(packets_received),
        ratio(sent, duration_s),
        ratio(received, duration_s),
        ratio(packets_sent, duration_s),
        ratio(packets_received, duration_s),
        ratio(sent, packets_sent),
        ratio(received, packets_received),
        ratio(sent, both),
    ]
}

/// The duration, unless it is one that cannot be.
fn duration_ms(flow: &Flow) -> Option<f64> {
    flow.duration_ms.filter(|duration_ms| (0.0..=FLOW_DURATION_MAX_MS).contains(duration_ms))
}

/// Packets both ways.
fn packets(flow: &Flow) -> Option<f64> {
    as_number(flow.packets_sent).zip(as_number(flow.packets_received)).map(|(sent, received)| sent + received)
}

#[expect(clippy::cast_precision_loss, reason = "a feature needs no more than 24 bits")]
fn as_number(count: Option<u64>) -> Option<f64> {
    count.map(|count| count as f64)
}

#[expect(clippy::cast_precision_loss, reason = "a feature needs no more than 24 bits")]
fn as_float_ms(gap_ms: u32) -> f32 {
    if gap_ms == NOT_KNOWN_MS { f32::NAN } else { gap_ms as f32 }
}

/// NaN when there is nothing to divide, or nothing to divide by.
fn ratio(part: Option<f64>, whole: Option<f64>) -> f32 {
    float(part.zip(whole.filter(|whole| *whole > 0.0)).map(|(part, whole)| part / whole))
}

/// NaN for what is absent or beyond single precision.
#[expect(clippy::cast_possible_truncation, reason = "what becomes infinite becomes NaN")]
fn float(value: Option<f64>) -> f32 {
    let value = value.map_or(f32::NAN, |value| value as f32);
    if value.is_finite() { value } else { f32::NAN }
}

/// Mean of the values that are known.
#[derive(Default)]
struct Mean {
    sum: f64,
    count: u32,
}

impl Mean {
    fn add(&mut self, value: f32) {
        if !value.is_nan() {
            self.sum += f64::from(value);
            self.count += 1;
        }
    }

    fn value(&self) -> f32 {
        ratio(Some(self.sum), Some(f64::from(self.count)))
    }
}

/// The values that are known, at most N.
struct Known<const N: usize> {
    values: [f32; N],
    count: usize,
}

impl<const N: usize> Default for Known<N> {
    fn default() -> Self {
        Self { values: [0.0; N], count: 0 }
    }
}

impl<const N: usize> Known<N> {
    fn add(&mut self, value: f32) {
        if !value.is_nan() && self.count < N {
            self.values[self.count] = value;
            self.count += 1;
        }
    }

    /// The middle value, or the mean of the two in the middle; NaN of none.
    fn median(&mut self) -> f32 {
        let known = &mut self.values[..self.count];
        if known.is_empty() {
            return f32::NAN;
        }
        let middle = known.len() / 2;
        let is_odd = known.len() % 2 == 1;
        let (below, upper, _) = known.select_nth_unstable_by(middle, f32::total_cmp);
        if is_odd {
            return *upper;
        }
        let lower = below.iter().copied().max_by(f32::total_cmp);
        lower.map_or(*upper, |lower| f32::midpoint(lower, *upper))
    }
}
