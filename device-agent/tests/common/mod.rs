//! An oracle for the agent's tests: a real HTTP server that checks every signature, number and link, and can be told to fail.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of it")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use pulsegate_device_agent::{Agent, AgentConfig, Clock, Measurement};
use pulsegate_reading::{DeviceKey, LoincCode, Reading, SignedReading, Unit};
use pulsegate_rules::Principal;
use serde_json::json;

/// The patient of the tests.
pub const PATIENT: Principal = Principal([0x11; 32]);
/// The deployment of the tests.
pub const AUDIENCE: [u8; 32] = [0x22; 32];

/// The device of the tests.
pub fn key() -> DeviceKey {
    DeviceKey::from_seed(&[7; 32])
}

/// The n-th measurement: all are different.
pub fn measurement(number: u64) -> Measurement {
    let value = 60.0 + (number % 100) as f64;
    Measurement::quantity(1_790_000_000_000 + number * 1_000, LoincCode::HeartRate, value, Unit::PerMinute)
}

/// What the oracle does with the next requests for a batch, before it works again.
pub enum Fault {
    /// Answers with this status, and with Retry-After in seconds if given.
    Status(u16, Option<u64>),
    /// Takes the readings and loses the answer.
    TakeAndBreak,
    /// Answers nonsense.
    Nonsense,
}

/// What the oracle has and what it is told.
#[derive(Default)]
pub struct Book {
    /// Accepted readings, in order.
    pub accepted: Vec<Reading>,
    /// Their hashes.
    pub hashes: Vec<[u8; 32]>,
    /// The next faults.
    pub faults: VecDeque<Fault>,
    /// Times of measurement that are refused, with the code.
    pub refused: Vec<(u64, &'static str)>,
    /// Requests for a batch so far.
    pub requests: u64,
    /// Largest batch so far.
    pub largest: usize,
    /// More readings than this in a batch are too many.
    pub batch_max: Option<usize>,
}

impl Book {
    fn judge(&mut self, bytes: &[u8]) -> serde_json::Value {
        let signed = SignedReading::decode(bytes).unwrap();
        let reading = signed.verify(&key().public_key()).unwrap().clone();
        assert_eq!((reading.patient, reading.audience), (PATIENT, AUDIENCE));
        let rejected = |code: &str| json!({ "status": "rejected", "code": code, "message": "No.", "next": "Nothing." });
        if let Some(position) = self.hashes.iter().position(|hash| *hash == signed.hash()) {
            return json!({ "status": "duplicate", "position": position });
        }
        let (expected, head) = (self.accepted.len() as u64 + 1, self.hashes.last().copied().unwrap_or_default());
        if let Some((_, code)) = self.refused.iter().find(|(at_ms, _)| *at_ms == reading.measured_at_ms) {
            return rejected(code);
        }
        if reading.sequence < expected {
            return rejected("REPLAYED_SEQUENCE");
        }
        if reading.sequence > expected {
            return rejected("SEQUENCE_GAP");
        }
        if reading.previous != head {
            return rejected("BROKEN_HASH_LINK");
        }
        self.hashes.push(signed.hash());
        self.accepted.push(reading);
        json!({ "status": "accepted", "position": expected })
    }

    /// The readings are these, each once, in order, numbered and linked without a gap.
    pub fn holds(&self, expected: &[Measurement]) {
        assert_eq!(self.accepted.len(), expected.len());
        let mut previous = [0; 32];
        for (number, (reading, wanted)) in self.accepted.iter().zip(expected).enumerate() {
            assert_eq!(reading.sequence, number as u64 + 1);
            assert_eq!(reading.previous, previous);
            assert_eq!(
                (reading.measured_at_ms, reading.code, &reading.value),
                (wanted.measured_at_ms, wanted.code, &wanted.value)
            );
            previous = self.hashes[number];
        }
    }
}

/// A running oracle.
pub struct Oracle {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it has.
    pub book: Arc<Mutex<Book>>,
}

impl Oracle {
    /// Starts on a free port.
    pub async fn start() -> Self {
        let book = Arc::new(Mutex::new(Book::default()));
        let routes = Router::new()
            .route("/v1/readings/batch", post(batch))
            .route("/v1/devices/{id}", get(head))
            .route("/v1/oracle", get(|| async { Json(json!({ "audience": Principal(AUDIENCE).to_string() })) }))
            .with_state(Arc::clone(&book));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { address, book }
    }

    /// Its address as URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds faults for the next requests.
    pub fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.book.lock().unwrap().faults.extend(faults);
    }

    /// How many readings it has.
    pub fn accepted(&self) -> usize {
        self.book.lock().unwrap().accepted.len()
    }
}

async fn batch(State(book): State<Arc<Mutex<Book>>>, headers: HeaderMap, body: Bytes) -> Response {
    assert_eq!(headers["content-type"], "application/cbor");
    let readings: Vec<serde_bytes::ByteBuf> = ciborium::from_reader(&body[..]).unwrap();
    assert!((1..=256).contains(&readings.len()) && body.len() <= 4 * 1024 * 1024);
    let mut book = book.lock().unwrap();
    book.requests += 1;
    book.largest = book.largest.max(readings.len());
    if book.batch_max.is_some_and(|most| readings.len() > most) {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    }
    match book.faults.pop_front() {
        Some(Fault::Status(status, retry_after_s)) => {
            let problem = json!({ "code": "QUEUE_FULL", "message": "Later.", "next": "Wait." });
            let mut response = (StatusCode::from_u16(status).unwrap(), Json(problem)).into_response();
            if let Some(seconds) = retry_after_s {
                response.headers_mut().insert("retry-after", seconds.to_string().parse().unwrap());
            }
            response
        }
        Some(Fault::TakeAndBreak) => {
            readings.iter().for_each(|reading| _ = book.judge(reading));
            StatusCode::BAD_GATEWAY.into_response()
        }
        Some(Fault::Nonsense) => "hello".into_response(),
        None => Json(readings.iter().map(|reading| book.judge(reading)).collect::<Vec<_>>()).into_response(),
    }
}

async fn head(State(book): State<Arc<Mutex<Book>>>) -> Json<serde_json::Value> {
    let book = book.lock().unwrap();
    let hash = Principal(book.hashes.last().copied().unwrap_or_default());
    Json(json!({ "last_sequence": book.accepted.len(), "last_hash": hash.to_string() }))
}

/// The times that an agent waited, without waiting.
pub type Waits = Arc<Mutex<Vec<Duration>>>;

/// An agent in a folder; it writes down its waits instead of waiting.
pub fn agent(dir: &Path, url: &str, change: impl FnOnce(&mut AgentConfig)) -> (Agent, Waits) {
    let waits = Waits::default();
    let mut config = AgentConfig::new(url, PATIENT, AUDIENCE);
    let seen = Arc::clone(&waits);
    config.sleep = Arc::new(move |time| {
        seen.lock().unwrap().push(time);
        Box::pin(tokio::task::yield_now())
    });
    change(&mut config);
    let clock: Clock = Arc::new(|| 1_790_000_000_000);
    (Agent::open(dir, key(), config, clock).unwrap(), waits)
}
