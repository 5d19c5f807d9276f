//! Whatever is allowed by count also fits by size: the fullest objects are still one block each.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use pulsegate_ipfs::block::{BLOCK_BYTES_MAX, CODEC_RAW, cid_bytes, cid_from_bytes};
use pulsegate_ipfs::car::{self, Limits};
use pulsegate_ipfs::grant_keys::{GRANT_ENTRIES_MAX, GrantKeys};
use pulsegate_ipfs::key_tree::{COVER_MAX, DEPTH, EPOCHS, GenerationSecret};
use pulsegate_ipfs::manifest::{Leaf, Manifest, RecordLeaf};
use pulsegate_ipfs::wrapping::{DecryptionKey, PLAINTEXT_BYTES_MAX, wrap};
use pulsegate_ipfs::{Block, merkle};
use pulsegate_rules::records::{BATCH_COUNT_MAX, BatchHeader, BatchKind};
use pulsegate_rules::{Category, DeviceId, Epoch, Generation, ModelId, Principal, StreamId};

/// A leaf with the longest numbers.
fn leaf(number: u32) -> Leaf {
    Leaf::Record(RecordLeaf {
        record: Block::from_bytes(CODEC_RAW, number.to_be_bytes().to_vec()).unwrap().cid,
        stream: StreamId([0xFF; 32]),
        generation: Generation(u32::MAX),
        epoch: Epoch(u32::MAX),
        device: DeviceId([0xFF; 32]),
        sequence: u64::MAX,
        link: [0xFF; 32],
        previous: [0xFF; 32],
    })
}

#[test]
fn the_fullest_manifest_is_one_block_and_proves_every_leaf() {
    let leaves: Vec<Leaf> = (0..BATCH_COUNT_MAX).map(leaf).collect();
    let oracle = Principal([4; 32]);
    let mut manifest = Manifest { kind: BatchKind::Records, oracle, sequence: u64::MAX, leaves };
    let block = manifest.to_block().unwrap();
    assert!(block.bytes.len() < BLOCK_BYTES_MAX);
    assert_eq!(block.links().unwrap().len(), BATCH_COUNT_MAX as usize);
    assert_eq!(Manifest::from_block(&block).unwrap(), manifest);
    let header = BatchHeader {
        kind: BatchKind::Records,
        oracle,
        sequence: u64::MAX,
        previous: [0; 32],
        merkle_root: manifest.merkle_root().unwrap(),
        manifest: cid_bytes(&block.cid).unwrap(),
        count: BATCH_COUNT_MAX,
        model: ModelId([0; 32]),
        oracle_set: 1,
        closed_at_ms: 0,
    };
    manifest.check_against(&header).unwrap();
    assert_eq!(cid_from_bytes(&header.manifest).unwrap(), block.cid);
    for index in [0, 1, 2_047, 2_048, 4_095] {
        let proof = manifest.inclusion_proof(index).unwrap();
        let hash = manifest.leaves[index].hash().unwrap();
        merkle::verify(&header.merkle_root, index, header.count as usize, &hash, &proof).unwrap();
    }
    manifest.leaves.push(leaf(0));
    assert_eq!(manifest.to_block().unwrap_err().code(), "TOO_MANY");
}

#[test]
fn the_fullest_grant_is_one_block() {
    let secrets: Vec<GenerationSecret> = (0..=GRANT_ENTRIES_MAX).map(|_| GenerationSecret::random()).collect();
    let generations: Vec<_> = (0..).map(Generation).zip(&secrets).collect();
    let key = DecryptionKey::x25519_from_seed(&[7; 32]);
    let (patient, grantee) = (Principal([1; 32]), Principal([2; 32]));
    let collect =
        |generations| GrantKeys::collect(patient, grantee, generations, [Category::Ecg], Epoch(1), Epoch(EPOCHS - 1));
    let keys = collect(&generations[..GRANT_ENTRIES_MAX]).unwrap();
    let nodes = keys.entries[0].nodes.nodes().len();
    assert!(nodes >= 2 * usize::from(DEPTH) - 2 && nodes <= COVER_MAX, "the widest cover");
    let block = keys.wrap_for(&key.public_key().unwrap()).unwrap();
    let opened = GrantKeys::open(&block, &key, patient, grantee).unwrap();
    assert!(opened.leaf(Generation(255), Category::Ecg, Epoch(EPOCHS - 2)).is_ok());
    assert_eq!(collect(&generations).err().unwrap().code(), "TOO_MANY");
}

#[test]
fn the_largest_envelope_fits_a_block() {
    let key = DecryptionKey::x25519_from_seed(&[7; 32]).public_key().unwrap();
    let envelope = wrap(&key, b"purpose", b"context", &vec![0; PLAINTEXT_BYTES_MAX]).unwrap();
    assert!(Block::dag_cbor(&envelope).is_ok());
    let too_long = wrap(&key, b"purpose", b"context", &vec![0; PLAINTEXT_BYTES_MAX + 1]);
    assert_eq!(too_long.unwrap_err().code(), "TOO_MANY");
}

#[test]
fn a_car_is_limited_in_bytes_and_blocks() {
    let blocks: Vec<Block> = (0..10u8).map(|byte| Block::from_bytes(CODEC_RAW, vec![byte; 100]).unwrap()).collect();
    let car = car::write(&[blocks[0].cid], &blocks).unwrap();
    assert_eq!(car::read(&car, Limits::default()).unwrap(), (vec![blocks[0].cid], blocks));
    let code = |bytes_max, blocks_max| car::read(&car, Limits { bytes_max, blocks_max }).unwrap_err().code();
    assert_eq!(code(car.len() - 1, 10), "TOO_MANY");
    assert_eq!(code(car.len(), 9), "TOO_MANY");
}
