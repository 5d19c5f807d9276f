//! The words and the rules that the chain and everything off chain share: identities, categories, purposes, grants, batches.
//!
//! Plain `no_std` Rust outside the ink! macro: the contracts wire caller, time, storage and events around it, the oracle runs the same
//! functions off chain. Nothing here reads a clock, a chain or a file; every function is a pure function of its arguments.
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]
#![allow(
    clippy::cast_possible_truncation,
    reason = "the SCALE derive casts variant numbers to u8; the rules themselves never cut a number"
)]

extern crate alloc;

pub mod codes;
pub mod consent;
pub mod eip712;
mod errors;
mod hash;
pub mod ids;
pub mod records;
pub mod registry;
pub mod signature;

pub use codes::{Categories, Category, Purpose, Purposes};
/// Most entries in one page of a listing; a larger `limit` is cut to it.
pub const PAGE_MAX: u32 = 32;

pub use ids::{CidBytes, DeviceId, Epoch, Generation, GrantId, ModelId, OracleKey, Principal, StreamId};
