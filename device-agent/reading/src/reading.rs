//! A reading: what one device measured at one time, before and after its signature.

use pulsegate_rules::{Category, DeviceId, Principal};
use sha2::{Digest, Sha256};

use crate::error::ReadingError;
use crate::key::DeviceKey;
use crate::loinc::LoincCode;
use crate::signed::SignedReading;
use crate::value::Value;

/// What one device measured at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The device that signs.
    pub device: DeviceId,
    /// Whose body was measured.
    pub patient: Principal,
    /// The deployment that it is for; see [`audience`].
    pub audience: [u8; 32],
    /// The device's own count of its readings, from 1, without gaps.
    pub sequence: u64,
    /// [`SignedReading::hash`] of the device's reading before; zero for the first.
    pub previous: [u8; 32],
    /// The device's time, Unix milliseconds. For a waveform the time of the first sample.
    pub measured_at_ms: u64,
    /// What was measured.
    pub code: LoincCode,
    /// The value.
    pub value: Value,
}

impl Reading {
    /// The category of data, which decides the stream and who may read it.
    #[must_use]
    pub const fn category(&self) -> Category {
        self.code.category()
    }

    /// Whether the reading is one that the decoder would accept.
    ///
    /// # Errors
    /// [`ReadingError::SequenceZero`] or what [`Value::check`] finds.
    pub fn check(&self) -> Result<(), ReadingError> {
        if self.sequence == 0 {
            return Err(ReadingError::SequenceZero);
        }
        self.value.check(self.code)
    }

    /// Signs the reading (COSE_Sign1, Ed25519).
    ///
    /// # Errors
    /// What [`Reading::check`] finds; [`ReadingError::WrongKey`] when the key is not that of [`Reading::device`].
    pub fn sign(&self, key: &DeviceKey) -> Result<SignedReading, ReadingError> {
        SignedReading::sign(self.clone(), key)
    }

    /// The reading as a FHIR R4 Observation (4.0.1), with the vital-signs profile's codes and categories where one applies.
    #[must_use]
    pub fn to_fhir(&self) -> serde_json::Value {
        crate::fhir::observation(self)
    }
}

/// The deployment that a reading is for: SHA-256(`"pulsegate/audience/v1"` ‖ genesis hash ‖ records contract).
#[must_use]
pub fn audience(genesis: &[u8; 32], records: &Principal) -> [u8; 32] {
    Sha256::new().chain_update(b"pulsegate/audience/v1").chain_update(genesis).chain_update(records.0).finalize().into()
}
