//! A transaction's way: nonce, signature, pool, block, finality.
//!
//! Guarantees: returns only when the transaction is in a finalised block and succeeded there. After a lost connection it looks for the
//! transaction in the finalised blocks, and sends the same bytes again only while the node knows nothing of them.
//! Must not: sign a second transaction for the same request once the first was taken.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pulsegate_rules::Principal;
use subxt::config::DefaultExtrinsicParamsBuilder;
use subxt::config::substrate::{H256, SubstrateConfig};
use subxt::dynamic;
use subxt::transactions::Payload;
use subxt::utils::{AccountId32, MultiSignature};

use super::NodeLedger;
use super::answers;
use super::connection::{AtBlock, Connection, Failure, block_ref};
use crate::{LedgerError, Signer, Transaction, Weight};

/// How many blocks a signed transaction stays valid.
const MORTALITY_BLOCKS: u64 = 1_024;
/// Most times that a transaction is signed anew because its nonce was taken meanwhile.
const NONCE_RETRIES_MAX: u32 = 4;
/// How long to wait between two looks for a transaction.
const SETTLE_PAUSE: Duration = Duration::from_millis(200);
/// How long finality may stand still behind a transaction that the node has before it is pushed on.
const STANDSTILL: Duration = Duration::from_secs(4);
/// What the node says when a nonce is taken: by a block, or by another transaction in the pool.
const NONCE_TAKEN: [&str; 2] = ["outdated", "Priority is too low"];

impl subxt::transactions::Signer<SubstrateConfig> for Signer {
    fn account_id(&self) -> AccountId32 {
        AccountId32(self.principal().0)
    }

    fn sign(&self, payload: &[u8]) -> MultiSignature {
        MultiSignature::Sr25519(Self::sign(self, payload))
    }
}

/// A transaction that the node took.
struct Sent {
    bytes: Vec<u8>,
    hash: H256,
    account: Principal,
    nonce: u64,
    /// The finalised block at signing; the transaction is in a later one.
    signed_at: u64,
}

impl NodeLedger {
    /// Signs, submits and waits for finality. `data` of the answer is empty.
    pub(super) async fn transact(
        &self,
        signer: &Signer,
        payload: &(impl Payload + Sync),
    ) -> Result<Transaction, LedgerError> {
        let (sent, block) = self.send(signer, payload).await?;
        if let Some(block) = block {
            let look = |connection: Arc<Connection>| {
                let hash = sent.hash;
                async move { find_in(&connection.api.at_block(block).await?, hash).await }
            };
            if let Some(found) = self.link.ask("a finalised transaction", look).await? {
                return found;
            }
        }
        match tokio::time::timeout(self.link.deadline(), self.settle(&sent, signer)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.link.timed_out("a transaction")),
        }
    }

    /// Gives the transaction its nonce and sends it, in the account's turn; then waits for its finalised block on the same connection.
    /// `None` when the node lost sight of it.
    async fn send(
        &self,
        signer: &Signer,
        payload: &(impl Payload + Sync),
    ) -> Result<(Sent, Option<H256>), LedgerError> {
        let account = signer.principal();
        let turn = self.turn(&account);
        let mut retries = 0;
        loop {
            let guard = turn.lock().await;
            let sign = |connection: Arc<Connection>| async move {
                let at = connection.api.at_current_block().await?;
                let nonce = connection.next_nonce(&account).await?;
                let params = DefaultExtrinsicParamsBuilder::new().nonce(nonce).mortal(MORTALITY_BLOCKS).build();
                let signed = at.transactions().create_signed(payload, signer, params).await?;
                Ok((
                    connection,
                    Sent {
                        hash: signed.hash(),
                        bytes: signed.into_encoded(),
                        account,
                        nonce,
                        signed_at: at.block_number(),
                    },
                ))
            };
            let (connection, sent) = self.link.ask("a nonce", sign).await?;
            let watch = async {
                let at = connection.api.at_current_block().await?;
                Ok::<_, Failure>(at.transactions().from_bytes(sent.bytes.clone()).submit_and_watch().await?)
            };
            match tokio::time::timeout(self.link.deadline(), watch).await {
                Ok(Ok(progress)) => {
                    connection.note_sent(&account, sent.nonce);
                    drop(guard);
                    let finalised = tokio::time::timeout(self.link.deadline(), progress.wait_for_finalized()).await;
                    let block = finalised.ok().and_then(Result::ok).map(|block| block.block_hash());
                    if block.is_none() {
                        connection.forget_nonce(&account);
                    }
                    return Ok((sent, block));
                }
                Ok(Err(Failure::Ledger(error))) => return Err(error),
                Ok(Err(Failure::Node(error))) => {
                    connection.forget_nonce(&account);
                    let reason = error.to_string();
                    if NONCE_TAKEN.iter().any(|text| reason.contains(text)) && retries < NONCE_RETRIES_MAX {
                        retries += 1;
                        continue;
                    }
                    // Gone or refusing: the probe of an attempt tells.
                    self.link.attempt(|connection| async move { Ok(connection.identity().await?) }).await.ok();
                    if is_refusal(&reason) {
                        return Err(LedgerError::Rejected { reason });
                    }
                    return Ok((sent, None));
                }
                Err(_) => return Ok((sent, None)),
            }
        }
    }

    /// Looks for a transaction until it is in a finalised block, sending it again while the node knows nothing of it.
    async fn settle(&self, sent: &Sent, signer: &Signer) -> Result<Transaction, LedgerError> {
        let mut searched = sent.signed_at;
        let mut moved = Instant::now();
        loop {
            let step = |connection: Arc<Connection>| async move { settle_once(&connection, sent, searched).await };
            match self.link.attempt(step).await {
                Ok(Step::Found(found)) => return *found,
                Ok(Step::Wait(upto)) if upto > searched => (searched, moved) = (upto, Instant::now()),
                Ok(Step::Wait(_)) if moved.elapsed() > STANDSTILL => {
                    moved = Instant::now();
                    let push = |connection: Arc<Connection>| async move { push_finality(&connection, signer).await };
                    if let Err(error) = self.link.attempt(push).await {
                        tracing::debug!(%error, "the node did not take the block that should move finality");
                    }
                }
                Ok(Step::Wait(_)) | Err(LedgerError::Unavailable { .. }) => {}
                Err(error) => return Err(error),
            }
            tokio::time::sleep(SETTLE_PAUSE).await;
        }
    }
}

/// Sends a transaction that does nothing. A development node that was killed finalises its last blocks only behind a new one, and
/// seals a block only for a transaction; on any other chain finality moves by itself and this is not reached.
async fn push_finality(connection: &Connection, signer: &Signer) -> Result<(), Failure> {
    let at = connection.api.at_current_block().await?;
    let nonce = connection.next_nonce(&signer.principal()).await?;
    let params = DefaultExtrinsicParamsBuilder::new().nonce(nonce).mortal(MORTALITY_BLOCKS).build();
    let payload = dynamic::transaction("System", "remark", (Vec::<u8>::new(),));
    at.transactions().create_signed(&payload, signer, params).await?.submit().await?;
    Ok(())
}

/// Whether the node's words mean that it will never take this transaction as it is.
fn is_refusal(reason: &str) -> bool {
    reason.contains("Invalid Transaction")
        || reason.contains("Unknown Transaction Validity")
        || reason.contains("pay some fees")
}

enum Step {
    Found(Box<Result<Transaction, LedgerError>>),
    /// Not yet; the finalised blocks up to this one do not hold it.
    Wait(u64),
}

async fn settle_once(connection: &Connection, sent: &Sent, searched: u64) -> Result<Step, Failure> {
    let head = connection.api.at_current_block().await?;
    for number in searched + 1..=head.block_number() {
        if let Some(found) = find_in(&connection.api.at_block(number).await?, sent.hash).await? {
            return Ok(Step::Found(Box::new(found)));
        }
    }
    let account = AccountId32(sent.account.0);
    if head.transactions().account_nonce(&account).await? > sent.nonce {
        let reason = "another transaction of the account took its nonce".to_owned();
        return Ok(Step::Found(Box::new(Err(LedgerError::Rejected { reason }))));
    }
    if connection.rpc.system_account_next_index(&account).await? <= sent.nonce {
        // In no block and not in the pool. The same bytes again cannot happen twice.
        connection.rpc.author_submit_extrinsic(&sent.bytes).await?;
    }
    Ok(Step::Wait(head.block_number()))
}

/// The transaction in a block, if it is there: what it did, or why it failed.
async fn find_in(at: &AtBlock, hash: H256) -> Result<Option<Result<Transaction, LedgerError>>, Failure> {
    let extrinsics = at.extrinsics().fetch().await?;
    for extrinsic in extrinsics.iter() {
        let extrinsic = extrinsic?;
        if extrinsic.hash() != hash {
            continue;
        }
        let mut events = Vec::new();
        let mut weight = Weight::default();
        for event in extrinsic.events().await?.iter() {
            let event = event?;
            if let Some(error) = answers::failure(&event, at.metadata_ref()) {
                return Ok(Some(Err(error)));
            }
            if let Some(emitted) = answers::contract_event(at.block_number(), &event) {
                events.push(emitted?);
            }
            weight = answers::success_weight(&event).unwrap_or(weight);
        }
        let block = block_ref(at).await?;
        return Ok(Some(Ok(Transaction { hash: hash.0, block, weight, events, data: Vec::new() })));
    }
    Ok(None)
}
