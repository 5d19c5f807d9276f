//! `train`: makes a model's file from a data set.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{CommandError, Console, choice};
use crate::catalogue::TrainOptions;

/// Arguments of `train`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Name of the model.
    #[arg(long, value_name = "NAME")]
    pub model: String,
    /// Folder of the data set, or one file of it.
    #[arg(long, value_name = "PATH")]
    pub data: PathBuf,
    /// Where the model goes [default: NAME.safetensors].
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Seed of every random choice: the same seed on the same machine gives the same file.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Go on from the checkpoint of an interrupted run; without it, training begins anew.
    #[arg(long)]
    pub resume: bool,
    /// Passes over the data [default: the model's own].
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,
}

#[derive(Serialize)]
struct Trained<'a> {
    model: &'a str,
    model_id: String,
    file: PathBuf,
    bytes: usize,
    rows: u64,
}

/// Trains and writes the file; the checkpoint beside it is removed when that is done.
pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> Result<(), CommandError> {
    let trainable = choice::trainable(&args.model)?;
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("{}.safetensors", args.model)));
    let checkpoint = beside(&out, ".checkpoint");
    prepare_checkpoint(&checkpoint, args.resume)?;
    let options = TrainOptions { seed: args.seed, checkpoint: Some(checkpoint.clone()), epochs: args.epochs };
    let model = trainable.train(&args.data, &options, console.progress).inspect_err(|_| {
        // Only an empty folder goes: a checkpoint is what --resume needs.
        let _ = std::fs::remove_dir(&checkpoint);
    })?;
    let bytes = model.to_bytes();
    write_whole(&out, &bytes)?;
    std::fs::remove_dir_all(&checkpoint).map_err(CommandError::file(&checkpoint))?;
    let rows = model.metadata.data.iter().map(|source| source.rows).sum();
    console.say(format_args!("{} is trained on {rows} rows", args.model));
    console.say(format_args!("  file      {} ({} bytes)", out.display(), bytes.len()));
    console.say(format_args!("  model id  {}", model.id()));
    console.result(&Trained {
        model: &args.model,
        model_id: model.id().to_string(),
        file: out,
        bytes: bytes.len(),
        rows,
    });
    Ok(())
}

/// The path with an ending added to its name.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Makes the folder; without `resume`, what an earlier run left there goes.
pub(crate) fn prepare_checkpoint(folder: &Path, resume: bool) -> Result<(), CommandError> {
    if !resume && folder.exists() {
        std::fs::remove_dir_all(folder).map_err(CommandError::file(folder))?;
    }
    std::fs::create_dir_all(folder).map_err(CommandError::file(folder))
}

/// Writes a file so that a reader finds the old one or the new one, never a part.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), CommandError> {
    let partial = beside(path, ".part");
    std::fs::write(&partial, bytes).map_err(CommandError::file(&partial))?;
    std::fs::rename(&partial, path).map_err(CommandError::file(path))
}
