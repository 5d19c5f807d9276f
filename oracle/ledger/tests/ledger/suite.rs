//! The scenarios that every adapter must pass. Each makes its own accounts, so they share one deployment and run in any order.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use k256::ecdsa::SigningKey;
use pulsegate_ledger::{Bundles, Clock, ContractError, Contracts, Deployment, Ledger, LedgerError, Relay, Signer};
use pulsegate_rules::consent::{self, Decision, DenyReason, Effect, GrantRequest};
use pulsegate_rules::eip712::{Domain, Validity};
use pulsegate_rules::records::{self, BatchHeader, BatchKind};
use pulsegate_rules::registry::{self, DeviceStatus, KeyAlgorithm, KeyUse, PublicKey, Role};
use pulsegate_rules::{
    Categories, Category, CidBytes, DeviceId, Generation, GrantId, ModelId, OracleKey, Principal, Purpose, Purposes,
};
use sha3::{Digest, Keccak256};

/// What every account is endowed with: enough for the deposits of a test.
const ENDOWMENT: u128 = 10_000_000_000_000_000;

/// The real time.
pub(crate) fn clock() -> Clock {
    Arc::new(now_ms)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// The bundles that the contracts' build committed.
pub(crate) fn bundles() -> Bundles {
    Bundles::from_dir(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts/artifacts")).unwrap()
}

/// One deployment and who runs it.
pub(crate) struct World {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) contracts: Contracts,
    pub(crate) admin: Signer,
}

impl World {
    /// Installs the three contracts.
    pub(crate) async fn install(ledger: Arc<dyn Ledger>, admin: Signer) -> Self {
        let deployment = Deployment::install(&*ledger, &admin, &bundles()).await.unwrap();
        let contracts = Contracts::open(Arc::clone(&ledger), deployment).await.unwrap();
        Self { ledger, contracts, admin }
    }

    /// An account with funds, another one at every call.
    pub(crate) async fn account(&self) -> Signer {
        let signer = Signer::from_seed(&rand::random());
        self.ledger.endow(&self.admin, &signer.principal(), ENDOWMENT).await.unwrap();
        signer
    }
}

/// Runs every scenario.
pub(crate) async fn run(world: &World) {
    deployment_answers_and_is_refused_elsewhere(world).await;
    participants_keys_and_devices_are_read_back(world).await;
    refused_message_makes_no_transaction(world).await;
    grant_permits_its_window_until_it_is_revoked(world).await;
    rotation_moves_generation_and_directory(world).await;
    wallet_grant_is_relayed_by_a_stranger_once(world).await;
    batch_is_anchored_once_by_enough_oracles(world).await;
    transactions_of_one_account_at_once_all_happen(world).await;
    events_are_listed_in_order_and_in_pages(world).await;
    unknown_contract_is_named(world).await;
}

fn refused(error: impl Into<ContractError>) -> Option<ContractError> {
    Some(error.into())
}

fn reason<T: core::fmt::Debug>(outcome: Result<T, LedgerError>) -> Option<ContractError> {
    outcome.unwrap_err().contract_error()
}

/// A well-formed CID of nothing.
fn cid(byte: u8) -> CidBytes {
    let mut bytes = [byte; 36];
    bytes[..4].copy_from_slice(&[1, 0x71, 0x12, 0x20]);
    CidBytes(bytes)
}

async fn deployment_answers_and_is_refused_elsewhere(world: &World) {
    let World { ledger, contracts, admin } = world;
    let identity = ledger.identity().await.unwrap();
    assert_eq!(identity.genesis, contracts.deployment.genesis);
    assert!(identity.chain_id() < 1 << 48);
    assert_eq!(contracts.registry.admin().await.unwrap(), admin.principal());
    assert_eq!(contracts.registry.proposed_admin().await.unwrap(), None);
    assert_eq!(contracts.consent.chain_id().await.unwrap(), identity.chain_id());
    assert_eq!(contracts.records.chain_id().await.unwrap(), identity.chain_id());
    assert_eq!(contracts.records.registry().await.unwrap(), contracts.registry.account());
    let elsewhere = Deployment { genesis: [7; 32], ..contracts.deployment.clone() };
    let error = Contracts::open(Arc::clone(ledger), elsewhere).await.err().unwrap();
    assert_eq!(error.code(), "WRONG_CHAIN");
}

async fn participants_keys_and_devices_are_read_back(world: &World) {
    let registry = &world.contracts.registry;
    let patient = world.account().await;
    let who = patient.principal();
    assert_eq!(registry.participant(who).await.unwrap(), None);
    let committed = registry.register_participant(&patient, Role::Patient).await.unwrap();
    let found = registry.participant(who).await.unwrap().unwrap();
    assert_eq!(found.role, Role::Patient);
    assert_eq!(found.registered_at_ms, committed.transaction.block.timestamp_ms);
    let weight = committed.transaction.weight;
    eprintln!("register_participant weighs {} ps and {} bytes of proof", weight.ref_time_ps, weight.proof_bytes);
    assert!(weight.ref_time_ps > 0 && weight.proof_bytes > 0);
    assert_eq!(committed.transaction.events.len(), 1);
    assert_eq!(committed.transaction.events[0].contract, registry.account());

    let key = PublicKey { algorithm: KeyAlgorithm::X25519Hpke, bytes: vec![5; 32] };
    registry.set_key(&patient, KeyUse::Encryption, &key).await.unwrap();
    assert_eq!(registry.key(who, KeyUse::Encryption).await.unwrap(), Some(key));
    assert_eq!(registry.key(who, KeyUse::Signing).await.unwrap(), None);

    let public_key: [u8; 32] = rand::random();
    let categories = Categories::of(&[Category::VitalSigns]);
    let device = registry.register_device(&patient, &public_key, categories).await.unwrap().value;
    assert_eq!(device, DeviceId::of_public_key(&public_key));
    assert_eq!(registry.devices_of(who, 0, 10).await.unwrap(), [device]);
    registry.set_device_status(&patient, device, DeviceStatus::Revoked).await.unwrap();
    let found = registry.device(device).await.unwrap().unwrap();
    assert_eq!((found.owner, found.public_key, found.status), (who, public_key, DeviceStatus::Revoked));
    let again = registry.set_device_status(&patient, device, DeviceStatus::Active).await;
    assert_eq!(reason(again), refused(registry::Error::DeviceRevoked));
}

async fn refused_message_makes_no_transaction(world: &World) {
    let World { ledger, contracts, .. } = world;
    let stranger = world.account().await;
    let before = ledger.finalised().await.unwrap();
    let error = contracts.registry.set_oracles(&stranger, 1, &[]).await.unwrap_err();
    assert_eq!(error.code(), "REGISTRY_NOT_AUTHORISED");
    let text = error.to_string();
    assert!(text.contains("NotAuthorised") && text.contains("set_oracles"), "{text}");
    assert!(!error.is_transient());
    assert_eq!(ledger.finalised().await.unwrap().number, before.number);
}

fn request(grantee: Principal) -> GrantRequest {
    GrantRequest {
        grantee,
        effect: Effect::Permit,
        categories: Categories::of(&[Category::VitalSigns]),
        purposes: Purposes::of(&[Purpose::Treatment]),
        from_s: 360_000,
        until_s: 720_000,
        wrapped_keys: Some(cid(1)),
        generation: Generation(0),
    }
}

async fn grant_permits_its_window_until_it_is_revoked(world: &World) {
    let consent = &world.contracts.consent;
    let (patient, reader) = (world.account().await, world.account().await.principal());
    let who = patient.principal();
    let decide =
        async |category, purpose, at_s| consent.decide(reader, who, category, purpose, at_s).await.unwrap().value;
    let (vital, treat) = (Category::VitalSigns, Purpose::Treatment);
    assert_eq!(decide(vital, treat, 360_000).await, Decision::Deny(DenyReason::NoGrant));
    let granted = consent.grant(&patient, &request(reader)).await.unwrap();
    let id = granted.value;
    assert_eq!(decide(vital, treat, 360_000).await, Decision::Permit(Some(id)));
    assert_eq!(decide(vital, treat, 720_000).await, Decision::Deny(DenyReason::OutsideWindow));
    assert_eq!(decide(Category::Ecg, treat, 360_000).await, Decision::Deny(DenyReason::CategoryNotCovered));
    assert_eq!(decide(vital, Purpose::Research, 360_000).await, Decision::Deny(DenyReason::PurposeNotCovered));
    let each = consent.decide_each(reader, who, vital, treat, &[359_999, 360_000]).await.unwrap();
    assert_eq!(each.value, [Decision::Deny(DenyReason::OutsideWindow), Decision::Permit(Some(id))]);
    assert!(each.block.number >= granted.transaction.block.number);
    let too_many = vec![360_000; consent::DECISIONS_MAX + 1];
    let too_many = consent.decide_each(reader, who, vital, treat, &too_many).await;
    assert_eq!(reason(too_many), refused(consent::Error::TooMany));

    let between = consent.grants_between(who, reader).await.unwrap().value;
    assert_eq!(consent.grants_of_patient(who, 0, 10).await.unwrap(), between);
    assert_eq!(consent.grants_to(reader, 0, 10).await.unwrap(), between);
    assert_eq!(consent.grant_of(id).await.unwrap().as_ref(), between.first());

    let stranger = world.account().await;
    assert_eq!(reason(consent.revoke(&stranger, id).await), refused(consent::Error::NotAuthorised));
    let revoked = consent.revoke(&patient, id).await.unwrap();
    let after = consent.decide(reader, who, vital, treat, 360_000).await.unwrap();
    assert_eq!(after.value, Decision::Deny(DenyReason::Revoked));
    assert!(after.block.number >= revoked.transaction.block.number);
    assert_eq!(reason(consent.revoke(&patient, id).await), refused(consent::Error::AlreadyRevoked));
    let nothing = consent.revoke(&patient, GrantId(u64::MAX)).await;
    assert_eq!(reason(nothing), refused(consent::Error::NotFound));
}

async fn rotation_moves_generation_and_directory(world: &World) {
    let consent = &world.contracts.consent;
    let (patient, reader) = (world.account().await, world.account().await.principal());
    let who = patient.principal();
    assert_eq!(consent.generation(who).await.unwrap(), Generation(0));
    assert_eq!(consent.directory(who).await.unwrap(), None);
    consent.publish_directory(&patient, cid(2)).await.unwrap();
    let id = consent.grant(&patient, &request(reader)).await.unwrap().value;
    let stale = consent.rotate(&patient, Generation(2), cid(3)).await;
    assert_eq!(reason(stale), refused(consent::Error::StaleGeneration));
    consent.rotate(&patient, Generation(1), cid(3)).await.unwrap();
    let directory = consent.directory(who).await.unwrap().unwrap();
    assert_eq!((directory.generation, directory.cid), (Generation(1), cid(3)));
    consent.rewrap(&patient, id, Generation(1), cid(4)).await.unwrap();
    let grant = consent.grant_of(id).await.unwrap().unwrap();
    assert_eq!((grant.request.generation, grant.request.wrapped_keys), (Generation(1), Some(cid(4))));
}

/// A recoverable signature r ‖ s ‖ v over a digest.
fn sign_digest(key: &SigningKey, digest: &[u8; 32]) -> [u8; 65] {
    let (signature, recovery) = key.sign_prehash_recoverable(digest).unwrap();
    let mut bytes = [0; 65];
    bytes[..64].copy_from_slice(&signature.to_bytes());
    bytes[64] = recovery.to_byte();
    bytes
}

fn ethereum_address(key: &SigningKey) -> [u8; 20] {
    let point = key.verifying_key().to_encoded_point(false);
    Keccak256::digest(&point.as_bytes()[1..])[12..].try_into().unwrap()
}

async fn wallet_grant_is_relayed_by_a_stranger_once(world: &World) {
    let World { ledger, contracts, .. } = world;
    let consent = &contracts.consent;
    let wallet = SigningKey::random(&mut rand::rngs::OsRng);
    let patient = Principal::of_ethereum_address(&ethereum_address(&wallet));
    let (relayer, reader) = (world.account().await, world.account().await.principal());
    let domain = Domain { chain_id: ledger.identity().await.unwrap().chain_id(), contract: consent.account() };
    let validity = Validity { nonce: consent.nonce(patient).await.unwrap(), deadline_s: now_ms() / 1_000 + 3_600 };
    let request = request(reader);
    let signature = sign_digest(&wallet, &domain.grant_digest(&patient, &request, &validity));
    let relay = Relay { patient, validity, signature };

    let late = Relay { validity: Validity { deadline_s: validity.deadline_s + 1, ..validity }, ..relay };
    let forged = consent.grant_signed(&relayer, &request, &late).await;
    assert_eq!(reason(forged), refused(consent::Error::InvalidSignature));
    let id = consent.grant_signed(&relayer, &request, &relay).await.unwrap().value;
    let decision = consent.decide(reader, patient, Category::VitalSigns, Purpose::Treatment, 360_000).await.unwrap();
    assert_eq!(decision.value, Decision::Permit(Some(id)));
    let replayed = consent.grant_signed(&relayer, &request, &relay).await;
    assert_eq!(reason(replayed), refused(consent::Error::InvalidNonce));

    let validity = Validity { nonce: consent.nonce(patient).await.unwrap(), deadline_s: 1 };
    let signature = sign_digest(&wallet, &domain.revoke_digest(&patient, id, &validity));
    let expired = consent.revoke_signed(&relayer, id, &Relay { patient, validity, signature }).await;
    assert_eq!(reason(expired), refused(consent::Error::Expired));
    let validity = Validity { deadline_s: now_ms() / 1_000 + 3_600, ..validity };
    let signature = sign_digest(&wallet, &domain.revoke_digest(&patient, id, &validity));
    consent.revoke_signed(&relayer, id, &Relay { patient, validity, signature }).await.unwrap();
    assert!(consent.grant_of(id).await.unwrap().unwrap().revoked_at_ms.is_some());

    let linked = world.account().await;
    consent.set_wallet(&linked, Some(ethereum_address(&wallet))).await.unwrap();
    assert_eq!(consent.wallet(linked.principal()).await.unwrap(), Some(ethereum_address(&wallet)));
}

fn header(world: &World, oracle: Principal, oracle_set: u32) -> BatchHeader {
    BatchHeader {
        kind: BatchKind::Records,
        oracle,
        sequence: 1,
        previous: [0; 32],
        merkle_root: [3; 32],
        manifest: cid(5),
        count: 64,
        model: ModelId([0; 32]),
        oracle_set,
        closed_at_ms: u64::from(world.contracts.deployment.genesis[0]),
    }
}

async fn batch_is_anchored_once_by_enough_oracles(world: &World) {
    let World { ledger, contracts, admin } = world;
    let records = &contracts.records;
    let keys: Vec<SigningKey> = (0..3).map(|_| SigningKey::random(&mut rand::rngs::OsRng)).collect();
    let public =
        |key: &SigningKey| OracleKey(key.verifying_key().to_encoded_point(true).as_bytes().try_into().unwrap());
    let members: Vec<OracleKey> = keys.iter().map(public).collect();
    let set = contracts.registry.set_oracles(admin, 2, &members).await.unwrap().value;
    assert_eq!(contracts.registry.oracles().await.unwrap().members, members);

    let relayer = world.account().await;
    let oracle = relayer.principal();
    let chain_id = ledger.identity().await.unwrap().chain_id();
    let first = header(world, oracle, set);
    let sign = |header: &BatchHeader, keys: &[SigningKey]| -> Vec<[u8; 65]> {
        let digest = header.signing_digest(chain_id, &records.account());
        keys.iter().map(|key| sign_digest(key, &digest)).collect()
    };
    let signatures = sign(&first, &keys[..2]);
    let one = records.anchor(&relayer, &first, &signatures[..1]).await;
    assert_eq!(reason(one), refused(records::Error::BelowThreshold));
    let twice = records.anchor(&relayer, &first, &[signatures[0], signatures[0]]).await;
    assert_eq!(reason(twice), refused(records::Error::InvalidSignature));
    let anchored = records.anchor(&relayer, &first, &signatures).await.unwrap();
    let weight = anchored.transaction.weight;
    eprintln!("anchor with two signatures weighs {} ps and {} bytes of proof", weight.ref_time_ps, weight.proof_bytes);
    let batch = records.batch(oracle, BatchKind::Records, 1).await.unwrap().unwrap();
    assert_eq!(batch.header, first);
    assert_eq!(batch.anchored_at_ms, anchored.transaction.block.timestamp_ms);
    assert!(records.oracles_seen(0, 32).await.unwrap().contains(&oracle));
    let again = records.anchor(&relayer, &first, &signatures).await;
    assert_eq!(reason(again), refused(records::Error::AlreadyAnchored));

    let head = records.head(oracle, BatchKind::Records).await.unwrap();
    assert_eq!((head.sequence, head.digest), (1, first.digest()));
    let broken = BatchHeader { sequence: 2, ..first.clone() };
    let outcome = records.anchor(&relayer, &broken, &sign(&broken, &keys)).await;
    assert_eq!(reason(outcome), refused(records::Error::BrokenChain));
    let gap = BatchHeader { sequence: 3, previous: first.digest(), ..first.clone() };
    assert_eq!(reason(records.anchor(&relayer, &gap, &sign(&gap, &keys)).await), refused(records::Error::SequenceGap));

    assert_eq!(reason(records.halt(&relayer).await), refused(records::Error::NotAuthorised));
    records.halt(admin).await.unwrap();
    assert!(records.halted().await.unwrap());
    let second = BatchHeader { sequence: 2, previous: first.digest(), ..first };
    let signatures = sign(&second, &keys[1..]);
    assert_eq!(reason(records.anchor(&relayer, &second, &signatures).await), refused(records::Error::Halted));
    records.resume(admin).await.unwrap();
    records.anchor(&relayer, &second, &signatures).await.unwrap();
}

async fn transactions_of_one_account_at_once_all_happen(world: &World) {
    const AT_ONCE: u8 = 8;
    let patient = world.account().await;
    let who = patient.principal();
    let consent = &world.contracts.consent;
    let mut tasks = tokio::task::JoinSet::new();
    for byte in 0..AT_ONCE {
        let (consent, patient) = (consent.clone(), patient.clone());
        tasks.spawn(async move { consent.grant(&patient, &request(Principal([byte; 32]))).await.unwrap().value });
    }
    let mut ids = tasks.join_all().await;
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), usize::from(AT_ONCE));
    assert_eq!(consent.grants_of_patient(who, 0, 32).await.unwrap().len(), usize::from(AT_ONCE));
}

async fn events_are_listed_in_order_and_in_pages(world: &World) {
    let ledger = &world.ledger;
    let patient = world.account().await;
    let first = world.contracts.consent.grant(&patient, &request(Principal([1; 32]))).await.unwrap().transaction;
    let second = world.contracts.consent.grant(&patient, &request(Principal([2; 32]))).await.unwrap().transaction;
    let all = ledger.events(first.block.number, 100).await.unwrap();
    let expected: Vec<_> = first.events.iter().chain(&second.events).cloned().collect();
    assert_eq!(all, expected);
    let page = ledger.events(first.block.number, 1).await.unwrap();
    assert_eq!(page, first.events);
    assert_eq!(ledger.events(first.block.number + 1, 1).await.unwrap(), second.events);
    assert_eq!(ledger.events(second.block.number + 1, 10).await.unwrap(), []);
}

async fn unknown_contract_is_named(world: &World) {
    let nowhere = pulsegate_ledger::RegistryClient::new(Arc::clone(&world.ledger), Principal([9; 32]));
    let error = nowhere.admin().await.unwrap_err();
    assert_eq!(error, LedgerError::NoContract { contract: Principal([9; 32]) });
}
