//! What a stopped training needs to go on: weights, moments, averages, epoch. Written beside, then renamed, so a crash leaves the last one.

use std::path::Path;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::{Schedule, State};
use crate::catalogue::TrainError;
use crate::model_file::tensors;
use crate::nn::Parameters;

#[derive(Serialize, Deserialize)]
struct Header {
    /// The schedule as text: a checkpoint of another schedule is refused.
    schedule: String,
    epoch: usize,
    step: usize,
}

fn file_error(path: &Path, source: std::io::Error) -> TrainError {
    TrainError::File { path: path.to_owned(), source }
}

fn unusable(path: &Path, reason: impl Into<String>) -> TrainError {
    TrainError::Checkpoint { path: path.to_owned(), reason: reason.into() }
}

pub(super) fn save(path: &Path, schedule: &Schedule, parameters: &Parameters, state: &State) -> Result<(), TrainError> {
    let header = Header { schedule: format!("{schedule:?}"), epoch: state.epoch, step: state.step };
    let header = serde_json::to_string(&header).map_err(|error| unusable(path, error.to_string()))?;
    let average = state.average.as_deref().unwrap_or_default();
    let groups = [
        ("value", parameters.values.as_slice()),
        ("mean", &state.mean),
        ("square", &state.square),
        ("average", average),
    ];
    let named = groups.into_iter().flat_map(|(group, matrices)| {
        parameters.names.iter().zip(matrices).map(move |(name, matrix)| (format!("{group}/{name}"), matrix))
    });
    let bytes = tensors::encode(&header, named.collect());
    let beside = path.with_extension("partial");
    std::fs::write(&beside, bytes).map_err(|source| file_error(&beside, source))?;
    std::fs::rename(&beside, path).map_err(|source| file_error(path, source))
}

pub(super) fn load(
    path: &Path,
    schedule: &Schedule,
    parameters: &mut Parameters,
    state: &mut State,
) -> Result<(), TrainError> {
    let bytes = std::fs::read(path).map_err(|source| file_error(path, source))?;
    let (header, mut tensors) = tensors::decode(&bytes).map_err(|error| unusable(path, error.to_string()))?;
    let header: Header = serde_json::from_str(&header).map_err(|error| unusable(path, error.to_string()))?;
    if header.schedule != format!("{schedule:?}") {
        return Err(unusable(path, "it was made with another schedule or seed"));
    }
    let names = parameters.names.clone();
    let mut take = |group: &str, name: &str, target: &mut Array2<f32>| {
        let found = tensors.remove(&format!("{group}/{name}"));
        match found.filter(|matrix| matrix.raw_dim() == target.raw_dim()) {
            Some(matrix) => {
                *target = matrix;
                Ok(())
            }
            None => Err(unusable(path, format!("{group} of {name} is missing or of another shape"))),
        }
    };
    for (index, name) in names.iter().enumerate() {
        take("value", name, &mut parameters.values[index])?;
        take("mean", name, &mut state.mean[index])?;
        take("square", name, &mut state.square[index])?;
        if let Some(average) = &mut state.average {
            take("average", name, &mut average[index])?;
        }
    }
    (state.epoch, state.step) = (header.epoch, header.step);
    Ok(())
}
