//! The beat network: three convolutions over the beat's window and its difference from the patient's template, joined with the context.
//!
//! Several members of the same shape, trained from different seeds, are averaged over their logits. Guarantees: inference allocates nothing;
//! the same input gives the same output, alone or among others. Must not: see a beat that [`super::context`] has not described.

use ndarray::Array2;
use rand_chacha::ChaCha8Rng;

use super::context::{BeatInput, CHANNELS, CONTEXT, WINDOW};
use crate::model_file::{ModelFile, ModelFileError};
use crate::nn::kernel::{self, Conv, PLACES, ROW};
use crate::nn::{Param, Parameters, Tape, Var, he};

/// Classes of AAMI EC57: normal, supraventricular, ventricular, fusion, unknown.
pub const BEAT_CLASSES: [&str; 5] = ["N", "S", "V", "F", "Q"];
/// Most members of a model.
pub const MEMBERS_MAX: usize = 8;
/// Standardised context is clipped to this many standard deviations.
const CONTEXT_MAX: f32 = 4.0;

const CONV_1: Conv = Conv { channels: CHANNELS, kernel: 9, stride: 2, pad: 4 };
const CONV_2: Conv = Conv { channels: 12, kernel: 7, stride: 2, pad: 3 };
const CONV_3: Conv = Conv { channels: 16, kernel: 5, stride: 2, pad: 2 };
const FILTERS: [usize; 3] = [12, 16, 24];
const SHAPE: usize = 24;
const RHYTHM: usize = 32;
const JOINT: usize = 32;
/// Share of the convolutions' outputs that is dropped in training: more than usual, as shapes are learnt by heart sooner than numbers.
const SHAPE_DROPPED: f32 = 0.75;
const FLAT: usize = WINDOW / 8 * FILTERS[2];
/// Rows, a phase of a channel each, before, between and after the convolutions.
const ROWS: [usize; 4] =
    [WINDOW / PLACES * CHANNELS, WINDOW / 2 / PLACES * FILTERS[0], WINDOW / 4 / PLACES * FILTERS[1], FILTERS[2]];
/// Beats that go through a member together: enough to read its dense weights rarely, few enough to stay in the second cache.
pub(super) const BLOCK: usize = 16;

/// Name, rows and columns of every weight matrix; each has a bias of one row.
const LAYERS: [(&str, usize, usize); 7] = [
    ("conv1", CONV_1.kernel * CONV_1.channels, FILTERS[0]),
    ("conv2", CONV_2.kernel * CONV_2.channels, FILTERS[1]),
    ("conv3", CONV_3.kernel * CONV_3.channels, FILTERS[2]),
    ("shape", FLAT, SHAPE),
    ("rhythm", CONTEXT, RHYTHM),
    ("joint", SHAPE + RHYTHM, JOINT),
    ("class", JOINT, BEAT_CLASSES.len()),
];

/// The weights of one member while it is trained.
pub(super) struct Member {
    pub(super) parameters: Parameters,
    pub(super) scaler: Scaler,
    layers: [(Param, Param); LAYERS.len()],
}

impl Member {
    /// Random weights; names start with `member-NUMBER.`.
    pub(super) fn new(number: usize, scaler: Scaler, rng: &mut ChaCha8Rng) -> Self {
        let mut parameters = Parameters::new();
        let layers = LAYERS.map(|(name, rows, columns)| {
            let weight = parameters.add(&format!("member-{number}.{name}.weight"), he(rng, rows, columns));
            (weight, parameters.add(&format!("member-{number}.{name}.bias"), Array2::zeros((1, columns))))
        });
        Self { parameters, scaler, layers }
    }

    /// Handles of the layers, which stay the same while the weights change.
    pub(super) const fn layers(&self) -> [(Param, Param); LAYERS.len()] {
        self.layers
    }
}

/// Logits of a batch: `signal` rows × 256, `context` rows × context (standardised).
pub(super) fn forward(
    tape: &mut Tape<'_>,
    layers: &[(Param, Param); LAYERS.len()],
    signal: Array2<f32>,
    context: Array2<f32>,
) -> Var {
    let [one, two, three, shape, rhythm, joint, class] = *layers;
    let mut x = tape.constant(signal);
    for ((weight, bias), conv) in [(one, CONV_1), (two, CONV_2), (three, CONV_3)] {
        let value = tape.conv1d(x, weight, bias, conv);
        x = tape.relu(value);
    }
    let x = tape.dropout(x, SHAPE_DROPPED);
    let x = tape.linear(x, shape.0, shape.1);
    let x = tape.relu(x);
    let c = tape.constant(context);
    let c = tape.dropout(c, 0.1);
    let c = tape.linear(c, rhythm.0, rhythm.1);
    let c = tape.relu(c);
    let both = tape.concat(&[x, c]);
    let both = tape.dropout(both, 0.2);
    let both = tape.linear(both, joint.0, joint.1);
    let both = tape.relu(both);
    tape.linear(both, class.0, class.1)
}

/// Mean and scale of the context.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scaler {
    pub(super) mean: [f32; CONTEXT],
    pub(super) scale: [f32; CONTEXT],
}

impl Scaler {
    /// From rows of training data, by their numbers.
    pub(super) fn fit(inputs: &[BeatInput], rows: &[usize]) -> Self {
        let count = rows.len().max(1) as f64;
        let of = |column: usize| rows.iter().map(move |row| f64::from(inputs[*row].context[column]));
        let mean: [f64; CONTEXT] = std::array::from_fn(|column| of(column).sum::<f64>() / count);
        let scale = std::array::from_fn(|column| {
            let square = of(column).map(|value| (value - mean[column]).powi(2)).sum::<f64>() / count;
            (1.0 / square.sqrt().max(1e-3)) as f32
        });
        Self { mean: mean.map(|mean| mean as f32), scale }
    }

    pub(super) fn apply(&self, context: &[f32; CONTEXT]) -> [f32; CONTEXT] {
        let scaled = |column: usize| (context[column] - self.mean[column]) * self.scale[column];
        std::array::from_fn(|column| scaled(column).clamp(-CONTEXT_MAX, CONTEXT_MAX))
    }
}

/// Weight and bias of every layer, row by row as they were trained.
type Layers = [(Vec<f32>, Vec<f32>); LAYERS.len()];

/// The members as they serve.
#[derive(Clone, Debug)]
pub(super) struct BeatNet {
    members: Vec<ServedMember>,
    /// The rhythm layers of all members side by side, as they read the same context.
    rhythm: (Vec<f32>, Vec<f32>),
    /// Mean of the members' biases.
    class_bias: [f32; BEAT_CLASSES.len()],
    pub(super) scaler: Scaler,
}

#[derive(Clone, Debug)]
struct ServedMember {
    convs: [(Vec<f32>, Vec<f32>); 3],
    /// Its inputs are the rows of the last convolution, whose zeros have weight zero.
    shape: (Vec<f32>, Vec<f32>),
    joint: (Vec<f32>, Vec<f32>),
    /// Divided by the number of members, so that the sum over them is the mean.
    class: Vec<f32>,
}

/// Room for a block of beats on their way through the network.
#[derive(Clone, Debug)]
pub(super) struct Scratch {
    signal: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
    third: Vec<f32>,
    context: Vec<f32>,
    rhythm: Vec<f32>,
    shape: Vec<f32>,
    both: Vec<f32>,
    joined: Vec<f32>,
}

impl BeatNet {
    /// The network of these members, which were trained on the same rows.
    ///
    /// # Panics
    /// When there is no member.
    pub(super) fn new(members: &[Member]) -> Self {
        let flat = |parameters: &Parameters, param: Param| parameters.get(param).iter().copied().collect::<Vec<f32>>();
        let of = |member: &Member| {
            member.layers.map(|(weight, bias)| (flat(&member.parameters, weight), flat(&member.parameters, bias)))
        };
        Self::of(members.iter().map(of).collect(), members[0].scaler.clone())
    }

    /// The network of a model file with this many members.
    ///
    /// # Errors
    /// [`ModelFileError`] when a tensor is missing or of another shape.
    pub(super) fn read(file: &ModelFile, members: usize) -> Result<Self, ModelFileError> {
        let row = |name: &str| -> Result<[f32; CONTEXT], ModelFileError> {
            let matrix = file.tensor(name, [1, CONTEXT])?;
            Ok(std::array::from_fn(|column| matrix[[0, column]]))
        };
        let scaler = Scaler { mean: row("context.mean")?, scale: row("context.scale")? };
        let mut read = Vec::with_capacity(members);
        for member in 0..members {
            let mut layers = Layers::default();
            for ((weight, bias), (name, rows, columns)) in layers.iter_mut().zip(LAYERS) {
                let matrix = file.tensor(&format!("member-{member}.{name}.weight"), [rows, columns])?;
                *weight = matrix.iter().copied().collect();
                *bias = file.tensor(&format!("member-{member}.{name}.bias"), [1, columns])?.iter().copied().collect();
            }
            read.push(layers);
        }
        Ok(Self::of(read, scaler))
    }

    fn of(members: Vec<Layers>, scaler: Scaler) -> Self {
        let count = members.len();
        let mut rhythm = (vec![0.0; CONTEXT * count * RHYTHM], vec![0.0; count * RHYTHM]);
        let mut class_bias = [0.0; BEAT_CLASSES.len()];
        let mut served = Vec::with_capacity(count);
        for (number, [one, two, three, shape, of_rhythm, joint, class]) in members.into_iter().enumerate() {
            let columns = number * RHYTHM..(number + 1) * RHYTHM;
            let wide = rhythm.0.chunks_exact_mut(count * RHYTHM);
            wide.zip(of_rhythm.0.chunks_exact(RHYTHM))
                .for_each(|(wide, own)| wide[columns.clone()].copy_from_slice(own));
            rhythm.1[columns].copy_from_slice(&of_rhythm.1);
            class_bias.iter_mut().zip(&class.1).for_each(|(mean, bias)| *mean += bias / count as f32);
            served.push(ServedMember {
                convs: [one, two, three],
                shape: (weights_by_row(&shape.0), shape.1),
                joint,
                class: class.0.iter().map(|weight| weight / count as f32).collect(),
            });
        }
        Self { members: served, rhythm, class_bias, scaler }
    }

    /// Room for [`Self::logits`].
    pub(super) fn scratch(&self) -> Scratch {
        Scratch {
            signal: vec![0.0; BLOCK * ROWS[0] * ROW],
            first: vec![0.0; ROWS[1] * ROW],
            second: vec![0.0; ROWS[2] * ROW],
            third: vec![0.0; BLOCK * ROWS[3] * ROW],
            context: vec![0.0; BLOCK * CONTEXT],
            rhythm: vec![0.0; BLOCK * self.members.len() * RHYTHM],
            shape: vec![0.0; BLOCK * SHAPE],
            both: vec![0.0; BLOCK * (SHAPE + RHYTHM)],
            joined: vec![0.0; BLOCK * JOINT],
        }
    }

    /// Mean logits of the members for the first beats, at most [`BLOCK`] and at most as many as `out` has room for.
    pub(super) fn logits(&self, inputs: &[BeatInput], scratch: &mut Scratch, out: &mut [[f32; BEAT_CLASSES.len()]]) {
        let beats = inputs.len().min(out.len()).min(BLOCK);
        let (inputs, out) = (&inputs[..beats], &mut out[..beats]);
        let wide = self.members.len() * RHYTHM;
        let Scratch { signal, first, second, third, context, rhythm, shape, both, joined } = scratch;
        let (signal, third) = (&mut signal[..beats * ROWS[0] * ROW], &mut third[..beats * ROWS[3] * ROW]);
        let (context, rhythm) = (&mut context[..beats * CONTEXT], &mut rhythm[..beats * wide]);
        let (shape, both) = (&mut shape[..beats * SHAPE], &mut both[..beats * (SHAPE + RHYTHM)]);
        let joined = &mut joined[..beats * JOINT];
        let rows = signal.chunks_exact_mut(ROWS[0] * ROW).zip(context.chunks_exact_mut(CONTEXT));
        for (input, (signal, context)) in inputs.iter().zip(rows) {
            kernel::by_phase(&input.signal, CHANNELS, signal);
            context.copy_from_slice(&self.scaler.apply(&input.context));
        }
        kernel::dense(context, beats, &self.rhythm.0, &self.rhythm.1, rhythm);
        out.fill(self.class_bias);
        for (number, member) in self.members.iter().enumerate() {
            let [one, two, three] = &member.convs;
            let rows = signal.chunks_exact(ROWS[0] * ROW).zip(third.chunks_exact_mut(ROWS[3] * ROW));
            for (signal, third) in rows {
                kernel::halve(signal, CONV_1, &one.0, &one.1, first);
                kernel::halve(first, CONV_2, &two.0, &two.1, second);
                kernel::halve(second, CONV_3, &three.0, &three.1, third);
            }
            kernel::dense(third, beats, &member.shape.0, &member.shape.1, shape);
            let parts = shape.chunks_exact(SHAPE).zip(rhythm.chunks_exact(wide));
            for (both, (shape, rhythm)) in both.chunks_exact_mut(SHAPE + RHYTHM).zip(parts) {
                both[..SHAPE].copy_from_slice(shape);
                both[SHAPE..].copy_from_slice(&rhythm[number * RHYTHM..(number + 1) * RHYTHM]);
            }
            kernel::relu(both);
            kernel::dense(both, beats, &member.joint.0, &member.joint.1, joined);
            kernel::relu(joined);
            kernel::dense_add(joined, beats, &member.class, out.as_flattened_mut());
        }
    }
}

/// Weights of the shape layer, trained on steps × filters, for rows of filters with their zeros.
fn weights_by_row(trained: &[f32]) -> Vec<f32> {
    let mut weights = vec![0.0; ROWS[3] * ROW * SHAPE];
    for (place, of_place) in trained.chunks_exact(FILTERS[2] * SHAPE).enumerate() {
        for (row, own) in of_place.chunks_exact(SHAPE).enumerate() {
            weights[(row * ROW + place + 1) * SHAPE..][..SHAPE].copy_from_slice(own);
        }
    }
    weights
}
