//! The device agent: takes measurements from a source, signs and hash-links them, keeps them on disk while the oracle is away, and sends.
//!
//! Guarantees: when [`Agent::enqueue`] returns, the signed reading is on disk, and so is the place of the source that it came from; a
//! reading leaves the disk only when the oracle acknowledged it (accepted, or known already) or refused it for good, and then it is set
//! aside with the reason; after `kill -9` at any moment the next run goes on without a gap and without a double. Must not: read a clock
//! or sleep by itself (both are injected), put a key or a measured value into a log.

mod agent;
mod backoff;
mod client;
mod config;
mod error;
mod key_file;
mod measurement;
mod queue;
pub mod sources;

pub use agent::{Agent, Progress};
pub use backoff::Backoff;
pub use client::{Answer, BATCH_BYTES_MAX, BATCH_READINGS_MAX, OracleInfo, fetch_oracle_info};
pub use config::{AgentConfig, Clock, Sleep};
pub use error::AgentError;
pub use key_file::{create_key_file, read_key_file};
pub use measurement::Measurement;
pub use queue::{QUEUE_READINGS_MAX, REJECTED_MAX, Rejected};
