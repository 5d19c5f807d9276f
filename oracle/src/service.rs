//! Starting and stopping the oracle: opens the log, checks it against the deployment, recovers what a crash left, and serves.
//!
//! Guarantees: nothing is served before the log is open and the deployment's chain answered; stopping lets running requests end, and what
//! was acknowledged and not anchored is in the log for the next start. Must not: choose adapters; they come as [`Ports`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use pulsegate_ipfs::store::BlockStore;
use pulsegate_ledger::{Clock, Contracts, Ledger, LedgerError};
use pulsegate_reading::SignedReading;
use pulsegate_rules::Principal;
use pulsegate_rules::records::BatchKind;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;

use crate::chain::DeviceCache;
use crate::config::{ConfigError, OracleConfig};
use crate::context::{Backlog, Context, Progress};
use crate::detectors::{self, ModelInUse, ModelLoader, Models, START_MS_MAX, Watch, watch_loop};
use crate::directories::Directories;
use crate::exchanges::Exchanges;
use crate::health::{Health, HealthBoard, Part};
use crate::keys::OracleKeys;
use crate::log::{AppendQueue, DurableLog, LogError};
use crate::metrics::Metrics;
use crate::server::Server;
use crate::{http, pipeline};

/// How often chain and block store are asked whether they are there, milliseconds of real time.
const PULSE_MS: u64 = 2_000;
/// How often [`Running::settle`] looks, milliseconds of real time.
const SETTLE_CHECK_MS: u64 = 10;
/// How many entries are read at once while counting what waits at start.
const RECOVER_ENTRIES_MAX: usize = 1_024;

/// The adapters that the service stands on.
#[derive(Clone)]
pub struct Ports {
    /// The chain.
    pub ledger: Arc<dyn Ledger>,
    /// The contracts of the deployment on that chain.
    pub contracts: Contracts,
    /// Where sealed objects are stored.
    pub blocks: Arc<dyn BlockStore>,
    /// The time, Unix milliseconds.
    pub clock: Clock,
}

/// The service did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The durable log did not open.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The chain did not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The address is taken or not allowed.
    #[error("cannot listen on {listen}: {reason}; choose another `listen` address or stop what uses it")]
    Bind {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        reason: String,
    },
    /// Certificate or key cannot be used.
    #[error(
        "the TLS file {path} cannot be used: {reason}; give PEM files with a certificate chain and its private key"
    )]
    Tls {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The client for co-signing oracles cannot be made.
    #[error("the client that asks co-signing oracles cannot be made: {reason}")]
    Cosigners {
        /// What is wrong.
        reason: String,
    },
}

impl StartError {
    /// The stable code of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Config(error) => error.code(),
            Self::Log(error) => error.code(),
            Self::Ledger(error) => error.code(),
            Self::Bind { .. } => "BIND_FAILED",
            Self::Tls { .. } => "TLS_FILES",
            Self::Cosigners { .. } => "COSIGNER_CLIENT",
        }
    }
}

/// The oracle's service.
pub struct OracleService;

impl OracleService {
    /// Starts the service and returns when it listens. `extra_routes` are served beside its own.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn start(
        config: OracleConfig,
        ports: Ports,
        keys: OracleKeys,
        extra_routes: Option<Router>,
    ) -> Result<Running, StartError> {
        let loader = detectors::served(config.care_setting);
        Self::start_with(config, ports, keys, extra_routes, loader).await
    }

    /// As [`OracleService::start`], with detectors that `loader` makes of the files which the chain names active.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn start_with(
        config: OracleConfig,
        ports: Ports,
        keys: OracleKeys,
        extra_routes: Option<Router>,
        loader: ModelLoader,
    ) -> Result<Running, StartError> {
        config.validate()?;
        let identity = ports.ledger.identity().await?;
        let records = ports.contracts.records.account();
        let audience = pulsegate_reading::audience(&identity.genesis, &records);
        let log = DurableLog::open(&config.data_dir, &keys, &audience)?;
        let backlog = Arc::new(Backlog::default());
        recover_backlog(&log, &backlog)?;
        let metrics = Metrics::new();
        let exchanges = Exchanges::new(Arc::clone(&ports.clock), metrics.clone(), config.tls.is_some());
        let entries_changed = Arc::new(Notify::new());
        let (queue, writer) = start_queue(&log, &backlog, &metrics, &entries_changed);
        let directories = {
            let metrics = metrics.clone();
            let failed = move |code| metrics.retry("directory", code);
            let (contracts, blocks) = (ports.contracts.clone(), Arc::clone(&ports.blocks));
            Directories::new(contracts, blocks, Arc::clone(&entries_changed), failed)
        };
        let models = Watch::new(Models::new(config.models_dir.clone(), loader));
        let context = Arc::new(Context {
            audience,
            chain_id: identity.chain_id(),
            started_at_ms: (ports.clock)(),
            requests: Arc::new(Semaphore::new(config.requests_in_flight_max)),
            cosigner_client: cosigner_client(&config)?,
            config,
            keys,
            ledger: ports.ledger,
            contracts: ports.contracts,
            blocks: ports.blocks,
            clock: ports.clock,
            log,
            queue,
            metrics,
            health: HealthBoard::default(),
            devices: DeviceCache::default(),
            directories,
            models,
            exchanges: Arc::clone(&exchanges),
            backlog,
            entries_changed,
            leaves_changed: [(); 3].map(|()| Arc::new(Notify::new())),
            flushing: AtomicBool::new(false),
            parked: AtomicU64::new(0),
            finalised_block: AtomicU64::new(0),
        });
        // Before the first reading is judged; what cannot be had now is tried again by the loop below.
        let models = context.models.refresh(&context);
        if tokio::time::timeout(Duration::from_millis(START_MS_MAX), models).await.is_err() {
            context.health.failed(Part::Models, "MODELS_NOT_KNOWN_YET", context.now_ms());
        }
        let router = http::router(Arc::clone(&context), extra_routes);
        let server = Server::start(context.config.listen, context.config.tls.as_ref(), router, exchanges)?;
        let (stop, stopped) = watch::channel(false);
        let mut tasks = vec![tokio::spawn(pipeline::seal_loop(Arc::clone(&context), stopped.clone()))];
        for kind in [BatchKind::Records, BatchKind::Receipts, BatchKind::Critical] {
            tasks.push(tokio::spawn(pipeline::batch_loop(Arc::clone(&context), kind, stopped.clone())));
        }
        tasks.push(tokio::spawn(watch_loop(Arc::clone(&context), stopped.clone())));
        tasks.push(tokio::spawn(pulse(Arc::clone(&context), stopped)));
        tracing::info!(address = %server.local_addr, tls = context.config.tls.is_some(), "the oracle listens");
        Ok(Running { context, server, tasks, writer, stop })
    }
}

fn start_queue(
    log: &DurableLog,
    backlog: &Arc<Backlog>,
    metrics: &Metrics,
    changed: &Arc<Notify>,
) -> (AppendQueue, JoinHandle<()>) {
    let (backlog, metrics, changed) = (Arc::clone(backlog), metrics.clone(), Arc::clone(changed));
    AppendQueue::start(log.clone(), move |readings, added| {
        // A group holds a few thousand readings at most.
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
        metrics.group_readings.record(readings as f64);
        backlog.add(added);
        changed.notify_one();
    })
}

/// Counts whose readings wait from before the start.
fn recover_backlog(log: &DurableLog, backlog: &Backlog) -> Result<(), LogError> {
    let mut after = 0;
    loop {
        let entries = log.entries_after(after, RECOVER_ENTRIES_MAX)?;
        let Some(last) = entries.last() else { return Ok(()) };
        after = last.position;
        let mut waiting: BTreeMap<Principal, u64> = BTreeMap::new();
        for entry in &entries {
            let signed = SignedReading::decode(&entry.cose).map_err(|_| LogError::Corrupt { table: "entries" })?;
            *waiting.entry(signed.unverified().patient).or_insert(0) += 1;
        }
        backlog.add(waiting);
    }
}

fn cosigner_client(config: &OracleConfig) -> Result<Option<reqwest::Client>, StartError> {
    if config.cosigners.is_empty() {
        return Ok(None);
    }
    // The client takes the process's provider; another part of the program may have installed the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
    client.map(Some).map_err(|error| StartError::Cosigners { reason: error.to_string() })
}

/// Asks chain and block store from time to time whether they are there.
async fn pulse(context: Arc<Context>, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        match context.ledger.finalised().await {
            Ok(block) => {
                context.finalised_block.store(block.number, Ordering::Relaxed);
                context.health.succeeded(Part::Ledger, context.now_ms());
            }
            Err(error) => context.health.failed(Part::Ledger, error.code(), context.now_ms()),
        }
        match context.blocks.health().await {
            Ok(()) => context.health.succeeded(Part::Blocks, context.now_ms()),
            Err(error) => context.health.failed(Part::Blocks, error.code(), context.now_ms()),
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(PULSE_MS)) => {}
            _ = stop.changed() => {}
        }
    }
}

/// A running service. Dropping it without [`Running::shutdown`] leaves its tasks running until the runtime ends.
pub struct Running {
    context: Arc<Context>,
    server: Server,
    tasks: Vec<JoinHandle<()>>,
    writer: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Running {
    /// Where the service listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.server.local_addr
    }

    /// What readings and release requests must name.
    #[must_use]
    pub fn audience(&self) -> [u8; 32] {
        self.context.audience
    }

    /// What was done and what waits.
    ///
    /// # Errors
    /// [`LogError`] when the log cannot be read.
    pub fn progress(&self) -> Result<Progress, LogError> {
        self.context.progress()
    }

    /// The detector models that the chain names active, and how they stand with this oracle.
    #[must_use]
    pub fn models(&self) -> Vec<ModelInUse> {
        self.context.models.active()
    }

    /// What `GET /healthz` says.
    #[must_use]
    pub fn health(&self) -> Health {
        let parked = self.context.parked.load(Ordering::SeqCst);
        let block = self.context.finalised_block.load(Ordering::Relaxed);
        self.context.health.report(self.context.log.waiting(), parked, block)
    }

    /// Closes open batches without waiting for their age until everything that can be anchored is, or `deadline` of real time is over.
    /// Says how things stand then; see [`Progress::is_settled`].
    ///
    /// # Errors
    /// [`LogError`] when the log cannot be read.
    pub async fn settle(&self, deadline: Duration) -> Result<Progress, LogError> {
        let until = Instant::now() + deadline;
        self.context.flushing.store(true, Ordering::SeqCst);
        let outcome = loop {
            for changed in &self.context.leaves_changed {
                changed.notify_one();
            }
            match self.context.progress() {
                Ok(progress) if !progress.is_settled() && Instant::now() < until => {
                    tokio::time::sleep(Duration::from_millis(SETTLE_CHECK_MS)).await;
                }
                outcome => break outcome,
            }
        };
        self.context.flushing.store(false, Ordering::SeqCst);
        outcome
    }

    /// Stops taking requests, lets running ones end, stops the loops between two steps, and closes the log.
    pub async fn shutdown(self) {
        let Self { context, server, tasks, writer, stop } = self;
        server.stop().await;
        // Every receiver is alive until its task ends; a task that ended already needs no signal.
        let _ = stop.send(true);
        for changed in &context.leaves_changed {
            changed.notify_one();
        }
        context.entries_changed.notify_one();
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(panicked = error.is_panic(), "a loop of the oracle ended early");
            }
        }
        drop(context);
        if let Err(error) = writer.await {
            tracing::error!(panicked = error.is_panic(), "the log's writer ended early");
        }
    }
}
