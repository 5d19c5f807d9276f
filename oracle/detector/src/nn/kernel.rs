//! Inference on plain slices: dense layers, convolutions, recurrent cells, activations.
//!
//! Matrices are row-major, weights are inputs × outputs, so that the inner loop runs along a row of weights and one output is always summed
//! in the order of its inputs, whatever the width of a vector register. The instruction set (AVX-512, AVX2 with FMA, NEON, plain) is found
//! at run time by `pulp`. Guarantees: no allocation, and the same result for a row alone as for the row in a batch. Must not: panic on any
//! value; lengths that do not fit are the caller's mistake and do panic.

use pulp::{Arch, Simd, WithSimd};

/// `out = x · w + bias` for `rows` rows. Shapes: `x` rows × inputs, `w` inputs × outputs, `bias` outputs, `out` rows × outputs.
///
/// # Panics
/// When the lengths do not fit.
pub fn dense(x: &[f32], rows: usize, w: &[f32], bias: &[f32], out: &mut [f32]) {
    let inputs = x.len().checked_div(rows).unwrap_or(0);
    strided_dense(x, inputs, inputs, w, bias, out);
}

/// A one-dimensional convolution over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Channels of the input.
    pub channels: usize,
    /// Steps under the kernel.
    pub kernel: usize,
    /// Steps between two outputs.
    pub stride: usize,
    /// Steps of zeros before the first and after the last.
    pub pad: usize,
}

impl Conv {
    /// How many steps come out of `steps` steps.
    #[must_use]
    pub const fn steps_out(&self, steps: usize) -> usize {
        let padded = steps + 2 * self.pad;
        if padded < self.kernel { 0 } else { (padded - self.kernel) / self.stride + 1 }
    }
}

/// A convolution of one sequence. Shapes: `x` steps × channels, `w` (kernel · channels) × outputs, `bias` outputs,
/// `out` steps out × outputs.
///
/// # Panics
/// When the lengths do not fit.
pub fn conv1d(x: &[f32], conv: Conv, w: &[f32], bias: &[f32], out: &mut [f32]) {
    let (channels, outputs) = (conv.channels, bias.len());
    let steps = x.len() / channels;
    let steps_out = conv.steps_out(steps);
    assert_eq!(out.len(), steps_out * outputs, "the output of a convolution has steps out × outputs");
    let row_inputs = conv.kernel * channels;
    // The outputs whose kernel lies wholly inside are rows of one strided product; the others are done one by one.
    let first = conv.pad.div_ceil(conv.stride).min(steps_out);
    let inside = if steps + conv.pad >= conv.kernel {
        ((steps + conv.pad - conv.kernel) / conv.stride + 1).clamp(first, steps_out)
    } else {
        first
    };
    for step in (0..first).chain(inside..steps_out) {
        let start = step * conv.stride;
        let skip = conv.pad.saturating_sub(start).min(conv.kernel);
        let end = (steps + conv.pad - start).min(conv.kernel).max(skip);
        let from = (start + skip).saturating_sub(conv.pad) * channels;
        let taken = (end - skip) * channels;
        let weights = &w[skip * channels * outputs..end * channels * outputs];
        let row = &mut out[step * outputs..(step + 1) * outputs];
        strided_dense(&x[from..from + taken], taken, taken, weights, bias, row);
    }
    if inside > first {
        let from = (first * conv.stride - conv.pad) * channels;
        let rows = &mut out[first * outputs..inside * outputs];
        strided_dense(&x[from..], row_inputs, conv.stride * channels, w, bias, rows);
    }
}

/// Rows of `inputs` numbers that begin every `stride` numbers of `x`; they may overlap.
fn strided_dense(x: &[f32], inputs: usize, stride: usize, w: &[f32], bias: &[f32], out: &mut [f32]) {
    let outputs = bias.len();
    assert_eq!(w.len(), inputs * outputs, "weights are inputs × outputs");
    assert_eq!(out.len() % outputs.max(1), 0, "outputs are rows × outputs");
    let rows = out.len() / outputs.max(1);
    assert!(rows == 0 || x.len() >= (rows - 1) * stride + inputs, "the input holds every row");
    Arch::new().dispatch(Dense { x, inputs, stride, w, bias, out, outputs });
}

struct Dense<'a> {
    x: &'a [f32],
    inputs: usize,
    stride: usize,
    w: &'a [f32],
    bias: &'a [f32],
    out: &'a mut [f32],
    outputs: usize,
}

impl WithSimd for Dense<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let rows = self.out.len() / self.outputs.max(1);
        let mut row = 0;
        while rows - row >= 4 {
            self.block::<S, 4>(simd, row);
            row += 4;
        }
        while row < rows {
            self.block::<S, 1>(simd, row);
            row += 1;
        }
    }
}

impl Dense<'_> {
    #[inline(always)]
    fn block<S: Simd, const ROWS: usize>(&mut self, simd: S, row: usize) {
        let lanes = S::F32_LANES;
        let mut column = 0;
        if ROWS == 1 {
            while self.outputs - column >= 8 * lanes {
                self.tile::<S, ROWS, 8>(simd, row, column);
                column += 8 * lanes;
            }
        }
        if ROWS == 1 || S::REGISTER_COUNT >= 32 {
            while self.outputs - column >= 4 * lanes {
                self.tile::<S, ROWS, 4>(simd, row, column);
                column += 4 * lanes;
            }
        }
        while self.outputs - column >= 2 * lanes {
            self.tile::<S, ROWS, 2>(simd, row, column);
            column += 2 * lanes;
        }
        while self.outputs - column >= lanes {
            self.tile::<S, ROWS, 1>(simd, row, column);
            column += lanes;
        }
        if column < self.outputs {
            self.edge::<S, ROWS>(simd, row, column);
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const ROWS: usize, const VECTORS: usize>(&mut self, simd: S, row: usize, column: usize) {
        let width = VECTORS * S::F32_LANES;
        let (bias, _) = S::as_simd_f32s(&self.bias[column..column + width]);
        let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
        for sum in &mut sums {
            sum.copy_from_slice(&bias[..VECTORS]);
        }
        let x: [&[f32]; ROWS] =
            std::array::from_fn(|r| &self.x[(row + r) * self.stride..(row + r) * self.stride + self.inputs]);
        for (input, weights) in self.w.chunks_exact(self.outputs).enumerate() {
            let (weights, _) = S::as_simd_f32s(&weights[column..column + width]);
            let weights: [S::f32s; VECTORS] = std::array::from_fn(|v| weights[v]);
            for (sum, x) in sums.iter_mut().zip(&x) {
                let value = simd.splat_f32s(x[input]);
                for (sum, weight) in sum.iter_mut().zip(weights) {
                    *sum = simd.mul_add_e_f32s(value, weight, *sum);
                }
            }
        }
        for (r, sum) in sums.iter().enumerate() {
            let start = (row + r) * self.outputs + column;
            let (out, _) = S::as_mut_simd_f32s(&mut self.out[start..start + width]);
            out.copy_from_slice(sum);
        }
    }

    /// The last columns, fewer than a register holds.
    #[inline(always)]
    fn edge<S: Simd, const ROWS: usize>(&mut self, simd: S, row: usize, column: usize) {
        let bias = simd.partial_load_f32s(&self.bias[column..]);
        let mut sums = [bias; ROWS];
        for (input, weights) in self.w.chunks_exact(self.outputs).enumerate() {
            let weights = simd.partial_load_f32s(&weights[column..]);
            for (r, sum) in sums.iter_mut().enumerate() {
                let value = simd.splat_f32s(self.x[(row + r) * self.stride + input]);
                *sum = simd.mul_add_e_f32s(value, weights, *sum);
            }
        }
        for (r, sum) in sums.iter().enumerate() {
            let start = (row + r) * self.outputs;
            simd.partial_store_f32s(&mut self.out[start + column..start + self.outputs], *sum);
        }
    }
}

/// e to the power of `x`, within 2 units in the last place between −87 and 88, and bounded beyond: no infinity, no zero.
/// Source of the polynomial: Cephes `expf` (Moshier).
#[inline(always)]
#[must_use]
pub fn exp(x: f32) -> f32 {
    // Adding this rounds to a whole number, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let whole = rounded - ROUND;
    let rest = (x - whole * 0.693_359_4) - whole * -2.121_944_4e-4;
    let polynomial = 1.987_569_1e-4_f32;
    let polynomial = polynomial * rest + 1.398_199_9e-3;
    let polynomial = polynomial * rest + 8.333_452e-3;
    let polynomial = polynomial * rest + 4.166_579_6e-2;
    let polynomial = polynomial * rest + 1.666_666_5e-1;
    let polynomial = polynomial * rest + 0.5;
    let value = polynomial * rest * rest + rest + 1.0;
    f32::from_bits(value.to_bits().wrapping_add(rounded.to_bits() << 23))
}

#[inline(always)]
fn sigmoid_of(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[inline(always)]
fn tanh_of(x: f32) -> f32 {
    2.0 * sigmoid_of(2.0 * x) - 1.0
}

#[inline(always)]
fn each(values: &mut [f32], f: impl Fn(f32) -> f32) {
    Arch::new().dispatch(
        #[inline(always)]
        || values.iter_mut().for_each(|value| *value = f(*value)),
    );
}

/// 1 / (1 + e^−x), in place.
pub fn sigmoid(values: &mut [f32]) {
    each(values, sigmoid_of);
}

/// Hyperbolic tangent, in place.
pub fn tanh(values: &mut [f32]) {
    each(values, tanh_of);
}

/// max(x, 0), in place.
pub fn relu(values: &mut [f32]) {
    each(values, |value| value.max(0.0));
}

/// Softmax of each row of `columns` numbers, in place.
pub fn softmax(values: &mut [f32], columns: usize) {
    for row in values.chunks_exact_mut(columns) {
        let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        each(row, |value| exp(value - highest));
        let sum: f32 = row.iter().sum();
        row.iter_mut().for_each(|value| *value /= sum);
    }
}

/// One step of a long short-term memory (Hochreiter, Schmidhuber 1997, with forget gate), in place. Shapes: `gates` rows × 4·units,
/// pre-activations of input, forget, candidate and output gate, left activated; `cell` and `hidden` rows × units.
///
/// # Panics
/// When the lengths do not fit.
pub fn lstm_cell(gates: &mut [f32], cell: &mut [f32], hidden: &mut [f32], units: usize) {
    assert!(cell.len() == hidden.len() && gates.len() == 4 * cell.len(), "gates are rows × 4·units");
    let rows = gates.chunks_exact_mut(4 * units).zip(cell.chunks_exact_mut(units)).zip(hidden.chunks_exact_mut(units));
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for ((gates, cell), hidden) in rows {
                let (input, rest) = gates.split_at_mut(units);
                let (forget, rest) = rest.split_at_mut(units);
                let (candidate, output) = rest.split_at_mut(units);
                for unit in 0..units {
                    input[unit] = sigmoid_of(input[unit]);
                    forget[unit] = sigmoid_of(forget[unit]);
                    candidate[unit] = tanh_of(candidate[unit]);
                    output[unit] = sigmoid_of(output[unit]);
                    cell[unit] = forget[unit] * cell[unit] + input[unit] * candidate[unit];
                    hidden[unit] = output[unit] * tanh_of(cell[unit]);
                }
            }
        },
    );
}

/// One step of a gated recurrent unit (Cho et al. 2014, reset after the product), in place. Shapes: `x_gates` and `h_gates` rows × 3·units,
/// pre-activations of reset, update and candidate from the input and from the hidden state, left activated in `x_gates`; `hidden` rows ×
/// units.
///
/// # Panics
/// When the lengths do not fit.
pub fn gru_cell(x_gates: &mut [f32], h_gates: &[f32], hidden: &mut [f32], units: usize) {
    assert!(x_gates.len() == h_gates.len() && x_gates.len() == 3 * hidden.len(), "gates are rows × 3·units");
    let rows = x_gates.chunks_exact_mut(3 * units).zip(h_gates.chunks_exact(3 * units));
    let rows = rows.zip(hidden.chunks_exact_mut(units));
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for ((x, h), hidden) in rows {
                let (reset, rest) = x.split_at_mut(units);
                let (update, candidate) = rest.split_at_mut(units);
                for unit in 0..units {
                    reset[unit] = sigmoid_of(reset[unit] + h[unit]);
                    update[unit] = sigmoid_of(update[unit] + h[units + unit]);
                    candidate[unit] = tanh_of(candidate[unit] + reset[unit] * h[2 * units + unit]);
                    hidden[unit] = (1.0 - update[unit]) * candidate[unit] + update[unit] * hidden[unit];
                }
            }
        },
    );
}
