//! Why a line of a `conn.log` cannot be used, and what to do about it.

use super::FlowError;

/// Most characters of a field that an error repeats.
const SHOWN_MAX: usize = 40;

/// A line of a `conn.log` cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ZeekError {
    /// The log cannot be read any further.
    #[error("line {line}: {source}; check the log and its permissions, and start again")]
    Unreadable {
        /// The line, counted from 1.
        line: u64,
        /// Why.
        source: std::io::Error,
    },
    /// A line is too long.
    #[error("line {line} is longer than {max} bytes; it is left out, check that this is a conn.log")]
    LineTooLong {
        /// The line.
        line: u64,
        /// The limit.
        max: usize,
    },
    /// A line is not text.
    #[error("line {line} is not UTF-8; it is left out, check that this is an unpacked conn.log")]
    NotUtf8 {
        /// The line.
        line: u64,
    },
    /// It is another of Zeek's logs.
    #[error("line {line}: this is Zeek's {path:?} log; give its conn.log")]
    NotConnLog {
        /// The line.
        line: u64,
        /// Which log it is.
        path: String,
    },
    /// Fields that are needed are not logged.
    #[error("line {line}: the log lacks the fields {missing:?}; let Zeek write them (Log::Filter, include)")]
    MissingFields {
        /// The line.
        line: u64,
        /// The fields, by name.
        missing: Vec<&'static str>,
    },
    /// A row came before any `#fields` line.
    #[error("line {line}: no #fields line came before it; give the log from its beginning, header included")]
    NoHeader {
        /// The line.
        line: u64,
    },
    /// A field has another type than in a `conn.log`.
    #[error(
        "line {line}, field {field:?}: of type {found:?} where a conn.log has {expected:?}; check what wrote the log"
    )]
    WrongType {
        /// The line.
        line: u64,
        /// The field.
        field: &'static str,
        /// What `#types` says.
        found: String,
        /// What it should say.
        expected: &'static str,
    },
    /// A line has more or fewer fields than the header.
    #[error("line {line}: {found} fields where the header has {expected}; it is left out")]
    FieldCount {
        /// The line.
        line: u64,
        /// Fields of the header.
        expected: usize,
        /// Fields of the line.
        found: usize,
    },
    /// A header has too many fields.
    #[error("line {line} has more than {max} fields; check that this is a conn.log")]
    TooManyFields {
        /// The line.
        line: u64,
        /// The limit.
        max: usize,
    },
    /// A field cannot be used.
    #[error("line {line}, field {field:?}: {value:?} {reason}; the line is left out")]
    BadField {
        /// The line.
        line: u64,
        /// The field.
        field: &'static str,
        /// What it says, shortened.
        value: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A line begins as JSON and is not.
    #[error("line {line} is not JSON ({reason}); it is left out")]
    NotJson {
        /// The line.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// A number cannot be.
    #[error("line {line}: {source}")]
    Flow {
        /// The line.
        line: u64,
        /// Which number.
        source: FlowError,
    },
}

impl ZeekError {
    /// The stable code of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "ZEEK_LOG_UNREADABLE",
            Self::LineTooLong { .. } => "ZEEK_LINE_TOO_LONG",
            Self::NotUtf8 { .. } => "ZEEK_LINE_NOT_UTF8",
            Self::NotConnLog { .. } => "ZEEK_NOT_CONN_LOG",
            Self::MissingFields { .. } => "ZEEK_FIELDS_MISSING",
            Self::NoHeader { .. } => "ZEEK_HEADER_MISSING",
            Self::WrongType { .. } => "ZEEK_FIELD_TYPE",
            Self::FieldCount { .. } => "ZEEK_FIELD_COUNT",
            Self::TooManyFields { .. } => "ZEEK_TOO_MANY_FIELDS",
            Self::BadField { .. } => "ZEEK_BAD_FIELD",
            Self::NotJson { .. } => "ZEEK_NOT_JSON",
            Self::Flow { source, .. } => source.code(),
        }
    }

    pub(super) fn bad_field(line: u64, field: &'static str, value: &str, reason: &'static str) -> Self {
        Self::BadField { line, field, value: Self::shown(value), reason }
    }

    pub(super) fn shown(value: &str) -> String {
        value.chars().take(SHOWN_MAX).collect()
    }
}
