//! A patient's key generations: publishing the public keys of coming hours, and moving to a new generation.
//!
//! Guarantees: a new generation's secret is in the keystore file before anything of it is published, so no record can be
//! sealed to a key that is not kept; an interrupted rotation is made up for by the next one; grants that were revoked get no new
//! keys. Must not: change a grant's window, categories or purposes.

use pulsegate_ipfs::block;
use pulsegate_ipfs::directory::EpochKeyDirectory;
use pulsegate_rules::consent::Effect;
use pulsegate_rules::{Category, CidBytes, Epoch, Generation, GrantId, Principal};
use serde::Serialize;

use super::{TransactionLine, granting};
use crate::failure::{Failure, Outcome};
use crate::identity::Identity;
use crate::session::Session;

/// For how many coming days keys are published unless asked otherwise.
pub(crate) const DAYS_AHEAD: u32 = 35;
/// Most coming days; the directory of all categories must fit one block.
pub(crate) const DAYS_AHEAD_MAX: u32 = 160;
/// For how many past days keys are published, so that a device that was offline finds its hours.
const DAYS_BACK: u64 = 2;
const DAY_S: u64 = 86_400;

/// A published key directory.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Published {
    /// Of which generation.
    pub(crate) generation: Generation,
    /// The directory's CID.
    pub(crate) directory: String,
    /// First second covered, Unix seconds.
    pub(crate) from_s: u64,
    /// First second no longer covered, Unix seconds.
    pub(crate) until_s: u64,
    /// The transaction that named it.
    pub(crate) transaction: TransactionLine,
}

/// A finished rotation.
#[derive(Debug, Serialize)]
pub(crate) struct Rotated {
    /// The generation in force.
    pub(crate) generation: Generation,
    /// Its directory's CID.
    pub(crate) directory: String,
    /// The transaction that put it in force.
    pub(crate) transaction: TransactionLine,
    /// The standing grants, with their new keys.
    pub(crate) rewrapped: Vec<Rewrapped>,
}

/// A standing grant whose keys were wrapped again.
#[derive(Debug, Serialize)]
pub(crate) struct Rewrapped {
    /// The grant.
    pub(crate) grant: GrantId,
    /// Who reads by it.
    pub(crate) grantee: Principal,
    /// The CID of the new wrapped keys.
    pub(crate) wrapped_keys: String,
    /// The transaction.
    pub(crate) transaction: TransactionLine,
}

/// Publishes the directory of the generation in force, from two days ago until `days` days from now.
pub(crate) async fn publish(session: &Session, identity: &Identity, days: u32) -> Outcome<Published> {
    let generation = session.contracts.consent.generation(identity.principal()).await?;
    let (cid, hours) = store_directory(session, identity, generation, days).await?;
    let named = session.contracts.consent.publish_directory(identity.account(), cid).await?;
    Ok(Published {
        generation,
        directory: block::cid_from_bytes(&cid)?.to_string(),
        from_s: hours.start.start_s(),
        until_s: hours.end.start_s(),
        transaction: TransactionLine::of(&named.transaction),
    })
}

/// Moves to the next generation and wraps the keys of every standing grant again.
pub(crate) async fn rotate(session: &Session, identity: &mut Identity, days: u32) -> Outcome<Rotated> {
    let consent = &session.contracts.consent;
    let current = consent.generation(identity.principal()).await?;
    let next = Generation(current.0.checked_add(1).ok_or_else(|| {
        Failure::new("TOO_MANY_ROTATIONS", "there are no more generations")
            .next("enrol with another keystore, and grant from there")
    })?);
    // Kept before it is used: a secret that an interrupted rotation left behind is taken up again.
    identity.ensure_generation(next)?;
    let (cid, _) = store_directory(session, identity, next, days).await?;
    let mut standing = granting::grants_of(session, identity.principal()).await?;
    standing.retain(|grant| grant.revoked_at_ms.is_none() && grant.request.effect == Effect::Permit);
    let bar = session.output.progress(2 * standing.len() as u64, "wrapping keys");
    // Everything that can fail for lack of a key or of room does so before the contract moves.
    let mut wrapped = Vec::with_capacity(standing.len());
    for grant in &standing {
        let request = &grant.request;
        let window = (request.from_s, request.until_s);
        wrapped.push(granting::wrap_keys(session, identity, request.grantee, request.categories, window, next).await?);
        bar.inc(1);
    }
    let moved = consent.rotate(identity.account(), next, cid).await?;
    identity.retire(current, moved.transaction.block.timestamp_ms / 1_000)?;
    let mut rewrapped = Vec::with_capacity(standing.len());
    for (grant, keys) in standing.iter().zip(wrapped) {
        let written = consent.rewrap(identity.account(), grant.id, next, keys).await?;
        rewrapped.push(Rewrapped {
            grant: grant.id,
            grantee: grant.request.grantee,
            wrapped_keys: block::cid_from_bytes(&keys)?.to_string(),
            transaction: TransactionLine::of(&written.transaction),
        });
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(Rotated {
        generation: next,
        directory: block::cid_from_bytes(&cid)?.to_string(),
        transaction: TransactionLine::of(&moved.transaction),
        rewrapped,
    })
}

async fn store_directory(
    session: &Session,
    identity: &Identity,
    generation: Generation,
    days: u32,
) -> Outcome<(CidBytes, std::ops::Range<Epoch>)> {
    let now_s = session.now_s();
    let too_late = || {
        Failure::new("INVALID_MOMENT", "the clock is past the last hour that keys exist for").next("correct the clock")
    };
    let from = Epoch::at(now_s.saturating_sub(DAYS_BACK * DAY_S)).ok_or_else(too_late)?;
    let until = Epoch::at(now_s + u64::from(days) * DAY_S).ok_or_else(too_late)?;
    let hours = from..Epoch(until.0 + 1);
    let secret = identity.generation_secret(generation)?;
    let count = hours.end.0 - hours.start.0;
    let directory =
        EpochKeyDirectory::build(&secret, identity.principal(), generation, Category::ALL, hours.start, count)?;
    let block = directory.sign(identity.signing())?;
    session.blocks.put(std::slice::from_ref(&block), &[block.cid]).await?;
    Ok((block::cid_bytes(&block.cid)?, hours))
}
