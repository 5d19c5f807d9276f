//! Why a detector could not judge. The reading goes on as "not assessed"; the caller logs the code once.

/// A detector could not judge.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DetectorError {
    /// An input is not what the model takes.
    #[error(
        "the detector cannot take this input ({reason}); the reading goes on without its judgement, check the model's version"
    )]
    UnusableInput {
        /// What is wrong, without the value.
        reason: &'static str,
    },
    /// The model itself failed.
    #[error("the detector failed ({reason}); readings go on without its judgement, roll the model back")]
    Failed {
        /// What happened.
        reason: &'static str,
    },
}

impl DetectorError {
    /// The stable code of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnusableInput { .. } => "DETECTOR_UNUSABLE_INPUT",
            Self::Failed { .. } => "DETECTOR_FAILED",
        }
    }
}
