//! release: a reader's signed request becomes the oracle's lock of the permitted epochs, or refusals with reasons, and always a receipt.
//!
//! Order of checks: shape, audience, reader registered with a signing key, signature (until here a failure is an error without receipt,
//! because nobody is known to have asked), rate, patient registered with an encryption key, then time window, nonce, and the consent
//! contract's decision at a finalised block, one by one for every epoch. Every answer leaves a receipt, durable before it goes out.
//!
//! Guarantees: decisions are never cached, so a revocation counts from the finalised block that holds it; shares leave only wrapped to the
//! reader's registered encryption key and bound to the request. Requests dated before this process started are refused as stale, so that
//! the memory of nonces need not survive a restart. Must not: log or label who asked for what.

mod guard;
pub mod protocol;

use std::sync::Arc;

use axum::http::StatusCode;
use pulsegate_ipfs::record::EpochShare;
use pulsegate_ledger::{At, BlockRef, LedgerError};
use pulsegate_rules::consent::Decision;
use pulsegate_rules::records::BatchKind;
use pulsegate_rules::registry::{KeyUse, PublicKey};
use pulsegate_rules::{Epoch, GrantId, StreamId};

pub(crate) use guard::Guard;
use protocol::{
    ProtocolError, REQUEST_SKEW_MS_MAX, Receipt, RefusalReason, ReleaseAnswer, ReleaseRequest, SignedRequest,
    request_digest,
};

use crate::context::Context;
use crate::log::ShareId;
use crate::problem::Problem;

/// What was decided: which epochs go out, which do not and why, by which grant, at which block.
struct Outcome {
    released: Vec<(Epoch, EpochShare)>,
    refused: Vec<(Epoch, RefusalReason)>,
    grant: Option<GrantId>,
    block: BlockRef,
}

/// Answers one request.
///
/// # Errors
/// A [`Problem`] when nobody known asked, too often, about nobody known, or when chain or log do not answer; nothing is released then.
pub(crate) async fn release(context: &Arc<Context>, guard: &Guard, body: &[u8]) -> Result<ReleaseAnswer, Problem> {
    let (signed, request) = SignedRequest::decode(body).map_err(|error| malformed(&error))?;
    if request.audience != context.audience {
        let next = "Ask the oracle that serves this deployment (GET /v1/oracle says which audience it has).";
        return Err(Problem::bad("WRONG_AUDIENCE", "The request is for another deployment.", next)
            .with_status(StatusCode::UNPROCESSABLE_ENTITY));
    }
    let ledger = |error: LedgerError| Problem::ledger(&error);
    let registry = &context.contracts.registry;
    let signing = registry.key(request.reader, KeyUse::Signing).await.map_err(ledger)?;
    if !signing.is_some_and(|key| signed.is_signed_by(&key)) {
        let text = "The request is not signed by the signing key that is registered for the reader.";
        let next = "Register as a participant with a signing key, and sign with that key.";
        return Err(Problem::bad("READER_NOT_AUTHENTICATED", text, next).with_status(StatusCode::UNAUTHORIZED));
    }
    if let Err(retry_after_s) = guard.take_turn(&request.reader) {
        let text = format!("More than {} requests in a minute.", context.config.releases_per_minute_max);
        return Err(Problem::slow_down("TOO_MANY_REQUESTS", text, retry_after_s));
    }
    let patient_key = registry.key(request.patient, KeyUse::Encryption).await.map_err(ledger)?;
    let Some(patient_key) = patient_key else {
        let text = "No patient with an encryption key is registered under this principal.";
        return Err(
            Problem::bad("UNKNOWN_PATIENT", text, "Check the patient's principal.").with_status(StatusCode::NOT_FOUND)
        );
    };
    let digest = request_digest(body);
    let reader_key = registry.key(request.reader, KeyUse::Encryption).await.map_err(ledger)?;
    let outcome = match refuse_early(context, guard, &request, reader_key.as_ref()) {
        Some(reason) => refuse_all(&request, reason, context.ledger.finalised().await.map_err(ledger)?),
        None => decide(context, &request).await?,
    };
    let shares = match (&reader_key, outcome.released.is_empty()) {
        (Some(key), false) => Some(
            ReleaseAnswer::wrap_shares(&outcome.released, key, &digest)
                .map_err(|error| unusable_key(&error, "the reader"))?,
        ),
        _ => None,
    };
    answer(context, &request, outcome, shares, digest, &patient_key).await
}

fn malformed(error: &ProtocolError) -> Problem {
    Problem::bad(error.code(), error.to_string(), "Make the request with the release protocol of this version.")
}

fn unusable_key(error: &ProtocolError, whose: &str) -> Problem {
    let text = format!("Nothing can be wrapped to the encryption key that is registered for {whose}.");
    Problem::bad(error.code(), text, "Register a valid encryption key.").with_status(StatusCode::UNPROCESSABLE_ENTITY)
}

/// What refuses the whole request before consent is asked.
fn refuse_early(
    context: &Context,
    guard: &Guard,
    request: &ReleaseRequest,
    reader_key: Option<&PublicKey>,
) -> Option<RefusalReason> {
    let now_ms = context.now_ms();
    if request.requested_at_ms.abs_diff(now_ms) > REQUEST_SKEW_MS_MAX || request.requested_at_ms < context.started_at_ms
    {
        return Some(RefusalReason::StaleRequest);
    }
    if !guard.take_nonce(&request.reader, &request.nonce, now_ms) {
        return Some(RefusalReason::NonceReused);
    }
    reader_key.is_none().then_some(RefusalReason::NoEncryptionKey)
}

fn refuse_all(request: &ReleaseRequest, reason: RefusalReason, block: BlockRef) -> Outcome {
    let refused = request.epochs.iter().map(|epoch| (*epoch, reason)).collect();
    Outcome { released: Vec::new(), refused, grant: None, block }
}

/// Asks the consent contract for every epoch at one finalised block, then looks up the shares of the permitted ones.
async fn decide(context: &Arc<Context>, request: &ReleaseRequest) -> Result<Outcome, Problem> {
    let moments: Vec<u64> = request.epochs.iter().map(|epoch| epoch.start_s()).collect();
    let At { value: decisions, block } = context
        .contracts
        .consent
        .decide_each(request.reader, request.patient, request.category, request.purpose, &moments)
        .await
        .map_err(|error| Problem::ledger(&error))?;
    if decisions.len() != request.epochs.len() {
        return Err(Problem::unavailable("LEDGER_UNAVAILABLE", "The chain did not decide on every epoch.", 2));
    }
    let mut outcome = Outcome { released: Vec::new(), refused: Vec::new(), grant: None, block };
    let mut permitted = Vec::new();
    for (epoch, decision) in request.epochs.iter().zip(decisions) {
        match decision {
            Decision::Permit(grant) => {
                outcome.grant = outcome.grant.or(grant);
                permitted.push(*epoch);
            }
            Decision::Deny(reason) => outcome.refused.push((*epoch, RefusalReason::Consent(reason))),
        }
    }
    let stream = StreamId::of(&request.patient, request.category);
    let ids: Vec<ShareId> =
        permitted.iter().map(|epoch| ShareId { stream, generation: request.generation, epoch: *epoch }).collect();
    let shares = context.log.run(move |log| log.shares(&ids)).await.map_err(|_| Problem::storage())?;
    for (epoch, share) in permitted.into_iter().zip(shares) {
        match share {
            Some(share) => outcome.released.push((epoch, share)),
            None => outcome.refused.push((epoch, RefusalReason::NoRecords)),
        }
    }
    Ok(outcome)
}

/// Makes the receipt durable, then the answer.
async fn answer(
    context: &Arc<Context>,
    request: &ReleaseRequest,
    outcome: Outcome,
    shares: Option<pulsegate_ipfs::wrapping::Envelope>,
    request_digest: [u8; 32],
    patient_key: &PublicKey,
) -> Result<ReleaseAnswer, Problem> {
    let receipt = Receipt {
        reader: request.reader,
        patient: request.patient,
        category: request.category,
        purpose: request.purpose,
        generation: request.generation,
        released: outcome.released.iter().map(|(epoch, _)| *epoch).collect(),
        refused: outcome.refused.clone(),
        grant: outcome.grant,
        block: outcome.block,
        request_digest,
        oracle: context.keys.principal(),
        answered_at_ms: context.now_ms(),
    }
    .sign(context.keys.batch());
    let sealed = receipt.seal(&request.patient, patient_key).map_err(|error| unusable_key(&error, "the patient"))?;
    let (patient, digest) = (request.patient, receipt.digest());
    context.log.run(move |log| log.put_receipt(patient, sealed, digest)).await.map_err(|_| Problem::storage())?;
    context.leaves_changed(BatchKind::Receipts).notify_one();
    context.metrics.release(if outcome.released.is_empty() { "refused" } else { "released" });
    Ok(ReleaseAnswer { shares, refused: outcome.refused, grant: outcome.grant, block: outcome.block, receipt })
}
