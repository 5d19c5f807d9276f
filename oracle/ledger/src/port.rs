//! The port: what Pulsegate asks of a chain, and the words of the answers.
//!
//! Guarantees: every answer is of finalised state. Must not: know of any one adapter.

use async_trait::async_trait;
use parity_scale_codec::{Decode, Encode};
use pulsegate_rules::Principal;
use serde::{Deserialize, Serialize};

use crate::{Bundle, LedgerError, Signer};

/// Most events that one call of [`Ledger::events`] returns.
pub const EVENTS_PAGE_MAX: usize = 1_000;

/// Which chain this is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct ChainIdentity {
    /// Hash of the genesis block.
    pub genesis: [u8; 32],
    /// The chain's own name for itself, for people.
    pub name: String,
}

impl ChainIdentity {
    /// The number that signatures are bound to (EIP-712 `chainId`, batch signatures): the first six bytes of the genesis hash,
    /// big-endian, so that it fits the 53 bits that wallets handle.
    #[must_use]
    pub fn chain_id(&self) -> u64 {
        self.genesis[..6].iter().fold(0, |number, byte| (number << 8) | u64::from(*byte))
    }
}

/// A finalised block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct BlockRef {
    /// Height; the genesis is 0.
    pub number: u64,
    /// Hash of the header.
    pub hash: [u8; 32],
    /// Block time, Unix milliseconds.
    pub timestamp_ms: u64,
}

/// What an execution costs the chain, in Substrate's two dimensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Weight {
    /// Computation, picoseconds on the reference machine.
    pub ref_time_ps: u64,
    /// Storage proof, bytes.
    pub proof_bytes: u64,
}

/// A message to a contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The contract's account.
    pub contract: Principal,
    /// The message's name, for errors.
    pub message: &'static str,
    /// Selector and SCALE-encoded arguments.
    pub data: Vec<u8>,
}

impl Call {
    /// A call of `message` with `arguments`: a tuple in the message's order, `&()` for none.
    #[must_use]
    pub fn new(contract: Principal, message: &'static str, arguments: &impl Encode) -> Self {
        let mut data = selector(message).to_vec();
        arguments.encode_to(&mut data);
        Self { contract, message, data }
    }
}

/// ink!'s default selector of a message or constructor: the first four bytes of BLAKE2b-256 of its name.
#[must_use]
pub fn selector(name: &str) -> [u8; 4] {
    let digest = blake2b_256(name.as_bytes());
    [digest[0], digest[1], digest[2], digest[3]]
}

/// BLAKE2b with 32 bytes of output (RFC 7693), Substrate's hash.
#[must_use]
pub(crate) fn blake2b_256(bytes: &[u8]) -> [u8; 32] {
    let hash = blake2b_simd::Params::new().hash_length(32).hash(bytes);
    let mut digest = [0; 32];
    digest.copy_from_slice(hash.as_bytes());
    digest
}

/// Reads what a contract returned: ink! wraps every message's and constructor's own value in `Result<_, LangError>`, and sets flag bit 0
/// when it is an error that reverts.
#[cfg(any(feature = "embedded", feature = "node"))]
pub(crate) fn message_value(mut returned: Vec<u8>, flags: u32) -> Result<Vec<u8>, LedgerError> {
    const REVERT: u32 = 1;
    match returned.first() {
        Some(0) => {
            returned.remove(0);
            if flags & REVERT == 0 { Ok(returned) } else { Err(LedgerError::Reverted { data: returned }) }
        }
        _ => Err(LedgerError::Failed {
            reason: "the contract does not know this message or these arguments; contract and program are of different versions"
                .to_owned(),
        }),
    }
}

/// What a message would do, computed without a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct DryRun {
    /// The message's return value, SCALE; ink!'s outer `Result<_, LangError>` is removed.
    pub data: Vec<u8>,
    /// What the call needs.
    pub weight: Weight,
    /// The finalised block whose state answered.
    pub block: BlockRef,
}

/// An event that a contract emitted in a finalised block.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ContractEvent {
    /// Which contract.
    pub contract: Principal,
    /// Height of the block.
    pub block: u64,
    /// Indexed fields; the first is ink!'s signature topic.
    pub topics: Vec<[u8; 32]>,
    /// The event's fields, SCALE.
    pub data: Vec<u8>,
}

/// A transaction in a finalised block.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Transaction {
    /// Hash of the signed transaction.
    pub hash: [u8; 32],
    /// The block it is in.
    pub block: BlockRef,
    /// What it cost the chain.
    pub weight: Weight,
    /// What the contracts emitted.
    pub events: Vec<ContractEvent>,
    /// The message's return value, SCALE; ink!'s outer `Result<_, LangError>` is removed. A node keeps no return values: there it is the
    /// dry run's, which other transactions may have overtaken. The typed clients read values that depend on others from the events.
    pub data: Vec<u8>,
}

/// A chain with contracts. Every answer is of finalised state.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Which chain this is.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] or [`LedgerError::TimedOut`] when the chain does not answer.
    async fn identity(&self) -> Result<ChainIdentity, LedgerError>;

    /// The newest finalised block.
    ///
    /// # Errors
    /// As [`Ledger::identity`].
    async fn finalised(&self) -> Result<BlockRef, LedgerError>;

    /// Runs a message on the state of the newest finalised block and forgets what it changed.
    ///
    /// # Errors
    /// [`LedgerError::Reverted`] with the message's encoded return value when the contract refuses; [`LedgerError::NoContract`];
    /// [`LedgerError::Failed`] when it traps; and as [`Ledger::identity`].
    async fn dry_run(&self, caller: &Principal, call: &Call) -> Result<DryRun, LedgerError>;

    /// Dry-runs, signs and submits a message, and waits until its block is final. A refused message produces no transaction.
    ///
    /// # Errors
    /// As [`Ledger::dry_run`], and [`LedgerError::Rejected`] when the chain does not take the transaction.
    /// After [`LedgerError::TimedOut`] or [`LedgerError::Unavailable`] the transaction may still have happened: read before repeating.
    async fn submit(&self, signer: &Signer, call: &Call) -> Result<Transaction, LedgerError>;

    /// Uploads a contract's code when the chain lacks it, makes a contract of it, and returns its account.
    ///
    /// `constructor_data` is the constructor's selector and SCALE-encoded arguments. Code, data, salt and signer give the account.
    ///
    /// # Errors
    /// As [`Ledger::submit`].
    async fn instantiate(
        &self,
        signer: &Signer,
        bundle: &Bundle,
        constructor_data: &[u8],
        salt: &[u8],
    ) -> Result<(Principal, Transaction), LedgerError>;

    /// Gives an account the means to pay for its transactions. `amount` is in the chain's smallest unit.
    ///
    /// # Errors
    /// As [`Ledger::submit`].
    async fn endow(&self, sponsor: &Signer, to: &Principal, amount: u128) -> Result<(), LedgerError>;

    /// Contract events from `from_block` on, oldest first: whole blocks until there are `limit` events or more, at most
    /// [`EVENTS_PAGE_MAX`] asked for. To read on, ask from the last event's block plus one.
    ///
    /// # Errors
    /// As [`Ledger::identity`].
    async fn events(&self, from_block: u64, limit: usize) -> Result<Vec<ContractEvent>, LedgerError>;
}
