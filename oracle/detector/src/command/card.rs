//! `card`: writes a model's card.

use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::train::write_whole;
use super::{CommandError, Console, choice};
use crate::InputsDigest;
use crate::report::{FIGURES_FORMAT, FiguresFile, card};

/// Longest `figures.json`, bytes.
const FIGURES_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Arguments of `card`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Name of a model, or a model file.
    #[arg(long, value_name = "NAME|FILE")]
    pub model: String,
    /// `figures.json` of the evaluation that the card quotes.
    #[arg(long, value_name = "FILE")]
    pub figures: Option<PathBuf>,
    /// Where the card goes; standard output when absent.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Serialize)]
struct Written<'a> {
    model: &'a str,
    model_id: String,
    card: &'a str,
}

/// Writes the card.
pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> Result<(), CommandError> {
    let chosen = choice::choose(&args.model)?;
    let name = chosen.trainable.name();
    let model = chosen.weights.ok_or_else(|| CommandError::NoWeights { name: name.to_owned() })?;
    let figures = args.figures.as_deref().map(|path| read_figures(path, name)).transpose()?;
    let quoted = figures.as_ref().map(|(figures, digest)| (figures, digest.as_str()));
    let text = card(&model, &chosen.trainable.describe(), quoted);
    match &args.out {
        Some(out) => {
            write_whole(out, text.as_bytes())?;
            console.say(format_args!("the card of {name} is {}", out.display()));
        }
        None => console.say(format_args!("{}", text.trim_end())),
    }
    console.result(&Written { model: name, model_id: model.id().to_string(), card: &text });
    Ok(())
}

/// The figures and the SHA-256 of their file, hex.
fn read_figures(path: &Path, model: &str) -> Result<(FiguresFile, String), CommandError> {
    let unreadable = |reason: String| CommandError::Figures { path: path.to_owned(), reason };
    let bytes = std::fs::metadata(path).map_err(CommandError::file(path))?.len();
    if bytes > FIGURES_BYTES_MAX {
        return Err(unreadable(format!("{bytes} bytes, more than {FIGURES_BYTES_MAX}")));
    }
    let text = std::fs::read(path).map_err(CommandError::file(path))?;
    let figures: FiguresFile = serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
    if figures.format != FIGURES_FORMAT {
        return Err(unreadable(format!("layout {}, not {FIGURES_FORMAT}", figures.format)));
    }
    if figures.model != model {
        let (measured, asked) = (figures.model, model.to_owned());
        return Err(CommandError::ForeignFigures { path: path.to_owned(), measured, asked });
    }
    Ok((figures, InputsDigest(Sha256::digest(&text).into()).to_string()))
}
