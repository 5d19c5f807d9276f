//! Merkle trees in the shape of RFC 6962, section 2.1, with its domain separation: a leaf never passes for a node.
//!
//! ```text
//! leaf hash = SHA-256(0x00 ‖ leaf)        node hash = SHA-256(0x01 ‖ left ‖ right)
//! ```
//! A tree of n leaves splits at the largest power of two below n. No hash is ever duplicated to fill a level.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use sha2::{Digest, Sha256};

use crate::SealError;

/// Longest proof: a batch has at most 4,096 leaves.
pub const PROOF_HASHES_MAX: usize = 12;

/// The hashes beside the path from a leaf to the root, nearest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InclusionProof(pub Vec<ByteArray<32>>);

/// The hash of a leaf.
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update([0x00]).chain_update(leaf).finalize().into()
}

fn node_hash(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update([0x01]).chain_update(left).chain_update(right).finalize().into()
}

/// The root over leaf hashes.
///
/// # Errors
/// [`SealError::EmptyBatch`] without a leaf.
pub fn root(leaf_hashes: &[[u8; 32]]) -> Result<[u8; 32], SealError> {
    match leaf_hashes {
        [] => Err(SealError::EmptyBatch),
        [leaf] => Ok(*leaf),
        _ => {
            let (left, right) = leaf_hashes.split_at(split(leaf_hashes.len()));
            Ok(node_hash(&root(left)?, &root(right)?))
        }
    }
}

/// Proves that the leaf at `index` is under the root.
///
/// # Errors
/// [`SealError::IndexOutOfRange`].
pub fn prove(leaf_hashes: &[[u8; 32]], index: usize) -> Result<InclusionProof, SealError> {
    if index >= leaf_hashes.len() {
        return Err(SealError::IndexOutOfRange { index, count: leaf_hashes.len() });
    }
    let (mut leaves, mut index) = (leaf_hashes, index);
    let mut hashes = Vec::new();
    while leaves.len() > 1 {
        let (left, right) = leaves.split_at(split(leaves.len()));
        let (inside, beside) = if index < left.len() { (left, right) } else { (right, left) };
        hashes.push(ByteArray::new(root(beside)?));
        if index >= left.len() {
            index -= left.len();
        }
        leaves = inside;
    }
    hashes.reverse();
    Ok(InclusionProof(hashes))
}

/// Checks that a leaf is at place `index` of the `count` leaves under `root`.
///
/// # Errors
/// [`SealError::IndexOutOfRange`]; [`SealError::ProofFails`].
pub fn verify(
    root: &[u8; 32],
    index: usize,
    count: usize,
    leaf_hash: &[u8; 32],
    proof: &InclusionProof,
) -> Result<(), SealError> {
    if index >= count {
        return Err(SealError::IndexOutOfRange { index, count });
    }
    // The sides of the path, from the root down; the proof is read from its end.
    let (mut index, mut count) = (index, count);
    let mut leaf_is_left = Vec::new();
    while count > 1 {
        let left = split(count);
        leaf_is_left.push(index < left);
        if index < left {
            count = left;
        } else {
            index -= left;
            count -= left;
        }
    }
    if proof.0.len() != leaf_is_left.len() {
        return Err(SealError::ProofFails);
    }
    let computed = leaf_is_left.iter().rev().zip(&proof.0).fold(*leaf_hash, |hash, (is_left, beside)| {
        if *is_left { node_hash(&hash, beside) } else { node_hash(beside, &hash) }
    });
    if computed == *root { Ok(()) } else { Err(SealError::ProofFails) }
}

/// The largest power of two below `count`, which is at least 2.
fn split(count: usize) -> usize {
    count.next_power_of_two() / 2
}
