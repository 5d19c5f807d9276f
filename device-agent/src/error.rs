//! Why an agent could not do what was asked. Must not: carry a key or a measured value.

use std::path::PathBuf;

use pulsegate_reading::ReadingError;

/// The agent could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The queue's file could not be read or written.
    #[error(
        "the queue on disk failed: {0}; check the disk and that no other agent uses the same folder, nothing that was queued is lost"
    )]
    Queue(#[source] Box<redb::Error>),
    /// The queue's file holds something that this program did not write.
    #[error("the queue on disk is not readable ({reason}); keep the folder and start with a new one")]
    QueueCorrupt {
        /// What is wrong.
        reason: &'static str,
    },
    /// The queue belongs to another device key, patient or deployment.
    #[error("the folder holds the queue of another {what}; use one folder per device, patient and deployment")]
    WrongQueue {
        /// What differs.
        what: &'static str,
    },
    /// The disk queue is full.
    #[error("the queue holds {limit} readings, its limit; the oracle must be reachable before more are measured")]
    QueueFull {
        /// The limit.
        limit: u64,
    },
    /// A measurement cannot be signed.
    #[error(transparent)]
    Reading(#[from] ReadingError),
    /// A folder or file could not be used.
    #[error("{path}: {problem}")]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The address of the oracle is not usable.
    #[error("the oracle's address {url:?} is not usable ({reason}); use https, or http on this machine alone")]
    BadUrl {
        /// The address.
        url: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The oracle could not be reached or is too busy, many times in a row. Everything stays queued.
    #[error(
        "the oracle did not take readings in {attempts} attempts ({last}); everything stays queued, try again later"
    )]
    Unavailable {
        /// How many attempts.
        attempts: u32,
        /// What the last one said.
        last: String,
    },
    /// The oracle refuses this device or the whole request. Everything stays queued.
    #[error("the oracle refuses the device's readings: {code}: {message} Everything stays queued.")]
    Refused {
        /// The oracle's code.
        code: String,
        /// The oracle's message.
        message: String,
    },
    /// The oracle answered something that is not its protocol.
    #[error("the oracle's answer is not understood ({reason}); check its address and version")]
    Protocol {
        /// What is wrong.
        reason: &'static str,
    },
    /// The queue was signed anew from the oracle's head several times and its first reading is still not the next one.
    #[error(
        "the oracle's head of this device keeps moving; another agent signs with the same key, stop one of the two"
    )]
    Diverged,
    /// A source cannot be read.
    #[error(transparent)]
    Source(#[from] crate::sources::SourceError),
}

impl AgentError {
    /// The stable code of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Queue(_) => "QUEUE_UNAVAILABLE",
            Self::QueueCorrupt { .. } => "QUEUE_CORRUPT",
            Self::WrongQueue { .. } => "WRONG_QUEUE",
            Self::QueueFull { .. } => "QUEUE_FULL",
            Self::Reading(error) => error.code(),
            Self::File { .. } => "FILE_UNUSABLE",
            Self::BadUrl { .. } => "BAD_URL",
            Self::Unavailable { .. } => "ORACLE_UNAVAILABLE",
            Self::Refused { .. } => "DEVICE_REFUSED",
            Self::Protocol { .. } => "PROTOCOL_ERROR",
            Self::Diverged => "CHAIN_DIVERGED",
            Self::Source(error) => error.code(),
        }
    }
}

macro_rules! from_redb {
    ($($error:ty),+) => {
        $(impl From<$error> for AgentError {
            fn from(error: $error) -> Self {
                Self::Queue(Box::new(error.into()))
            }
        })+
    };
}

from_redb!(redb::DatabaseError, redb::TransactionError, redb::TableError, redb::StorageError, redb::CommitError);
