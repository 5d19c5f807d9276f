//! How a traffic network is trained: the recipe, the labelled flows, the loop.
//!
//! Guarantees: encoder, class weights and network see the named rows alone (the windows before them hold other rows' features, never their
//! labels); the same seed gives the same weights; logits come from the code that serves. Must not: choose what is tested.

use std::path::Path;

use ndarray::Array2;
use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::autoencoder_bilstm::{Network, Restraint, Shape, Windows};
use super::encoding::{Column, Encoding};
use super::inference::{BATCH_MAX, Inference};
use crate::catalogue::TrainError;
use crate::model_file::{DataSource, Metadata, ModelFile};
use crate::nn::{self, Parameters, Schedule, generator};
use crate::progress::Progress;

/// Flows with what is known of them, ready to train on.
#[derive(Clone, Debug)]
pub struct LabelledFlows {
    /// Name of every column of features.
    pub names: Vec<String>,
    /// What every column holds.
    pub columns: Vec<Column>,
    /// Flows × columns; NaN is missing.
    pub features: Array2<f32>,
    /// Names of the classes; class 0 is benign.
    pub classes: Vec<String>,
    /// Class per flow.
    pub truth: Vec<usize>,
    /// Group per flow: never split between training and testing.
    pub group: Vec<u64>,
    /// First flow of the sequence in which a flow stands; the flow itself where the set has no order in time.
    pub sequence: Vec<usize>,
    /// How much a flow counts in training, before the weights of the classes; 1 is plain.
    pub importance: Vec<f32>,
    /// The files.
    pub sources: Vec<DataSource>,
}

impl LabelledFlows {
    /// How many flows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.truth.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.truth.is_empty()
    }

    /// The same flows with some columns left out, by name.
    #[must_use]
    pub fn without(&self, left_out: &[&str]) -> Self {
        let kept: Vec<usize> =
            (0..self.names.len()).filter(|column| !left_out.contains(&self.names[*column].as_str())).collect();
        Self {
            names: kept.iter().map(|column| self.names[*column].clone()).collect(),
            columns: kept.iter().map(|column| self.columns[*column]).collect(),
            features: self.features.select(ndarray::Axis(1), &kept),
            ..self.clone()
        }
    }
}

/// How a network is built and trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// Most bins per number.
    pub bins: usize,
    /// Rectified units.
    pub hidden: usize,
    /// Units of the code.
    pub code: usize,
    /// Units of each LSTM.
    pub units: usize,
    /// Flows of a window.
    pub window: usize,
    /// Whether the LSTMs read the hidden units beside the code.
    pub reads_hidden: bool,
    /// What holds the network back.
    pub restraint: Restraint,
    /// Passes over the flows.
    pub epochs: usize,
    /// Flows per step.
    pub batch: usize,
    /// Neighbouring flows that are drawn together, so that their windows share rows; 1 where the window is one flow.
    pub block: usize,
    /// Highest learning rate.
    pub learning_rate: f32,
    /// Weight decay.
    pub weight_decay: f32,
    /// A class weighs (its share)^−balance.
    pub balance: f32,
}

impl Recipe {
    const fn shape(&self, inputs: usize, classes: usize) -> Shape {
        Shape {
            inputs,
            hidden: self.hidden,
            code: self.code,
            units: self.units,
            window: self.window,
            reads_hidden: self.reads_hidden,
            classes,
        }
    }

    fn schedule(&self, run: &Run<'_>) -> Schedule {
        Schedule {
            epochs: run.epochs.unwrap_or(self.epochs),
            batch: self.batch,
            learning_rate: self.learning_rate,
            warmup_share: 0.1,
            weight_decay: self.weight_decay,
            clip_norm: 1.0,
            seed: run.seed,
            average: Some(AVERAGE),
        }
    }
}

/// Most that a class weighs, as a multiple of the most frequent class.
const CLASS_WEIGHT_MAX: f32 = 30.0;
/// How slowly the averaged weights follow.
const AVERAGE: f32 = 0.995;

/// A trained network, not yet a file.
pub struct Fitted {
    /// Its sizes.
    pub shape: Shape,
    /// How flows are encoded.
    pub encoding: Encoding,
    parameters: Parameters,
}

/// What a training run may be told beside its recipe.
pub struct Run<'a> {
    /// Seed of every random choice.
    pub seed: u64,
    /// Passes over the flows instead of the recipe's.
    pub epochs: Option<usize>,
    /// File to save to after every epoch and to go on from.
    pub checkpoint: Option<&'a Path>,
    /// Who is told of the progress.
    pub progress: &'a dyn Progress,
}

impl Fitted {
    /// Trains on the named rows, with the windows that their sequences give.
    ///
    /// # Errors
    /// [`TrainError`]: no rows, a loss that is not finite, a checkpoint of another run.
    pub fn train(recipe: &Recipe, flows: &LabelledFlows, rows: &[usize], run: &Run<'_>) -> Result<Self, TrainError> {
        let order = |rng: &mut ChaCha8Rng| blocks(rows, recipe.block, rng);
        let windows = |batch: &[usize]| Windows::ending_at(batch, &flows.sequence, recipe.window);
        Self::train_by(recipe, flows, rows, run, order, windows)
    }

    /// Trains on rows that `order` draws among the named ones for each epoch, with the windows that `windows` gives for a batch.
    ///
    /// # Errors
    /// As [`Fitted::train`].
    pub(super) fn train_by(
        recipe: &Recipe,
        flows: &LabelledFlows,
        rows: &[usize],
        run: &Run<'_>,
        mut order: impl FnMut(&mut ChaCha8Rng) -> Vec<usize>,
        windows: impl Fn(&[usize]) -> Windows,
    ) -> Result<Self, TrainError> {
        if rows.is_empty() {
            return Err(TrainError::Unsuitable { reason: "there are no flows to train on".to_owned() });
        }
        let encoding = Encoding::fit(&flows.columns, flows.features.view(), rows, recipe.bins);
        let shape = recipe.shape(encoding.width(), flows.classes.len());
        let mut parameters = Parameters::new();
        let network = Network::new(&mut parameters, shape, &mut generator(run.seed, u64::MAX));
        let weights = row_weights(recipe, flows, rows);
        let loss = |tape: &mut nn::Tape<'_>, batch: &[usize]| {
            let windows = windows(batch);
            let encoded = encoding.encode_rows(flows.features.view(), &windows.rows);
            let judged = network.judge(tape, encoded, &windows, &recipe.restraint);
            let targets: Vec<usize> = batch.iter().map(|row| flows.truth[*row]).collect();
            let weights: Vec<f32> = batch.iter().map(|row| weights[*row]).collect();
            network.loss(tape, &judged, &targets, &weights, &recipe.restraint)
        };
        let schedule = recipe.schedule(run);
        let order = |_: usize, rng: &mut ChaCha8Rng| order(rng);
        nn::fit(&mut parameters, &schedule, run.checkpoint, run.progress, order, loss, |_, _, _| {})?;
        Ok(Self { shape, encoding, parameters })
    }

    /// The network as a file. What only training needs (the decoder) is left out.
    #[must_use]
    pub fn to_file(&self, metadata: Metadata) -> ModelFile {
        let mut kept = Parameters::new();
        let needed = |name: &str| !name.starts_with("decoder.") && !name.starts_with("rebuilt.");
        for (name, value) in self.parameters.iter().filter(|(name, value)| needed(name) && !value.is_empty()) {
            kept.add(name, value.clone());
        }
        let mut file = ModelFile::new(metadata, &kept);
        file.insert(EDGES, self.encoding.matrix());
        file
    }
}

/// Name of the encoding's matrix in a model file.
pub(super) const EDGES: &str = "encoding";

/// The weight of every flow: its importance times that of its class among the rows trained on.
#[expect(clippy::cast_precision_loss, reason = "row counts are far below 2^24")]
fn row_weights(recipe: &Recipe, flows: &LabelledFlows, rows: &[usize]) -> Vec<f32> {
    let mut counts = vec![0_usize; flows.classes.len()];
    for row in rows {
        counts[flows.truth[*row]] += 1;
    }
    let most = counts.iter().copied().max().unwrap_or(1).max(1) as f32;
    let of_class: Vec<f32> =
        counts.iter().map(|count| (most / (*count).max(1) as f32).powf(recipe.balance).min(CLASS_WEIGHT_MAX)).collect();
    flows.truth.iter().zip(&flows.importance).map(|(class, importance)| of_class[*class] * importance).collect()
}

/// The rows in blocks of neighbours, the blocks shuffled; where a block begins differs from epoch to epoch.
fn blocks(rows: &[usize], block: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    if block <= 1 {
        let mut order = rows.to_vec();
        order.shuffle(rng);
        return order;
    }
    let offset = rng.gen_range(0..block.min(rows.len()));
    let (first, rest) = rows.split_at(offset);
    let mut parts: Vec<&[usize]> = std::iter::once(first).chain(rest.chunks(block)).collect();
    parts.shuffle(rng);
    parts.concat()
}

/// Logits of the named rows, rows × classes, by the code that serves: every window is streamed flow by flow.
#[must_use]
pub fn logits(inference: &Inference, flows: &LabelledFlows, rows: &[usize]) -> Array2<f32> {
    let (window, classes) = (inference.shape().window, inference.shape().classes);
    let mut out = Array2::zeros((rows.len(), classes));
    let target = out.as_slice_mut().expect("a new matrix lies in one piece");
    let features = flows.features.as_standard_layout();
    let row_of = |row: usize| features.row(row).to_slice().expect("standard layout has its rows in one piece");
    if window == 1 {
        let mut scratch = inference.scratch(BATCH_MAX);
        let mut memories = [inference.memory()];
        for (rows, out) in rows.chunks(BATCH_MAX).zip(target.chunks_mut(BATCH_MAX * classes)) {
            let values: Vec<f32> = rows.iter().flat_map(|row| row_of(*row)).copied().collect();
            inference.judge(&values, &mut memories, &vec![0; rows.len()], &mut scratch, out);
        }
        return out;
    }
    let mut scratch = inference.scratch(1);
    let mut memories = [inference.memory()];
    let mut expected = usize::MAX;
    for (row, out) in rows.iter().zip(target.chunks_exact_mut(classes)) {
        let begin = flows.sequence[*row];
        let first = if *row == expected && begin < *row {
            *row
        } else {
            memories = [inference.memory()];
            row.saturating_sub(window - 1).max(begin)
        };
        for earlier in first..=*row {
            inference.judge(row_of(earlier), &mut memories, &[0], &mut scratch, out);
        }
        expected = row + 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_every_row_once() {
        let rows: Vec<usize> = (0..100).collect();
        for block in [1, 7, 200] {
            let mut order = blocks(&rows, block, &mut generator(3, 1));
            order.sort_unstable();
            assert_eq!(order, rows);
        }
    }
}
