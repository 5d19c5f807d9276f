//! Several oracles: asking others to sign a batch, and signing theirs.
//!
//! An oracle signs another's header only if a member of the set proposed it (the proposer's own signature comes with it), the header is
//! for the oracle set of this moment, the block store gives the manifest and it fits the header, every leaf of it is in the block store,
//! it extends the chain's newest batch, and this oracle never signed another batch for the same place.
//! It does not re-judge readings: it never sees plaintext. Must not: sign anything else than batch headers.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use futures::StreamExt;
use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use parity_scale_codec::{Decode, DecodeAll, Encode};
use pulsegate_ipfs::block::cid_from_bytes;
use pulsegate_ipfs::manifest::Manifest;
use pulsegate_rules::OracleKey;
use pulsegate_rules::records::BatchHeader;
use pulsegate_rules::registry::OracleSet;

use crate::context::Context;
use crate::keys::sign_recoverable;
use crate::problem::Problem;

/// Longest co-signing request, bytes.
pub const COSIGN_BYTES_MAX: usize = 1_024;
/// How long one co-signer has to answer, milliseconds.
pub const COSIGN_DEADLINE_MS: u64 = 10_000;

/// Most leaves that are looked up in the block store at the same time.
const LOOKUPS_MAX: usize = 16;

/// The body of `POST /v1/cosign` (SCALE): a header and its proposer's signature. The answer is 65 bytes: r ‖ s ‖ v.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CosignRequest {
    /// What to sign.
    pub header: BatchHeader,
    /// The proposing oracle's signature over the same digest.
    pub signature: [u8; 65],
}

/// The key that made a batch signature; `None` when it is malformed.
#[must_use]
pub fn signer_of(digest: &[u8; 32], signature: &[u8; 65]) -> Option<OracleKey> {
    let (rs, v) = (&signature[..64], signature[64]);
    let key = VerifyingKey::recover_from_prehash(digest, &Signature::from_slice(rs).ok()?, RecoveryId::from_byte(v)?);
    key.ok()?.to_encoded_point(true).as_bytes().try_into().ok().map(OracleKey)
}

/// Asks the configured co-signers until `missing` distinct members of the set have signed, or all were asked.
pub(crate) async fn collect(
    context: &Arc<Context>,
    header: &BatchHeader,
    own: &[u8; 65],
    set: &OracleSet,
    missing: usize,
) -> Vec<[u8; 65]> {
    let Some(client) = &context.cosigner_client else { return Vec::new() };
    let digest = header.signing_digest(context.chain_id, &context.contracts.records.account());
    let body = CosignRequest { header: header.clone(), signature: *own }.encode();
    let asked = context.config.cosigners.iter().map(|url| {
        let request = client.post(format!("{}/v1/cosign", url.trim_end_matches('/'))).body(body.clone());
        async move {
            let answer = request.timeout(Duration::from_millis(COSIGN_DEADLINE_MS)).send().await.ok()?;
            let answer = answer.error_for_status().ok()?;
            if answer.content_length() != Some(65) {
                return None;
            }
            <[u8; 65]>::try_from(answer.bytes().await.ok()?.as_ref()).ok()
        }
    });
    let answers = futures::future::join_all(asked).await;
    let mut signers = vec![context.keys.oracle_key()];
    let mut signatures = Vec::new();
    for signature in answers.into_iter().flatten() {
        let Some(signer) = signer_of(&digest, &signature) else { continue };
        if set.members.contains(&signer) && !signers.contains(&signer) && signatures.len() < missing {
            signers.push(signer);
            signatures.push(signature);
        }
    }
    signatures
}

/// Signs another oracle's header after checking all that the module says.
///
/// # Errors
/// A [`Problem`] that says which check failed; nothing is signed then.
pub(crate) async fn sign(context: &Arc<Context>, body: &[u8]) -> Result<[u8; 65], Problem> {
    let refuse = |code, text: &str| {
        Problem::bad(code, text, "Check oracle set, chain and block store of both oracles, then propose again.")
            .with_status(StatusCode::CONFLICT)
    };
    let request = CosignRequest::decode_all(&mut &body[..])
        .map_err(|_| Problem::bad("COSIGN_MALFORMED", "The body is not a co-signing request.", "Send SCALE."))?;
    let header = &request.header;
    let digest = header.signing_digest(context.chain_id, &context.contracts.records.account());
    let ledger = |error| Problem::ledger(&error);
    let set = context.contracts.registry.oracles().await.map_err(ledger)?;
    let proposer = signer_of(&digest, &request.signature);
    if !proposer.is_some_and(|key| set.members.contains(&key) && key != context.keys.oracle_key()) {
        let text = "The proposer is not another member of the oracle set.";
        let next = "Register the oracle's key in the set.";
        return Err(Problem::bad("COSIGN_STRANGER", text, next).with_status(StatusCode::FORBIDDEN));
    }
    if header.oracle_set != set.version || !set.members.contains(&context.keys.oracle_key()) {
        return Err(refuse("COSIGN_STALE_SET", "The header is for another oracle set than the current one."));
    }
    let head = context.contracts.records.head(header.oracle, header.kind).await.map_err(ledger)?;
    if header.sequence != head.sequence + 1 || header.previous != head.digest {
        return Err(refuse("COSIGN_WRONG_PLACE", "The header does not extend the newest batch on chain."));
    }
    check_blocks(context, header).await.map_err(|code| refuse(code, "The batch is not whole in the block store."))?;
    let row = header.clone();
    let noted = context.log.run(move |log| log.note_cosigned(&row)).await.map_err(|_| Problem::storage())?;
    if noted.is_err() {
        return Err(refuse("COSIGN_CONFLICT", "Another batch was signed for this place before."));
    }
    Ok(sign_recoverable(context.keys.batch(), &digest))
}

async fn check_blocks(context: &Context, header: &BatchHeader) -> Result<(), &'static str> {
    let cid = cid_from_bytes(&header.manifest).map_err(|error| error.code())?;
    let block = context.blocks.get(&cid).await.map_err(|error| error.code())?;
    let manifest = Manifest::from_block(&block).map_err(|error| error.code())?;
    manifest.check_against(header).map_err(|error| error.code())?;
    let lookups = manifest.leaves.iter().map(|leaf| {
        let (blocks, cid) = (Arc::clone(&context.blocks), *leaf.cid());
        async move { blocks.has(&cid).await }
    });
    let lookups: Vec<_> = lookups.collect();
    let mut held = futures::stream::iter(lookups).buffer_unordered(LOOKUPS_MAX);
    while let Some(held) = held.next().await {
        if !held.map_err(|error| error.code())? {
            return Err("COSIGN_MISSING_LEAF");
        }
    }
    Ok(())
}
