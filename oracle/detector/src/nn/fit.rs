//! The training loop: AdamW (Loshchilov, Hutter 2019), linear warm-up and cosine decay, clipped gradients, averaged weights.
//!
//! Guarantees: the same seed on the same machine gives the same weights, bit for bit; training that goes on from a checkpoint ends as
//! training that never stopped. Every epoch draws from its own generator, made of seed and epoch, so nothing else needs to be kept.

use std::path::Path;

use ndarray::{Array2, Zip};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::parameters::Parameters;
use super::tape::{Tape, Var, count};
use crate::catalogue::TrainError;
use crate::progress::Progress;

mod checkpoint;

/// How to train.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Passes over the data.
    pub epochs: usize,
    /// Rows per step.
    pub batch: usize,
    /// Highest learning rate, reached after the warm-up, then falling to zero along half a cosine.
    pub learning_rate: f32,
    /// Share of all steps in which the rate rises, 0 to 1.
    pub warmup_share: f32,
    /// Decoupled weight decay; biases and other rows of one are left alone.
    pub weight_decay: f32,
    /// Longest gradient over all weights; longer ones are scaled down to it.
    pub clip_norm: f32,
    /// Seed of every random choice.
    pub seed: u64,
    /// How slowly the averaged weights follow, 0 to 1, such as 0.999 (Polyak averaging); the average is what training leaves. None: the
    /// last weights.
    pub average: Option<f32>,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            epochs: 20,
            batch: 256,
            learning_rate: 1e-3,
            warmup_share: 0.1,
            weight_decay: 1e-2,
            clip_norm: 1.0,
            seed: 1,
            average: None,
        }
    }
}

/// Where an optimiser stands.
struct State {
    epoch: usize,
    step: usize,
    mean: Vec<Array2<f32>>,
    square: Vec<Array2<f32>>,
    average: Option<Vec<Array2<f32>>>,
}

impl State {
    fn new(parameters: &Parameters, schedule: &Schedule) -> Self {
        let zeros = || parameters.values.iter().map(|value| Array2::zeros(value.raw_dim())).collect::<Vec<_>>();
        let average = schedule.average.map(|_| parameters.values.clone());
        Self { epoch: 0, step: 0, mean: zeros(), square: zeros(), average }
    }
}

/// The generator of an epoch (or of anything else that is numbered) under a seed.
pub fn generator(seed: u64, number: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(number);
    rng
}

/// Trains the parameters in place.
///
/// `order` gives the rows of an epoch in the order in which they are taken, any number of them, repeated or left out as sampling asks;
/// `loss` builds the loss of a batch of rows; `after_epoch` sees the weights (averaged ones when there are) and the mean loss. With
/// `checkpoint` (a file) the state is saved after every epoch, and training goes on from a file of the same run that is found there.
///
/// # Errors
/// [`TrainError::Diverged`] when a loss is not finite; [`TrainError::Checkpoint`] and [`TrainError::File`] for checkpoints.
pub fn fit(
    parameters: &mut Parameters,
    schedule: &Schedule,
    checkpoint: Option<&Path>,
    progress: &dyn Progress,
    mut order: impl FnMut(usize, &mut ChaCha8Rng) -> Vec<usize>,
    mut loss: impl FnMut(&mut Tape<'_>, &[usize]) -> Var,
    mut after_epoch: impl FnMut(usize, &Parameters, f32),
) -> Result<(), TrainError> {
    let mut state = State::new(parameters, schedule);
    if let Some(path) = checkpoint.filter(|path| path.exists()) {
        checkpoint::load(path, schedule, parameters, &mut state)?;
    }
    progress.start("training, epochs", schedule.epochs as u64);
    for done in 0..state.epoch.min(schedule.epochs) {
        progress.step(&format!("epoch {} from the checkpoint", done + 1));
    }
    for epoch in state.epoch..schedule.epochs {
        let mut rng = generator(schedule.seed, epoch as u64);
        let rows = order(epoch, &mut rng);
        let steps = rows.len().div_ceil(schedule.batch);
        let mut total = 0.0;
        for (number, batch) in rows.chunks(schedule.batch).enumerate() {
            let step_rng = generator(schedule.seed ^ 0x5045_4741_5445, state.step as u64);
            let mut tape = Tape::new(parameters, true, step_rng);
            let value = loss(&mut tape, batch);
            let batch_loss = tape.value(value)[[0, 0]];
            if !batch_loss.is_finite() {
                return Err(TrainError::Diverged { epoch });
            }
            total += batch_loss;
            let gradients = tape.backward(value);
            let at = (count(epoch) + count(number) / count(steps.max(1))) / count(schedule.epochs);
            update(parameters, gradients.0, schedule, &mut state, at);
        }
        state.epoch = epoch + 1;
        if let Some(path) = checkpoint {
            checkpoint::save(path, schedule, parameters, &state)?;
        }
        let mean_loss = total / count(steps.max(1));
        let averaged = averaged(parameters, &state);
        after_epoch(epoch, averaged.as_ref().unwrap_or(parameters), mean_loss);
        progress.step(&format!("loss {mean_loss:.4}"));
    }
    progress.finish();
    if let Some(averaged) = averaged(parameters, &state) {
        *parameters = averaged;
    }
    Ok(())
}

fn averaged(parameters: &Parameters, state: &State) -> Option<Parameters> {
    let values = state.average.clone()?;
    Some(Parameters { names: parameters.names.clone(), values })
}

fn rate(schedule: &Schedule, at: f32) -> f32 {
    if at < schedule.warmup_share {
        return schedule.learning_rate * (at / schedule.warmup_share).max(0.01);
    }
    let progress = (at - schedule.warmup_share) / (1.0 - schedule.warmup_share).max(f32::EPSILON);
    schedule.learning_rate * 0.5 * (1.0 + (std::f32::consts::PI * progress).cos())
}

fn update(
    parameters: &mut Parameters,
    gradients: Vec<Option<Array2<f32>>>,
    schedule: &Schedule,
    state: &mut State,
    at: f32,
) {
    const MEAN_DECAY: f32 = 0.9;
    const SQUARE_DECAY: f32 = 0.999;
    state.step += 1;
    let squares: f32 = gradients.iter().flatten().map(|g| g.iter().map(|v| v * v).sum::<f32>()).sum();
    let clip = (schedule.clip_norm / squares.sqrt().max(1e-12)).min(1.0);
    let rate = rate(schedule, at);
    let power = i32::try_from(state.step).unwrap_or(i32::MAX);
    let (mean_unbias, square_unbias) = (1.0 / (1.0 - MEAN_DECAY.powi(power)), 1.0 / (1.0 - SQUARE_DECAY.powi(power)));
    for (index, gradient) in gradients.into_iter().enumerate() {
        let Some(gradient) = gradient else { continue };
        let value = &mut parameters.values[index];
        let decay = if value.nrows() == 1 { 1.0 } else { 1.0 - rate * schedule.weight_decay };
        let moments = (&mut state.mean[index], &mut state.square[index]);
        Zip::from(value).and(moments.0).and(moments.1).and(&gradient).for_each(|value, mean, square, gradient| {
            let gradient = gradient * clip;
            *mean = MEAN_DECAY * *mean + (1.0 - MEAN_DECAY) * gradient;
            *square = SQUARE_DECAY * *square + (1.0 - SQUARE_DECAY) * gradient * gradient;
            *value = *value * decay - rate * *mean * mean_unbias / ((*square * square_unbias).sqrt() + 1e-8);
        });
    }
    if let (Some(average), Some(decay)) = (&mut state.average, schedule.average) {
        // Early on the average follows fast, so that the random beginning is forgotten.
        let step = count(state.step.min(1 << 20));
        let decay = decay.min((1.0 + step) / (10.0 + step));
        for (average, value) in average.iter_mut().zip(&parameters.values) {
            average.zip_mut_with(value, |average, value| *average = decay * *average + (1.0 - decay) * value);
        }
    }
}
