//! One suite of scenarios on every adapter, and what only one adapter can be asked: crashes, restarts, forged transactions.
//!
//! The scenarios need the bundles in `contracts/artifacts`. Those of the node say that they were skipped when there is no
//! `substrate-contracts-node` on the `PATH`.
#![expect(clippy::unwrap_used, reason = "all of this is tests")]

mod crash;
mod embedded;
#[cfg(feature = "gateway")]
mod gateway;
#[cfg(feature = "node")]
mod node;
mod suite;
