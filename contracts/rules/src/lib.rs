//! The words and the rules that the chain and everything off chain share: identities, categories, purposes, grants, batches.
//!
//! Plain `no_std` Rust without ink!: the contracts wire caller, time and storage around it, the oracle runs the same functions off chain.
//! Nothing here reads a clock, a chain or a file; every function is a pure function of its arguments.
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod codes;
pub mod consent;
pub mod eip712;
pub mod ids;
pub mod records;
pub mod registry;

pub use codes::{Categories, Category, Purpose, Purposes};
pub use ids::{CidBytes, DeviceId, Epoch, Generation, GrantId, ModelId, OracleKey, Principal, StreamId};
