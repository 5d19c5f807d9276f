//! The decision over random grants: what holds whatever the grants are.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

#[path = "../../seed.rs"]
mod seed;

use pulsegate_rules::consent::{decide, Decision, DenyReason, Effect, Grant, GrantRequest};
use pulsegate_rules::{Categories, Category, CidBytes, Generation, GrantId, Principal, Purpose, Purposes};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::Rng;

const ROUNDS: usize = 20_000;
const PATIENT: Principal = Principal([1; 32]);
const READER: Principal = Principal([2; 32]);

fn grant(rng: &mut StdRng, id: u64) -> Grant {
    let from_s = rng.gen_range(0..8) * 3_600;
    let one_of = |rng: &mut StdRng, whom: Principal| if rng.gen_ratio(1, 10) { Principal([9; 32]) } else { whom };
    Grant {
        id: GrantId(id),
        patient: one_of(rng, PATIENT),
        request: GrantRequest {
            grantee: one_of(rng, READER),
            effect: if rng.gen_ratio(1, 6) { Effect::Deny } else { Effect::Permit },
            categories: Categories(rng.gen_range(1..=0b1_1111)),
            purposes: Purposes(rng.gen_range(1..=0b111_1111)),
            from_s,
            until_s: from_s + rng.gen_range(1..4) * 3_600,
            wrapped_keys: None,
            generation: Generation(0),
        },
        granted_at_ms: 0,
        revoked_at_ms: rng.gen_ratio(1, 4).then_some(1),
    }
}

fn covers(grant: &Grant, category: Category, purpose: Purpose, at_s: u64) -> bool {
    let request = &grant.request;
    (grant.patient, request.grantee) == (PATIENT, READER)
        && grant.revoked_at_ms.is_none()
        && request.categories.contains(category)
        && request.purposes.contains(purpose)
        && (request.from_s..request.until_s).contains(&at_s)
}

#[test]
fn permit_names_a_grant_that_covers_and_no_denial_covers_whatever_the_order() {
    let mut rng = seed::seeded("decision");
    for _ in 0..ROUNDS {
        let mut grants: Vec<_> = (1..=rng.gen_range(0..6)).map(|id| grant(&mut rng, id)).collect();
        let category = *Category::ALL.choose(&mut rng).unwrap();
        let purpose = *Purpose::ALL.choose(&mut rng).unwrap();
        let at_s = rng.gen_range(0..12 * 3_600);
        let decision = decide(&grants, &READER, &PATIENT, category, purpose, at_s);
        let covering = |effect| {
            let of_effect = grants.iter().filter(move |grant| grant.request.effect == effect);
            of_effect.filter(|grant| covers(grant, category, purpose, at_s)).map(|grant| grant.id).min()
        };
        match (covering(Effect::Deny), covering(Effect::Permit)) {
            (Some(_), _) => assert_eq!(decision, Decision::Deny(DenyReason::DeniedByPatient)),
            (None, Some(id)) => assert_eq!(decision, Decision::Permit(Some(id))),
            (None, None) => assert!(matches!(decision, Decision::Deny(reason) if reason < DenyReason::DeniedByPatient)),
        }
        grants.shuffle(&mut rng);
        assert_eq!(decide(&grants, &READER, &PATIENT, category, purpose, at_s), decision);
    }
}

#[test]
fn revoking_every_permit_leaves_nothing_readable() {
    let mut rng = seed::seeded("revoke everything");
    for _ in 0..ROUNDS {
        let mut grants: Vec<_> = (1..6).map(|id| grant(&mut rng, id)).collect();
        grants.iter_mut().for_each(|grant| grant.revoked_at_ms = Some(2));
        let at_s = rng.gen_range(0..12 * 3_600);
        let decision = decide(&grants, &READER, &PATIENT, Category::Ecg, Purpose::Treatment, at_s);
        assert!(matches!(decision, Decision::Deny(DenyReason::NoGrant | DenyReason::Revoked)));
    }
}

#[test]
fn nobody_reads_without_a_grant_but_the_patient() {
    for category in Category::ALL {
        for purpose in Purpose::ALL {
            let ask = |reader| decide(&[], &reader, &PATIENT, *category, *purpose, 0);
            assert_eq!(ask(READER), Decision::Deny(DenyReason::NoGrant));
            assert_eq!(ask(PATIENT), Decision::Permit(None));
        }
    }
}

#[test]
fn reason_is_the_nearest_miss() {
    let base = Grant {
        id: GrantId(1),
        patient: PATIENT,
        request: GrantRequest {
            grantee: READER,
            effect: Effect::Permit,
            categories: Categories::of(&[Category::Ecg]),
            purposes: Purposes::of(&[Purpose::Payment]),
            from_s: 3_600,
            until_s: 7_200,
            wrapped_keys: Some(CidBytes([1; 36])),
            generation: Generation(0),
        },
        granted_at_ms: 0,
        revoked_at_ms: None,
    };
    let revoked = Grant { id: GrantId(2), revoked_at_ms: Some(1), ..base.clone() };
    let both = [revoked.clone(), base];
    let ask = |grants: &[Grant], category, purpose, at_s| decide(grants, &READER, &PATIENT, category, purpose, at_s);
    assert_eq!(ask(&[revoked], Category::Ecg, Purpose::Payment, 3_600), Decision::Deny(DenyReason::Revoked));
    let cases = [
        (Category::VitalSigns, Purpose::Payment, 3_600, DenyReason::CategoryNotCovered),
        (Category::Ecg, Purpose::Research, 3_600, DenyReason::PurposeNotCovered),
        (Category::Ecg, Purpose::Payment, 3_599, DenyReason::OutsideWindow),
        (Category::Ecg, Purpose::Payment, 7_200, DenyReason::OutsideWindow),
    ];
    for (category, purpose, at_s, reason) in cases {
        assert_eq!(ask(&both, category, purpose, at_s), Decision::Deny(reason));
    }
    assert_eq!(ask(&both, Category::Ecg, Purpose::Payment, 7_199), Decision::Permit(Some(GrantId(1))));
}
