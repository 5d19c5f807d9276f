//! The client: a [`Ledger`] whose chain is in another process.
//!
//! Guarantees: signs here, for the chain that it connected to, so that no other chain takes the transaction; every request ends by its
//! deadline.
//! Must not: repeat a transaction that may have happened; only a stale nonce, which means it did not, is signed again.

use std::time::Duration;

use async_trait::async_trait;
use parity_scale_codec::{DecodeAll, Encode};
use pulsegate_rules::Principal;

use super::wire::{ANSWER_BYTES_MAX, Failure, PREFIX};
use crate::embedded::{Action, SignedCall};
use crate::{BlockRef, Bundle, Call, ChainIdentity, ContractEvent, DryRun, Ledger, LedgerError, Signer, Transaction};

/// Most times that a transaction is signed again because another one of the same account came first.
const NONCE_RETRIES_MAX: u32 = 16;

/// The embedded chain of another process.
#[derive(Clone, Debug)]
pub struct GatewayLedger {
    http: reqwest::Client,
    base: String,
    deadline: Duration,
    identity: ChainIdentity,
}

impl GatewayLedger {
    /// Connects to the process at `url` (`http://host:port`), which answers each request within `deadline`.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] or [`LedgerError::TimedOut`] when it does not answer.
    pub async fn connect(url: &str, deadline: Duration) -> Result<Self, LedgerError> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Another thread may have been faster; then its provider is as good.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        let http = reqwest::Client::builder().timeout(deadline).build();
        let http = http.map_err(|error| LedgerError::Unavailable { reason: error.to_string() })?;
        let base = format!("{}{PREFIX}", url.trim_end_matches('/'));
        let identity = ChainIdentity { genesis: [0; 32], name: String::new() };
        let mut ledger = Self { http, base, deadline, identity };
        ledger.identity = ledger.get("/identity").await?;
        Ok(ledger)
    }

    async fn get<T: DecodeAll>(&self, path: &str) -> Result<T, LedgerError> {
        self.answer(path, self.http.get(format!("{}{path}", self.base))).await
    }

    async fn post<T: DecodeAll>(&self, path: &str, body: Vec<u8>) -> Result<T, LedgerError> {
        self.answer(path, self.http.post(format!("{}{path}", self.base)).body(body)).await
    }

    async fn answer<T: DecodeAll>(&self, path: &str, request: reqwest::RequestBuilder) -> Result<T, LedgerError> {
        let mut response = request.send().await.map_err(|error| self.lost(path, &error))?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.lost(path, &error))? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(malformed(path, "it is too long"));
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return T::decode_all(&mut &body[..]).map_err(|error| malformed(path, &error.to_string()));
        }
        match serde_json::from_slice::<Failure>(&body) {
            Ok(failure) => Err(failure.error),
            Err(_) => Err(LedgerError::Unavailable { reason: format!("{} answered {status}", self.base) }),
        }
    }

    fn lost(&self, path: &str, error: &reqwest::Error) -> LedgerError {
        if error.is_timeout() {
            let deadline_ms = u64::try_from(self.deadline.as_millis()).unwrap_or(u64::MAX);
            return LedgerError::TimedOut { request: path.to_owned(), deadline_ms };
        }
        // The outer error says which address, the innermost what happened there.
        let mut cause: &dyn std::error::Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        LedgerError::Unavailable { reason: format!("{error}: {cause}") }
    }

    async fn transact(&self, signer: &Signer, action: Action) -> Result<(Option<Principal>, Transaction), LedgerError> {
        action.check_size()?;
        let mut nonce: u32 = self.get(&format!("/nonce/{}", signer.principal())).await?;
        let mut retries = 0;
        loop {
            let call = SignedCall::sign(&self.identity.genesis, signer, nonce, action.clone());
            match self.post("/transaction", call.encode()).await {
                Err(LedgerError::StaleNonce { expected, .. }) if retries < NONCE_RETRIES_MAX => {
                    nonce = expected;
                    retries += 1;
                }
                other => return other,
            }
        }
    }
}

fn malformed(path: &str, reason: &str) -> LedgerError {
    LedgerError::Malformed { request: path.to_owned(), reason: reason.to_owned() }
}

#[async_trait]
impl Ledger for GatewayLedger {
    async fn identity(&self) -> Result<ChainIdentity, LedgerError> {
        self.get("/identity").await
    }

    async fn finalised(&self) -> Result<BlockRef, LedgerError> {
        self.get("/finalised").await
    }

    async fn dry_run(&self, caller: &Principal, call: &Call) -> Result<DryRun, LedgerError> {
        self.post("/dry-run", (caller, call.contract, &call.data).encode()).await
    }

    async fn submit(&self, signer: &Signer, call: &Call) -> Result<Transaction, LedgerError> {
        let action = Action::Call { contract: call.contract, data: call.data.clone() };
        Ok(self.transact(signer, action).await?.1)
    }

    async fn instantiate(
        &self,
        signer: &Signer,
        bundle: &Bundle,
        constructor_data: &[u8],
        salt: &[u8],
    ) -> Result<(Principal, Transaction), LedgerError> {
        let (code, data, salt) = (bundle.code().to_vec(), constructor_data.to_vec(), salt.to_vec());
        match self.transact(signer, Action::Instantiate { code, data, salt }).await? {
            (Some(account), transaction) => Ok((account, transaction)),
            (None, _) => Err(malformed("/transaction", "it names no contract")),
        }
    }

    async fn endow(&self, _sponsor: &Signer, _to: &Principal, _amount: u128) -> Result<(), LedgerError> {
        // Every account of the embedded chain has funds on first sight.
        Ok(())
    }

    async fn events(&self, from_block: u64, limit: usize) -> Result<Vec<ContractEvent>, LedgerError> {
        self.get(&format!("/events?from={from_block}&limit={limit}")).await
    }
}
