//! `bench`: how many inputs a model judges per second on one core, alone and in batches, and next to ONNX Runtime.
//!
//! With a peer, both are timed by turns in the same run and the quieter of the turns counts for each.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::{CommandError, Console, choice};
use crate::model_file::ModelFile;
use crate::models;
use crate::timing::peer::{self, PeerReport};
use crate::timing::{BATCH, Timing, Workload, time, workload};

/// Longest measurement that can be asked for, seconds.
const SECONDS_MAX: f64 = 60.0;
/// Turns that each side gets when there is a peer.
const TURNS: usize = 2;

/// Arguments of `bench`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Name of a model, or a model file; all models that come with this program when absent.
    #[arg(long, value_name = "NAME|FILE")]
    pub model: Vec<String>,
    /// A Python 3 with the packages of baselines/requirements.txt: adds ONNX Runtime with the same weights.
    #[arg(long, value_name = "PYTHON")]
    pub onnx: Option<PathBuf>,
    /// About how long each measurement takes, seconds.
    #[arg(long, default_value_t = 0.5)]
    pub seconds: f64,
}

#[derive(Serialize)]
struct Measured {
    model: String,
    model_id: String,
    unit: &'static str,
    timings: Vec<Timing>,
    peer: Option<PeerReport>,
}

/// Times the models.
pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> Result<(), CommandError> {
    let seconds = if args.seconds.is_finite() { args.seconds.clamp(0.01, SECONDS_MAX) } else { SECONDS_MAX };
    let asked: Vec<String> = match args.model.is_empty() {
        true => models::names().map(str::to_owned).collect(),
        false => args.model.clone(),
    };
    let mut all = Vec::with_capacity(asked.len());
    console.say(format_args!("{:<26}{:>6}{:>12}{:>12}{:>16}", "model", "batch", "µs, median", "fastest", "per second"));
    for name in asked {
        let file = choice::read_named(&name)?;
        let Some(made) = workload(&file) else {
            console.say(format_args!("{:<26}is not timed", file.metadata.name));
            continue;
        };
        let path = PathBuf::from(&name);
        let mut work = made.map_err(|source| CommandError::ModelFile { path, source })?;
        let measured = measure(&file, work.as_mut(), args.onnx.as_deref(), seconds)?;
        print(&measured, console);
        all.push(measured);
    }
    console.result(&all);
    Ok(())
}

fn measure(
    file: &ModelFile,
    work: &mut dyn Workload,
    onnx: Option<&Path>,
    seconds: f64,
) -> Result<Measured, CommandError> {
    let length = Duration::from_secs_f64(seconds);
    let mut timings = [1, BATCH].map(|batch| time(work, batch, length));
    let mut peer: Option<PeerReport> = None;
    for _ in 0..if onnx.is_some() { TURNS } else { 0 } {
        let report = ask(file, work, onnx, seconds)?;
        peer = match (peer, report) {
            (Some(before), Some(now)) => Some(before.quieter(&now)),
            (_, now) => now,
        };
        timings = timings.map(|timing| timing.quieter(time(work, timing.batch, length)));
    }
    let (model, model_id) = (file.metadata.name.clone(), file.id().to_string());
    Ok(Measured { model, model_id, unit: work.unit(), timings: timings.to_vec(), peer })
}

fn ask(
    file: &ModelFile,
    work: &mut dyn Workload,
    onnx: Option<&Path>,
    seconds: f64,
) -> Result<Option<PeerReport>, CommandError> {
    let Some(python) = onnx else { return Ok(None) };
    let folder = std::env::temp_dir().join(format!("pulsegate-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(CommandError::file(&folder))?;
    let report = peer::measure(python, &folder, file, work, seconds);
    std::fs::remove_dir_all(&folder).map_err(CommandError::file(&folder))?;
    Ok(Some(report?))
}

fn print(measured: &Measured, console: &mut Console<'_>) {
    const MICROSECONDS: f64 = 1e-3;
    for timing in &measured.timings {
        let (median, fastest) = (timing.median_ns * MICROSECONDS, timing.fastest_ns * MICROSECONDS);
        let rate = timing.per_second();
        let (model, batch, unit) = (&measured.model, timing.batch, measured.unit);
        console.say(format_args!("{model:<26}{batch:>6}{median:>12.2}{fastest:>12.2}{rate:>16.0} {unit}"));
        let Some(peer) = &measured.peer else { continue };
        for theirs in peer.timings.iter().filter(|theirs| theirs.batch == batch) {
            let name = format!("  {}, {}", peer.runtime, theirs.graph);
            let (median, fastest) = (theirs.median_ns * MICROSECONDS, theirs.fastest_ns * MICROSECONDS);
            let ratio = theirs.median_ns / timing.median_ns;
            console.say(format_args!("{name:<26}{batch:>6}{median:>12.2}{fastest:>12.2}{ratio:>15.2}× our time"));
        }
    }
    if let Some(peer) = &measured.peer {
        console.say(format_args!("  largest difference of the outputs {:.1e}", peer.difference));
    }
}
