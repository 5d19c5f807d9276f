//! Why a reader would be permitted or denied: the contract's rules, run here, grant by grant.
//!
//! Guarantees: the explanation is of one finalised block and of the very function that contract and oracle run; when the
//! contract decides otherwise in the meantime, that is said instead of an answer. Must not: open anything or leave a receipt.

use pulsegate_rules::consent::{self, Decision, DenyReason, Effect, Grant};
use pulsegate_rules::{Category, GrantId, Principal, Purpose};
use serde::Serialize;

use crate::failure::{Failure, Outcome};
use crate::moment;
use crate::session::Session;

/// What a reader would like to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    /// Whose data.
    pub(crate) patient: Principal,
    /// Who reads.
    pub(crate) reader: Principal,
    /// Which data.
    pub(crate) category: Category,
    /// What for.
    pub(crate) purpose: Purpose,
    /// When it was measured, Unix seconds.
    pub(crate) at_s: u64,
}

/// What one grant says.
#[derive(Debug, Serialize)]
pub(crate) struct GrantOutcome {
    /// Its number.
    pub(crate) grant: GrantId,
    /// `permits` or `forbids`.
    pub(crate) effect: String,
    /// In words.
    pub(crate) says: String,
    /// Whether it matches the question.
    pub(crate) matches: bool,
}

/// The whole answer.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    /// Every grant between the two that the decision looks at.
    pub(crate) grants: Vec<GrantOutcome>,
    /// The decision.
    pub(crate) decision: Decision,
    /// The decision in words.
    pub(crate) answer: String,
    /// The finalised block whose state answered.
    pub(crate) block: u64,
}

/// How often the question is put again when a block came between the two reads.
const ATTEMPTS_MAX: u32 = 3;

/// Explains the decision.
pub(crate) async fn explain(session: &Session, question: &Question) -> Outcome<Explanation> {
    let Question { patient, reader, category, purpose, at_s } = *question;
    for _ in 0..ATTEMPTS_MAX {
        let grants = session.contracts.consent.grants_between(patient, reader).await?;
        let contract = session.contracts.consent.decide(reader, patient, category, purpose, at_s).await?;
        let decision = consent::decide(&grants.value, &reader, &patient, category, purpose, at_s);
        if decision == contract.value {
            let outcomes = grants.value.iter().map(|grant| outcome(grant, question)).collect();
            return Ok(Explanation {
                grants: outcomes,
                decision,
                answer: answer(decision),
                block: grants.block.number,
            });
        }
        if grants.block.number == contract.block.number {
            let message = format!("the contract decides {:?}, the rules of this program {decision:?}", contract.value);
            return Err(Failure::new("DECISIONS_DIFFER", message)
                .next("use the version of pulsegate that belongs to the deployed contracts"));
        }
    }
    Err(Failure::new("CHAIN_BUSY", "the grants changed while they were read").next("run the command again"))
}

/// The reason of a denial, in words.
pub(crate) const fn reason(reason: DenyReason) -> &'static str {
    match reason {
        DenyReason::NoGrant => "there is no grant",
        DenyReason::Revoked => "the grant was revoked",
        DenyReason::CategoryNotCovered => "no grant covers this category of data",
        DenyReason::PurposeNotCovered => "no grant covers this purpose of use",
        DenyReason::OutsideWindow => "the time lies outside every granted window",
        DenyReason::DeniedByPatient => "the patient forbids it, and that wins over any permit",
    }
}

fn answer(decision: Decision) -> String {
    match decision {
        Decision::Permit(None) => "Permitted: patients may always read their own data.".to_owned(),
        Decision::Permit(Some(grant)) => format!("Permitted, by grant {grant}."),
        Decision::Deny(deny) => format!("Denied: {}.", reason(deny)),
    }
}

fn outcome(grant: &Grant, question: &Question) -> GrantOutcome {
    let request = &grant.request;
    // The grant alone, as a permit: what keeps it from matching, if anything.
    let mut alone = grant.clone();
    alone.request.effect = Effect::Permit;
    let alone = consent::decide(
        &[alone],
        &question.reader,
        &question.patient,
        question.category,
        question.purpose,
        question.at_s,
    );
    let says = match alone {
        Decision::Permit(_) => format!("covers {} for {} at this time", question.category, question.purpose),
        Decision::Deny(DenyReason::Revoked) => {
            format!("was revoked at {}", moment::format_ms(grant.revoked_at_ms.unwrap_or_default()))
        }
        Decision::Deny(DenyReason::CategoryNotCovered) => {
            format!("is for {}, not for {}", request.categories, question.category)
        }
        Decision::Deny(DenyReason::PurposeNotCovered) => {
            format!("is for {}, not for {}", request.purposes, question.purpose)
        }
        Decision::Deny(DenyReason::OutsideWindow) => {
            format!("is for data of {} until {}", moment::format_s(request.from_s), moment::format_s(request.until_s))
        }
        Decision::Deny(other) => reason(other).to_owned(),
    };
    let effect = match request.effect {
        Effect::Permit => "permits",
        Effect::Deny => "forbids",
    };
    GrantOutcome { grant: grant.id, effect: effect.to_owned(), says, matches: matches!(alone, Decision::Permit(_)) }
}

#[cfg(test)]
mod tests {
    use pulsegate_rules::consent::GrantRequest;
    use pulsegate_rules::{Categories, Generation, Purposes};

    use super::*;

    const QUESTION: Question = Question {
        patient: Principal([1; 32]),
        reader: Principal([2; 32]),
        category: Category::Ecg,
        purpose: Purpose::Treatment,
        at_s: 7_200,
    };

    fn grant(change: impl FnOnce(&mut Grant)) -> Grant {
        let request = GrantRequest {
            grantee: QUESTION.reader,
            effect: Effect::Permit,
            categories: Categories::of(&[Category::Ecg]),
            purposes: Purposes::of(&[Purpose::Treatment]),
            from_s: 3_600,
            until_s: 10_800,
            wrapped_keys: None,
            generation: Generation(0),
        };
        let mut grant =
            Grant { id: GrantId(1), patient: QUESTION.patient, request, granted_at_ms: 0, revoked_at_ms: None };
        change(&mut grant);
        grant
    }

    #[test]
    fn every_grant_says_what_keeps_it_from_matching() {
        let says = |change: fn(&mut Grant)| outcome(&grant(change), &QUESTION).says;
        assert_eq!(says(|_| {}), "covers ecg for TREAT at this time");
        assert_eq!(says(|grant| grant.revoked_at_ms = Some(0)), "was revoked at 1970-01-01T00:00:00Z");
        assert!(says(|grant| grant.request.categories = Categories::of(&[Category::Activity])).contains("not for ecg"));
        assert!(says(|grant| grant.request.purposes = Purposes::of(&[Purpose::Research])).contains("not for TREAT"));
        assert!(says(|grant| grant.request.until_s = 7_200).contains("until 1970-01-01T02:00:00Z"));
    }

    #[test]
    fn a_denial_that_matches_is_told_as_one() {
        let denial = grant(|grant| grant.request.effect = Effect::Deny);
        let told = outcome(&denial, &QUESTION);
        assert_eq!((told.effect.as_str(), told.matches), ("forbids", true));
    }
}
