//! `pulsegate up`: runs the oracle with the chain and the block store that the configuration names.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;

use pulsegate_detector::runtime::kind_name;
use pulsegate_ledger::{Bundles, Contracts, Deployment, Ledger};
use pulsegate_oracle::OracleKeys;
use pulsegate_oracle::detectors::ModelState;
use pulsegate_oracle::{OracleService, Ports};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::actions::models::{self, Candidate};
use crate::adapters::{self, Parts};
use crate::args::Globals;
use crate::config::Config;
use crate::failure::{Failure, Outcome};
use crate::identity;
use crate::passphrase::{Need, Passphrase};
use crate::session::system_clock;

const EXAMPLES: &str = "\
Examples:
  pulsegate up --config cli/examples/embedded.toml      chain and block store in this process
  pulsegate up --config cli/examples/real-parts.toml    a contracts node and Kubo

With the embedded chain the first start makes the operator's and the oracle's keystores, installs the contracts and writes
the deployment file. Devices, patients and readers then use the printed address. Logs go to standard error; RUST_LOG
chooses how much (`debug` and `trace` of Pulsegate's own parts alone: other libraries could print what they carry). Ctrl-C or SIGTERM ends it gracefully; a killed one loses nothing that it acknowledged.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Logs as JSON lines
    #[arg(long)]
    log_json: bool,
}

pub(super) async fn run(globals: &Globals, args: Args) -> Outcome<()> {
    start_logging("info", args.log_json);
    // Caught from here on, so that a signal during the start ends it gracefully too.
    let signals = Signals::catch()?;
    let config = Config::load(&globals.config)?;
    let keystore = Config::required(config.oracle.keystore.as_ref(), "oracle.keystore")?;
    let need = if keystore.exists() { Need::Unlock } else { Need::Create };
    let passphrase = globals.passphrase(need, keystore)?;
    let keys = identity::oracle_keys(keystore, &passphrase)?;
    let clock = system_clock();
    let parts = adapters::open(&config, Arc::clone(&clock)).await?;
    let deployment = deployment(&config, &parts, &keys, &passphrase).await?;
    let contracts = Contracts::open(Arc::clone(&parts.ledger), deployment.clone()).await?;
    check_admitted(&contracts, &keys).await?;
    let ports = Ports { ledger: Arc::clone(&parts.ledger), contracts, blocks: parts.blocks, clock };
    let (oracle, oracle_key) = (keys.principal(), keys.oracle_key());
    let running = OracleService::start(config.service.clone(), ports, keys, parts.routes).await?;
    let scheme = if config.service.tls.is_some() { "https" } else { "http" };
    let address = format!("{scheme}://{}", running.local_addr());
    let output = globals.output();
    output.say(format_args!("the oracle listens on {address}"));
    output.say(format_args!("  readings   POST {address}/v1/readings"));
    output.say(format_args!("  releases   POST {address}/v1/release"));
    output.say(format_args!("  health     GET  {address}/healthz"));
    output.say(format_args!("  metrics    GET  {address}/metrics"));
    output.say(format_args!("  account    {oracle}"));
    for model in running.models() {
        let state = match model.state {
            ModelState::InUse => "in use",
            ModelState::Unavailable { code } => code,
        };
        output.say(format_args!("  detector   {}: {} {state}", kind_name(model.detector), model.model));
    }
    output.say(format_args!(
        "  contracts  registry {}, consent {}, records {}",
        deployment.registry, deployment.consent, deployment.records
    ));
    output.result(&json!({ "address": address, "oracle": oracle, "oracle_key": oracle_key, "deployment": deployment, "models": running.models() }));
    signals.ended().await;
    output.say("ending: no new requests; what was acknowledged is on disk");
    running.shutdown().await;
    Ok(())
}

/// The contracts: of the deployment file, or on the embedded chain's first start newly installed.
async fn deployment(config: &Config, parts: &Parts, keys: &OracleKeys, passphrase: &Passphrase) -> Outcome<Deployment> {
    let path = &config.contracts.deployment;
    if path.exists() {
        return Ok(Deployment::load(path)?);
    }
    if !parts.installs_contracts {
        return Err(Failure::new("NOT_DEPLOYED", format!("there is no deployment file at {}", path.display()))
            .next("deploy the contracts with scripts/deploy.sh, which writes it"));
    }
    let operator = Config::required(config.contracts.operator_keystore.as_ref(), "contracts.operator_keystore")?;
    let operator = identity::operator_account(operator, passphrase)?;
    install(&parts.ledger, &operator, keys, path).await
}

/// Installs the contracts, admits the oracle, approves and activates the models that come with this program, and writes the deployment file last, so that a crash before it starts over.
pub(super) async fn install(
    ledger: &Arc<dyn Ledger>,
    operator: &pulsegate_ledger::Signer,
    keys: &OracleKeys,
    path: &Path,
) -> Outcome<Deployment> {
    let deployment = Deployment::install(ledger.as_ref(), operator, &Bundles::embedded()?).await?;
    let contracts = Contracts::open(Arc::clone(ledger), deployment.clone()).await?;
    contracts.registry.set_oracles(operator, 1, &[keys.oracle_key()]).await?;
    activate_committed(&contracts, operator).await?;
    deployment.save(path)?;
    Ok(deployment)
}

/// Approves and activates the models that come with this program, where they are not active already.
pub(super) async fn activate_committed(contracts: &Contracts, operator: &pulsegate_ledger::Signer) -> Outcome<()> {
    for candidate in Candidate::committed()? {
        models::approve(contracts, operator, &candidate, true).await?;
    }
    Ok(())
}

async fn check_admitted(contracts: &Contracts, keys: &OracleKeys) -> Outcome<()> {
    if contracts.registry.oracles().await?.members.contains(&keys.oracle_key()) {
        return Ok(());
    }
    let message = format!("the registry does not accept signatures of this oracle ({})", keys.oracle_key());
    Err(Failure::new("ORACLE_NOT_ADMITTED", message)
        .next("run `pulsegate oracle admit --admin …` with the registry's admin"))
}

/// Logs to standard error; `otherwise` is the filter when `RUST_LOG` sets none.
///
/// Whatever `RUST_LOG` says, libraries that are not Pulsegate's log at `info` and above only: below, they print bodies of
/// requests and headers.
pub(super) fn start_logging(otherwise: &str, as_json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(otherwise));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let no_bodies =
        filter_fn(|metadata| metadata.target().starts_with("pulsegate") || LevelFilter::INFO >= *metadata.level());
    // Fails only when a logger is there already, and then that one stays.
    let _ = if as_json {
        builder.json().finish().with(no_bodies).try_init()
    } else {
        builder.finish().with(no_bodies).try_init()
    };
}

/// What ends the service.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn catch() -> Outcome<Self> {
        let failed = |error: std::io::Error| {
            Failure::new("SIGNALS_UNAVAILABLE", format!("cannot wait for signals: {error}")).next("start it again")
        };
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
        })
    }

    async fn ended(mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
