//! store: a composed batch goes to the block store, manifest and leaves in one request, pinned under the manifest.
//!
//! Guarantees: when it returns, the block store said that all blocks of the batch are durable under one pinned root. Blocks are named by
//! their content, so storing a batch again after a crash changes nothing. Must not: sign or submit anything.

use std::sync::Arc;

use async_trait::async_trait;
use pulsegate_ipfs::manifest::{Leaf, Manifest};
use pulsegate_rules::records::{BatchHeader, BatchKind};

use super::{Stage, StageError};
use crate::context::Context;
use crate::fault;
use crate::log::OpenBatch;

/// The stage.
pub(crate) struct Store {
    context: Arc<Context>,
}

impl Store {
    /// Stores by the context's block store.
    pub(crate) const fn new(context: Arc<Context>) -> Self {
        Self { context }
    }
}

/// The manifest of a batch.
pub(crate) fn manifest_of(header: &BatchHeader, leaves: Vec<Leaf>) -> Manifest {
    Manifest { kind: header.kind, oracle: header.oracle, sequence: header.sequence, leaves }
}

#[async_trait]
impl Stage for Store {
    type Input = OpenBatch;
    type Output = OpenBatch;

    async fn run(&mut self, mut batch: OpenBatch) -> Result<OpenBatch, StageError> {
        if batch.stored {
            return Ok(batch);
        }
        let (kind, positions): (BatchKind, Vec<u64>) = (batch.header.kind, batch.positions.clone());
        let leaves = self.context.log.run(move |log| log.leaves_at(kind, &positions)).await?;
        let mut blocks: Vec<_> = leaves.iter().map(|leaf| leaf.block.clone()).collect();
        let manifest = manifest_of(&batch.header, leaves.into_iter().map(|leaf| leaf.leaf).collect());
        manifest.check_against(&batch.header)?;
        let root = manifest.to_block()?;
        let cid = root.cid;
        blocks.push(root);
        self.context.blocks.put(&blocks, &[cid]).await?;
        fault::point(fault::STORE_AFTER_PUT);
        batch.stored = true;
        Ok(batch)
    }
}
