//! One member of the network and how it is trained: a dense layer, a gated recurrent unit over the hours, and a linear path beside it.
//!
//! The risk of hour n is `sigmoid(h_n · v + x_n · w + b)`: `x_n` the encoded features of hours 1 to n, `h_n` the state of a gated recurrent
//! unit (Cho et al. 2014) over a dense layer of them, as in "wide and deep" models (Cheng et al. 2016). The outcome is the target at every
//! hour (target replication, Lipton et al. 2016), later hours weighing more. Dropout draws one mask per patient for all hours (Gal,
//! Ghahramani 2016); now and then a patient's age, sex, height and weight are all hidden, so that the network knows patients about whom
//! nothing is known. Guarantees: the same seed gives the same weights. Must not: see a stay that it is tested on.

use std::path::Path;

use ndarray::Array2;

use super::HOURS;
use super::cohort::Features;
use super::encoding::{Encoding, INPUTS};
use crate::catalogue::TrainError;
use crate::nn::{Param, Parameters, Schedule, Tape, Var, fit, generator};
use crate::progress::Progress;

/// Units of the dense layer.
pub const DENSE_UNITS: usize = 32;
/// Units of the recurrent layer.
pub const RECURRENT_UNITS: usize = 24;
/// Passes over the training stays.
pub const EPOCHS: usize = 12;

/// Share of inputs that are dropped.
const INPUT_DROPOUT: f32 = 0.3;
/// Share of hidden units that are dropped.
const HIDDEN_DROPOUT: f32 = 0.3;
/// Share of patients about whom everything but measurements is hidden.
const PATIENT_DROPOUT: f32 = 0.15;
/// Penalty on the squares of the linear path's weights.
const LINEAR_PENALTY: f32 = 0.05;
/// Penalty on the squares of the dense layer's weights.
const DENSE_PENALTY: f32 = 0.003;
/// Log-odds of death among the stays, about 1 in 7: where training starts from.
const LOG_ODDS_START: f32 = -1.8;

/// Where the weights of a member are.
struct Member {
    dense: (Param, Param),
    from_inputs: (Param, Param),
    from_hidden: (Param, Param),
    out: (Param, Param),
    linear: Param,
}

impl Member {
    fn new(parameters: &mut Parameters, seed: u64) -> Self {
        const GATES: usize = 3 * RECURRENT_UNITS;
        let mut rng = generator(seed, 0);
        let dense = parameters.add_dense("dense", INPUTS, DENSE_UNITS, &mut rng);
        let from_inputs = parameters.add_dense("from_inputs", DENSE_UNITS, GATES, &mut rng);
        let from_hidden = parameters.add_dense("from_hidden", RECURRENT_UNITS, GATES, &mut rng);
        let out = parameters.add_dense("out", RECURRENT_UNITS, 1, &mut rng);
        parameters.get_mut(out.1).fill(LOG_ODDS_START);
        let linear = parameters.add("linear.weight", Array2::zeros((INPUTS, 1)));
        Self { dense, from_inputs, from_hidden, out, linear }
    }

    /// Log-odds of a batch, patients × hours. `inputs` are hours · patients × [`INPUTS`], hour by hour.
    fn logits(&self, tape: &mut Tape<'_>, inputs: Array2<f32>, patients: usize) -> Var {
        let hidden_mask = {
            let ones = tape.constant(Array2::ones((patients, DENSE_UNITS)));
            let mask = tape.dropout(ones, HIDDEN_DROPOUT);
            repeat(tape.value(mask))
        };
        let state_mask = {
            let ones = tape.constant(Array2::ones((patients, RECURRENT_UNITS)));
            tape.dropout(ones, HIDDEN_DROPOUT)
        };
        let inputs = tape.constant(inputs);
        let dense = tape.linear(inputs, self.dense.0, self.dense.1);
        let dense = tape.relu(dense);
        let hidden_mask = tape.constant(hidden_mask);
        let dense = tape.mul(dense, hidden_mask);
        let gates = tape.linear(dense, self.from_inputs.0, self.from_inputs.1);
        let linear = tape.param(self.linear);
        let beside = tape.matmul(inputs, linear);
        let mut state = tape.constant(Array2::zeros((patients, RECURRENT_UNITS)));
        let mut logits = Vec::with_capacity(HOURS);
        for hour in 0..HOURS {
            let rows = hour * patients..(hour + 1) * patients;
            let from_inputs = tape.rows(gates, rows.clone());
            let from_hidden = tape.linear(state, self.from_hidden.0, self.from_hidden.1);
            state = tape.gru_step(from_inputs, from_hidden, state);
            let dropped = tape.mul(state, state_mask);
            let deep = tape.linear(dropped, self.out.0, self.out.1);
            let wide = tape.rows(beside, rows);
            logits.push(tape.add(deep, wide));
        }
        tape.concat(&logits)
    }

    /// Sum of penalties on the squares of weights.
    fn penalty(&self, tape: &mut Tape<'_>) -> Var {
        let square = |tape: &mut Tape<'_>, param: Param, penalty: f32| {
            let weights = tape.param(param);
            let shape = tape.value(weights).raw_dim();
            let count = numbers(shape[0] * shape[1]);
            let zeros = tape.constant(Array2::zeros(shape));
            let mean = tape.mean_square(weights, zeros, None);
            tape.scale(mean, 0.5 * penalty * count)
        };
        let linear = square(tape, self.linear, LINEAR_PENALTY);
        let dense = square(tape, self.dense.0, DENSE_PENALTY);
        tape.add(linear, dense)
    }
}

/// Trains one member on the stays named by `stays`.
///
/// # Errors
/// [`TrainError`] of [`fit`].
pub(crate) fn train(
    features: &Features,
    encoding: &Encoding,
    stays: &[usize],
    seed: u64,
    epochs: usize,
    checkpoint: Option<&Path>,
    progress: &dyn Progress,
) -> Result<Parameters, TrainError> {
    let mut parameters = Parameters::new();
    let member = Member::new(&mut parameters, seed);
    let schedule = Schedule {
        epochs,
        batch: 64,
        learning_rate: 2e-3,
        warmup_share: 0.05,
        weight_decay: 0.05,
        clip_norm: 1.0,
        seed,
        average: Some(0.995),
    };
    let order = |_: usize, rng: &mut rand_chacha::ChaCha8Rng| {
        let mut order = stays.to_vec();
        rand::seq::SliceRandom::shuffle(order.as_mut_slice(), rng);
        order
    };
    let loss = |tape: &mut Tape<'_>, batch: &[usize]| {
        let inputs = batch_inputs(tape, features, encoding, batch);
        let logits = member.logits(tape, inputs, batch.len());
        let shape = (batch.len(), HOURS);
        let targets = Array2::from_shape_fn(shape, |(row, _)| f32::from(u8::from(features.died[batch[row]])));
        let weights = Array2::from_shape_fn(shape, |(_, hour)| hour_weight(hour));
        let fit = tape.binary_cross_entropy(logits, &targets, Some(&weights));
        let penalty = member.penalty(tape);
        tape.add(fit, penalty)
    };
    fit(&mut parameters, &schedule, checkpoint, progress, order, loss, |_, _, _| {})?;
    Ok(parameters)
}

/// How much an hour, from 0, counts in the loss: with the square of how much of the stay it has seen.
fn hour_weight(hour: usize) -> f32 {
    (numbers(hour + 1) / numbers(HOURS)).powi(2)
}

/// Encoded inputs of a batch, hour by hour, with dropout; hours · patients × [`INPUTS`].
fn batch_inputs(tape: &mut Tape<'_>, features: &Features, encoding: &Encoding, batch: &[usize]) -> Array2<f32> {
    let ones = tape.constant(Array2::ones((batch.len(), INPUTS)));
    let kept = tape.dropout(ones, INPUT_DROPOUT);
    let ones = tape.constant(Array2::ones((batch.len(), 1)));
    let known = tape.dropout(ones, PATIENT_DROPOUT);
    let (kept, known) = (tape.value(kept), tape.value(known));
    let mut inputs = Array2::zeros((HOURS * batch.len(), INPUTS));
    for (place, mut row) in inputs.rows_mut().into_iter().enumerate() {
        let (hour, patient) = (place / batch.len(), place % batch.len());
        let out = row.as_slice_mut().expect("rows of a row-major matrix are contiguous");
        encoding.encode(features.row(batch[patient], hour), out);
        if known[[patient, 0]] == 0.0 {
            Encoding::forget_patient(out);
        }
        out.iter_mut().zip(kept.row(patient)).for_each(|(input, kept)| *input *= kept);
    }
    inputs
}

/// A mask per patient, once for every hour.
fn repeat(mask: &Array2<f32>) -> Array2<f32> {
    let (patients, columns) = mask.dim();
    Array2::from_shape_fn((HOURS * patients, columns), |(row, column)| mask[[row % patients, column]])
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
const fn numbers(count: usize) -> f32 {
    count as f32
}
