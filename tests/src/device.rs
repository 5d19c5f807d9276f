//! A device at a patient's wrist: signs, links and sends readings, keeps what is not acknowledged, and remembers what was.
//!
//! Written against the wire alone, so that a scenario controls exactly what is sent, and what the oracle promised.

use std::collections::VecDeque;
use std::time::Duration;

use ciborium::Value as Cbor;
use pulsegate_reading::{DeviceKey, LoincCode, Reading, SampledData, SignedReading, Unit, Value};
use pulsegate_rules::{DeviceId, Principal};
use serde_json::Value as Json;

use crate::eventually::eventually;
use crate::installation::Installation;
use crate::parts::READY_WITHIN;
use crate::person::Person;
use crate::process::http;

/// Readings that a stream measures at once.
const STREAM_BURST: usize = 7;
/// Most readings of one request.
const REQUEST_READINGS_MAX: usize = 50;
/// Longest wait until everything is acknowledged.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(180);
/// Sampling period of the ECG, nanoseconds (360 Hz).
const ECG_PERIOD_NS: u64 = 2_777_778;

/// A device and what it remembers.
pub struct Device {
    key: DeviceKey,
    patient: Principal,
    audience: [u8; 32],
    url: String,
    sequence: u64,
    previous: [u8; 32],
    queue: VecDeque<SignedReading>,
    sent: Vec<Vec<u8>>,
    acknowledged: Vec<[u8; 32]>,
}

/// The current time, Unix milliseconds.
///
/// # Panics
/// When the machine's clock is before 1970.
#[must_use]
pub fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("the clock is past 1970");
    u64::try_from(since.as_millis()).expect("milliseconds fit 64 bits for a long time")
}

impl Device {
    /// A device that its patient has just registered with `pulsegate device add`.
    ///
    /// # Panics
    /// When the command fails or its key file cannot be read.
    #[must_use]
    pub fn added(installation: &Installation, patient: &Person, categories: &[&str]) -> Self {
        let file = installation.folder().join("device.key");
        let file_name = file.to_str().expect("scenarios use plain file names");
        let mut arguments = vec!["device", "add", "--key-file", file_name];
        arguments.extend(categories.iter().flat_map(|category| ["--category", category]));
        patient.does(&arguments);
        let seed = std::fs::read_to_string(&file).expect("the key file is written");
        let seed: [u8; 32] = hex::decode(seed.trim())
            .ok()
            .and_then(|seed| seed.try_into().ok())
            .expect("the key file holds a seed as hex");
        Self {
            key: DeviceKey::from_seed(&seed),
            patient: patient.account(),
            audience: installation.audience(),
            url: installation.url(),
            sequence: 0,
            previous: [0; 32],
            queue: VecDeque::new(),
            sent: Vec::new(),
            acknowledged: Vec::new(),
        }
    }

    /// The device's id.
    #[must_use]
    pub fn id(&self) -> DeviceId {
        self.key.device_id()
    }

    /// The hashes of the readings that the oracle acknowledged, in order.
    #[must_use]
    pub fn acknowledged(&self) -> &[[u8; 32]] {
        &self.acknowledged
    }

    /// The signed bytes of every reading that was measured.
    #[must_use]
    pub fn sent(&self) -> &[Vec<u8>] {
        &self.sent
    }

    /// Measures the heart rate now, several times.
    pub fn measure(&mut self, count: usize) {
        for _ in 0..count {
            self.measure_at(now_ms());
        }
    }

    /// Measures the heart rate at a time of the past.
    pub fn measure_at(&mut self, measured_at_ms: u64) {
        // Any plausible value that differs from one reading to the next.
        let beats = 60.0 + f64::from(u32::try_from(self.sequence % 40).expect("a remainder of 40 is small"));
        self.take(measured_at_ms, LoincCode::HeartRate, Value::quantity(beats, Unit::PerMinute));
    }

    /// Records ten seconds of an ECG lead.
    pub fn measure_ecg(&mut self) {
        let samples = (0..3_600).map(|index| if index % 300 < 6 { 900 } else { 20 }).collect();
        let sampled = SampledData {
            origin: 0.0,
            factor: 0.001,
            period_ns: ECG_PERIOD_NS,
            lower: -2_048,
            upper: 2_047,
            unit: Unit::Millivolt,
            samples,
        };
        self.take(now_ms() - 10_000, LoincCode::EcgLeadTwo, Value::Sampled(sampled));
    }

    fn take(&mut self, measured_at_ms: u64, code: LoincCode, value: Value) {
        self.sequence += 1;
        let reading = Reading {
            device: self.id(),
            patient: self.patient,
            audience: self.audience,
            sequence: self.sequence,
            previous: self.previous,
            measured_at_ms,
            code,
            value,
        };
        let signed = reading.sign(&self.key).expect("the reading is plausible");
        self.previous = signed.hash();
        self.sent.push(signed.bytes().to_vec());
        self.queue.push_back(signed);
    }

    /// Sends what is not acknowledged until all of it is, across refusals to connect and requests to wait.
    ///
    /// # Panics
    /// When a reading is rejected, or not everything is acknowledged in time.
    pub async fn send_all(&mut self) {
        let began = std::time::Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_millis(200));
        while !self.queue.is_empty() {
            ticks.tick().await;
            let sent = self.send_some().await;
            assert!(
                began.elapsed() < ACKNOWLEDGED_WITHIN,
                "{} readings are not acknowledged; the last answer was {sent:?}",
                self.queue.len()
            );
        }
    }

    /// Measures and sends for ever; meant to be cut off.
    pub async fn stream(&mut self) {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        loop {
            ticks.tick().await;
            if self.queue.is_empty() {
                self.measure(STREAM_BURST);
            }
            let _until_cut = self.send_some().await;
        }
    }

    /// Sends until the oracle, started to crash at `point`, has ended.
    pub async fn send_until_cut_off(&mut self, installation: &mut Installation, point: &str) {
        let device = std::sync::Arc::new(tokio::sync::Mutex::new(self));
        eventually(&format!("the oracle, if built with fault-injection, ends at {point}"), READY_WITHIN, || {
            let ended = installation.has_ended();
            let device = std::sync::Arc::clone(&device);
            async move {
                if ended {
                    return Ok(());
                }
                device.lock().await.send_some().await.map_or_else(Err, |count| Err(format!("{count} acknowledged")))
            }
        })
        .await;
    }

    /// Sends one request of queued readings and takes note of what was acknowledged; how many that was.
    async fn send_some(&mut self) -> Result<usize, String> {
        let readings: Vec<Cbor> =
            self.queue.iter().take(REQUEST_READINGS_MAX).map(|signed| Cbor::Bytes(signed.bytes().to_vec())).collect();
        if readings.is_empty() {
            return Ok(0);
        }
        let mut body = Vec::new();
        ciborium::into_writer(&Cbor::Array(readings), &mut body).expect("byte strings always encode");
        let url = format!("{}/v1/readings/batch", self.url);
        let sent = http().post(url).header("content-type", "application/cbor").body(body).send().await;
        let answer = sent.map_err(|error| error.to_string())?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| error.to_string())?;
        if !status.is_success() {
            return Err(format!("{status}: {text}"));
        }
        let outcomes: Vec<Json> = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        let mut count = 0;
        for outcome in outcomes {
            match outcome["status"].as_str() {
                Some("accepted" | "duplicate") => {
                    let signed = self.queue.pop_front().expect("no more outcomes than readings");
                    self.acknowledged.push(signed.hash());
                    count += 1;
                }
                // Told to wait: this one and what follows it stay in the queue.
                _ if is_transient(&outcome) => break,
                _ => panic!("a reading was rejected: {outcome}"),
            }
        }
        Ok(count)
    }
}

/// Whether a rejection asks the device to come back.
fn is_transient(outcome: &Json) -> bool {
    let code = outcome["code"].as_str().unwrap_or_default();
    code.ends_with("_UNAVAILABLE")
        || outcome.get("retry_after_s").is_some()
        || code.contains("BACKLOG")
        || code.contains("FULL")
}
