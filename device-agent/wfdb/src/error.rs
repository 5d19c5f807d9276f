//! Why a record cannot be read.

use std::path::{Path, PathBuf};

/// A file of a record cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct WfdbError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong and what is expected.
    pub problem: String,
}

impl WfdbError {
    pub(crate) fn new(path: &Path, problem: impl std::fmt::Display) -> Self {
        Self { path: path.to_owned(), problem: problem.to_string() }
    }

    /// The stable code of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "WFDB_UNUSABLE"
    }
}
