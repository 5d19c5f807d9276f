//! What a command says when it cannot do what was asked: a stable code, what went wrong, and what to do next.
//!
//! Every error of the libraries below becomes a [`Failure`]; `main` prints it once and turns it into the exit code.
//! A failure never carries a secret.

use std::borrow::Cow;

/// Exit code: something went wrong.
pub(crate) const EXIT_FAILED: u8 = 1;
/// Exit code: the patient's consent, or the lack of it, says no.
pub(crate) const EXIT_REFUSED: u8 = 3;
/// Exit code: a check of records against the chain found a fault.
pub(crate) const EXIT_NOT_VERIFIED: u8 = 4;

/// Why a command stopped.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Failure {
    /// Stable, in capitals; scripts may compare it.
    pub(crate) code: Cow<'static, str>,
    /// What went wrong, in a sentence.
    pub(crate) message: String,
    /// What to do next, where this program knows better than the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
    /// The process's exit code.
    #[serde(skip)]
    pub(crate) exit: u8,
}

/// The outcome of everything that a command does.
pub(crate) type Outcome<T> = Result<T, Failure>;

impl Failure {
    /// A failure with exit code 1.
    pub(crate) fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), next: None, exit: EXIT_FAILED }
    }

    /// Adds the next step.
    pub(crate) fn next(mut self, step: impl Into<String>) -> Self {
        self.next = Some(step.into());
        self
    }

    /// Sets the exit code.
    pub(crate) fn exit(mut self, code: u8) -> Self {
        self.exit = code;
        self
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} [{}]", self.message, self.code)?;
        self.next.as_ref().map_or(Ok(()), |next| write!(f, "\n  next: {next}"))
    }
}

impl std::error::Error for Failure {}

/// What to do about an error of the crates below, where a command of this program helps.
fn advice(code: &str) -> Option<&'static str> {
    Some(match code {
        "CONSENT_SELF_GRANT" => "you always read your own data (`pulsegate open`); name somebody else with --to",
        "CONSENT_NOT_FOUND" | "CONSENT_NOT_AUTHORISED" | "CONSENT_ALREADY_REVOKED" => "`pulsegate grants` lists yours",
        "CONSENT_TOO_MANY_GRANTS" => "`pulsegate grants --standing` lists them; `pulsegate revoke` takes one back",
        "CONSENT_STALE_GENERATION" => "run the command again, which takes the keys of the generation in force",
        "CONSENT_INVALID_SIGNATURE" => {
            "sign the unchanged message with the patient's linked wallet; `pulsegate wallet show` names it"
        }
        "CONSENT_INVALID_NONCE" => "write the message again (--print-typed-data) and sign that one",
        "CONSENT_EXPIRED" => "sign again with a later --deadline",
        "CONSENT_INVALID_WINDOW" => "give --from and --until, the end later than the beginning",
        "REGISTRY_NOT_AUTHORISED" => {
            "register first with `pulsegate enrol`; devices are their owner's, `pulsegate device list`"
        }
        "REGISTRY_NOT_FOUND" => "`pulsegate device list` shows your devices",
        "REGISTRY_DEVICE_REVOKED" => "`pulsegate device add` with a new --key-file makes a new device",
        "EXECUTION_FAILED" | "TRANSACTION_REJECTED" => {
            "check that your account can pay; `pulsegate enrol --sponsor` endows it again"
        }
        "LEDGER_UNAVAILABLE" | "LEDGER_TIMED_OUT" => "check that the chain runs and that the configuration names it",
        _ => return None,
    })
}

/// Errors of the crates below that have a `code` of their own.
macro_rules! from_coded {
    ($($error:ty),+ $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                let code = error.code();
                Self { next: advice(code).map(str::to_owned), ..Self::new(code, error.to_string()) }
            }
        })+
    };
}

from_coded!(
    pulsegate_detector::command::CommandError,
    pulsegate_device_agent::AgentError,
    pulsegate_device_agent::sources::SourceError,
    pulsegate_ledger::LedgerError,
    pulsegate_ipfs::SealError,
    pulsegate_ipfs::StoreError,
    pulsegate_oracle::LogError,
    pulsegate_oracle::StartError,
    pulsegate_oracle::payload::PayloadError,
    pulsegate_oracle::release::protocol::ProtocolError,
    pulsegate_reading::ReadingError,
);

#[cfg(test)]
mod tests {
    use pulsegate_ledger::{ContractError, ContractKind, LedgerError};
    use pulsegate_rules::consent::Error;

    use super::*;

    #[test]
    fn refusals_of_the_consent_contract_say_what_to_do_next() {
        for (error, word) in [(Error::SelfGrant, "your own"), (Error::NotFound, "pulsegate grants")] {
            let refused = LedgerError::Refused {
                contract: ContractKind::Consent,
                message: "grant".to_owned(),
                error: ContractError::Consent(error),
            };
            let failure = Failure::from(refused);
            assert!(failure.next.as_ref().is_some_and(|next| next.contains(word)), "{failure}");
        }
    }
}
