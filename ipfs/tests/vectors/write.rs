//! Makes the vectors: a valid object of each kind, and each with one defect.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use ipld_core::ipld::Ipld;
use pulsegate_ipfs::block::{CODEC_RAW, cid_bytes};
use pulsegate_ipfs::directory::EpochKeyDirectory;
use pulsegate_ipfs::grant_keys::GrantKeys;
use pulsegate_ipfs::key_tree::{EPOCHS, GenerationSecret};
use pulsegate_ipfs::manifest::{Leaf, Manifest, ReceiptLeaf, RecordLeaf};
use pulsegate_ipfs::record::{self, EpochShare, PAYLOAD_BYTES_MAX, SealingWindow};
use pulsegate_ipfs::signing::{CONTEXT_DIRECTORY, SigningKey};
use pulsegate_ipfs::wrapping::DecryptionKey;
use pulsegate_ipfs::{Block, car, merkle};
use pulsegate_rules::records::{BatchHeader, BatchKind};
use pulsegate_rules::registry::{KeyAlgorithm, PublicKey};
use pulsegate_rules::{Category, DeviceId, Epoch, Generation, ModelId, Principal, StreamId};
use serde_json::{Value, json};

const PATIENT: Principal = Principal([1; 32]);
const GRANTEE: Principal = Principal([2; 32]);
const EPOCH: Epoch = Epoch(470_000);

/// Collects vectors under their names.
#[derive(Default)]
struct Vectors(Vec<(String, Value)>);

impl Vectors {
    fn add(&mut self, name: &str, code: &str, operation: &str, input: &Value) {
        let vector = json!({ "code": code, "operation": operation, "input": input });
        self.0.push((name.to_owned(), vector));
    }

    /// The input with some fields replaced.
    fn vary(&mut self, name: &str, code: &str, operation: &str, input: &Value, changes: &[(&str, Value)]) {
        let mut input = input.clone();
        for (field, value) in changes {
            input[*field] = value.clone();
        }
        self.add(name, code, operation, &input);
    }
}

/// Every vector with its name.
pub(crate) fn vectors() -> Vec<(String, Value)> {
    let mut vectors = Vectors::default();
    blocks(&mut vectors);
    cars(&mut vectors);
    keys(&mut vectors);
    grants(&mut vectors);
    directories(&mut vectors);
    records(&mut vectors);
    manifests(&mut vectors);
    proofs(&mut vectors);
    vectors.0
}

fn hex_of(bytes: impl AsRef<[u8]>) -> Value {
    Value::String(hex::encode(bytes))
}

/// The block with a change to its decoded form, encoded again.
fn edit(bytes: &[u8], change: impl FnOnce(&mut Ipld)) -> Vec<u8> {
    let mut value: Ipld = serde_ipld_dagcbor::from_slice(bytes).unwrap();
    change(&mut value);
    serde_ipld_dagcbor::to_vec(&value).unwrap()
}

fn field<'a>(value: &'a mut Ipld, name: &str) -> &'a mut Ipld {
    match value {
        Ipld::Map(map) => map.get_mut(name).unwrap(),
        _ => panic!("not a map"),
    }
}

fn set(name: &'static str, to: Ipld) -> impl FnOnce(&mut Ipld) {
    move |value| match value {
        Ipld::Map(map) => drop(map.insert(name.to_owned(), to)),
        _ => panic!("not a map"),
    }
}

fn flip(value: &mut Ipld) {
    match value {
        Ipld::Bytes(bytes) => bytes[0] ^= 1,
        _ => panic!("not bytes"),
    }
}

fn trailing(bytes: &[u8]) -> Vec<u8> {
    [bytes, &[0]].concat()
}

fn blocks(vectors: &mut Vectors) {
    let block = Block::from_bytes(CODEC_RAW, &b"pulsegate"[..]).unwrap();
    let input = json!({ "cid": block.cid.to_string(), "bytes": hex_of(&block.bytes) });
    vectors.add("valid-raw-block", "OK", "verified-block", &input);
    vectors.vary("block-bytes-changed", "WRONG_CID", "verified-block", &input, &[("bytes", hex_of(b"pulsegato"))]);
    let dag_pb = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";
    vectors.vary("block-cid-of-dag-pb", "UNSUPPORTED_CID", "verified-block", &input, &[("cid", json!(dag_pb))]);
    let too_large = json!({ "codec": CODEC_RAW, "bytes": { "zeros": (1 << 20) + 1 } });
    vectors.add("block-one-byte-too-large", "BLOCK_TOO_LARGE", "block", &too_large);
    vectors.vary("valid-largest-block", "OK", "block", &too_large, &[("bytes", json!({ "zeros": 1 << 20 }))]);
    let odd_codec = json!({ "codec": 0x0129, "bytes": "00" });
    vectors.add("block-codec-unknown", "UNSUPPORTED_CID", "block", &odd_codec);

    let links = |bytes: &[u8]| json!({ "block": hex_of(bytes) });
    vectors.add("valid-links", "OK", "links", &links(&Block::dag_cbor(&[block.cid]).unwrap().bytes));
    vectors.add("links-not-cbor", "MALFORMED_OBJECT", "links", &links(&[0xFF]));
    vectors.add("links-nested-without-end", "MALFORMED_OBJECT", "links", &links(&[0x81; 10_000]));

    vectors.add("cid-text-not-a-cid", "MALFORMED_CID", "cid-text", &json!({ "text": "../../etc/passwd" }));
    vectors.add("cid-text-empty", "MALFORMED_CID", "cid-text", &json!({ "text": "" }));
    let v0 = "QmXdNSQx7nbdRvkjGCEQgVjVtVwsHvV8NmV2a8xzQVwuFA";
    vectors.add("cid-text-version-zero", "UNSUPPORTED_CID", "cid-text", &json!({ "text": v0 }));
    vectors.add("valid-cid-text", "OK", "cid-text", &json!({ "text": block.cid.to_string() }));
    let good = cid_bytes(&block.cid).unwrap().0;
    vectors.add("valid-cid-bytes", "OK", "cid-bytes", &json!({ "bytes": hex_of(good) }));
    vectors.add("cid-bytes-of-nothing", "MALFORMED_CID", "cid-bytes", &json!({ "bytes": hex_of([0xFF; 36]) }));
    let mut other_hash = good;
    other_hash[2] = 0x1E;
    vectors.add("cid-bytes-over-another-hash", "UNSUPPORTED_CID", "cid-bytes", &json!({ "bytes": hex_of(other_hash) }));
}

fn cars(vectors: &mut Vectors) {
    let leaf = Block::from_bytes(CODEC_RAW, &b"leaf"[..]).unwrap();
    let root = Block::dag_cbor(&[leaf.cid]).unwrap();
    let good = car::write(&[root.cid], &[root.clone(), leaf.clone()]).unwrap();
    let mut add = |name: &str, code: &str, car: &[u8]| vectors.add(name, code, "car", &json!({ "car": hex_of(car) }));
    add("valid-car", "OK", &good);
    add("car-empty", "MALFORMED_CAR", &[]);
    add("car-ends-within-a-block", "MALFORMED_CAR", &good[..good.len() - 1]);
    add("car-trailing-zero", "MALFORMED_CAR", &trailing(&good));
    add("car-trailing-length", "MALFORMED_CAR", &[&good[..], &[0x85]].concat());
    add("car-length-longer-than-needed", "MALFORMED_CAR", &[&good[..], &[0x81, 0x00]].concat());
    add("car-length-of-ten-bytes", "MALFORMED_CAR", &[&good[..], &[0xFF; 10]].concat());
    add("car-block-claims-two-mebibytes", "BLOCK_TOO_LARGE", &[&good[..], &[0x80, 0x80, 0x80, 0x01]].concat());
    add("car-block-of-another-cid", "WRONG_CID", &[&good[..good.len() - 1], b"F"].concat());
    add("car-block-without-a-cid", "MALFORMED_CID", &[&good[..], &[0x02, 0xFF, 0xFF]].concat());
    add("car-header-not-cbor", "MALFORMED_OBJECT", &[0x01, 0xFF]);
    let sha512 = [&[0x01, 0x55, 0x13, 0x40][..], &[0; 64], b"x"].concat();
    add("car-block-over-another-hash", "UNSUPPORTED_CID", &[&good[..], &[69], &sha512].concat());

    let header = &good[1..=good[0] as usize];
    let with_header = |header: &[u8]| {
        let mut length = header.len();
        let mut car = Vec::new();
        while length >= 0x80 {
            car.push((length & 0x7F) as u8 | 0x80);
            length >>= 7;
        }
        car.push(length as u8);
        [&car, header].concat()
    };
    add("car-version-two", "UNSUPPORTED_VERSION", &with_header(&edit(header, set("version", Ipld::Integer(2)))));
    let unsorted = [&[0xA2, 0x67], &b"version"[..], &[0x01, 0x65], b"roots", &[0x80]].concat();
    add("car-header-keys-out-of-order", "NOT_CANONICAL", &with_header(&unsorted));
    let roots = Ipld::List(vec![Ipld::Link(root.cid); 65]);
    add("car-too-many-roots", "TOO_MANY", &with_header(&edit(header, set("roots", roots))));
    vectors.add(
        "car-root-not-in-it",
        "MISSING_ROOT",
        "complete-car",
        &json!({
            "car": hex_of(car::write(&[root.cid], std::slice::from_ref(&leaf)).unwrap())
        }),
    );
}

fn keys(vectors: &mut Vectors) {
    let secret = hex_of([5; 32]);
    let cover = json!({ "secret": secret, "from": 10, "until": 20 });
    vectors.add("valid-window", "OK", "cover", &cover);
    vectors.vary("window-empty", "INVALID_WINDOW", "cover", &cover, &[("until", json!(10))]);
    vectors.vary("window-backwards", "INVALID_WINDOW", "cover", &cover, &[("until", json!(9))]);
    vectors.vary("window-past-the-tree", "INVALID_WINDOW", "cover", &cover, &[("until", json!(EPOCHS + 1))]);
    vectors.add("tree-node-beside-the-tree", "MALFORMED_OBJECT", "tree-node", &json!({ "depth": 3, "index": 8 }));
    vectors.add("tree-node-below-the-leaves", "MALFORMED_OBJECT", "tree-node", &json!({ "depth": 25, "index": 0 }));

    let mut wrap = |name: &str, code: &str, algorithm, bytes: &[u8]| {
        let key = PublicKey { algorithm, bytes: bytes.to_vec() };
        vectors.add(name, code, "wrap", &json!({ "key": key }));
    };
    let x25519 = DecryptionKey::x25519_from_seed(&[7; 32]).public_key().unwrap();
    wrap("valid-wrapping-key", "OK", x25519.algorithm, &x25519.bytes);
    wrap("wrapping-key-of-low-order", "INVALID_KEY", x25519.algorithm, &[0; 32]);
    wrap("wrapping-key-too-short", "INVALID_KEY", x25519.algorithm, &x25519.bytes[1..]);
    wrap("wrapping-key-for-signing", "WRONG_ALGORITHM", KeyAlgorithm::Ed25519, &x25519.bytes);
    wrap("wrapping-key-not-rsa", "INVALID_KEY", KeyAlgorithm::RsaOaepSha256, &x25519.bytes);
    let short = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
    let public: PublicKeyX509Der<'_> = short.public_key().as_der().unwrap();
    wrap("wrapping-key-rsa-2048", "INVALID_KEY", KeyAlgorithm::RsaOaepSha256, public.as_ref());
    let private: Pkcs8V1Der<'_> = short.as_der().unwrap();
    vectors.add("private-key-rsa-2048", "INVALID_KEY", "rsa-key", &json!({ "pkcs8": hex_of(private.as_ref()) }));
}

fn grants(vectors: &mut Vectors) {
    let secret = GenerationSecret::from_bytes([5; 32]);
    let key = DecryptionKey::x25519_from_seed(&[7; 32]);
    let until = Epoch(EPOCH.0 + 24);
    let keys = GrantKeys::collect(PATIENT, GRANTEE, &[(Generation(0), &secret)], [Category::VitalSigns], EPOCH, until)
        .unwrap();
    let block = keys.wrap_for(&key.public_key().unwrap()).unwrap();
    let leaf = secret.stream_root(Category::VitalSigns).leaf(EPOCH).unwrap();
    let input = json!({
        "block": hex_of(&block.bytes), "seed": hex_of([7; 32]), "patient": PATIENT, "grantee": GRANTEE,
        "generation": 0, "category": Category::VitalSigns, "epoch": EPOCH, "leaf": hex_of(leaf.expose()),
    });
    let mut vary = |name: &str, code: &str, changes: &[(&str, Value)]| {
        vectors.vary(name, code, "grant-keys", &input, changes);
    };
    vary("valid-grant-keys", "OK", &[]);
    vary("grant-keys-wrong-key", "CANNOT_OPEN", &[("seed", hex_of([8; 32]))]);
    vary("grant-keys-of-another-patient", "CANNOT_OPEN", &[("patient", json!(GRANTEE))]);
    vary("grant-keys-of-another-grantee", "CANNOT_OPEN", &[("grantee", json!(PATIENT))]);
    vary("grant-keys-epoch-before-window", "EPOCH_NOT_COVERED", &[("epoch", json!(EPOCH.0 - 1))]);
    vary("grant-keys-epoch-after-window", "EPOCH_NOT_COVERED", &[("epoch", json!(until))]);
    vary("grant-keys-other-category", "STREAM_NOT_COVERED", &[("category", json!(Category::Ecg))]);
    vary("grant-keys-other-generation", "STREAM_NOT_COVERED", &[("generation", json!(1))]);
    let mut edited = |name: &str, code: &str, bytes: Vec<u8>| vary(name, code, &[("block", hex_of(bytes))]);
    let changed = edit(&block.bytes, |value| flip(field(field(value, "envelope"), "ciphertext")));
    edited("grant-keys-tampered", "CANNOT_OPEN", changed);
    let rsa = edit(&block.bytes, |value| {
        set("alg", Ipld::String("rsa-oaep-sha256".to_owned()))(field(value, "envelope"));
    });
    edited("grant-keys-for-an-rsa-key", "WRONG_ALGORITHM", rsa);
    edited("grant-keys-version-two", "UNSUPPORTED_VERSION", edit(&block.bytes, set("v", Ipld::Integer(2))));
    edited("grant-keys-unknown-field", "MALFORMED_OBJECT", edit(&block.bytes, set("note", Ipld::Null)));
    edited("grant-keys-trailing-byte", "MALFORMED_OBJECT", trailing(&block.bytes));
}

fn directories(vectors: &mut Vectors) {
    let secret = GenerationSecret::from_bytes([5; 32]);
    let signing = SigningKey::ed25519_from_seed(&[9; 32]);
    let categories = [Category::VitalSigns, Category::Ecg];
    let directory = EpochKeyDirectory::build(&secret, PATIENT, Generation(0), &categories, EPOCH, 3).unwrap();
    let block = directory.sign(&signing).unwrap();
    let other = SigningKey::ed25519_from_seed(&[10; 32]).public_key().unwrap();
    let input = json!({
        "block": hex_of(&block.bytes), "key": signing.public_key().unwrap(), "patient": PATIENT, "generation": 0,
        "category": Category::Ecg, "epoch": EPOCH.0 + 2,
        "public-key": hex_of(directory.public_key(Category::Ecg, Epoch(EPOCH.0 + 2)).unwrap()),
    });
    let mut vary = |name: &str, code: &str, changes: &[(&str, Value)]| {
        vectors.vary(name, code, "directory", &input, changes);
    };
    vary("valid-directory", "OK", &[]);
    vary("directory-signed-by-another", "INVALID_SIGNATURE", &[("key", json!(other))]);
    vary("directory-of-another-patient", "MISMATCH", &[("patient", json!(GRANTEE))]);
    vary("directory-of-another-generation", "MISMATCH", &[("generation", json!(1))]);
    let weak = PublicKey { algorithm: KeyAlgorithm::Ed25519, bytes: vec![0; 32] };
    vary("directory-key-of-low-order", "INVALID_KEY", &[("key", json!(weak))]);
    let encryption = DecryptionKey::x25519_from_seed(&[7; 32]).public_key().unwrap();
    vary("directory-key-for-encryption", "WRONG_ALGORITHM", &[("key", json!(encryption))]);
    let mut edited = |name: &str, code: &str, bytes: Vec<u8>| vary(name, code, &[("block", hex_of(bytes))]);
    let changed = edit(&block.bytes, |value| match field(value, "keys") {
        Ipld::Bytes(bytes) => *bytes.last_mut().unwrap() ^= 1,
        _ => panic!("not bytes"),
    });
    edited("directory-key-changed", "INVALID_SIGNATURE", changed);
    edited("directory-version-two", "UNSUPPORTED_VERSION", edit(&block.bytes, set("v", Ipld::Integer(2))));
    // The patient's own software at fault: signed, but not well formed.
    let resigned = |change: &dyn Fn(&mut Ipld)| {
        edit(&block.bytes, |value| {
            let keys = match field(value, "keys") {
                Ipld::Bytes(bytes) => edit(bytes, change),
                _ => panic!("not bytes"),
            };
            let signature = signing.sign(CONTEXT_DIRECTORY, &keys).unwrap();
            set("keys", Ipld::Bytes(keys))(value);
            set("signature", Ipld::Bytes(signature))(value);
        })
    };
    let streams = |value: &mut Ipld, change: &dyn Fn(&mut Vec<Ipld>)| match field(value, "streams") {
        Ipld::List(streams) => change(streams),
        _ => panic!("not a list"),
    };
    let reversed = resigned(&|value| streams(value, &|streams| streams.reverse()));
    edited("directory-streams-out-of-order", "NOT_CANONICAL", reversed);
    let twice = resigned(&|value| streams(value, &|streams| streams[1] = streams[0].clone()));
    edited("directory-stream-twice", "NOT_CANONICAL", twice);
    let partial = resigned(&|value| {
        streams(value, &|streams| set("keys", Ipld::Bytes(vec![1; 33]))(&mut streams[0]));
    });
    edited("directory-key-of-one-byte", "MALFORMED_OBJECT", partial);
    let empty = resigned(&|value| streams(value, &|streams| set("keys", Ipld::Bytes(Vec::new()))(&mut streams[0])));
    edited("directory-stream-without-keys", "INVALID_WINDOW", empty);
}

fn records(vectors: &mut Vectors) {
    let stream = StreamId::of(&PATIENT, Category::VitalSigns);
    let leaf = GenerationSecret::from_bytes([5; 32]).stream_root(Category::VitalSigns).leaf(EPOCH).unwrap();
    let share = EpochShare::from_bytes([6; 32]);
    let window = SealingWindow::new(stream, Generation(0), EPOCH, &leaf.public_key()).unwrap();
    let payload = b"72 beats per minute";
    let block = record::seal(&window, &share, &window.header(DeviceId([3; 32]), 41), payload).unwrap();
    let input = json!({
        "block": hex_of(&block.bytes), "leaf": hex_of(leaf.expose()), "share": hex_of(share.expose()),
        "payload": hex_of(payload), "sequence": 41,
    });
    let mut vary = |name: &str, code: &str, changes: &[(&str, Value)]| {
        vectors.vary(name, code, "record", &input, changes);
    };
    vary("valid-record", "OK", &[]);
    vary("record-wrong-leaf", "CANNOT_OPEN", &[("leaf", hex_of([0; 32]))]);
    vary("record-wrong-share", "CANNOT_OPEN", &[("share", hex_of([0; 32]))]);
    let mut edited = |name: &str, code: &str, bytes: Vec<u8>| vary(name, code, &[("block", hex_of(bytes))]);
    let in_header = |change: &dyn Fn(&mut Ipld)| edit(&block.bytes, |value| change(field(value, "header")));
    let to = |name: &'static str, value: i128| move |header: &mut Ipld| set(name, Ipld::Integer(value))(header);
    edited("record-ciphertext-changed", "CANNOT_OPEN", edit(&block.bytes, |value| flip(field(value, "ciphertext"))));
    edited("record-device-changed", "CANNOT_OPEN", in_header(&|header| flip(field(header, "device"))));
    edited("record-stream-changed", "CANNOT_OPEN", in_header(&|header| flip(field(header, "stream"))));
    edited("record-enc-changed", "CANNOT_OPEN", in_header(&|header| flip(field(header, "enc"))));
    edited("record-salt-changed", "CANNOT_OPEN", in_header(&|header| flip(field(header, "salt"))));
    edited("record-epoch-changed", "CANNOT_OPEN", in_header(&to("epoch", i128::from(EPOCH.0) + 1)));
    edited("record-sequence-changed", "CANNOT_OPEN", in_header(&to("sequence", 42)));
    edited("record-version-two", "UNSUPPORTED_VERSION", in_header(&to("v", 2)));
    edited("record-unknown-field", "MALFORMED_OBJECT", in_header(&to("note", 1)));
    edited("record-trailing-byte", "MALFORMED_OBJECT", trailing(&block.bytes));
    edited("record-cut-short", "MALFORMED_OBJECT", block.bytes[..block.bytes.len() - 1].to_vec());
    // Key "v" with value 1: the same number in two bytes where one is enough.
    let place = block.bytes.windows(3).position(|bytes| bytes == [0x61, b'v', 0x01]).unwrap() + 2;
    let longer = [&block.bytes[..place], &[0x18], &block.bytes[place..]].concat();
    edited("record-number-longer-than-needed", "NOT_CANONICAL", longer);

    let seal = json!({
        "stream": stream, "public-key": hex_of(leaf.public_key()), "header-epoch": 1, "version": 1, "payload": "00",
    });
    let mut vary = |name: &str, code: &str, changes: &[(&str, Value)]| vectors.vary(name, code, "seal", &seal, changes);
    vary("valid-seal", "OK", &[]);
    vary("seal-header-of-another-epoch", "MISMATCH", &[("header-epoch", json!(2))]);
    vary("seal-header-of-another-version", "UNSUPPORTED_VERSION", &[("version", json!(2))]);
    vary("seal-to-a-key-of-low-order", "INVALID_KEY", &[("public-key", hex_of([0; 32]))]);
    vary("seal-payload-too-long", "TOO_MANY", &[("payload", json!({ "zeros": PAYLOAD_BYTES_MAX + 1 }))]);
}

fn manifests(vectors: &mut Vectors) {
    let record = |sequence: u64| {
        Leaf::Record(RecordLeaf {
            record: Block::from_bytes(CODEC_RAW, sequence.to_be_bytes().to_vec()).unwrap().cid,
            stream: StreamId::of(&PATIENT, Category::VitalSigns),
            generation: Generation(0),
            epoch: EPOCH,
            device: DeviceId([3; 32]),
            sequence,
            link: [sequence as u8; 32],
            previous: [sequence as u8 - 1; 32],
        })
    };
    let receipt = Leaf::Receipt(ReceiptLeaf {
        receipt: Block::from_bytes(CODEC_RAW, &b"receipt"[..]).unwrap().cid,
        patient: PATIENT,
        sequence: 1,
        digest: [8; 32],
    });
    let manifest = |kind, leaves| Manifest { kind, oracle: Principal([4; 32]), sequence: 1, leaves };
    let good = manifest(BatchKind::Records, vec![record(1), record(2), record(3)]);
    let block = good.to_block().unwrap();
    let mut add = |name: &str, code: &str, bytes: &[u8]| {
        vectors.add(name, code, "manifest", &json!({ "block": hex_of(bytes) }));
    };
    let receipts = manifest(BatchKind::Receipts, vec![receipt]).to_block().unwrap();
    add("valid-manifest", "OK", &block.bytes);
    add("valid-receipts-manifest", "OK", &receipts.bytes);
    add("manifest-empty", "EMPTY_BATCH", &edit(&block.bytes, set("leaves", Ipld::List(Vec::new()))));
    add("manifest-version-two", "UNSUPPORTED_VERSION", &edit(&block.bytes, set("v", Ipld::Integer(2))));
    let kind = |bytes: &[u8], kind: &str| edit(bytes, set("kind", Ipld::String(kind.to_owned())));
    add("manifest-records-among-receipts", "WRONG_LEAF", &kind(&block.bytes, "receipts"));
    add("manifest-receipt-among-records", "WRONG_LEAF", &kind(&receipts.bytes, "records"));
    add("manifest-three-critical-leaves", "TOO_MANY", &kind(&block.bytes, "critical"));
    add("manifest-kind-unknown", "MALFORMED_OBJECT", &kind(&block.bytes, "letters"));
    add("manifest-trailing-byte", "MALFORMED_OBJECT", &trailing(&block.bytes));

    let header = BatchHeader {
        kind: BatchKind::Records,
        oracle: good.oracle,
        sequence: 1,
        previous: [0; 32],
        merkle_root: good.merkle_root().unwrap(),
        manifest: cid_bytes(&block.cid).unwrap(),
        count: 3,
        model: ModelId([0; 32]),
        oracle_set: 1,
        closed_at_ms: 0,
    };
    let mut batch = |name: &str, code: &str, header: &BatchHeader, manifest: &Manifest| {
        let block = manifest.to_block().unwrap();
        vectors.add(name, code, "batch", &json!({ "block": hex_of(&block.bytes), "header": header }));
    };
    batch("valid-batch", "OK", &header, &good);
    let leaves = |leaves| Manifest { leaves, ..good.clone() };
    batch("batch-leaf-withheld", "MISMATCH", &header, &leaves(vec![record(1), record(3)]));
    batch("batch-leaves-reordered", "MISMATCH", &header, &leaves(vec![record(2), record(1), record(3)]));
    batch("batch-leaf-replaced", "MISMATCH", &header, &leaves(vec![record(1), record(2), record(4)]));
    batch("batch-of-another-sequence", "MISMATCH", &header, &Manifest { sequence: 2, ..good.clone() });
    batch("batch-of-another-oracle", "MISMATCH", &header, &Manifest { oracle: PATIENT, ..good.clone() });
    let other_cid = BatchHeader { manifest: cid_bytes(&receipts.cid).unwrap(), ..header };
    batch("batch-of-another-manifest", "MISMATCH", &other_cid, &good);
}

fn proofs(vectors: &mut Vectors) {
    let leaves: Vec<_> = (0..5u8).map(|leaf| merkle::leaf_hash(&[leaf])).collect();
    let proof = |index| merkle::prove(&leaves, index).unwrap().0.iter().map(|hash| hex_of(**hash)).collect::<Vec<_>>();
    let root = hex_of(merkle::root(&leaves).unwrap());
    let input = json!({ "root": root, "index": 2, "count": 5, "leaf": "02", "proof": proof(2) });
    let mut vary = |name: &str, code: &str, changes: &[(&str, Value)]| {
        vectors.vary(name, code, "proof", &input, changes);
    };
    vary("valid-proof", "OK", &[]);
    vary("proof-of-another-leaf", "PROOF_FAILS", &[("leaf", json!("03"))]);
    vary("proof-at-another-place", "PROOF_FAILS", &[("index", json!(3))]);
    vary("proof-under-another-root", "PROOF_FAILS", &[("root", hex_of([0; 32]))]);
    vary("proof-too-short", "PROOF_FAILS", &[("proof", json!(&proof(2)[1..]))]);
    vary("proof-for-a-longer-batch", "PROOF_FAILS", &[("count", json!(9))]);
    vary("proof-past-the-end", "INDEX_OUT_OF_RANGE", &[("index", json!(5))]);
}
