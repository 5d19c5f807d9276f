//! A trained traffic network with what turns its outputs into a judgement: classes, calibration, operating point.
//!
//! Guarantees: a file that was not made for these columns is refused; probabilities sum to 1; the operating point and the temperature were
//! fitted on rows that did not train the network which gave them. Must not: train, or read data.

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use super::autoencoder_bilstm::Shape;
use super::class_weights;
use super::encoding::{Column, Encoding};
use super::inference::Inference;
use super::training::EDGES;
use crate::measure::Temperature;
use crate::model_file::{ModelFile, ModelFileError};
use crate::nn::kernel;

/// Class 0 of every traffic model: nothing wrong.
pub const BENIGN: usize = 0;

/// When a flow is called an attack.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The most probable class.
    MostProbable,
    /// An attack when the threshold is passed that this share of held-out benign flows passes; which attack is the most probable one.
    BenignShare(f32),
    /// The most probable class after each class's probability was weighted; the weights are the best on held-out flows for the macro-F1 plus
    /// this many times the accuracy. Rare classes are named more often so.
    Weighted(f32),
}

/// Calibration and operating point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judgement {
    /// Divides the logits before the softmax.
    #[serde(serialize_with = "crate::exact::serialize")]
    pub temperature: f32,
    /// Probability of an attack from which on a flow is called one; absent: the most probable class decides.
    #[serde(serialize_with = "crate::exact::serialize")]
    pub attack_threshold: Option<f32>,
    /// What each class's probability is multiplied by when the most probable class decides; empty: none is preferred. Probabilities that
    /// are told stay as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty", serialize_with = "crate::exact::serialize")]
    pub class_weights: Vec<f32>,
}

/// A column of the input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedColumn {
    /// Its name in the set.
    pub name: String,
    /// What it holds.
    pub holds: Column,
}

/// What a traffic model's file says in its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Sizes of the network.
    pub shape: Shape,
    /// Columns of the input, in order.
    pub columns: Vec<NamedColumn>,
    /// Calibration and operating point.
    pub judgement: Judgement,
}

/// A traffic model that can judge.
#[derive(Clone, Debug)]
pub struct TrafficModel {
    /// Names of the classes, benign first.
    pub classes: Vec<String>,
    /// Its settings.
    pub settings: Settings,
    /// The network.
    pub inference: Inference,
}

impl Judgement {
    /// Nothing is known of how good the outputs are.
    pub const UNCALIBRATED: Self = Self { temperature: 1.0, attack_threshold: None, class_weights: Vec::new() };

    /// Fits the temperature, and what the rule needs, on held-out logits (rows × classes) with their true classes.
    #[must_use]
    pub fn fit(logits: ArrayView2<'_, f32>, truth: &[usize], rule: Rule) -> Self {
        let judgement = Self { temperature: Temperature::fit(logits, truth).0, ..Self::UNCALIBRATED };
        match rule {
            Rule::MostProbable => judgement,
            Rule::BenignShare(share) => {
                Self { attack_threshold: judgement.threshold(logits, truth, share), ..judgement }
            }
            Rule::Weighted(accuracy) => {
                let class_weights = class_weights::fit(judgement.probabilities(logits).view(), truth, accuracy);
                Self { class_weights, ..judgement }
            }
        }
    }

    /// The probability of an attack that this share of the benign ones among held-out flows reaches; none without a benign flow.
    #[must_use]
    pub fn threshold(&self, logits: ArrayView2<'_, f32>, truth: &[usize], share: f32) -> Option<f32> {
        let probabilities = self.probabilities(logits);
        let benign = probabilities.rows().into_iter().zip(truth).filter(|(_, class)| **class == BENIGN);
        let mut scores: Vec<f32> = benign.map(|(row, _)| 1.0 - row[BENIGN]).collect();
        scores.sort_by(f32::total_cmp);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank"
        )]
        let allowed = (scores.len() as f32 * share.clamp(0.0, 1.0)) as usize;
        // The highest score that must not alarm; the smallest step above it does.
        scores.len().checked_sub(allowed + 1).map(|rank| scores[rank].next_up())
    }

    /// Probabilities of logits, rows × classes.
    #[must_use]
    pub fn probabilities(&self, logits: ArrayView2<'_, f32>) -> Array2<f32> {
        let mut out = logits.as_standard_layout().into_owned();
        for mut row in out.rows_mut() {
            self.calibrate(row.as_slice_mut().expect("standard layout has its rows in one piece"));
        }
        out
    }

    /// Turns the logits of one flow into probabilities, in place, without allocating.
    pub fn calibrate(&self, logits: &mut [f32]) {
        logits.iter_mut().for_each(|logit| *logit /= self.temperature);
        let classes = logits.len();
        kernel::softmax(logits, classes);
    }

    /// The class that is decided for these probabilities.
    #[must_use]
    pub fn decide(&self, probabilities: &[f32]) -> usize {
        let weighted = |class: usize| probabilities[class] * self.class_weights.get(class).unwrap_or(&1.0);
        let best = |classes: std::ops::Range<usize>| {
            classes.max_by(|a, b| weighted(*a).total_cmp(&weighted(*b))).unwrap_or(BENIGN)
        };
        match self.attack_threshold {
            None => best(0..probabilities.len()),
            Some(threshold) if 1.0 - probabilities[BENIGN] >= threshold => best(1..probabilities.len()),
            Some(_) => BENIGN,
        }
    }
}

impl TrafficModel {
    /// Reads a model file.
    ///
    /// # Errors
    /// [`ModelFileError`]: the settings or a matrix are not those of a traffic network.
    pub fn read(file: &ModelFile) -> Result<Self, ModelFileError> {
        let foreign = |reason: String| ModelFileError::Foreign { reason };
        let settings: Settings =
            serde_json::from_value(file.metadata.settings.clone()).map_err(|error| foreign(error.to_string()))?;
        let judgement = &settings.judgement;
        let weights = &judgement.class_weights;
        let sound = judgement.temperature > 0.0
            && judgement.temperature.is_finite()
            && weights.iter().all(|weight| *weight > 0.0 && weight.is_finite())
            && (weights.is_empty() || weights.len() == settings.shape.classes);
        if !sound || file.metadata.classes.len() != settings.shape.classes || settings.shape.classes < 2 {
            return Err(foreign("calibration or classes are not those of a traffic network".to_owned()));
        }
        let edges = file.tensors().find(|(name, _)| *name == EDGES).map(|(_, matrix)| matrix);
        let edges = edges.ok_or(ModelFileError::Tensor {
            name: EDGES.to_owned(),
            rows: settings.columns.len(),
            columns: settings.columns.len(),
        })?;
        let columns = settings.columns.iter().map(|column| column.holds).collect();
        let encoding = Encoding::from_parts(columns, edges).map_err(|error| foreign(error.to_string()))?;
        let inference = Inference::read(file, settings.shape, encoding)?;
        Ok(Self { classes: file.metadata.classes.clone(), settings, inference })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn settings_are_written_again_as_they_were_read_whatever_precision_json_numbers_have() {
        for file in crate::models::names().map(|name| crate::models::read(name).unwrap().unwrap()) {
            if let Ok(settings) = serde_json::from_value::<Settings>(file.metadata.settings.clone()) {
                let again = serde_json::to_value(settings).unwrap().to_string();
                assert_eq!(again, file.metadata.settings.to_string(), "{}", file.metadata.name);
            }
        }
    }

    #[test]
    fn a_benign_share_of_zero_alarms_for_no_held_out_benign_flow() {
        let logits = array![[2.0, 0.0], [1.0, 0.0], [0.0, 0.5], [0.0, 3.0], [0.0, 0.4]];
        let truth = [0, 0, 0, 1, 1];
        let none = Judgement::fit(logits.view(), &truth, Rule::BenignShare(0.0));
        let decided: Vec<usize> = none
            .probabilities(logits.view())
            .rows()
            .into_iter()
            .map(|row| none.decide(row.as_slice().unwrap()))
            .collect();
        assert_eq!(decided, [0, 0, 0, 1, 0]);
        let third = Judgement::fit(logits.view(), &truth, Rule::BenignShare(0.34));
        let row = third.probabilities(array![[0.0, 0.45]].view());
        assert_eq!(third.decide(row.row(0).as_slice().unwrap()), 1);
    }

    #[test]
    fn the_most_probable_class_decides_without_a_threshold() {
        let plain = Judgement { temperature: 2.0, ..Judgement::UNCALIBRATED };
        let probabilities = plain.probabilities(array![[0.0, 2.0, 1.0]].view());
        assert!((probabilities.sum() - 1.0).abs() < 1e-6);
        assert_eq!(plain.decide(probabilities.row(0).as_slice().unwrap()), 1);
    }

    #[test]
    fn a_weighted_class_is_decided_and_the_probabilities_stay() {
        let logits = array![[1.0, 0.0], [0.9, 0.0], [3.0, 0.0], [4.0, 0.0], [3.5, 0.0], [5.0, 0.0]];
        let truth = [1, 1, 0, 0, 0, 0];
        let plain = Judgement::fit(logits.view(), &truth, Rule::MostProbable);
        let weighted = Judgement::fit(logits.view(), &truth, Rule::Weighted(1.0));
        assert_eq!(plain.probabilities(logits.view()), weighted.probabilities(logits.view()));
        let decided = |judgement: &Judgement| -> Vec<usize> {
            let probabilities = judgement.probabilities(logits.view());
            probabilities.rows().into_iter().map(|row| judgement.decide(row.as_slice().unwrap())).collect()
        };
        assert_eq!((decided(&plain), decided(&weighted)), (vec![0; 6], truth.to_vec()));
    }
}
