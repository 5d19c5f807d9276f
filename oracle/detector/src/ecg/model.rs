//! A trained beat model: its network, how its outputs become probabilities, and its decision.
//!
//! Guarantees: a file of another model, with missing tensors or settings out of range is refused with a reason. Must not: decide by anything
//! that was chosen on test records.

use serde::{Deserialize, Serialize};

use super::context::{BeatInput, CONTEXT};
use super::net::{BEAT_CLASSES, BLOCK, BeatNet, MEMBERS_MAX, Scratch};
use crate::catalogue::TrainError;
use crate::model_file::ModelFile;

/// Name in the catalogue and of the model's file.
pub const BEAT_MODEL: &str = "ecg-beats";
/// Place of each class in [`BEAT_CLASSES`].
pub(super) const VENTRICULAR: usize = 2;
pub(super) const SUPRAVENTRICULAR: usize = 1;

/// How logits become probabilities and a decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BeatSettings {
    /// How many networks are averaged.
    pub(super) members: usize,
    /// Added to the logits: training draws the classes evenly, patients do not.
    #[serde(serialize_with = "crate::exact::serialize")]
    pub(super) shift: [f32; 5],
    /// Divides them then.
    #[serde(serialize_with = "crate::exact::serialize")]
    pub(super) temperature: f32,
    /// The class of the largest probability times factor is decided.
    #[serde(serialize_with = "crate::exact::serialize")]
    pub(super) factors: [f32; 5],
    /// What the left-out training records gave when the above was chosen; for the reader alone.
    pub(super) left_out: LeftOut,
}

/// Figures of S and V over the training records, each judged by a network that had not seen it; shares from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LeftOut {
    pub(super) supraventricular_sensitivity: f64,
    pub(super) supraventricular_precision: f64,
    pub(super) ventricular_sensitivity: f64,
    pub(super) ventricular_precision: f64,
}

/// What the model says of a beat.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BeatJudgement {
    /// Calibrated probabilities in the order of [`BEAT_CLASSES`].
    pub probabilities: [f32; 5],
    /// The decided class, index into [`BEAT_CLASSES`].
    pub class: usize,
}

/// A trained model, ready to judge.
#[derive(Clone, Debug)]
pub struct BeatModel {
    net: BeatNet,
    settings: BeatSettings,
    scratch: Scratch,
}

impl BeatSettings {
    /// Probabilities and decision for the logits of a beat.
    pub(super) fn judge(&self, logits: &[f32; 5]) -> BeatJudgement {
        let mut probabilities: [f32; 5] =
            std::array::from_fn(|class| (logits[class] + self.shift[class]) / self.temperature);
        crate::nn::kernel::softmax(&mut probabilities, BEAT_CLASSES.len());
        let worth = |class: usize| probabilities[class] * self.factors[class];
        let class = (1..5).fold(0, |best, class| if worth(class) > worth(best) { class } else { best });
        BeatJudgement { probabilities, class }
    }

    fn is_usable(&self) -> bool {
        let finite = self.shift.iter().chain(&self.factors).all(|value| value.is_finite());
        finite && self.temperature > 0.0 && self.temperature.is_finite() && (1..=MEMBERS_MAX).contains(&self.members)
    }
}

impl BeatModel {
    /// The model of a file.
    ///
    /// # Errors
    /// [`TrainError::Model`] when the file is of another model, lacks a tensor or has unusable settings.
    pub fn read(file: &ModelFile) -> Result<Self, TrainError> {
        let refuse = |reason: String| TrainError::Model { reason };
        if file.metadata.name != BEAT_MODEL || file.metadata.classes != BEAT_CLASSES {
            return Err(refuse(format!("it is {:?}, not {BEAT_MODEL:?}", file.metadata.name)));
        }
        let settings: BeatSettings =
            serde_json::from_value(file.metadata.settings.clone()).map_err(|error| refuse(error.to_string()))?;
        if !settings.is_usable() {
            return Err(refuse("its settings are out of range".to_owned()));
        }
        let net = BeatNet::read(file, settings.members).map_err(|error| refuse(error.to_string()))?;
        Ok(Self::new(net, settings))
    }

    pub(super) fn new(net: BeatNet, settings: BeatSettings) -> Self {
        let scratch = net.scratch();
        Self { net, settings, scratch }
    }

    /// Mean over the training beats of each number of [`super::CONTEXT_NAMES`].
    #[must_use]
    pub const fn typical_context(&self) -> &[f32; CONTEXT] {
        &self.net.scaler.mean
    }

    /// Judges one beat, without allocating.
    pub fn judge(&mut self, input: &BeatInput) -> BeatJudgement {
        let mut logits = [[0.0; BEAT_CLASSES.len()]];
        self.net.logits(std::slice::from_ref(input), &mut self.scratch, &mut logits);
        self.settings.judge(&logits[0])
    }

    /// Judges beats of any patients, without allocating; each gets the very judgement that [`Self::judge`] gives it. Beats and room for
    /// judgements are matched in order.
    pub fn judge_all(&mut self, inputs: &[BeatInput], judgements: &mut [BeatJudgement]) {
        let mut logits = [[0.0; BEAT_CLASSES.len()]; BLOCK];
        for (inputs, judgements) in inputs.chunks(BLOCK).zip(judgements.chunks_mut(BLOCK)) {
            self.net.logits(inputs, &mut self.scratch, &mut logits);
            for (judgement, logits) in judgements.iter_mut().zip(&logits) {
                *judgement = self.settings.judge(logits);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_written_again_as_they_were_read_whatever_precision_json_numbers_have() {
        let file = crate::models::read("ecg-beats").unwrap().unwrap();
        let settings: BeatSettings = serde_json::from_value(file.metadata.settings.clone()).unwrap();
        assert_eq!(serde_json::to_value(settings).unwrap().to_string(), file.metadata.settings.to_string());
    }
}
