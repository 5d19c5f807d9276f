//! What changes consent, as checks from what stands now to what stands next.
//!
//! Each function takes the caller (or the proven signer), the present state and the request, and gives the new state or the reason of the
//! refusal. The order of the checks is the order in which errors take precedence. There is no admin and no way around the patient.

use alloc::vec::Vec;

use parity_scale_codec::{Decode, Encode};

use super::{Effect, Error, Grant, GrantRequest, DECISIONS_MAX, GRANTS_PER_PAIR_MAX, REVOKED_PER_PAIR_MAX};
use crate::eip712::Validity;
use crate::ids::{EPOCHS_MAX, EPOCH_SECONDS};
use crate::registry::on_chain;
use crate::{CidBytes, Generation, GrantId, Principal};

on_chain! {
    /// What the contract keeps of a patient besides the grants. [`Default`] for a patient who has done nothing yet.
    #[derive(Default)]
    pub struct PatientState {
        /// The key tree in force.
        pub generation: Generation,
        /// The signed directory of that generation's public keys; `None` until one is published.
        pub directory: Option<CidBytes>,
        /// What the next signed message must carry.
        pub nonce: u64,
        /// The linked Ethereum wallet.
        pub wallet: Option<[u8; 20]>,
    }
}
on_chain! {
    /// The grants between one patient and one grantee that a decision looks at; both lists are bounded.
    #[derive(Default)]
    pub struct PairIndex {
        /// Not revoked, in the order of granting; at most [`GRANTS_PER_PAIR_MAX`].
        pub standing: Vec<GrantId>,
        /// Revoked, in the order of revocation; the newest [`REVOKED_PER_PAIR_MAX`].
        pub revoked: Vec<GrantId>,
    }
}

/// Checks what a patient asks to grant, and gives the grant. `now_ms`: block time, Unix milliseconds.
///
/// # Errors
/// In this order: `SelfGrant`, `InvalidCategories`, `InvalidPurposes`, `InvalidWindow`, `InvalidWrappedKeys`, `StaleGeneration`,
/// `TooManyGrants`, `Overflow`.
pub fn grant(
    patient: &Principal,
    state: &PatientState,
    pair: &mut PairIndex,
    last_id: GrantId,
    request: GrantRequest,
    now_ms: u64,
) -> Result<Grant, Error> {
    check_request(patient, state.generation, &request)?;
    if pair.standing.len() >= GRANTS_PER_PAIR_MAX {
        return Err(Error::TooManyGrants);
    }
    let id = GrantId(last_id.0.checked_add(1).ok_or(Error::Overflow)?);
    pair.standing.push(id);
    Ok(Grant { id, patient: *patient, request, granted_at_ms: now_ms, revoked_at_ms: None })
}

fn check_request(patient: &Principal, generation: Generation, request: &GrantRequest) -> Result<(), Error> {
    if request.grantee == *patient {
        return Err(Error::SelfGrant);
    }
    if !request.categories.is_valid() {
        return Err(Error::InvalidCategories);
    }
    if !request.purposes.is_valid() {
        return Err(Error::InvalidPurposes);
    }
    if !is_window(request.from_s, request.until_s) {
        return Err(Error::InvalidWindow);
    }
    let keys_fit = match (request.effect, &request.wrapped_keys) {
        (Effect::Permit, Some(cid)) => cid.is_well_formed(),
        (Effect::Deny, None) => true,
        (Effect::Permit, None) | (Effect::Deny, Some(_)) => false,
    };
    if !keys_fit {
        return Err(Error::InvalidWrappedKeys);
    }
    if request.generation != generation {
        return Err(Error::StaleGeneration);
    }
    Ok(())
}

/// Whether the seconds are whole epochs, from before until, and within the key tree.
#[must_use]
pub fn is_window(from_s: u64, until_s: u64) -> bool {
    let last_s = EPOCHS_MAX.saturating_mul(EPOCH_SECONDS);
    let is_whole = |second: u64| second % EPOCH_SECONDS == 0;
    is_whole(from_s) && is_whole(until_s) && from_s < until_s && until_s <= last_s
}

/// The patient takes a grant back. `now_ms`: block time, Unix milliseconds.
///
/// The grant moves to the end of the pair's revoked ones; the oldest of those beyond [`REVOKED_PER_PAIR_MAX`] is forgotten by the
/// decision, never by the contract.
///
/// # Errors
/// `NotFound`, `NotAuthorised` unless `patient` gave the grant, `AlreadyRevoked`.
pub fn revoke(patient: &Principal, grant: Option<Grant>, pair: &mut PairIndex, now_ms: u64) -> Result<Grant, Error> {
    let grant = own_standing(patient, grant)?;
    pair.standing.retain(|id| *id != grant.id);
    if pair.revoked.len() >= REVOKED_PER_PAIR_MAX {
        pair.revoked.remove(0);
    }
    pair.revoked.push(grant.id);
    Ok(Grant { revoked_at_ms: Some(now_ms), ..grant })
}

/// The patient points a standing permit at keys wrapped anew, after a rotation.
///
/// # Errors
/// `NotFound`, `NotAuthorised` unless `patient` gave the grant, `AlreadyRevoked`, `InvalidWrappedKeys` for a denial or a malformed CID,
/// `StaleGeneration` unless the keys are of the current generation.
pub fn rewrap(
    patient: &Principal,
    state: &PatientState,
    grant: Option<Grant>,
    generation: Generation,
    wrapped_keys: CidBytes,
) -> Result<Grant, Error> {
    let mut grant = own_standing(patient, grant)?;
    if grant.request.effect == Effect::Deny || !wrapped_keys.is_well_formed() {
        return Err(Error::InvalidWrappedKeys);
    }
    if generation != state.generation {
        return Err(Error::StaleGeneration);
    }
    grant.request.generation = generation;
    grant.request.wrapped_keys = Some(wrapped_keys);
    Ok(grant)
}

/// The grant, if it is the patient's and not revoked.
///
/// # Errors
/// `NotFound`, `NotAuthorised`, `AlreadyRevoked`.
pub fn own_standing(patient: &Principal, grant: Option<Grant>) -> Result<Grant, Error> {
    let grant = grant.ok_or(Error::NotFound)?;
    if grant.patient != *patient {
        return Err(Error::NotAuthorised);
    }
    if grant.revoked_at_ms.is_some() {
        return Err(Error::AlreadyRevoked);
    }
    Ok(grant)
}

/// The patient goes on to a new key tree, one generation up, with its directory.
///
/// # Errors
/// `InvalidDirectory` for a malformed CID, `StaleGeneration` unless `generation` is the current one plus one, `Overflow`.
pub fn rotate(state: PatientState, generation: Generation, directory: CidBytes) -> Result<PatientState, Error> {
    let state = publish_directory(state, directory)?;
    let next = Generation(state.generation.0.checked_add(1).ok_or(Error::Overflow)?);
    if generation != next {
        return Err(Error::StaleGeneration);
    }
    Ok(PatientState { generation, ..state })
}

/// The patient publishes a directory of the current generation; an earlier one is replaced.
///
/// # Errors
/// `InvalidDirectory` for a malformed CID.
pub fn publish_directory(state: PatientState, directory: CidBytes) -> Result<PatientState, Error> {
    if !directory.is_well_formed() {
        return Err(Error::InvalidDirectory);
    }
    Ok(PatientState { directory: Some(directory), ..state })
}

/// The patient links a wallet that may sign for it, or unlinks it.
///
/// It uses up a nonce, so that a message signed before neither survives the change nor comes back to life when a wallet is linked again.
///
/// # Errors
/// `Overflow` when nonces run out.
pub fn set_wallet(state: PatientState, wallet: Option<[u8; 20]>) -> Result<PatientState, Error> {
    Ok(PatientState { wallet, ..use_nonce(state)? })
}

/// Whether a signed message is still valid; to be asked before its signer is recovered. `now_ms`: block time, Unix milliseconds.
///
/// # Errors
/// `Expired` from the second after the deadline on, `InvalidNonce` unless the nonce is the patient's next one.
pub fn check_validity(state: &PatientState, validity: &Validity, now_ms: u64) -> Result<(), Error> {
    if now_ms / 1_000 > validity.deadline_s {
        return Err(Error::Expired);
    }
    if validity.nonce != state.nonce {
        return Err(Error::InvalidNonce);
    }
    Ok(())
}

/// Whether the recovered wallet may sign for the patient: its address is the patient, or the patient linked it. `None` is a signature
/// from which no signer could be recovered. Gives the state with the nonce used up.
///
/// # Errors
/// `InvalidSignature`, `Overflow` when nonces run out.
pub fn accept_signer(
    patient: &Principal,
    state: PatientState,
    signer: Option<[u8; 20]>,
) -> Result<PatientState, Error> {
    let signer = signer.ok_or(Error::InvalidSignature)?;
    if Principal::of_ethereum_address(&signer) != *patient && state.wallet != Some(signer) {
        return Err(Error::InvalidSignature);
    }
    use_nonce(state)
}

fn use_nonce(state: PatientState) -> Result<PatientState, Error> {
    let nonce = state.nonce.checked_add(1).ok_or(Error::Overflow)?;
    Ok(PatientState { nonce, ..state })
}

/// Whether so many moments may be asked at once.
///
/// # Errors
/// `TooMany` beyond [`DECISIONS_MAX`].
pub fn check_moments(count: usize) -> Result<(), Error> {
    if count > DECISIONS_MAX {
        Err(Error::TooMany)
    } else {
        Ok(())
    }
}
