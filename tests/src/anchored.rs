//! What the chain says was anchored, read with nothing but the chain and the blocks, as any outsider would.

use std::collections::BTreeMap;

use pulsegate_ipfs::block::cid_from_bytes;
use pulsegate_ipfs::manifest::{Leaf, Manifest, RecordLeaf};
use pulsegate_ipfs::store::BlockStore;
use pulsegate_ledger::Contracts;
use pulsegate_rules::records::BatchKind;

/// Every record leaf of every oracle's chain of batches, in order, with each batch checked against its header.
///
/// # Panics
/// When a batch is missing, its manifest does not fit its header, or the chain of batches is broken.
pub async fn records(contracts: &Contracts, blocks: &dyn BlockStore) -> Vec<RecordLeaf> {
    let mut leaves = Vec::new();
    for oracle in contracts.records.oracles_seen(0, 32).await.expect("the chain answers") {
        let head = contracts.records.head(oracle, BatchKind::Records).await.expect("the chain answers");
        let mut previous = [0; 32];
        for sequence in 1..=head.sequence {
            let batch = contracts.records.batch(oracle, BatchKind::Records, sequence).await.expect("the chain answers");
            let header = batch.expect("batches are numbered without a gap").header;
            assert_eq!(header.previous, previous, "batch {sequence} does not follow the one before");
            previous = header.digest();
            let cid = cid_from_bytes(&header.manifest).expect("the contract takes CIDs alone");
            let block = blocks.get(&cid).await.expect("the manifest is stored");
            let manifest = Manifest::from_block(&block).expect("the manifest decodes");
            manifest.check_against(&header).expect("the manifest is the one that was anchored");
            leaves.extend(manifest.leaves.into_iter().filter_map(|leaf| match leaf {
                Leaf::Record(leaf) => Some(leaf),
                Leaf::Receipt(_) => None,
            }));
        }
        assert_eq!(head.digest, previous, "the head names the newest batch");
    }
    leaves
}

/// How often each reading, by the hash of its signed bytes, was anchored.
#[must_use]
pub fn times_anchored(leaves: &[RecordLeaf]) -> BTreeMap<[u8; 32], usize> {
    let mut times = BTreeMap::new();
    for leaf in leaves {
        *times.entry(leaf.link).or_default() += 1;
    }
    times
}
