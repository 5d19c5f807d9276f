//! The records contract: anchored batches, their chains, the halt switch.
//!
//! Guarantees: as the module above. Must not: decide anything; the contract does.

use std::sync::Arc;

use pulsegate_rules::Principal;
use pulsegate_rules::records::{AnchoredBatch, BatchHead, BatchHeader, BatchKind};

use super::{Committed, Handle};
use crate::{ContractKind, Ledger, LedgerError, Signer};

/// Client of the records contract. Errors of all methods: those of [`Ledger::submit`] (writes) and [`Ledger::dry_run`] (reads),
/// with refusals as [`LedgerError::Refused`] and a [`pulsegate_rules::records::Error`] inside.
#[derive(Clone)]
pub struct RecordsClient {
    handle: Handle,
}

#[expect(clippy::missing_errors_doc, reason = "the type's documentation says it once for all methods")]
impl RecordsClient {
    /// A client of the records contract at this account.
    #[must_use]
    pub fn new(ledger: Arc<dyn Ledger>, contract: Principal) -> Self {
        Self { handle: Handle { ledger, contract, kind: ContractKind::Records } }
    }

    /// The contract's account, which batch signatures are bound to.
    #[must_use]
    pub const fn account(&self) -> Principal {
        self.handle.contract
    }

    /// Anchors a batch that enough oracles signed. The signer only pays.
    pub async fn anchor(
        &self,
        signer: &Signer,
        header: &BatchHeader,
        signatures: &[[u8; 65]],
    ) -> Result<Committed<()>, LedgerError> {
        self.handle.write(signer, "anchor", &(header, signatures)).await
    }

    /// Stops anchoring; the signer is the registry's admin.
    pub async fn halt(&self, signer: &Signer) -> Result<Committed<()>, LedgerError> {
        self.handle.write(signer, "halt", &()).await
    }

    /// Allows anchoring again; the signer is the registry's admin.
    pub async fn resume(&self, signer: &Signer) -> Result<Committed<()>, LedgerError> {
        self.handle.write(signer, "resume", &()).await
    }

    /// A batch by its place, if anchored.
    pub async fn batch(
        &self,
        oracle: Principal,
        kind: BatchKind,
        sequence: u64,
    ) -> Result<Option<AnchoredBatch>, LedgerError> {
        Ok(self.handle.read("batch", &(oracle, kind, sequence)).await?.value)
    }

    /// The newest batch of one oracle and kind.
    pub async fn head(&self, oracle: Principal, kind: BatchKind) -> Result<BatchHead, LedgerError> {
        Ok(self.handle.read("head", &(oracle, kind)).await?.value)
    }

    /// A page of the oracles that ever anchored, in order of their first batch.
    pub async fn oracles_seen(&self, offset: u32, limit: u32) -> Result<Vec<Principal>, LedgerError> {
        Ok(self.handle.read("oracles_seen", &(offset, limit)).await?.value)
    }

    /// Whether anchoring is stopped.
    pub async fn halted(&self) -> Result<bool, LedgerError> {
        Ok(self.handle.read("halted", &()).await?.value)
    }

    /// The registry that names oracles and admin.
    pub async fn registry(&self) -> Result<Principal, LedgerError> {
        Ok(self.handle.read("registry", &()).await?.value)
    }

    /// The chain id that batch signatures are bound to.
    pub async fn chain_id(&self) -> Result<u64, LedgerError> {
        Ok(self.handle.read("chain_id", &()).await?.value)
    }
}
