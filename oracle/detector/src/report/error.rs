//! Why a report was not written.

use std::path::{Path, PathBuf};

use crate::measure::EvaluationError;

/// A report was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A file cannot be written or read back.
    #[error("{path}: {source}; check that the report's folder can be written to", path = path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The evaluation does not fit together.
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
    /// A plot cannot be drawn.
    #[error(
        "the plot {heading:?} cannot be drawn ({reason}); this is a fault of this program, report it with the command"
    )]
    Plot {
        /// Its heading.
        heading: String,
        /// What the drawing library says.
        reason: String,
    },
    /// Python cannot be started.
    #[error(
        "cannot start {interpreter} for the boosting baseline: {source}; name a Python 3 with --boosting PATH, or leave --boosting out",
        interpreter = interpreter.display()
    )]
    BoostingUnavailable {
        /// What was started.
        interpreter: PathBuf,
        /// Why it was not.
        source: std::io::Error,
    },
    /// The script ended with an error.
    #[error(
        "the boosting baseline ended with {status}, its message is above; install what it needs with \
         `python3 -m pip install -r {requirements}`, or leave --boosting out",
        requirements = requirements.display()
    )]
    BoostingFailed {
        /// How it ended.
        status: std::process::ExitStatus,
        /// The list of what it needs.
        requirements: PathBuf,
    },
    /// What the script wrote cannot be used.
    #[error("the boosting baseline wrote {path}, which cannot be used ({reason}); run the evaluation again, or leave --boosting out", path = path.display())]
    BoostingUnusable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// No row trains, so nothing can be trained on the same rows.
    #[error(
        "a baseline needs training rows, and only rows to test are at hand; add --cross-validate, or leave --boosting out"
    )]
    BoostingWithoutTraining,
}

impl ReportError {
    /// The stable code of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File { .. } => "DETECTOR_REPORT_UNWRITABLE",
            Self::Evaluation(error) => error.code(),
            Self::Plot { .. } => "DETECTOR_PLOT_FAILED",
            Self::BoostingUnavailable { .. } => "DETECTOR_BOOSTING_UNAVAILABLE",
            Self::BoostingFailed { .. } => "DETECTOR_BOOSTING_FAILED",
            Self::BoostingUnusable { .. } => "DETECTOR_BOOSTING_UNUSABLE",
            Self::BoostingWithoutTraining => "DETECTOR_BOOSTING_WITHOUT_TRAINING",
        }
    }

    /// For `map_err` on what is done to a file.
    pub(crate) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}
