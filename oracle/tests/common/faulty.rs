//! Parts that fail on demand and are repaired again; every call that does not fail goes to the real part.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use pulsegate_ipfs::store::BlockStore;
use pulsegate_ipfs::{Block, Cid, StoreError};
use pulsegate_ledger::{
    BlockRef, Bundle, Call, ChainIdentity, ContractEvent, DryRun, Ledger, LedgerError, Signer, Transaction,
};
use pulsegate_rules::Principal;

/// A chain that can be away, and whose answers to writes can be lost after the chain did them.
pub struct FaultyLedger {
    real: Arc<dyn Ledger>,
    pub down: AtomicBool,
    pub lose_answers: AtomicBool,
    /// Reads get no answer while this is set.
    pub silent: AtomicBool,
    /// How often a device was asked for.
    pub device_reads: AtomicUsize,
}

impl FaultyLedger {
    pub fn new(real: Arc<dyn Ledger>) -> Self {
        Self {
            real,
            down: AtomicBool::new(false),
            lose_answers: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            device_reads: AtomicUsize::new(0),
        }
    }

    fn check(&self) -> Result<(), LedgerError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(LedgerError::Unavailable { reason: "switched off".to_owned() });
        }
        Ok(())
    }
}

#[async_trait]
impl Ledger for FaultyLedger {
    async fn identity(&self) -> Result<ChainIdentity, LedgerError> {
        self.check()?;
        self.real.identity().await
    }

    async fn finalised(&self) -> Result<BlockRef, LedgerError> {
        self.check()?;
        self.real.finalised().await
    }

    async fn dry_run(&self, caller: &Principal, call: &Call) -> Result<DryRun, LedgerError> {
        self.check()?;
        self.device_reads.fetch_add(usize::from(call.message == "device"), Ordering::SeqCst);
        while self.silent.load(Ordering::SeqCst) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        self.real.dry_run(caller, call).await
    }

    async fn submit(&self, signer: &Signer, call: &Call) -> Result<Transaction, LedgerError> {
        self.check()?;
        let done = self.real.submit(signer, call).await;
        if self.lose_answers.load(Ordering::SeqCst) {
            return Err(LedgerError::TimedOut { request: call.message.to_owned(), deadline_ms: 1 });
        }
        done
    }

    async fn instantiate(
        &self,
        signer: &Signer,
        bundle: &Bundle,
        constructor_data: &[u8],
        salt: &[u8],
    ) -> Result<(Principal, Transaction), LedgerError> {
        self.check()?;
        self.real.instantiate(signer, bundle, constructor_data, salt).await
    }

    async fn endow(&self, sponsor: &Signer, to: &Principal, amount: u128) -> Result<(), LedgerError> {
        self.check()?;
        self.real.endow(sponsor, to, amount).await
    }

    async fn events(&self, from_block: u64, limit: usize) -> Result<Vec<ContractEvent>, LedgerError> {
        self.check()?;
        self.real.events(from_block, limit).await
    }
}

/// A block store that can be away.
pub struct FaultyStore {
    real: Arc<dyn BlockStore>,
    pub down: AtomicBool,
}

impl FaultyStore {
    pub fn new(real: Arc<dyn BlockStore>) -> Self {
        Self { real, down: AtomicBool::new(false) }
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable { endpoint: "test".to_owned(), detail: "switched off".to_owned() });
        }
        Ok(())
    }
}

#[async_trait]
impl BlockStore for FaultyStore {
    async fn put(&self, blocks: &[Block], roots: &[Cid]) -> Result<(), StoreError> {
        self.check()?;
        self.real.put(blocks, roots).await
    }

    async fn get(&self, cid: &Cid) -> Result<Block, StoreError> {
        self.check()?;
        self.real.get(cid).await
    }

    async fn has(&self, cid: &Cid) -> Result<bool, StoreError> {
        self.check()?;
        self.real.has(cid).await
    }

    async fn unpin(&self, root: &Cid) -> Result<(), StoreError> {
        self.check()?;
        self.real.unpin(root).await
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.check()?;
        self.real.health().await
    }
}
