//! What people do with Pulsegate, as functions: each takes a session and an identity, does one thing, and returns what
//! happened as plain data. The commands print that; the demo tells a story with it.
//!
//! Must not: print, read arguments, or choose an adapter.

pub(crate) mod batches;
pub(crate) mod devices;
pub(crate) mod enrolment;
pub(crate) mod explanation;
pub(crate) mod granting;
pub(crate) mod models;
pub(crate) mod opening;
pub(crate) mod receipts;
pub(crate) mod rotation;
pub(crate) mod verification;

use pulsegate_ledger::Transaction;
use serde::Serialize;

/// A final transaction, as results name it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TransactionLine {
    /// `0x` hex.
    pub(crate) hash: String,
    /// Height of its block.
    pub(crate) block: u64,
    /// Block time, Unix milliseconds.
    pub(crate) at_ms: u64,
}

impl TransactionLine {
    /// Names a transaction.
    pub(crate) fn of(transaction: &Transaction) -> Self {
        Self {
            hash: format!("0x{}", hex::encode(transaction.hash)),
            block: transaction.block.number,
            at_ms: transaction.block.timestamp_ms,
        }
    }
}
