//! `pulsegate oracle model`: an operator approves, activates and rolls back the detector models that oracles use.

use std::path::PathBuf;

use pulsegate_detector::runtime::{LEARNED, kind_name};
use pulsegate_rules::ModelId;
use pulsegate_rules::registry::DetectorKind;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::enrol::open_sponsor;
use crate::actions::TransactionLine;
use crate::actions::models::{self, Candidate, Standing};
use crate::args::Globals;
use crate::failure::{Failure, Outcome};
use crate::oracle_client::OracleModel;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  pulsegate oracle model list
  pulsegate oracle model approve --activate --admin operator.keystore.json       the models that come with this program
  pulsegate oracle model approve traffic.safetensors --admin dev:alice
  pulsegate oracle model activate 0xMODEL --admin dev:alice
  pulsegate oracle model roll-back traffic --admin dev:alice

A model is named by the SHA-256 of its file. Oracles load the file whose hash is the active one, of those that come with the
program or lie in the `models_dir` of their configuration, and refuse every other. The admin is the registry's.";

/// The subcommands of `oracle model`.
#[derive(clap::Subcommand, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// Print which model of each kind is active, and how it stands with the oracle
    List,
    /// Put models forward: their hash, that of their training data and that of their evaluation
    Approve(ApproveArgs),
    /// Make an approved model the active one of its kind
    Activate {
        /// The model: 0x and the SHA-256 of its file
        #[arg(value_parser = model_id, value_name = "MODEL")]
        model: ModelId,
        /// The registry's admin: dev:NAME or a keystore file
        #[arg(long, value_name = "SIGNER")]
        admin: String,
    },
    /// Return to the model that was active before
    RollBack {
        /// What it judges: traffic, traffic-unsupervised, ecg-beats, vital-signs
        #[arg(value_parser = kind, value_name = "KIND")]
        kind: DetectorKind,
        /// The registry's admin: dev:NAME or a keystore file
        #[arg(long, value_name = "SIGNER")]
        admin: String,
    },
}

/// Arguments of `oracle model approve`.
#[derive(clap::Args, Debug)]
pub(super) struct ApproveArgs {
    /// Model files [default: those that come with this program]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The registry's admin: dev:NAME or a keystore file
    #[arg(long, value_name = "SIGNER")]
    admin: String,
    /// Make each the active one of its kind too
    #[arg(long)]
    activate: bool,
    /// The report of the evaluation, when the model's file does not name its hash
    #[arg(long, value_name = "FILE", requires = "files")]
    metrics: Option<PathBuf>,
}

pub(super) async fn run(globals: &Globals, command: Command) -> Outcome<()> {
    match command {
        Command::List => list(globals).await,
        Command::Approve(args) => approve(globals, args).await,
        Command::Activate { model, admin } => {
            let session = Session::connect(globals).await?;
            let admin = open_sponsor(globals, &admin)?;
            let done = session.contracts.registry.activate_model(&admin, model).await?;
            say_done(&session, &format!("model {model} is active"), &TransactionLine::of(&done.transaction));
            Ok(())
        }
        Command::RollBack { kind, admin } => {
            let session = Session::connect(globals).await?;
            let admin = open_sponsor(globals, &admin)?;
            let done = session.contracts.registry.roll_back_model(&admin, kind).await?;
            let active = session.contracts.registry.active_model(kind).await?;
            let now = active.map_or_else(|| "no model".to_owned(), |active| format!("model {}", active.current));
            let text = format!("{} is judged by {now} again", kind_name(kind));
            say_done(&session, &text, &TransactionLine::of(&done.transaction));
            Ok(())
        }
    }
}

fn say_done(session: &Session, text: &str, transaction: &TransactionLine) {
    session.output.say(format_args!("{text}, since block {}", transaction.block));
    session.output.say(format_args!("  transaction {}", transaction.hash));
    session.output.result(&json!({ "transaction": transaction }));
}

async fn approve(globals: &Globals, args: ApproveArgs) -> Outcome<()> {
    let report = match &args.metrics {
        None => None,
        Some(path) => {
            let unreadable = |error: std::io::Error| {
                Failure::new("METRICS_UNREADABLE", format!("cannot read the report {}: {error}", path.display()))
                    .next("name the report that `pulsegate detector evaluate` wrote")
            };
            Some(Sha256::digest(std::fs::read(path).map_err(unreadable)?).into())
        }
    };
    // Everything is checked before anything is submitted.
    let candidates = match args.files.is_empty() {
        true => Candidate::committed()?,
        false => args.files.iter().map(|path| Candidate::read(path, report)).collect::<Outcome<Vec<_>>>()?,
    };
    let session = Session::connect(globals).await?;
    let admin = open_sponsor(globals, &args.admin)?;
    let mut done = Vec::new();
    for candidate in &candidates {
        let approved = models::approve(&session.contracts, &admin, candidate, args.activate).await?;
        let state = if args.activate { "approved and active" } else { "approved" };
        session.output.say(format_args!("{} ({}) is {state}", approved.name, kind_name(approved.detector)));
        session.output.say(format_args!("  model       {}", approved.model));
        for transaction in &approved.transactions {
            session.output.say(format_args!("  transaction {} in block {}", transaction.hash, transaction.block));
        }
        done.push(approved);
    }
    if done.is_empty() {
        session.output.say("no model comes with this program; name a file");
    }
    session.output.result(&done);
    Ok(())
}

async fn list(globals: &Globals) -> Outcome<()> {
    let session = Session::connect(globals).await?;
    let standings = models::list(&session.contracts).await?;
    // The chain's word stands also while the oracle is away.
    let at_oracle = session.oracle.models().await.ok();
    let rows: Vec<Vec<String>> = standings.iter().map(|standing| row(standing, at_oracle.as_deref())).collect();
    let output = session.output;
    for row in &rows {
        output.say(row.join("  "));
    }
    let with_state: Vec<_> = standings.iter().map(|standing| with_state(standing, at_oracle.as_deref())).collect();
    output.result(&with_state);
    Ok(())
}

fn state_of<'a>(standing: &Standing, at_oracle: Option<&'a [OracleModel]>) -> Option<&'a OracleModel> {
    let is_it = |model: &&OracleModel| Some(model.model) == standing.active && model.detector == standing.detector;
    at_oracle?.iter().find(is_it)
}

fn row(standing: &Standing, at_oracle: Option<&[OracleModel]>) -> Vec<String> {
    let kind = format!("{:<20}", kind_name(standing.detector));
    let Some(active) = standing.active else { return vec![kind, "no model is active".to_owned()] };
    let state = match (state_of(standing, at_oracle), at_oracle) {
        (Some(OracleModel { state, code: Some(code), .. }), _) => format!("{state} ({code})"),
        (Some(model), _) => model.state.clone(),
        (None, Some(_)) => "not taken up by the oracle yet".to_owned(),
        (None, None) => "the oracle does not answer".to_owned(),
    };
    let name = standing.name.clone().unwrap_or_else(|| "not of this program".to_owned());
    let before = standing.previous.map_or_else(String::new, |previous| format!("before it {previous}"));
    vec![kind, active.to_string(), name, state, before]
}

fn with_state(standing: &Standing, at_oracle: Option<&[OracleModel]>) -> serde_json::Value {
    let mut value = serde_json::to_value(standing).expect("a standing is plain data");
    let found = state_of(standing, at_oracle);
    value["oracle"] = json!(found.map(|model| json!({ "state": model.state, "code": model.code })));
    value
}

fn model_id(text: &str) -> Result<ModelId, String> {
    text.parse().map_err(|_| "give 0x and 64 hex digits, as `pulsegate oracle model list` prints them".to_owned())
}

fn kind(text: &str) -> Result<DetectorKind, String> {
    let names = || LEARNED.map(kind_name).join(", ");
    LEARNED.into_iter().find(|kind| kind_name(*kind) == text).ok_or_else(|| format!("give one of: {}", names()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_by_their_names_and_rules_are_no_models() {
        for learned in LEARNED {
            assert_eq!(kind(kind_name(learned)), Ok(learned));
        }
        assert!(kind("request-rate").unwrap_err().contains("vital-signs"));
    }
}
