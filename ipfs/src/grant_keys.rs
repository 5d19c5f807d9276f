//! The keys of a grant: the tree nodes of its window, wrapped to the grantee.
//!
//! The block is an envelope and a version, nothing else: it names neither patient nor grantee (the grant on chain does) and shows
//! the algorithm and the length, which is a rough measure of the window and the number of categories. Patient and grantee are the
//! envelope's context, so keys copied into another grant do not open.

use pulsegate_rules::registry::PublicKey;
use pulsegate_rules::{Category, Epoch, Generation, Principal};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use zeroize::Zeroize;

use crate::SealError;
use crate::block::{Block, decode_canonical, encode_secret};
use crate::key_tree::{COVER_MAX, GenerationSecret, LeafSeed, TreeNode, TreeNodes};
use crate::wrapping::{DecryptionKey, Envelope, INFO_GRANT_KEYS, unwrap, wrap};

/// Most entries (categories times generations) in one grant; with the widest window the block stays below its limit.
pub const GRANT_ENTRIES_MAX: usize = 256;
/// A node encodes to 42 bytes at most, an entry to its nodes and 32 bytes more.
const ENTRY_BYTES_MAX: usize = COVER_MAX * 42 + 32;
const OBJECT: &str = "grant keys";
const VERSION: u64 = 1;

/// What a grantee gets: for each granted stream and generation the nodes that cover the window.
pub struct GrantKeys {
    /// Whose data.
    pub patient: Principal,
    /// Who may open it.
    pub grantee: Principal,
    /// None twice for the same generation and category.
    pub entries: Vec<GrantEntry>,
}

/// The nodes of one stream in one generation.
pub struct GrantEntry {
    /// Which key tree.
    pub generation: Generation,
    /// Which stream.
    pub category: Category,
    /// They cover the window.
    pub nodes: TreeNodes,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BlockWire {
    v: u64,
    envelope: Envelope,
}

#[derive(Serialize, Deserialize)]
struct EntryWire(Generation, Category, Vec<NodeWire>);

#[derive(Serialize, Deserialize)]
struct NodeWire(u8, u32, ByteArray<32>);

impl Drop for NodeWire {
    fn drop(&mut self) {
        self.2.zeroize();
    }
}

impl GrantKeys {
    /// Collects the nodes of a window for every category and generation. Several generations are named when a grant is re-wrapped
    /// after a rotation, so that it opens both the older and the newer records of its window.
    ///
    /// # Errors
    /// [`SealError::InvalidWindow`]; [`SealError::TooMany`] above [`GRANT_ENTRIES_MAX`].
    pub fn collect(
        patient: Principal,
        grantee: Principal,
        generations: &[(Generation, &GenerationSecret)],
        categories: impl IntoIterator<Item = Category>,
        from: Epoch,
        until: Epoch,
    ) -> Result<Self, SealError> {
        let mut entries = Vec::new();
        for category in categories {
            for (generation, secret) in generations {
                let nodes = secret.stream_root(category).cover(from, until)?;
                entries.push(GrantEntry { generation: *generation, category, nodes });
            }
        }
        check_entries(entries.len())?;
        Ok(Self { patient, grantee, entries })
    }

    /// Wraps the keys to the grantee's registered encryption key and makes the block that the grant names.
    ///
    /// # Errors
    /// [`SealError::TooMany`], [`SealError::WrongAlgorithm`], [`SealError::InvalidKey`], [`SealError::BlockTooLarge`].
    pub fn wrap_for(&self, grantee_key: &PublicKey) -> Result<Block, SealError> {
        check_entries(self.entries.len())?;
        let wire: Vec<EntryWire> = self
            .entries
            .iter()
            .map(|entry| EntryWire(entry.generation, entry.category, nodes_to_wire(&entry.nodes)))
            .collect();
        let plaintext = encode_secret(&wire, wire.len() * ENTRY_BYTES_MAX + 16, OBJECT)?;
        let envelope = wrap(grantee_key, INFO_GRANT_KEYS, &context(&self.patient, &self.grantee), &plaintext)?;
        Block::dag_cbor(&BlockWire { v: VERSION, envelope })
    }

    /// Opens the block that a grant from `patient` to `grantee` names.
    ///
    /// # Errors
    /// [`SealError::CannotOpen`] with another key or for another grant; everything that decoding finds.
    pub fn open(block: &Block, key: &DecryptionKey, patient: Principal, grantee: Principal) -> Result<Self, SealError> {
        let wire: BlockWire = block.decode(OBJECT)?;
        if wire.v != VERSION {
            return Err(SealError::UnsupportedVersion { object: OBJECT, version: wire.v });
        }
        let plaintext = match unwrap(key, INFO_GRANT_KEYS, &context(&patient, &grantee), &wire.envelope) {
            Err(SealError::CannotOpen { .. }) => return Err(SealError::CannotOpen { object: OBJECT }),
            other => other?,
        };
        let wire: Vec<EntryWire> = decode_canonical(&plaintext, OBJECT)?;
        check_entries(wire.len())?;
        let mut entries = Vec::with_capacity(wire.len());
        for EntryWire(generation, category, nodes) in wire {
            entries.push(GrantEntry { generation, category, nodes: nodes_from_wire(&nodes)? });
        }
        Ok(Self { patient, grantee, entries })
    }

    /// The seed that opens the patient's lock of one epoch.
    ///
    /// # Errors
    /// [`SealError::StreamNotCovered`] without keys for the category and generation; [`SealError::EpochNotCovered`] outside the window.
    pub fn leaf(&self, generation: Generation, category: Category, epoch: Epoch) -> Result<LeafSeed, SealError> {
        self.entries
            .iter()
            .find(|entry| entry.generation == generation && entry.category == category)
            .ok_or(SealError::StreamNotCovered { category, generation })?
            .nodes
            .leaf(epoch)
    }
}

fn nodes_to_wire(nodes: &TreeNodes) -> Vec<NodeWire> {
    nodes.nodes().iter().map(|node| NodeWire(node.depth(), node.index(), ByteArray::new(*node.expose_seed()))).collect()
}

fn nodes_from_wire(nodes: &[NodeWire]) -> Result<TreeNodes, SealError> {
    if nodes.len() > COVER_MAX {
        return Err(SealError::TooMany { what: "key tree nodes", count: nodes.len(), max: COVER_MAX });
    }
    TreeNodes::from_nodes(
        nodes.iter().map(|node| TreeNode::from_parts(node.0, node.1, *node.2)).collect::<Result<_, _>>()?,
    )
}

fn check_entries(count: usize) -> Result<(), SealError> {
    if count > GRANT_ENTRIES_MAX {
        return Err(SealError::TooMany { what: "grant key entries", count, max: GRANT_ENTRIES_MAX });
    }
    Ok(())
}

fn context(patient: &Principal, grantee: &Principal) -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&patient.0);
    bytes[32..].copy_from_slice(&grantee.0);
    bytes
}
