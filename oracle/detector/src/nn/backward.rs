//! Going back along a [`Tape`]: the gradient of a loss by every weight.

use ndarray::{Array2, Axis, Slice, Zip};

use super::kernel::{self, Conv};
use super::parameters::Param;
use super::tape::{Operation, Tape, Var, flat, flat_mut, product};

/// The gradient of a loss by each weight matrix; none where the loss does not depend on it.
pub struct Gradients(pub(super) Vec<Option<Array2<f32>>>);

impl Gradients {
    /// The gradient by a weight matrix, of its shape.
    #[must_use]
    pub fn get(&self, param: Param) -> Option<&Array2<f32>> {
        self.0[param.0].as_ref()
    }
}

struct Pass<'t, 'p> {
    tape: &'t Tape<'p>,
    by_var: Vec<Option<Array2<f32>>>,
    by_param: Vec<Option<Array2<f32>>>,
}

impl Tape<'_> {
    /// The gradients of a loss of 1 × 1.
    ///
    /// # Panics
    /// When `loss` is not 1 × 1.
    #[must_use]
    pub fn backward(&self, loss: Var) -> Gradients {
        assert_eq!(self.value(loss).dim(), (1, 1), "a loss is one number");
        let by_var = vec![None; self.nodes.len()];
        let by_param = vec![None; self.parameters.values.len()];
        let mut pass = Pass { tape: self, by_var, by_param };
        pass.by_var[loss.0] = Some(Array2::ones((1, 1)));
        for index in (0..=loss.0).rev() {
            if let Some(gradient) = pass.by_var[index].take() {
                pass.step(index, gradient);
            }
        }
        Gradients(pass.by_param)
    }
}

fn accumulate(slot: &mut Option<Array2<f32>>, gradient: Array2<f32>) {
    match slot {
        Some(sum) => *sum += &gradient,
        None => *slot = Some(gradient),
    }
}

impl Pass<'_, '_> {
    fn add(&mut self, var: Var, gradient: Array2<f32>) {
        if !matches!(self.tape.nodes[var.0].operation, Operation::Constant) {
            accumulate(&mut self.by_var[var.0], gradient);
        }
    }

    fn add_param(&mut self, param: Param, gradient: Array2<f32>) {
        accumulate(&mut self.by_param[param.0], gradient);
    }

    fn needs(&self, var: Var) -> bool {
        !matches!(self.tape.nodes[var.0].operation, Operation::Constant)
    }

    fn value(&self, var: Var) -> &Array2<f32> {
        self.tape.value(var)
    }

    fn step(&mut self, index: usize, mut gradient: Array2<f32>) {
        let tape = self.tape;
        let node = &tape.nodes[index];
        match &node.operation {
            Operation::Constant => {}
            Operation::Parameter(param) => self.add_param(*param, gradient),
            Operation::MatMul(a, b) => {
                if self.needs(*a) {
                    let transposed = standard(self.value(*b).t().to_owned());
                    self.add(*a, product(&gradient, &transposed));
                }
                if self.needs(*b) {
                    self.add(*b, standard(self.value(*a).t().dot(&gradient)));
                }
            }
            Operation::Linear { x, w, b } => self.linear(*x, *w, *b, &gradient),
            Operation::Add(a, b) => {
                self.add(*a, gradient.clone());
                self.add(*b, gradient);
            }
            Operation::Multiply(a, b) => {
                self.add(*a, &gradient * self.value(*b));
                self.add(*b, &gradient * self.value(*a));
            }
            Operation::Scale(a, factor) => self.add(*a, gradient * *factor),
            Operation::Relu(a) => {
                gradient.zip_mut_with(&node.value, |slope, value| *slope = if *value > 0.0 { *slope } else { 0.0 });
                self.add(*a, gradient);
            }
            Operation::Sigmoid(a) => {
                gradient.zip_mut_with(&node.value, |slope, value| *slope *= value * (1.0 - value));
                self.add(*a, gradient);
            }
            Operation::Tanh(a) => {
                gradient.zip_mut_with(&node.value, |slope, value| *slope *= 1.0 - value * value);
                self.add(*a, gradient);
            }
            Operation::Dropout(a, mask) => self.add(*a, gradient * mask),
            Operation::Loss(gradients) => {
                for (var, by_var) in gradients {
                    if self.needs(*var) {
                        self.add(*var, by_var * gradient[[0, 0]]);
                    }
                }
            }
            _ => self.step_over_shapes(index, gradient),
        }
    }

    fn step_over_shapes(&mut self, index: usize, gradient: Array2<f32>) {
        let tape = self.tape;
        let node = &tape.nodes[index];
        match &node.operation {
            Operation::Concat(parts) => {
                let mut start = 0;
                for part in parts {
                    let end = start + self.value(*part).ncols();
                    self.add(*part, standard(gradient.slice_axis(Axis(1), Slice::from(start..end)).to_owned()));
                    start = end;
                }
            }
            Operation::Columns(a, start) => {
                let end = start + gradient.ncols();
                self.add_into(*a, |whole| {
                    let mut part = whole.slice_axis_mut(Axis(1), Slice::from(*start..end));
                    part += &gradient;
                });
            }
            Operation::Rows(a, start) => {
                let end = start + gradient.nrows();
                self.add_into(*a, |whole| {
                    let mut part = whole.slice_axis_mut(Axis(0), Slice::from(*start..end));
                    part += &gradient;
                });
            }
            Operation::Gather(a, rows) => self.add_into(*a, |whole| {
                for (row, gradient) in rows.iter().zip(gradient.rows()) {
                    let mut target = whole.row_mut(*row);
                    target += &gradient;
                }
            }),
            _ => self.step_over_layers(index, gradient),
        }
    }

    fn step_over_layers(&mut self, index: usize, gradient: Array2<f32>) {
        let tape = self.tape;
        let node = &tape.nodes[index];
        match &node.operation {
            Operation::LstmCell { gates, cell, activated } => self.lstm_cell(*gates, *cell, activated, gradient),
            Operation::LstmHidden { cell } => self.lstm_hidden(*cell, gradient),
            Operation::Gru { x_gates, h_gates, hidden, activated } => {
                self.gru(*x_gates, *h_gates, *hidden, activated, &gradient);
            }
            Operation::Conv1d { x, w, b, conv } => self.conv1d(*x, *w, *b, *conv, &gradient),
            _ => unreachable!("every other operation is handled before"),
        }
    }

    /// Adds into a gradient that is made of zeros first, for operations that touch a part of their input.
    fn add_into(&mut self, var: Var, write: impl FnOnce(&mut Array2<f32>)) {
        if self.needs(var) {
            let shape = self.value(var).raw_dim();
            write(self.by_var[var.0].get_or_insert_with(|| Array2::zeros(shape)));
        }
    }

    fn linear(&mut self, x: Var, w: Param, b: Param, gradient: &Array2<f32>) {
        let tape = self.tape;
        self.add_param(b, gradient.sum_axis(Axis(0)).insert_axis(Axis(0)));
        self.add_param(w, standard(tape.value(x).t().dot(gradient)));
        if self.needs(x) {
            let transposed = standard(tape.parameters.get(w).t().to_owned());
            self.add(x, product(gradient, &transposed));
        }
    }

    fn lstm_cell(&mut self, gates: Var, cell: Var, activated: &Array2<f32>, mut gradient: Array2<f32>) {
        let tape = self.tape;
        let units = gradient.ncols();
        let before = tape.value(cell);
        self.add_into(gates, |by_gates| {
            let rows = flat_mut(by_gates).chunks_exact_mut(4 * units).zip(flat(activated).chunks_exact(4 * units));
            let rows = rows.zip(flat(before).chunks_exact(units)).zip(flat(&gradient).chunks_exact(units));
            for (((by_gates, gates), before), slopes) in rows {
                let (by_input, rest) = by_gates.split_at_mut(units);
                let (by_forget, by_rest) = rest.split_at_mut(units);
                let (input, rest) = gates.split_at(units);
                let (forget, candidate) = rest.split_at(units);
                for unit in 0..units {
                    let (slope, i, f, c) = (slopes[unit], input[unit], forget[unit], candidate[unit]);
                    by_input[unit] += slope * c * i * (1.0 - i);
                    by_forget[unit] += slope * before[unit] * f * (1.0 - f);
                    by_rest[unit] += slope * i * (1.0 - c * c);
                }
            }
        });
        gradient *= &activated.slice_axis(Axis(1), Slice::from(units..2 * units));
        self.add(cell, gradient);
    }

    /// hidden = output gate · tanh(cell).
    fn lstm_hidden(&mut self, cell: Var, gradient: Array2<f32>) {
        let tape = self.tape;
        let Operation::LstmCell { gates, activated, .. } = &tape.nodes[cell.0].operation else {
            unreachable!("a hidden state follows its cell")
        };
        let units = gradient.ncols();
        let mut squashed = tape.value(cell).clone();
        kernel::tanh(flat_mut(&mut squashed));
        let output = activated.slice_axis(Axis(1), Slice::from(3 * units..));
        self.add_into(*gates, |by_gates| {
            let mut by_output = by_gates.slice_axis_mut(Axis(1), Slice::from(3 * units..));
            Zip::from(&mut by_output).and(&gradient).and(&squashed).and(&output).for_each(
                |by_gate, slope, cell, gate| {
                    *by_gate += slope * cell * gate * (1.0 - gate);
                },
            );
        });
        let mut by_cell = gradient;
        Zip::from(&mut by_cell).and(&squashed).and(&output).for_each(|slope, cell, gate| {
            *slope *= gate * (1.0 - cell * cell);
        });
        self.add(cell, by_cell);
    }

    fn gru(&mut self, x_gates: Var, h_gates: Var, hidden: Var, activated: &Array2<f32>, gradient: &Array2<f32>) {
        let tape = self.tape;
        let units = gradient.ncols();
        let (before, from_hidden) = (tape.value(hidden), tape.value(h_gates));
        let mut by_x = Array2::zeros(activated.raw_dim());
        let mut by_h = Array2::zeros(activated.raw_dim());
        let mut by_hidden = Array2::zeros(gradient.raw_dim());
        let rows = flat_mut(&mut by_x).chunks_exact_mut(3 * units).zip(flat_mut(&mut by_h).chunks_exact_mut(3 * units));
        let rows = rows.zip(flat_mut(&mut by_hidden).chunks_exact_mut(units)).zip(flat(gradient).chunks_exact(units));
        let rows = rows.zip(flat(activated).chunks_exact(3 * units)).zip(flat(before).chunks_exact(units));
        let rows = rows.zip(flat(from_hidden).chunks_exact(3 * units));
        for ((((((by_x, by_h), by_hidden), slopes), gates), before), from_hidden) in rows {
            for unit in 0..units {
                let (slope, reset, update, candidate) =
                    (slopes[unit], gates[unit], gates[units + unit], gates[2 * units + unit]);
                let by_candidate = slope * (1.0 - update) * (1.0 - candidate * candidate);
                let by_update = slope * (before[unit] - candidate) * update * (1.0 - update);
                let by_reset = by_candidate * from_hidden[2 * units + unit] * reset * (1.0 - reset);
                (by_x[unit], by_h[unit]) = (by_reset, by_reset);
                (by_x[units + unit], by_h[units + unit]) = (by_update, by_update);
                (by_x[2 * units + unit], by_h[2 * units + unit]) = (by_candidate, by_candidate * reset);
                by_hidden[unit] = slope * update;
            }
        }
        self.add(x_gates, by_x);
        self.add(h_gates, by_h);
        self.add(hidden, by_hidden);
    }

    fn conv1d(&mut self, x: Var, w: Param, b: Param, conv: Conv, gradient: &Array2<f32>) {
        let tape = self.tape;
        let (input, weights) = (tape.value(x), tape.parameters.get(w));
        let (columns_in, outputs) = (input.ncols(), weights.ncols());
        let steps_out = gradient.ncols() / outputs;
        let under_kernel = conv.kernel * conv.channels;
        let transposed = standard(weights.t().to_owned());
        let mut by_w = Array2::<f32>::zeros(weights.raw_dim());
        let mut by_b = Array2::<f32>::zeros((1, outputs));
        let mut by_x = Array2::<f32>::zeros(if self.needs(x) { input.dim() } else { (0, 0) });
        let mut seen = Array2::<f32>::zeros((steps_out, under_kernel));
        let mut by_seen = Array2::<f32>::zeros((steps_out, under_kernel));
        let zeros = vec![0.0; under_kernel];
        for row in 0..input.nrows() {
            let slopes = gradient.row(row);
            let slopes = slopes.to_shape((steps_out, outputs)).expect("outputs are steps × channels");
            let source = &flat(input)[row * columns_in..(row + 1) * columns_in];
            for (step, seen) in flat_mut(&mut seen).chunks_exact_mut(under_kernel).enumerate() {
                let (taken, kernel) = overlap(conv, step, columns_in);
                seen.fill(0.0);
                seen[kernel].copy_from_slice(&source[taken]);
            }
            ndarray::linalg::general_mat_mul(1.0, &seen.t(), &slopes, 1.0, &mut by_w);
            by_b += &slopes.sum_axis(Axis(0));
            if by_x.is_empty() {
                continue;
            }
            let slopes = slopes.as_slice().expect("a row of outputs lies in one piece");
            kernel::dense(slopes, steps_out, flat(&transposed), &zeros, flat_mut(&mut by_seen));
            let target = &mut flat_mut(&mut by_x)[row * columns_in..(row + 1) * columns_in];
            for (step, by_seen) in flat(&by_seen).chunks_exact(under_kernel).enumerate() {
                let (taken, kernel) = overlap(conv, step, columns_in);
                target[taken].iter_mut().zip(&by_seen[kernel]).for_each(|(sum, slope)| *sum += slope);
            }
        }
        self.add_param(w, by_w);
        self.add_param(b, by_b);
        if !by_x.is_empty() {
            self.add(x, by_x);
        }
    }
}

/// Which elements of a sequence lie under the kernel at a step, and which elements of the kernel lie over them.
fn overlap(conv: Conv, step: usize, columns_in: usize) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
    let steps = columns_in / conv.channels;
    let start = step * conv.stride;
    let skip = conv.pad.saturating_sub(start).min(conv.kernel);
    let end = (steps + conv.pad).saturating_sub(start).min(conv.kernel).max(skip);
    let from = (start + skip).saturating_sub(conv.pad);
    (from * conv.channels..(from + end - skip) * conv.channels, skip * conv.channels..end * conv.channels)
}

fn standard(matrix: Array2<f32>) -> Array2<f32> {
    if matrix.is_standard_layout() { matrix } else { matrix.as_standard_layout().into_owned() }
}
