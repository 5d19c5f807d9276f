//! The suite on the embedded chain, and what its node part promises: signatures, nonces, time, reopening.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parity_scale_codec::Encode;
use pulsegate_ledger::embedded::{Action, CALL_BYTES_MAX, EmbeddedLedger, SignedCall};
use pulsegate_ledger::{Bundles, Clock, Contracts, Ledger, Signer, selector};
use pulsegate_rules::Principal;
use pulsegate_rules::registry::Role;

use crate::suite::{World, clock, run};

#[tokio::test(flavor = "multi_thread")]
async fn suite_passes_on_the_embedded_chain() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = EmbeddedLedger::open(dir.path(), clock()).unwrap();
    run(&World::install(Arc::new(ledger), Signer::dev("Alice")).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reopened_chain_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = EmbeddedLedger::open(dir.path(), clock()).unwrap();
    let world = World::install(Arc::new(ledger.clone()), Signer::dev("Alice")).await;
    let patient = world.account().await;
    world.contracts.registry.register_participant(&patient, Role::Patient).await.unwrap();
    let (identity, head, root) =
        (ledger.identity().await.unwrap(), ledger.finalised().await.unwrap(), ledger.state_root());
    let deployment = world.contracts.deployment.clone();
    let second = EmbeddedLedger::open(dir.path(), clock());
    assert_eq!(second.err().unwrap().code(), "LEDGER_STORAGE_FAILED", "one process at a time");
    drop((world, ledger));

    let ledger = EmbeddedLedger::open(dir.path(), clock()).unwrap();
    assert_eq!(ledger.identity().await.unwrap(), identity);
    assert_eq!((ledger.finalised().await.unwrap(), ledger.state_root()), (head, root));
    let contracts = Contracts::open(Arc::new(ledger.clone()), deployment).await.unwrap();
    assert!(contracts.registry.participant(patient.principal()).await.unwrap().is_some());
    let next = world_account();
    let committed = contracts.registry.register_participant(&next, Role::Insurer).await.unwrap();
    assert_eq!(committed.transaction.block.number, head.number + 1);
}

fn world_account() -> Signer {
    Signer::from_seed(&rand::random())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_data_directory_is_another_chain() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let genesis = async |dir: &tempfile::TempDir| {
        EmbeddedLedger::open(dir.path(), clock()).unwrap().identity().await.unwrap().genesis
    };
    assert_ne!(genesis(&one).await, genesis(&other).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_replayed_and_foreign_transactions_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = EmbeddedLedger::open(dir.path(), clock()).unwrap();
    let world = World::install(Arc::new(ledger.clone()), Signer::dev("Alice")).await;
    let genesis = ledger.identity().await.unwrap().genesis;
    let (patient, thief) = (world_account(), world_account());
    let mut data = selector("register_participant").to_vec();
    Role::Patient.encode_to(&mut data);
    let action = Action::Call { contract: world.contracts.registry.account(), data };

    let good = SignedCall::sign(&genesis, &patient, 0, action.clone());
    let foreign = SignedCall::sign(&[1; 32], &patient, 0, action.clone());
    assert_eq!(ledger.apply(&foreign).unwrap_err().code(), "INVALID_SIGNATURE");
    let stolen = SignedCall { signer: thief.principal(), ..good.clone() };
    assert_eq!(ledger.apply(&stolen).unwrap_err().code(), "INVALID_SIGNATURE");
    let changed = SignedCall { nonce: 1, ..good.clone() };
    assert_eq!(ledger.apply(&changed).unwrap_err().code(), "INVALID_SIGNATURE");
    let early = SignedCall::sign(&genesis, &patient, 1, action.clone());
    assert_eq!(ledger.apply(&early).unwrap_err().code(), "STALE_NONCE");
    let huge = Action::Call { contract: Principal([0; 32]), data: vec![0; CALL_BYTES_MAX + 1] };
    let huge = SignedCall::sign(&genesis, &patient, 0, huge);
    assert_eq!(ledger.apply(&huge).unwrap_err().code(), "TOO_LARGE");
    let before = ledger.finalised().await.unwrap();
    let garbage = Action::Call { contract: world.contracts.registry.account(), data: vec![1, 2, 3] };
    let garbage = SignedCall::sign(&genesis, &patient, 0, garbage);
    assert_eq!(ledger.apply(&garbage).unwrap_err().code(), "EXECUTION_FAILED");
    assert_eq!(ledger.finalised().await.unwrap(), before, "a refused transaction makes no block");
    assert_eq!(ledger.nonce(&patient.principal()), 0);

    let (_, transaction) = ledger.apply(&good).unwrap();
    assert_eq!(transaction.hash, good.hash());
    assert_eq!(ledger.nonce(&patient.principal()), 1);
    assert_eq!(ledger.apply(&good).unwrap_err().code(), "STALE_NONCE");
}

#[tokio::test(flavor = "multi_thread")]
async fn block_time_never_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    let now = Arc::new(AtomicU64::new(1_000_000));
    let source = Arc::clone(&now);
    let clock: Clock = Arc::new(move || source.load(Ordering::Relaxed));
    let ledger = EmbeddedLedger::open(dir.path(), clock).unwrap();
    let world = World::install(Arc::new(ledger), Signer::dev("Alice")).await;
    let register = async || {
        let committed = world.contracts.registry.register_participant(&world_account(), Role::Patient).await;
        committed.unwrap().transaction.block.timestamp_ms
    };
    assert_eq!(register().await, 1_000_000);
    now.store(2_000_000, Ordering::Relaxed);
    assert_eq!(register().await, 2_000_000);
    now.store(1_500_000, Ordering::Relaxed);
    assert_eq!(register().await, 2_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn chain_goes_on_after_replaced_trie_nodes_are_dropped_from_memory() {
    /// More than the number of blocks after which they are dropped.
    const BLOCKS: u64 = 1_100;
    let dir = tempfile::tempdir().unwrap();
    let ledger = EmbeddedLedger::open(dir.path(), clock()).unwrap();
    let world = World::install(Arc::new(ledger.clone()), Signer::dev("Alice")).await;
    let begun = std::time::Instant::now();
    let mut first = None;
    for _ in 0..BLOCKS {
        let account = world_account();
        world.contracts.registry.register_participant(&account, Role::Researcher).await.unwrap();
        first.get_or_insert(account.principal());
    }
    eprintln!("{BLOCKS} transactions, each durable, in {:?}", begun.elapsed());
    let oldest = first.unwrap();
    assert!(world.contracts.registry.participant(oldest).await.unwrap().is_some());
    let (head, root) = (ledger.finalised().await.unwrap(), ledger.state_root());
    assert_eq!(head.number, BLOCKS + 3);
    drop((world, ledger));
    let ledger = EmbeddedLedger::open(dir.path(), clock()).unwrap();
    assert_eq!((ledger.finalised().await.unwrap(), ledger.state_root()), (head, root));
}

#[test]
fn every_message_of_the_contracts_has_a_client_method() {
    let sources = ["registry", "consent", "records"].map(|name| {
        let path = format!("{}/src/contracts/{name}.rs", env!("CARGO_MANIFEST_DIR"));
        (name, std::fs::read_to_string(path).unwrap())
    });
    let bundles = crate::suite::bundles();
    let built_in = Bundles::embedded().unwrap();
    assert_eq!(bundles.registry.code_hash(), built_in.registry.code_hash());
    assert_eq!(bundles.consent.code_hash(), built_in.consent.code_hash());
    assert_eq!(bundles.records.code_hash(), built_in.records.code_hash());
    for ((name, source), bundle) in sources.iter().zip([&bundles.registry, &bundles.consent, &bundles.records]) {
        assert_eq!(bundle.name(), *name);
        for message in bundle.selectors().keys().filter(|message| *message != "new") {
            assert!(bundle.has_message(message), "{message} has a selector of its own");
            assert!(source.contains(&format!("\"{message}\"")), "no method of the {name} client calls {message}");
        }
    }
}
