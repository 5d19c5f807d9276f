//! The oracle: takes signed device readings in, judges, seals, stores and anchors them, and releases its lock to whom the chain permits.
//!
//! ```text
//! receive → verify ─(durable, acknowledged)→ screen → assess → seal ─(plaintext gone)→ store → anchor
//!                                                               release → receipt ────────↗
//! ```
//! Guarantees: an acknowledged reading is durable and is anchored once, whatever crashes in between; plaintext exists on disk only
//! encrypted and only until it is sealed; every queue is bounded by a named limit and tells its sender to wait; every answer to a known
//! reader leaves a receipt. Must not: choose adapters, or do anything that a patient's consent on chain does not permit.
//!
//! # What is logged
//! Codes, counts, kinds, block numbers, durations, the listen address. Never: principals, device ids, stream ids, CIDs, keys, nonces,
//! signatures, values, LOINC codes, request bodies, or the text of an error that may contain one of them (its code is logged instead).
//! A failure is logged once, where it is handled; repeated failures of a part are logged when they begin, change and end.
//! The same holds for labels of metrics. A test reads the logs of a whole run.

mod at_rest;
pub mod chain;
pub mod config;
mod context;
pub mod cosign;
pub mod detectors;
pub mod directories;
pub mod exchanges;
pub mod fault;
pub mod health;
pub mod http;
mod keys;
mod log;
mod metrics;
pub mod payload;
mod pipeline;
mod problem;
pub mod release;
mod server;
mod service;
mod stages;

pub use at_rest::RowUnreadable;
pub use config::{ConfigError, OracleConfig, TlsFiles};
pub use context::Progress;
pub use keys::OracleKeys;
pub use log::{LogError, RECENT_READINGS_MAX};
pub use problem::Problem;
pub use pulsegate_ledger::Clock;
pub use server::{CONNECTIONS_MAX, DRAIN_MS_MAX, HEADER_BYTES_MAX, HEADER_MS_MAX};
pub use service::{OracleService, Ports, Running, StartError};
pub use stages::assess::CRITICAL_REPEAT_MS;
pub use stages::receive::{BATCH_BYTES_MAX, BATCH_READINGS_MAX, READING_BYTES_MAX};
pub use stages::verify::{AGE_MS_MAX, FUTURE_MS_MAX, UNKNOWN_DEVICES_MAX};
