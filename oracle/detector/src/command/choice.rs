//! Which model a name or a file on the command line means.

use std::path::{Path, PathBuf};

use super::CommandError;
use crate::catalogue::{Trainable, catalogue, find};
use crate::model_file::{self, ModelFile};
use crate::models;

/// A model that was asked for.
pub(crate) struct Choice {
    /// How to train and judge it.
    pub(crate) trainable: &'static dyn Trainable,
    /// Its weights, when a file was named or some come with this program.
    pub(crate) weights: Option<ModelFile>,
}

/// The model of that name, or the one whose file it is.
pub(crate) fn choose(asked: &str) -> Result<Choice, CommandError> {
    if let Some(trainable) = find(asked) {
        let unusable = |source| CommandError::ModelFile { path: PathBuf::from(asked), source };
        return Ok(Choice { trainable, weights: models::read(asked).transpose().map_err(unusable)? });
    }
    let weights = read_named(asked)?;
    let trainable = find(&weights.metadata.name).ok_or_else(|| unknown(&weights.metadata.name))?;
    Ok(Choice { trainable, weights: Some(weights) })
}

/// The weights of that name or in that file, of whatever model.
pub(crate) fn read_named(asked: &str) -> Result<ModelFile, CommandError> {
    let path = Path::new(asked);
    let unusable = |source| CommandError::ModelFile { path: path.to_owned(), source };
    if let Some(committed) = models::read(asked) {
        return committed.map_err(unusable);
    }
    if find(asked).is_some() {
        return Err(CommandError::NoWeights { name: asked.to_owned() });
    }
    // A word without a separator or an ending is a misspelt name rather than a missing file.
    if !path.exists() && path.extension().is_none() && path.components().count() == 1 {
        return Err(unknown(asked));
    }
    ModelFile::read(&model_file::bytes_of(path).map_err(CommandError::file(path))?).map_err(unusable)
}

/// The trainable model of that name.
pub(crate) fn trainable(name: &str) -> Result<&'static dyn Trainable, CommandError> {
    find(name).ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> CommandError {
    CommandError::UnknownModel { name: name.to_owned(), known: catalogue().iter().map(|model| model.name()).collect() }
}
