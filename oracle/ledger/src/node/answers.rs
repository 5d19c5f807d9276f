//! What the node answers, read strictly: results of the contracts pallet's runtime API, errors by name, contract events.
//!
//! Guarantees: an answer that does not decode is an error, never a default. Must not: ask anything.

use parity_scale_codec::{Compact, Decode};
use pulsegate_rules::Principal;
use subxt::config::substrate::SubstrateConfig;
use subxt::dynamic::Value;
use subxt::events::Event;
use subxt::metadata::Metadata;

use super::connection::Failure;
use crate::{ContractEvent, LedgerError, Weight};

/// A weight as the pallet's API takes it.
pub(super) type WeightArgument = (Compact<u64>, Compact<u64>);

/// A weight as an argument of a dynamic transaction.
pub(super) fn weight_argument(weight: Weight) -> Value {
    let parts = [("ref_time", weight.ref_time_ps), ("proof_size", weight.proof_bytes)];
    Value::named_composite(parts.map(|(name, part)| (name, Value::u128(part.into()))))
}

/// What a contract returned.
#[derive(Decode)]
pub(super) struct Returned {
    /// Bit 0: the contract reverted.
    pub(super) flags: u32,
    /// SCALE.
    pub(super) data: Vec<u8>,
}

/// What an instantiation made.
#[derive(Decode)]
pub(super) struct Made {
    pub(super) returned: Returned,
    pub(super) account: Principal,
}

/// `ContractResult` of the pallet's API: consumed and required weight, deposit, debug message, outcome; what follows is not needed.
pub(super) struct ContractResult<T> {
    /// What the call needs as its limit.
    pub(super) required: Weight,
    /// What it gave.
    pub(super) outcome: Result<T, ChainError>,
}

pub(super) type CallResult = ContractResult<Returned>;
pub(super) type InstantiateResult = ContractResult<Made>;

impl<T: Decode> ContractResult<T> {
    pub(super) fn read(mut answer: &[u8]) -> Result<Self, Failure> {
        /// `StorageDeposit`: refund or charge.
        type Deposit = (u8, u128);
        type Answer<T> = (WeightArgument, WeightArgument, Deposit, Vec<u8>, Result<T, ChainError>);
        let (_, (ref_time, proof), _, _, outcome) =
            Answer::<T>::decode(&mut answer).map_err(|error| malformed("a dry run", &error.to_string()))?;
        Ok(Self { required: Weight { ref_time_ps: ref_time.0, proof_bytes: proof.0 }, outcome })
    }
}

/// `DispatchError` of the runtime.
#[derive(Decode, Debug)]
pub(super) enum ChainError {
    Other,
    CannotLookup,
    BadOrigin,
    Module { pallet: u8, error: [u8; 4] },
    ConsumerRemaining,
    NoProviders,
    TooManyConsumers,
    Token(TokenError),
    Arithmetic(u8),
    Transactional(u8),
    Exhausted,
    Corruption,
    Unavailable,
    RootNotAllowed,
    Trie(u8),
}

/// `TokenError` of the runtime.
#[derive(Decode, Debug)]
pub(super) enum TokenError {
    FundsUnavailable,
    OnlyProvider,
    BelowMinimum,
    CannotCreate,
    UnknownAsset,
    Frozen,
    Unsupported,
    CannotCreateHold,
    NotExpendable,
    Blocked,
}

/// A chain error by its name.
pub(super) struct NamedError(String);

impl ChainError {
    pub(super) fn name(&self, metadata: &Metadata) -> NamedError {
        let (pallet, error) = match self {
            Self::Module { pallet, error } => (pallet, error),
            Self::Token(error) => return NamedError(format!("Token.{error:?}")),
            Self::Arithmetic(code) | Self::Transactional(code) | Self::Trie(code) => {
                return NamedError(format!("{self:?} (code {code})"));
            }
            _ => return NamedError(format!("{self:?}")),
        };
        let known = metadata.pallet_by_error_index(*pallet);
        let variant = known.and_then(|pallet| Some((pallet.name(), pallet.error_variant_by_index(error[0])?)));
        NamedError(match variant {
            Some((pallet, variant)) => format!("{pallet}.{}", variant.name),
            None => format!("error {} of pallet {pallet}", error[0]),
        })
    }
}

impl NamedError {
    pub(super) fn into_ledger_error(self, contract: Principal) -> LedgerError {
        if self.0 == "Contracts.ContractNotFound" {
            return LedgerError::NoContract { contract };
        }
        LedgerError::Failed { reason: self.0 }
    }
}

/// The contract event in a chain event, if it is one.
pub(super) fn contract_event(block: u64, event: &Event<'_, SubstrateConfig>) -> Option<Result<ContractEvent, Failure>> {
    if (event.pallet_name(), event.event_name()) != ("Contracts", "ContractEmitted") {
        return None;
    }
    let topics = event.topics().iter().map(|topic| topic.0).collect();
    Some(match <(Principal, Vec<u8>)>::decode(&mut event.field_bytes()) {
        Ok((contract, data)) => Ok(ContractEvent { contract, block, topics, data }),
        Err(error) => Err(malformed("a contract event", &error.to_string())),
    })
}

/// The weight in `System.ExtrinsicSuccess`, if it is that.
pub(super) fn success_weight(event: &Event<'_, SubstrateConfig>) -> Option<Weight> {
    if (event.pallet_name(), event.event_name()) != ("System", "ExtrinsicSuccess") {
        return None;
    }
    let (ref_time, proof) = WeightArgument::decode(&mut event.field_bytes()).ok()?;
    Some(Weight { ref_time_ps: ref_time.0, proof_bytes: proof.0 })
}

/// The error in `System.ExtrinsicFailed`, if it is that.
pub(super) fn failure(event: &Event<'_, SubstrateConfig>, metadata: &Metadata) -> Option<LedgerError> {
    if (event.pallet_name(), event.event_name()) != ("System", "ExtrinsicFailed") {
        return None;
    }
    let error = ChainError::decode(&mut event.field_bytes());
    let reason = error.map_or_else(|_| "an unknown error".to_owned(), |error| error.name(metadata).0);
    Some(LedgerError::Failed { reason })
}

pub(super) fn malformed(request: &str, reason: &str) -> Failure {
    Failure::Ledger(LedgerError::Malformed { request: request.to_owned(), reason: reason.to_owned() })
}
