//! The embedded chain of another process, over HTTP: a router beside the chain, and a client that is a [`crate::Ledger`].
//!
//! Paths lie under `/gateway/ledger/`. Bodies and answers are SCALE; errors are JSON `{"code", "message", "error"}`.
//! Guarantees: the client signs, so the process that holds the chain never sees a key, and checks signature and nonce itself.
//! Must not: be reachable from anywhere but where the operator binds it; there is no secret in it, but no rate limit either.

mod client;
mod router;
mod wire;

pub use client::GatewayLedger;
pub use router::router;
