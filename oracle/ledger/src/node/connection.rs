//! The connection to the node: made again when it is lost, with a deadline on every request.
//!
//! Guarantees: an answer is the node's own; a lost connection is told apart from an error that the node says by asking it once more.
//! Must not: go on with a node whose genesis is another one.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pulsegate_rules::Principal;
use subxt::OnlineClient;
use subxt::backend::LegacyBackend;
use subxt::client::{ClientAtBlock, OnlineClientAtBlockImpl};
use subxt::config::RpcConfigFor;
use subxt::config::substrate::SubstrateConfig;
use subxt::dynamic;
use subxt::rpcs::RpcClient;
use subxt::rpcs::methods::LegacyRpcMethods;

use crate::{BlockRef, ChainIdentity, LedgerError};

/// How long to wait before the next attempt to connect.
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);
/// How long a living node may take to say its name.
const PROBE_DEADLINE: Duration = Duration::from_secs(2);

/// A client at one block.
pub(super) type AtBlock = ClientAtBlock<SubstrateConfig, OnlineClientAtBlockImpl<SubstrateConfig>>;

/// Why a piece of work with the node failed.
pub(super) enum Failure {
    /// It answered, and the answer is this.
    Ledger(LedgerError),
    /// subxt failed; whether the node is gone is not known yet.
    Node(Box<subxt::Error>),
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

impl<E: Into<subxt::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Node(Box::new(error.into()))
    }
}

/// One connection.
pub(super) struct Connection {
    pub(super) api: OnlineClient<SubstrateConfig>,
    pub(super) rpc: LegacyRpcMethods<RpcConfigFor<SubstrateConfig>>,
    /// Next nonces of the accounts that sent something over this connection; a new connection begins anew, because a node that
    /// restarts forgets transactions that were not in a block.
    nonces: Mutex<HashMap<Principal, u64>>,
}

impl Connection {
    async fn open(url: &str) -> Result<Self, Failure> {
        let client = RpcClient::from_url(url).await?;
        let rpc = LegacyRpcMethods::new(client.clone());
        let backend = LegacyBackend::builder().build(client);
        let api = OnlineClient::from_backend(Arc::new(backend)).await?;
        Ok(Self { api, rpc, nonces: Mutex::new(HashMap::new()) })
    }

    pub(super) async fn identity(&self) -> Result<ChainIdentity, subxt::Error> {
        let genesis = self.rpc.genesis_hash().await?.0;
        Ok(ChainIdentity { genesis, name: self.rpc.system_chain().await? })
    }

    async fn is_alive(&self) -> bool {
        matches!(tokio::time::timeout(PROBE_DEADLINE, self.rpc.system_chain()).await, Ok(Ok(_)))
    }

    /// The account's next nonce: what the node says (blocks and pool), or one more than was sent last if that is higher.
    pub(super) async fn next_nonce(&self, account: &Principal) -> Result<u64, subxt::Error> {
        let said = self.rpc.system_account_next_index(&subxt::utils::AccountId32(account.0)).await?;
        let nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(nonces.get(account).map_or(said, |sent| said.max(*sent)))
    }

    /// Notes that the node took a transaction with this nonce.
    pub(super) fn note_sent(&self, account: &Principal, nonce: u64) {
        self.nonces.lock().unwrap_or_else(PoisonError::into_inner).insert(*account, nonce + 1);
    }

    /// Forgets what was sent, after something went wrong with it.
    pub(super) fn forget_nonce(&self, account: &Principal) {
        self.nonces.lock().unwrap_or_else(PoisonError::into_inner).remove(account);
    }
}

/// The way to the node, whatever connection carries it now.
pub(super) struct Link {
    url: String,
    deadline: Duration,
    genesis: [u8; 32],
    current: tokio::sync::Mutex<Option<Arc<Connection>>>,
}

impl Link {
    pub(super) async fn connect(url: &str, deadline: Duration) -> Result<Self, LedgerError> {
        let mut link = Self { url: url.to_owned(), deadline, genesis: [0; 32], current: tokio::sync::Mutex::new(None) };
        let genesis = link.ask("identity", |connection| async move { Ok(connection.api.genesis_hash().0) }).await?;
        link.genesis = genesis;
        Ok(link)
    }

    pub(super) const fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Does a piece of work that may be done twice, connecting again as often as the deadline allows.
    pub(super) async fn ask<T, Work: Future<Output = Result<T, Failure>>>(
        &self,
        request: &str,
        work: impl Fn(Arc<Connection>) -> Work,
    ) -> Result<T, LedgerError> {
        let lost = Mutex::new(None);
        let attempts = async {
            loop {
                match self.attempt(&work).await {
                    Ok(answer) => return Ok(answer),
                    Err(LedgerError::Unavailable { reason }) => {
                        *lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
                        tokio::time::sleep(RECONNECT_PAUSE).await;
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        match tokio::time::timeout(self.deadline, attempts).await {
            Ok(outcome) => outcome,
            Err(_) => Err(match lost.into_inner().unwrap_or_else(PoisonError::into_inner) {
                Some(reason) => LedgerError::Unavailable { reason },
                None => self.timed_out(request),
            }),
        }
    }

    pub(super) fn timed_out(&self, request: &str) -> LedgerError {
        let deadline_ms = u64::try_from(self.deadline.as_millis()).unwrap_or(u64::MAX);
        LedgerError::TimedOut { request: request.to_owned(), deadline_ms }
    }

    /// One attempt: [`LedgerError::Unavailable`] when the node is gone, any other error when it answered.
    pub(super) async fn attempt<T, Work: Future<Output = Result<T, Failure>>>(
        &self,
        work: impl Fn(Arc<Connection>) -> Work,
    ) -> Result<T, LedgerError> {
        let connection = self.connection().await?;
        match work(Arc::clone(&connection)).await {
            Ok(answer) => Ok(answer),
            Err(Failure::Ledger(error)) => Err(error),
            Err(Failure::Node(error)) if connection.is_alive().await => {
                Err(LedgerError::Failed { reason: error.to_string() })
            }
            Err(Failure::Node(error)) => {
                self.drop_connection(&connection).await;
                Err(self.unavailable(&error))
            }
        }
    }

    fn unavailable(&self, error: &subxt::Error) -> LedgerError {
        LedgerError::Unavailable { reason: format!("{}: {error}", self.url) }
    }

    async fn connection(&self) -> Result<Arc<Connection>, LedgerError> {
        let mut current = self.current.lock().await;
        if let Some(connection) = &*current {
            return Ok(Arc::clone(connection));
        }
        let connection = match Connection::open(&self.url).await {
            Ok(connection) => Arc::new(connection),
            Err(Failure::Node(error)) => return Err(self.unavailable(&error)),
            Err(Failure::Ledger(error)) => return Err(error),
        };
        let found = connection.api.genesis_hash().0;
        if self.genesis != [0; 32] && self.genesis != found {
            return Err(LedgerError::WrongChain { expected: self.genesis, found });
        }
        *current = Some(Arc::clone(&connection));
        Ok(connection)
    }

    async fn drop_connection(&self, lost: &Arc<Connection>) {
        let mut current = self.current.lock().await;
        if current.as_ref().is_some_and(|connection| Arc::ptr_eq(connection, lost)) {
            tracing::warn!(url = %self.url, "lost the connection to the node, connecting again");
            *current = None;
        }
    }
}

/// The block that a client stands at.
pub(super) async fn block_ref(at: &AtBlock) -> Result<BlockRef, Failure> {
    let address = dynamic::storage::<(), u64>("Timestamp", "Now");
    let timestamp_ms = match at.storage().try_fetch(address, ()).await? {
        Some(now) => now.decode()?,
        // The genesis block has no time.
        None => 0,
    };
    Ok(BlockRef { number: at.block_number(), hash: at.block_hash().0, timestamp_ms })
}
