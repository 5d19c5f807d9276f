//! The embedded chain: the contracts pallet executing the same contract code as a node, in this process, with its state on disk.
//!
//! Guarantees: one block per transaction, final at once; a block is on disk (fsync) before its answer is given; after `kill -9` the
//! chain goes on at its newest block, no transaction half applied; signature and nonce of every transaction are checked; a message
//! that the contract refuses makes no block. Transactions run one after another, reads beside them on the newest block.
//! Every account has funds on first sight, and there are no fees: the chain has one operator and costs nobody anything.
//! All blocks and contract events are kept, about 300 bytes a transaction: they are the history that patients audit.
//! Must not: run two processes on one data directory (the store's lock refuses), or read a clock other than the injected one.

mod chain;
mod runtime;
mod signed_call;
mod store;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use pulsegate_rules::Principal;

pub use signed_call::{Action, CALL_BYTES_MAX, CODE_BYTES_MAX, SignedCall};

use crate::{
    BlockRef, Bundle, Call, ChainIdentity, Clock, ContractEvent, DryRun, Ledger, LedgerError, Signer, Transaction,
};
use chain::Chain;

/// The embedded chain. Clones are the same chain.
#[derive(Clone)]
pub struct EmbeddedLedger {
    chain: Arc<Chain>,
}

impl EmbeddedLedger {
    /// Opens the chain in `dir/chain.redb`, or founds one there. Its genesis holds 32 random bytes, so no two chains are alike.
    ///
    /// # Errors
    /// [`LedgerError::Storage`] when the disk fails or another process has the chain open, [`LedgerError::Corrupt`] when the state on
    /// disk is not what its newest header says.
    pub fn open(dir: &Path, clock: Clock) -> Result<Self, LedgerError> {
        Ok(Self { chain: Arc::new(Chain::open(dir, clock)?) })
    }

    /// Checks and executes a transaction, as the chain's own node would: blocks this thread for a few milliseconds.
    ///
    /// Returns the new contract's account when the action made one.
    ///
    /// # Errors
    /// [`LedgerError::InvalidSignature`], [`LedgerError::StaleNonce`], [`LedgerError::TooLarge`], and as [`Ledger::submit`].
    pub fn apply(&self, call: &SignedCall) -> Result<(Option<Principal>, Transaction), LedgerError> {
        self.chain.apply(call)
    }

    /// [`EmbeddedLedger::apply`] on a thread that may block.
    ///
    /// # Errors
    /// As [`EmbeddedLedger::apply`].
    pub async fn apply_async(&self, call: SignedCall) -> Result<(Option<Principal>, Transaction), LedgerError> {
        self.blocking(move |chain| chain.apply(&call)).await
    }

    /// The account's next nonce.
    #[must_use]
    pub fn nonce(&self, account: &Principal) -> u32 {
        self.chain.nonce(account)
    }

    /// Root of the state after the newest block; what a crash test compares.
    #[must_use]
    pub fn state_root(&self) -> [u8; 32] {
        self.chain.state_root()
    }

    /// Runs a piece of chain work on a thread that may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Chain) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let chain = Arc::clone(&self.chain);
        let joined = tokio::task::spawn_blocking(move || work(&chain)).await;
        joined.unwrap_or_else(|error| Err(LedgerError::Failed { reason: format!("the chain's thread ended: {error}") }))
    }

    async fn transact(&self, signer: &Signer, action: Action) -> Result<(Option<Principal>, Transaction), LedgerError> {
        let signer = signer.clone();
        self.blocking(move |chain| chain.sign_and_apply(&signer, action)).await
    }
}

#[async_trait]
impl Ledger for EmbeddedLedger {
    async fn identity(&self) -> Result<ChainIdentity, LedgerError> {
        Ok(self.chain.identity())
    }

    async fn finalised(&self) -> Result<BlockRef, LedgerError> {
        Ok(self.chain.head())
    }

    async fn dry_run(&self, caller: &Principal, call: &Call) -> Result<DryRun, LedgerError> {
        let (caller, contract, data) = (*caller, call.contract, call.data.clone());
        self.blocking(move |chain| chain.dry_run(&caller, contract, data)).await
    }

    async fn submit(&self, signer: &Signer, call: &Call) -> Result<Transaction, LedgerError> {
        let action = Action::Call { contract: call.contract, data: call.data.clone() };
        Ok(self.transact(signer, action).await?.1)
    }

    async fn instantiate(
        &self,
        signer: &Signer,
        bundle: &Bundle,
        constructor_data: &[u8],
        salt: &[u8],
    ) -> Result<(Principal, Transaction), LedgerError> {
        let (code, data, salt) = (bundle.code().to_vec(), constructor_data.to_vec(), salt.to_vec());
        match self.transact(signer, Action::Instantiate { code, data, salt }).await? {
            (Some(account), transaction) => Ok((account, transaction)),
            (None, _) => Err(LedgerError::Failed { reason: "the chain made no contract".to_owned() }),
        }
    }

    async fn endow(&self, _sponsor: &Signer, _to: &Principal, _amount: u128) -> Result<(), LedgerError> {
        // Every account has funds on first sight.
        Ok(())
    }

    async fn events(&self, from_block: u64, limit: usize) -> Result<Vec<ContractEvent>, LedgerError> {
        self.blocking(move |chain| chain.events(from_block, limit)).await
    }
}
