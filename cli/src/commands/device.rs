//! `pulsegate device`: a patient's devices.

use std::path::PathBuf;

use pulsegate_device_agent::{create_key_file, read_key_file};
use pulsegate_rules::registry::DeviceStatus;
use pulsegate_rules::{Categories, Category, DeviceId, Principal};
use serde_json::json;

use crate::actions::devices::{self, Listed};
use crate::args::{self, Globals};
use crate::failure::Outcome;
use crate::keystore;
use crate::moment;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  pulsegate device add --category vital-signs --category ecg --key-file device.key
  pulsegate device list
  pulsegate device quarantine 0xDEVICE     its readings are still taken, and marked
  pulsegate device restore 0xDEVICE        out of quarantine
  pulsegate device revoke 0xDEVICE         its readings are refused from now on, for ever

The key file belongs on the device: the agent (pulsegate-agent) signs every reading with it.";

const ADD_EXAMPLES: &str = "\
Examples:
  pulsegate device add --category vital-signs --key-file watch.key
  pulsegate device add --category ecg --category vital-signs --key-file monitor.key --json

Makes the device's key in a private file (mode 0600) and registers the public key with your account. With a file that is
there already, that key is registered. Bring the file to the device and start the agent with it; the agent refuses to send
categories that you did not allow here.";

/// The subcommands of `device`.
#[derive(clap::Subcommand, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// Make a device's key and register it
    Add(AddArgs),
    /// List devices
    List {
        /// Whose [default: yours]
        #[arg(long, value_parser = args::principal, value_name = "ACCOUNT")]
        patient: Option<Principal>,
    },
    /// Go on taking a device's readings, and mark them
    Quarantine {
        /// The device's id
        #[arg(value_parser = args::device, value_name = "DEVICE")]
        device: DeviceId,
    },
    /// End a quarantine
    Restore {
        /// The device's id
        #[arg(value_parser = args::device, value_name = "DEVICE")]
        device: DeviceId,
    },
    /// Refuse a device's readings from now on, for ever
    Revoke {
        /// The device's id
        #[arg(value_parser = args::device, value_name = "DEVICE")]
        device: DeviceId,
    },
}

/// Arguments of `device add`.
#[derive(clap::Args, Debug)]
#[command(after_help = ADD_EXAMPLES)]
pub(super) struct AddArgs {
    /// What it may send; repeat for several (vital-signs, ecg, activity, laboratory, medication)
    #[arg(long, value_parser = args::category, required = true, value_name = "CATEGORY")]
    category: Vec<Category>,
    /// Where the device's key goes; a key that is there already is used
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
}

pub(super) async fn run(globals: &Globals, command: Command) -> Outcome<()> {
    match command {
        Command::Add(args) => add(globals, args).await,
        Command::List { patient } => list(globals, patient).await,
        Command::Quarantine { device } => {
            set(globals, device, DeviceStatus::Quarantined, "in quarantine: its readings are taken and marked").await
        }
        Command::Restore { device } => set(globals, device, DeviceStatus::Active, "active").await,
        Command::Revoke { device } => {
            set(globals, device, DeviceStatus::Revoked, "revoked: its readings are refused for ever").await
        }
    }
}

async fn add(globals: &Globals, args: AddArgs) -> Outcome<()> {
    let session = Session::connect(globals).await?;
    let identity = globals.unlock()?;
    let key = if args.key_file.exists() { read_key_file(&args.key_file)? } else { create_key_file(&args.key_file)? };
    let added = devices::register(&session, &identity, &key, Categories::of(&args.category)).await?;
    let output = session.output;
    match &added.transaction {
        Some(transaction) => {
            output.say(format_args!("device {} is registered since block {}", added.device, transaction.block))
        }
        None => output.say(format_args!("device {} was registered before", added.device)),
    }
    output.say(format_args!("  sends     {}", added.categories));
    output.say(format_args!("  key file  {}", args.key_file.display()));
    if let Some(transaction) = &added.transaction {
        output.say(format_args!("  transaction {}", transaction.hash));
    }
    let deployment = &session.contracts.deployment;
    let audience = Principal(pulsegate_reading::audience(&deployment.genesis, &deployment.records));
    output
        .say("next: bring the key file to the device, and start its agent with a source of measurements, for example");
    output.say(format_args!(
        "  pulsegate-agent run --key {} --dir queue --oracle {} --patient {} --audience {audience} csv readings.csv",
        args.key_file.display(),
        session.oracle.url(),
        identity.principal()
    ));
    output.result(&json!({
        "device": added.device,
        "categories": added.categories.iter().collect::<Vec<_>>(),
        "key_file": args.key_file,
        "patient": identity.principal(),
        "oracle": session.oracle.url(),
        "audience": audience,
        "transaction": added.transaction,
    }));
    Ok(())
}

async fn list(globals: &Globals, patient: Option<Principal>) -> Outcome<()> {
    let session = Session::connect(globals).await?;
    let patient = match patient {
        Some(patient) => patient,
        None => keystore::read_public(&globals.keystore_path()?)?.account,
    };
    let devices = devices::list(&session, patient).await?;
    let output = session.output;
    if devices.is_empty() {
        output.say("no devices");
    } else {
        let row = |listed: &Listed| {
            let status = match listed.device.status {
                DeviceStatus::Active => "active",
                DeviceStatus::Quarantined => "in quarantine",
                DeviceStatus::Revoked => "revoked",
            };
            vec![
                listed.id.to_string(),
                status.to_owned(),
                listed.device.categories.to_string(),
                moment::format_ms(listed.device.registered_at_ms),
            ]
        };
        output.table(&["device", "status", "sends", "registered"], &devices.iter().map(row).collect::<Vec<_>>());
    }
    output.result(&json!({ "devices": devices }));
    Ok(())
}

async fn set(globals: &Globals, device: DeviceId, status: DeviceStatus, words: &str) -> Outcome<()> {
    let session = Session::connect(globals).await?;
    let identity = globals.unlock()?;
    let transaction = devices::set_status(&session, &identity, device, status).await?;
    let output = session.output;
    output.say(format_args!("device {device} is {words} (block {})", transaction.block));
    output.say(format_args!("  transaction {}", transaction.hash));
    output.result(&json!({ "device": device, "status": status, "transaction": transaction }));
    Ok(())
}
