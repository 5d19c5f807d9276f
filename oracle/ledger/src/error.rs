//! Why the chain did not do what was asked, in words that say what to do next.
//!
//! Guarantees: a contract's refusal carries the contract's own error variant; codes are stable. Must not: carry a secret.

use parity_scale_codec::Decode;
use pulsegate_rules::{Principal, consent, records, registry};
use serde::{Deserialize, Serialize};

/// One of the three contracts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContractKind {
    /// Participants, keys, devices, oracles, models.
    Registry,
    /// Grants and decisions.
    Consent,
    /// Anchored batches.
    Records,
}

impl ContractKind {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Registry, Self::Consent, Self::Records];

    /// The contract's name, which is its bundle's file name too.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Consent => "consent",
            Self::Records => "records",
        }
    }

    /// Reads an error of this contract from its SCALE encoding; `None` when it is none.
    #[must_use]
    pub fn decode_error(self, mut encoded: &[u8]) -> Option<ContractError> {
        match self {
            Self::Registry => registry::Error::decode(&mut encoded).ok().map(ContractError::Registry),
            Self::Consent => consent::Error::decode(&mut encoded).ok().map(ContractError::Consent),
            Self::Records => records::Error::decode(&mut encoded).ok().map(ContractError::Records),
        }
    }
}

impl core::fmt::Display for ContractKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

/// A contract's own reason to refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContractError {
    /// Of the registry.
    Registry(registry::Error),
    /// Of the consent contract.
    Consent(consent::Error),
    /// Of the records contract.
    Records(records::Error),
}

impl From<registry::Error> for ContractError {
    fn from(error: registry::Error) -> Self {
        Self::Registry(error)
    }
}

impl From<consent::Error> for ContractError {
    fn from(error: consent::Error) -> Self {
        Self::Consent(error)
    }
}

impl From<records::Error> for ContractError {
    fn from(error: records::Error) -> Self {
        Self::Records(error)
    }
}

impl core::fmt::Display for ContractError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Registry(error) => write!(f, "{error:?}"),
            Self::Consent(error) => write!(f, "{error:?}"),
            Self::Records(error) => write!(f, "{error:?}"),
        }
    }
}

impl ContractError {
    /// A stable name for programs: contract and variant.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Registry(error) => registry_code(*error),
            Self::Consent(error) => consent_code(*error),
            Self::Records(error) => records_code(*error),
        }
    }
}

const fn registry_code(error: registry::Error) -> &'static str {
    use registry::Error;
    match error {
        Error::NotAuthorised => "REGISTRY_NOT_AUTHORISED",
        Error::NotFound => "REGISTRY_NOT_FOUND",
        Error::AlreadyExists => "REGISTRY_ALREADY_EXISTS",
        Error::InvalidKey => "REGISTRY_INVALID_KEY",
        Error::InvalidCategories => "REGISTRY_INVALID_CATEGORIES",
        Error::InvalidOracleSet => "REGISTRY_INVALID_ORACLE_SET",
        Error::DeviceRevoked => "REGISTRY_DEVICE_REVOKED",
        Error::TooManyDevices => "REGISTRY_TOO_MANY_DEVICES",
        Error::NotProposed => "REGISTRY_NOT_PROPOSED",
        Error::NothingToRollBack => "REGISTRY_NOTHING_TO_ROLL_BACK",
        Error::Overflow => "REGISTRY_OVERFLOW",
        Error::InvalidModel => "REGISTRY_INVALID_MODEL",
    }
}

const fn consent_code(error: consent::Error) -> &'static str {
    use consent::Error;
    match error {
        Error::NotAuthorised => "CONSENT_NOT_AUTHORISED",
        Error::NotFound => "CONSENT_NOT_FOUND",
        Error::AlreadyRevoked => "CONSENT_ALREADY_REVOKED",
        Error::InvalidWindow => "CONSENT_INVALID_WINDOW",
        Error::InvalidCategories => "CONSENT_INVALID_CATEGORIES",
        Error::InvalidPurposes => "CONSENT_INVALID_PURPOSES",
        Error::InvalidWrappedKeys => "CONSENT_INVALID_WRAPPED_KEYS",
        Error::StaleGeneration => "CONSENT_STALE_GENERATION",
        Error::SelfGrant => "CONSENT_SELF_GRANT",
        Error::TooManyGrants => "CONSENT_TOO_MANY_GRANTS",
        Error::InvalidSignature => "CONSENT_INVALID_SIGNATURE",
        Error::InvalidNonce => "CONSENT_INVALID_NONCE",
        Error::Expired => "CONSENT_EXPIRED",
        Error::TooMany => "CONSENT_TOO_MANY",
        Error::Overflow => "CONSENT_OVERFLOW",
        Error::InvalidDirectory => "CONSENT_INVALID_DIRECTORY",
    }
}

const fn records_code(error: records::Error) -> &'static str {
    use records::Error;
    match error {
        Error::NotAuthorised => "RECORDS_NOT_AUTHORISED",
        Error::Halted => "RECORDS_HALTED",
        Error::AlreadyAnchored => "RECORDS_ALREADY_ANCHORED",
        Error::SequenceGap => "RECORDS_SEQUENCE_GAP",
        Error::BrokenChain => "RECORDS_BROKEN_CHAIN",
        Error::InvalidCount => "RECORDS_INVALID_COUNT",
        Error::InvalidManifest => "RECORDS_INVALID_MANIFEST",
        Error::StaleOracleSet => "RECORDS_STALE_ORACLE_SET",
        Error::InvalidSignature => "RECORDS_INVALID_SIGNATURE",
        Error::BelowThreshold => "RECORDS_BELOW_THRESHOLD",
        Error::RegistryUnavailable => "RECORDS_REGISTRY_UNAVAILABLE",
        Error::Overflow => "RECORDS_OVERFLOW",
    }
}

/// Why the ledger did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LedgerError {
    /// The contract refused; no transaction was made.
    #[error(
        "the {contract} contract refused `{message}`: {error}; nothing was written, correct the request and send it again"
    )]
    Refused {
        /// Which contract.
        contract: ContractKind,
        /// Which message.
        message: String,
        /// Its own reason.
        error: ContractError,
    },
    /// The contract refused, and the caller knows how to read why: what an adapter answers and a typed client translates.
    #[error("the contract refused the message and returned 0x{}; nothing was written", hex::encode(.data))]
    Reverted {
        /// The message's return value, SCALE; ink!'s outer `Result<_, LangError>` is removed.
        data: Vec<u8>,
    },
    /// There is no contract at this account.
    #[error("there is no contract at {contract}; check that the deployment file belongs to this chain")]
    NoContract {
        /// The account asked.
        contract: Principal,
    },
    /// The contract or the pallet failed in a way that no message returns: a trap, no gas, no funds for the storage deposit.
    #[error("the chain could not execute the call: {reason}")]
    Failed {
        /// The pallet's own error.
        reason: String,
    },
    /// The chain did not take the transaction.
    #[error("the chain did not take the transaction: {reason}")]
    Rejected {
        /// Its reason.
        reason: String,
    },
    /// The transaction's nonce is not the account's next one.
    #[error("the transaction carries nonce {given}, the account's next one is {expected}; sign again with that")]
    StaleNonce {
        /// The account's next nonce.
        expected: u32,
        /// The one given.
        given: u32,
    },
    /// The signature is not the signer's over this call, nonce and chain.
    #[error("the signature is not of {signer} over this call, nonce and chain; sign for this chain")]
    InvalidSignature {
        /// Who should have signed.
        signer: Principal,
    },
    /// The chain does not answer.
    #[error("the chain does not answer: {reason}; check that it runs and that the address is right, then try again")]
    Unavailable {
        /// What went wrong.
        reason: String,
    },
    /// The chain took too long.
    #[error("the chain did not answer {request} within {deadline_ms} ms; read its state before repeating a write")]
    TimedOut {
        /// What was asked.
        request: String,
        /// How long it was given, milliseconds.
        deadline_ms: u64,
    },
    /// The chain is another one than the deployment's.
    #[error(
        "this is another chain: its genesis is 0x{}, the deployment's is 0x{}; use the deployment file that belongs to this chain",
        hex::encode(.found), hex::encode(.expected)
    )]
    WrongChain {
        /// The deployment's genesis hash.
        expected: [u8; 32],
        /// The chain's.
        found: [u8; 32],
    },
    /// An answer does not decode.
    #[error("the answer to {request} does not decode: {reason}; chain and program are of different versions")]
    Malformed {
        /// What was asked.
        request: String,
        /// What does not fit.
        reason: String,
    },
    /// A request to the gateway does not decode.
    #[error("{request} does not decode: {reason}; client and server are of different versions")]
    MalformedRequest {
        /// What was sent.
        request: String,
        /// What does not fit.
        reason: String,
    },
    /// A `.contract` file cannot be used.
    #[error("the contract bundle {name} cannot be used: {reason}; build it again with scripts/build-contracts.sh")]
    InvalidBundle {
        /// File or contract name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A deployment file cannot be read or written.
    #[error("the deployment file {path}: {reason}")]
    InvalidDeployment {
        /// Where.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// Something exceeds a limit.
    #[error("{what} has {bytes} bytes, more than the {bytes_max} allowed")]
    TooLarge {
        /// What.
        what: String,
        /// How large it is.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// The embedded chain's disk failed.
    #[error("the embedded chain's storage failed: {reason}; nothing was half written, check the disk and start again")]
    Storage {
        /// What went wrong.
        reason: String,
    },
    /// The embedded chain's state on disk is not what its newest header says.
    #[error("the embedded chain's state is damaged: {reason}; restore the data directory from a backup")]
    Corrupt {
        /// What does not fit.
        reason: String,
    },
}

impl LedgerError {
    /// A stable name for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Refused { error, .. } => error.code(),
            Self::Reverted { .. } => "CONTRACT_REVERTED",
            Self::NoContract { .. } => "NO_CONTRACT",
            Self::Failed { .. } => "EXECUTION_FAILED",
            Self::Rejected { .. } => "TRANSACTION_REJECTED",
            Self::StaleNonce { .. } => "STALE_NONCE",
            Self::InvalidSignature { .. } => "INVALID_SIGNATURE",
            Self::Unavailable { .. } => "LEDGER_UNAVAILABLE",
            Self::TimedOut { .. } => "LEDGER_TIMED_OUT",
            Self::WrongChain { .. } => "WRONG_CHAIN",
            Self::Malformed { .. } => "MALFORMED_ANSWER",
            Self::MalformedRequest { .. } => "MALFORMED_REQUEST",
            Self::InvalidBundle { .. } => "INVALID_BUNDLE",
            Self::InvalidDeployment { .. } => "INVALID_DEPLOYMENT",
            Self::TooLarge { .. } => "TOO_LARGE",
            Self::Storage { .. } => "LEDGER_STORAGE_FAILED",
            Self::Corrupt { .. } => "LEDGER_CORRUPT",
        }
    }

    /// Whether the same request may succeed later without a change by the caller.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unavailable { .. } | Self::TimedOut { .. } | Self::StaleNonce { .. } | Self::Storage { .. }
        )
    }

    /// The contract's own error, when the contract refused.
    #[must_use]
    pub const fn contract_error(&self) -> Option<ContractError> {
        match self {
            Self::Refused { error, .. } => Some(*error),
            _ => None,
        }
    }
}
