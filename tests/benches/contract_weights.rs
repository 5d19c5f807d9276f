//! What the contracts cost: code sizes, and the weight of each message on the embedded chain, whose weights are the contracts node's.
//!
//! `cargo bench -p pulsegate-tests --bench contract_weights`. Weights are counted, not timed, so they are the same on every machine.
#![expect(clippy::print_stdout, reason = "printing is what it is for")]

#[path = "../tests/support/chain.rs"]
mod chain;

use parity_scale_codec::Encode;
use pulsegate_ledger::{Bundles, Call, ContractKind, Ledger, Signer, Weight};
use pulsegate_rules::eip712::Validity;
use pulsegate_rules::records::{BatchHeader, BatchKind};
use pulsegate_rules::registry::{DetectorKind, DeviceStatus, KeyAlgorithm, KeyUse, PublicKey, Role};
use pulsegate_rules::{Categories, Category, DeviceId, Generation, GrantId, ModelId, Principal, Purpose};

use chain::{Chain, START_MS, account, bundles, cid, first_batch, oracle_key, permit, secp256k1, sign};

/// Computation that a block of the contracts node has for transactions: 1.5 s on the reference machine.
const BLOCK_REF_TIME_PS: u64 = 1_500_000_000_000;

/// One message that is sent, with whom and what.
struct Step {
    kind: ContractKind,
    message: &'static str,
    note: &'static str,
    signer: Signer,
    arguments: Vec<u8>,
}

fn step(kind: ContractKind, message: &'static str, signer: &Signer, arguments: impl Encode) -> Step {
    Step { kind, message, note: "", signer: signer.clone(), arguments: arguments.encode() }
}

#[tokio::main]
async fn main() {
    let Bundles { registry, consent, records } = bundles();
    println!("code sizes, bytes of wasm (the embedded chain takes 131072)");
    for bundle in [registry, consent, records] {
        println!("  {:<10} {:>7}", bundle.name(), bundle.code().len());
    }
    let chain = Chain::new().await;
    println!(
        "\nweight of each message: computation in microseconds of the reference machine, storage proof in bytes, share of a block"
    );
    for step in changes(&chain).await {
        let weight = send(&chain, &step).await;
        print(&step, weight);
    }
    println!("\nweight of each question");
    for step in questions(&chain) {
        let weight = ask(&chain, &step).await;
        print(&step, weight);
    }
    println!(
        "\ncomputation per record of a batch, microseconds: the signatures and the header cost the same whatever the count"
    );
    let anchor = anchor_step(&chain, 2, &[secp256k1(0x31)]).await;
    let weight = send(&chain, &anchor).await;
    for count in [1u64, 64, 1_024] {
        println!("  {count:>5} records  {:>10.2}", weight.ref_time_ps as f64 / 1e6 / count as f64);
    }
}

fn print(step: &Step, weight: Weight) {
    let name = format!("{}.{}{}", step.kind, step.message, step.note);
    let micros = weight.ref_time_ps as f64 / 1e6;
    let share = weight.ref_time_ps as f64 / BLOCK_REF_TIME_PS as f64 * 100.0;
    println!("  {name:<44} {micros:>9.1} us {:>8} B {share:>7.3} %", weight.proof_bytes);
}

fn call(chain: &Chain, step: &Step) -> Call {
    let deployment = &chain.contracts.deployment;
    let contract = match step.kind {
        ContractKind::Registry => deployment.registry,
        ContractKind::Consent => deployment.consent,
        ContractKind::Records => deployment.records,
    };
    let mut call = Call::new(contract, step.message, &());
    call.data.extend(&step.arguments);
    call
}

async fn send(chain: &Chain, step: &Step) -> Weight {
    let done = chain.submit(&step.signer, &call(chain, step)).await;
    done.unwrap_or_else(|error| panic!("{}.{}: {error}", step.kind, step.message)).weight
}

async fn ask(chain: &Chain, step: &Step) -> Weight {
    let answer = chain.ledger.dry_run(&step.signer.principal(), &call(chain, step)).await;
    answer.unwrap_or_else(|error| panic!("{}.{}: {error}", step.kind, step.message)).weight
}

/// Every message that changes state, in an order in which each succeeds.
async fn changes(chain: &Chain) -> Vec<Step> {
    use ContractKind::{Consent, Records, Registry};
    let (admin, patient, reader) = (&chain.admin, &account(2), account(3).principal());
    let wallet = secp256k1(0x51);
    let wallet_address = address(&wallet);
    let key = PublicKey { algorithm: KeyAlgorithm::Ed25519, bytes: vec![9; 32] };
    let device = DeviceId::of_public_key(&[7; 32]);
    let (model, second, kind) = (ModelId([1; 32]), ModelId([2; 32]), DetectorKind::EcgBeats);
    let keys = [0x31, 0x32, 0x33].map(secp256k1);
    let members = keys.each_ref().map(oracle_key).to_vec();
    let domain = chain.domain().await;
    let (principal, deadline_s) = (patient.principal(), START_MS / 1_000);
    // Linking the wallet uses nonce 0.
    let at = |nonce| Validity { nonce, deadline_s };
    let mut request = permit(reader);
    request.generation = Generation(1);
    let grant_signature = sign(&wallet, &domain.grant_digest(&principal, &request, &at(1)));
    let revoke_signature = sign(&wallet, &domain.revoke_digest(&principal, GrantId(2), &at(2)));
    let mut steps = vec![
        step(Registry, "register_participant", patient, Role::Patient),
        step(Registry, "set_key", patient, (KeyUse::Signing, key)),
        step(Registry, "register_device", patient, ([7u8; 32], Categories::ALL)),
        step(Registry, "set_device_status", patient, (device, DeviceStatus::Quarantined)),
        step(Registry, "set_oracles", admin, (2u8, members)),
        step(Registry, "approve_model", admin, (model, kind, [1u8; 32], [2u8; 32])),
        step(Registry, "approve_model", admin, (second, kind, [1u8; 32], [2u8; 32])),
        step(Registry, "activate_model", admin, model),
        step(Registry, "activate_model", admin, second),
        step(Registry, "roll_back_model", admin, kind),
        step(Registry, "propose_admin", admin, admin.principal()),
        step(Registry, "accept_admin", admin, ()),
        step(Consent, "publish_directory", patient, cid(1)),
        step(Consent, "grant", patient, permit(reader)),
        step(Consent, "rotate", patient, (Generation(1), cid(2))),
        step(Consent, "rewrap", patient, (GrantId(1), Generation(1), cid(3))),
        step(Consent, "set_wallet", patient, Some(wallet_address)),
        step(Consent, "grant_signed", patient, (principal, request, 1u64, deadline_s, grant_signature)),
        step(Consent, "revoke_signed", patient, (principal, GrantId(2), 2u64, deadline_s, revoke_signature)),
        step(Consent, "revoke", patient, GrantId(1)),
        step(Records, "halt", admin, ()),
        step(Records, "resume", admin, ()),
    ];
    steps.push(Step { note: " (2 signatures)", ..anchor_of(chain, &keys[..2], &first_batch(oracle(), 1)).await });
    // From here on one oracle suffices.
    steps.push(step(Registry, "set_oracles", admin, (1u8, vec![oracle_key(&keys[0])])));
    let second = BatchHeader { kind: BatchKind::Receipts, ..first_batch(oracle(), 2) };
    steps.push(Step { note: " (1 signature)", ..anchor_of(chain, &keys[..1], &second).await });
    steps
}

fn oracle() -> Principal {
    account(6).principal()
}

async fn anchor_of(chain: &Chain, keys: &[k256::ecdsa::SigningKey], header: &BatchHeader) -> Step {
    let digest = header.signing_digest(chain.domain().await.chain_id, &chain.contracts.records.account());
    let signatures: Vec<_> = keys.iter().map(|key| sign(key, &digest)).collect();
    step(ContractKind::Records, "anchor", &account(6), (header, signatures))
}

/// The second batch of records of the oracle.
async fn anchor_step(chain: &Chain, oracle_set: u32, keys: &[k256::ecdsa::SigningKey]) -> Step {
    let head = chain.contracts.records.head(oracle(), BatchKind::Records).await.expect("the chain answers");
    let sequence = head.sequence + 1;
    let header = BatchHeader { sequence, previous: head.digest, ..first_batch(oracle(), oracle_set) };
    anchor_of(chain, keys, &header).await
}

fn questions(chain: &Chain) -> Vec<Step> {
    use ContractKind::{Consent, Records, Registry};
    let (caller, patient, reader) = (&chain.admin, account(2).principal(), account(3).principal());
    let about = (reader, patient, Category::Ecg, Purpose::Treatment);
    let (page, device) = ((0u32, 32u32), DeviceId::of_public_key(&[7; 32]));
    vec![
        step(Registry, "participant", caller, patient),
        step(Registry, "key", caller, (patient, KeyUse::Signing)),
        step(Registry, "device", caller, device),
        step(Registry, "devices_of", caller, (patient, page)),
        step(Registry, "oracles", caller, ()),
        step(Registry, "active_model", caller, DetectorKind::EcgBeats),
        step(Consent, "decide", caller, (about, 36_000u64)),
        Step { note: " (168 moments)", ..step(Consent, "decide_each", caller, (about, vec![36_000u64; 168])) },
        step(Consent, "grants_between", caller, (patient, reader)),
        step(Consent, "grants_of_patient", caller, (patient, page)),
        step(Consent, "directory", caller, patient),
        step(Records, "batch", caller, (oracle(), BatchKind::Records, 1u64)),
        step(Records, "head", caller, (oracle(), BatchKind::Records)),
    ]
}

/// The Ethereum address of a key: the last 20 bytes of the Keccak-256 of the uncompressed point.
fn address(key: &k256::ecdsa::SigningKey) -> [u8; 20] {
    let point = key.verifying_key().to_encoded_point(false);
    let digest = ethers_core::utils::keccak256(&point.as_bytes()[1..]);
    digest[12..].try_into().expect("20 bytes are left")
}
