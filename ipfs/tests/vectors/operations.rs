//! What a vector can ask for. Bytes are hex; `{"zeros": n}` stands for n zero bytes.

use pulsegate_ipfs::block::{cid_bytes, cid_from_bytes, cid_from_text};
use pulsegate_ipfs::car::{self, Limits};
use pulsegate_ipfs::directory::EpochKeyDirectory;
use pulsegate_ipfs::grant_keys::GrantKeys;
use pulsegate_ipfs::key_tree::{GenerationSecret, LeafSeed, TreeNode};
use pulsegate_ipfs::manifest::Manifest;
use pulsegate_ipfs::merkle::{self, InclusionProof};
use pulsegate_ipfs::record::{self, EpochShare, SealingWindow};
use pulsegate_ipfs::wrapping::{DecryptionKey, wrap};
use pulsegate_ipfs::{Block, SealError};
use pulsegate_rules::records::BatchHeader;
use pulsegate_rules::registry::PublicKey;
use pulsegate_rules::{Category, CidBytes, DeviceId, Epoch, Generation, StreamId};
use serde::de::DeserializeOwned;
use serde_bytes::ByteArray;
use serde_json::Value;

fn bytes(value: &Value) -> Vec<u8> {
    match value["zeros"].as_u64() {
        Some(count) => vec![0; count as usize],
        None => hex::decode(value.as_str().expect("hex")).expect("hex"),
    }
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().expect("the length of the field")
}

fn number(value: &Value) -> u32 {
    value.as_u64().expect("a number").try_into().expect("32 bits")
}

/// Identities and registered keys, in their own JSON form.
fn json<T: DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).expect("the field's JSON form")
}

fn block(value: &Value) -> Block {
    Block::from_bytes(0x71, bytes(value)).expect("a vector's block is within the limit")
}

/// Runs the operation of a vector.
pub(crate) fn run(vector: &Value) -> Result<(), SealError> {
    let input = &vector["input"];
    match vector["operation"].as_str().expect("an operation") {
        "block" => Block::from_bytes(input["codec"].as_u64().unwrap(), bytes(&input["bytes"])).map(drop),
        "verified-block" => {
            Block::verified(&input["cid"].as_str().unwrap().parse().unwrap(), bytes(&input["bytes"])).map(drop)
        }
        "links" => block(&input["block"]).links().map(drop),
        "cid-text" => cid_from_text(input["text"].as_str().unwrap()).map(drop),
        "cid-bytes" => {
            let claimed = CidBytes(array(&input["bytes"]));
            assert_eq!(cid_bytes(&cid_from_bytes(&claimed)?)?, claimed);
            Ok(())
        }
        "car" => car::read(&bytes(&input["car"]), Limits::default()).map(drop),
        "complete-car" => car::read_complete(&bytes(&input["car"]), Limits::default()).map(drop),
        "cover" => {
            let root = GenerationSecret::from_bytes(array(&input["secret"])).stream_root(Category::VitalSigns);
            root.cover(Epoch(number(&input["from"])), Epoch(number(&input["until"]))).map(drop)
        }
        "tree-node" => TreeNode::from_parts(number(&input["depth"]) as u8, number(&input["index"]), [0; 32]).map(drop),
        "wrap" => wrap(&json::<PublicKey>(&input["key"]), b"purpose", b"context", b"secret").map(drop),
        "rsa-key" => DecryptionKey::rsa_from_pkcs8(&bytes(&input["pkcs8"])).map(drop),
        "grant-keys" => grant_keys(input),
        "directory" => directory(input),
        "seal" => seal(input),
        "record" => open_record(input),
        "manifest" => Manifest::from_block(&block(&input["block"])).map(drop),
        "batch" => {
            let header: BatchHeader = json(&input["header"]);
            Manifest::from_block(&block(&input["block"]))?.check_against(&header)
        }
        "proof" => {
            let hashes = input["proof"].as_array().unwrap().iter().map(|hash| ByteArray::new(array(hash)));
            let (index, count) = (number(&input["index"]) as usize, number(&input["count"]) as usize);
            let leaf = merkle::leaf_hash(&bytes(&input["leaf"]));
            merkle::verify(&array(&input["root"]), index, count, &leaf, &InclusionProof(hashes.collect()))
        }
        other => panic!("unknown operation {other}"),
    }
}

fn grant_keys(input: &Value) -> Result<(), SealError> {
    let key = match input["pkcs8"].as_str() {
        Some(_) => DecryptionKey::rsa_from_pkcs8(&bytes(&input["pkcs8"]))?,
        None => DecryptionKey::x25519_from_seed(&array(&input["seed"])),
    };
    let (patient, grantee) = (json(&input["patient"]), json(&input["grantee"]));
    let keys = GrantKeys::open(&block(&input["block"]), &key, patient, grantee)?;
    let category = json(&input["category"]);
    let leaf = keys.leaf(Generation(number(&input["generation"])), category, Epoch(number(&input["epoch"])))?;
    assert_eq!(leaf.expose(), &array(&input["leaf"]), "the seed is another one");
    Ok(())
}

fn directory(input: &Value) -> Result<(), SealError> {
    let generation = Generation(number(&input["generation"]));
    let key: PublicKey = json(&input["key"]);
    let directory = EpochKeyDirectory::open(&block(&input["block"]), &key, &json(&input["patient"]), generation)?;
    let (category, epoch) = (json(&input["category"]), Epoch(number(&input["epoch"])));
    assert_eq!(directory.public_key(category, epoch), Some(array(&input["public-key"])), "the key is another one");
    Ok(())
}

fn seal(input: &Value) -> Result<(), SealError> {
    let stream: StreamId = json(&input["stream"]);
    let window = SealingWindow::new(stream, Generation(0), Epoch(1), &array(&input["public-key"]))?;
    let mut header = window.header(DeviceId([3; 32]), 1);
    header.epoch = Epoch(number(&input["header-epoch"]));
    header.version = number(&input["version"]) as u8;
    record::seal(&window, &EpochShare::random(), &header, &bytes(&input["payload"])).map(drop)
}

fn open_record(input: &Value) -> Result<(), SealError> {
    let leaf = LeafSeed::from_bytes(array(&input["leaf"]));
    let share = EpochShare::from_bytes(array(&input["share"]));
    let (header, payload) = record::open(&block(&input["block"]), &leaf, &share)?;
    assert_eq!(*payload, bytes(&input["payload"]), "the payload is another one");
    assert_eq!(header.sequence, u64::from(number(&input["sequence"])));
    Ok(())
}
