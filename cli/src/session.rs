//! What every command works with: the chain's contracts, the block store, the oracle, the clock, and where results go.
//!
//! Guarantees: connected and checked (the chain is the deployment's) before a command sees it. Must not: hold a key.

use std::sync::Arc;

use pulsegate_ipfs::store::BlockStore;
use pulsegate_ledger::{Clock, Contracts, Deployment, Ledger};

use crate::adapters;
use crate::args::Globals;
use crate::config::Config;
use crate::failure::{Failure, Outcome};
use crate::oracle_client::OracleClient;
use crate::output::Output;

/// A connected session.
#[derive(Clone)]
pub(crate) struct Session {
    /// The chain.
    pub(crate) ledger: Arc<dyn Ledger>,
    /// The three contracts on it.
    pub(crate) contracts: Contracts,
    /// The block store.
    pub(crate) blocks: Arc<dyn BlockStore>,
    /// The oracle.
    pub(crate) oracle: OracleClient,
    /// The time, Unix milliseconds.
    pub(crate) clock: Clock,
    /// Where results go.
    pub(crate) output: Output,
}

impl Session {
    /// Reads the configuration and connects to what it names.
    pub(crate) async fn connect(globals: &Globals) -> Outcome<Self> {
        let config = Config::load(&globals.config)?;
        let (ledger, blocks) = adapters::connect(&config).await?;
        let deployment = Deployment::load(&config.contracts.deployment).map_err(|error| {
            Failure::from(error)
                .next("start `pulsegate up` once (embedded chain), or run scripts/deploy.sh (contracts node)")
        })?;
        let contracts = Contracts::open(Arc::clone(&ledger), deployment).await?;
        let oracle = OracleClient::new(&config.oracle.url, config.oracle.certificate_authority.as_deref())?;
        Ok(Self { ledger, contracts, blocks, oracle, clock: system_clock(), output: globals.output() })
    }

    /// The time, Unix seconds.
    pub(crate) fn now_s(&self) -> u64 {
        (self.clock)() / 1_000
    }

    /// The time, Unix milliseconds.
    pub(crate) fn now_ms(&self) -> u64 {
        (self.clock)()
    }
}

/// The machine's own clock.
pub(crate) fn system_clock() -> Clock {
    Arc::new(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
