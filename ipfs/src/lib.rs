//! Sealed objects: everything that Pulsegate stores in IPFS, and the port through which it is stored.
//!
//! Guarantees: whatever is read is recomputed against its CID and decoded strictly (one encoding per value, every length
//! limited); keys are zeroised on drop, have no `Debug` and compare in constant time; randomness comes from the operating system.
//! Must not: talk to a chain, read a clock, or log anything about a key or a plaintext.
//!
//! | module | what |
//! |---|---|
//! | [`block`], [`car`] | CIDv1, DAG-CBOR blocks, CAR files |
//! | [`key_tree`] | the patient's lock: one key pair per hour, granted by window |
//! | [`wrapping`], [`signing`] | keys wrapped to participants; signatures over off-chain objects |
//! | [`directory`], [`grant_keys`] | published epoch public keys; wrapped tree nodes of a grant |
//! | [`record`] | a sealed reading under two locks |
//! | [`merkle`], [`manifest`] | what a batch holds, and proofs of it |
//! | [`store`] | where blocks live: embedded, Kubo, or another process's store |

pub mod block;
pub mod car;
pub mod directory;
mod error;
pub mod grant_keys;
pub mod key_tree;
pub mod manifest;
pub mod merkle;
pub mod record;
mod secret;
pub mod signing;
pub mod store;
pub mod wrapping;

pub use block::Block;
pub use cid::Cid;
pub use error::{SealError, StoreError};
