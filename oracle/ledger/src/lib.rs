//! The chain as the rest of Pulsegate sees it: one port, [`Ledger`], its adapters, and typed clients of the three contracts.
//!
//! Guarantees: a read is of a finalised block and says of which one; a write returns only when its block is final; a message that
//! the contract refuses produces no transaction and names the contract's own error; every transaction is signed by its caller.
//! Must not: choose an adapter (the binary does), fall back from one to another, or hold a secret in anything printable.
//!
//! | adapter | feature | what it is |
//! |---|---|---|
//! | `embedded::EmbeddedLedger` | `embedded` | the contracts pallet in this process, state on disk |
//! | `gateway::GatewayLedger` | `gateway` | the embedded chain of another process, over HTTP |
//! | `node::NodeLedger` | `node` | a contracts node, over its JSON-RPC |

mod bundle;
pub mod contracts;
mod deployment;
#[cfg(feature = "embedded")]
pub mod embedded;
mod error;
#[cfg(feature = "gateway")]
pub mod gateway;
#[cfg(feature = "node")]
pub mod node;
mod port;
mod signer;

pub use bundle::{BUNDLE_BYTES_MAX, Bundle, Bundles};
pub use contracts::{At, Committed, ConsentClient, RecordsClient, RegistryClient, Relay};
pub use deployment::{Contracts, Deployment};
pub use error::{ContractError, ContractKind, LedgerError};
pub use port::{
    BlockRef, Call, ChainIdentity, ContractEvent, DryRun, EVENTS_PAGE_MAX, Ledger, Transaction, Weight, selector,
};
pub use signer::Signer;

/// Where the time comes from: Unix milliseconds. Injected, so that a demo may run faster than life and a test need not wait.
pub type Clock = std::sync::Arc<dyn Fn() -> u64 + Send + Sync>;
