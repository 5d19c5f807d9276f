//! The story of a reading: sealed under two locks, granted by window, opened, rotated; and everything that must not open.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fmt::Debug;

use pulsegate_ipfs::Block;
use pulsegate_ipfs::directory::EpochKeyDirectory;
use pulsegate_ipfs::grant_keys::{GrantEntry, GrantKeys};
use pulsegate_ipfs::key_tree::{GenerationSecret, LeafSeed, StreamRoot, TreeNode, TreeNodes};
use pulsegate_ipfs::record::{EpochShare, PADDING_BYTES, PAYLOAD_BYTES_MAX, SealingWindow, header_of, open, seal};
use pulsegate_ipfs::signing::{CONTEXT_DIRECTORY, CONTEXT_RELEASE_REQUEST, SigningKey, verify};
use pulsegate_ipfs::wrapping::{DecryptionKey, X25519Key, generate_rsa_pkcs8, unwrap, wrap};
use pulsegate_rules::{Category, DeviceId, Epoch, Generation, Principal, StreamId};

const PATIENT: Principal = Principal([1; 32]);
const DOCTOR: Principal = Principal([2; 32]);
const DEVICE: DeviceId = DeviceId([3; 32]);
const EPOCH: Epoch = Epoch(470_000);

macro_rules! assert_has_no_debug {
    ($($type:ty),+) => {$(
        const _: fn() = || {
            trait Ambiguous<A> { fn some() {} }
            impl<T: ?Sized> Ambiguous<()> for T {}
            struct HasDebug;
            impl<T: ?Sized + Debug> Ambiguous<HasDebug> for T {}
            // Two fitting implementations would leave the type open and not compile.
            let _ = <$type as Ambiguous<_>>::some;
        };
    )+};
}
assert_has_no_debug!(GenerationSecret, StreamRoot, LeafSeed, TreeNode, TreeNodes, EpochShare, SealingWindow);
assert_has_no_debug!(GrantKeys, GrantEntry, DecryptionKey, X25519Key, SigningKey);

struct Story {
    secret: GenerationSecret,
    share: EpochShare,
    window: SealingWindow,
}

/// What the oracle does: take the patient's directory, find the epoch's public key, open a sealing window.
fn story(generation: Generation) -> Story {
    let secret = GenerationSecret::random();
    let signing = SigningKey::ed25519_from_seed(&[9; 32]);
    let directory =
        EpochKeyDirectory::build(&secret, PATIENT, generation, &[Category::VitalSigns], Epoch(EPOCH.0 - 2), 5).unwrap();
    let block = directory.sign(&signing).unwrap();
    let read = EpochKeyDirectory::open(&block, &signing.public_key().unwrap(), &PATIENT, generation).unwrap();
    assert_eq!(read, directory);
    assert_eq!(read.public_key(Category::VitalSigns, Epoch(EPOCH.0 + 3)), None);
    assert_eq!(read.public_key(Category::Ecg, EPOCH), None);
    let public = read.public_key(Category::VitalSigns, EPOCH).unwrap();
    let stream = StreamId::of(&PATIENT, Category::VitalSigns);
    let window = SealingWindow::new(stream, generation, EPOCH, &public).unwrap();
    Story { secret, share: EpochShare::random(), window }
}

fn sealed(story: &Story, payload: &[u8]) -> Block {
    seal(&story.window, &story.share, &story.window.header(DEVICE, 1), payload).unwrap()
}

fn leaf(story: &Story, epoch: Epoch) -> LeafSeed {
    story.secret.stream_root(Category::VitalSigns).leaf(epoch).unwrap()
}

#[test]
fn a_record_opens_with_both_locks() {
    let story = story(Generation(0));
    let block = sealed(&story, b"72 beats per minute");
    let (header, payload) = open(&block, &leaf(&story, EPOCH), &story.share).unwrap();
    assert_eq!(&**payload, b"72 beats per minute");
    assert_eq!(header, story.window.header(DEVICE, 1));
    assert_eq!(header_of(&block).unwrap(), header);
}

#[test]
fn either_lock_alone_opens_nothing() {
    let story = story(Generation(0));
    let block = sealed(&story, b"72 beats per minute");
    let code = |leaf: &LeafSeed, share: &EpochShare| open(&block, leaf, share).err().map(|error| error.code());
    assert_eq!(code(&leaf(&story, EPOCH), &EpochShare::random()), Some("CANNOT_OPEN"));
    assert_eq!(code(&LeafSeed::from_bytes([0; 32]), &story.share), Some("CANNOT_OPEN"));
    assert_eq!(code(&leaf(&story, Epoch(EPOCH.0 + 1)), &story.share), Some("CANNOT_OPEN"));
    assert_eq!(code(&leaf(&story, Epoch(EPOCH.0 - 1)), &story.share), Some("CANNOT_OPEN"));
}

#[test]
fn no_changed_byte_of_a_record_goes_unnoticed() {
    let story = story(Generation(0));
    let block = sealed(&story, b"72 beats per minute");
    let leaf = leaf(&story, EPOCH);
    for position in 0..block.bytes.len() {
        let mut bytes = block.bytes.to_vec();
        bytes[position] ^= 1;
        let changed = Block::from_bytes(0x71, bytes).unwrap();
        assert_ne!(changed.cid, block.cid);
        assert!(open(&changed, &leaf, &story.share).is_err(), "byte {position}");
    }
}

#[test]
fn equal_readings_look_unrelated_and_lengths_come_in_steps() {
    let story = story(Generation(0));
    let (first, second) = (sealed(&story, b"72"), sealed(&story, b"72"));
    assert_ne!(first.cid, second.cid);
    let same_step = [0, 1, 100, PADDING_BYTES - 1].map(|length| sealed(&story, &vec![0x80; length]).bytes.len());
    assert!(same_step.iter().all(|length| *length == same_step[0]));
    assert!(sealed(&story, &vec![0; PADDING_BYTES]).bytes.len() > same_step[0]);
    for length in [0, 1, 255, 256, 257, PAYLOAD_BYTES_MAX] {
        let payload = vec![0; length];
        let block = sealed(&story, &payload);
        assert_eq!(*open(&block, &leaf(&story, EPOCH), &story.share).unwrap().1, payload);
    }
    let too_long = seal(&story.window, &story.share, &story.window.header(DEVICE, 1), &vec![0; PAYLOAD_BYTES_MAX + 1]);
    assert_eq!(too_long.unwrap_err().code(), "TOO_MANY");
}

#[test]
fn a_grantee_opens_its_window_and_nothing_after_it() {
    let story = story(Generation(0));
    let block = sealed(&story, b"72");
    let key = DecryptionKey::x25519_from_seed(&[5; 32]);
    let granted = |from: u32, until: u32| {
        let generations = [(Generation(0), &story.secret)];
        let categories = [Category::VitalSigns];
        let keys = GrantKeys::collect(PATIENT, DOCTOR, &generations, categories, Epoch(from), Epoch(until)).unwrap();
        let block = keys.wrap_for(&key.public_key().unwrap()).unwrap();
        GrantKeys::open(&block, &key, PATIENT, DOCTOR).unwrap()
    };
    let leaf = granted(EPOCH.0, EPOCH.0 + 1).leaf(Generation(0), Category::VitalSigns, EPOCH).unwrap();
    assert_eq!(&**open(&block, &leaf, &story.share).unwrap().1, b"72");
    for (from, until) in [(EPOCH.0 - 48, EPOCH.0), (EPOCH.0 + 1, EPOCH.0 + 48)] {
        let denied = granted(from, until).leaf(Generation(0), Category::VitalSigns, EPOCH).err();
        assert_eq!(denied.map(|error| error.code()), Some("EPOCH_NOT_COVERED"));
    }
}

#[test]
fn after_a_rotation_old_grants_do_not_open_new_records() {
    let (before, after) = (story(Generation(0)), story(Generation(1)));
    let block = sealed(&after, b"after the rotation");
    let old = leaf(&before, EPOCH);
    assert_eq!(open(&block, &old, &after.share).unwrap_err().code(), "CANNOT_OPEN");
    assert_eq!(&**open(&block, &leaf(&after, EPOCH), &after.share).unwrap().1, b"after the rotation");
}

#[test]
fn an_rsa_participant_opens_grants_and_signs_directories() {
    let decryption = DecryptionKey::rsa_from_pkcs8(&generate_rsa_pkcs8().unwrap()).unwrap();
    let public = decryption.public_key().unwrap();
    let secret = GenerationSecret::random();
    let generations = [(Generation(0), &secret)];
    let keys =
        GrantKeys::collect(PATIENT, DOCTOR, &generations, Category::ALL.iter().copied(), EPOCH, Epoch(EPOCH.0 + 999))
            .unwrap();
    let block = keys.wrap_for(&public).unwrap();
    let opened = GrantKeys::open(&block, &decryption, PATIENT, DOCTOR).unwrap();
    assert!(
        opened.leaf(Generation(0), Category::Ecg, EPOCH).unwrap()
            == secret.stream_root(Category::Ecg).leaf(EPOCH).unwrap()
    );
    let other = DecryptionKey::rsa_from_pkcs8(&generate_rsa_pkcs8().unwrap()).unwrap();
    assert_eq!(GrantKeys::open(&block, &other, PATIENT, DOCTOR).err().unwrap().code(), "CANNOT_OPEN");
    assert_eq!(GrantKeys::open(&block, &decryption, PATIENT, PATIENT).err().unwrap().code(), "CANNOT_OPEN");

    let signing = SigningKey::rsa_from_pkcs8(&generate_rsa_pkcs8().unwrap()).unwrap();
    let directory =
        EpochKeyDirectory::build(&secret, PATIENT, Generation(0), &[Category::Ecg], EPOCH, 3).unwrap().sign(&signing);
    let public = signing.public_key().unwrap();
    assert!(EpochKeyDirectory::open(&directory.unwrap(), &public, &PATIENT, Generation(0)).is_ok());
}

#[test]
fn envelopes_open_for_their_purpose_and_context_only() {
    let rsa = DecryptionKey::rsa_from_pkcs8(&generate_rsa_pkcs8().unwrap()).unwrap();
    for key in [DecryptionKey::x25519_from_seed(&[5; 32]), rsa] {
        let mut envelope = wrap(&key.public_key().unwrap(), b"purpose", b"context", b"secret").unwrap();
        assert_eq!(&**unwrap(&key, b"purpose", b"context", &envelope).unwrap(), b"secret");
        assert_eq!(unwrap(&key, b"other", b"context", &envelope).unwrap_err().code(), "CANNOT_OPEN");
        assert_eq!(unwrap(&key, b"purpose", b"other", &envelope).unwrap_err().code(), "CANNOT_OPEN");
        envelope.ciphertext[0] ^= 1;
        assert_eq!(unwrap(&key, b"purpose", b"context", &envelope).unwrap_err().code(), "CANNOT_OPEN");
        envelope.ciphertext[0] ^= 1;
        envelope.enc[0] ^= 1;
        assert_eq!(unwrap(&key, b"purpose", b"context", &envelope).unwrap_err().code(), "CANNOT_OPEN");
        envelope.enc.clear();
        assert_eq!(unwrap(&key, b"purpose", b"context", &envelope).unwrap_err().code(), "CANNOT_OPEN");
    }
}

#[test]
fn a_signature_holds_in_its_context_only() {
    for key in
        [SigningKey::ed25519_from_seed(&[9; 32]), SigningKey::rsa_from_pkcs8(&generate_rsa_pkcs8().unwrap()).unwrap()]
    {
        let public = key.public_key().unwrap();
        let mut signature = key.sign(CONTEXT_RELEASE_REQUEST, b"message").unwrap();
        let check = |context, message: &[u8], signature: &[u8]| {
            verify(&public, context, message, signature, "request").err().map(|error| error.code())
        };
        assert_eq!(check(CONTEXT_RELEASE_REQUEST, b"message", &signature), None);
        assert_eq!(check(CONTEXT_DIRECTORY, b"message", &signature), Some("INVALID_SIGNATURE"));
        assert_eq!(check(CONTEXT_RELEASE_REQUEST, b"massage", &signature), Some("INVALID_SIGNATURE"));
        assert_eq!(check(CONTEXT_RELEASE_REQUEST, b"message", &signature[1..]), Some("INVALID_SIGNATURE"));
        signature[0] ^= 1;
        assert_eq!(check(CONTEXT_RELEASE_REQUEST, b"message", &signature), Some("INVALID_SIGNATURE"));
    }
}

#[test]
fn a_full_directory_fits_one_block() {
    let secret = GenerationSecret::random();
    let one = EpochKeyDirectory::build(&secret, PATIENT, Generation(0), &[Category::Ecg], EPOCH, 1).unwrap();
    let mut full = one.clone();
    full.streams = Category::ALL
        .iter()
        .map(|category| {
            let mut stream = one.streams[0].clone();
            stream.category = *category;
            stream.public_keys = vec![stream.public_keys[0]; 4_096];
            stream
        })
        .collect();
    let signing = SigningKey::ed25519_from_seed(&[9; 32]);
    let block = full.sign(&signing).unwrap();
    let opened = EpochKeyDirectory::open(&block, &signing.public_key().unwrap(), &PATIENT, Generation(0)).unwrap();
    assert_eq!(opened, full);
    let too_many = EpochKeyDirectory::build(&secret, PATIENT, Generation(0), &[Category::Ecg], EPOCH, 4_097);
    assert_eq!(too_many.unwrap_err().code(), "TOO_MANY");
}
