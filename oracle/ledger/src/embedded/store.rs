//! The chain on disk: one redb file.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | name | the genesis hash, the newest block and its state root |
//! | `main` | storage key | value |
//! | `child` | child trie, storage key | value (contract storage) |
//! | `blocks` | height | block reference |
//! | `events` | height, position | contract event |
//!
//! Guarantees: a block's state changes, reference and events are one redb transaction, on disk (fsync) when [`Store::commit`] returns.
//! Must not: interpret a value.

use std::path::Path;

use parity_scale_codec::{Decode, DecodeAll, Encode};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use sp_core::storage::{ChildInfo, Storage};
use sp_state_machine::{ChildStorageCollection, StorageCollection};

use crate::{BlockRef, ContractEvent, EVENTS_PAGE_MAX, LedgerError};

const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const MAIN: TableDefinition<&[u8], &[u8]> = TableDefinition::new("main");
const CHILD: TableDefinition<(&[u8], &[u8]), &[u8]> = TableDefinition::new("child");
const BLOCKS: TableDefinition<u64, &[u8]> = TableDefinition::new("blocks");
const EVENTS: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("events");

const TIP_KEY: &str = "tip";

/// The newest block, as the chain needs it to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct Tip {
    /// Hash of the genesis block.
    pub(super) genesis: [u8; 32],
    /// The newest block.
    pub(super) head: BlockRef,
    /// Root of the state after it.
    pub(super) state_root: [u8; 32],
}

/// What one block changes.
pub(super) struct Changes {
    /// Of the main trie; `None` deletes.
    pub(super) main: StorageCollection,
    /// Of the child tries, by their unprefixed storage keys.
    pub(super) child: ChildStorageCollection,
    /// What the contracts emitted.
    pub(super) events: Vec<ContractEvent>,
}

pub(super) struct Store {
    database: Database,
}

impl Store {
    /// Opens or makes the file `chain.redb` in a directory, which is made too.
    pub(super) fn open(dir: &Path) -> Result<Self, LedgerError> {
        std::fs::create_dir_all(dir).map_err(|error| failed(&error))?;
        let path = dir.join("chain.redb");
        let database = Database::create(&path).map_err(|error| LedgerError::Storage {
            reason: format!("{}: {error} (is another process using this data directory?)", path.display()),
        })?;
        Ok(Self { database })
    }

    /// The newest block and the whole state after it; `None` when the chain is not founded yet.
    pub(super) fn load(&self) -> Result<Option<(Tip, Storage)>, LedgerError> {
        let read = self.database.begin_read().map_err(|error| failed(&error))?;
        let meta = match read.open_table(META) {
            Ok(meta) => meta,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(failed(&error)),
        };
        let Some(tip) = meta.get(TIP_KEY).map_err(|error| failed(&error))? else { return Ok(None) };
        let tip = decode::<Tip>("the newest block", tip.value())?;
        let mut storage = Storage::default();
        let main = read.open_table(MAIN).map_err(|error| failed(&error))?;
        for entry in main.iter().map_err(|error| failed(&error))? {
            let (key, value) = entry.map_err(|error| failed(&error))?;
            storage.top.insert(key.value().to_vec(), value.value().to_vec());
        }
        let child = read.open_table(CHILD).map_err(|error| failed(&error))?;
        for entry in child.iter().map_err(|error| failed(&error))? {
            let (key, value) = entry.map_err(|error| failed(&error))?;
            let (trie, key) = key.value();
            let trie = storage.children_default.entry(trie.to_vec()).or_insert_with(|| {
                sp_core::storage::StorageChild { data: Default::default(), child_info: ChildInfo::new_default(trie) }
            });
            trie.data.insert(key.to_vec(), value.value().to_vec());
        }
        Ok(Some((tip, storage)))
    }

    /// Writes a block, durably and as a whole.
    pub(super) fn commit(&self, tip: &Tip, changes: &Changes) -> Result<(), LedgerError> {
        self.write(tip, changes).map_err(|error| failed(&error))
    }

    fn write(&self, tip: &Tip, changes: &Changes) -> Result<(), redb::Error> {
        let write = self.database.begin_write()?;
        {
            let mut main = write.open_table(MAIN)?;
            for (key, value) in &changes.main {
                match value {
                    Some(value) => drop(main.insert(key.as_slice(), value.as_slice())?),
                    None => drop(main.remove(key.as_slice())?),
                }
            }
            let mut child = write.open_table(CHILD)?;
            for (trie, entries) in &changes.child {
                for (key, value) in entries {
                    let key = (trie.as_slice(), key.as_slice());
                    match value {
                        Some(value) => drop(child.insert(key, value.as_slice())?),
                        None => drop(child.remove(key)?),
                    }
                }
            }
            let mut events = write.open_table(EVENTS)?;
            for (position, event) in (0u32..).zip(&changes.events) {
                events.insert((event.block, position), event.encode().as_slice())?;
            }
            write.open_table(BLOCKS)?.insert(tip.head.number, tip.head.encode().as_slice())?;
            write.open_table(META)?.insert(TIP_KEY, tip.encode().as_slice())?;
        }
        write.commit()?;
        Ok(())
    }

    /// Events from a block on: whole blocks until there are `limit` or more.
    pub(super) fn events(&self, from_block: u64, limit: usize) -> Result<Vec<ContractEvent>, LedgerError> {
        let limit = limit.min(EVENTS_PAGE_MAX);
        let read = self.database.begin_read().map_err(|error| failed(&error))?;
        let table = read.open_table(EVENTS).map_err(|error| failed(&error))?;
        let mut events: Vec<ContractEvent> = Vec::new();
        for entry in table.range((from_block, 0)..).map_err(|error| failed(&error))? {
            let (key, value) = entry.map_err(|error| failed(&error))?;
            let (block, _) = key.value();
            if events.len() >= limit && events.last().is_none_or(|last| last.block != block) {
                break;
            }
            events.push(decode("an event", value.value())?);
        }
        Ok(events)
    }
}

fn failed(error: &dyn core::fmt::Display) -> LedgerError {
    LedgerError::Storage { reason: error.to_string() }
}

fn decode<T: Decode>(what: &str, mut encoded: &[u8]) -> Result<T, LedgerError> {
    T::decode_all(&mut encoded)
        .map_err(|error| LedgerError::Corrupt { reason: format!("{what} does not decode: {error}") })
}
