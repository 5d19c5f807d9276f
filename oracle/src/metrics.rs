//! What the service counts, in Prometheus text form.
//!
//! Every service has its own recorder, so two services in one process (tests, a demo) never mix their numbers and nothing global is
//! installed. Labels are codes of this crate only: no identity and no value ever becomes a label.

use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use pulsegate_rules::records::BatchKind;

use crate::exchanges::Exchanges;
use crate::log::DurableLog;

const METADATA: Metadata<'static> = Metadata::new("pulsegate_oracle", Level::INFO, None);

/// The service's metrics; clones share them.
#[derive(Clone)]
pub(crate) struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
    /// How many readings one commit of the durable log carried.
    pub(crate) group_readings: Histogram,
    /// Readings that wait for an epoch key.
    pub(crate) parked: Gauge,
    /// Readings sealed.
    pub(crate) sealed: Counter,
}

impl Metrics {
    /// Makes a recorder of its own.
    pub(crate) fn new() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        let describe = |name: &'static str, text: &'static str| {
            recorder.describe_counter(name.into(), Some(Unit::Count), text.into());
        };
        describe("pulsegate_readings_total", "Readings received, by outcome.");
        describe("pulsegate_requests_refused_total", "Requests refused before their content was looked at, by code.");
        describe("pulsegate_sealed_total", "Readings sealed.");
        describe("pulsegate_batches_total", "Batches anchored, by kind.");
        describe("pulsegate_anchored_total", "Leaves anchored, by kind.");
        describe("pulsegate_retries_total", "Failed attempts that are repeated, by stage and code.");
        describe("pulsegate_releases_total", "Release requests, by outcome.");
        describe("pulsegate_flagged_total", "Readings that a detector flagged, by detector.");
        describe("pulsegate_detector_failures_total", "Readings that a detector failed on, by detector and code.");
        describe(
            "pulsegate_model_changes_total",
            "Models that were taken into use or could not be, by detector and code.",
        );
        describe("pulsegate_stage_readings_total", "Readings that a stage worked on, by stage.");
        describe("pulsegate_peer_failures_total", "Senders that failed without a fresh reading, by how.");
        let handle = recorder.handle();
        let recorder = Arc::new(recorder);
        Self {
            handle,
            group_readings: recorder.register_histogram(&Key::from_name("pulsegate_log_group_readings"), &METADATA),
            parked: recorder.register_gauge(&Key::from_name("pulsegate_parked_readings"), &METADATA),
            sealed: recorder.register_counter(&Key::from_name("pulsegate_sealed_total"), &METADATA),
            recorder,
        }
    }

    fn count(&self, name: &'static str, labels: Vec<Label>, number: u64) {
        self.recorder.register_counter(&Key::from_parts(name, labels), &METADATA).increment(number);
    }

    /// One reading came in.
    pub(crate) fn reading(&self, outcome: &'static str) {
        self.count("pulsegate_readings_total", vec![Label::new("outcome", outcome)], 1);
    }

    /// A request was refused.
    pub(crate) fn refused(&self, code: &'static str) {
        self.count("pulsegate_requests_refused_total", vec![Label::new("code", code)], 1);
    }

    /// A batch is anchored.
    pub(crate) fn anchored(&self, kind: BatchKind, leaves: u64) {
        let kind = || vec![Label::new("kind", kind_name(kind))];
        self.count("pulsegate_batches_total", kind(), 1);
        self.count("pulsegate_anchored_total", kind(), leaves);
    }

    /// A stage failed for now.
    pub(crate) fn retry(&self, stage: &'static str, code: &'static str) {
        self.count("pulsegate_retries_total", vec![Label::new("stage", stage), Label::new("code", code)], 1);
    }

    /// A release request was answered.
    pub(crate) fn release(&self, outcome: &'static str) {
        self.count("pulsegate_releases_total", vec![Label::new("outcome", outcome)], 1);
    }

    /// A sender failed without bringing a fresh reading.
    pub(crate) fn peer_failure(&self, failure: &'static str) {
        self.count("pulsegate_peer_failures_total", vec![Label::new("failure", failure)], 1);
    }

    /// A detector failed on a reading.
    pub(crate) fn detector_failed(&self, detector: &'static str, code: &'static str) {
        let labels = vec![Label::new("detector", detector), Label::new("code", code)];
        self.count("pulsegate_detector_failures_total", labels, 1);
    }

    /// A model was taken into use (`IN_USE`), taken out (`NONE_ACTIVE`), or could not be loaded.
    pub(crate) fn model_changed(&self, detector: &'static str, code: &'static str) {
        self.count(
            "pulsegate_model_changes_total",
            vec![Label::new("detector", detector), Label::new("code", code)],
            1,
        );
    }

    /// A stage worked on some readings.
    pub(crate) fn stage(&self, stage: &'static str, took: Duration, readings: usize) {
        let labels = || vec![Label::new("stage", stage)];
        let seconds = Key::from_parts("pulsegate_stage_seconds", labels());
        self.recorder.register_histogram(&seconds, &METADATA).record(took.as_secs_f64());
        self.count("pulsegate_stage_readings_total", labels(), readings as u64);
    }

    /// A detector flagged a reading.
    pub(crate) fn flagged(&self, detector: &'static str) {
        self.count("pulsegate_flagged_total", vec![Label::new("detector", detector)], 1);
    }

    /// The text that `GET /metrics` answers.
    pub(crate) fn render(&self, log: &DurableLog, exchanges: &Exchanges) -> String {
        use std::sync::atomic::Ordering::Relaxed;
        let waiting = log.waiting();
        for (name, value) in [
            ("pulsegate_log_entries", &waiting.entries),
            ("pulsegate_records_waiting", &waiting.records),
            ("pulsegate_receipts_waiting", &waiting.receipts),
            ("pulsegate_critical_waiting", &waiting.critical),
        ] {
            // A gauge is a 64-bit float: exact up to 2^53, far above the log's limit.
            #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
            self.recorder.register_gauge(&Key::from_name(name), &METADATA).set(value.load(Relaxed) as f64);
        }
        #[expect(clippy::cast_precision_loss, reason = "a few thousand at most")]
        let failing = exchanges.failing_peers() as f64;
        self.recorder.register_gauge(&Key::from_name("pulsegate_failing_peers"), &METADATA).set(failing);
        self.handle.run_upkeep();
        self.handle.render()
    }
}

/// The kind's name in metrics, health and logs.
pub(crate) const fn kind_name(kind: BatchKind) -> &'static str {
    match kind {
        BatchKind::Records => "records",
        BatchKind::Receipts => "receipts",
        BatchKind::Critical => "critical",
    }
}
