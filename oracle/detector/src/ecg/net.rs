//! The beat network: three convolutions over the beat's window and its difference from the patient's template, joined with the context.
//!
//! Several members of the same shape, trained from different seeds, are averaged over their logits. Guarantees: inference allocates nothing;
//! the same input gives the same output, alone or among others. Must not: see a beat that [`super::context`] has not described.

use ndarray::Array2;
use rand_chacha::ChaCha8Rng;

use super::context::{BeatInput, CHANNELS, CONTEXT, WINDOW};
use crate::model_file::{ModelFile, ModelFileError};
use crate::nn::kernel::{self, Conv};
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
const FLAT: usize = WINDOW / 8 * FILTERS[2];

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
    let x = tape.dropout(x, 0.3);
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

/// The weights in order of use: weight and bias per layer and member.
#[derive(Clone, Debug)]
pub(super) struct BeatNet {
    members: Vec<[(Vec<f32>, Vec<f32>); LAYERS.len()]>,
    pub(super) scaler: Scaler,
}

/// Room for one beat on its way through the network.
#[derive(Clone, Debug)]
pub(super) struct Scratch {
    first: Box<[f32; WINDOW / 2 * FILTERS[0]]>,
    second: Box<[f32; WINDOW / 4 * FILTERS[1]]>,
    third: Box<[f32; FLAT]>,
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self {
            first: Box::new([0.0; WINDOW / 2 * FILTERS[0]]),
            second: Box::new([0.0; WINDOW / 4 * FILTERS[1]]),
            third: Box::new([0.0; FLAT]),
        }
    }
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
        Self { members: members.iter().map(of).collect(), scaler: members[0].scaler.clone() }
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
            let mut layers: [(Vec<f32>, Vec<f32>); LAYERS.len()] = Default::default();
            for ((weight, bias), (name, rows, columns)) in layers.iter_mut().zip(LAYERS) {
                let matrix = file.tensor(&format!("member-{member}.{name}.weight"), [rows, columns])?;
                *weight = matrix.iter().copied().collect();
                *bias = file.tensor(&format!("member-{member}.{name}.bias"), [1, columns])?.iter().copied().collect();
            }
            read.push(layers);
        }
        Ok(Self { members: read, scaler })
    }

    /// Mean logits of the members for one beat.
    pub(super) fn logits(&self, input: &BeatInput, scratch: &mut Scratch) -> [f32; BEAT_CLASSES.len()] {
        let context = self.scaler.apply(&input.context);
        let mut sum = [0.0; BEAT_CLASSES.len()];
        for [one, two, three, shape, rhythm, joint, class] in &self.members {
            kernel::conv1d(&input.signal, CONV_1, &one.0, &one.1, &mut scratch.first[..]);
            kernel::relu(&mut scratch.first[..]);
            kernel::conv1d(&scratch.first[..], CONV_2, &two.0, &two.1, &mut scratch.second[..]);
            kernel::relu(&mut scratch.second[..]);
            kernel::conv1d(&scratch.second[..], CONV_3, &three.0, &three.1, &mut scratch.third[..]);
            kernel::relu(&mut scratch.third[..]);
            let mut both = [0.0; SHAPE + RHYTHM];
            kernel::dense(&scratch.third[..], 1, &shape.0, &shape.1, &mut both[..SHAPE]);
            kernel::dense(&context, 1, &rhythm.0, &rhythm.1, &mut both[SHAPE..]);
            kernel::relu(&mut both);
            let mut joined = [0.0; JOINT];
            kernel::dense(&both, 1, &joint.0, &joint.1, &mut joined);
            kernel::relu(&mut joined);
            let mut logits = [0.0; BEAT_CLASSES.len()];
            kernel::dense(&joined, 1, &class.0, &class.1, &mut logits);
            sum.iter_mut().zip(logits).for_each(|(sum, logit)| *sum += logit / self.members.len() as f32);
        }
        sum
    }
}
