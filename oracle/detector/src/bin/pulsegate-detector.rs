//! `pulsegate-detector`: the same commands as `pulsegate detector`, without the rest of the program.
//!
//! Prints a failure once, with its code, and exits with 1; wrong usage exits with 2.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use pulsegate_detector::command::{Command, run};

/// Detectors of compromised devices and unwell patients: train, evaluate, describe.
#[derive(Parser, Debug)]
#[command(name = "pulsegate-detector", version, arg_required_else_help = true)]
struct Cli {
    /// Print one JSON document instead of words.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let Err(error) = run(&cli.command, &mut std::io::stdout().lock(), cli.json) else { return ExitCode::SUCCESS };
    let text = match cli.json {
        true => serde_json::json!({ "error": { "code": error.code(), "message": error.to_string() } }).to_string(),
        false => format!("error: {error} [{}]", error.code()),
    };
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
    ExitCode::FAILURE
}
