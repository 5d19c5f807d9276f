//! The registry contract in ink!'s off-chain environment: who may do what, and random calls against a plain model.
#![allow(clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

mod model;
#[path = "../seed.rs"]
mod seed;

use ink::env::DefaultEnvironment;
use ink::primitives::AccountId;
use pulsegate_rules::registry::{
    ActiveModel, DetectorKind, DeviceStatus, Error, KeyAlgorithm, KeyUse, OracleSet, PublicKey, Role,
};
use pulsegate_rules::{Categories, Category, DeviceId, ModelId, OracleKey, Principal};

use crate::registry::Registry;

const ADMIN: Principal = Principal([1; 32]);
const PATIENT: Principal = Principal([2; 32]);
const STRANGER: Principal = Principal([3; 32]);

fn contract() -> Registry {
    call_as(ADMIN);
    Registry::new()
}

fn call_as(caller: Principal) {
    ink::env::test::set_caller::<DefaultEnvironment>(account(caller));
}

fn account(principal: Principal) -> AccountId {
    AccountId::from(principal.0)
}

fn events_count() -> usize {
    ink::env::test::recorded_events().count()
}

fn oracle(mark: u8) -> OracleKey {
    let mut key = [mark; 33];
    key[0] = 2 + mark % 2;
    OracleKey(key)
}

fn ecg() -> Categories {
    Categories::of(&[Category::Ecg])
}

fn rsa_key(algorithm: KeyAlgorithm, length: u16) -> PublicKey {
    let [high, low] = (length - 4).to_be_bytes();
    let mut bytes = vec![0x55; usize::from(length)];
    bytes[..4].copy_from_slice(&[0x30, 0x82, high, low]);
    PublicKey { algorithm, bytes }
}

#[ink::test]
fn device_of_a_patient_is_revoked_for_ever_and_only_by_its_owner() {
    let mut registry = contract();
    call_as(PATIENT);
    assert_eq!(registry.register_device([7; 32], ecg()), Err(Error::NotAuthorised));
    registry.register_participant(Role::Patient).unwrap();
    let id = registry.register_device([7; 32], ecg()).unwrap();
    assert_eq!(id, DeviceId::of_public_key(&[7; 32]));
    assert_eq!(registry.device(id).unwrap().status, DeviceStatus::Active);
    call_as(STRANGER);
    assert_eq!(registry.set_device_status(id, DeviceStatus::Revoked), Err(Error::NotAuthorised));
    call_as(PATIENT);
    assert_eq!(registry.set_device_status(id, DeviceStatus::Quarantined), Ok(()));
    assert_eq!(registry.set_device_status(id, DeviceStatus::Revoked), Ok(()));
    for status in [DeviceStatus::Active, DeviceStatus::Quarantined, DeviceStatus::Revoked] {
        assert_eq!(registry.set_device_status(id, status), Err(Error::DeviceRevoked));
    }
    assert_eq!(registry.register_device([7; 32], ecg()), Err(Error::AlreadyExists));
    assert_eq!(registry.devices_of(PATIENT, 0, 9), vec![id]);
}

#[ink::test]
fn patient_has_a_bounded_number_of_devices() {
    let mut registry = contract();
    call_as(PATIENT);
    registry.register_participant(Role::Patient).unwrap();
    for mark in 1..=64 {
        registry.register_device([mark; 32], ecg()).unwrap();
    }
    assert_eq!(registry.register_device([65; 32], ecg()), Err(Error::TooManyDevices));
    let listed = [registry.devices_of(PATIENT, 0, u32::MAX), registry.devices_of(PATIENT, 32, u32::MAX)].concat();
    assert_eq!(listed.len(), 64);
    assert_eq!(registry.devices_of(PATIENT, u32::MAX, u32::MAX), vec![]);
}

#[ink::test]
fn key_is_taken_only_with_the_algorithm_of_its_use_and_the_length_of_its_algorithm() {
    use KeyAlgorithm::{Ed25519, RsaOaepSha256, RsaPssSha256, X25519Hpke};
    let mut registry = contract();
    call_as(PATIENT);
    let curve = |algorithm, length| PublicKey { algorithm, bytes: vec![9; length] };
    assert_eq!(registry.set_key(KeyUse::Signing, curve(Ed25519, 32)), Err(Error::NotAuthorised));
    registry.register_participant(Role::Insurer).unwrap();
    let (encryption, signing) = (KeyUse::Encryption, KeyUse::Signing);
    let good = [
        (encryption, curve(X25519Hpke, 32)),
        (encryption, rsa_key(RsaOaepSha256, 422)),
        (signing, curve(Ed25519, 32)),
        (signing, rsa_key(RsaPssSha256, 550)),
    ];
    for (key_use, key) in good {
        assert_eq!(registry.set_key(key_use, key.clone()), Ok(()));
        assert_eq!(registry.key(PATIENT, key_use), Some(key));
    }
    let wrong_length = PublicKey { bytes: vec![0x30; 422], algorithm: RsaOaepSha256 };
    let bad = [
        (encryption, curve(Ed25519, 32)),
        (signing, curve(X25519Hpke, 32)),
        (signing, rsa_key(RsaOaepSha256, 422)),
        (encryption, curve(X25519Hpke, 31)),
        (encryption, curve(X25519Hpke, 33)),
        (encryption, PublicKey { algorithm: X25519Hpke, bytes: vec![0; 32] }),
        (encryption, rsa_key(RsaOaepSha256, 294)),
        (signing, rsa_key(RsaPssSha256, 601)),
        (encryption, wrong_length),
    ];
    for (key_use, key) in bad {
        assert_eq!(registry.set_key(key_use, key.clone()), Err(Error::InvalidKey), "{key:?}");
    }
}

#[ink::test]
fn oracle_set_is_refused_when_no_quorum_of_different_keys_is_possible() {
    let mut registry = contract();
    let members = |count: u8| (0..count).map(oracle).collect::<Vec<_>>();
    assert_eq!(registry.oracles(), OracleSet { version: 0, threshold: 0, members: vec![] });
    let bad = [
        (0, members(3)),
        (4, members(3)),
        (0, vec![]),
        (1, vec![]),
        (1, members(17)),
        (1, vec![oracle(1), oracle(2), oracle(1)]),
        (1, vec![OracleKey([4; 33])]),
    ];
    for (threshold, members) in bad {
        assert_eq!(registry.set_oracles(threshold, members), Err(Error::InvalidOracleSet));
    }
    assert_eq!(registry.set_oracles(2, members(3)), Ok(1));
    assert_eq!(registry.set_oracles(16, members(16)), Ok(2));
    call_as(STRANGER);
    assert_eq!(registry.set_oracles(1, members(1)), Err(Error::NotAuthorised));
}

#[ink::test]
fn admin_is_handed_over_only_when_the_proposed_account_accepts() {
    let mut registry = contract();
    assert_eq!(registry.accept_admin(), Err(Error::NotProposed));
    registry.propose_admin(account(PATIENT)).unwrap();
    call_as(STRANGER);
    assert_eq!(registry.accept_admin(), Err(Error::NotProposed));
    assert_eq!(registry.admin(), account(ADMIN));
    call_as(PATIENT);
    assert_eq!(registry.propose_admin(account(STRANGER)), Err(Error::NotAuthorised));
    assert_eq!(registry.accept_admin(), Ok(()));
    assert_eq!((registry.admin(), registry.proposed_admin()), (account(PATIENT), None));
    assert_eq!(registry.accept_admin(), Err(Error::NotProposed));
    call_as(ADMIN);
    assert_eq!(registry.set_oracles(1, vec![oracle(1)]), Err(Error::NotAuthorised));
}

#[ink::test]
fn model_is_used_only_when_approved_and_rolls_back_one_step() {
    let mut registry = contract();
    let (one, two, kind) = (ModelId([1; 32]), ModelId([2; 32]), DetectorKind::EcgBeats);
    assert_eq!(registry.activate_model(one), Err(Error::NotFound));
    assert_eq!(registry.roll_back_model(kind), Err(Error::NothingToRollBack));
    assert_eq!(registry.approve_model(ModelId([0; 32]), kind, [0; 32], [0; 32]), Err(Error::InvalidModel));
    for id in [one, two] {
        registry.approve_model(id, kind, [8; 32], [9; 32]).unwrap();
        assert_eq!(registry.approve_model(id, kind, [8; 32], [9; 32]), Err(Error::AlreadyExists));
        registry.activate_model(id).unwrap();
        assert_eq!(registry.activate_model(id), Err(Error::AlreadyExists));
    }
    assert_eq!(registry.active_model(kind), Some(ActiveModel { current: two, previous: Some(one) }));
    assert_eq!(registry.roll_back_model(kind), Ok(()));
    assert_eq!(registry.active_model(kind), Some(ActiveModel { current: one, previous: None }));
    assert_eq!(registry.roll_back_model(kind), Err(Error::NothingToRollBack));
}
