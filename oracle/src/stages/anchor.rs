//! anchor: the batch's header is signed by enough oracles, written down, submitted, and found on chain exactly once.
//!
//! Guarantees: composition, header and signatures are durable before the chain hears of them, and the chain is asked what it has before
//! anything is submitted, so a batch whose fate is unknown (crash, time-out) is found anchored or submitted again, never twice: the
//! contract takes each sequence once, and a batch in flight keeps its sequence until it is anchored.
//! When the oracle set changed in between, the same leaves get a new header signed for the new set.
//! Must not: begin a batch while one of the kind is in flight, or go on when the chain holds another batch in its place.

use std::sync::Arc;

use async_trait::async_trait;
use pulsegate_ipfs::block::cid_bytes;
use pulsegate_ledger::{ContractError, LedgerError};
use pulsegate_rules::records::{BatchHead, BatchHeader, BatchKind};
use pulsegate_rules::registry::OracleSet;
use pulsegate_rules::{CidBytes, ModelId, records};

use super::store::manifest_of;
use super::{Stage, StageError};
use crate::context::Context;
use crate::cosign;
use crate::fault;
use crate::keys::sign_recoverable;
use crate::log::{Head, OpenBatch, PendingLeaf};

/// The chain holds another batch where ours should be: another instance uses the same keys, or the log is an old copy.
const FORKED: StageError = StageError { code: "ANCHOR_FORKED" };
/// The chain knows fewer batches than this log: it is another or a restored chain.
const CHAIN_BEHIND: StageError = StageError { code: "ANCHOR_CHAIN_BEHIND" };
/// This oracle's key is not in the registry's set.
const NOT_A_MEMBER: StageError = StageError { code: "ANCHOR_NOT_A_MEMBER" };
/// Not enough co-signing oracles signed.
const BELOW_THRESHOLD: StageError = StageError { code: "ANCHOR_BELOW_THRESHOLD" };

/// The stage.
pub(crate) struct Anchor {
    context: Arc<Context>,
}

#[async_trait]
impl Stage for Anchor {
    type Input = OpenBatch;
    type Output = ();

    /// Brings a stored batch on chain and forgets it; an error leaves it in flight.
    async fn run(&mut self, mut batch: OpenBatch) -> Result<(), StageError> {
        if let Some(digest) = self.found(&batch).await? {
            return self.finish(batch, digest).await;
        }
        let set = self.context.contracts.registry.oracles().await?;
        if !set.members.contains(&self.context.keys.oracle_key()) {
            return Err(NOT_A_MEMBER);
        }
        if batch.header.oracle_set != set.version {
            batch.header.oracle_set = set.version;
            batch.signatures.clear();
        }
        self.sign(&mut batch, &set).await?;
        let records = &self.context.contracts.records;
        let outcome = records.anchor(self.context.keys.account(), &batch.header, &batch.signatures).await;
        match outcome {
            Ok(_) => {
                fault::point(fault::ANCHOR_AFTER_SUBMIT);
                let digest = batch.header.digest();
                self.finish(batch, digest).await
            }
            Err(error) if is_already_anchored(&error) => match self.found(&batch).await? {
                Some(digest) => self.finish(batch, digest).await,
                None => Err(error.into()),
            },
            Err(error) => Err(error.into()),
        }
    }
}

fn is_already_anchored(error: &LedgerError) -> bool {
    error.contract_error() == Some(ContractError::Records(records::Error::AlreadyAnchored))
}

impl Anchor {
    /// Anchors by the context's chain.
    pub(crate) const fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    /// Composes the next batch of a kind from waiting leaves and writes it down. `leaves` is not empty, and the same models judged all.
    pub(crate) async fn compose(
        &self,
        kind: BatchKind,
        leaves: Vec<(u64, PendingLeaf)>,
    ) -> Result<OpenBatch, StageError> {
        let head = self.next_after(kind).await?;
        let set = self.context.contracts.registry.oracles().await?;
        let (positions, leaves): (Vec<u64>, Vec<PendingLeaf>) = leaves.into_iter().unzip();
        let mut header = BatchHeader {
            kind,
            oracle: self.context.keys.principal(),
            sequence: head.sequence + 1,
            previous: head.digest,
            merkle_root: [0; 32],
            manifest: CidBytes([0; 36]),
            count: u32::try_from(leaves.len()).map_err(|_| StageError { code: "BATCH_TOO_LONG" })?,
            model: leaves.first().map_or(ModelId([0; 32]), |leaf| leaf.model),
            oracle_set: set.version,
            closed_at_ms: self.context.now_ms(),
        };
        let manifest = manifest_of(&header, leaves.into_iter().map(|leaf| leaf.leaf).collect());
        header.merkle_root = manifest.merkle_root()?;
        header.manifest = cid_bytes(&manifest.to_block()?.cid)?;
        let batch = OpenBatch { header, positions, stored: false, signatures: Vec::new() };
        let row = batch.clone();
        self.context.log.run(move |log| log.save_batch(&row)).await?;
        fault::point(fault::BATCH_COMPOSED);
        Ok(batch)
    }

    /// The newest batch that the next one extends: the chain's, which must be the log's.
    async fn next_after(&self, kind: BatchKind) -> Result<Head, StageError> {
        let chain = self.context.contracts.records.head(self.context.keys.principal(), kind).await?;
        let known = self.context.log.run(move |log| log.head(kind)).await?;
        match known {
            Some(known) => compare(known, &chain),
            None => Ok(Head { sequence: chain.sequence, digest: chain.digest }),
        }
    }

    /// The digest under which the chain holds this batch, if it does.
    async fn found(&self, batch: &OpenBatch) -> Result<Option<[u8; 32]>, StageError> {
        let header = &batch.header;
        let records = &self.context.contracts.records;
        let head = records.head(header.oracle, header.kind).await?;
        if head.sequence + 1 < header.sequence {
            return Err(CHAIN_BEHIND);
        }
        if head.sequence < header.sequence {
            return if head.digest == header.previous { Ok(None) } else { Err(FORKED) };
        }
        let anchored = records.batch(header.oracle, header.kind, header.sequence).await?.ok_or(FORKED)?;
        // The manifest names every leaf; an earlier submission may have been signed for an older oracle set.
        if anchored.header.manifest == header.manifest && anchored.header.merkle_root == header.merkle_root {
            Ok(Some(anchored.header.digest()))
        } else {
            Err(FORKED)
        }
    }

    /// Signs, asks co-signers when the threshold needs them, and writes header and signatures down.
    async fn sign(&self, batch: &mut OpenBatch, set: &OracleSet) -> Result<(), StageError> {
        let threshold = usize::from(set.threshold);
        if batch.signatures.len() < threshold {
            let digest = batch.header.signing_digest(self.context.chain_id, &self.context.contracts.records.account());
            let own = sign_recoverable(self.context.keys.batch(), &digest);
            batch.signatures = vec![own];
            if threshold > 1 {
                let missing = threshold - 1;
                let others = cosign::collect(&self.context, &batch.header, &own, set, missing).await;
                batch.signatures.extend(others);
            }
            if batch.signatures.len() < threshold {
                return Err(BELOW_THRESHOLD);
            }
        }
        let row = batch.clone();
        self.context.log.run(move |log| log.save_batch(&row)).await?;
        fault::point(fault::ANCHOR_SIGNED);
        Ok(())
    }

    async fn finish(&self, batch: OpenBatch, digest: [u8; 32]) -> Result<(), StageError> {
        let (kind, leaves) = (batch.header.kind, batch.positions.len() as u64);
        self.context.log.run(move |log| log.finish_batch(&batch, &digest)).await?;
        self.context.metrics.anchored(kind, leaves);
        tracing::debug!(kind = crate::metrics::kind_name(kind), leaves, "batch anchored");
        Ok(())
    }
}

fn compare(known: Head, chain: &BatchHead) -> Result<Head, StageError> {
    if chain.sequence < known.sequence {
        return Err(CHAIN_BEHIND);
    }
    if chain.sequence > known.sequence || chain.digest != known.digest {
        return Err(FORKED);
    }
    Ok(known)
}
