//! Merkle trees: the published roots of RFC 6962's reference tests, and proofs that hold for one leaf at one place only.

mod seeded;

use proptest::prelude::*;
use pulsegate_ipfs::SealError;
use pulsegate_ipfs::merkle::{PROOF_HASHES_MAX, leaf_hash, prove, root, verify};
use serde_bytes::ByteArray;

/// Leaves and roots of the certificate-transparency reference tests.
const LEAVES: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn hashes(count: u32) -> Vec<[u8; 32]> {
    (0..count).map(|number| leaf_hash(&number.to_be_bytes())).collect()
}

#[test]
fn roots_are_those_of_the_reference_tests() {
    let leaves: Vec<_> = LEAVES.iter().map(|leaf| leaf_hash(&hex::decode(leaf).unwrap())).collect();
    for (count, expected) in (1..).zip(ROOTS) {
        assert_eq!(hex::encode(root(&leaves[..count]).unwrap()), expected);
    }
}

#[test]
fn every_leaf_of_every_small_tree_is_proved() {
    for count in 1..=65u32 {
        let leaves = hashes(count);
        let root = root(&leaves).unwrap();
        for (index, leaf) in leaves.iter().enumerate() {
            let proof = prove(&leaves, index).unwrap();
            verify(&root, index, leaves.len(), leaf, &proof).unwrap();
        }
    }
}

#[test]
fn proofs_hold_for_one_leaf_at_one_place_only() {
    let cases = (1..=4_096u32, any::<u32>(), any::<u32>(), any::<u8>());
    seeded::check(120, &cases, |(count, index, other, bit)| {
        let leaves = hashes(count);
        let root = root(&leaves).unwrap();
        let (index, other) = ((index % count) as usize, (other % count) as usize);
        let proof = prove(&leaves, index).unwrap();
        prop_assert!(proof.0.len() <= PROOF_HASHES_MAX);
        prop_assert_eq!(verify(&root, index, leaves.len(), &leaves[index], &proof), Ok(()));
        if other != index {
            prop_assert!(verify(&root, other, leaves.len(), &leaves[index], &proof).is_err());
            prop_assert!(verify(&root, index, leaves.len(), &leaves[other], &proof).is_err());
        }
        let mut changed = proof.clone();
        if let Some(hash) = changed.0.first_mut() {
            hash[usize::from(bit) / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(verify(&root, index, leaves.len(), &leaves[index], &changed), Err(SealError::ProofFails));
        }
        let mut longer = proof;
        longer.0.push(ByteArray::new([0; 32]));
        prop_assert_eq!(verify(&root, index, leaves.len(), &leaves[index], &longer), Err(SealError::ProofFails));
        Ok(())
    });
}

#[test]
fn an_inner_node_does_not_pass_for_a_leaf() {
    let leaves = hashes(4);
    let whole = root(&leaves).unwrap();
    let inner = [root(&leaves[..2]).unwrap(), root(&leaves[2..]).unwrap()];
    // A tree of the two inner nodes has the same root, so the count must come from the anchored header; as content, a node's two
    // hashes never hash to the node, because leaves and nodes start with different bytes.
    assert_eq!(root(&inner).unwrap(), whole);
    assert_ne!(leaf_hash(&[leaves[0], leaves[1]].concat()), inner[0]);
    assert!(verify(&whole, 0, 4, &inner[0], &prove(&inner, 0).unwrap()).is_err());
}
