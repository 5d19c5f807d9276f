//! A contracts node, over its JSON-RPC by `subxt`.
//!
//! Guarantees: reads and dry runs are at the newest finalised block; a write returns when its block is final; every request ends by the
//! deadline; a node that restarts is found again, and a transaction that was on its way then is looked for in the finalised blocks and
//! sent again only when the node knows nothing of it (same bytes, same nonce, so it cannot happen twice).
//! Must not: trust a node that comes back with another genesis, speak in plain text to anything but this machine, or guess a nonce that
//! the node does not confirm.
//!
//! Events and answers of old blocks need their state: run the node with `--state-pruning archive` to keep all of it.

mod answers;
mod connection;
mod transaction;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use parity_scale_codec::Encode;
use pulsegate_rules::Principal;
use subxt::dynamic;
use subxt::utils::{AccountId32, MultiAddress};

use crate::port::message_value;
use crate::{
    BlockRef, Bundle, Call, ChainIdentity, ContractEvent, DryRun, EVENTS_PAGE_MAX, Ledger, LedgerError, Signer,
    Transaction, Weight,
};
use answers::{CallResult, InstantiateResult, WeightArgument, weight_argument};
use connection::{Connection, Failure, Link};

/// How much more gas than the dry run needed a transaction may use, percent: the state may move in between.
const GAS_MARGIN_PERCENT: u64 = 25;

/// A contracts node.
pub struct NodeLedger {
    link: Link,
    /// One transaction of an account at a time is given its nonce and sent.
    turns: Mutex<HashMap<Principal, Arc<tokio::sync::Mutex<()>>>>,
}

impl NodeLedger {
    /// Connects to the node at `url` (`ws://127.0.0.1:9944`, or `wss://` for one elsewhere). Every request has `deadline` to end, time
    /// to connect again included; a write is several requests and waits for finality, so give it a few block times.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] when nothing answers there by the deadline.
    pub async fn connect(url: &str, deadline: Duration) -> Result<Self, LedgerError> {
        Ok(Self { link: Link::connect(url, deadline).await?, turns: Mutex::new(HashMap::new()) })
    }

    /// The account's turn to be given a nonce.
    fn turn(&self, account: &Principal) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(*account).or_default())
    }
}

/// Asks the contracts pallet what a call would do, at the newest finalised block.
async fn dry_run(
    connection: Arc<Connection>,
    caller: Principal,
    contract: Principal,
    data: &[u8],
) -> Result<(DryRun, Weight), Failure> {
    let at = connection.api.at_current_block().await?;
    let arguments = (caller, contract, 0u128, None::<WeightArgument>, None::<u128>, data).encode();
    let answer = at.runtime_apis().call_raw("ContractsApi_call", Some(&arguments)).await?;
    let result = CallResult::read(&answer)?;
    let returned = result.outcome.map_err(|error| error.name(at.metadata_ref()).into_ledger_error(contract))?;
    let data = message_value(returned.data, returned.flags)?;
    let block = connection::block_ref(&at).await?;
    Ok((DryRun { data, weight: result.required, block }, result.required))
}

fn with_margin(weight: Weight) -> Weight {
    let more = |part: u64| part.saturating_add(part.saturating_mul(GAS_MARGIN_PERCENT) / 100);
    Weight { ref_time_ps: more(weight.ref_time_ps), proof_bytes: more(weight.proof_bytes) }
}

#[async_trait]
impl Ledger for NodeLedger {
    async fn identity(&self) -> Result<ChainIdentity, LedgerError> {
        // Asked anew, so that a node which came back as another chain is noticed.
        self.link.ask("identity", |connection| async move { Ok(connection.identity().await?) }).await
    }

    async fn finalised(&self) -> Result<BlockRef, LedgerError> {
        let ask = |connection: Arc<Connection>| async move {
            let at = connection.api.at_current_block().await?;
            connection::block_ref(&at).await
        };
        self.link.ask("the newest finalised block", ask).await
    }

    async fn dry_run(&self, caller: &Principal, call: &Call) -> Result<DryRun, LedgerError> {
        let ask = |connection| async move { Ok(dry_run(connection, *caller, call.contract, &call.data).await?.0) };
        self.link.ask(call.message, ask).await
    }

    async fn submit(&self, signer: &Signer, call: &Call) -> Result<Transaction, LedgerError> {
        let run = self.dry_run(&signer.principal(), call).await?;
        let gas = weight_argument(with_margin(run.weight));
        let contract: MultiAddress<AccountId32, ()> = AccountId32(call.contract.0).into();
        let arguments = (contract, 0u128, gas, None::<u128>, call.data.clone());
        let payload = dynamic::transaction("Contracts", "call", arguments);
        let outcome = self.transact(signer, &payload).await;
        if let Err(LedgerError::Failed { .. }) = outcome {
            // The state moved between dry run and block. A second dry run says why the contract refuses now.
            self.dry_run(&signer.principal(), call).await?;
        }
        Ok(Transaction { data: run.data, ..outcome? })
    }

    async fn instantiate(
        &self,
        signer: &Signer,
        bundle: &Bundle,
        constructor_data: &[u8],
        salt: &[u8],
    ) -> Result<(Principal, Transaction), LedgerError> {
        /// `Code::Upload` of the pallet's API.
        const UPLOAD: u8 = 0;
        let account = signer.principal();
        let ask = |connection: Arc<Connection>| async move {
            let at = connection.api.at_current_block().await?;
            let code = (UPLOAD, bundle.code());
            let limits = (None::<WeightArgument>, None::<u128>);
            let arguments = (account, 0u128, limits, code, constructor_data, salt).encode();
            let answer = at.runtime_apis().call_raw("ContractsApi_instantiate", Some(&arguments)).await?;
            let result = InstantiateResult::read(&answer)?;
            let made = result.outcome.map_err(|error| error.name(at.metadata_ref()).into_ledger_error(account))?;
            let data = message_value(made.returned.data, made.returned.flags)?;
            Ok((made.account, data, result.required))
        };
        let (contract, data, required) = self.link.ask("instantiate", ask).await?;
        let gas = weight_argument(with_margin(required));
        let arguments = (0u128, gas, None::<u128>, bundle.code().to_vec(), constructor_data.to_vec(), salt.to_vec());
        let payload = dynamic::transaction("Contracts", "instantiate_with_code", arguments);
        let transaction = self.transact(signer, &payload).await?;
        Ok((contract, Transaction { data, ..transaction }))
    }

    async fn endow(&self, sponsor: &Signer, to: &Principal, amount: u128) -> Result<(), LedgerError> {
        let to: MultiAddress<AccountId32, ()> = AccountId32(to.0).into();
        let payload = dynamic::transaction("Balances", "transfer_keep_alive", (to, amount));
        self.transact(sponsor, &payload).await.map(|_| ())
    }

    async fn events(&self, from_block: u64, limit: usize) -> Result<Vec<ContractEvent>, LedgerError> {
        let limit = limit.min(EVENTS_PAGE_MAX);
        let head = self.finalised().await?.number;
        let mut events = Vec::new();
        // The genesis block has no events.
        let mut number = from_block.max(1);
        while number <= head && events.len() < limit {
            let ask = |connection: Arc<Connection>| async move {
                let at = connection.api.at_block(number).await?;
                let all = at.events().fetch().await?;
                let read = all.iter().filter_map(|event| match event {
                    Ok(event) => answers::contract_event(number, &event),
                    Err(error) => Some(Err(Failure::from(error))),
                });
                read.collect::<Result<Vec<_>, Failure>>()
            };
            events.extend(self.link.ask("the events of a block", ask).await?);
            number += 1;
        }
        Ok(events)
    }
}
