//! A whole Pulsegate in a temporary folder: configuration, the oracle as a process, and chain and block store, embedded or real.
//!
//! The scenario code is the same for both; only [`Parts`] differs. Everything can be killed and started again on what is on disk.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use pulsegate_ipfs::store::{BlockStore, GatewayBlockStore, KuboBlockStore};
use pulsegate_ledger::gateway::GatewayLedger;
use pulsegate_ledger::node::NodeLedger;
use pulsegate_ledger::{Bundles, Contracts, Deployment, Ledger, Signer};
use tempfile::TempDir;

use crate::eventually::eventually;
use crate::parts::{Kubo, Node, READY_WITHIN, pulsegate, repository};
use crate::person::{PASSPHRASE, Person};
use crate::process::{Server, free_port, http};

/// Longest wait for one answer of chain or store.
const DEADLINE: Duration = Duration::from_secs(60);
/// Records per batch on the embedded chain: small, so that a scenario sees many batches.
const EMBEDDED_BATCH_COUNT_MAX: u32 = 16;
/// Records per batch on a contracts node, where a batch takes a second or more to be final.
const REAL_BATCH_COUNT_MAX: u32 = 128;
/// Oldest open batch, milliseconds.
const BATCH_AGE_MS: u64 = 300;

/// The adapters that an installation runs on.
pub enum Parts {
    /// Chain and block store inside the oracle's process.
    Embedded,
    /// A contracts node and Kubo, each a process of its own.
    Real {
        /// The chain.
        node: Node,
        /// The block store.
        kubo: Kubo,
    },
    /// A contracts node and Kubo that somebody else started.
    Elsewhere {
        /// WebSocket address of the node's RPC.
        node_url: String,
        /// HTTP address of Kubo's RPC.
        kubo_url: String,
    },
}

/// A whole Pulsegate.
pub struct Installation {
    // Dropped in this order: processes before the folder that they write to.
    oracle: Option<Server>,
    /// The adapters.
    pub parts: Parts,
    folder: TempDir,
    port: u16,
}

impl Installation {
    /// Everything in the oracle's process; started.
    pub async fn embedded() -> Self {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let adapters = "[ledger]\nadapter = \"embedded\"\ndata_dir = \"chain\"\n\n[blocks]\nadapter = \"embedded\"\ndata_dir = \"blocks\"\n";
        let port = free_port();
        let mut installation =
            Self::prepared(Parts::Embedded, folder, port, &configuration(port, EMBEDDED_BATCH_COUNT_MAX, adapters));
        installation.start().await;
        installation
    }

    /// A contracts node and Kubo of its own, with the contracts deployed and the oracle admitted; started.
    pub async fn real() -> Self {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let (node, kubo) = (Node::start(folder.path()).await, Kubo::start(folder.path()).await);
        let ledger = NodeLedger::connect(&node.url(), DEADLINE).await.expect("the node takes a connection");
        let bundles = Bundles::from_dir(&repository().join("contracts/artifacts")).expect("the bundles are committed");
        let deployment =
            Deployment::install(&ledger, &Signer::dev("Alice"), &bundles).await.expect("the contracts are installed");
        deployment.save(&folder.path().join("deployment.json")).expect("the deployment is written");
        let adapters = format!(
            "[ledger]\nadapter = \"node\"\nurl = \"{}\"\ndeadline_ms = 60000\n\n[blocks]\nadapter = \"kubo\"\napi_url = \"{}\"\n",
            node.url(),
            kubo.url()
        );
        let port = free_port();
        let mut installation = Self::prepared(
            Parts::Real { node, kubo },
            folder,
            port,
            &configuration(port, REAL_BATCH_COUNT_MAX, &adapters),
        );
        let operator = installation.person("operator");
        operator.does(&["oracle", "create"]);
        operator.does(&["oracle", "admit", "--admin", "dev:alice"]);
        installation.start().await;
        installation
    }

    /// An installation in `folder` with this configuration, whose oracle listens on `port`; not started.
    ///
    /// # Panics
    /// When the configuration cannot be written.
    #[must_use]
    pub fn prepared(parts: Parts, folder: TempDir, port: u16, configuration: &str) -> Self {
        std::fs::write(folder.path().join("pulsegate.toml"), configuration).expect("the configuration is written");
        Self { parts, folder, port, oracle: None }
    }

    /// The folder that holds everything of this installation.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("pulsegate.toml")
    }

    /// Whether chain and block store are in the oracle's process.
    #[must_use]
    pub const fn is_embedded(&self) -> bool {
        matches!(self.parts, Parts::Embedded)
    }

    /// The oracle's base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Somebody with a keystore of this name in the installation's folder.
    #[must_use]
    pub fn person(&self, name: &str) -> Person {
        Person::new(self.config(), self.folder.path().join(format!("{name}.keystore.json")))
    }

    /// Enrols somebody.
    #[must_use]
    pub fn enrol(&self, name: &str, role: &str) -> Person {
        self.enrol_with(name, role, &[])
    }

    /// Enrols somebody with more options of `pulsegate enrol`.
    #[must_use]
    pub fn enrol_with(&self, name: &str, role: &str, options: &[&str]) -> Person {
        let person = self.person(name);
        let sponsor: &[&str] = if self.is_embedded() { &[] } else { &["--sponsor", "dev:alice"] };
        person.does(&[&["enrol", "--role", role], sponsor, options].concat());
        person
    }

    /// Starts the oracle on what is on disk, and waits until it is ready.
    pub async fn start(&mut self) {
        self.launch(&[]);
        self.ready().await;
    }

    /// Starts the oracle so that it aborts when it passes a named point; does not wait for it.
    pub fn start_to_crash_at(&mut self, point: &str) {
        self.launch(&[("PULSEGATE_CRASH_AT", point)]);
    }

    fn launch(&mut self, environment: &[(&str, &str)]) {
        self.kill();
        let mut command = Command::new(pulsegate());
        command.arg("up").arg("--config").arg(self.config()).env("PULSEGATE_PASSPHRASE", PASSPHRASE);
        command.envs(environment.iter().copied());
        self.oracle = Some(Server::start("the oracle", &mut command, &self.log()));
    }

    /// Waits until the oracle says that it is healthy.
    ///
    /// # Panics
    /// When it ends instead.
    pub async fn ready(&mut self) {
        let url = format!("{}/healthz", self.url());
        eventually("the oracle is healthy", READY_WITHIN, || {
            assert!(!self.has_ended(), "the oracle ended instead of getting ready");
            let sent = http().get(&url).send();
            async { sent.await?.error_for_status() }
        })
        .await;
    }

    /// Kills the oracle as a power cut would.
    pub fn kill(&mut self) {
        if let Some(oracle) = self.oracle.take() {
            oracle.kill();
        }
    }

    /// Asks the oracle to end, and waits for it.
    pub fn stop(&mut self) {
        if let Some(oracle) = self.oracle.take() {
            let status = oracle.terminate();
            assert!(status.success(), "the oracle ended with {status}");
        }
    }

    /// Whether the oracle, once started, has ended by itself.
    ///
    /// # Panics
    /// When it was not started.
    pub fn has_ended(&mut self) -> bool {
        self.oracle.as_mut().expect("the oracle was started").ended().is_some()
    }

    /// Waits until the oracle has ended by itself.
    pub async fn ended(&mut self, what: &str) {
        eventually(what, READY_WITHIN, || {
            let ended = self.has_ended();
            async move { if ended { Ok(()) } else { Err("it is running") } }
        })
        .await;
    }

    /// What the oracle printed, over all its lives.
    #[must_use]
    pub fn oracle_log(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("oracle.log")
    }

    /// The chain, as anybody reaches it.
    pub async fn ledger(&self) -> Arc<dyn Ledger> {
        let url = match &self.parts {
            Parts::Embedded => {
                return Arc::new(GatewayLedger::connect(&self.url(), DEADLINE).await.expect("the gateway answers"));
            }
            Parts::Real { node, .. } => node.url(),
            Parts::Elsewhere { node_url, .. } => node_url.clone(),
        };
        Arc::new(NodeLedger::connect(&url, DEADLINE).await.expect("the node answers"))
    }

    /// The block store, as anybody reaches it.
    pub async fn blocks(&self) -> Arc<dyn BlockStore> {
        let url = match &self.parts {
            Parts::Embedded => {
                return Arc::new(GatewayBlockStore::connect(&self.url(), DEADLINE).expect("the gateway answers"));
            }
            Parts::Real { kubo, .. } => kubo.url(),
            Parts::Elsewhere { kubo_url, .. } => kubo_url.clone(),
        };
        Arc::new(KuboBlockStore::connect(&url, DEADLINE).expect("Kubo answers"))
    }

    /// The contracts, as anybody reaches them.
    pub async fn contracts(&self) -> Contracts {
        let deployment =
            Deployment::load(&self.folder.path().join("deployment.json")).expect("the deployment is written");
        Contracts::open(self.ledger().await, deployment).await.expect("the contracts are on this chain")
    }

    /// What readings and requests must name to be for this deployment.
    ///
    /// # Panics
    /// When the deployment is not written yet.
    #[must_use]
    pub fn audience(&self) -> [u8; 32] {
        let deployment =
            Deployment::load(&self.folder.path().join("deployment.json")).expect("the deployment is written");
        pulsegate_reading::audience(&deployment.genesis, &deployment.records)
    }
}

/// A configuration with small batches, so that a scenario sees many of them.
fn configuration(port: u16, batch_count_max: u32, adapters: &str) -> String {
    format!(
        "[oracle]\nurl = \"http://127.0.0.1:{port}\"\nkeystore = \"oracle.keystore.json\"\n\n\
         [service]\nlisten = \"127.0.0.1:{port}\"\ndata_dir = \"oracle\"\nbatch_count_max = {batch_count_max}\n\
         batch_age_ms = {BATCH_AGE_MS}\nreceipt_age_ms = {BATCH_AGE_MS}\n\n{adapters}\n\
         [contracts]\ndeployment = \"deployment.json\"\noperator_keystore = \"operator.keystore.json\"\n"
    )
}
