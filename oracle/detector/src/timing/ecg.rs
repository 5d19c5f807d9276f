//! The beat model with beats of many patients, as they come described from [`BeatContext`].

use ndarray::Array2;
use rand::Rng;

use super::{BATCH, OUTPUTS, SEED, Workload};
use crate::catalogue::TrainError;
use crate::ecg::{BeatContext, BeatInput, BeatJudgement, BeatModel, CONTEXT, WINDOW, WINDOW_R};
use crate::model_file::{ModelFile, ModelFileError};
use crate::nn::generator;

struct Beats {
    model: BeatModel,
    beats: Vec<BeatInput>,
    judgements: [BeatJudgement; BATCH],
    next: usize,
}

/// Sets the beat model up.
pub(super) fn workload(file: &ModelFile) -> Result<Box<dyn Workload>, ModelFileError> {
    let foreign = |error: TrainError| ModelFileError::Foreign { reason: error.to_string() };
    let model = BeatModel::read(file).map_err(foreign)?;
    let mut rng = generator(SEED, 0);
    let mut context = BeatContext::new();
    let mut beat = || {
        let (height, width) = (rng.gen_range(0.6..1.4_f32), rng.gen_range(3.0..9.0_f32));
        #[expect(clippy::cast_precision_loss, reason = "a window is short")]
        let window: [f32; WINDOW] = std::array::from_fn(|at| {
            let away = (at as f32 - WINDOW_R as f32) / width;
            height * (-away * away).exp() + rng.gen_range(-0.05..0.05)
        });
        context.observe(&window, Some(rng.gen_range(0.5..1.1))).complete(Some(rng.gen_range(0.5..1.1)))
    };
    let beats = (0..BATCH).map(|_| beat()).collect();
    Ok(Box::new(Beats { model, beats, judgements: [BeatJudgement::default(); BATCH], next: 0 }))
}

impl Workload for Beats {
    fn unit(&self) -> &'static str {
        "beats"
    }

    fn judge(&mut self, batch: usize) {
        let first = self.next % BATCH;
        self.next += batch;
        let which = if batch == 1 { first..first + 1 } else { 0..BATCH };
        self.model.judge_all(&self.beats[which.clone()], &mut self.judgements[which]);
    }

    fn exchange(&mut self) -> Vec<(&'static str, Array2<f32>)> {
        self.judge(BATCH);
        let signal: Vec<f32> = self.beats.iter().flat_map(|beat| beat.signal).collect();
        let context: Vec<f32> = self.beats.iter().flat_map(|beat| beat.context).collect();
        let outputs: Vec<f32> = self.judgements.iter().flat_map(|judgement| judgement.probabilities).collect();
        let rows = |values: Vec<f32>| {
            Array2::from_shape_vec((BATCH, values.len() / BATCH), values).expect("as many numbers for every beat")
        };
        debug_assert_eq!(context.len(), BATCH * CONTEXT);
        vec![("signal", rows(signal)), ("context", rows(context)), (OUTPUTS, rows(outputs))]
    }
}
