//! The commands, one file each: its arguments, what it prints, and nothing that another command could need.

mod demo;
mod detector;
mod device;
mod enrol;
mod explain;
mod grant;
mod grants;
mod model;
mod open;
mod oracle;
mod publish;
mod receipts;
mod relay;
mod revoke;
mod rotate;
mod up;
mod verify;
mod wallet;
mod whoami;

use clap::{Parser, Subcommand};

use crate::args::Globals;
use crate::failure::Outcome;

const EXAMPLES: &str = "\
Try it without installing anything else:
  pulsegate demo

A patient's day, with a configuration in pulsegate.toml:
  pulsegate enrol --role patient
  pulsegate device add --category vital-signs --category ecg --key-file device.key
  pulsegate grant --to 0xPRACTITIONER --category vital-signs --purpose TREAT --from now --until +30d
  pulsegate grants
  pulsegate receipts
  pulsegate revoke 1
  pulsegate rotate

A practitioner's:
  pulsegate enrol --role practitioner
  pulsegate open --patient 0xPATIENT --category vital-signs --purpose TREAT --from -6h --until now

Anybody's:
  pulsegate verify

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by consent, 4 a check against the chain found a fault.";

/// Patient-controlled health data: grant, open, revoke, and check what happened.
#[derive(Parser, Debug)]
#[command(name = "pulsegate", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Watch the whole story once, on a chain and a block store inside this process
    Demo(demo::Args),
    /// Run the oracle, with the chain and the block store that the configuration names
    Up(up::Args),
    /// Make your keys, register with the contracts, and (patients) publish the keys for coming hours
    Enrol(enrol::Args),
    /// Say who you are, without a passphrase
    Whoami(whoami::Args),
    /// Add, list, quarantine or revoke your devices
    #[command(subcommand)]
    Device(device::Command),
    /// Let somebody read a window of your data, or forbid it
    Grant(grant::Args),
    /// Take a grant back, and learn what had been released under it
    Revoke(revoke::Args),
    /// Submit a grant or a revocation that a wallet signed elsewhere
    Relay(relay::Args),
    /// Move to new keys, so that what was granted before opens nothing new
    Rotate(rotate::Args),
    /// Publish the keys for more coming hours
    Publish(publish::Args),
    /// List the grants that you gave, or that were given to you
    Grants(grants::Args),
    /// Read what somebody granted to you, or your own data
    Open(open::Args),
    /// Say why a reader would be permitted or denied
    Explain(explain::Args),
    /// List who opened, or tried to open, your data
    Receipts(receipts::Args),
    /// Check inclusion, order and completeness of all records against the chain
    Verify(verify::Args),
    /// Link an Ethereum wallet that may grant and revoke for you
    #[command(subcommand)]
    Wallet(wallet::Command),
    /// Operator: make an oracle's keys, admit it to the contracts, choose its detector models
    #[command(subcommand)]
    Oracle(oracle::Command),
    /// Train, judge and describe the models that watch over devices and patients
    #[command(subcommand)]
    Detector(detector::Command),
}

/// Runs the command that the arguments name.
pub(crate) async fn run(cli: Cli) -> Outcome<()> {
    let globals = cli.globals;
    match cli.command {
        Command::Demo(args) => demo::run(&globals, args).await,
        Command::Up(args) => up::run(&globals, args).await,
        Command::Enrol(args) => enrol::run(&globals, args).await,
        Command::Whoami(args) => whoami::run(&globals, &args),
        Command::Device(command) => device::run(&globals, command).await,
        Command::Grant(args) => grant::run(&globals, args).await,
        Command::Revoke(args) => revoke::run(&globals, args).await,
        Command::Relay(args) => relay::run(&globals, args).await,
        Command::Rotate(args) => rotate::run(&globals, args).await,
        Command::Publish(args) => publish::run(&globals, args).await,
        Command::Grants(args) => grants::run(&globals, args).await,
        Command::Open(args) => open::run(&globals, args).await,
        Command::Explain(args) => explain::run(&globals, args).await,
        Command::Receipts(args) => receipts::run(&globals, args).await,
        Command::Verify(args) => verify::run(&globals, args).await,
        Command::Wallet(command) => wallet::run(&globals, command).await,
        Command::Oracle(command) => oracle::run(&globals, command).await,
        Command::Detector(command) => detector::run(&globals, &command),
    }
}
