//! receive: bytes from the network become signed readings, or an error each.
//!
//! Guarantees: nothing longer than its limit is looked at; a malformed reading costs its neighbours in the batch nothing.
//! Must not: trust anything in a reading; the signature is checked by `verify`.

use axum::http::StatusCode;
pub use pulsegate_reading::READING_BYTES_MAX;
use pulsegate_reading::{ReadingError, SignedReading};

use crate::problem::Problem;

/// Longest batch body, bytes.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most readings in one batch.
pub const BATCH_READINGS_MAX: usize = 256;

/// Decodes one signed reading.
///
/// # Errors
/// The reading's own error code: malformed, unknown LOINC code, unit, absurd value, too long.
pub(crate) fn reading(bytes: &[u8]) -> Result<SignedReading, Problem> {
    SignedReading::decode(bytes).map_err(|error| refused(&error))
}

/// What the reading format says is wrong, as an answer.
pub(crate) fn refused(error: &ReadingError) -> Problem {
    let status = match error.code() {
        "WRONG_SIGNATURE" | "WRONG_KEY" => StatusCode::FORBIDDEN,
        "TOO_LARGE" => StatusCode::PAYLOAD_TOO_LARGE,
        "MALFORMED_COSE" | "WRONG_HEADER" | "MALFORMED_PAYLOAD" | "NOT_DETERMINISTIC" => StatusCode::BAD_REQUEST,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Problem::bad(
        error.code(),
        error.to_string(),
        "Correct the reading, sign it and what follows it anew from the device's head (GET /v1/devices/{id}), and send again.",
    )
    .with_status(status)
}

/// Splits a batch body into its readings without copying more than the body.
///
/// # Errors
/// When the body is not a CBOR array of byte strings, or holds none or too many.
pub(crate) fn batch(body: &[u8]) -> Result<Vec<Vec<u8>>, Problem> {
    let malformed = || {
        Problem::bad(
            "MALFORMED_BATCH",
            "The body is not a CBOR array of byte strings.",
            "Send application/cbor: an array of 1 to 256 signed readings, each a byte string.",
        )
    };
    let mut rest = body;
    let readings: Vec<serde_bytes::ByteBuf> = ciborium::from_reader(&mut rest).map_err(|_| malformed())?;
    if !rest.is_empty() || readings.is_empty() {
        return Err(malformed());
    }
    if readings.len() > BATCH_READINGS_MAX {
        return Err(Problem::bad(
            "TOO_MANY_READINGS",
            format!("The batch has {} readings, {BATCH_READINGS_MAX} are allowed.", readings.len()),
            "Split the batch.",
        )
        .with_status(StatusCode::PAYLOAD_TOO_LARGE));
    }
    Ok(readings.into_iter().map(serde_bytes::ByteBuf::into_vec).collect())
}
