//! `pulsegate-agent`: the device agent as a program. Picks key, queue folder, oracle and source; the work is in the library.
//!
//! Must not: take a secret on the command line or from the environment; the device key is a file for its owner alone.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use pulsegate_device_agent::sources::{
    CsvSource, Deterioration, Generator, GeneratorConfig, MitBihSource, PhysionetSource, Source, parse_time_ms,
};
use pulsegate_device_agent::{
    Agent, AgentConfig, AgentError, Clock, Progress, create_key_file, fetch_oracle_info, read_key_file,
};
use pulsegate_rules::Principal;

/// Most measurements that are signed with one write to disk.
const FEED_MAX: usize = 64;
/// How long to wait before looking again, when the queue is empty or the next measurement's time has not come.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Signs what a device measures and brings it to the oracle, each reading once, whatever crashes in between.
#[derive(Parser)]
#[command(name = "pulsegate-agent", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Command {
    #[command(subcommand)]
    action: Action,
}

const EXAMPLES: &str = "Examples:
  pulsegate-agent key device.key
  pulsegate-agent run --key device.key --dir queue --oracle http://127.0.0.1:8080 --patient 0x… generate --seed 7 --rounds 60
  pulsegate-agent run --key device.key --dir queue --oracle https://oracle.example --patient 0x… csv readings.csv
  pulsegate-agent rejected --key device.key --dir queue --oracle https://oracle.example --patient 0x… --audience 0x…

The queue survives kill -9 and power loss. Run the same command again and it goes on where it was.";

#[derive(Subcommand)]
enum Action {
    /// Make a device key, or show the public key of one; register it with `pulsegate device add`.
    Key {
        /// The key file; made with mode 0600 when it does not exist.
        file: PathBuf,
    },
    /// Take measurements from a source, sign and queue them, and send until all are acknowledged.
    Run {
        #[command(flatten)]
        device: Device,
        /// Stop with an error when the oracle stays away, instead of trying on.
        #[arg(long)]
        give_up: bool,
        /// Where measurements come from; without one, what is queued is sent.
        #[command(subcommand)]
        source: Option<From>,
    },
    /// List what the oracle refused for good, with its codes.
    Rejected {
        #[command(flatten)]
        device: Device,
    },
}

#[derive(Args)]
struct Device {
    /// The device key file (see `key`).
    #[arg(long)]
    key: PathBuf,
    /// The folder of the queue; one per device.
    #[arg(long)]
    dir: PathBuf,
    /// The oracle's address; https, or http on this machine.
    #[arg(long)]
    oracle: String,
    /// The patient that the device is registered for (0x and 64 hex digits).
    #[arg(long)]
    patient: Principal,
    /// The deployment that the readings are for (0x and 64 hex digits); asked from the oracle when absent. Give it on machines that
    /// start without the oracle, and to be sure of the deployment.
    #[arg(long)]
    audience: Option<Principal>,
}

#[derive(Subcommand)]
enum From {
    /// A CSV file with the columns measured_at, code, value, unit.
    Csv {
        /// The file.
        file: PathBuf,
    },
    /// A seeded patient: vital signs and an ECG lead.
    Generate(Generate),
    /// A recorded intensive-care patient of the PhysioNet 2012 hourly table.
    Physionet {
        /// The table, .csv or .csv.gz.
        file: PathBuf,
        /// The record's number; the first one when absent.
        #[arg(long)]
        record: Option<u64>,
        /// Time of the first hour: Unix milliseconds or RFC 3339 in UTC.
        #[arg(long, value_parser = time)]
        start: u64,
    },
    /// A recorded ECG lead of the MIT-BIH database.
    Mitbih {
        /// The header file, .hea, with .dat or .dat.zst beside it.
        header: PathBuf,
        /// Time of the first sample: Unix milliseconds or RFC 3339 in UTC.
        #[arg(long, value_parser = time)]
        start: u64,
    },
}

#[derive(Args)]
struct Generate {
    /// The patient: the same seed gives the same measurements.
    #[arg(long)]
    seed: u64,
    /// Time of the first round: Unix milliseconds or RFC 3339 in UTC; now when absent. Give it, or a second run is another series.
    #[arg(long, value_parser = time)]
    start: Option<u64>,
    /// Milliseconds between two rounds.
    #[arg(long, default_value_t = 60_000)]
    every_ms: u64,
    /// How many rounds; without end when absent.
    #[arg(long)]
    rounds: Option<u64>,
    /// Let the patient get worse from this round on, over 60 rounds.
    #[arg(long)]
    worse_from: Option<u64>,
}

fn time(text: &str) -> Result<u64, String> {
    parse_time_ms(text).ok_or_else(|| "give Unix milliseconds or a time such as 2026-01-31T08:00:00Z".to_owned())
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // A panic ends the process, on whatever thread it is, so that a supervisor starts it anew.
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        print(info);
        std::process::abort();
    }));
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match Command::parse().action {
        Action::Key { file } => {
            let key = if file.exists() { read_key_file(&file)? } else { create_key_file(&file)? };
            say(&format!("device {}\npublic key 0x{}", key.device_id(), hex::encode(key.public_key())))
        }
        Action::Run { device, give_up, source } => run(open(&device).await?, give_up, source).await,
        Action::Rejected { device } => {
            let rejected = open(&device).await?.rejected()?;
            for entry in &rejected {
                say(&format!("{}\t{}\t{}\t{}", entry.sequence, entry.rejected_at_ms, entry.code, entry.message))?;
            }
            say(&format!("{} readings were refused for good", rejected.len()))
        }
    }
}

async fn open(device: &Device) -> anyhow::Result<Agent> {
    let key = read_key_file(&device.key)?;
    let audience = match device.audience {
        Some(audience) => audience.0,
        None => fetch_oracle_info(&device.oracle, 10_000)
            .await
            .context("the oracle was asked for its deployment; give --audience to start without it")?
            .audience()?,
    };
    let config = AgentConfig::new(&device.oracle, device.patient, audience);
    let clock: Clock = Arc::new(now_ms);
    Ok(Agent::open(&device.dir, key, config, clock)?)
}

fn source_of(from: From) -> Result<Box<dyn Source>, AgentError> {
    Ok(match from {
        From::Csv { file } => Box::new(CsvSource::open(&file)?),
        From::Physionet { file, record, start } => Box::new(PhysionetSource::open(&file, record, start)?),
        From::Mitbih { header, start } => Box::new(MitBihSource::open(&header, start)?),
        From::Generate(generate) => {
            let every_ms = generate.every_ms.max(1);
            let episode = |round: u64| Deterioration {
                after_ms: round.saturating_mul(every_ms),
                over_ms: every_ms.saturating_mul(60),
            };
            let usual = GeneratorConfig::new(generate.seed, generate.start.unwrap_or_else(now_ms));
            let deterioration = generate.worse_from.map(episode);
            Box::new(Generator::new(GeneratorConfig { every_ms, rounds: generate.rounds, deterioration, ..usual }))
        }
    })
}

/// Feeds and drains side by side, so that measuring goes on while the oracle is away.
async fn run(agent: Agent, give_up: bool, from: Option<From>) -> anyhow::Result<()> {
    let agent = Arc::new(agent);
    let fed = Arc::new(AtomicBool::new(from.is_none()));
    let feeding = match from {
        None => None,
        Some(from) => {
            let (agent, fed) = (Arc::clone(&agent), Arc::clone(&fed));
            Some(tokio::task::spawn_blocking(move || feed(&agent, source_of(from)?, &fed)))
        }
    };
    let mut total = Progress::default();
    loop {
        let last = fed.load(Ordering::SeqCst);
        match agent.drain().await {
            Ok(progress) => add(&mut total, &progress),
            Err(error @ AgentError::Unavailable { .. }) if !give_up => tracing::warn!("{error}"),
            Err(error) => return Err(error.into()),
        }
        if feeding.as_ref().is_some_and(|feeding| feeding.is_finished()) && !fed.load(Ordering::SeqCst) {
            break;
        }
        if last && agent.pending()? == 0 {
            break;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    if let Some(feeding) = feeding {
        say(&feeding.await.context("the source's thread ended early")??)?;
    }
    let Progress { accepted, duplicates, rejected, .. } = total;
    say(&format!("{accepted} readings accepted, {duplicates} known already, {rejected} refused for good"))
}

fn add(total: &mut Progress, progress: &Progress) {
    total.accepted += progress.accepted;
    total.duplicates += progress.duplicates;
    total.rejected += progress.rejected;
}

/// Takes the source to its end; a measurement of the future waits until its time has come. Returns what was left out, in words.
fn feed(agent: &Agent, mut source: Box<dyn Source>, fed: &AtomicBool) -> Result<String, AgentError> {
    loop {
        match agent.feed_until(source.as_mut(), FEED_MAX, now_ms()) {
            Ok(None) => break,
            Ok(Some(0)) | Err(AgentError::QueueFull { .. }) => std::thread::sleep(LOOK_AGAIN),
            Ok(Some(_)) => {}
            Err(error) => return Err(error),
        }
    }
    fed.store(true, Ordering::SeqCst);
    let skipped = source.skipped();
    let reasons: Vec<String> = skipped.0.iter().map(|(reason, count)| format!("{count} × {reason}")).collect();
    Ok(match skipped.total() {
        0 => "no value of the source was left out".to_owned(),
        total => format!("{total} values of the source were left out: {}", reasons.join(", ")),
    })
}

fn say(text: &str) -> anyhow::Result<()> {
    let written = writeln!(std::io::stdout(), "{text}");
    written.context("nobody reads what this program says")
}
