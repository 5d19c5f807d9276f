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
