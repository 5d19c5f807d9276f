//! Where measurements come from: a CSV file, a seeded physiology, recorded patients.
//!
//! Guarantees: a source gives the same measurements in the same order whenever it is opened the same way, so a place in it is a number; what
//! cannot be signed (no such unit, an implausible value) is left out, counted and named by its reason, never passed on and never a crash.
//! Must not: hold a whole large file in memory without a limit.

mod csv;
mod ecg;
mod generator;
mod mitbih;
mod physionet;
mod time;

use std::collections::BTreeMap;
use std::path::PathBuf;

use pulsegate_reading::ReadingError;

pub use self::csv::CsvSource;
pub use self::ecg::EcgModel;
pub use self::generator::{Deterioration, Generator, GeneratorConfig};
pub use self::mitbih::MitBihSource;
pub use self::physionet::PhysionetSource;
pub use self::time::parse_time_ms;
use crate::measurement::Measurement;

/// A source cannot be read at all. Single bad values are [`Skipped`] instead.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct SourceError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong and what is expected.
    pub problem: String,
}

impl SourceError {
    pub(crate) fn new(path: impl Into<PathBuf>, problem: impl std::fmt::Display) -> Self {
        Self { path: path.into(), problem: problem.to_string() }
    }

    /// The stable code of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "SOURCE_UNUSABLE"
    }
}

/// What was left out, by reason, with how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped(pub BTreeMap<String, u64>);

impl Skipped {
    /// How many values were left out.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    pub(crate) fn add(&mut self, reason: impl Into<String>) {
        *self.0.entry(reason.into()).or_insert(0) += 1;
    }

    /// Counts a measurement that the reading format does not accept.
    pub(crate) fn refuse(&mut self, error: &ReadingError) {
        let code = error.code();
        match error {
            ReadingError::AbsurdValue { code: what, .. }
            | ReadingError::UnitMismatch { code: what, .. }
            | ReadingError::WrongShape { code: what, .. } => self.add(format!("{code} {what}")),
            _ => self.add(code),
        }
    }

    /// Passes on a measurement that can be signed, and counts one that cannot.
    pub(crate) fn keep(&mut self, measurement: Measurement) -> Option<Measurement> {
        match measurement.check() {
            Ok(()) => Some(measurement),
            Err(error) => {
                self.refuse(&error);
                None
            }
        }
    }
}

/// A source of measurements, oldest first.
pub trait Source: Send {
    /// Names the source and its settings: under this name the agent remembers the place.
    fn id(&self) -> String;

    /// Goes to the place after the first `position` measurements, from wherever it is.
    ///
    /// # Errors
    /// [`SourceError`].
    fn seek(&mut self, position: u64) -> Result<(), SourceError>;

    /// Gives the next measurements, at most `limit` and at least one, or none at the end.
    ///
    /// # Errors
    /// [`SourceError`].
    fn read(&mut self, limit: usize) -> Result<Vec<Measurement>, SourceError>;

    /// What was left out since the source was opened; after going back, values are counted again.
    fn skipped(&self) -> &Skipped;
}

/// The place in a source that gives measurements one by one and can only start over.
pub(crate) struct Place {
    position: u64,
}

impl Place {
    pub(crate) const START: Self = Self { position: 0 };

    /// How to get to `position`: whether to start over first, and how many to leave out.
    pub(crate) fn to(&mut self, position: u64) -> (bool, u64) {
        let back = position < self.position;
        let from = if back { 0 } else { self.position };
        self.position = position;
        (back, position - from)
    }

    pub(crate) fn advance(&mut self, count: usize) {
        self.position += count as u64;
    }
}
