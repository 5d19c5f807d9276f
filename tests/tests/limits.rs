//! Every limit of the contracts reached on the embedded chain: what the rules allow must fit a transaction, an answer and a storage cell.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/chain.rs"]
mod chain;

use pulsegate_rules::consent::{
    DECISIONS_MAX, Decision, DenyReason, GRANTS_PER_PAIR_MAX, PAGE_MAX, REVOKED_PER_PAIR_MAX,
};
use pulsegate_rules::records::{BATCH_COUNT_MAX, BatchHeader};
use pulsegate_rules::registry::{
    DEVICES_PER_OWNER_MAX, KeyAlgorithm, KeyUse, ORACLES_MAX, PUBLIC_KEY_BYTES_MAX, PublicKey, Role,
};
use pulsegate_rules::{Categories, Category, Purpose, consent, registry};

use chain::{Chain, account, first_batch, oracle_key, permit, secp256k1, sign};

#[tokio::test]
async fn decision_over_a_full_pair_is_answered() {
    let chain = Chain::new().await;
    let consent = &chain.contracts.consent;
    let (patient, reader) = (account(2), account(3).principal());
    // One more is revoked than the pair remembers.
    for _ in 0..=REVOKED_PER_PAIR_MAX {
        let id = consent.grant(&patient, &permit(reader)).await.unwrap().value;
        consent.revoke(&patient, id).await.unwrap();
    }
    let ask = |at_s| consent.decide(reader, patient.principal(), Category::Ecg, Purpose::Treatment, at_s);
    assert_eq!(ask(36_000).await.unwrap().value, Decision::Deny(DenyReason::Revoked));
    let mut ids = Vec::new();
    for _ in 0..GRANTS_PER_PAIR_MAX {
        ids.push(consent.grant(&patient, &permit(reader)).await.unwrap().value);
    }
    let one_more = consent.grant(&patient, &permit(reader)).await.unwrap_err();
    assert_eq!(one_more.code(), consent::Error::TooManyGrants.code());
    assert_eq!(ask(36_000).await.unwrap().value, Decision::Permit(Some(ids[0])));
    let between = consent.grants_between(patient.principal(), reader).await.unwrap().value;
    assert_eq!(between.len(), GRANTS_PER_PAIR_MAX + REVOKED_PER_PAIR_MAX);
    let moments = [36_000; DECISIONS_MAX];
    let each = consent.decide_each(reader, patient.principal(), Category::Ecg, Purpose::Treatment, &moments);
    assert_eq!(each.await.unwrap().value, vec![Decision::Permit(Some(ids[0])); DECISIONS_MAX]);
    let page = consent.grants_of_patient(patient.principal(), 0, u32::MAX).await.unwrap();
    assert_eq!(page.len(), PAGE_MAX as usize);
    let rest = consent.grants_to(reader, 2 * PAGE_MAX, PAGE_MAX).await.unwrap();
    assert_eq!(rest.len(), 1);
}

#[tokio::test]
async fn largest_oracle_set_signs_the_largest_batch_together() {
    let chain = Chain::new().await;
    let keys: Vec<_> = (1..=ORACLES_MAX as u8).map(secp256k1).collect();
    let members: Vec<_> = keys.iter().map(oracle_key).collect();
    chain.contracts.registry.set_oracles(&chain.admin, ORACLES_MAX as u8, &members).await.unwrap();
    let header = BatchHeader { count: BATCH_COUNT_MAX, ..first_batch(account(6).principal(), 1) };
    let digest = header.signing_digest(chain.domain().await.chain_id, &chain.contracts.records.account());
    let signatures: Vec<_> = keys.iter().map(|key| sign(key, &digest)).collect();
    chain.contracts.records.anchor(&account(9), &header, &signatures).await.unwrap();
}

#[tokio::test]
async fn patient_has_the_most_devices_and_the_longest_key() {
    let chain = Chain::new().await;
    let (registry, patient) = (&chain.contracts.registry, account(2));
    registry.register_participant(&patient, Role::Patient).await.unwrap();
    let mut bytes = vec![0x55; PUBLIC_KEY_BYTES_MAX];
    let [high, low] = (PUBLIC_KEY_BYTES_MAX as u16 - 4).to_be_bytes();
    bytes[..4].copy_from_slice(&[0x30, 0x82, high, low]);
    let key = PublicKey { algorithm: KeyAlgorithm::RsaOaepSha256, bytes };
    registry.set_key(&patient, KeyUse::Encryption, &key).await.unwrap();
    assert_eq!(registry.key(patient.principal(), KeyUse::Encryption).await.unwrap(), Some(key));
    for mark in 1..=DEVICES_PER_OWNER_MAX as u8 {
        registry.register_device(&patient, &[mark; 32], Categories::ALL).await.unwrap();
    }
    let one_more = registry.register_device(&patient, &[99; 32], Categories::ALL).await.unwrap_err();
    assert_eq!(one_more.code(), registry::Error::TooManyDevices.code());
    assert_eq!(registry.devices_of(patient.principal(), 32, 32).await.unwrap().len(), 32);
}
