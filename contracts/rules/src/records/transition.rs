//! What changes the records contract, as checks from what stands now to what stands next.
//!
//! The order of the checks is the order in which errors take precedence. Nothing is anchored without the threshold of the oracle set in
//! force, out of order, or on another predecessor than the newest batch.

use super::{BatchHead, BatchHeader, BatchKind, Error, BATCH_COUNT_MAX};
use crate::registry::OracleSet;
use crate::{OracleKey, Principal};

/// Checks a header against the newest batch of its oracle and kind.
///
/// # Errors
/// In this order: `Halted`, `AlreadyAnchored`, `Overflow`, `SequenceGap`, `BrokenChain`, `InvalidCount`, `InvalidManifest`.
pub fn check_header(halted: bool, head: &BatchHead, header: &BatchHeader) -> Result<(), Error> {
    if halted {
        return Err(Error::Halted);
    }
    if header.sequence <= head.sequence {
        return Err(Error::AlreadyAnchored);
    }
    if header.sequence != head.sequence.checked_add(1).ok_or(Error::Overflow)? {
        return Err(Error::SequenceGap);
    }
    if header.previous != head.digest {
        return Err(Error::BrokenChain);
    }
    let count_max = if header.kind == BatchKind::Critical { 1 } else { BATCH_COUNT_MAX };
    if header.count == 0 || header.count > count_max {
        return Err(Error::InvalidCount);
    }
    if !header.manifest.is_well_formed() {
        return Err(Error::InvalidManifest);
    }
    Ok(())
}

/// Checks that the set in force signed: every signature of a different member, at least the threshold of them.
/// `signers` are the recovered keys, `None` where nothing could be recovered; the caller recovers lazily, so a wrong one ends the work.
///
/// # Errors
/// `StaleOracleSet` if the header names another version, `InvalidSignature` at the first one that is malformed, of a stranger or
/// given twice, `BelowThreshold`. An empty set (no oracles yet) never suffices.
pub fn check_quorum(
    header: &BatchHeader,
    set: &OracleSet,
    signers: impl Iterator<Item = Option<OracleKey>>,
) -> Result<(), Error> {
    if header.oracle_set != set.version {
        return Err(Error::StaleOracleSet);
    }
    // One bit for each member that signed; the registry allows 16 members.
    let mut signed = 0u32;
    for signer in signers {
        let key = signer.ok_or(Error::InvalidSignature)?;
        let position = set.members.iter().position(|member| *member == key).ok_or(Error::InvalidSignature)?;
        let bit = u32::try_from(position).ok().and_then(|position| 1u32.checked_shl(position));
        let bit = bit.ok_or(Error::InvalidSignature)?;
        if signed & bit != 0 {
            return Err(Error::InvalidSignature);
        }
        signed |= bit;
    }
    let threshold = u32::from(set.threshold);
    if threshold == 0 || signed.count_ones() < threshold {
        return Err(Error::BelowThreshold);
    }
    Ok(())
}

/// Only the registry's admin halts and resumes.
///
/// # Errors
/// `NotAuthorised` for anybody else.
pub fn require_admin(caller: &Principal, admin: &Principal) -> Result<(), Error> {
    if caller == admin {
        Ok(())
    } else {
        Err(Error::NotAuthorised)
    }
}

/// The newest batch once `header` is anchored.
#[must_use]
pub fn next_head(header: &BatchHeader) -> BatchHead {
    BatchHead { sequence: header.sequence, digest: header.digest() }
}
