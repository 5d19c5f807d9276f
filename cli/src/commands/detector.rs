//! `pulsegate detector`: the commands of the detectors' crate, under this program's `--json` and exit codes.

pub(super) use pulsegate_detector::command::Command;

use crate::args::Globals;
use crate::failure::Outcome;

/// Runs `pulsegate detector …`. It blocks: nothing else runs in the process meanwhile.
pub(super) fn run(globals: &Globals, command: &Command) -> Outcome<()> {
    Ok(pulsegate_detector::command::run(command, &mut std::io::stdout().lock(), globals.json)?)
}
