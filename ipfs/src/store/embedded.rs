//! The embedded block store: one redb file in a folder, for one process at a time.
//!
//! Durability: [`put`](super::BlockStore::put) is one redb transaction with immediate durability. When it returns, the blocks and the
//! pins are on the disk (`fsync`); when the process is killed before, neither is visible afterwards. The file is locked while it is open.
//!
//! | table | key → value |
//! |---|---|
//! | `blocks` | CID, 36 bytes → bytes |
//! | `pins` | root CID → nothing |
//! | `holders` | CID → number of pinned roots above it |
//!
//! Blocks under no root stay until a root above them is pinned and unpinned.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use cid::Cid;
use redb::{Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use super::{BlockStore, PUT_BLOCKS_MAX, verify_read};
use crate::block::{Block, cid_bytes};
use crate::{SealError, StoreError};

type Key = [u8; 36];
const BLOCKS: TableDefinition<'_, &Key, &[u8]> = TableDefinition::new("blocks");
const PINS: TableDefinition<'_, &Key, ()> = TableDefinition::new("pins");
const HOLDERS: TableDefinition<'_, &Key, u64> = TableDefinition::new("holders");
const FILE_NAME: &str = "blocks.redb";

/// A block store in a folder of this machine.
#[derive(Clone)]
pub struct EmbeddedBlockStore(Arc<Inner>);

struct Inner {
    database: Database,
    path: String,
}

impl EmbeddedBlockStore {
    /// Opens the store in a folder, and makes both when they are not there.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process (or another value in this one) has it open; [`StoreError::Disk`].
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let file = dir.join(FILE_NAME);
        let path = file.display().to_string();
        let disk = |error: &dyn std::fmt::Display| StoreError::Disk { path: path.clone(), detail: error.to_string() };
        std::fs::create_dir_all(dir).map_err(|error| disk(&error))?;
        let database = Database::create(&file).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse { path: path.clone() },
            other => disk(&other),
        })?;
        let inner = Inner { database, path };
        // The tables exist from the start, so that a read before the first put finds them.
        let transaction = inner.begin()?;
        for result in [
            transaction.open_table(BLOCKS).map(drop),
            transaction.open_table(PINS).map(drop),
            transaction.open_table(HOLDERS).map(drop),
        ] {
            result.map_err(|error| inner.disk(error))?;
        }
        transaction.commit().map_err(|error| inner.disk(error))?;
        Ok(Self(Arc::new(inner)))
    }

    /// Runs a database operation off the async threads.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = Arc::clone(&self.0);
        let path = self.0.path.clone();
        tokio::task::spawn_blocking(move || work(&inner))
            .await
            .map_err(|error| StoreError::Disk { path, detail: error.to_string() })?
    }
}

#[async_trait]
impl BlockStore for EmbeddedBlockStore {
    async fn put(&self, blocks: &[Block], roots: &[Cid]) -> Result<(), StoreError> {
        let (blocks, roots) = (blocks.to_vec(), roots.to_vec());
        self.blocking(move |inner| inner.put(&blocks, &roots)).await
    }

    async fn get(&self, cid: &Cid) -> Result<Block, StoreError> {
        let cid = *cid;
        let bytes = self.blocking(move |inner| inner.read(&cid)).await?.ok_or(StoreError::NotFound { cid })?;
        verify_read(cid, bytes)
    }

    async fn has(&self, cid: &Cid) -> Result<bool, StoreError> {
        let cid = *cid;
        Ok(self.blocking(move |inner| inner.read(&cid)).await?.is_some())
    }

    async fn unpin(&self, root: &Cid) -> Result<(), StoreError> {
        let root = *root;
        self.blocking(move |inner| inner.unpin(&root)).await
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.blocking(|inner| inner.database.begin_read().map(drop).map_err(|error| inner.disk(error))).await
    }
}

impl Inner {
    fn disk(&self, error: impl std::fmt::Display) -> StoreError {
        StoreError::Disk { path: self.path.clone(), detail: error.to_string() }
    }

    fn begin(&self) -> Result<WriteTransaction, StoreError> {
        let mut transaction = self.database.begin_write().map_err(|error| self.disk(error))?;
        transaction.set_durability(Durability::Immediate).map_err(|error| self.disk(error))?;
        Ok(transaction)
    }

    fn read(&self, cid: &Cid) -> Result<Option<Vec<u8>>, StoreError> {
        let key = cid_bytes(cid)?.0;
        let transaction = self.database.begin_read().map_err(|error| self.disk(error))?;
        let table = transaction.open_table(BLOCKS).map_err(|error| self.disk(error))?;
        let value = table.get(&key).map_err(|error| self.disk(error))?;
        Ok(value.map(|bytes| bytes.value().to_vec()))
    }

    fn put(&self, blocks: &[Block], roots: &[Cid]) -> Result<(), StoreError> {
        super::check_put(blocks)?;
        let transaction = self.begin()?;
        {
            let mut table = transaction.open_table(BLOCKS).map_err(|error| self.disk(error))?;
            for block in blocks {
                table.insert(&cid_bytes(&block.cid)?.0, block.bytes.as_ref()).map_err(|error| self.disk(error))?;
            }
        }
        let given: HashMap<Cid, &Block> = blocks.iter().map(|block| (block.cid, block)).collect();
        for root in roots {
            self.pin(&transaction, root, &given)?;
        }
        // A dropped transaction leaves nothing behind, so a missing link above stores no block either.
        transaction.commit().map_err(|error| self.disk(error))
    }

    fn pin(&self, transaction: &WriteTransaction, root: &Cid, given: &HashMap<Cid, &Block>) -> Result<(), StoreError> {
        let key = cid_bytes(root)?.0;
        let mut pins = transaction.open_table(PINS).map_err(|error| self.disk(error))?;
        if pins.insert(&key, ()).map_err(|error| self.disk(error))?.is_some() {
            return Ok(());
        }
        let under = self.reachable(transaction, root, given)?;
        let mut holders = transaction.open_table(HOLDERS).map_err(|error| self.disk(error))?;
        for cid in under {
            let key = cid_bytes(&cid)?.0;
            let count = holders.get(&key).map_err(|error| self.disk(error))?.map_or(0, |count| count.value());
            holders.insert(&key, count.saturating_add(1)).map_err(|error| self.disk(error))?;
        }
        Ok(())
    }

    fn unpin(&self, root: &Cid) -> Result<(), StoreError> {
        let transaction = self.begin()?;
        {
            let mut pins = transaction.open_table(PINS).map_err(|error| self.disk(error))?;
            if pins.remove(&cid_bytes(root)?.0).map_err(|error| self.disk(error))?.is_none() {
                return Ok(());
            }
            let under = self.reachable(&transaction, root, &HashMap::new())?;
            let mut holders = transaction.open_table(HOLDERS).map_err(|error| self.disk(error))?;
            let mut table = transaction.open_table(BLOCKS).map_err(|error| self.disk(error))?;
            for cid in under {
                let key = cid_bytes(&cid)?.0;
                let count = holders.get(&key).map_err(|error| self.disk(error))?.map_or(0, |count| count.value());
                if count > 1 {
                    holders.insert(&key, count - 1).map_err(|error| self.disk(error))?;
                } else {
                    holders.remove(&key).map_err(|error| self.disk(error))?;
                    table.remove(&key).map_err(|error| self.disk(error))?;
                }
            }
        }
        transaction.commit().map_err(|error| self.disk(error))
    }

    /// Every block at or under a root, among the given ones and the stored ones.
    fn reachable(
        &self,
        transaction: &WriteTransaction,
        root: &Cid,
        given: &HashMap<Cid, &Block>,
    ) -> Result<BTreeSet<Cid>, StoreError> {
        let table = transaction.open_table(BLOCKS).map_err(|error| self.disk(error))?;
        let mut seen = BTreeSet::from([*root]);
        let mut open = vec![*root];
        while let Some(cid) = open.pop() {
            let links = match given.get(&cid) {
                Some(block) => block.links()?,
                None => {
                    let stored = table.get(&cid_bytes(&cid)?.0).map_err(|error| self.disk(error))?;
                    let missing = StoreError::MissingLink { root: Box::new(*root), missing: Box::new(cid) };
                    let bytes = stored.map(|bytes| bytes.value().to_vec()).ok_or(missing)?;
                    verify_read(cid, bytes)?.links()?
                }
            };
            open.extend(links.into_iter().filter(|link| seen.insert(*link)));
            if seen.len() > PUT_BLOCKS_MAX {
                let error =
                    SealError::TooMany { what: "blocks under one root", count: seen.len(), max: PUT_BLOCKS_MAX };
                return Err(error.into());
            }
        }
        Ok(seen)
    }
}
