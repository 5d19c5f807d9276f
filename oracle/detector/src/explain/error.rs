//! Why nothing could be explained, and what to do about it.

use std::path::PathBuf;

use crate::vitals::{HOURS, VitalSignsError};

/// Nothing could be explained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExplainError {
    /// The model serves nobody live, so there is nothing of it to explain.
    #[error("{model:?} cannot be explained; explain traffic-serving, traffic-unsupervised, ecg-beats or vital-signs")]
    Model {
        /// Its name.
        model: String,
    },
    /// The model judges something else than what was given.
    #[error("{model:?} judges {judges}; give {option}")]
    Wants {
        /// Its name.
        model: String,
        /// What it judges.
        judges: &'static str,
        /// The options that name one.
        option: &'static str,
    },
    /// The log holds no connection that was judged.
    #[error("{path} holds no connection that the model judges; give a conn.log with at least one", path = path.display())]
    NoFlow {
        /// The log.
        path: PathBuf,
    },
    /// The connection is not in the log.
    #[error("{path} holds no connection {uid:?} that the model judges; look its uid up in the log", path = path.display())]
    UnknownFlow {
        /// The log.
        path: PathBuf,
        /// Which connection was asked for.
        uid: String,
    },
    /// The record holds no beat that can be described.
    #[error("{path} holds no beat that the model judges; give a record of at least some seconds, sampled at 90 to 1,100 Hz", path = path.display())]
    NoBeat {
        /// The record's header.
        path: PathBuf,
    },
    /// The patient is not in the data.
    #[error("{path} holds no patient {record}; look the RecordID up in its patients_ file", path = path.display())]
    UnknownPatient {
        /// The folder.
        path: PathBuf,
        /// Which patient was asked for.
        record: u64,
    },
    /// The model file is not one of vital signs.
    #[error(transparent)]
    VitalSigns(#[from] VitalSignsError),
    /// The model knows no such hour.
    #[error("there is no hour {hour} of a stay; give 1 to {HOURS}")]
    Hour {
        /// Which hour was asked for.
        hour: usize,
    },
}

impl ExplainError {
    /// The stable code of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Model { .. } => "EXPLAIN_MODEL",
            Self::Wants { .. } => "EXPLAIN_WANTS",
            Self::NoFlow { .. } => "EXPLAIN_NO_FLOW",
            Self::UnknownFlow { .. } => "EXPLAIN_UNKNOWN_FLOW",
            Self::NoBeat { .. } => "EXPLAIN_NO_BEAT",
            Self::UnknownPatient { .. } => "EXPLAIN_UNKNOWN_PATIENT",
            Self::VitalSigns(error) => error.code(),
            Self::Hour { .. } => "EXPLAIN_HOUR",
        }
    }
}
