//! Every message of every contract, as the built metadata lists them, sent by strangers to the contracts on the embedded chain.
//!
//! A message that changes state is either refused, or touches nothing but the stranger's own; every question is asked before and after
//! to show it. A message without an entry here fails the test, so a new one cannot be forgotten.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/chain.rs"]
mod chain;

use std::collections::BTreeMap;

use parity_scale_codec::Encode;
use pulsegate_ledger::{Call, ContractKind, Ledger, LedgerError, Signer, selector};
use pulsegate_rules::consent::{Effect, GrantRequest};
use pulsegate_rules::eip712::Validity;
use pulsegate_rules::records::{BatchHeader, BatchKind};
use pulsegate_rules::registry::{DetectorKind, DeviceStatus, KeyAlgorithm, KeyUse, PublicKey, Role};
use pulsegate_rules::{
    Categories, Category, DeviceId, Generation, GrantId, ModelId, Principal, Purpose, consent, records, registry,
};

use chain::{Chain, START_MS, account, artifacts, cid, first_batch, oracle_key, permit, secp256k1, sign};

const DEVICE_KEY: [u8; 32] = [0x11; 32];
const MODELS: [ModelId; 2] = [ModelId([0x21; 32]), ModelId([0x22; 32])];
const DETECTOR: DetectorKind = DetectorKind::EcgBeats;
const DEADLINE_S: u64 = START_MS / 1_000 + 60;

/// A message as the metadata describes it.
struct Message {
    label: &'static str,
    selector: [u8; 4],
    changes_state: bool,
}

fn messages(kind: ContractKind) -> Vec<Message> {
    let path = artifacts().join(format!("{kind}.contract"));
    let text = std::fs::read_to_string(path).expect("the bundle is there");
    let bundle: serde_json::Value = serde_json::from_str(&text).expect("the bundle is JSON");
    let listed = bundle["spec"]["messages"].as_array().expect("the metadata lists messages");
    let read = |message: &serde_json::Value| {
        let selector = hex::decode(message["selector"].as_str().expect("a selector").trim_start_matches("0x"));
        Message {
            label: message["label"].as_str().expect("a label").to_owned().leak(),
            selector: selector.expect("hex").try_into().expect("four bytes"),
            changes_state: message["mutates"].as_bool().expect("a flag"),
        }
    };
    listed.iter().map(read).collect()
}

/// Who tries.
#[derive(Clone)]
struct Stranger {
    name: &'static str,
    signer: Signer,
    /// What it is registered as, if it is.
    role: Option<Role>,
}

/// A patient with everything that a patient can have, and what strangers try on it.
struct Scene {
    chain: Chain,
    patient: Signer,
    reader: Signer,
    strangers: Vec<Stranger>,
    device: DeviceId,
    grant: GrantId,
    oracle: Principal,
    anchored: BatchHeader,
    forged_grant: [u8; 65],
    forged_revocation: [u8; 65],
    forged_batch: [u8; 65],
}

impl Scene {
    async fn new() -> Self {
        let chain = Chain::new().await;
        let (registry, consent) = (&chain.contracts.registry, &chain.contracts.consent);
        let (patient, reader, neighbour) = (account(2), account(3), account(4));
        for (signer, role) in [(&patient, Role::Patient), (&reader, Role::Practitioner), (&neighbour, Role::Patient)] {
            registry.register_participant(signer, role).await.unwrap();
        }
        let key = PublicKey { algorithm: KeyAlgorithm::Ed25519, bytes: vec![9; 32] };
        registry.set_key(&patient, KeyUse::Signing, &key).await.unwrap();
        let device = registry.register_device(&patient, &DEVICE_KEY, Categories::ALL).await.unwrap().value;
        assert_eq!(device, DeviceId::of_public_key(&DEVICE_KEY), "the chain's SHA-256 is the rules' SHA-256");
        let oracles = [secp256k1(0x31), secp256k1(0x32)];
        registry.set_oracles(&chain.admin, 2, &oracles.each_ref().map(oracle_key)).await.unwrap();
        for model in MODELS {
            registry.approve_model(&chain.admin, model, DETECTOR, &[1; 32], &[2; 32]).await.unwrap();
            registry.activate_model(&chain.admin, model).await.unwrap();
        }
        consent.publish_directory(&patient, cid(1)).await.unwrap();
        let grant = consent.grant(&patient, &permit(reader.principal())).await.unwrap().value;
        let domain = chain.domain().await;
        let oracle = account(6).principal();
        let records = &chain.contracts.records;
        let anchored = first_batch(oracle, 1);
        let digest = |header: &BatchHeader| header.signing_digest(domain.chain_id, &records.account());
        let signatures = oracles.each_ref().map(|key| sign(key, &digest(&anchored)));
        records.anchor(&account(6), &anchored, &signatures).await.unwrap();
        // Everything about these is right, but the key is the stranger's.
        let forger = secp256k1(0x41);
        let validity = Validity { nonce: 0, deadline_s: DEADLINE_S };
        let principal = patient.principal();
        let request = permit(account(5).principal());
        let forged_grant = sign(&forger, &domain.grant_digest(&principal, &request, &validity));
        let forged_revocation = sign(&forger, &domain.revoke_digest(&principal, grant, &validity));
        let forged_batch = sign(&forger, &digest(&Self::next_batch(&anchored)));
        let strangers = vec![
            Stranger { name: "outsider", signer: account(5), role: None },
            Stranger { name: "reader", signer: reader.clone(), role: Some(Role::Practitioner) },
            Stranger { name: "neighbour", signer: neighbour, role: Some(Role::Patient) },
        ];
        Self {
            chain,
            patient,
            reader,
            strangers,
            device,
            grant,
            oracle,
            anchored,
            forged_grant,
            forged_revocation,
            forged_batch,
        }
    }

    fn next_batch(anchored: &BatchHeader) -> BatchHeader {
        BatchHeader { sequence: 2, previous: anchored.digest(), ..anchored.clone() }
    }

    fn account_of(&self, kind: ContractKind) -> Principal {
        let deployment = &self.chain.contracts.deployment;
        match kind {
            ContractKind::Registry => deployment.registry,
            ContractKind::Consent => deployment.consent,
            ContractKind::Records => deployment.records,
        }
    }
}

/// What must become of a stranger's call.
enum Outcome {
    Refused(&'static str),
    /// It is done, to the stranger's own data alone.
    OwnOnly,
}

/// The hostile call of a stranger for each message that changes state: its arguments, and what must become of it.
fn attempt(scene: &Scene, stranger: &Stranger, kind: ContractKind, label: &str) -> Option<(Vec<u8>, Outcome)> {
    match kind {
        ContractKind::Registry => attempt_registry(scene, stranger, label),
        ContractKind::Consent => attempt_consent(scene, label),
        ContractKind::Records => attempt_records(scene, label),
    }
}

fn attempt_registry(scene: &Scene, stranger: &Stranger, label: &str) -> Option<(Vec<u8>, Outcome)> {
    let not_authorised = || Outcome::Refused(registry::Error::NotAuthorised.code());
    let own_principal = stranger.signer.principal();
    let own_key = PublicKey { algorithm: KeyAlgorithm::Ed25519, bytes: vec![8; 32] };
    Some(match (label, stranger.role) {
        ("register_participant", None) => (Role::Insurer.encode(), Outcome::OwnOnly),
        ("register_participant", Some(_)) => {
            (Role::Insurer.encode(), Outcome::Refused(registry::Error::AlreadyExists.code()))
        }
        ("set_key", None) => ((KeyUse::Signing, own_key).encode(), not_authorised()),
        ("set_key", Some(_)) => ((KeyUse::Signing, own_key).encode(), Outcome::OwnOnly),
        ("register_device", Some(Role::Patient)) => {
            let refused = Outcome::Refused(registry::Error::AlreadyExists.code());
            ((DEVICE_KEY, Categories::ALL).encode(), refused)
        }
        ("register_device", _) => (([0x12u8; 32], Categories::ALL).encode(), not_authorised()),
        ("set_device_status", _) => ((scene.device, DeviceStatus::Revoked).encode(), not_authorised()),
        ("set_oracles", _) => ((1u8, vec![oracle_key(&secp256k1(0x41))]).encode(), not_authorised()),
        ("approve_model", _) => ((ModelId([0x23; 32]), DETECTOR, [0u8; 32], [0u8; 32]).encode(), not_authorised()),
        ("activate_model", _) => (MODELS[0].encode(), not_authorised()),
        ("roll_back_model", _) => (DETECTOR.encode(), not_authorised()),
        ("propose_admin", _) => (own_principal.encode(), not_authorised()),
        ("accept_admin", _) => (Vec::new(), Outcome::Refused(registry::Error::NotProposed.code())),
        _ => return None,
    })
}

fn attempt_consent(scene: &Scene, label: &str) -> Option<(Vec<u8>, Outcome)> {
    let not_authorised = || Outcome::Refused(consent::Error::NotAuthorised.code());
    let forged = || Outcome::Refused(consent::Error::InvalidSignature.code());
    let patient = scene.patient.principal();
    let request = permit(account(5).principal());
    Some(match label {
        // A denial against the patient: it must hide nothing of the patient's own.
        "grant" => {
            let denial = GrantRequest { effect: Effect::Deny, wrapped_keys: None, ..permit(patient) };
            (denial.encode(), Outcome::OwnOnly)
        }
        "revoke" => (scene.grant.encode(), not_authorised()),
        "rewrap" => ((scene.grant, Generation(0), cid(66)).encode(), not_authorised()),
        "rotate" => ((Generation(1), cid(66)).encode(), Outcome::OwnOnly),
        "publish_directory" => (cid(66).encode(), Outcome::OwnOnly),
        "set_wallet" => (Some([0x66u8; 20]).encode(), Outcome::OwnOnly),
        "grant_signed" => ((patient, request, 0u64, DEADLINE_S, scene.forged_grant).encode(), forged()),
        "revoke_signed" => ((patient, scene.grant, 0u64, DEADLINE_S, scene.forged_revocation).encode(), forged()),
        _ => return None,
    })
}

fn attempt_records(scene: &Scene, label: &str) -> Option<(Vec<u8>, Outcome)> {
    let next = Scene::next_batch(&scene.anchored);
    Some(match label {
        "anchor" => {
            let forged = Outcome::Refused(records::Error::InvalidSignature.code());
            ((next, vec![scene.forged_batch]).encode(), forged)
        }
        "halt" | "resume" => (Vec::new(), Outcome::Refused(records::Error::NotAuthorised.code())),
        _ => return None,
    })
}

/// The arguments with which each question is asked about the victims; one entry is one question.
fn questions(scene: &Scene, kind: ContractKind, label: &str) -> Option<Vec<Vec<u8>>> {
    let (patient, reader) = (scene.patient.principal(), scene.reader.principal());
    let page = (0u32, 32u32);
    let question = (reader, patient, Category::Ecg, Purpose::Treatment);
    Some(match (kind, label) {
        (ContractKind::Registry, "admin" | "proposed_admin" | "oracles") => vec![Vec::new()],
        (ContractKind::Registry, "participant") => vec![patient.encode()],
        (ContractKind::Registry, "key") => {
            [KeyUse::Signing, KeyUse::Encryption].map(|key_use| (patient, key_use).encode()).to_vec()
        }
        (ContractKind::Registry, "device") => vec![scene.device.encode()],
        (ContractKind::Registry, "devices_of") => vec![(patient, page).encode()],
        (ContractKind::Registry, "model") => MODELS.map(|model| model.encode()).to_vec(),
        (ContractKind::Registry, "active_model") => vec![DETECTOR.encode()],
        (ContractKind::Consent, "decide") => vec![(question, 10 * 3_600u64).encode()],
        (ContractKind::Consent, "decide_each") => vec![(question, vec![10 * 3_600u64, 13 * 3_600]).encode()],
        (ContractKind::Consent, "grant_of") => vec![scene.grant.encode()],
        (ContractKind::Consent, "grants_between") => {
            vec![(patient, reader).encode(), (patient, account(5).principal()).encode()]
        }
        (ContractKind::Consent, "grants_of_patient") => vec![(patient, page).encode()],
        (ContractKind::Consent, "grants_to") => vec![(reader, page).encode()],
        (ContractKind::Consent, "directory" | "generation" | "nonce" | "wallet") => vec![patient.encode()],
        (ContractKind::Consent | ContractKind::Records, "chain_id") => vec![Vec::new()],
        (ContractKind::Records, "batch") => {
            let at = |sequence: u64| (scene.oracle, BatchKind::Records, sequence).encode();
            vec![at(1), at(2)]
        }
        (ContractKind::Records, "head") => vec![(scene.oracle, BatchKind::Records).encode()],
        (ContractKind::Records, "oracles_seen") => vec![page.encode()],
        (ContractKind::Records, "halted" | "registry") => vec![Vec::new()],
        _ => return None,
    })
}

fn call(scene: &Scene, kind: ContractKind, message: &Message, arguments: &[u8]) -> Call {
    let data = [&message.selector[..], arguments].concat();
    Call { contract: scene.account_of(kind), message: message.label, data }
}

/// The answers to every question of every contract.
async fn view(scene: &Scene) -> BTreeMap<(String, &'static str, usize), Vec<u8>> {
    let mut answers = BTreeMap::new();
    let caller = account(0x77).principal();
    for kind in ContractKind::ALL {
        for message in messages(kind).iter().filter(|message| !message.changes_state) {
            let asked = questions(scene, kind, message.label);
            let asked = asked.unwrap_or_else(|| panic!("{kind}.{} is new: say how it is asked", message.label));
            for (position, arguments) in asked.iter().enumerate() {
                let answer = scene.chain.ledger.dry_run(&caller, &call(scene, kind, message, arguments)).await;
                let answer = answer.unwrap_or_else(|error| panic!("{kind}.{}: {error}", message.label));
                answers.insert((kind.to_string(), message.label, position), answer.data);
            }
        }
    }
    answers
}

fn code_of(kind: ContractKind, error: &LedgerError) -> String {
    match error {
        // `Err` of the message's own result, then the contract's error.
        LedgerError::Reverted { data } if data.len() == 2 && data[0] == 1 => {
            kind.decode_error(&data[1..]).map_or_else(|| format!("{data:?}"), |error| error.code().to_owned())
        }
        other => other.to_string(),
    }
}

#[tokio::test]
async fn every_message_that_changes_state_refuses_a_stranger_or_touches_only_the_strangers_own() {
    let scene = Scene::new().await;
    let before = view(&scene).await;
    let mut refused = 0;
    let mut fresh = 100..;
    for kind in ContractKind::ALL {
        for message in messages(kind).iter().filter(|message| message.changes_state) {
            for stranger in &scene.strangers {
                let mut stranger = stranger.clone();
                if stranger.role.is_none() {
                    // A new one each time: who has registered is no outsider any more.
                    stranger.signer = account(fresh.next().expect("there are enough accounts"));
                }
                let what = format!("{kind}.{} by {}", message.label, stranger.name);
                let entry = attempt(&scene, &stranger, kind, message.label);
                let (arguments, outcome) = entry.unwrap_or_else(|| panic!("{what} is new: say what must become of it"));
                let call = call(&scene, kind, message, &arguments);
                let dry = scene.chain.ledger.dry_run(&stranger.signer.principal(), &call).await;
                let done = scene.chain.submit(&stranger.signer, &call).await;
                match outcome {
                    Outcome::Refused(code) => {
                        for error in [dry.expect_err(&what), done.expect_err(&what)] {
                            assert_eq!(code_of(kind, &error), code, "{what}");
                        }
                        refused += 1;
                    }
                    Outcome::OwnOnly => {
                        done.unwrap_or_else(|error| panic!("{what}: {}", code_of(kind, &error)));
                    }
                }
                assert_eq!(view(&scene).await, before, "{what} changed something of others");
            }
        }
    }
    // Refused to all three strangers: 8 messages of the registry, 4 of consent, 3 of records; the rest to some of them.
    assert!(refused >= 45, "only {refused} calls were refused");
}

#[tokio::test]
async fn selectors_are_the_default_ones_and_unknown_ones_are_not_taken() {
    let scene = Scene::new().await;
    for kind in ContractKind::ALL {
        let listed = messages(kind);
        for message in &listed {
            assert_eq!(message.selector, selector(message.label), "{kind}.{}", message.label);
        }
        // A constructor is no message, and neither is anything that is not listed.
        for name in ["new", "set_code", "terminate", "upgrade", "transfer", "set_admin"] {
            assert!(listed.iter().all(|message| message.label != name));
            let call = Call::new(scene.account_of(kind), "unknown", &());
            let call = Call { data: selector(name).to_vec(), ..call };
            let error = scene.chain.submit(&scene.chain.admin, &call).await.expect_err(name);
            assert_eq!(error.code(), "EXECUTION_FAILED", "{kind}.{name}");
        }
    }
}

#[tokio::test]
async fn arguments_that_cannot_be_read_are_not_taken() {
    let scene = Scene::new().await;
    let before = view(&scene).await;
    for kind in ContractKind::ALL {
        for message in messages(kind).iter().filter(|message| message.changes_state) {
            let Some((arguments, _)) = attempt(&scene, &scene.strangers[0], kind, message.label) else { continue };
            for length in [0, 1, arguments.len() / 2, arguments.len().saturating_sub(1)] {
                if length < arguments.len() {
                    let call = call(&scene, kind, message, &arguments[..length]);
                    let what = format!("{kind}.{} with {length} bytes: {}", message.label, hex::encode(&call.data));
                    let error = scene.chain.submit(&scene.patient, &call).await.expect_err(&what);
                    assert_eq!(error.code(), "EXECUTION_FAILED", "{what}");
                }
            }
        }
    }
    assert_eq!(view(&scene).await, before);
}
