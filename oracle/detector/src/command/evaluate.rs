//! `evaluate`: measures a model and writes the report.

use std::path::{Path, PathBuf};

use clap::builder::RangedU64ValueParser;
use serde::Serialize;

use super::train::{beside, prepare_checkpoint};
use super::{CommandError, Console, choice};
use crate::catalogue::EvaluateOptions;
use crate::measure::{Interval, RESAMPLES, Resampling};
use crate::report::{Boosting, FIGURES_FILE, FiguresFile, NamedFigure, REPORT_FILE, ReportOptions, write};

/// Fewest and most resamples: of fewer, no ends of an interval can be read; more only cost time.
const RESAMPLES_RANGE: std::ops::RangeInclusive<u64> = 10..=100_000;

fn resamples() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(RESAMPLES_RANGE)
}

/// Arguments of `evaluate`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Name of a model, or a model file.
    #[arg(long, value_name = "NAME|FILE")]
    pub model: String,
    /// Folder of a data set, or any file with the same columns.
    #[arg(long, value_name = "PATH")]
    pub data: PathBuf,
    /// Folder for the report: report.md, its plots, figures.json.
    #[arg(long, value_name = "DIR")]
    pub report: PathBuf,
    /// Train and test by the set's own protocol (grouped folds, or its official parts) instead of judging the weights.
    #[arg(long)]
    pub cross_validate: bool,
    /// A Python 3 with the packages of baselines/requirements.txt: adds gradient boosting, trained on exactly the same rows. Its results
    /// are kept in DIR.boosting and taken again while rows and seed are the same.
    #[arg(long, value_name = "PYTHON")]
    pub boosting: Option<PathBuf>,
    /// Seed of folds, training and resamples.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// With --cross-validate: go on from the checkpoint of an interrupted run.
    #[arg(long)]
    pub resume: bool,
    /// With --cross-validate: passes over the data [default: the model's own].
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,
    /// Bootstrap resamples per interval.
    #[arg(long, value_name = "N", default_value_t = RESAMPLES, value_parser = resamples())]
    pub resamples: usize,
}

#[derive(Serialize)]
struct Evaluated {
    report: PathBuf,
    figures: PathBuf,
    headline: Vec<NamedFigure>,
}

/// Evaluates and writes the report.
pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> Result<(), CommandError> {
    let chosen = choice::choose(&args.model)?;
    let name = chosen.trainable.name();
    if chosen.weights.is_none() && !args.cross_validate {
        return Err(CommandError::NoWeights { name: name.to_owned() });
    }
    let checkpoint = args.cross_validate.then(|| beside(&args.report, ".checkpoint"));
    if let Some(folder) = &checkpoint {
        prepare_checkpoint(folder, args.resume)?;
    }
    let options = EvaluateOptions {
        cross_validate: args.cross_validate,
        seed: args.seed,
        checkpoint: checkpoint.clone(),
        epochs: args.epochs,
        boosting: args
            .boosting
            .clone()
            .map(|interpreter| Boosting { interpreter, folder: beside(&args.report, ".boosting") }),
    };
    let boosting = options.boosting.clone();
    let evaluation = chosen.trainable.evaluate(chosen.weights.as_ref(), &args.data, &options, console.progress);
    let evaluation = evaluation.inspect_err(|_| {
        checkpoint.iter().for_each(|folder| drop(std::fs::remove_dir(folder)));
    })?;
    let judged = chosen.weights.filter(|_| !args.cross_validate);
    let options = ReportOptions {
        model: name.to_owned(),
        model_id: judged.map(|weights| weights.id().to_string()),
        command: command(args, name),
        resampling: Resampling { resamples: args.resamples, seed: args.seed },
        boosting,
    };
    let figures = write(evaluation, &options, &args.report, console.progress)?;
    if let Some(folder) = &checkpoint {
        std::fs::remove_dir_all(folder).map_err(CommandError::file(folder))?;
    }
    let headline = headline(&figures);
    let report = args.report.join(REPORT_FILE);
    console.say(format_args!("{name}: the report is {}", report.display()));
    for figure in &headline {
        let Interval { value, low, high } = figure.estimate;
        console.say(format_args!("  {:<36} {value:.4}  ({low:.4} to {high:.4})", figure.label));
    }
    console.result(&Evaluated { report, figures: args.report.join(FIGURES_FILE), headline });
    Ok(())
}

/// The figures of the model in question that head the report.
fn headline(figures: &FiguresFile) -> Vec<NamedFigure> {
    let Some(view) = figures.views.first() else { return Vec::new() };
    let named = |(key, label): (&str, &str)| {
        let estimate = *view.figure(0, key, None)?;
        Some(NamedFigure { key: key.to_owned(), label: label.to_owned(), class: None, estimate })
    };
    view.headline().into_iter().filter_map(named).collect()
}

/// The command that repeats the evaluation, with the names of files but no folders of this machine.
fn command(args: &Args, name: &str) -> String {
    let file_name = |path: &Path| path.file_name().map_or("DATA".into(), |name| name.to_string_lossy().into_owned());
    // Weights from a file are not those that come with the program under the model's name.
    let model = if args.cross_validate { name.to_owned() } else { file_name(Path::new(&args.model)) };
    let data = file_name(&args.data);
    let mut text = format!("pulsegate detector evaluate --model {model} --data {data} --seed {}", args.seed);
    if args.resamples != RESAMPLES {
        text += &format!(" --resamples {}", args.resamples);
    }
    if args.cross_validate {
        text += " --cross-validate";
    }
    if let Some(epochs) = args.epochs {
        text += &format!(" --epochs {epochs}");
    }
    if args.boosting.is_some() {
        text += " --boosting python3";
    }
    text + " --report REPORT"
}
