//! `pulsegate oracle`: an operator makes an oracle's keys, has the contracts accept its signatures, and chooses its detector models.

use pulsegate_oracle::OracleKeys;
use pulsegate_rules::OracleKey;
use pulsegate_rules::registry::OracleSet;
use serde_json::json;

use super::enrol::open_sponsor;
use super::model;
use crate::actions::{TransactionLine, enrolment};
use crate::args::Globals;
use crate::config::Config;
use crate::failure::{Failure, Outcome};
use crate::identity;
use crate::passphrase::Need;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples, after the contracts are deployed and deployment.json names them:
  pulsegate oracle create --config pulsegate.toml
  pulsegate oracle admit  --config pulsegate.toml --admin dev:alice
  pulsegate oracle show   --config pulsegate.toml

  pulsegate oracle admit --admin operator.keystore.json --threshold 2 --member 0x02… --member 0x03…

The admin is the account that instantiated the registry contract. With the embedded chain `pulsegate up` does all this
itself on the first start.";

/// The subcommands of `oracle`.
#[derive(clap::Subcommand, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// Make the oracle's keystore that the configuration names
    Create,
    /// Have the registry accept this oracle's signatures, and endow its account
    Admit(AdmitArgs),
    /// Print the oracles that the registry accepts
    Show,
    /// Approve, activate and roll back detector models
    #[command(subcommand)]
    Model(model::Command),
}

/// Arguments of `oracle admit`.
#[derive(clap::Args, Debug)]
pub(super) struct AdmitArgs {
    /// The registry's admin: dev:NAME (a development chain) or an operator's keystore file
    #[arg(long, value_name = "ADMIN")]
    admin: String,
    /// How many oracles must sign a batch
    #[arg(long, default_value_t = 1, value_name = "K")]
    threshold: u8,
    /// Another oracle's public key to accept as well; repeat for several
    #[arg(long, value_parser = oracle_key, value_name = "KEY")]
    member: Vec<OracleKey>,
}

pub(super) async fn run(globals: &Globals, command: Command) -> Outcome<()> {
    match command {
        Command::Create => create(globals),
        Command::Admit(args) => admit(globals, args).await,
        Command::Show => show(globals).await,
        Command::Model(command) => model::run(globals, command).await,
    }
}

fn create(globals: &Globals) -> Outcome<()> {
    let config = Config::load(&globals.config)?;
    let path = Config::required(config.oracle.keystore.as_ref(), "oracle.keystore")?;
    let passphrase = globals.passphrase(if path.exists() { Need::Unlock } else { Need::Create }, path)?;
    let keys = identity::oracle_keys(path, &passphrase)?;
    say_keys(globals, &keys, path);
    Ok(())
}

fn say_keys(globals: &Globals, keys: &OracleKeys, path: &std::path::Path) {
    let output = globals.output();
    output.say(format_args!("the oracle's keystore is {}", path.display()));
    output.say(format_args!("  account  {}", keys.principal()));
    output.say(format_args!("  key      {}", keys.oracle_key()));
    output.result(&json!({ "keystore": path, "account": keys.principal(), "key": keys.oracle_key() }));
}

async fn admit(globals: &Globals, args: AdmitArgs) -> Outcome<()> {
    let session = Session::connect(globals).await?;
    let config = Config::load(&globals.config)?;
    let path = Config::required(config.oracle.keystore.as_ref(), "oracle.keystore")?;
    if !path.exists() {
        let message = format!("the oracle has no keystore at {} yet", path.display());
        return Err(Failure::new("KEYSTORE_NOT_FOUND", message).next("run `pulsegate oracle create` first"));
    }
    let keys = identity::oracle_keys(path, &globals.passphrase(Need::Unlock, path)?)?;
    let admin = open_sponsor(globals, &args.admin)?;
    let mut members = vec![keys.oracle_key()];
    members.extend(args.member.iter().filter(|member| **member != keys.oracle_key()));
    session.ledger.endow(&admin, &keys.principal(), enrolment::ENDOWMENT).await?;
    let set = session.contracts.registry.set_oracles(&admin, args.threshold, &members).await?;
    let transaction = TransactionLine::of(&set.transaction);
    let output = session.output;
    output.say(format_args!(
        "oracle set {} is in force since block {}: {} of {} must sign",
        set.value,
        transaction.block,
        args.threshold,
        members.len()
    ));
    output.say(format_args!("  transaction {}", transaction.hash));
    output.result(&json!({ "version": set.value, "threshold": args.threshold, "members": members, "account": keys.principal(), "transaction": transaction }));
    Ok(())
}

async fn show(globals: &Globals) -> Outcome<()> {
    let session = Session::connect(globals).await?;
    let set: OracleSet = session.contracts.registry.oracles().await?;
    let output = session.output;
    output.say(format_args!("oracle set {}: {} of {} must sign", set.version, set.threshold, set.members.len()));
    for member in &set.members {
        output.say(format_args!("  {member}"));
    }
    output.result(&set);
    Ok(())
}

fn oracle_key(text: &str) -> Result<OracleKey, String> {
    text.parse().map_err(|_| "give 0x and 66 hex digits, as `pulsegate oracle create` prints them".to_owned())
}
