//! Attackers after `docs/threat-model.md`: each has what the model gives it, and tries.

use std::path::Path;
use std::time::Duration;

use k256::ecdsa::SigningKey as WalletKey;
use pulsegate_ipfs::SealError;
use pulsegate_ipfs::block::{Block, cid_from_bytes};
use pulsegate_ipfs::grant_keys::GrantKeys;
use pulsegate_ipfs::key_tree::{DEPTH, GenerationSecret, LeafSeed, TreeNode, TreeNodes};
use pulsegate_ipfs::manifest::{Leaf, Manifest, RecordLeaf};
use pulsegate_ipfs::record::{self, EpochShare};
use pulsegate_ipfs::store::BlockStore;
use pulsegate_ledger::contracts::Relay;
use pulsegate_ledger::{Contracts, LedgerError, Signer};
use pulsegate_oracle::release::protocol::{RefusalReason, ReleaseAnswer};
use pulsegate_rules::consent::{Effect, GrantRequest};
use pulsegate_rules::eip712::{Domain, Validity};
use pulsegate_rules::records::{BatchHeader, BatchKind};
use pulsegate_rules::{Categories, Category, CidBytes, Epoch, Generation, ModelId, Principal, Purpose, Purposes};
use pulsegate_tests::anchored;
use pulsegate_tests::device::{Device, now_ms};
use pulsegate_tests::eventually::eventually;
use pulsegate_tests::installation::{Installation, Parts};
use pulsegate_tests::parts::{self, Kubo};
use pulsegate_tests::person::{EXIT_NOT_VERIFIED, PASSPHRASE, Person};
use pulsegate_tests::process::http;
use pulsegate_tests::reader::{Reader, Reply};

/// Longest wait for what was acknowledged to be on chain.
const ANCHORED_WITHIN: Duration = Duration::from_secs(120);
/// An hour, milliseconds.
const HOUR_MS: u64 = 3_600_000;
/// Readings of a burst, which the oracle takes into few batches.
const BURST: usize = 12;
/// Where a reader's grant begins, hours ago.
const GRANTED_HOURS: u64 = 3;
/// When the record outside the grant was measured, hours ago.
const OUTSIDE_HOURS: u64 = 6;

/// A patient with records inside and outside what a reader was granted.
struct Scene {
    installation: Installation,
    patient: Person,
    device: Device,
    contracts: Contracts,
    blocks: std::sync::Arc<dyn BlockStore>,
    reader: Reader,
    /// By time: the first lies outside the grant, the others inside.
    leaves: Vec<RecordLeaf>,
}

impl Scene {
    async fn set() -> Self {
        let installation = Installation::embedded().await;
        let patient = installation.enrol("patient", "patient");
        let mut device = Device::added(&installation, &patient, &["vital-signs", "ecg"]);
        for hours_ago in [OUTSIDE_HOURS, 1, 0] {
            device.measure_at(now_ms() - hours_ago * HOUR_MS);
        }
        device.send_all().await;
        let (contracts, blocks) = (installation.contracts().await, installation.blocks().await);
        let mut leaves = all_anchored(&contracts, blocks.as_ref(), 3).await;
        leaves.sort_by_key(|leaf| leaf.epoch);
        let reader = Reader::registered(&installation, &contracts, 7).await;
        let scene = Self { installation, patient, device, contracts, blocks, reader, leaves };
        scene.permit(&scene.reader, "vital-signs", GRANTED_HOURS);
        scene
    }

    fn permit(&self, reader: &Reader, category: &str, hours: u64) {
        let to = reader.principal();
        self.patient
            .types(&format!("grant --to {to} --category {category} --purpose TREAT --from -{hours}h --until +1h"));
    }

    fn outside(&self) -> &RecordLeaf {
        &self.leaves[0]
    }

    fn inside(&self) -> &RecordLeaf {
        &self.leaves[1]
    }

    async fn block(&self, leaf: &RecordLeaf) -> Block {
        self.blocks.get(&leaf.record).await.expect("the record is stored")
    }

    /// The tree nodes that a reader was granted for a category.
    async fn grant_keys(&self, reader: &Reader, category: Category) -> GrantKeys {
        let (patient, consent) = (self.patient.account(), &self.contracts.consent);
        let grants = consent.grants_between(patient, reader.principal()).await.expect("the chain answers").value;
        let grant = grants.iter().find(|grant| grant.request.categories.contains(category)).expect("it was granted");
        let wrapped = grant.request.wrapped_keys.expect("a permit carries keys");
        let cid = cid_from_bytes(&wrapped).expect("the contract takes CIDs alone");
        let block = self.blocks.get(&cid).await.expect("the wrapped keys are stored");
        GrantKeys::open(&block, &reader.decryption, patient, reader.principal()).expect("the reader's own keys open it")
    }

    /// An honest request for the hours of these records.
    fn body(&self, leaves: &[&RecordLeaf]) -> Vec<u8> {
        self.body_of(&self.reader, Category::VitalSigns, leaves)
    }

    fn body_of(&self, reader: &Reader, category: Category, leaves: &[&RecordLeaf]) -> Vec<u8> {
        let epochs = leaves.iter().map(|leaf| leaf.epoch).collect();
        let request = reader.request(self.patient.account(), category, Generation(0), epochs);
        request.sign(&reader.signing).expect("the request is well-formed")
    }

    async fn released(&self, leaves: &[&RecordLeaf]) -> (Vec<(Epoch, EpochShare)>, ReleaseAnswer) {
        answered(&self.reader, self.body(leaves)).await
    }

    /// The true share of one record's hour, as the oracle releases it to a permitted reader.
    async fn share(&self, reader: &Reader, category: Category, leaf: &RecordLeaf) -> EpochShare {
        let (mut shares, _) = answered(reader, self.body_of(reader, category, &[leaf])).await;
        shares.pop().expect("a permitted reader is given the share").1
    }
}

async fn answered(reader: &Reader, body: Vec<u8>) -> (Vec<(Epoch, EpochShare)>, ReleaseAnswer) {
    let answer = reader.send(body.clone()).await.answer.expect("the oracle answers an honest request");
    (answer.open_shares(&reader.decryption, &body).expect("the shares are for this reader"), answer)
}

/// Waits until so many records are anchored, and no others.
async fn all_anchored(contracts: &Contracts, blocks: &dyn BlockStore, count: usize) -> Vec<RecordLeaf> {
    eventually("the readings are anchored", ANCHORED_WITHIN, || async {
        let leaves = anchored::records(contracts, blocks).await;
        if leaves.len() == count { Ok(leaves) } else { Err(leaves.len()) }
    })
    .await
}

/// Whether the locks are the wrong ones. A record that does not even decode would prove nothing.
fn stays_closed(block: &Block, leaf: &LeafSeed, share: &EpochShare) -> bool {
    matches!(record::open(block, leaf, share), Err(SealError::CannotOpen { .. }))
}

/// What a grantee can try as the key of `epoch`: each of its leaves, and each of its nodes wherever it would lead there.
fn candidates(keys: &GrantKeys, epoch: Epoch) -> Vec<LeafSeed> {
    let seed = |node, epoch| TreeNodes::from_nodes(vec![node]).and_then(|one| one.leaf(epoch)).expect("it lies above");
    let mut found = Vec::new();
    for node in keys.entries.iter().flat_map(|entry| entry.nodes.nodes()) {
        let first = node.first_epoch().0;
        found.extend((first..first + (1 << (DEPTH - node.depth()))).map(|own| seed(node.clone(), Epoch(own))));
        for depth in 0..=DEPTH {
            let moved = TreeNode::from_parts(depth, epoch.0 >> (DEPTH - depth), *node.expose_seed());
            found.push(seed(moved.expect("every depth has a node above the epoch"), epoch));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_lock_alone_opens_a_record_and_both_do() {
    let mut scene = Scene::set().await;
    scene.device.measure_ecg();
    scene.device.send_all().await;
    let leaves = all_anchored(&scene.contracts, scene.blocks.as_ref(), 4).await;
    let (recent, earlier) = (&scene.leaves[2], scene.inside());
    let ecg = leaves.iter().find(|leaf| leaf.stream != recent.stream).expect("the ECG is a stream of its own");
    scene.permit(&scene.reader, "ecg", GRANTED_HOURS);
    // One reader, who may open all three: it has the true keys and the true shares of each.
    let mut opened = Vec::new();
    for (category, leaf) in [(Category::VitalSigns, recent), (Category::VitalSigns, earlier), (Category::Ecg, ecg)] {
        let keys = scene.grant_keys(&scene.reader, category).await;
        let seed = keys.leaf(Generation(0), category, leaf.epoch).expect("the hour is granted");
        let (block, share) = (scene.block(leaf).await, scene.share(&scene.reader, category, leaf).await);
        let (header, payload) = record::open(&block, &seed, &share).expect("both locks open");
        assert_eq!((header.sequence, payload.is_empty()), (leaf.sequence, false));
        opened.push((block, seed, share));
    }
    // Every other pairing has one right lock, or none: of another hour of the stream, or of another stream.
    for (record, (block, ..)) in opened.iter().enumerate() {
        for (patients, (_, seed, _)) in opened.iter().enumerate() {
            for (oracles, (.., share)) in opened.iter().enumerate() {
                let right = patients == record && oracles == record;
                assert!(
                    right || stays_closed(block, seed, share),
                    "record {record}: {patients}'s and {oracles}'s locks"
                );
            }
        }
    }
    // The oracle alone; and grantee and storage without the oracle.
    let (block, seed, share) = &opened[0];
    let stranger = GenerationSecret::random().stream_root(Category::VitalSigns).leaf(recent.epoch).unwrap();
    assert!(stays_closed(block, &stranger, share), "a share without the patient's lock opened a record");
    assert!(stays_closed(block, seed, &EpochShare::random()), "the patient's lock without the share opened a record");
}

#[tokio::test(flavor = "multi_thread")]
async fn grantee_outside_its_window_cannot_decrypt_even_with_the_oracles_help() {
    let scene = Scene::set().await;
    let (keys, outside) = (scene.grant_keys(&scene.reader, Category::VitalSigns).await, scene.outside());
    assert!(keys.leaf(Generation(0), Category::VitalSigns, outside.epoch).is_err(), "the window's nodes gave a key");
    assert!(keys.leaf(Generation(0), Category::Ecg, scene.inside().epoch).is_err(), "they gave a key of the ECG");
    // The consent contract says no, and so does the oracle.
    let (shares, answer) = scene.released(&[outside]).await;
    assert!(shares.is_empty() && !answer.refused.is_empty(), "the oracle released an hour outside the window");
    // An oracle that helps gives what it gives to a reader who may: the true share of that hour.
    let permitted = Reader::registered(&scene.installation, &scene.contracts, 8).await;
    scene.permit(&permitted, "vital-signs", OUTSIDE_HOURS + 1);
    let share = scene.share(&permitted, Category::VitalSigns, outside).await;
    let (block, tried) = (scene.block(outside).await, candidates(&keys, outside.epoch));
    assert!(tried.len() > usize::try_from(GRANTED_HOURS).unwrap(), "the grantee has the hours of its window");
    assert!(tried.iter().all(|seed| stays_closed(&block, seed, &share)), "a granted key opened what was not granted");
    // The share is the true one and the search finds a key: with the patient's leaf of that hour the record opens.
    let wider = scene.grant_keys(&permitted, Category::VitalSigns).await;
    let leaf = wider.leaf(Generation(0), Category::VitalSigns, outside.epoch).expect("the wider grant covers the hour");
    assert_eq!(record::open(&block, &leaf, &share).expect("both locks open").0.sequence, outside.sequence);
    let tried = candidates(&wider, outside.epoch);
    assert!(tried.iter().any(|seed| !stays_closed(&block, seed, &share)), "the search misses the key that is there");
    assert_eq!(scene.patient.does(&["verify", "--decrypt"]).json["opened"], 3, "the patient reads every record");
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_stale_borrowed_and_misdirected_release_requests_are_refused() {
    let scene = Scene::set().await;
    let body = scene.body(&[scene.inside()]);
    assert!(scene.reader.send(body.clone()).await.answer.expect("the first is answered").refused.is_empty());
    let replayed = scene.reader.send(body).await;
    assert!(is_refused_with(&replayed, RefusalReason::NonceReused), "a replayed request was answered");

    let (patient, epochs) = (scene.patient.account(), vec![scene.inside().epoch]);
    let honest = || scene.reader.request(patient, Category::VitalSigns, Generation(0), epochs.clone());
    let mut stale = honest();
    stale.requested_at_ms -= HOUR_MS;
    let stale = scene.reader.send(stale.sign(&scene.reader.signing).unwrap()).await;
    assert!(is_refused_with(&stale, RefusalReason::StaleRequest), "a stale request was answered");

    let mut elsewhere = honest();
    elsewhere.audience = [9; 32];
    let elsewhere = scene.reader.send(elsewhere.sign(&scene.reader.signing).unwrap()).await;
    let status = elsewhere.status;
    assert_eq!(elsewhere.code, "WRONG_AUDIENCE", "a request for another deployment was answered with {status}");

    // A stranger asks in the reader's name with its own signature; and the reader's body is sent with one bit changed.
    let stranger = Reader::registered(&scene.installation, &scene.contracts, 8).await;
    let borrowed = scene.reader.send(honest().sign(&stranger.signing).unwrap()).await;
    let status = borrowed.status;
    assert_eq!(borrowed.code, "READER_NOT_AUTHENTICATED", "a stranger's signature was answered with {status}");
    let mut changed = honest().sign(&scene.reader.signing).unwrap();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    let changed = scene.reader.send(changed).await;
    assert!(changed.status >= 400, "a changed request was answered with {}", changed.status);

    // A stranger who asks in its own name is refused by consent, and cannot open the reader's answer either.
    let request = stranger.request(patient, Category::VitalSigns, Generation(0), epochs);
    let denied = stranger.send(request.sign(&stranger.signing).unwrap()).await.answer.expect("a refusal is an answer");
    assert!(denied.shares.is_none() && denied.grant.is_none(), "a stranger was given shares");
    let body = scene.body(&[scene.inside()]);
    let answer = scene.reader.send(body.clone()).await.answer.unwrap();
    assert!(answer.open_shares(&stranger.decryption, &body).is_err(), "a stranger opened shares wrapped to the reader");
}

/// Whether everything in the request was refused with this reason, and nothing was given away.
fn is_refused_with(reply: &Reply, reason: RefusalReason) -> bool {
    let refused =
        |answer: &ReleaseAnswer| answer.shares.is_none() && answer.refused.iter().all(|(_, found)| *found == reason);
    reply.answer.as_ref().is_some_and(refused)
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_reordered_and_shortened_manifests_do_not_fit_the_chain() {
    let mut scene = Scene::set().await;
    scene.device.measure(BURST);
    scene.device.send_all().await;
    all_anchored(&scene.contracts, scene.blocks.as_ref(), 3 + BURST).await;
    let records = &scene.contracts.records;
    let oracle = records.oracles_seen(0, 1).await.unwrap()[0];
    let mut header = records.batch(oracle, BatchKind::Records, 1).await.unwrap().unwrap().header;
    for sequence in 2..=records.head(oracle, BatchKind::Records).await.unwrap().sequence {
        let next = records.batch(oracle, BatchKind::Records, sequence).await.unwrap().unwrap().header;
        header = if next.count > header.count { next } else { header };
    }
    let manifest =
        Manifest::from_block(&scene.blocks.get(&cid_from_bytes(&header.manifest).unwrap()).await.unwrap()).unwrap();
    assert!(manifest.leaves.len() >= 2, "a burst of {BURST} readings gave no batch of more than one");
    manifest.check_against(&header).expect("the true manifest fits");
    let forged = |change: &dyn Fn(&mut Vec<Leaf>)| {
        let mut manifest = manifest.clone();
        change(&mut manifest.leaves);
        manifest.check_against(&header).is_err()
    };
    let foreign = Leaf::Record(RecordLeaf { sequence: 99, ..scene.outside().clone() });
    assert!(forged(&|leaves| leaves.push(foreign.clone())), "an added leaf fits");
    assert!(forged(&|leaves| leaves[0] = foreign.clone()), "a changed leaf fits");
    assert!(forged(&|leaves| leaves.truncate(leaves.len() - 1)), "a withheld leaf fits");
    assert!(forged(&|leaves| leaves.reverse()), "another order fits");
    for first in 0..manifest.leaves.len() - 1 {
        assert!(forged(&|leaves| leaves.swap(first, first + 1)), "two leaves in each other's place fit");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_expired_and_repeated_relays_are_refused_by_the_contract() {
    let scene = Scene::set().await;
    let (patient, relayer) = (scene.patient.account(), Signer::from_seed(&[9; 32]));
    let consent = &scene.contracts.consent;
    let wallet = WalletKey::from_slice(&[5; 32]).unwrap();
    let owner = Principal::of_ethereum_address(&address(&wallet));
    let domain = Domain { chain_id: consent.chain_id().await.unwrap(), contract: consent.account() };
    let now_s = now_ms() / 1_000;
    let request = GrantRequest {
        grantee: Principal([3; 32]),
        effect: Effect::Deny,
        categories: Categories::of(&[Category::Ecg]),
        purposes: Purposes::of(&[Purpose::Research]),
        from_s: now_s / 3_600 * 3_600,
        until_s: now_s / 3_600 * 3_600 + 3_600,
        wrapped_keys: None,
        generation: Generation(0),
    };
    let relay = |of: Principal, nonce: u64, deadline_s: u64, domain: Domain| {
        let validity = Validity { nonce, deadline_s };
        Relay { patient: of, validity, signature: signed(&wallet, &domain.grant_digest(&of, &request, &validity)) }
    };
    let (later, over) = (now_s + 600, now_s - 600);
    let elsewhere = Domain { chain_id: domain.chain_id ^ 1, ..domain };
    for (what, forged, code) in [
        (
            "a stranger's wallet for the patient",
            relay(patient, consent.nonce(patient).await.unwrap(), later, domain),
            "INVALID_SIGNATURE",
        ),
        ("an expired message", relay(owner, 0, over, domain), "EXPIRED"),
        ("a later nonce", relay(owner, 1, later, domain), "INVALID_NONCE"),
        ("a message for another chain", relay(owner, 0, later, elsewhere), "INVALID_SIGNATURE"),
    ] {
        let refused = consent.grant_signed(&relayer, &request, &forged).await;
        assert!(is_refused(&refused, code), "{what}: {refused:?}");
    }
    let genuine = relay(owner, 0, later, domain);
    consent.grant_signed(&relayer, &request, &genuine).await.expect("the wallet's own message is taken from anybody");
    let again = consent.grant_signed(&relayer, &request, &genuine).await;
    assert!(is_refused(&again, "INVALID_NONCE"), "a message was relayed twice: {again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_without_an_admitted_oracles_signature_is_refused() {
    let scene = Scene::set().await;
    let (records, stranger) = (&scene.contracts.records, Signer::from_seed(&[9; 32]));
    let oracle = records.oracles_seen(0, 1).await.unwrap()[0];
    let head = records.head(oracle, BatchKind::Records).await.unwrap();
    let set = scene.contracts.registry.oracles().await.unwrap();
    let header = BatchHeader {
        kind: BatchKind::Records,
        oracle,
        sequence: head.sequence + 1,
        previous: head.digest,
        merkle_root: [1; 32],
        manifest: CidBytes(scene.outside().record.to_bytes().try_into().unwrap()),
        count: 1,
        model: ModelId([0; 32]),
        oracle_set: set.version,
        closed_at_ms: now_ms(),
    };
    let digest = header.signing_digest(records.chain_id().await.unwrap(), &records.account());
    let key = WalletKey::from_slice(&[6; 32]).unwrap();
    let mut signature = signed(&key, &digest);
    signature[64] %= 27;
    let forged = records.anchor(&stranger, &header, &[signature]).await;
    assert!(is_refused(&forged, "INVALID_SIGNATURE"), "a stranger's batch: {forged:?}");
    let unsigned = records.anchor(&stranger, &header, &[]).await;
    assert!(is_refused(&unsigned, "BELOW_THRESHOLD"), "an unsigned batch: {unsigned:?}");
    assert_eq!(records.head(oracle, BatchKind::Records).await.unwrap(), head, "the chain of batches has moved");
}

/// Whether the contract refused with an error whose code ends so.
fn is_refused<T>(outcome: &Result<T, LedgerError>, code: &str) -> bool {
    outcome.as_ref().is_err_and(|error| error.code().ends_with(code))
}

/// r ‖ s ‖ v, v 27 or 28, as wallets sign.
fn signed(key: &WalletKey, digest: &[u8; 32]) -> [u8; 65] {
    let (signature, recovery) = key.sign_prehash_recoverable(digest).expect("a digest of 32 bytes can be signed");
    let mut bytes = [0; 65];
    bytes[..64].copy_from_slice(&signature.to_bytes());
    bytes[64] = 27 + recovery.to_byte();
    bytes
}

fn address(key: &WalletKey) -> [u8; 20] {
    let point = key.verifying_key().to_encoded_point(false);
    ethers_core::utils::keccak256(&point.as_bytes()[1..])[12..].try_into().expect("a hash has 32 bytes")
}

#[tokio::test(flavor = "multi_thread")]
async fn disks_and_logs_hold_no_reading_no_secret_and_no_identity() {
    let mut scene = Scene::set().await;
    scene.device.measure(20);
    scene.device.send_all().await;
    scene.released(&[scene.inside(), scene.outside()]).await;
    all_anchored(&scene.contracts, scene.blocks.as_ref(), 23).await;
    // Metrics are read by more people than logs.
    let answer = http().get(format!("{}/metrics", scene.installation.url())).send().await.unwrap();
    let metrics = answer.text().await.unwrap();
    scene.installation.stop();

    // Chain, storage and the oracle's own disk: no signature of a reading, and not even the code of what was measured.
    for part in ["chain", "blocks", "oracle"] {
        let files = files_under(&scene.installation.folder().join(part));
        for (path, bytes) in &files {
            assert!(!contains(bytes, b"8867-4"), "{} names what was measured", path.display());
            for signed in scene.device.sent() {
                assert!(!contains(bytes, &signed[signed.len() - 64..]), "{} holds a plaintext reading", path.display());
            }
        }
        // The search itself works: what must be there is found.
        let known: Vec<u8> = match part {
            "blocks" => scene.inside().link.to_vec(),
            "chain" => scene.patient.account().0.to_vec(),
            _ => scene.device.id().0.to_vec(),
        };
        assert!(files.iter().any(|(_, bytes)| contains(bytes, &known)), "{part} lacks what it must hold");
    }
    let identities =
        [scene.patient.account().to_string(), scene.reader.principal().to_string(), scene.device.id().to_string()];
    let log = scene.installation.oracle_log();
    assert!(log.lines().count() > 3, "the oracle logs what it does");
    for (name, text) in [("log", &log), ("metrics", &metrics)] {
        for identity in &identities {
            let digits = identity.trim_start_matches("0x");
            assert!(!text.contains(digits) && !text.contains(&digits[..16]), "the {name} names {identity}");
        }
        assert!(!text.contains(PASSPHRASE), "the {name} holds a passphrase");
        for signed in scene.device.sent() {
            assert!(!text.contains(&hex::encode(&signed[..24])), "the {name} holds a reading");
        }
    }
    assert!(!log.contains("panicked"), "{log}");
}

fn files_under(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("the folder is there") {
            let path = entry.expect("a folder can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push((path.clone(), std::fs::read(&path).expect("files can be read")));
            }
        }
    }
    found
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

fn kubo_of(installation: &mut Installation) -> &mut Kubo {
    let Parts::Real { kubo, .. } = &mut installation.parts else { unreachable!("this installation is on real parts") };
    kubo
}

#[tokio::test(flavor = "multi_thread")]
async fn block_changed_or_withheld_by_storage_is_found_by_everybody() {
    const SCENARIO: &str = "a storage node that changes and withholds blocks";
    if !parts::all_found(SCENARIO, &["substrate-contracts-node", "ipfs"]) {
        return;
    }
    let mut installation = Installation::real().await;
    let patient = installation.enrol("patient", "patient");
    let mut device = Device::added(&installation, &patient, &["vital-signs"]);
    device.measure(3);
    device.send_all().await;
    let (contracts, blocks) = (installation.contracts().await, installation.blocks().await);
    let leaves = all_anchored(&contracts, blocks.as_ref(), 3).await;
    assert_eq!(patient.does(&["verify"]).json["faults"], serde_json::json!([]));

    // Kubo keeps each block in a file of its own. One is changed by a bit, one is taken away.
    kubo_of(&mut installation).kill();
    let files = files_under(&installation.folder().join("kubo").join("blocks"));
    let file_of = |leaf: &RecordLeaf| {
        let holds = |bytes: &[u8]| Block::from_bytes(0x71, bytes.to_vec()).is_ok_and(|block| block.cid == leaf.record);
        files.iter().find(|(_, bytes)| holds(bytes)).expect("the block is a file").clone()
    };
    let (path, mut bytes) = file_of(&leaves[0]);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).expect("storage can change its files");
    std::fs::remove_file(file_of(&leaves[1]).0).expect("storage can remove its files");
    kubo_of(&mut installation).restart().await;

    let report = patient.tries(&["verify"]);
    assert_eq!(report.code, EXIT_NOT_VERIFIED, "{} {}", report.json, report.errors);
    let faults = report.json["faults"].to_string();
    for leaf in &leaves[..2] {
        assert!(faults.contains(&leaf.record.to_string()), "{faults} does not name {}", leaf.record);
    }
    assert!(!faults.contains(&leaves[2].record.to_string()), "the untouched record is blamed: {faults}");
    parts::ran(SCENARIO);
}
