//! The beat model in the catalogue: trained on the DS1 patients, tested on the DS2 patients.

use std::path::Path;

use super::evaluate::evaluate;
use super::model::BEAT_MODEL;
use super::train::{given, train, train_table};
use crate::catalogue::{Description, EvaluateOptions, TrainError, TrainOptions, Trainable};
use crate::data::mitdb;
use crate::measure::Evaluation;
use crate::model_file::ModelFile;
use crate::progress::Progress;

/// Trains and judges `ecg-beats`.
#[derive(Clone, Copy, Debug)]
pub struct EcgBeats;

impl Trainable for EcgBeats {
    fn name(&self) -> &'static str {
        BEAT_MODEL
    }

    fn describe(&self) -> Description {
        super::description::DESCRIPTION
    }

    fn train(&self, data: &Path, options: &TrainOptions, progress: &dyn Progress) -> Result<ModelFile, TrainError> {
        let (beats, source) = mitdb::read_beats(&train_table(data))?;
        train(beats, source, options, progress)
    }

    fn evaluate(
        &self,
        model: Option<&ModelFile>,
        data: &Path,
        options: &EvaluateOptions,
        progress: &dyn Progress,
    ) -> Result<Evaluation, TrainError> {
        if options.cross_validate {
            if !data.join(mitdb::TEST_FILE).is_file() {
                let (train, test) = (mitdb::TRAIN_FILE, mitdb::TEST_FILE);
                let reason = format!("{} is not a folder with {train} and {test}", data.display());
                return Err(TrainError::Unsuitable { reason });
            }
            let (seed, epochs, checkpoint) = (options.seed, options.epochs, options.checkpoint.clone());
            let trained = self.train(data, &TrainOptions { seed, checkpoint, epochs }, progress)?;
            return evaluate(given(Some(&trained))?, data, options, progress);
        }
        evaluate(given(model)?, data, options, progress)
    }
}
