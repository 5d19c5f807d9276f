//! What every block store must do. `collect` makes a store drop what nothing pins, if it does not do that at once.

use pulsegate_ipfs::block::{BLOCK_BYTES_MAX, CODEC_RAW};
use pulsegate_ipfs::store::BlockStore;
use pulsegate_ipfs::{Block, StoreError};
use serde::Serialize;

/// A root over leaves, as a manifest is over records.
pub(crate) struct Batch {
    pub(crate) root: Block,
    pub(crate) leaves: Vec<Block>,
}

#[derive(Serialize)]
struct Root<'a> {
    name: &'a str,
    leaves: Vec<pulsegate_ipfs::Cid>,
}

impl Batch {
    /// A batch whose blocks no other name gives.
    pub(crate) fn new(name: &str, count: usize) -> Self {
        let leaves = (0..count).map(|number| {
            Block::dag_cbor(&(name, number, serde_bytes::ByteBuf::from(vec![number as u8; 300]))).unwrap()
        });
        Self::over(name, leaves.collect())
    }

    pub(crate) fn over(name: &str, leaves: Vec<Block>) -> Self {
        let cids = leaves.iter().map(|leaf| leaf.cid).collect();
        Self { root: Block::dag_cbor(&Root { name, leaves: cids }).unwrap(), leaves }
    }

    pub(crate) fn blocks(&self) -> Vec<Block> {
        std::iter::once(&self.root).chain(&self.leaves).cloned().collect()
    }
}

/// Every case of the suite, in turn, on one store that may unpin.
pub(crate) async fn all(store: &dyn BlockStore, collect: &(dyn Fn() + Sync)) {
    all_but_unpinning(store).await;
    store.unpin(&Batch::new("never put", 1).root.cid).await.unwrap();
    unpinned_roots_are_dropped_and_shared_blocks_stay(store, collect).await;
}

/// What every store does, also one that may not unpin.
pub(crate) async fn all_but_unpinning(store: &dyn BlockStore) {
    store.health().await.unwrap();
    what_was_put_is_given_back(store).await;
    a_block_that_is_not_there_is_not_found(store).await;
    putting_twice_changes_nothing(store).await;
    a_root_with_a_missing_leaf_is_refused(store).await;
    a_root_may_link_to_what_is_there(store).await;
    a_changed_block_is_refused(store).await;
    the_largest_block_goes_through(store).await;
    blocks_without_a_root_are_kept_for_now(store).await;
    a_full_batch_goes_through(store).await;
}

async fn what_was_put_is_given_back(store: &dyn BlockStore) {
    let batch = Batch::new("given back", 20);
    store.put(&batch.blocks(), &[batch.root.cid]).await.unwrap();
    for block in batch.blocks() {
        assert_eq!(store.get(&block.cid).await.unwrap(), block);
        assert!(store.has(&block.cid).await.unwrap());
    }
    let raw = Block::from_bytes(CODEC_RAW, &b""[..]).unwrap();
    store.put(std::slice::from_ref(&raw), &[raw.cid]).await.unwrap();
    assert_eq!(store.get(&raw.cid).await.unwrap(), raw);
}

async fn a_block_that_is_not_there_is_not_found(store: &dyn BlockStore) {
    let cid = Batch::new("never put", 1).root.cid;
    assert_eq!(store.get(&cid).await.unwrap_err(), StoreError::NotFound { cid });
    assert!(!store.has(&cid).await.unwrap());
    let version_zero = "QmXdNSQx7nbdRvkjGCEQgVjVtVwsHvV8NmV2a8xzQVwuFA".parse().unwrap();
    assert_eq!(store.get(&version_zero).await.unwrap_err().code(), "UNSUPPORTED_CID");
}

async fn putting_twice_changes_nothing(store: &dyn BlockStore) {
    let batch = Batch::new("twice", 3);
    for _ in 0..3 {
        store.put(&batch.blocks(), &[batch.root.cid]).await.unwrap();
    }
    store.put(&[], &[batch.root.cid]).await.unwrap();
    store.put(&[], &[]).await.unwrap();
    assert_eq!(store.get(&batch.leaves[0].cid).await.unwrap(), batch.leaves[0]);
}

async fn a_root_with_a_missing_leaf_is_refused(store: &dyn BlockStore) {
    let batch = Batch::new("leaf missing", 3);
    let missing = StoreError::MissingLink { root: Box::new(batch.root.cid), missing: Box::new(batch.leaves[1].cid) };
    let blocks = [batch.root.clone(), batch.leaves[0].clone(), batch.leaves[2].clone()];
    assert_eq!(store.put(&blocks, &[batch.root.cid]).await.unwrap_err(), missing);
    assert!(!store.has(&batch.root.cid).await.unwrap());
    let absent = Batch::new("root missing", 1).root.cid;
    let missing = StoreError::MissingLink { root: Box::new(absent), missing: Box::new(absent) };
    assert_eq!(store.put(&[], &[absent]).await.unwrap_err(), missing);
}

async fn a_root_may_link_to_what_is_there(store: &dyn BlockStore) {
    let first = Batch::new("there", 2);
    store.put(&first.blocks(), &[first.root.cid]).await.unwrap();
    let second = Batch::over("on top", vec![first.root.clone()]);
    store.put(std::slice::from_ref(&second.root), &[second.root.cid]).await.unwrap();
    assert!(store.has(&second.root.cid).await.unwrap());
}

async fn a_changed_block_is_refused(store: &dyn BlockStore) {
    let batch = Batch::new("changed", 1);
    let mut changed = batch.leaves[0].clone();
    changed.bytes = batch.root.bytes.clone();
    assert_eq!(store.put(&[changed], &[]).await.unwrap_err().code(), "WRONG_CID");
    let mut too_large = batch.leaves[0].clone();
    too_large.bytes = vec![0; BLOCK_BYTES_MAX + 1].into();
    assert_eq!(store.put(&[too_large], &[]).await.unwrap_err().code(), "BLOCK_TOO_LARGE");
    assert!(!store.has(&batch.leaves[0].cid).await.unwrap());
}

async fn the_largest_block_goes_through(store: &dyn BlockStore) {
    let block = Block::from_bytes(CODEC_RAW, vec![7; BLOCK_BYTES_MAX]).unwrap();
    store.put(std::slice::from_ref(&block), &[block.cid]).await.unwrap();
    assert_eq!(store.get(&block.cid).await.unwrap(), block);
}

async fn blocks_without_a_root_are_kept_for_now(store: &dyn BlockStore) {
    let batch = Batch::new("no root yet", 2);
    store.put(&batch.leaves, &[]).await.unwrap();
    store.put(std::slice::from_ref(&batch.root), &[batch.root.cid]).await.unwrap();
    assert_eq!(store.get(&batch.leaves[1].cid).await.unwrap(), batch.leaves[1]);
}

async fn unpinned_roots_are_dropped_and_shared_blocks_stay(store: &dyn BlockStore, collect: &(dyn Fn() + Sync)) {
    let first = Batch::new("to be unpinned", 3);
    let second = Batch::over("keeps one", vec![first.leaves[0].clone()]);
    store.put(&first.blocks(), &[first.root.cid]).await.unwrap();
    store.put(&second.blocks(), &[second.root.cid]).await.unwrap();
    collect();
    assert!(store.has(&first.leaves[2].cid).await.unwrap());
    store.unpin(&first.leaves[0].cid).await.unwrap();
    store.unpin(&first.root.cid).await.unwrap();
    store.unpin(&first.root.cid).await.unwrap();
    collect();
    for gone in [&first.root, &first.leaves[1], &first.leaves[2]] {
        assert!(!store.has(&gone.cid).await.unwrap());
    }
    assert_eq!(store.get(&first.leaves[0].cid).await.unwrap(), first.leaves[0]);
    store.put(&first.blocks(), &[first.root.cid]).await.unwrap();
    assert!(store.has(&first.leaves[1].cid).await.unwrap());
}

async fn a_full_batch_goes_through(store: &dyn BlockStore) {
    let batch = Batch::new("full", 4_096);
    store.put(&batch.blocks(), &[batch.root.cid]).await.unwrap();
    assert_eq!(store.get(&batch.leaves[4_095].cid).await.unwrap(), batch.leaves[4_095]);
    let error = store.put(&vec![batch.root.clone(); 8_193], &[]).await.unwrap_err();
    assert_eq!(error.code(), "TOO_MANY");
}
