//! How a traffic network is tried out: cross-validation by groups, and calibration on rows that did not train.
//!
//! Guarantees: every judged row is judged by a network that saw neither its label nor that of any row of its group; the temperature and the
//! threshold that a row is judged with were fitted without its fold. Must not: choose a recipe by what the test says.

use std::path::{Path, PathBuf};

use ndarray::{Array2, Axis};

use super::model::{Judgement, Rule, TrafficModel};
use super::training::{Fitted, LabelledFlows, Recipe, Run, logits};
use crate::catalogue::TrainError;
use crate::data::folds::grouped_stratified_folds;
use crate::measure::Predictions;
use crate::model_file::Metadata;
use crate::progress::Progress;
use pulsegate_rules::registry::DetectorKind;

use super::model::{NamedColumn, Settings};

/// Folds of every cross-validation.
pub const FOLDS: u8 = 5;

/// What is the same for every training of one experiment.
pub struct Experiment<'a> {
    /// Name for checkpoints: lower case, digits and hyphens.
    pub name: &'a str,
    /// Network and training.
    pub recipe: Recipe,
    /// When a flow is called an attack.
    pub rule: Rule,
    /// Seed of folds and networks.
    pub seed: u64,
    /// Passes over the flows instead of the recipe's.
    pub epochs: Option<usize>,
    /// Folder for checkpoints.
    pub checkpoint: Option<&'a Path>,
    /// Who is told.
    pub progress: &'a dyn Progress,
}

impl Experiment<'_> {
    fn train(&self, flows: &LabelledFlows, rows: &[usize], part: &str) -> Result<Fitted, TrainError> {
        let checkpoint: Option<PathBuf> =
            self.checkpoint.map(|folder| folder.join(format!("{}-{part}.safetensors", self.name)));
        let run =
            Run { seed: self.seed, epochs: self.epochs, checkpoint: checkpoint.as_deref(), progress: self.progress };
        Fitted::train(&self.recipe, flows, rows, &run)
    }

    /// The fold of every flow.
    ///
    /// # Errors
    /// [`TrainError::Unsuitable`] with fewer groups than folds.
    pub fn folds(&self, flows: &LabelledFlows) -> Result<Vec<u8>, TrainError> {
        grouped_stratified_folds(&flows.truth, &flows.group, FOLDS, self.seed)
    }

    /// Logits of every flow by the network that was trained on the other folds, flows × classes.
    ///
    /// # Errors
    /// [`TrainError`].
    pub fn out_of_fold(&self, flows: &LabelledFlows, folds: &[u8]) -> Result<Array2<f32>, TrainError> {
        let mut all = Array2::zeros((flows.len(), flows.classes.len()));
        for fold in 0..FOLDS {
            let (training, tested) = split(folds, fold);
            let fitted = self.train(flows, &training, &format!("fold-{fold}"))?;
            let model = self.model(&fitted, flows, Judgement::UNCALIBRATED)?;
            let judged = logits(&model.inference, flows, &tested);
            for (row, judged) in tested.iter().zip(judged.rows()) {
                all.row_mut(*row).assign(&judged);
            }
        }
        Ok(all)
    }

    /// Trains for use: first without a fifth of the groups, on which calibration and threshold are fitted, then on all named rows.
    ///
    /// # Errors
    /// [`TrainError`].
    pub fn train_for_use(&self, flows: &LabelledFlows) -> Result<(Fitted, Judgement), TrainError> {
        let folds = self.folds(flows)?;
        let (training, held_out) = split(&folds, 0);
        // The same rows and the same seed as the first fold of a cross-validation, so a checkpoint of it will do.
        let partly = self.train(flows, &training, "fold-0")?;
        let model = self.model(&partly, flows, Judgement::UNCALIBRATED)?;
        let judged = logits(&model.inference, flows, &held_out);
        let truth: Vec<usize> = held_out.iter().map(|row| flows.truth[*row]).collect();
        let judgement = Judgement::fit(judged.view(), &truth, self.rule);
        let rows: Vec<usize> = (0..flows.len()).collect();
        Ok((self.train(flows, &rows, "all")?, judgement))
    }

    /// The metadata of a trained network.
    #[must_use]
    pub fn metadata(&self, fitted: &Fitted, flows: &LabelledFlows, judgement: Judgement) -> Metadata {
        let named = flows.names.iter().zip(&flows.columns);
        let columns = named.map(|(name, holds)| NamedColumn { name: name.clone(), holds: *holds }).collect();
        let settings = Settings { shape: fitted.shape, columns, judgement };
        Metadata {
            name: self.name.to_owned(),
            kind: DetectorKind::Traffic,
            classes: flows.classes.clone(),
            settings: serde_json::to_value(settings).expect("settings are plain JSON"),
            data: flows.sources.clone(),
            seed: self.seed,
            metrics_sha256: None,
        }
    }

    /// The trained network as one that judges.
    ///
    /// # Errors
    /// [`TrainError::Model`] when the weights are of no use.
    pub fn model(
        &self,
        fitted: &Fitted,
        flows: &LabelledFlows,
        judgement: Judgement,
    ) -> Result<TrafficModel, TrainError> {
        let file = fitted.to_file(self.metadata(fitted, flows, judgement));
        TrafficModel::read(&file).map_err(|error| TrainError::Model { reason: error.to_string() })
    }
}

/// The rows outside and inside a fold.
#[must_use]
pub fn split(folds: &[u8], fold: u8) -> (Vec<usize>, Vec<usize>) {
    (0..folds.len()).partition(|row| folds[*row] != fold)
}

/// Turns out-of-fold logits into predictions: every fold is calibrated and decided by what was fitted on the other folds.
#[must_use]
pub fn cross_fitted(name: &str, logits: &Array2<f32>, truth: &[usize], folds: &[u8], rule: Rule) -> Predictions {
    let mut probabilities = Array2::zeros(logits.raw_dim());
    let mut decided = vec![0; truth.len()];
    for fold in 0..FOLDS {
        let (others, rows) = split(folds, fold);
        let others_truth: Vec<usize> = others.iter().map(|row| truth[*row]).collect();
        let judgement = Judgement::fit(logits.select(Axis(0), &others).view(), &others_truth, rule);
        let judged = judgement.probabilities(logits.select(Axis(0), &rows).view());
        for (row, judged) in rows.iter().zip(judged.rows()) {
            probabilities.row_mut(*row).assign(&judged);
            decided[*row] = judgement.decide(judged.as_slice().expect("standard layout"));
        }
    }
    Predictions { name: name.to_owned(), row: (0..truth.len()).collect(), probabilities, decided }
}

/// Predictions of a model for the named rows.
#[must_use]
pub fn predict(name: &str, model: &TrafficModel, flows: &LabelledFlows, rows: &[usize]) -> Predictions {
    let judgement = &model.settings.judgement;
    let probabilities = judgement.probabilities(logits(&model.inference, flows, rows).view());
    let decided = probabilities
        .rows()
        .into_iter()
        .map(|row| judgement.decide(row.as_slice().expect("standard layout")))
        .collect();
    Predictions { name: name.to_owned(), row: rows.to_vec(), probabilities, decided }
}
