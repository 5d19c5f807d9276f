//! Property tests: the keys of a window open exactly that window.

mod seeded;

use proptest::prelude::*;
use pulsegate_ipfs::SealError;
use pulsegate_ipfs::grant_keys::GrantKeys;
use pulsegate_ipfs::key_tree::{COVER_MAX, DEPTH, EPOCHS, GenerationSecret, TreeNode, TreeNodes};
use pulsegate_ipfs::wrapping::DecryptionKey;
use pulsegate_rules::{Category, Epoch, Generation, Principal};

/// Windows anywhere in the tree, small and wide, and close to its ends.
fn windows() -> impl Strategy<Value = (u32, u32)> {
    let anywhere = (0..EPOCHS, 0..EPOCHS).prop_map(|(a, b)| (a.min(b), a.max(b) + 1));
    let short = (0..EPOCHS, 1..2_000u32).prop_map(|(from, length)| (from, from.saturating_add(length).min(EPOCHS)));
    let at_an_end = (1..5_000u32).prop_flat_map(|n| prop_oneof![Just((0, n)), Just((EPOCHS - n, EPOCHS))]);
    let aligned = (0..=24u32, any::<u32>()).prop_map(|(bits, place)| {
        let width = 1u32 << bits;
        let from = place % (EPOCHS / width) * width;
        (from, from + width)
    });
    prop_oneof![anywhere, short, at_an_end, aligned]
}

/// The epochs under the nodes, as ranges by time.
fn ranges(nodes: &TreeNodes) -> Vec<(u32, u32)> {
    let width = |node: &TreeNode| 1u32 << (DEPTH - node.depth());
    nodes.nodes().iter().map(|node| (node.first_epoch().0, node.first_epoch().0 + width(node))).collect()
}

#[test]
fn a_windows_keys_open_exactly_that_window() {
    let root = GenerationSecret::random().stream_root(Category::VitalSigns);
    seeded::check(400, &(windows(), any::<[u32; 8]>()), |((from, until), places)| {
        let nodes = root.cover(Epoch(from), Epoch(until)).unwrap();
        prop_assert!(nodes.nodes().len() <= COVER_MAX);
        // The nodes lie side by side from the first to the last epoch: nothing missing, nothing twice, nothing outside.
        let ranges = ranges(&nodes);
        prop_assert_eq!(ranges[0].0, from);
        prop_assert_eq!(ranges[ranges.len() - 1].1, until);
        prop_assert!(ranges.windows(2).all(|pair| pair[0].1 == pair[1].0));
        // Inside, every seed is the root's own.
        let inside = places.iter().map(|place| from + place % (until - from)).chain([from, until - 1]);
        for epoch in inside.map(Epoch) {
            prop_assert!(nodes.leaf(epoch).unwrap() == root.leaf(epoch).unwrap());
        }
        // Outside, there is none.
        let outside = places.iter().map(|place| place % EPOCHS).chain([until, u32::MAX, EPOCHS]);
        for epoch in outside.chain(from.checked_sub(1)).filter(|epoch| !(from..until).contains(epoch)).map(Epoch) {
            prop_assert_eq!(nodes.leaf(epoch).err(), Some(SealError::EpochNotCovered { epoch }));
        }
        Ok(())
    });
}

#[test]
fn every_small_window_opens_exactly_itself() {
    let root = GenerationSecret::random().stream_root(Category::Ecg);
    for from in 0..24 {
        for until in from + 1..=24 {
            let nodes = root.cover(Epoch(from), Epoch(until)).unwrap();
            for epoch in 0..32 {
                assert_eq!(nodes.leaf(Epoch(epoch)).is_ok(), (from..until).contains(&epoch));
            }
        }
    }
}

#[test]
fn wrapped_grants_open_exactly_their_windows() {
    let secrets = [GenerationSecret::random(), GenerationSecret::random()];
    let generations = [(Generation(0), &secrets[0]), (Generation(1), &secrets[1])];
    let (patient, grantee) = (Principal([1; 32]), Principal([2; 32]));
    let key = DecryptionKey::x25519_from_seed(&[7; 32]);
    let public = key.public_key().unwrap();
    seeded::check(40, &(windows(), 0..EPOCHS), |((from, until), epoch)| {
        let categories = [Category::VitalSigns, Category::Laboratory];
        let keys = GrantKeys::collect(patient, grantee, &generations, categories, Epoch(from), Epoch(until)).unwrap();
        let block = keys.wrap_for(&public).unwrap();
        let opened = GrantKeys::open(&block, &key, patient, grantee).unwrap();
        for (generation, secret) in &generations {
            for category in categories {
                let leaf = opened.leaf(*generation, category, Epoch(epoch));
                prop_assert_eq!(leaf.is_ok(), (from..until).contains(&epoch));
                if let Ok(leaf) = leaf {
                    prop_assert!(leaf == secret.stream_root(category).leaf(Epoch(epoch)).unwrap());
                }
            }
            let other = opened.leaf(*generation, Category::Ecg, Epoch(from)).err();
            prop_assert_eq!(other.map(|error| error.code()), Some("STREAM_NOT_COVERED"));
        }
        Ok(())
    });
}

#[test]
fn streams_and_generations_share_no_seed() {
    let (first, second) = (GenerationSecret::random(), GenerationSecret::random());
    let mut keys = Vec::new();
    for secret in [&first, &second] {
        for category in Category::ALL {
            for epoch in [0, 1, EPOCHS - 1] {
                keys.push(secret.stream_root(*category).leaf(Epoch(epoch)).unwrap().public_key());
            }
        }
    }
    let count = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), count);
}
