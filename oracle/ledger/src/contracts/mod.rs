//! Typed clients of the three contracts: one method per message, in Rust types.
//!
//! Guarantees: a refusal comes back as [`LedgerError::Refused`] with the contract's own error; answers decode completely or not at all.
//! Must not: cache. Every read asks the chain.

mod consent;
mod records;
mod registry;

use std::sync::Arc;

use parity_scale_codec::{Decode, DecodeAll, Encode};
use pulsegate_rules::Principal;

pub use consent::{ConsentClient, Relay};
pub use records::RecordsClient;
pub use registry::RegistryClient;

use crate::{BlockRef, Call, ContractKind, Ledger, LedgerError, Signer, Transaction};

/// An answer together with the finalised block that gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At<T> {
    /// The answer.
    pub value: T,
    /// The block whose state gave it.
    pub block: BlockRef,
}

/// A write that is final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed<T> {
    /// What the message returned.
    pub value: T,
    /// The transaction.
    pub transaction: Transaction,
}

/// What the three clients share: a contract's account, its kind and the chain.
#[derive(Clone)]
struct Handle {
    ledger: Arc<dyn Ledger>,
    contract: Principal,
    kind: ContractKind,
}

impl Handle {
    /// Reads a message that returns `T` itself. The contract stands as caller, because reads do not look at the caller.
    async fn read<T: Decode>(&self, message: &'static str, arguments: &impl Encode) -> Result<At<T>, LedgerError> {
        let call = Call::new(self.contract, message, arguments);
        let run = self.ledger.dry_run(&self.contract, &call).await.map_err(|error| self.named(message, error))?;
        Ok(At { value: decode(message, &run.data)?, block: run.block })
    }

    /// Reads a message that returns `Result<T, Error>`.
    async fn try_read<T: Decode>(&self, message: &'static str, arguments: &impl Encode) -> Result<At<T>, LedgerError> {
        let call = Call::new(self.contract, message, arguments);
        let run = self.ledger.dry_run(&self.contract, &call).await.map_err(|error| self.named(message, error))?;
        Ok(At { value: self.success(message, &run.data)?, block: run.block })
    }

    /// Submits a message that returns `Result<T, Error>`.
    async fn write<T: Decode>(
        &self,
        signer: &Signer,
        message: &'static str,
        arguments: &impl Encode,
    ) -> Result<Committed<T>, LedgerError> {
        let call = Call::new(self.contract, message, arguments);
        let transaction = self.ledger.submit(signer, &call).await.map_err(|error| self.named(message, error))?;
        Ok(Committed { value: self.success(message, &transaction.data)?, transaction })
    }

    /// Submits a message whose value depends on what other transactions did before it. A node keeps no return values, and its dry run
    /// was on an earlier state, so the value is read from the fields of the one event that the message emits.
    async fn write_and_read_event<T: Decode, Fields: Decode>(
        &self,
        signer: &Signer,
        message: &'static str,
        arguments: &impl Encode,
        value: impl FnOnce(Fields) -> T + Send,
    ) -> Result<Committed<T>, LedgerError> {
        let Committed { transaction, .. } = self.write::<T>(signer, message, arguments).await?;
        let event = transaction.events.iter().find(|event| event.contract == self.contract);
        let event = event.ok_or_else(|| malformed(message, "the transaction has no event"))?;
        Ok(Committed { value: value(decode(message, &event.data)?), transaction })
    }

    /// Reads the success value of an encoded `Result<T, Error>`.
    fn success<T: Decode>(&self, message: &'static str, encoded: &[u8]) -> Result<T, LedgerError> {
        match encoded.split_first() {
            Some((0, value)) => decode(message, value),
            Some((1, error)) => Err(self.refusal(message, error)),
            _ => Err(malformed(message, "it is not a result")),
        }
    }

    /// Names the contract's own error in what an adapter answered.
    fn named(&self, message: &'static str, error: LedgerError) -> LedgerError {
        match error {
            LedgerError::Reverted { data } => match data.split_first() {
                Some((1, error)) => self.refusal(message, error),
                _ => malformed(message, "the contract reverted without an error"),
            },
            other => other,
        }
    }

    fn refusal(&self, message: &'static str, encoded: &[u8]) -> LedgerError {
        match self.kind.decode_error(encoded) {
            Some(error) => LedgerError::Refused { contract: self.kind, message: message.to_owned(), error },
            None => malformed(message, "the contract's error is an unknown one"),
        }
    }
}

fn decode<T: Decode>(message: &'static str, mut encoded: &[u8]) -> Result<T, LedgerError> {
    T::decode_all(&mut encoded).map_err(|error| malformed(message, &error.to_string()))
}

fn malformed(message: &'static str, reason: &str) -> LedgerError {
    LedgerError::Malformed { request: message.to_owned(), reason: reason.to_owned() }
}
