//! The patient's lock: a binary tree of seeds over time, one leaf per epoch (after Droplet, USENIX Security 2020).
//!
//! ```text
//! stream root  = HMAC-SHA-256(generation secret, "pulsegate/stream-root/v1" ‖ category byte)
//! child b      = HMAC-SHA-256(node seed, "pulsegate/key-tree/v1" ‖ b)          b = 0 left, 1 right
//! leaf e       = the node at depth 24 whose path is the bits of epoch e, highest first
//! key pair e   = HPKE DeriveKeyPair(leaf seed), DHKEM(X25519, HKDF-SHA-256)    (RFC 9180, section 7.1.3)
//! ```
//! A window is granted as the fewest nodes that cover it, at most `2 · DEPTH`. Whoever holds them derives every leaf under them
//! and no other: going up or sideways means inverting HMAC. Nothing ever leaves the tree but nodes of a window.

use hmac::{Hmac, Mac};
use hpke::{Kem as _, Serializable as _};
use pulsegate_rules::{Category, Epoch};
use sha2::Sha256;

use crate::SealError;
use crate::secret::{random_bytes, secret_bytes};

/// Depth of the tree: 2^24 hours reach from 1970 past the year 3880.
pub const DEPTH: u8 = 24;
/// Number of epochs in the tree; the last one is `EPOCHS - 1`.
pub const EPOCHS: u32 = 1 << DEPTH;
/// Most nodes that cover one window.
pub const COVER_MAX: usize = 2 * DEPTH as usize;

type HpkeKem = hpke::kem::X25519HkdfSha256;
/// The private key of an epoch; its fields are zeroised on drop by its crate.
pub(crate) type EpochPrivateKey = <HpkeKem as hpke::Kem>::PrivateKey;

secret_bytes!(
    /// What a patient keeps per generation. Destroying it makes all records of the generation unreadable.
    GenerationSecret
);
secret_bytes!(
    /// The root of one stream's tree in one generation.
    StreamRoot
);
secret_bytes!(
    /// The seed of one epoch: opens the patient's lock of that hour.
    LeafSeed
);

/// A node of the tree: opens every epoch under it.
#[derive(Clone, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
pub struct TreeNode {
    /// From 0 (the root) to [`DEPTH`] (a leaf).
    #[zeroize(skip)]
    depth: u8,
    /// Position among the `2^depth` nodes of its depth, from the left.
    #[zeroize(skip)]
    index: u32,
    seed: [u8; 32],
}

/// The nodes that cover one window of one stream.
#[derive(Clone)]
pub struct TreeNodes(Vec<TreeNode>);

impl GenerationSecret {
    /// A fresh secret from OS randomness.
    #[must_use]
    pub fn random() -> Self {
        Self::from_bytes(random_bytes())
    }

    /// The root of the stream of this category.
    #[must_use]
    pub fn stream_root(&self, category: Category) -> StreamRoot {
        StreamRoot(hmac(&self.0, b"pulsegate/stream-root/v1", category as u8))
    }
}

impl StreamRoot {
    /// The seed of one epoch.
    ///
    /// # Errors
    /// [`SealError::EpochNotCovered`] past the last epoch of the tree.
    pub fn leaf(&self, epoch: Epoch) -> Result<LeafSeed, SealError> {
        if epoch.0 >= EPOCHS {
            return Err(SealError::EpochNotCovered { epoch });
        }
        let node = TreeNode { depth: 0, index: 0, seed: self.0 };
        Ok(LeafSeed(node.descend(DEPTH, epoch.0).seed))
    }

    /// The fewest nodes that cover the epochs from `from` up to, but not including, `until`; at most [`COVER_MAX`].
    ///
    /// # Errors
    /// [`SealError::InvalidWindow`] when the window is empty or ends after [`EPOCHS`].
    pub fn cover(&self, from: Epoch, until: Epoch) -> Result<TreeNodes, SealError> {
        if from >= until || until.0 > EPOCHS {
            return Err(SealError::InvalidWindow { from, until });
        }
        let root = TreeNode { depth: 0, index: 0, seed: self.0 };
        let (mut left, mut right) = (from.0, until.0);
        let mut nodes = Vec::new();
        // From the leaves up: a boundary that is not shared with the parent gives one node on its side.
        for depth in (0..=DEPTH).rev() {
            if left >= right {
                break;
            }
            if left & 1 == 1 {
                nodes.push(root.descend(depth, left));
                left += 1;
            }
            if right & 1 == 1 && left < right {
                right -= 1;
                nodes.push(root.descend(depth, right));
            }
            left >>= 1;
            right >>= 1;
        }
        nodes.sort_by_key(TreeNode::first_epoch);
        Ok(TreeNodes(nodes))
    }
}

impl TreeNode {
    /// Puts a node together from its parts, as they come out of an opened grant.
    ///
    /// # Errors
    /// [`SealError::MalformedObject`] when no such node exists.
    pub fn from_parts(depth: u8, index: u32, seed: [u8; 32]) -> Result<Self, SealError> {
        if depth > DEPTH || u64::from(index) >= 1u64 << depth {
            return Err(SealError::MalformedObject { object: "key tree node" });
        }
        Ok(Self { depth, index, seed })
    }

    /// From 0 (the root) to [`DEPTH`] (a leaf).
    #[must_use]
    pub fn depth(&self) -> u8 {
        self.depth
    }

    /// Position among the nodes of its depth.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The seed, for wrapping only.
    #[must_use]
    pub fn expose_seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// The first epoch under the node.
    #[must_use]
    pub fn first_epoch(&self) -> Epoch {
        // At depth 0 the index is 0, so the shift never loses a bit.
        Epoch(self.index << (DEPTH - self.depth))
    }

    /// Whether the epoch lies under the node.
    #[must_use]
    pub fn covers(&self, epoch: Epoch) -> bool {
        epoch.0 < EPOCHS && epoch.0 >> (DEPTH - self.depth) == self.index
    }

    /// The node at a greater or equal depth that lies under this one.
    fn descend(&self, depth: u8, index: u32) -> Self {
        let mut node = self.clone();
        for level in (self.depth..depth).rev() {
            let bit = (index >> (level - self.depth)) & 1;
            node.seed = hmac(&node.seed, b"pulsegate/key-tree/v1", u8::from(bit == 1));
        }
        node.depth = depth;
        node.index = index;
        node
    }
}

impl TreeNodes {
    /// Takes nodes as they come out of an opened grant.
    ///
    /// # Errors
    /// [`SealError::TooMany`] above [`COVER_MAX`].
    pub fn from_nodes(nodes: Vec<TreeNode>) -> Result<Self, SealError> {
        if nodes.len() > COVER_MAX {
            return Err(SealError::TooMany { what: "key tree nodes", count: nodes.len(), max: COVER_MAX });
        }
        Ok(Self(nodes))
    }

    /// The nodes, by time.
    #[must_use]
    pub fn nodes(&self) -> &[TreeNode] {
        &self.0
    }

    /// The seed of one epoch.
    ///
    /// # Errors
    /// [`SealError::EpochNotCovered`] outside the window.
    pub fn leaf(&self, epoch: Epoch) -> Result<LeafSeed, SealError> {
        let node = self.0.iter().find(|node| node.covers(epoch)).ok_or(SealError::EpochNotCovered { epoch })?;
        Ok(LeafSeed(node.descend(DEPTH, epoch.0).seed))
    }
}

impl LeafSeed {
    /// The epoch's public key, as it is published in the directory.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.key_pair().1
    }

    /// HPKE `DeriveKeyPair` of the seed.
    pub(crate) fn key_pair(&self) -> (EpochPrivateKey, [u8; 32]) {
        let (private, public) = HpkeKem::derive_keypair(&self.0);
        (private, public.to_bytes().into())
    }
}

fn hmac(key: &[u8; 32], label: &[u8], last: u8) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(label);
    mac.update(&[last]);
    mac.finalize().into_bytes().into()
}
