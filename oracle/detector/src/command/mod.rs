//! `pulsegate detector …`: train, evaluate, describe, watch. Also a program of its own, `pulsegate-detector`.
//!
//! Guarantees: results go to the writer that the caller gives, as words or, with JSON asked for, as one document; progress goes to standard
//! error and only to a terminal; an error has a stable code and names the next step. Must not: print on its own, or choose an exit code.

mod bench;
mod card;
mod choice;
mod error;
mod evaluate;
mod explain;
mod explain_beat;
mod train;
mod watch;
mod watched;

use std::fmt::Display;
use std::io::Write;

pub use bench::Args as BenchArgs;
pub use card::Args as CardArgs;
pub use error::CommandError;
pub use evaluate::Args as EvaluateArgs;
pub use explain::Args as ExplainArgs;
pub use train::Args as TrainArgs;
pub use watch::Args as WatchArgs;

use crate::progress::{Bar, Progress};

const EXAMPLES: &str = "\
Examples:
  pulsegate detector watch --zeek conn.log
  pulsegate detector explain --model traffic-serving --zeek conn.log --uid CHhAvVGS1DHFjwGM9
  pulsegate detector explain --model vital-signs --data physionet2012 --patient 132539 --hour 48
  pulsegate detector explain --model ecg-beats --record mitdb/records/208.hea --second 12
  pulsegate detector evaluate --model traffic-nsl-kdd --data rows.csv --report report
  pulsegate detector evaluate --model vital-signs --data physionet2012 --cross-validate --boosting python3 --report report
  pulsegate detector train --model traffic-nsl-kdd --data nsl_kdd --out new.safetensors
  pulsegate detector card --model new.safetensors --figures report/figures.json --out new.md

Models that come with this program are named; others are given as files. The data sets are not shipped; each model's card
says whom to cite and where a file's SHA-256 must match.";

/// Train, judge and describe the detectors' models.
#[derive(clap::Subcommand, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub enum Command {
    /// Train a model on a data set; resumable, and repeatable by its seed
    Train(TrainArgs),
    /// Measure a model on a data set and write the report
    Evaluate(EvaluateArgs),
    /// Write the card of a model
    Card(CardArgs),
    /// Time models on one core, alone and in batches, and next to ONNX Runtime
    Bench(BenchArgs),
    /// Judge the connections of a Zeek conn.log by the traffic models
    Watch(WatchArgs),
    /// Tell which inputs made a model judge a connection, a beat or a stay as it did
    Explain(ExplainArgs),
}

/// Runs a command; results go to `out`, as one JSON document if `json`.
///
/// # Errors
/// [`CommandError`].
pub fn run(command: &Command, out: &mut dyn Write, json: bool) -> Result<(), CommandError> {
    let bar = Bar::new();
    let mut console = Console { out, json, progress: &bar, lines: 0, closed: false };
    let outcome = match command {
        Command::Train(args) => train::run(args, &mut console),
        Command::Evaluate(args) => evaluate::run(args, &mut console),
        Command::Card(args) => card::run(args, &mut console),
        Command::Bench(args) => bench::run(args, &mut console),
        Command::Watch(args) => watch::run(args, &mut console),
        Command::Explain(args) => explain::run(args, &mut console),
    };
    bar.finish();
    outcome
}

/// Where a command's words, result and progress go.
pub(crate) struct Console<'a> {
    out: &'a mut dyn Write,
    json: bool,
    progress: &'a dyn Progress,
    /// Lines written so far.
    lines: u64,
    /// Nobody reads any more.
    closed: bool,
}

impl Console<'_> {
    /// A line for people; left out with JSON.
    fn say(&mut self, line: impl Display) {
        if !self.json {
            self.line(&line);
        }
    }

    /// The result for programs; left out without JSON.
    fn result(&mut self, value: &impl serde::Serialize) {
        if self.json {
            self.line(&serde_json::to_string_pretty(value).expect("results are plain data with text keys"));
        }
    }

    /// An object on a line of its own.
    fn json_line(&mut self, value: &impl serde::Serialize) {
        self.line(&serde_json::to_string(value).expect("results are plain data with text keys"));
    }

    fn line(&mut self, line: &dyn Display) {
        // A closed pipe is the reader's choice, not an error.
        let written = writeln!(self.out, "{line}").and_then(|()| self.out.flush());
        self.closed |= written.is_err();
        self.lines += 1;
    }
}
