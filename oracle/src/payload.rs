//! What is inside a sealed record: the signed reading as the device sent it, when it came, and what the detectors said.
//!
//! DAG-CBOR. Readers decode it after they opened a record; the reading inside still carries the device's signature, so a reader checks it
//! against the chain without trusting the oracle. Must not: be written anywhere unsealed.

use pulsegate_detector::Verdict;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The plaintext of a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// The signed reading (COSE_Sign1), byte for byte as the device sent it.
    #[serde(with = "serde_bytes")]
    pub reading: Vec<u8>,
    /// When the oracle received it, Unix milliseconds.
    pub received_at_ms: u64,
    /// Whether the patient had quarantined the device when the reading came.
    pub quarantined: bool,
    /// What the detectors said.
    pub verdict: Verdict,
}

/// The plaintext of a record does not decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record opened, but its content does not decode; it was sealed by another version, update this program")]
pub struct PayloadError;

impl PayloadError {
    /// The stable code of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "PAYLOAD_MALFORMED"
    }
}

impl Payload {
    /// Encodes the payload; wiped on drop.
    ///
    /// # Errors
    /// [`PayloadError`] when a number of the verdict is not finite, which DAG-CBOR cannot carry.
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, PayloadError> {
        serde_ipld_dagcbor::to_vec(self).map(Zeroizing::new).map_err(|_| PayloadError)
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// [`PayloadError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, PayloadError> {
        serde_ipld_dagcbor::from_slice(bytes).map_err(|_| PayloadError)
    }
}
