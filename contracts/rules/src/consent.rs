//! Who may read what, for which purpose, over which time: grants, and the decision. State changes are in [`transition`].

pub mod transition;

use parity_scale_codec::{Decode, Encode};

use crate::registry::on_chain;
use crate::{Categories, Category, CidBytes, Generation, GrantId, Principal, Purpose, Purposes};

/// Most grants between one patient and one grantee that are not revoked.
pub const GRANTS_PER_PAIR_MAX: usize = 32;
/// Most revoked grants of a pair that the decision still sees, the newest ones; enough to answer `Revoked`.
pub const REVOKED_PER_PAIR_MAX: usize = 32;
pub use crate::PAGE_MAX;
/// Most moments in one call of `decide_each`.
pub const DECISIONS_MAX: usize = 168;

on_chain! {
    /// FHIR `Consent.provision.type`: a grant permits, or forbids. A matching denial wins over every permit.
    pub enum Effect {
        /// The grantee may read.
        Permit,
        /// The grantee may not, whatever else stands.
        Deny,
    }
}
on_chain! {
    /// What a patient asks the contract to record.
    pub struct GrantRequest {
        /// Who may (or may not) read.
        pub grantee: Principal,
        /// Permit or deny.
        pub effect: Effect,
        /// Which streams.
        pub categories: Categories,
        /// For which purposes of use.
        pub purposes: Purposes,
        /// First second of data covered, Unix seconds; a whole epoch.
        pub from_s: u64,
        /// First second no longer covered, Unix seconds; a whole epoch, after `from_s`.
        pub until_s: u64,
        /// The key-tree nodes of the window, wrapped to the grantee. A denial carries none.
        pub wrapped_keys: Option<CidBytes>,
        /// The generation of the wrapped keys; the patient's current one.
        pub generation: Generation,
    }
}
on_chain! {
    /// A grant as it stands on chain.
    pub struct Grant {
        /// From 1.
        pub id: GrantId,
        /// Whose data.
        pub patient: Principal,
        /// What was asked; `wrapped_keys` and `generation` change when the patient re-wraps.
        pub request: GrantRequest,
        /// Block time, Unix milliseconds.
        pub granted_at_ms: u64,
        /// Block time, Unix milliseconds; `None` while the grant stands.
        pub revoked_at_ms: Option<u64>,
    }
}
on_chain! {
    /// Why a reader is denied. In order of nearness: the highest that any grant reached is the one reported.
    pub enum DenyReason {
        /// No grant between the two.
        NoGrant,
        /// There was one; the patient revoked it.
        Revoked,
        /// A grant stands, but not for this category.
        CategoryNotCovered,
        /// A grant covers the category, but not for this purpose.
        PurposeNotCovered,
        /// A grant covers category and purpose, but not this time.
        OutsideWindow,
        /// The patient forbids it; wins over any permit.
        DeniedByPatient,
    }
}
on_chain! {
    /// The answer to "may this reader read".
    pub enum Decision {
        /// Yes, by this grant; `None` is the patient reading their own data.
        Permit(Option<GrantId>),
        /// No.
        Deny(DenyReason),
    }
}
on_chain! {
    /// Where the patient's epoch public keys are.
    pub struct KeyDirectory {
        /// The patient's generation now.
        pub generation: Generation,
        /// The signed directory object of that generation.
        pub cid: CidBytes,
    }
}
on_chain! {
    /// Why the consent contract refuses.
    pub enum Error {
        /// The caller is not the patient of the grant.
        NotAuthorised,
        /// No such grant.
        NotFound,
        /// It was revoked before.
        AlreadyRevoked,
        /// Not whole epochs, empty, or beyond the last epoch ([`crate::ids::EPOCHS_MAX`]).
        InvalidWindow,
        /// An empty set of categories or an unknown one.
        InvalidCategories,
        /// An empty set of purposes or an unknown one.
        InvalidPurposes,
        /// A permit without wrapped keys, a denial with them, or a CID that is not CIDv1 over SHA-256.
        InvalidWrappedKeys,
        /// The generation is not the patient's current one; or a rotation does not go up by exactly one.
        StaleGeneration,
        /// Grantee and patient are the same.
        SelfGrant,
        /// The pair has [`GRANTS_PER_PAIR_MAX`] standing grants already.
        TooManyGrants,
        /// The signature is malformed or of somebody else.
        InvalidSignature,
        /// The nonce is not the patient's next one.
        InvalidNonce,
        /// The deadline is over.
        Expired,
        /// More than a page, or more moments than [`DECISIONS_MAX`].
        TooMany,
        /// A counter would overflow.
        Overflow,
        /// The directory's CID is not CIDv1 over SHA-256.
        InvalidDirectory,
    }
}

/// Decides whether `grantee` may read data of `patient` measured at `at_s` (Unix seconds), from the grants between the two.
///
/// Deny by default; a matching denial wins over every permit; among permits the lowest grant id is named.
/// The reason of a denial is the highest [`DenyReason`] that any grant reached.
#[must_use]
pub fn decide(
    grants: &[Grant],
    grantee: &Principal,
    patient: &Principal,
    category: Category,
    purpose: Purpose,
    at_s: u64,
) -> Decision {
    if grantee == patient {
        return Decision::Permit(None);
    }
    let mut permit: Option<GrantId> = None;
    let mut nearest = DenyReason::NoGrant;
    for grant in grants.iter().filter(|grant| grant.patient == *patient && grant.request.grantee == *grantee) {
        match match_grant(grant, category, purpose, at_s) {
            Ok(()) if grant.request.effect == Effect::Deny => return Decision::Deny(DenyReason::DeniedByPatient),
            Ok(()) => permit = Some(permit.map_or(grant.id, |id| id.min(grant.id))),
            // A denial that does not apply says nothing about how near a permit was.
            Err(reason) if grant.request.effect == Effect::Permit => nearest = nearest.max(reason),
            Err(_) => {}
        }
    }
    permit.map_or(Decision::Deny(nearest), |id| Decision::Permit(Some(id)))
}

fn match_grant(grant: &Grant, category: Category, purpose: Purpose, at_s: u64) -> Result<(), DenyReason> {
    let request = &grant.request;
    if grant.revoked_at_ms.is_some() {
        return Err(DenyReason::Revoked);
    }
    if !request.categories.contains(category) {
        return Err(DenyReason::CategoryNotCovered);
    }
    if !request.purposes.contains(purpose) {
        return Err(DenyReason::PurposeNotCovered);
    }
    if at_s < request.from_s || at_s >= request.until_s {
        return Err(DenyReason::OutsideWindow);
    }
    Ok(())
}
