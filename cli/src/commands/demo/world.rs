//! The demo's world: its data folder, its people and their keystores, the chain, the store and the oracle, all in this process.
//!
//! Guarantees: everything that a second run needs is in the folder before the first run goes on. Must not: be used for real
//! data; the people's passphrase lies in the folder beside their keystores, and the demo says so.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pulsegate_ledger::{Contracts, Deployment, Signer};
use pulsegate_oracle::{OracleConfig, OracleService, Ports, Running};
use pulsegate_rules::registry::Role;
use rand::RngCore;
use rand::rngs::OsRng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::clock::SimulatedClock;
use crate::adapters;
use crate::commands::up;
use crate::failure::{Failure, Outcome};
use crate::identity::{self, Identity, RsaFiles};
use crate::keystore;
use crate::oracle_client::OracleClient;
use crate::output::Output;
use crate::passphrase::Passphrase;
use crate::session::{Session, system_clock};

const STATE_FILE: &str = "demo.json";
const OPERATOR_FILE: &str = "operator.keystore.json";
const PASSPHRASE_FILE: &str = "passphrase";
const STATE_VERSION: u32 = 1;
const HOUR_MS: u64 = 3_600_000;
const SECOND_MS: u64 = 1_000;

/// What a run leaves for the next one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    version: u32,
    /// Seed of the generator.
    pub(super) seed: u64,
    /// The demo's time at the first run, Unix milliseconds.
    pub(super) origin_ms: u64,
    /// The demo's time when the newest run ended, Unix milliseconds.
    pub(super) now_ms: u64,
    /// How many runs were begun.
    pub(super) runs: u32,
}

/// The people of the demo.
pub(super) struct People {
    pub(super) patient: Identity,
    pub(super) practitioner: Identity,
    pub(super) specialist: Identity,
    pub(super) insurer: Identity,
}

/// Everything that runs.
pub(super) struct World {
    pub(super) folder: PathBuf,
    pub(super) state: State,
    pub(super) clock: SimulatedClock,
    pub(super) session: Session,
    pub(super) people: People,
    pub(super) oracle: Running,
    pub(super) oracle_url: String,
    /// The demo's time when this run began, Unix milliseconds.
    pub(super) began_at_ms: u64,
}

/// Longest wait of real time until everything that was acknowledged is anchored.
const SETTLE_MAX: Duration = Duration::from_secs(120);

impl World {
    /// Opens the world of a folder, or makes it.
    pub(super) async fn open(folder: &Path, seed: Option<u64>, output: Output) -> Outcome<Self> {
        let state = State::begin(folder, seed)?;
        let clock = SimulatedClock::new(state.now_ms);
        let passphrase = passphrase(folder)?;
        let parts = adapters::open_embedded(folder, clock.as_clock())?;
        // The chain's newest block may be younger than what the last run noted, if that one was killed.
        clock.advance_to(parts.ledger.finalised().await?.timestamp_ms);
        // A little after everything that the last run left, so that the two can be told apart.
        clock.advance_to(clock.now_ms() + SECOND_MS);
        let keys = identity::oracle_keys(&folder.join("oracle.keystore.json"), &passphrase)?;
        let operator = identity::operator_account(&folder.join(OPERATOR_FILE), &passphrase)?;
        let path = folder.join("deployment.json");
        let deployment = match path.exists() {
            true => Deployment::load(&path)?,
            false => up::install(&parts.ledger, &operator, &keys, &path).await?,
        };
        let contracts = Contracts::open(Arc::clone(&parts.ledger), deployment).await?;
        // An interrupted run may have left another model active, and another version of the program comes with other ones.
        up::activate_committed(&contracts, &operator).await?;
        let config = OracleConfig {
            data_dir: folder.join("oracle"),
            listen: ([127, 0, 0, 1], 0).into(),
            batch_age_ms: 1_000,
            receipt_age_ms: 1_000,
            ..OracleConfig::default()
        };
        let ports = Ports {
            ledger: Arc::clone(&parts.ledger),
            contracts: contracts.clone(),
            blocks: Arc::clone(&parts.blocks),
            clock: clock.as_clock(),
        };
        let oracle = OracleService::start(config, ports, keys, None).await?;
        let oracle_url = format!("http://{}", oracle.local_addr());
        let session = Session {
            ledger: parts.ledger,
            contracts,
            blocks: parts.blocks,
            oracle: OracleClient::new(&oracle_url, None)?,
            clock: clock.as_clock(),
            output,
        };
        let people = People {
            patient: person(folder, "patient", Role::Patient, &passphrase)?,
            practitioner: person(folder, "practitioner", Role::Practitioner, &passphrase)?,
            specialist: person(folder, "specialist", Role::Practitioner, &passphrase)?,
            insurer: person(folder, "insurer", Role::Insurer, &passphrase)?,
        };
        let began_at_ms = clock.now_ms();
        Ok(Self { folder: folder.to_owned(), state, clock, session, people, oracle, oracle_url, began_at_ms })
    }

    /// The registry's admin.
    pub(super) fn operator(&self) -> Outcome<Signer> {
        identity::operator_account(&self.folder.join(OPERATOR_FILE), &passphrase(&self.folder)?)
    }

    /// Notes where this run stops, ends the oracle, and leaves the folder to the next run.
    pub(super) async fn close(mut self) -> Outcome<()> {
        self.state.now_ms = self.clock.now_ms();
        self.state.save(&self.folder)?;
        self.oracle.shutdown().await;
        Ok(())
    }

    /// Waits until everything that was acknowledged is anchored, receipts too.
    pub(super) async fn settle(&self) -> Outcome<()> {
        let progress = self.oracle.settle(SETTLE_MAX).await?;
        if progress.is_settled() {
            return Ok(());
        }
        Err(Failure::new("NOT_SETTLED", format!("not everything is anchored after {} s", SETTLE_MAX.as_secs()))
            .next("run with RUST_LOG=info to see what the oracle waits for"))
    }

    /// Notes that the next run begins at `moment_ms` or later, also if this one is killed before it gets there.
    pub(super) fn note_time(&mut self, moment_ms: u64) -> Outcome<()> {
        self.state.now_ms = self.state.now_ms.max(moment_ms);
        self.state.save(&self.folder)
    }
}

impl State {
    fn begin(folder: &Path, seed: Option<u64>) -> Outcome<Self> {
        let path = folder.join(STATE_FILE);
        let wrong = |why: String| {
            Failure::new("DEMO_FOLDER_UNUSABLE", format!("{} cannot be used for the demo: {why}", folder.display()))
                .next("name an empty folder, or one of an earlier demo, with --data-dir")
        };
        std::fs::create_dir_all(folder).map_err(|error| wrong(error.to_string()))?;
        let mut state = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice::<Self>(&bytes).map_err(|error| wrong(error.to_string()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if std::fs::read_dir(folder).map_err(|error| wrong(error.to_string()))?.next().is_some() {
                    return Err(wrong("it holds something else".to_owned()));
                }
                let origin_ms = system_clock()() / HOUR_MS * HOUR_MS;
                Self { version: STATE_VERSION, seed: seed.unwrap_or(1), origin_ms, now_ms: origin_ms, runs: 0 }
            }
            Err(error) => return Err(wrong(error.to_string())),
        };
        if state.version != STATE_VERSION {
            return Err(wrong(format!("it is of version {}", state.version)));
        }
        state.seed = seed.unwrap_or(state.seed);
        state.runs = state.runs.saturating_add(1);
        state.save(folder)?;
        Ok(state)
    }

    fn save(&self, folder: &Path) -> Outcome<()> {
        let text = serde_json::to_string_pretty(self).expect("the state is plain data");
        keystore::write_atomically(&folder.join(STATE_FILE), text.as_bytes()).map_err(|error| {
            Failure::new("DEMO_FOLDER_UNUSABLE", format!("cannot write to {}: {error}", folder.display()))
                .next("name a folder that you may write to with --data-dir")
        })
    }
}

/// The one passphrase of the demo's keystores, made up on the first run.
fn passphrase(folder: &Path) -> Outcome<Passphrase> {
    let path = folder.join(PASSPHRASE_FILE);
    if !path.exists() {
        let mut bytes = Zeroizing::new([0u8; 16]);
        OsRng.fill_bytes(&mut *bytes);
        let text = Zeroizing::new(hex::encode(*bytes));
        keystore::write_atomically(&path, text.as_bytes()).map_err(|error| {
            Failure::new("DEMO_FOLDER_UNUSABLE", format!("cannot write {}: {error}", path.display()))
                .next("name a folder that you may write to with --data-dir")
        })?;
    }
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Failure::new("PASSPHRASE_FILE_UNREADABLE", format!("cannot read {}: {error}", path.display()))
            .next("name a folder of the demo that you may read with --data-dir, or a new one")
    })?;
    Ok(Passphrase::new(Zeroizing::new(text)))
}

fn person(folder: &Path, name: &str, role: Role, passphrase: &Passphrase) -> Outcome<Identity> {
    let path = folder.join(format!("{name}.keystore.json"));
    if path.exists() {
        Identity::unlock(&path, passphrase.clone())
    } else {
        Identity::create(&path, role, RsaFiles::default(), passphrase.clone())
    }
}
