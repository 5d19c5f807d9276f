//! The consent contract in ink!'s off-chain environment: wiring, wallet signatures, and random calls against a plain model.
#![allow(clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

mod model;
#[path = "../seed.rs"]
mod seed;
mod wallet;

use ink::env::DefaultEnvironment;
use ink::primitives::AccountId;
use pulsegate_rules::consent::{Decision, DenyReason, Effect, Error, GrantRequest};
use pulsegate_rules::{Categories, Category, CidBytes, Generation, GrantId, Principal, Purpose, Purposes};

use crate::consent::Consent;

const CHAIN_ID: u64 = 0x0102_0304_0506;
const HOUR_S: u64 = 3_600;
const PATIENT: Principal = Principal([1; 32]);
const READER: Principal = Principal([2; 32]);
const STRANGER: Principal = Principal([3; 32]);

fn contract_at(now_ms: u64) -> Consent {
    let consent = Consent::new(CHAIN_ID);
    set_time(now_ms);
    call_as(PATIENT);
    consent
}

fn call_as(caller: Principal) {
    ink::env::test::set_caller::<DefaultEnvironment>(AccountId::from(caller.0));
}

fn set_time(now_ms: u64) {
    ink::env::test::set_block_timestamp::<DefaultEnvironment>(now_ms);
}

fn events_count() -> usize {
    ink::env::test::recorded_events().count()
}

fn cid(mark: u8) -> CidBytes {
    let mut bytes = [mark; 36];
    bytes[..4].copy_from_slice(&[1, 0x71, 0x12, 0x20]);
    CidBytes(bytes)
}

fn permit() -> GrantRequest {
    GrantRequest {
        grantee: READER,
        effect: Effect::Permit,
        categories: Categories::of(&[Category::VitalSigns]),
        purposes: Purposes::of(&[Purpose::Treatment]),
        from_s: 10 * HOUR_S,
        until_s: 12 * HOUR_S,
        wrapped_keys: Some(cid(7)),
        generation: Generation(0),
    }
}

fn denial() -> GrantRequest {
    GrantRequest { effect: Effect::Deny, wrapped_keys: None, ..permit() }
}

fn decide(consent: &Consent, category: Category, purpose: Purpose, at_s: u64) -> Decision {
    consent.decide(READER, PATIENT, category, purpose, at_s)
}

#[ink::test]
fn grant_opens_exactly_its_window_category_and_purpose() {
    let mut consent = contract_at(5);
    let id = consent.grant(permit()).unwrap();
    assert_eq!(id, GrantId(1));
    assert_eq!(consent.grant_of(id).unwrap().granted_at_ms, 5);
    let (vital, treat) = (Category::VitalSigns, Purpose::Treatment);
    assert_eq!(decide(&consent, vital, treat, 10 * HOUR_S), Decision::Permit(Some(id)));
    assert_eq!(decide(&consent, vital, treat, 12 * HOUR_S - 1), Decision::Permit(Some(id)));
    let denied = |reason| Decision::Deny(reason);
    assert_eq!(decide(&consent, vital, treat, 10 * HOUR_S - 1), denied(DenyReason::OutsideWindow));
    assert_eq!(decide(&consent, vital, treat, 12 * HOUR_S), denied(DenyReason::OutsideWindow));
    assert_eq!(decide(&consent, Category::Ecg, treat, 11 * HOUR_S), denied(DenyReason::CategoryNotCovered));
    assert_eq!(decide(&consent, vital, Purpose::Research, 11 * HOUR_S), denied(DenyReason::PurposeNotCovered));
    let stranger = consent.decide(STRANGER, PATIENT, vital, treat, 11 * HOUR_S);
    assert_eq!(stranger, denied(DenyReason::NoGrant));
}

#[ink::test]
fn revoked_consent_denies_access_to_the_past_too() {
    let mut consent = contract_at(5);
    let id = consent.grant(permit()).unwrap();
    set_time(9);
    assert_eq!(consent.revoke(id), Ok(()));
    assert_eq!(consent.grant_of(id).unwrap().revoked_at_ms, Some(9));
    let decision = decide(&consent, Category::VitalSigns, Purpose::Treatment, 11 * HOUR_S);
    assert_eq!(decision, Decision::Deny(DenyReason::Revoked));
    assert_eq!(consent.revoke(id), Err(Error::AlreadyRevoked));
    assert_eq!(events_count(), 2);
}

#[ink::test]
fn denial_wins_over_every_permit_until_it_is_revoked() {
    let mut consent = contract_at(5);
    let permitted = consent.grant(permit()).unwrap();
    let denied = consent.grant(denial()).unwrap();
    let ask = |consent: &Consent| decide(consent, Category::VitalSigns, Purpose::Treatment, 11 * HOUR_S);
    assert_eq!(ask(&consent), Decision::Deny(DenyReason::DeniedByPatient));
    consent.revoke(denied).unwrap();
    assert_eq!(ask(&consent), Decision::Permit(Some(permitted)));
}

#[ink::test]
fn stranger_changes_no_grant_of_another() {
    let mut consent = contract_at(5);
    let id = consent.grant(permit()).unwrap();
    for caller in [READER, STRANGER] {
        call_as(caller);
        assert_eq!(consent.revoke(id), Err(Error::NotAuthorised));
        assert_eq!(consent.rewrap(id, Generation(0), cid(8)), Err(Error::NotAuthorised));
    }
    assert_eq!(consent.revoke(GrantId(2)), Err(Error::NotFound));
    assert_eq!(events_count(), 1);
}

#[ink::test]
fn rotation_makes_grants_of_the_old_generation_impossible_and_rewrap_carries_old_ones_over() {
    let mut consent = contract_at(5);
    let id = consent.grant(permit()).unwrap();
    assert_eq!(consent.directory(PATIENT), None);
    assert_eq!(consent.rotate(Generation(2), cid(9)), Err(Error::StaleGeneration));
    assert_eq!(consent.rotate(Generation(1), CidBytes([0; 36])), Err(Error::InvalidDirectory));
    assert_eq!(consent.rotate(Generation(1), cid(9)), Ok(()));
    assert_eq!(consent.generation(PATIENT), Generation(1));
    assert_eq!(consent.directory(PATIENT).unwrap().cid, cid(9));
    assert_eq!(consent.grant(permit()), Err(Error::StaleGeneration));
    assert_eq!(consent.rewrap(id, Generation(0), cid(8)), Err(Error::StaleGeneration));
    assert_eq!(consent.rewrap(id, Generation(1), cid(8)), Ok(()));
    let grant = consent.grant_of(id).unwrap();
    assert_eq!((grant.request.generation, grant.request.wrapped_keys), (Generation(1), Some(cid(8))));
}

#[ink::test]
fn each_defect_of_a_request_has_its_own_error() {
    let mut consent = contract_at(5);
    let epochs_end_s = (1 << 24) * HOUR_S;
    let cases = [
        (GrantRequest { grantee: PATIENT, ..permit() }, Error::SelfGrant),
        (GrantRequest { categories: Categories(0), ..permit() }, Error::InvalidCategories),
        (GrantRequest { categories: Categories(1 << 15), ..permit() }, Error::InvalidCategories),
        (GrantRequest { purposes: Purposes(0), ..permit() }, Error::InvalidPurposes),
        (GrantRequest { purposes: Purposes(1 << 15), ..permit() }, Error::InvalidPurposes),
        (GrantRequest { from_s: 1, ..permit() }, Error::InvalidWindow),
        (GrantRequest { until_s: 12 * HOUR_S + 1, ..permit() }, Error::InvalidWindow),
        (GrantRequest { until_s: 10 * HOUR_S, ..permit() }, Error::InvalidWindow),
        (GrantRequest { until_s: epochs_end_s + HOUR_S, ..permit() }, Error::InvalidWindow),
        (GrantRequest { wrapped_keys: None, ..permit() }, Error::InvalidWrappedKeys),
        (GrantRequest { wrapped_keys: Some(CidBytes([0; 36])), ..permit() }, Error::InvalidWrappedKeys),
        (GrantRequest { wrapped_keys: Some(cid(1)), ..denial() }, Error::InvalidWrappedKeys),
        (GrantRequest { generation: Generation(1), ..permit() }, Error::StaleGeneration),
    ];
    for (request, error) in cases {
        assert_eq!(consent.grant(request.clone()), Err(error), "{request:?}");
    }
    assert_eq!(consent.grant(GrantRequest { until_s: epochs_end_s, ..permit() }), Ok(GrantId(1)));
}

#[ink::test]
fn more_moments_than_a_call_may_ask_are_refused() {
    let consent = contract_at(5);
    let ask = |count| consent.decide_each(READER, PATIENT, Category::Ecg, Purpose::Treatment, vec![0; count]);
    assert_eq!(ask(168).map(|decisions| decisions.len()), Ok(168));
    assert_eq!(ask(169), Err(Error::TooMany));
}
