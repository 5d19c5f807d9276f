//! verify: is the reading for this deployment, of a registered device of that patient, signed, and of a believable time?
//!
//! Guarantees: runs before the acknowledgement, so every refusal reaches the sender with its own code; a refused reading changes nothing.
//! Sequence and hash link are checked where they can be checked atomically, in the log's own transaction.
//! Must not: log who sent what.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::StatusCode;
use pulsegate_detector::LATE_AFTER_MS;
use pulsegate_reading::{Reading, SignedReading};
use pulsegate_rules::DeviceId;
use pulsegate_rules::registry::{Device, DeviceStatus};
use zeroize::Zeroizing;

use crate::context::Context;
use crate::log::{AppendOutcome, NewEntry};
use crate::problem::Problem;
use crate::stages::receive;

/// How far a reading's time may be ahead of the oracle's, milliseconds.
pub const FUTURE_MS_MAX: u64 = 120_000;
/// How old a reading may be, milliseconds: 400 days.
pub const AGE_MS_MAX: u64 = 400 * 24 * 3_600 * 1_000;
/// How many devices that turn out not to be registered one request may ask the chain for.
pub const UNKNOWN_DEVICES_MAX: usize = 8;

const RESIGN: &str =
    "Correct the cause, then sign this and the following readings anew from the device's head (GET /v1/devices/{id}).";

/// Verifies readings; the answers are in the order of the input.
pub(crate) async fn verify(context: &Arc<Context>, bodies: Vec<Vec<u8>>) -> Vec<Result<NewEntry, Problem>> {
    let (single, count) = (bodies.len() == 1, bodies.len());
    let decode = move || bodies.iter().map(|body| receive::reading(body)).collect::<Vec<_>>();
    let decoded = away(single, decode).await;
    let devices = look_up(context, decoded.iter().flatten()).await;
    let (now_ms, audience) = (context.now_ms(), context.audience);
    let check = move || {
        decoded
            .into_iter()
            .map(|signed| {
                let signed = signed?;
                let device = match devices.get(&signed.unverified().device) {
                    Some(Ok(device)) => device.as_ref(),
                    Some(Err(problem)) => return Err(problem.clone()),
                    None => None,
                };
                one(&signed, device, &audience, now_ms)
            })
            .collect::<Vec<_>>()
    };
    let mut verified = away(single, check).await;
    if verified.len() != count {
        // Only when the runtime is going down: the blocking thread did not run to its end.
        return std::iter::repeat_with(|| Err(Problem::storage())).take(count).collect();
    }
    for entry in &mut verified {
        if let Ok(found) = entry
            && context.backlog.of(&found.patient) >= context.config.patient_backlog_max
        {
            let text = "The patient's accepted readings wait for epoch keys and fill the patient's share of the log.";
            *entry = Err(Problem::slow_down("PATIENT_BACKLOG_FULL", text, 30));
        }
    }
    verified
}

/// What the chain says of the readings' devices. A reading for another deployment is not worth a question, and neither are more than
/// [`UNKNOWN_DEVICES_MAX`] devices that are not registered.
async fn look_up<'a>(
    context: &Context,
    readings: impl Iterator<Item = &'a SignedReading>,
) -> HashMap<DeviceId, Result<Option<Device>, Problem>> {
    let mut devices = HashMap::new();
    let mut unknown = 0;
    for signed in readings {
        let claimed = signed.unverified();
        if claimed.audience != context.audience || devices.contains_key(&claimed.device) {
            continue;
        }
        let found = if unknown < UNKNOWN_DEVICES_MAX {
            let found = context.devices.device(&context.contracts, claimed.device).await;
            found.map_err(|error| Problem::ledger(&error))
        } else {
            let text = format!("The request names more than {UNKNOWN_DEVICES_MAX} devices that are not registered.");
            let problem = Problem::slow_down("TOO_MANY_UNKNOWN_DEVICES", text, 2);
            context.devices.remembered(&claimed.device).ok_or(problem)
        };
        if matches!(found, Ok(None)) {
            unknown += 1;
        }
        devices.insert(claimed.device, found);
    }
    devices
}

/// Runs elliptic-curve work of a batch on a blocking thread; one reading is not worth the way there.
async fn away<T: Send + 'static>(single: bool, job: impl FnOnce() -> Vec<T> + Send + 'static) -> Vec<T> {
    if single {
        return job();
    }
    tokio::task::spawn_blocking(job).await.unwrap_or_default()
}

/// Checks one decoded reading against the device as registered.
fn one(signed: &SignedReading, device: Option<&Device>, audience: &[u8; 32], now_ms: u64) -> Result<NewEntry, Problem> {
    let claimed = signed.unverified();
    if claimed.audience != *audience {
        return Err(refuse(
            "WRONG_AUDIENCE",
            "The reading is for another deployment.",
            StatusCode::UNPROCESSABLE_ENTITY,
        ));
    }
    let Some(device) = device else {
        let text = "The device is not registered on this chain.";
        let next = "Register the device (pulsegate device add) and send again.";
        return Err(Problem::bad("UNKNOWN_DEVICE", text, next).with_status(StatusCode::FORBIDDEN));
    };
    let reading = signed.verify(&device.public_key).map_err(|error| receive::refused(&error))?;
    if device.status == DeviceStatus::Revoked {
        let text = "The patient revoked this device.";
        let next = "Stop sending; a revoked device stays revoked. Register a new key if the device is in use again.";
        return Err(Problem::bad("REVOKED_DEVICE", text, next).with_status(StatusCode::FORBIDDEN));
    }
    if reading.patient != device.owner {
        return Err(refuse(
            "WRONG_PATIENT",
            "The reading names another patient than the device's owner.",
            StatusCode::FORBIDDEN,
        ));
    }
    if !device.categories.contains(reading.category()) {
        let text = "The device is not registered for this category of data.";
        return Err(refuse("WRONG_CATEGORY", text, StatusCode::FORBIDDEN));
    }
    check_time(reading, now_ms)?;
    Ok(NewEntry {
        device: reading.device,
        patient: reading.patient,
        sequence: reading.sequence,
        previous: reading.previous,
        hash: signed.hash(),
        received_at_ms: now_ms,
        quarantined: device.status == DeviceStatus::Quarantined,
        late: now_ms.saturating_sub(reading.measured_at_ms) > LATE_AFTER_MS,
        flow: None,
        cose: Zeroizing::new(signed.bytes().to_vec()),
    })
}

fn check_time(reading: &Reading, now_ms: u64) -> Result<(), Problem> {
    if reading.measured_at_ms > now_ms.saturating_add(FUTURE_MS_MAX) {
        let text = format!("The reading's time is more than {} s in the future.", FUTURE_MS_MAX / 1_000);
        return Err(refuse("TIME_IN_FUTURE", text, StatusCode::UNPROCESSABLE_ENTITY));
    }
    if now_ms.saturating_sub(reading.measured_at_ms) > AGE_MS_MAX {
        let text = "The reading is older than 400 days.";
        return Err(refuse("TOO_OLD", text, StatusCode::UNPROCESSABLE_ENTITY));
    }
    Ok(())
}

fn refuse(code: &'static str, text: impl Into<String>, status: StatusCode) -> Problem {
    Problem::bad(code, text, RESIGN).with_status(status)
}

/// What the log says of a reading, as place and whether it was there before, or as a refusal.
pub(crate) fn outcome(outcome: AppendOutcome) -> Result<(u64, bool), Problem> {
    let conflict = |code, text: String| Err(Problem::bad(code, text, RESIGN).with_status(StatusCode::CONFLICT));
    match outcome {
        AppendOutcome::Accepted { position } => Ok((position, false)),
        AppendOutcome::Duplicate { position } => Ok((position, true)),
        AppendOutcome::Replayed { last } => conflict(
            "REPLAYED_SEQUENCE",
            format!("The sequence was used by another reading; the newest one is {last}."),
        ),
        AppendOutcome::Gap { expected } => {
            conflict("SEQUENCE_GAP", format!("Readings before this one are missing; send sequence {expected} next."))
        }
        AppendOutcome::BrokenLink => conflict(
            "BROKEN_HASH_LINK",
            "The reading does not name the device's newest accepted reading as the one before.".to_owned(),
        ),
    }
}
