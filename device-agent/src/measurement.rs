//! A measurement: what a source gives, before it is numbered, linked and signed.

use pulsegate_reading::{LoincCode, ReadingError, Unit, Value};

/// What was measured and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// The device's time, Unix milliseconds.
    pub measured_at_ms: u64,
    /// What was measured.
    pub code: LoincCode,
    /// The value.
    pub value: Value,
}

impl Measurement {
    /// A measurement that is one number.
    #[must_use]
    pub const fn quantity(measured_at_ms: u64, code: LoincCode, value: f64, unit: Unit) -> Self {
        Self { measured_at_ms, code, value: Value::quantity(value, unit) }
    }

    /// Whether the measurement can be signed: shape, unit and plausible range.
    ///
    /// # Errors
    /// What [`Value::check`] finds.
    pub fn check(&self) -> Result<(), ReadingError> {
        self.value.check(self.code)
    }
}
