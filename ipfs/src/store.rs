//! The block-store port: content-addressed blocks that stay until their root is unpinned.
//!
//! | adapter | where blocks live |
//! |---|---|
//! | [`EmbeddedBlockStore`] | one file in a folder, one process |
//! | `KuboBlockStore` (feature `kubo`) | an IPFS node, through its RPC |
//! | `GatewayBlockStore` (feature `gateway`) | the store of another process, over HTTP |
//!
//! One test suite runs on all three. There is no fallback from one to another.

#[cfg(feature = "gateway")]
pub mod gateway;
#[cfg(feature = "kubo")]
mod kubo;

mod embedded;
#[cfg(any(feature = "kubo", feature = "gateway"))]
mod http;

use async_trait::async_trait;
use cid::Cid;

use crate::{Block, StoreError};

pub use embedded::EmbeddedBlockStore;
#[cfg(feature = "gateway")]
pub use gateway::GatewayBlockStore;
#[cfg(any(feature = "kubo", feature = "gateway"))]
use http::{http_client, read_body, transport_error};
#[cfg(feature = "kubo")]
pub use kubo::KuboBlockStore;

/// Most blocks in one [`BlockStore::put`], and most blocks under one root.
pub const PUT_BLOCKS_MAX: usize = crate::car::CAR_BLOCKS_MAX;

/// Where sealed objects are kept.
#[async_trait]
pub trait BlockStore: Send + Sync {
    /// Stores blocks and pins roots with everything under them. When it returns, both survive the end of the process.
    /// Every block under a root must be given or be there already. Putting again what is there changes nothing, so a caller
    /// that does not know the outcome repeats the call. A block under no root may be dropped by the store at any time after.
    ///
    /// # Errors
    /// [`StoreError::MissingLink`]; [`StoreError::Object`] for a block that does not fit its CID or a limit. Then nothing is pinned.
    async fn put(&self, blocks: &[Block], roots: &[Cid]) -> Result<(), StoreError>;

    /// Fetches a block and recomputes its CID.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Corrupt`].
    async fn get(&self, cid: &Cid) -> Result<Block, StoreError>;

    /// Whether the store itself holds the block. Its bytes are not checked.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn has(&self, cid: &Cid) -> Result<bool, StoreError>;

    /// Lets go of a root; blocks under no other root are dropped (Kubo: at its next collection). A root that is not pinned is no error.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn unpin(&self, root: &Cid) -> Result<(), StoreError>;

    /// Whether the store answers.
    ///
    /// # Errors
    /// When it does not.
    async fn health(&self) -> Result<(), StoreError>;
}

/// Checks what every adapter is given: the number of blocks, and that each block fits its CID and the size limit.
fn check_put(blocks: &[Block]) -> Result<(), StoreError> {
    if blocks.len() > PUT_BLOCKS_MAX {
        let error = crate::SealError::TooMany { what: "blocks to put", count: blocks.len(), max: PUT_BLOCKS_MAX };
        return Err(error.into());
    }
    blocks.iter().try_for_each(|block| block.verify().map_err(StoreError::from))
}

/// Makes a block of what a store gave for a CID.
fn verify_read(cid: Cid, bytes: Vec<u8>) -> Result<Block, StoreError> {
    Block::verified(&cid, bytes).map_err(|error| match error {
        crate::SealError::WrongCid { claimed, computed } => StoreError::Corrupt { cid: claimed, computed },
        other => StoreError::Object(other),
    })
}
