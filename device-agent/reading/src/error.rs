//! Why bytes are not an acceptable reading. Every variant has a stable code and at least one vector file that starts with that code.
//!
//! Must not: carry a measured value, which is health data; the code of the measurement and the limit are enough to find the fault.

use crate::loinc::LoincCode;

/// The bytes or the values are not an acceptable reading.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadingError {
    /// Not a tagged COSE_Sign1 (RFC 9052, section 4.2) with a payload and nothing after it.
    #[error(
        "not a COSE_Sign1 message ({reason}); send the bytes that the device signed, tag 18, nothing before or after them"
    )]
    MalformedCose {
        /// What is wrong.
        reason: &'static str,
    },
    /// The headers are not exactly algorithm EdDSA and key id.
    #[error(
        "the COSE headers are not acceptable ({reason}); protect algorithm EdDSA (-8) and a 32-byte key id, and nothing else"
    )]
    WrongHeader {
        /// What is wrong.
        reason: &'static str,
    },
    /// The payload is not the map that a reading is.
    #[error("the payload is not a reading: key {key} {problem}; encode it as docs/formats.md says")]
    MalformedPayload {
        /// The map key (0 for the map as a whole).
        key: u64,
        /// What is wrong there.
        problem: &'static str,
    },
    /// The payload is of another version of the format.
    #[error("the reading is of format version {version}; this program knows version 1, update the older of the two")]
    UnsupportedVersion {
        /// The version that the payload names.
        version: u64,
    },
    /// Well-formed, but not the one deterministic encoding (RFC 8949, section 4.2.1).
    #[error(
        "the reading is not in deterministic encoding (RFC 8949, section 4.2.1); encode it with shortest lengths and sorted keys"
    )]
    NotDeterministic,
    /// A length is over its limit.
    #[error("{what} has {actual} bytes or entries, at most {limit} are allowed; split the measurement")]
    TooLarge {
        /// What is too long.
        what: &'static str,
        /// Its length.
        actual: usize,
        /// The limit.
        limit: usize,
    },
    /// The signature is not the device's over these bytes.
    #[error("the signature does not verify with the device's key; sign again with the key that is registered")]
    WrongSignature,
    /// The public key is not the one that the device id was derived from.
    #[error(
        "the public key does not belong to the device id in the header; use the key that is registered for this device"
    )]
    WrongKey,
    /// Sequence numbers start at 1.
    #[error("sequence 0 is not used; number a device's readings from 1")]
    SequenceZero,
    /// The code is not in the table of codes that Pulsegate carries.
    #[error("LOINC code {code:?} is not known here; use a code of the table in docs/formats.md")]
    UnknownLoinc {
        /// The code as sent, cut to its limit.
        code: String,
    },
    /// The unit is unknown or does not belong to the code.
    #[error("unit {unit:?} does not belong to {code}; use {expected}")]
    UnitMismatch {
        /// The measurement.
        code: LoincCode,
        /// The unit as sent, cut to its limit.
        unit: String,
        /// The units that the code takes, in UCUM.
        expected: String,
    },
    /// The kind of value does not belong to the code.
    #[error("{code} does not take {found}; send {expected}")]
    WrongShape {
        /// The measurement.
        code: LoincCode,
        /// What was sent.
        found: &'static str,
        /// What the code takes.
        expected: &'static str,
    },
    /// A value is not finite, or outside what the code can be.
    #[error("the value of {code} is {problem}; check the sensor, such a value is not stored")]
    AbsurdValue {
        /// The measurement.
        code: LoincCode,
        /// What is wrong, without the value.
        problem: &'static str,
    },
}

impl ReadingError {
    /// All codes, so that a test can show that each has its vectors.
    pub const CODES: &'static [&'static str] = &[
        "MALFORMED_COSE",
        "WRONG_HEADER",
        "MALFORMED_PAYLOAD",
        "UNSUPPORTED_VERSION",
        "NOT_DETERMINISTIC",
        "TOO_LARGE",
        "WRONG_SIGNATURE",
        "WRONG_KEY",
        "SEQUENCE_ZERO",
        "UNKNOWN_LOINC",
        "UNIT_MISMATCH",
        "WRONG_SHAPE",
        "ABSURD_VALUE",
    ];

    /// The stable code of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::MalformedCose { .. } => "MALFORMED_COSE",
            Self::WrongHeader { .. } => "WRONG_HEADER",
            Self::MalformedPayload { .. } => "MALFORMED_PAYLOAD",
            Self::UnsupportedVersion { .. } => "UNSUPPORTED_VERSION",
            Self::NotDeterministic => "NOT_DETERMINISTIC",
            Self::TooLarge { .. } => "TOO_LARGE",
            Self::WrongSignature => "WRONG_SIGNATURE",
            Self::WrongKey => "WRONG_KEY",
            Self::SequenceZero => "SEQUENCE_ZERO",
            Self::UnknownLoinc { .. } => "UNKNOWN_LOINC",
            Self::UnitMismatch { .. } => "UNIT_MISMATCH",
            Self::WrongShape { .. } => "WRONG_SHAPE",
            Self::AbsurdValue { .. } => "ABSURD_VALUE",
        }
    }
}
