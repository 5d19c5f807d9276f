//! Attackers after `docs/threat-model.md`: each has what the model gives it, and tries.

use std::path::Path;
use std::time::Duration;

use k256::ecdsa::SigningKey as WalletKey;
use pulsegate_ipfs::block::{Block, cid_from_bytes};
use pulsegate_ipfs::grant_keys::GrantKeys;
use pulsegate_ipfs::key_tree::GenerationSecret;
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
use pulsegate_tests::parts;
use pulsegate_tests::person::{EXIT_NOT_VERIFIED, PASSPHRASE, Person};
use pulsegate_tests::reader::{Reader, Reply};

/// Longest wait for what was acknowledged to be on chain.
const ANCHORED_WITHIN: Duration = Duration::from_secs(120);
/// An hour, milliseconds.
const HOUR_MS: u64 = 3_600_000;
/// Where a reader's grant begins, hours ago.
const GRANTED_HOURS: u64 = 3;

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
        let mut device = Device::added(&installation, &patient, &["vital-signs"]);
        for hours_ago in [6, 1, 0] {
            device.measure_at(now_ms() - hours_ago * HOUR_MS);
        }
        device.send_all().await;
        let (contracts, blocks) = (installation.contracts().await, installation.blocks().await);
        let mut leaves = eventually("the readings are anchored", ANCHORED_WITHIN, || async {
            let leaves = anchored::records(&contracts, blocks.as_ref()).await;
            if leaves.len() == 3 { Ok(leaves) } else { Err(leaves.len()) }
        })
        .await;
        leaves.sort_by_key(|leaf| leaf.epoch);
        let reader = Reader::registered(&installation, &contracts, 7).await;
        let to = reader.principal().to_string();
        let from = format!("-{GRANTED_HOURS}h");
        patient.does(&[
            "grant",
            "--to",
            &to,
            "--category",
            "vital-signs",
            "--purpose",
            "TREAT",
            "--from",
            &from,
            "--until",
            "+1h",
        ]);
        Self { installation, patient, device, contracts, blocks, reader, leaves }
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

    /// The tree nodes that the reader was granted.
    async fn grant_keys(&self) -> GrantKeys {
        let patient = self.patient.account();
        let grants = self
            .contracts
            .consent
            .grants_between(patient, self.reader.principal())
            .await
            .expect("the chain answers")
            .value;
        let wrapped = grants[0].request.wrapped_keys.expect("a permit carries keys");
        let cid = cid_from_bytes(&wrapped).expect("the contract takes CIDs alone");
        let block = self.blocks.get(&cid).await.expect("the wrapped keys are stored");
        GrantKeys::open(&block, &self.reader.decryption, patient, self.reader.principal())
            .expect("the reader's own keys open it")
    }

    /// An honest request for the hours of these records.
    fn body(&self, leaves: &[&RecordLeaf]) -> Vec<u8> {
        let epochs = leaves.iter().map(|leaf| leaf.epoch).collect();
        let request = self.reader.request(self.patient.account(), Category::VitalSigns, Generation(0), epochs);
        request.sign(&self.reader.signing).expect("the request is well-formed")
    }

    async fn released(&self, leaves: &[&RecordLeaf]) -> (Vec<(Epoch, EpochShare)>, ReleaseAnswer) {
        let body = self.body(leaves);
        let answer = self.reader.send(body.clone()).await.answer.expect("the oracle answers an honest request");
        (answer.open_shares(&self.reader.decryption, &body).expect("the shares are for this reader"), answer)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_lock_alone_opens_a_record_and_both_do() {
    let scene = Scene::set().await;
    let (shares, _) = scene.released(&[scene.inside()]).await;
    let (block, keys) = (scene.block(scene.inside()).await, scene.grant_keys().await);
    let leaf = keys.leaf(Generation(0), Category::VitalSigns, scene.inside().epoch).expect("the hour is granted");
    let (_, share) = &shares[0];
    let (header, payload) = record::open(&block, &leaf, share).expect("both locks open");
    assert_eq!((header.sequence, payload.is_empty()), (scene.inside().sequence, false));
    // The oracle alone: the share is right, the patient's lock is any other.
    let stranger = GenerationSecret::random().stream_root(Category::VitalSigns).leaf(scene.inside().epoch).unwrap();
    assert!(record::open(&block, &stranger, share).is_err(), "a share without the patient's lock opened a record");
    // Grantee and storage without the oracle.
    assert!(
        record::open(&block, &leaf, &EpochShare::random()).is_err(),
        "the patient's lock without the share opened a record"
    );
    // Another hour of the same stream: right patient, right oracle, wrong lock.
    let other_hour = keys.leaf(Generation(0), Category::VitalSigns, Epoch(scene.inside().epoch.0 + 1)).unwrap();
    assert!(record::open(&block, &other_hour, share).is_err(), "the keys of another hour opened a record");
}

#[tokio::test(flavor = "multi_thread")]
async fn grantee_outside_its_window_cannot_decrypt_even_with_the_oracles_help() {
    let scene = Scene::set().await;
    let keys = scene.grant_keys().await;
    assert!(
        keys.leaf(Generation(0), Category::VitalSigns, scene.outside().epoch).is_err(),
        "the window's nodes gave a key outside"
    );
    assert!(
        keys.leaf(Generation(0), Category::Ecg, scene.inside().epoch).is_err(),
        "the nodes gave a key of another category"
    );
    // The consent contract says no, and so does the oracle. The patient asks for the share instead: an oracle that helps.
    let (shares, answer) = scene.released(&[scene.outside()]).await;
    assert!(shares.is_empty() && !answer.refused.is_empty(), "the oracle released an hour outside the window");
    let helped = scene.patient.does(&["verify", "--decrypt"]);
    assert_eq!(helped.json["opened"], 3, "the record outside the window is there and opens for the patient");
    let block = scene.block(scene.outside()).await;
    let from = Epoch::at(now_ms() / 1_000 - GRANTED_HOURS * 3_600).unwrap();
    for epoch in from.0..from.0 + u32::try_from(GRANTED_HOURS).unwrap() + 1 {
        let leaf = keys.leaf(Generation(0), Category::VitalSigns, Epoch(epoch)).expect("the hour is granted");
        assert!(
            record::open(&block, &leaf, &EpochShare::random()).is_err(),
            "a granted key opened a record outside the window"
        );
    }
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
    assert_eq!(
        elsewhere.code, "WRONG_AUDIENCE",
        "a request for another deployment was answered with {}",
        elsewhere.status
    );

    // A stranger asks in the reader's name with its own signature; and the reader's body is sent with one bit changed.
    let stranger = Reader::registered(&scene.installation, &scene.contracts, 8).await;
    let borrowed = scene.reader.send(honest().sign(&stranger.signing).unwrap()).await;
    assert_eq!(
        borrowed.code, "READER_NOT_AUTHENTICATED",
        "a stranger's signature was answered with {}",
        borrowed.status
    );
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
    let scene = Scene::set().await;
    let oracle = scene.contracts.records.oracles_seen(0, 1).await.unwrap()[0];
    let header = scene.contracts.records.batch(oracle, BatchKind::Records, 1).await.unwrap().unwrap().header;
    let manifest =
        Manifest::from_block(&scene.blocks.get(&cid_from_bytes(&header.manifest).unwrap()).await.unwrap()).unwrap();
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
    assert!(manifest.leaves.len() < 2 || forged(&|leaves| leaves.reverse()), "another order fits");
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
    let hash = ethers_core::utils::keccak256(&point.as_bytes()[1..]);
    hash[12..].try_into().expect("a hash has 32 bytes")
}

#[tokio::test(flavor = "multi_thread")]
async fn disks_and_logs_hold_no_reading_no_secret_and_no_identity() {
    let mut scene = Scene::set().await;
    scene.device.measure(20);
    scene.device.send_all().await;
    let (_, _) = scene.released(&[scene.inside(), scene.outside()]).await;
    eventually("everything is anchored", ANCHORED_WITHIN, || async {
        let leaves = anchored::records(&scene.contracts, scene.blocks.as_ref()).await;
        if leaves.len() == 23 { Ok(()) } else { Err(leaves.len()) }
    })
    .await;
    // Metrics are read by more people than logs.
    let metrics = pulsegate_tests::process::http()
        .get(format!("{}/metrics", scene.installation.url()))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    scene.installation.stop();

    // Chain, storage and the oracle's own disk: no signature of a reading, and not even the code of what was measured.
    for part in ["chain", "blocks", "oracle"] {
        let files = files_under(&scene.installation.folder().join(part));
        for (path, bytes) in &files {
            assert!(!contains(bytes, b"8867-4"), "{} names what was measured", path.display());
            for signed in scene.device.sent() {
                let signature = &signed[signed.len() - 64..];
                assert!(!contains(bytes, signature), "{} holds a plaintext reading", path.display());
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
                let bytes = std::fs::read(&path).expect("files can be read");
                found.push((path, bytes));
            }
        }
    }
    found
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
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
    let leaves = eventually("the readings are anchored", ANCHORED_WITHIN, || async {
        let leaves = anchored::records(&contracts, blocks.as_ref()).await;
        if leaves.len() == 3 { Ok(leaves) } else { Err(leaves.len()) }
    })
    .await;
    assert_eq!(patient.does(&["verify"]).json["faults"], serde_json::json!([]));

    // Kubo keeps each block in a file of its own. One is changed by a bit, one is taken away.
    let Parts::Real { kubo, .. } = &mut installation.parts else { unreachable!("this installation is on real parts") };
    kubo.kill();
    let originals = files_under(&installation.folder().join("kubo").join("blocks"));
    let find = |leaf: &RecordLeaf, originals: &[(std::path::PathBuf, Vec<u8>)]| {
        let hash = leaf.record.hash().digest().to_vec();
        let found = originals.iter().find(|(_, bytes)| {
            pulsegate_ipfs::block::Block::from_bytes(0x71, bytes.clone())
                .is_ok_and(|block| block.cid.hash().digest() == hash)
        });
        found.expect("the block is a file").clone()
    };
    let (path, mut bytes) = find(&leaves[0], &originals);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).expect("storage can change its files");
    let (path, _) = find(&leaves[1], &originals);
    std::fs::remove_file(path).expect("storage can remove its files");
    let Parts::Real { kubo, .. } = &mut installation.parts else { unreachable!("this installation is on real parts") };
    kubo.restart().await;

    let report = patient.tries(&["verify"]);
    assert_eq!(report.code, EXIT_NOT_VERIFIED, "{} {}", report.json, report.errors);
    let faults = report.json["faults"].to_string();
    for leaf in &leaves[..2] {
        assert!(faults.contains(&leaf.record.to_string()), "{faults} does not name {}", leaf.record);
    }
    assert!(!faults.contains(&leaves[2].record.to_string()), "the untouched record is blamed: {faults}");
    parts::ran(SCENARIO);
}
