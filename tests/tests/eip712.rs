//! Consent by an Ethereum wallet: the digests against ethers on random messages, and signed messages executed on the embedded chain.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/chain.rs"]
mod chain;

use std::collections::BTreeMap;

use ethers_core::types::transaction::eip712::{EIP712Domain, Eip712, Eip712DomainType, TypedData};
use ethers_core::types::{Address, U256};
use ethers_signers::{LocalWallet, Signer as _};
use pulsegate_ledger::contracts::Relay;
use pulsegate_rules::consent::{Decision, Effect, Error, GrantRequest};
use pulsegate_rules::eip712::{DOMAIN_NAME, DOMAIN_VERSION, Domain, GRANT_TYPE, REVOKE_TYPE, Validity};
use pulsegate_rules::{Categories, Category, CidBytes, Generation, GrantId, Principal, Purpose, Purposes};
use pulsegate_tests::seed::seeded;
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use chain::{Chain, START_MS, account, high_s_twin, permit};

const MESSAGES: usize = 500;
const NOW_S: u64 = START_MS / 1_000;

/// The struct type in the text, as ethers wants it: name and type of every field.
fn fields(struct_type: &str) -> (String, Vec<Eip712DomainType>) {
    let (name, list) = struct_type.trim_end_matches(')').split_once('(').expect("Name(type name,…)");
    let field = |pair: &str| {
        let (kind, name) = pair.split_once(' ').expect("type and name");
        Eip712DomainType { name: name.to_owned(), r#type: kind.to_owned() }
    };
    (name.to_owned(), list.split(',').map(field).collect())
}

fn typed_data(domain: &Domain, struct_type: &str, message: Value) -> TypedData {
    let (primary_type, fields) = fields(struct_type);
    let Value::Object(message) = message else { panic!("a message is an object") };
    TypedData {
        domain: EIP712Domain {
            name: Some(DOMAIN_NAME.to_owned()),
            version: Some(DOMAIN_VERSION.to_owned()),
            chain_id: Some(U256::from(domain.chain_id)),
            verifying_contract: Some(Address::from_slice(&domain.contract.0[..20])),
            salt: Some(domain.contract.0),
        },
        types: BTreeMap::from([(primary_type.clone(), fields)]),
        primary_type,
        message: message.into_iter().collect(),
    }
}

/// Numbers as hex text: JSON numbers would lose the upper bits.
fn number(value: u64) -> String {
    format!("{value:#x}")
}

fn typed_grant(domain: &Domain, patient: &Principal, request: &GrantRequest, validity: &Validity) -> TypedData {
    let wrapped_keys = request.wrapped_keys.map_or("0x".to_owned(), |cid| cid.to_string());
    let message = json!({
        "patient": patient.to_string(),
        "grantee": request.grantee.to_string(),
        "effect": number(request.effect as u64),
        "categories": number(request.categories.0.into()),
        "purposes": number(request.purposes.0.into()),
        "from": number(request.from_s),
        "until": number(request.until_s),
        "wrappedKeys": wrapped_keys,
        "generation": number(request.generation.0.into()),
        "nonce": number(validity.nonce),
        "deadline": number(validity.deadline_s),
    });
    typed_data(domain, GRANT_TYPE, message)
}

fn typed_revocation(domain: &Domain, patient: &Principal, grant: GrantId, validity: &Validity) -> TypedData {
    let message = json!({
        "patient": patient.to_string(),
        "grantId": number(grant.0),
        "nonce": number(validity.nonce),
        "deadline": number(validity.deadline_s),
    });
    typed_data(domain, REVOKE_TYPE, message)
}

fn random_request(rng: &mut StdRng) -> GrantRequest {
    GrantRequest {
        grantee: Principal(rng.r#gen()),
        effect: if rng.r#gen() { Effect::Permit } else { Effect::Deny },
        categories: Categories(rng.r#gen()),
        purposes: Purposes(rng.r#gen()),
        from_s: rng.r#gen(),
        until_s: rng.r#gen(),
        wrapped_keys: rng.r#gen::<bool>().then(|| CidBytes(std::array::from_fn(|_| rng.r#gen()))),
        generation: Generation(rng.r#gen()),
    }
}

#[test]
fn digests_are_those_of_ethers_for_random_messages() {
    let mut rng = seeded("EIP-712 against ethers");
    for _ in 0..MESSAGES {
        let domain = Domain { chain_id: rng.r#gen(), contract: Principal(rng.r#gen()) };
        let validity = Validity { nonce: rng.r#gen(), deadline_s: rng.r#gen() };
        let (patient, request, grant) = (Principal(rng.r#gen()), random_request(&mut rng), GrantId(rng.r#gen()));
        let theirs = typed_grant(&domain, &patient, &request, &validity).encode_eip712().unwrap();
        assert_eq!(domain.grant_digest(&patient, &request, &validity), theirs, "{request:?}");
        let theirs = typed_revocation(&domain, &patient, grant, &validity).encode_eip712().unwrap();
        assert_eq!(domain.revoke_digest(&patient, grant, &validity), theirs, "{grant:?}");
    }
}

fn wallet(mark: u8) -> LocalWallet {
    LocalWallet::from_bytes(&[mark; 32]).expect("small numbers are keys")
}

fn principal_of(wallet: &LocalWallet) -> Principal {
    Principal::of_ethereum_address(&wallet.address().0)
}

/// What a wallet program does with typed data.
async fn sign(wallet: &LocalWallet, data: &TypedData) -> [u8; 65] {
    let signature = wallet.sign_typed_data(data).await.expect("the wallet signs");
    signature.to_vec().try_into().expect("65 bytes")
}

async fn signed_grant(chain: &Chain, by: &LocalWallet, patient: Principal, validity: Validity) -> Relay {
    let data = typed_grant(&chain.domain().await, &patient, &permit(account(3).principal()), &validity);
    Relay { patient, validity, signature: sign(by, &data).await }
}

/// Relays a signed grant; `Err` is the contract's own reason.
async fn relay(chain: &Chain, relay: &Relay) -> Result<GrantId, &'static str> {
    let request = permit(account(3).principal());
    let done = chain.contracts.consent.grant_signed(&account(9), &request, relay).await;
    done.map(|committed| committed.value).map_err(|error| error.code())
}

#[tokio::test]
async fn wallet_signed_grant_relayed_by_a_stranger_opens_and_its_revocation_closes() {
    let chain = Chain::new().await;
    let consent = &chain.contracts.consent;
    let wallet = wallet(9);
    let (patient, reader) = (principal_of(&wallet), account(3).principal());
    let validity = Validity { nonce: 0, deadline_s: NOW_S };
    let id = relay(&chain, &signed_grant(&chain, &wallet, patient, validity).await).await.unwrap();
    assert_eq!(id, GrantId(1));
    let ask = || consent.decide(reader, patient, Category::Ecg, Purpose::Treatment, 11 * 3_600);
    assert_eq!(ask().await.unwrap().value, Decision::Permit(Some(id)));
    assert_eq!(consent.nonce(patient).await.unwrap(), 1);
    let validity = Validity { nonce: 1, deadline_s: NOW_S };
    let data = typed_revocation(&chain.domain().await, &patient, id, &validity);
    let revocation = Relay { patient, validity, signature: sign(&wallet, &data).await };
    consent.revoke_signed(&account(9), id, &revocation).await.unwrap();
    assert!(matches!(ask().await.unwrap().value, Decision::Deny(_)));
    assert_eq!(consent.nonce(patient).await.unwrap(), 2);
}

#[tokio::test]
async fn linked_wallet_grants_for_a_substrate_account() {
    let chain = Chain::new().await;
    let (wallet, patient) = (wallet(9), account(2));
    let validity = Validity { nonce: 0, deadline_s: NOW_S };
    let early = signed_grant(&chain, &wallet, patient.principal(), validity).await;
    assert_eq!(relay(&chain, &early).await, Err(Error::InvalidSignature.code()));
    chain.contracts.consent.set_wallet(&patient, Some(wallet.address().0)).await.unwrap();
    assert_eq!(relay(&chain, &early).await, Err(Error::InvalidNonce.code()), "linking makes earlier messages void");
    let validity = Validity { nonce: 1, deadline_s: NOW_S };
    let good = signed_grant(&chain, &wallet, patient.principal(), validity).await;
    assert_eq!(relay(&chain, &good).await, Ok(GrantId(1)));
}

#[tokio::test]
async fn used_nonce_and_passed_deadline_have_their_own_errors_and_change_nothing() {
    let chain = Chain::new().await;
    let wallet = wallet(9);
    let patient = principal_of(&wallet);
    let good = signed_grant(&chain, &wallet, patient, Validity { nonce: 0, deadline_s: NOW_S }).await;
    assert_eq!(relay(&chain, &good).await, Ok(GrantId(1)));
    assert_eq!(relay(&chain, &good).await, Err(Error::InvalidNonce.code()));
    let ahead = signed_grant(&chain, &wallet, patient, Validity { nonce: 2, deadline_s: NOW_S }).await;
    assert_eq!(relay(&chain, &ahead).await, Err(Error::InvalidNonce.code()));
    let timely = signed_grant(&chain, &wallet, patient, Validity { nonce: 1, deadline_s: NOW_S }).await;
    chain.set_now_ms((NOW_S + 1) * 1_000);
    // Time passes on the chain only with a block.
    chain.contracts.consent.set_wallet(&account(8), None).await.unwrap();
    assert_eq!(relay(&chain, &timely).await, Err(Error::Expired.code()));
    assert_eq!(chain.contracts.consent.nonce(patient).await.unwrap(), 1);
    assert_eq!(chain.contracts.consent.grants_of_patient(patient, 0, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn signature_in_any_other_form_or_of_any_other_message_is_refused() {
    let chain = Chain::new().await;
    let wallet = wallet(9);
    let patient = principal_of(&wallet);
    let validity = Validity { nonce: 0, deadline_s: NOW_S };
    let good = signed_grant(&chain, &wallet, patient, validity).await;
    let refused = Err(Error::InvalidSignature.code());
    let mut low_v = good;
    low_v.signature[64] -= 27;
    let mut bad = vec![high_s_twin(&low_v.signature), [0; 65], [0xff; 65]];
    // r that is no x coordinate of the curve (5), r at and above the order, and a v of neither kind.
    for r in [5, 0xff] {
        let mut signature = low_v.signature;
        signature[..32].copy_from_slice(&[if r == 5 { 0 } else { r }; 32]);
        signature[31] = r;
        bad.push(signature);
    }
    for v in [2, 3, 26, 29, 30, 255] {
        let mut signature = good.signature;
        signature[64] = v;
        bad.push(signature);
    }
    for position in [0, 31, 32, 63] {
        let mut signature = good.signature;
        signature[position] ^= 1;
        bad.push(signature);
    }
    for signature in bad {
        assert_eq!(relay(&chain, &Relay { signature, ..good }).await, refused, "{}", hex::encode(signature));
    }
    let domain = chain.domain().await;
    for other in [Domain { chain_id: domain.chain_id ^ 1, ..domain }, Domain { contract: patient, ..domain }] {
        let data = typed_grant(&other, &patient, &permit(account(3).principal()), &validity);
        let signature = sign(&wallet, &data).await;
        assert_eq!(relay(&chain, &Relay { signature, ..good }).await, refused);
    }
    assert_eq!(relay(&chain, &low_v).await, Ok(GrantId(1)));
}
