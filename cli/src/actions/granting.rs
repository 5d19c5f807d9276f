//! Granting and revoking: the keys of a window wrapped to the grantee, and the contract's word for it.
//!
//! Guarantees: the wrapped keys are durable in the block store before the contract names them; they open the window and the
//! categories of the grant and nothing else. Must not: send a key unwrapped anywhere.

use pulsegate_ipfs::block;
use pulsegate_ipfs::grant_keys::GrantKeys;
use pulsegate_ledger::Signer;
use pulsegate_ledger::contracts::Relay;
use pulsegate_rules::consent::{Effect, Grant, GrantRequest, PAGE_MAX};
use pulsegate_rules::eip712::{Domain, Validity};
use pulsegate_rules::ids::EPOCH_SECONDS;
use pulsegate_rules::registry::KeyUse;
use pulsegate_rules::{Categories, CidBytes, Epoch, Generation, GrantId, Principal, Purposes};
use serde::Serialize;

use super::TransactionLine;
use crate::failure::{Failure, Outcome};
use crate::identity::Identity;
use crate::session::Session;
use crate::typed_data::{Consent, TypedData};
use crate::wallet::Wallet;

/// What a patient wants to grant.
#[derive(Clone, Debug)]
pub(crate) struct GrantPlan {
    /// Who may (or may not) read.
    pub(crate) grantee: Principal,
    /// Permit or deny.
    pub(crate) effect: Effect,
    /// Which data.
    pub(crate) categories: Categories,
    /// For which uses.
    pub(crate) purposes: Purposes,
    /// First second of data, Unix seconds; a whole epoch.
    pub(crate) from_s: u64,
    /// First second no longer covered, Unix seconds; a whole epoch.
    pub(crate) until_s: u64,
}

/// Who signs and who submits.
pub(crate) enum Submission {
    /// The patient's account does both.
    Patient,
    /// A wallet signs (EIP-712), somebody's account submits.
    Wallet {
        /// Signs; linked to the patient, or the patient's own.
        wallet: Wallet,
        /// Submits and pays.
        relayer: Signer,
        /// Last second at which the signature is valid, Unix seconds.
        deadline_s: u64,
    },
}

/// A grant on chain.
#[derive(Debug, Serialize)]
pub(crate) struct Granted {
    /// Its number.
    pub(crate) grant: GrantId,
    /// The CID of its wrapped keys; none for a denial.
    pub(crate) wrapped_keys: Option<String>,
    /// The generation that it names.
    pub(crate) generation: Generation,
    /// First second of data, Unix seconds.
    pub(crate) from_s: u64,
    /// First second no longer covered, Unix seconds.
    pub(crate) until_s: u64,
    /// Whether an EIP-712 signature was relayed.
    pub(crate) signed_by_wallet: bool,
    /// The transaction.
    pub(crate) transaction: TransactionLine,
}

/// What a relayer submitted.
#[derive(Debug, Serialize)]
pub(crate) struct Relayed {
    /// The grant that was made or revoked.
    pub(crate) grant: GrantId,
    /// Whose consent it is.
    pub(crate) patient: Principal,
    /// The transaction.
    pub(crate) transaction: TransactionLine,
}

/// Grants, or forbids.
pub(crate) async fn grant(
    session: &Session,
    identity: &Identity,
    plan: &GrantPlan,
    submission: &Submission,
) -> Outcome<Granted> {
    let consent = &session.contracts.consent;
    let patient = identity.principal();
    let request = request(session, identity, plan).await?;
    let committed = match submission {
        Submission::Patient => consent.grant(identity.account(), &request).await?,
        Submission::Wallet { wallet, relayer, deadline_s } => {
            let (domain, validity) = signing_terms(session, patient, *deadline_s).await?;
            let signature = wallet.sign(&domain.grant_digest(&patient, &request, &validity))?;
            consent.grant_signed(relayer, &request, &Relay { patient, validity, signature }).await?
        }
    };
    Ok(Granted {
        grant: committed.value,
        wrapped_keys: request.wrapped_keys.as_ref().map(cid_text).transpose()?,
        generation: request.generation,
        from_s: plan.from_s,
        until_s: plan.until_s,
        signed_by_wallet: matches!(submission, Submission::Wallet { .. }),
        transaction: TransactionLine::of(&committed.transaction),
    })
}

/// The request of a plan; the keys of a permit's window are wrapped and stored.
async fn request(session: &Session, identity: &Identity, plan: &GrantPlan) -> Outcome<GrantRequest> {
    let generation = session.contracts.consent.generation(identity.principal()).await?;
    let window = (plan.from_s, plan.until_s);
    let wrapped_keys = match plan.effect {
        Effect::Permit => Some(wrap_keys(session, identity, plan.grantee, plan.categories, window, generation).await?),
        Effect::Deny => None,
    };
    Ok(GrantRequest {
        grantee: plan.grantee,
        effect: plan.effect,
        categories: plan.categories,
        purposes: plan.purposes,
        from_s: plan.from_s,
        until_s: plan.until_s,
        wrapped_keys,
        generation,
    })
}

/// The text of a CID that the contract keeps.
pub(crate) fn cid_text(cid: &CidBytes) -> Outcome<String> {
    Ok(block::cid_from_bytes(cid)?.to_string())
}

/// The message by which a wallet grants; the wrapped keys that it names are stored.
pub(crate) async fn typed_grant(
    session: &Session,
    identity: &Identity,
    plan: &GrantPlan,
    deadline_s: u64,
) -> Outcome<TypedData> {
    let consent = Consent::Grant(request(session, identity, plan).await?);
    typed_data(session, identity, consent, deadline_s).await
}

/// The message by which a wallet takes a grant back.
pub(crate) async fn typed_revocation(
    session: &Session,
    identity: &Identity,
    grant: GrantId,
    deadline_s: u64,
) -> Outcome<TypedData> {
    let known = session.contracts.consent.grant_of(grant).await?;
    if known.is_none_or(|known| known.patient != identity.principal()) {
        return Err(Failure::new("CONSENT_NOT_FOUND", format!("you gave no grant {grant}"))
            .next("`pulsegate grants` lists yours"));
    }
    typed_data(session, identity, Consent::Revoke(grant), deadline_s).await
}

async fn typed_data(session: &Session, identity: &Identity, consent: Consent, deadline_s: u64) -> Outcome<TypedData> {
    let patient = identity.principal();
    let (domain, validity) = signing_terms(session, patient, deadline_s).await?;
    Ok(TypedData { domain, patient, consent, validity })
}

/// Submits what a wallet signed, with an account that need not be the patient's.
pub(crate) async fn relay(
    session: &Session,
    relayer: &Signer,
    data: &TypedData,
    signature: [u8; 65],
) -> Outcome<Relayed> {
    let consent = &session.contracts.consent;
    let domain = Domain { chain_id: consent.chain_id().await?, contract: consent.account() };
    if data.domain != domain {
        let message = format!(
            "the message is for the contract {} on chain {}, this is {} on chain {}",
            data.domain.contract, data.domain.chain_id, domain.contract, domain.chain_id
        );
        return Err(Failure::new("TYPED_DATA_OF_ANOTHER_CONTRACT", message)
            .next("relay it with the configuration of the patient's installation (--config)"));
    }
    let signed = Relay { patient: data.patient, validity: data.validity, signature };
    let (grant, transaction) = match &data.consent {
        Consent::Grant(request) => {
            let committed = consent.grant_signed(relayer, request, &signed).await?;
            (committed.value, committed.transaction)
        }
        Consent::Revoke(grant) => (*grant, consent.revoke_signed(relayer, *grant, &signed).await?.transaction),
    };
    Ok(Relayed { grant, patient: data.patient, transaction: TransactionLine::of(&transaction) })
}

/// Takes a grant back.
pub(crate) async fn revoke(
    session: &Session,
    identity: &Identity,
    grant: GrantId,
    submission: &Submission,
) -> Outcome<TransactionLine> {
    let consent = &session.contracts.consent;
    let patient = identity.principal();
    let committed = match submission {
        Submission::Patient => consent.revoke(identity.account(), grant).await?,
        Submission::Wallet { wallet, relayer, deadline_s } => {
            let (domain, validity) = signing_terms(session, patient, *deadline_s).await?;
            let signature = wallet.sign(&domain.revoke_digest(&patient, grant, &validity))?;
            consent.revoke_signed(relayer, grant, &Relay { patient, validity, signature }).await?
        }
    };
    Ok(TransactionLine::of(&committed.transaction))
}

/// Wraps the keys of a window to a grantee and stores them; returns the CID that the contract keeps.
///
/// Of every generation that the window may hold records of: the one in force, and the earlier ones that ended after the
/// window's begin, those only up to their end.
pub(crate) async fn wrap_keys(
    session: &Session,
    identity: &Identity,
    grantee: Principal,
    categories: Categories,
    (from_s, until_s): (u64, u64),
    generation: Generation,
) -> Outcome<CidBytes> {
    let recipient = session.contracts.registry.key(grantee, KeyUse::Encryption).await?.ok_or_else(|| {
        Failure::new(
            "GRANTEE_HAS_NO_KEY",
            format!("{grantee} has registered no encryption key, so nothing can be wrapped to it"),
        )
        .next("ask the reader to run `pulsegate enrol`, and check the account")
    })?;
    let mut keys = GrantKeys { patient: identity.principal(), grantee, entries: Vec::new() };
    for (kept, retired_at_s) in identity.generations() {
        if kept > generation {
            continue;
        }
        // Records of a retired generation end with the hour after its retirement, by when every oracle has noticed it.
        let until_s = retired_at_s.map_or(until_s, |end_s| until_s.min(end_s.saturating_add(2 * EPOCH_SECONDS)));
        let (Some(from), Some(until)) = (Epoch::at(from_s), Epoch::at(until_s)) else { continue };
        if from >= until {
            continue;
        }
        let secret = identity.generation_secret(kept)?;
        let part = GrantKeys::collect(keys.patient, grantee, &[(kept, &secret)], categories.iter(), from, until)?;
        keys.entries.extend(part.entries);
    }
    let block = keys.wrap_for(&recipient)?;
    session.blocks.put(std::slice::from_ref(&block), &[block.cid]).await?;
    Ok(block::cid_bytes(&block.cid)?)
}

/// Everything that a patient granted, oldest first.
pub(crate) async fn grants_of(session: &Session, patient: Principal) -> Outcome<Vec<Grant>> {
    let mut grants = Vec::new();
    loop {
        let offset = u32::try_from(grants.len()).unwrap_or(u32::MAX);
        let page = session.contracts.consent.grants_of_patient(patient, offset, PAGE_MAX).await?;
        if page.is_empty() {
            return Ok(grants);
        }
        grants.extend(page);
    }
}

/// Everything that was granted to a reader, oldest first.
pub(crate) async fn grants_to(session: &Session, grantee: Principal) -> Outcome<Vec<Grant>> {
    let mut grants = Vec::new();
    loop {
        let offset = u32::try_from(grants.len()).unwrap_or(u32::MAX);
        let page = session.contracts.consent.grants_to(grantee, offset, PAGE_MAX).await?;
        if page.is_empty() {
            return Ok(grants);
        }
        grants.extend(page);
    }
}

async fn signing_terms(session: &Session, patient: Principal, deadline_s: u64) -> Outcome<(Domain, Validity)> {
    let consent = &session.contracts.consent;
    let domain = Domain { chain_id: consent.chain_id().await?, contract: consent.account() };
    Ok((domain, Validity { nonce: consent.nonce(patient).await?, deadline_s }))
}
