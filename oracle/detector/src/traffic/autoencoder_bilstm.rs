//! A sparse autoencoder whose code a bidirectional LSTM reads over a window of flows, as it is trained.
//!
//! The design is BDSDT's (Zhang et al. and followers: deep sparse autoencoder, bidirectional LSTM, softmax), trained as one network:
//! an encoded flow → `hidden` rectified units → `code` sigmoid units, kept sparse by the Kullback-Leibler penalty of Ng ("Sparse
//! autoencoder", 2011) and made to rebuild the flow by a decoder that only training needs; an LSTM reads the codes of the window from the
//! oldest flow to the judged one, another the other way round (Schuster, Paliwal 1997); a dense layer reads both last states and the judged
//! flow's own hidden units and code. With a window of one flow the LSTMs start from nothing and have nothing to remember: each is then a
//! dense layer with an input and an output gate, and its recurrent weights do not exist.
//!
//! Guarantees: rows that several windows share are encoded once; a window never reaches over the beginning of its sequence, the first flow
//! is repeated instead. Must not: serve; [`super::inference`] is for that.

use ndarray::Array2;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::nn::{Param, Parameters, Tape, Var, glorot, he};

/// Longest window, flows.
pub const WINDOW_MAX: usize = 64;
/// Most units of any layer.
pub const UNITS_MAX: usize = 1_024;

/// Sizes of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Elements of an encoded flow.
    pub inputs: usize,
    /// Rectified units between flow and code.
    pub hidden: usize,
    /// Sigmoid units of the code.
    pub code: usize,
    /// Units of each LSTM; none leaves the recurrent part out, which is how its worth is measured.
    pub units: usize,
    /// Flows of a window, the judged one included.
    pub window: usize,
    /// Whether the LSTMs read the hidden units beside the code.
    pub reads_hidden: bool,
    /// Outputs.
    pub classes: usize,
}

impl Shape {
    /// What an LSTM reads of a flow.
    #[must_use]
    pub const fn read(&self) -> usize {
        if self.reads_hidden { self.hidden + self.code } else { self.code }
    }

    /// What the last layer reads.
    #[must_use]
    pub const fn head(&self) -> usize {
        2 * self.units + self.hidden + self.code
    }

    /// Whether every size is within its limit.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let units = [self.hidden, self.code, self.classes];
        units.iter().all(|size| (1..=UNITS_MAX).contains(size))
            && self.units <= UNITS_MAX
            && (1..=WINDOW_MAX).contains(&self.window)
            && self.inputs > 0
    }
}

/// How strongly the network is held back while it is trained.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restraint {
    /// Share of the elements of an encoded flow that are hidden from the network.
    pub input_dropout: f32,
    /// Share of the units that are left out before the LSTMs and before the last layer.
    pub dropout: f32,
    /// Weight of the reconstruction error.
    pub reconstruction: f32,
    /// Weight of the sparsity penalty.
    pub sparsity: f32,
    /// Mean activation that the penalty asks of each unit of the code.
    pub activity: f32,
}

/// One LSTM.
struct Direction {
    input: (Param, Param),
    recurrent: Option<Param>,
}

/// The handles of the network's weights.
pub struct Network {
    /// The sizes.
    pub shape: Shape,
    encoder: (Param, Param),
    code: (Param, Param),
    decoder: (Param, Param),
    rebuilt: (Param, Param),
    forward: Direction,
    backward: Direction,
    head: (Param, Param),
}

/// Flows to be judged together, with the windows before them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    /// The rows that any window needs, each once, rising.
    pub rows: Vec<usize>,
    /// Position in `rows` by step (oldest first) and judged flow.
    pub steps: Vec<Vec<usize>>,
}

impl Windows {
    /// The windows that end at the `judged` rows. `sequence` gives for every row the first row of the sequence in which it stands: the
    /// window does not reach over it.
    ///
    /// # Panics
    /// When `sequence` has no entry for a judged row.
    #[must_use]
    pub fn ending_at(judged: &[usize], sequence: &[usize], window: usize) -> Self {
        Self::of(judged.len(), window, |flow, back| {
            let row = judged[flow];
            row.saturating_sub(back).max(sequence[row])
        })
    }

    /// The windows of `judged` flows, whose members `member` names by flow and how many flows it stands back; 0 is the judged one itself.
    #[must_use]
    pub fn of(judged: usize, window: usize, member: impl Fn(usize, usize) -> usize) -> Self {
        let mut rows: Vec<usize> = (0..window)
            .flat_map(|back| (0..judged).map(move |flow| (flow, back)))
            .map(|(flow, back)| member(flow, back))
            .collect();
        let members = rows.clone();
        rows.sort_unstable();
        rows.dedup();
        let position = |row: &usize| rows.binary_search(row).expect("every member of a window was gathered");
        let steps = members.chunks(judged.max(1)).rev().map(|step| step.iter().map(position).collect());
        let steps = steps.collect();
        Self { rows, steps }
    }
}

/// What a training step computes before its loss.
pub struct Judged {
    /// Judged flows × classes, before the softmax.
    pub logits: Var,
    /// Rows × code.
    code: Var,
    /// Rows × inputs, as they were before any was hidden.
    flows: Var,
}

impl Network {
    /// Random weights; the same generator state gives the same ones. Names are those of the model file.
    pub fn new(parameters: &mut Parameters, shape: Shape, rng: &mut ChaCha8Rng) -> Self {
        let mut dense = |name: &str, weights: Array2<f32>, bias: f32| {
            let outputs = weights.ncols();
            let weight = parameters.add(&format!("{name}.weight"), weights);
            (weight, parameters.add(&format!("{name}.bias"), Array2::from_elem((1, outputs), bias)))
        };
        let encoder = dense("encoder", he(rng, shape.inputs, shape.hidden), 0.0);
        // The code begins near the activity that is asked of it.
        let code = dense("code", glorot(rng, shape.hidden, shape.code), -1.0);
        let decoder = dense("decoder", he(rng, shape.code, shape.hidden), 0.0);
        let rebuilt = dense("rebuilt", glorot(rng, shape.hidden, shape.inputs), 0.0);
        let gates = 4 * shape.units;
        let forward_input = dense("forward.input", glorot(rng, shape.read(), gates), 0.0);
        let backward_input = dense("backward.input", glorot(rng, shape.read(), gates), 0.0);
        let head = dense("head", glorot(rng, shape.head(), shape.classes), 0.0);
        let mut recurrent = |name: &str, input: (Param, Param)| {
            // Open forget gates let the first epochs see the whole window (Jozefowicz et al. 2015).
            let bias = parameters.get_mut(input.1);
            (shape.units..2 * shape.units).for_each(|unit| bias[[0, unit]] = FORGET_BIAS);
            let wanted = shape.window > 1 && shape.units > 0;
            let weights = wanted.then(|| parameters.add(name, glorot(rng, shape.units, gates)));
            Direction { input, recurrent: weights }
        };
        let forward = recurrent("forward.recurrent", forward_input);
        let backward = recurrent("backward.recurrent", backward_input);
        Self { shape, encoder, code, decoder, rebuilt, forward, backward, head }
    }

    /// Judges the last flow of every window. `flows` are the encoded rows of `windows`, in their order.
    pub fn judge(&self, tape: &mut Tape<'_>, flows: Array2<f32>, windows: &Windows, restraint: &Restraint) -> Judged {
        let flows = tape.constant(flows);
        let seen = tape.dropout(flows, restraint.input_dropout);
        let hidden = tape.linear(seen, self.encoder.0, self.encoder.1);
        let hidden = tape.relu(hidden);
        let code = tape.linear(hidden, self.code.0, self.code.1);
        let code = tape.sigmoid(code);
        let read = if self.shape.reads_hidden { tape.concat(&[hidden, code]) } else { code };
        let read = tape.dropout(read, restraint.dropout);
        let judged = windows.steps.last().expect("a window has at least one flow");
        let mut parts = Vec::with_capacity(4);
        if self.shape.units > 0 {
            parts.push(self.forward.run(tape, read, self.shape.units, windows.steps.iter()));
            parts.push(self.backward.run(tape, read, self.shape.units, windows.steps.iter().rev()));
        }
        parts.push(tape.gather_rows(hidden, judged));
        parts.push(tape.gather_rows(code, judged));
        let all = tape.concat(&parts);
        let all = tape.dropout(all, restraint.dropout);
        let logits = tape.linear(all, self.head.0, self.head.1);
        Judged { logits, code, flows }
    }

    /// The loss of training: weighted cross-entropy, reconstruction and sparsity, 1 × 1.
    pub fn loss(
        &self,
        tape: &mut Tape<'_>,
        judged: &Judged,
        targets: &[usize],
        weights: &[f32],
        restraint: &Restraint,
    ) -> Var {
        let mut loss = tape.cross_entropy(judged.logits, targets, Some(weights));
        if restraint.reconstruction > 0.0 {
            let decoded = tape.linear(judged.code, self.decoder.0, self.decoder.1);
            let decoded = tape.relu(decoded);
            let rebuilt = tape.linear(decoded, self.rebuilt.0, self.rebuilt.1);
            let error = tape.mean_square(rebuilt, judged.flows, None);
            let error = tape.scale(error, restraint.reconstruction);
            loss = tape.add(loss, error);
        }
        if restraint.sparsity > 0.0 {
            let penalty = tape.sparsity(judged.code, restraint.activity);
            let penalty = tape.scale(penalty, restraint.sparsity);
            loss = tape.add(loss, penalty);
        }
        loss
    }
}

/// Bias of the forget gates at the beginning.
const FORGET_BIAS: f32 = 3.0;

impl Direction {
    /// The hidden state after the last of the steps, judged flows × units.
    fn run<'w>(
        &self,
        tape: &mut Tape<'_>,
        read: Var,
        units: usize,
        steps: impl Iterator<Item = &'w Vec<usize>>,
    ) -> Var {
        let inputs = tape.linear(read, self.input.0, self.input.1);
        let recurrent = self.recurrent.map(|weights| tape.param(weights));
        let mut state: Option<(Var, Var)> = None;
        for rows in steps {
            let mut gates = tape.gather_rows(inputs, rows);
            let cell = match (state, recurrent) {
                (Some((hidden, cell)), Some(weights)) => {
                    let remembered = tape.matmul(hidden, weights);
                    gates = tape.add(gates, remembered);
                    cell
                }
                _ => tape.constant(Array2::zeros((rows.len(), units))),
            };
            state = Some(tape.lstm_step(gates, cell));
        }
        state.expect("a window has at least one flow").0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_share_rows_and_repeat_the_first_flow() {
        let windows = Windows::ending_at(&[4, 5, 1], &[0, 0, 0, 3, 3, 3], 3);
        assert_eq!(windows.rows, [0, 1, 3, 4, 5]);
        assert_eq!(windows.steps, [vec![2, 2, 0], vec![2, 3, 0], vec![3, 4, 1]]);
    }

    #[test]
    fn a_window_of_one_flow_has_no_recurrent_weights() {
        let shape = Shape { inputs: 3, hidden: 4, code: 2, units: 2, window: 1, reads_hidden: true, classes: 2 };
        let mut parameters = Parameters::new();
        let _ = Network::new(&mut parameters, shape, &mut crate::nn::generator(1, 0));
        assert!(parameters.find("forward.recurrent").is_none());
        let mut longer = Parameters::new();
        let _ = Network::new(&mut longer, Shape { window: 2, ..shape }, &mut crate::nn::generator(1, 0));
        assert!(longer.find("forward.recurrent").is_some());
    }
}
