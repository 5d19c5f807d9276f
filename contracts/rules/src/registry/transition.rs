//! What changes the registry, as checks from what stands now to what stands next.
//!
//! Each function takes the caller, the present state and the request, and gives the new state or the reason of the refusal. The order of
//! the checks is the order in which errors take precedence. Who may call comes first: deny by default.

use alloc::vec::Vec;

use super::{
    ActiveModel, DetectorKind, Device, DeviceStatus, Error, KeyAlgorithm, KeyUse, Model, OracleSet, Participant,
    PublicKey, Role, DEVICES_PER_OWNER_MAX, ORACLES_MAX, PUBLIC_KEY_BYTES_MAX,
};
use crate::{Categories, DeviceId, ModelId, OracleKey, Principal};

/// Shortest RSA key taken: the SubjectPublicKeyInfo of a 3072-bit modulus (RFC 8017, RFC 5280) is 422 bytes.
pub const RSA_KEY_BYTES_MIN: usize = 420;
/// Length of an X25519 or Ed25519 public key.
pub const CURVE_KEY_BYTES: usize = 32;

/// Only the admin.
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

/// Only the proposed account becomes admin.
///
/// # Errors
/// `NotProposed` for anybody else, and when nobody is proposed.
pub fn accept_admin(caller: &Principal, proposed: Option<&Principal>) -> Result<(), Error> {
    if proposed == Some(caller) {
        Ok(())
    } else {
        Err(Error::NotProposed)
    }
}

/// Anybody may register itself, once. `now_ms`: block time, Unix milliseconds.
///
/// # Errors
/// `AlreadyExists` if the caller is registered; roles do not change.
pub fn register_participant(existing: Option<&Participant>, role: Role, now_ms: u64) -> Result<Participant, Error> {
    match existing {
        Some(_) => Err(Error::AlreadyExists),
        None => Ok(Participant { role, registered_at_ms: now_ms }),
    }
}

/// A registered participant sets its own key of one use; an earlier one is replaced.
///
/// # Errors
/// `NotAuthorised` if the caller is not registered, `InvalidKey` if the key does not fit its algorithm or the algorithm its use.
pub fn set_key(participant: Option<&Participant>, key_use: KeyUse, key: &PublicKey) -> Result<(), Error> {
    participant.ok_or(Error::NotAuthorised)?;
    let fits_use = match key_use {
        KeyUse::Encryption => matches!(key.algorithm, KeyAlgorithm::X25519Hpke | KeyAlgorithm::RsaOaepSha256),
        KeyUse::Signing => matches!(key.algorithm, KeyAlgorithm::Ed25519 | KeyAlgorithm::RsaPssSha256),
    };
    let fits_length = match key.algorithm {
        KeyAlgorithm::X25519Hpke | KeyAlgorithm::Ed25519 => {
            key.bytes.len() == CURVE_KEY_BYTES && key.bytes.iter().any(|byte| *byte != 0)
        }
        // DER: a SEQUENCE with a two-byte length, which must be the length of what follows.
        KeyAlgorithm::RsaOaepSha256 | KeyAlgorithm::RsaPssSha256 => {
            (RSA_KEY_BYTES_MIN..=PUBLIC_KEY_BYTES_MAX).contains(&key.bytes.len()) && is_der_sequence(&key.bytes)
        }
    };
    if fits_use && fits_length {
        Ok(())
    } else {
        Err(Error::InvalidKey)
    }
}

fn is_der_sequence(bytes: &[u8]) -> bool {
    match bytes {
        [0x30, 0x82, high, low, rest @ ..] => usize::from(u16::from_be_bytes([*high, *low])) == rest.len(),
        _ => false,
    }
}

/// A registered patient adds a device. Gives the device and the owner's new number of devices.
///
/// Registration is first come: the chain does not check that the caller holds the device's private key. A reading counts only with
/// the device's signature over its patient, so a device that a stranger registered yields nothing, and its owner gives it a fresh key.
///
/// # Errors
/// `NotAuthorised` unless the caller is registered as a patient; `InvalidKey` for the all-zero key; `InvalidCategories`;
/// `AlreadyExists` for a known device, also a revoked one; `TooManyDevices` beyond [`DEVICES_PER_OWNER_MAX`].
pub fn register_device(
    caller: &Principal,
    participant: Option<&Participant>,
    existing: Option<&Device>,
    owned: u32,
    (public_key, categories): ([u8; 32], Categories),
    now_ms: u64,
) -> Result<(DeviceId, Device, u32), Error> {
    if participant.map(|participant| participant.role) != Some(Role::Patient) {
        return Err(Error::NotAuthorised);
    }
    if public_key == [0; 32] {
        return Err(Error::InvalidKey);
    }
    if !categories.is_valid() {
        return Err(Error::InvalidCategories);
    }
    if existing.is_some() {
        return Err(Error::AlreadyExists);
    }
    if owned >= DEVICES_PER_OWNER_MAX {
        return Err(Error::TooManyDevices);
    }
    let owned = owned.checked_add(1).ok_or(Error::Overflow)?;
    let device =
        Device { owner: *caller, public_key, categories, status: DeviceStatus::Active, registered_at_ms: now_ms };
    Ok((DeviceId::of_public_key(&public_key), device, owned))
}

/// The owner changes a device's status. `Revoked` is final.
///
/// # Errors
/// `NotFound` for an unknown device, `NotAuthorised` unless the caller owns it, `DeviceRevoked` if it is revoked.
pub fn set_device_status(caller: &Principal, device: Option<Device>, status: DeviceStatus) -> Result<Device, Error> {
    let device = device.ok_or(Error::NotFound)?;
    if device.owner != *caller {
        return Err(Error::NotAuthorised);
    }
    if device.status == DeviceStatus::Revoked {
        return Err(Error::DeviceRevoked);
    }
    Ok(Device { status, ..device })
}

/// The next oracle set. The caller has been checked by [`require_admin`].
///
/// # Errors
/// `InvalidOracleSet` for more than [`ORACLES_MAX`] members, one twice, one that is no compressed key, or a threshold that is zero or
/// above their number; `Overflow` when versions run out.
pub fn set_oracles(current_version: u32, threshold: u8, members: Vec<OracleKey>) -> Result<OracleSet, Error> {
    let reachable = threshold >= 1 && usize::from(threshold) <= members.len();
    let compressed = members.iter().all(|member| matches!(member.0[0], 2 | 3));
    let distinct = || members.iter().enumerate().all(|(position, member)| !members[..position].contains(member));
    if members.len() > ORACLES_MAX || !reachable || !compressed || !distinct() {
        return Err(Error::InvalidOracleSet);
    }
    let version = current_version.checked_add(1).ok_or(Error::Overflow)?;
    Ok(OracleSet { version, threshold, members })
}

/// The admin puts a model forward. The caller has been checked by [`require_admin`] and is the approver.
///
/// # Errors
/// `InvalidModel` for the all-zero id, `AlreadyExists` if the model was approved before.
pub fn approve_model(existing: Option<&Model>, id: &ModelId, model: Model) -> Result<Model, Error> {
    if id.0 == [0; 32] {
        return Err(Error::InvalidModel);
    }
    match existing {
        Some(_) => Err(Error::AlreadyExists),
        None => Ok(model),
    }
}

/// An approved model becomes the one in use for its kind.
///
/// # Errors
/// `NotFound` if it was never approved, `AlreadyExists` if it is in use already.
pub fn activate_model(
    model: Option<&Model>,
    active: Option<&ActiveModel>,
    id: ModelId,
) -> Result<(DetectorKind, ActiveModel), Error> {
    let model = model.ok_or(Error::NotFound)?;
    let previous = active.map(|active| active.current);
    if previous == Some(id) {
        return Err(Error::AlreadyExists);
    }
    Ok((model.kind, ActiveModel { current: id, previous }))
}

/// The model before the one in use is in use again. One step only: what was rolled back is not returned to.
///
/// # Errors
/// `NothingToRollBack` if there is no earlier one.
pub fn roll_back_model(active: Option<&ActiveModel>) -> Result<ActiveModel, Error> {
    let current = active.and_then(|active| active.previous).ok_or(Error::NothingToRollBack)?;
    Ok(ActiveModel { current, previous: None })
}
