//! What client and router say to each other.
//!
//! Guarantees: both sides use these same types. Must not: carry a key.

use serde::{Deserialize, Serialize};

use crate::LedgerError;

/// Where all paths begin.
pub(super) const PREFIX: &str = "/gateway/ledger";
/// Largest body of a request, bytes: the largest code and constructor data fit.
pub(super) const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Largest answer that the client reads, bytes: a page of events fits.
pub(super) const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// An error as the router says it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Failure {
    /// Stable name.
    pub(super) code: String,
    /// For people, with what to do next.
    pub(super) message: String,
    /// For the client.
    pub(super) error: LedgerError,
}
