//! The chain: its state in memory beside the disk, one writer at a time, readers beside it.
//!
//! Guarantees: disk first, then memory; what a reader sees is on disk. Must not: hold the state's write lock while anything executes.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use parity_scale_codec::Encode;
use pulsegate_rules::Principal;
use rand::RngCore;
use sp_core::storage::StateVersion;
use sp_externalities::Extensions;
use sp_runtime::traits::{BlakeTwo256, Header as _};
use sp_state_machine::{Ext, InMemoryBackend, OverlayedChanges, TrieBackendBuilder};

use super::runtime::{self, Header, NewBlock};
use super::store::{Changes, Store, Tip};
use super::{Action, SignedCall};
use crate::{BlockRef, ChainIdentity, Clock, ContractEvent, DryRun, LedgerError, Signer, Transaction};

/// The chain's name for itself.
const CHAIN_NAME: &str = "Pulsegate embedded chain";
/// Where the genesis state holds the random bytes that make the chain one of its kind.
const GENESIS_SALT_KEY: &[u8] = b":pulsegate:genesis-salt";
/// How values enter the trie. It is what the runtime's version number says, since header and store must agree on the root.
const STATE_VERSION: StateVersion = StateVersion::V0;
/// Trie nodes that newer blocks replaced are dropped from memory every so many blocks.
const PURGE_BLOCKS: u64 = 1_024;

type Backend = InMemoryBackend<BlakeTwo256>;
type Overlay = OverlayedChanges<BlakeTwo256>;

/// The state after the newest block.
struct State {
    backend: Backend,
    tip: Tip,
}

pub(super) struct Chain {
    store: Store,
    clock: Clock,
    state: RwLock<State>,
    writer: Mutex<()>,
}

impl Chain {
    /// Opens the chain in a directory, or founds one.
    pub(super) fn open(dir: &Path, clock: Clock) -> Result<Self, LedgerError> {
        let store = Store::open(dir)?;
        let state = match store.load()? {
            Some((tip, storage)) => {
                let backend = Backend::from((storage, STATE_VERSION));
                if backend.root().0 != tip.state_root {
                    let number = tip.head.number;
                    return Err(LedgerError::Corrupt { reason: format!("the state is not that of block {number}") });
                }
                State { backend, tip }
            }
            None => found(&store)?,
        };
        Ok(Self { store, clock, state: RwLock::new(state), writer: Mutex::new(()) })
    }

    pub(super) fn identity(&self) -> ChainIdentity {
        ChainIdentity { genesis: self.read().tip.genesis, name: CHAIN_NAME.to_owned() }
    }

    pub(super) fn head(&self) -> BlockRef {
        self.read().tip.head
    }

    pub(super) fn state_root(&self) -> [u8; 32] {
        self.read().tip.state_root
    }

    pub(super) fn nonce(&self, account: &Principal) -> u32 {
        within(&self.read().backend, &mut Overlay::default(), || runtime::nonce(account))
    }

    pub(super) fn events(&self, from_block: u64, limit: usize) -> Result<Vec<ContractEvent>, LedgerError> {
        self.store.events(from_block, limit)
    }

    pub(super) fn dry_run(
        &self,
        caller: &Principal,
        contract: Principal,
        data: Vec<u8>,
    ) -> Result<DryRun, LedgerError> {
        let action = Action::Call { contract, data };
        action.check_size()?;
        let state = self.read();
        let outcome = within(&state.backend, &mut Overlay::default(), || runtime::execute_dry(caller, &action))?;
        Ok(DryRun { data: outcome.data, weight: outcome.weight, block: state.tip.head })
    }

    /// Executes a transaction that came from outside.
    pub(super) fn apply(&self, call: &SignedCall) -> Result<(Option<Principal>, Transaction), LedgerError> {
        call.action.check_size()?;
        call.verify(&self.read().tip.genesis)?;
        let turn = self.turn();
        let expected = self.nonce(&call.signer);
        if call.nonce != expected {
            return Err(LedgerError::StaleNonce { expected, given: call.nonce });
        }
        self.make_block(&turn, call)
    }

    /// Signs with the account's next nonce and executes, in one turn of the writer, so that no other transaction comes between.
    pub(super) fn sign_and_apply(
        &self,
        signer: &Signer,
        action: Action,
    ) -> Result<(Option<Principal>, Transaction), LedgerError> {
        action.check_size()?;
        let genesis = self.read().tip.genesis;
        let turn = self.turn();
        let nonce = self.nonce(&signer.principal());
        self.make_block(&turn, &SignedCall::sign(&genesis, signer, nonce, action))
    }

    /// Executes a checked transaction in a block of its own. A refused one makes no block.
    fn make_block(
        &self,
        _turn: &MutexGuard<'_, ()>,
        call: &SignedCall,
    ) -> Result<(Option<Principal>, Transaction), LedgerError> {
        let state = self.read();
        let parent = state.tip.head;
        let number = u32::try_from(parent.number + 1)
            .map_err(|_| LedgerError::Failed { reason: "the chain has no block numbers left".to_owned() })?;
        // The time of a block is never before its parent's, whatever the clock does.
        let timestamp_ms = (self.clock)().max(parent.timestamp_ms);
        let block = NewBlock { number, parent: parent.hash, timestamp_ms };
        let mut overlay = Overlay::default();
        let encoded = call.encode();
        let executed = within(&state.backend, &mut overlay, || {
            runtime::execute_block(&block, &call.signer, &call.action, encoded)
        })?;
        let drained = overlay.drain_storage_changes(&state.backend, STATE_VERSION);
        let changes = drained.map_err(|reason| LedgerError::Failed { reason: reason.to_string() })?;
        let head = block_ref(&executed.header, timestamp_ms);
        let tip = Tip { genesis: state.tip.genesis, head, state_root: changes.transaction_storage_root.0 };
        drop(state);
        let events = executed.events;
        let written = Changes {
            main: changes.main_storage_changes,
            child: changes.child_storage_changes,
            events: events.clone(),
        };
        self.store.commit(&tip, &written)?;
        self.advance(tip, changes.transaction);
        let runtime::Outcome { data, weight, created } = executed.outcome;
        Ok((created, Transaction { hash: call.hash(), block: head, weight, events, data }))
    }

    /// Brings the memory to what is on disk.
    fn advance(&self, tip: Tip, nodes: sp_state_machine::BackendTransaction<BlakeTwo256>) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let mut trie = core::mem::take(&mut state.backend).into_storage();
        trie.consolidate(nodes);
        if tip.head.number.is_multiple_of(PURGE_BLOCKS) {
            trie.purge();
        }
        state.backend = TrieBackendBuilder::new(trie, tip.state_root.into()).build();
        state.tip = tip;
    }

    /// Waits for the writer's turn.
    fn turn(&self) -> MutexGuard<'_, ()> {
        // A thread that panicked while it had its turn changed nothing: execution works on an overlay that dies with it.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        // Only `advance` takes the write lock, and nothing in it can panic.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Founds a chain: the pallets' genesis state and 32 random bytes.
fn found(store: &Store) -> Result<State, LedgerError> {
    let mut storage = runtime::genesis()?;
    let mut salt = [0; 32];
    rand::rngs::OsRng.fill_bytes(&mut salt);
    storage.top.insert(GENESIS_SALT_KEY.to_vec(), salt.to_vec());
    let main = storage.top.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
    let backend = Backend::from((storage, STATE_VERSION));
    let root = *backend.root();
    let header = Header::new(0, Default::default(), root, Default::default(), Default::default());
    let head = block_ref(&header, 0);
    let tip = Tip { genesis: head.hash, head, state_root: root.0 };
    store.commit(&tip, &Changes { main, child: Vec::new(), events: Vec::new() })?;
    Ok(State { backend, tip })
}

fn block_ref(header: &Header, timestamp_ms: u64) -> BlockRef {
    BlockRef { number: u64::from(*header.number()), hash: header.hash().0, timestamp_ms }
}

/// Runs pallet code on a state; its changes gather in the overlay.
fn within<R>(backend: &Backend, overlay: &mut Overlay, work: impl FnOnce() -> R) -> R {
    let mut extensions = Extensions::new();
    let mut externalities = Ext::new(overlay, backend, Some(&mut extensions));
    sp_externalities::set_and_run_with_externalities(&mut externalities, work)
}
