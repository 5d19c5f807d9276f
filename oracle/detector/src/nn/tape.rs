//! The tape: what a training step computes, and its gradients by going back along it (reverse-mode differentiation).
//!
//! Every value is a matrix, rows are the batch. One step builds one tape and ends with a loss of 1 × 1. Guarantees: the same values and
//! gradients every time on one machine, one thread. Must not: be used to serve; [`super::kernel`] is for that.

use ndarray::{Array2, ArrayView2, Axis, Slice, Zip, concatenate};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::kernel::{self, Conv};
use super::parameters::{Param, Parameters};

/// A value on the tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Var(pub(super) usize);

pub(super) struct Node {
    pub(super) value: Array2<f32>,
    pub(super) operation: Operation,
}

/// How a value came about, with what its gradient needs.
pub(super) enum Operation {
    Constant,
    Parameter(Param),
    MatMul(Var, Var),
    Linear {
        x: Var,
        w: Param,
        b: Param,
    },
    Add(Var, Var),
    Multiply(Var, Var),
    Scale(Var, f32),
    Relu(Var),
    Sigmoid(Var),
    Tanh(Var),
    Concat(Vec<Var>),
    Columns(Var, usize),
    Rows(Var, usize),
    Gather(Var, Vec<usize>),
    Dropout(Var, Array2<f32>),
    LstmCell {
        gates: Var,
        cell: Var,
        activated: Array2<f32>,
    },
    LstmHidden {
        cell: Var,
    },
    Gru {
        x_gates: Var,
        h_gates: Var,
        hidden: Var,
        activated: Array2<f32>,
    },
    Conv1d {
        x: Var,
        w: Param,
        b: Param,
        conv: Conv,
    },
    /// A loss of 1 × 1 whose gradient by `x` is known already.
    Loss(Vec<(Var, Array2<f32>)>),
}

/// A training step as it is computed.
pub struct Tape<'p> {
    pub(super) parameters: &'p Parameters,
    pub(super) nodes: Vec<Node>,
    training: bool,
    rng: ChaCha8Rng,
}

impl<'p> Tape<'p> {
    /// An empty tape. `training` switches dropout on; `rng` is what it draws from.
    #[must_use]
    pub fn new(parameters: &'p Parameters, training: bool, rng: ChaCha8Rng) -> Self {
        Self { parameters, nodes: Vec::new(), training, rng }
    }

    pub(super) fn push(&mut self, value: Array2<f32>, operation: Operation) -> Var {
        debug_assert!(value.is_standard_layout(), "values are row-major");
        self.nodes.push(Node { value, operation });
        Var(self.nodes.len() - 1)
    }

    /// The value, rows × columns.
    #[must_use]
    pub fn value(&self, var: Var) -> &Array2<f32> {
        &self.nodes[var.0].value
    }

    /// A matrix without a gradient.
    pub fn constant(&mut self, value: Array2<f32>) -> Var {
        let value = if value.is_standard_layout() { value } else { value.as_standard_layout().into_owned() };
        self.push(value, Operation::Constant)
    }

    /// A weight matrix as a value.
    pub fn param(&mut self, param: Param) -> Var {
        self.push(self.parameters.get(param).clone(), Operation::Parameter(param))
    }

    /// Matrix product, (m × k) · (k × n).
    pub fn matmul(&mut self, a: Var, b: Var) -> Var {
        let value = product(self.value(a), self.value(b));
        self.push(value, Operation::MatMul(a, b))
    }

    /// A dense layer: `x · w + b`; `x` rows × inputs, `w` inputs × outputs, `b` 1 × outputs.
    pub fn linear(&mut self, x: Var, w: Param, b: Param) -> Var {
        let rows = self.value(x).nrows();
        let mut out = Array2::zeros((rows, self.parameters.get(w).ncols()));
        kernel::dense(
            flat(self.value(x)),
            rows,
            flat(self.parameters.get(w)),
            flat(self.parameters.get(b)),
            flat_mut(&mut out),
        );
        self.push(out, Operation::Linear { x, w, b })
    }

    /// Sum of two matrices of one shape.
    pub fn add(&mut self, a: Var, b: Var) -> Var {
        let value = self.value(a) + self.value(b);
        self.push(value, Operation::Add(a, b))
    }

    /// Product of two matrices of one shape, element by element.
    pub fn mul(&mut self, a: Var, b: Var) -> Var {
        let value = self.value(a) * self.value(b);
        self.push(value, Operation::Multiply(a, b))
    }

    /// Every element times a number.
    pub fn scale(&mut self, a: Var, factor: f32) -> Var {
        let value = self.value(a) * factor;
        self.push(value, Operation::Scale(a, factor))
    }

    /// max(x, 0).
    pub fn relu(&mut self, a: Var) -> Var {
        let mut value = self.value(a).clone();
        kernel::relu(flat_mut(&mut value));
        self.push(value, Operation::Relu(a))
    }

    /// 1 / (1 + e^−x).
    pub fn sigmoid(&mut self, a: Var) -> Var {
        let mut value = self.value(a).clone();
        kernel::sigmoid(flat_mut(&mut value));
        self.push(value, Operation::Sigmoid(a))
    }

    /// Hyperbolic tangent.
    pub fn tanh(&mut self, a: Var) -> Var {
        let mut value = self.value(a).clone();
        kernel::tanh(flat_mut(&mut value));
        self.push(value, Operation::Tanh(a))
    }

    /// Side by side: matrices of as many rows.
    ///
    /// # Panics
    /// When the rows differ.
    pub fn concat(&mut self, parts: &[Var]) -> Var {
        let views: Vec<ArrayView2<'_, f32>> = parts.iter().map(|part| self.value(*part).view()).collect();
        let value = concatenate(Axis(1), &views).expect("matrices side by side have as many rows");
        let value = if value.is_standard_layout() { value } else { value.as_standard_layout().into_owned() };
        self.push(value, Operation::Concat(parts.to_vec()))
    }

    /// The columns of a range.
    pub fn columns(&mut self, a: Var, range: std::ops::Range<usize>) -> Var {
        let start = range.start;
        let value = self.value(a).slice_axis(Axis(1), Slice::from(range)).as_standard_layout().into_owned();
        self.push(value, Operation::Columns(a, start))
    }

    /// The rows of a range.
    pub fn rows(&mut self, a: Var, range: std::ops::Range<usize>) -> Var {
        let start = range.start;
        let value = self.value(a).slice_axis(Axis(0), Slice::from(range)).to_owned();
        self.push(value, Operation::Rows(a, start))
    }

    /// Rows by their number; a row may be taken several times.
    pub fn gather_rows(&mut self, a: Var, rows: &[usize]) -> Var {
        let value = self.value(a).select(Axis(0), rows);
        self.push(value, Operation::Gather(a, rows.to_vec()))
    }

    /// Zeroes a share `probability` of the elements and scales the others up, while training (Srivastava et al. 2014).
    pub fn dropout(&mut self, a: Var, probability: f32) -> Var {
        if !self.training || probability <= 0.0 {
            return a;
        }
        let shape = self.value(a).raw_dim();
        let (rng, kept) = (&mut self.rng, 1.0 / (1.0 - probability));
        let mask = Array2::from_shape_simple_fn(shape, || if rng.r#gen::<f32>() < probability { 0.0 } else { kept });
        let value = self.value(a) * &mask;
        self.push(value, Operation::Dropout(a, mask))
    }

    /// One step of an LSTM, see [`kernel::lstm_cell`]: `gates` rows × 4·units of pre-activations (input, forget, candidate, output),
    /// `cell` rows × units. Gives the hidden state and the cell, each rows × units.
    pub fn lstm_step(&mut self, gates: Var, cell: Var) -> (Var, Var) {
        let mut activated = self.value(gates).clone();
        let mut new_cell = self.value(cell).clone();
        let mut hidden = Array2::zeros(new_cell.raw_dim());
        let units = new_cell.ncols();
        kernel::lstm_cell(flat_mut(&mut activated), flat_mut(&mut new_cell), flat_mut(&mut hidden), units);
        let cell = self.push(new_cell, Operation::LstmCell { gates, cell, activated });
        (self.push(hidden, Operation::LstmHidden { cell }), cell)
    }

    /// One step of a GRU, see [`kernel::gru_cell`]: gates rows × 3·units (reset, update, candidate), `hidden` rows × units.
    pub fn gru_step(&mut self, x_gates: Var, h_gates: Var, hidden: Var) -> Var {
        let mut activated = self.value(x_gates).clone();
        let mut value = self.value(hidden).clone();
        let units = value.ncols();
        kernel::gru_cell(flat_mut(&mut activated), flat(self.value(h_gates)), flat_mut(&mut value), units);
        self.push(value, Operation::Gru { x_gates, h_gates, hidden, activated })
    }

    /// A convolution over time of every row; `x` rows × (steps · channels), channels last; `w` (kernel · channels) × outputs; gives rows ×
    /// (steps out · outputs).
    pub fn conv1d(&mut self, x: Var, w: Param, b: Param, conv: Conv) -> Var {
        let input = self.value(x);
        let outputs = self.parameters.get(w).ncols();
        let columns_out = conv.steps_out(input.ncols() / conv.channels) * outputs;
        let mut out = Array2::zeros((input.nrows(), columns_out));
        let (w_flat, b_flat) = (flat(self.parameters.get(w)), flat(self.parameters.get(b)));
        for (row, out) in flat(input).chunks_exact(input.ncols()).zip(flat_mut(&mut out).chunks_exact_mut(columns_out))
        {
            kernel::conv1d(row, conv, w_flat, b_flat, out);
        }
        self.push(out, Operation::Conv1d { x, w, b, conv })
    }

    /// Mean cross-entropy of softmax(`logits`), rows × classes, weighted by row. Targets are class numbers.
    pub fn cross_entropy(&mut self, logits: Var, targets: &[usize], weights: Option<&[f32]>) -> Var {
        let mut gradient = self.value(logits).clone();
        let classes = gradient.ncols();
        kernel::softmax(flat_mut(&mut gradient), classes);
        let total: f32 = weights.map_or(count(targets.len()), |weights| weights.iter().sum());
        let mut loss = 0.0;
        for (row, (mut probabilities, target)) in gradient.rows_mut().into_iter().zip(targets).enumerate() {
            let weight = weights.map_or(1.0, |weights| weights[row]) / total.max(f32::MIN_POSITIVE);
            loss -= weight * probabilities[*target].max(1e-30).ln();
            probabilities[*target] -= 1.0;
            probabilities *= weight;
        }
        self.loss(loss, vec![(logits, gradient)])
    }

    /// Mean binary cross-entropy of sigmoid(`logits`) against targets in 0..=1 of the same shape, weighted by element.
    pub fn binary_cross_entropy(&mut self, logits: Var, targets: &Array2<f32>, weights: Option<&Array2<f32>>) -> Var {
        let mut gradient = self.value(logits).clone();
        let total = weights.map_or(count(targets.len()), |weights| weights.sum()).max(f32::MIN_POSITIVE);
        let mut loss = 0.0;
        Zip::indexed(&mut gradient).and(targets).for_each(|(row, column), logit, target| {
            let weight = weights.map_or(1.0, |weights| weights[[row, column]]) / total;
            loss += weight * (logit.max(0.0) - *logit * target + (-logit.abs()).exp().ln_1p());
            let probability = 1.0 / (1.0 + (-*logit).exp());
            *logit = weight * (probability - target);
        });
        self.loss(loss, vec![(logits, gradient)])
    }

    /// Mean squared difference, weighted by element; both sides get a gradient.
    pub fn mean_square(&mut self, a: Var, target: Var, weights: Option<&Array2<f32>>) -> Var {
        let mut difference = self.value(a) - self.value(target);
        let total = weights.map_or(count(difference.len()), |weights| weights.sum()).max(f32::MIN_POSITIVE);
        let mut loss = 0.0;
        Zip::indexed(&mut difference).for_each(|(row, column), value| {
            let weight = weights.map_or(1.0, |weights| weights[[row, column]]) / total;
            loss += weight * *value * *value;
            *value *= 2.0 * weight;
        });
        let opposite = -&difference;
        self.loss(loss, vec![(a, difference), (target, opposite)])
    }

    /// The penalty of a sparse autoencoder (Ng 2011): the sum over units of KL(`target` ‖ mean activation of the unit), for activations in
    /// 0..1, rows × units.
    pub fn sparsity(&mut self, activations: Var, target: f32) -> Var {
        let value = self.value(activations);
        let rows = count(value.nrows());
        let means = value.sum_axis(Axis(0)).mapv(|sum| (sum / rows).clamp(1e-4, 1.0 - 1e-4));
        let loss = means
            .iter()
            .map(|mean| target * (target / mean).ln() + (1.0 - target) * ((1.0 - target) / (1.0 - mean)).ln());
        let loss = loss.sum();
        let slope = means.mapv(|mean| ((1.0 - target) / (1.0 - mean) - target / mean) / rows);
        let gradient = slope.broadcast(value.raw_dim()).expect("one slope per unit").to_owned();
        self.loss(loss, vec![(activations, gradient)])
    }

    fn loss(&mut self, loss: f32, gradients: Vec<(Var, Array2<f32>)>) -> Var {
        self.push(Array2::from_elem((1, 1), loss), Operation::Loss(gradients))
    }
}

/// Matrix product, (m × k) · (k × n).
pub(super) fn product(a: &Array2<f32>, b: &Array2<f32>) -> Array2<f32> {
    assert_eq!(a.ncols(), b.nrows(), "a product takes as many columns as rows");
    let mut out = Array2::zeros((a.nrows(), b.ncols()));
    kernel::dense(flat(a), a.nrows(), flat(b), &vec![0.0; b.ncols()], flat_mut(&mut out));
    out
}

/// A matrix as one slice.
pub(super) fn flat(matrix: &Array2<f32>) -> &[f32] {
    matrix.as_slice().expect("matrices on the tape are row-major")
}

/// A matrix as one slice, to write.
pub(super) fn flat_mut(matrix: &mut Array2<f32>) -> &mut [f32] {
    matrix.as_slice_mut().expect("matrices on the tape are row-major")
}

#[expect(clippy::cast_precision_loss, reason = "batches and layers are far below 2^24")]
pub(super) fn count(number: usize) -> f32 {
    number as f32
}
