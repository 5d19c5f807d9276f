//! Why a table cannot be used, and what to do about it.

use std::path::{Path, PathBuf};

use crate::catalogue::TrainError;

/// Most characters of a cell that an error repeats.
const SHOWN_MAX: usize = 40;

/// A table cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The file cannot be opened or read.
    #[error("{file}: {source}; check the path and its permissions", file = file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The name promises gzip, the bytes are not.
    #[error("{file} is called .gz but is not gzip; fetch it again, or rename it to .csv if it is plain text", file = file.display())]
    NotGzip {
        /// The file.
        file: PathBuf,
    },
    /// Gzip or CSV breaks off or is not UTF-8.
    #[error("{file} cannot be read to its end ({reason}); fetch it again and compare its SHA-256", file = file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// No row.
    #[error("{file} holds no rows; give a file with a header line and at least one row", file = file.display())]
    Empty {
        /// The file.
        file: PathBuf,
    },
    /// Columns that are needed are not there.
    #[error("{file} lacks the columns {missing:?}; give a file with the columns of the training set", file = file.display())]
    WrongColumns {
        /// The file.
        file: PathBuf,
        /// The missing columns, by name.
        missing: Vec<String>,
    },
    /// Two columns share a name that is needed.
    #[error("{file} has the column {column:?} twice; keep the one that is meant", file = file.display())]
    RepeatedColumn {
        /// The file.
        file: PathBuf,
        /// The column.
        column: String,
    },
    /// A line has more or fewer fields than the header.
    #[error("{file}, line {line}: {found} fields where the header has {expected}; correct or remove the line", file = file.display())]
    RaggedLine {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// Fields of the header.
        expected: usize,
        /// Fields of the line.
        found: usize,
    },
    /// A cell cannot be used.
    #[error("{file}, line {line}, column {column:?}: {value:?} {reason}; correct or remove the line", file = file.display())]
    BadCell {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The column.
        column: String,
        /// The cell, shortened.
        value: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// More than a named limit.
    #[error("{file} has more than {max} {what}; split it", file = file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        max: u64,
    },
    /// A data set asked for a column that it had not declared.
    #[error("column {column:?} was not declared; this is a fault of the data set's code, report it with the command")]
    Undeclared {
        /// The column.
        column: &'static str,
    },
}

impl TableError {
    /// The stable code of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "DETECTOR_FILE_UNREADABLE",
            Self::NotGzip { .. } => "DETECTOR_TABLE_NOT_GZIP",
            Self::Damaged { .. } => "DETECTOR_TABLE_DAMAGED",
            Self::Empty { .. } => "DETECTOR_DATA_EMPTY",
            Self::WrongColumns { .. } => "DETECTOR_WRONG_COLUMNS",
            Self::RepeatedColumn { .. } => "DETECTOR_TABLE_REPEATED_COLUMN",
            Self::RaggedLine { .. } => "DETECTOR_TABLE_RAGGED_LINE",
            Self::BadCell { .. } => "DETECTOR_BAD_CELL",
            Self::TooLarge { .. } => "DETECTOR_TABLE_TOO_LARGE",
            Self::Undeclared { .. } => "DETECTOR_TABLE_UNDECLARED_COLUMN",
        }
    }

    pub(super) fn bad_cell(file: &Path, line: u64, column: &str, value: &str, reason: &'static str) -> Self {
        let value = value.chars().take(SHOWN_MAX).collect();
        Self::BadCell { file: file.to_owned(), line, column: column.to_owned(), value, reason }
    }
}

impl From<TableError> for TrainError {
    fn from(error: TableError) -> Self {
        Self::Data { code: error.code(), message: error.to_string() }
    }
}
