//! Inference on plain slices: dense layers, convolutions, recurrent cells, activations.
//!
//! Matrices are row-major, weights are inputs × outputs, so that the inner loop runs along a row of weights. The instruction set (AVX-512,
//! AVX2 with FMA, NEON, plain) is found at run time by `pulp`. Guarantees: no allocation, and the same result for a row alone as for the row
//! in a batch. Must not: panic on any value; lengths that do not fit are the caller's mistake and do panic.

mod cells;
mod phases;
mod sparse;

pub use cells::{gru_cell, gru_serve, lstm_cell, lstm_first, lstm_serve};
pub use phases::{PLACES, ROW, by_phase, halve};
pub use sparse::{Term, sparse_relu};

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

/// `out = x · w + bias` for `rows` rows. Shapes: `x` rows × inputs, `w` inputs × outputs, `bias` outputs, `out` rows × outputs.
///
/// # Panics
/// When the lengths do not fit.
pub fn dense(x: &[f32], rows: usize, w: &[f32], bias: &[f32], out: &mut [f32]) {
    let inputs = x.len().checked_div(rows).unwrap_or(0);
    strided_dense(x, inputs, inputs, w, bias, out);
}

/// `out += x · w` for `rows` rows, shapes as for [`dense`].
///
/// # Panics
/// When the lengths do not fit.
pub fn dense_add(x: &[f32], rows: usize, w: &[f32], out: &mut [f32]) {
    if rows == 0 {
        return;
    }
    let inputs = x.len() / rows;
    product(x, inputs, inputs, w, None, out.len() / rows, out);
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

/// As [`dense`] for rows of `inputs` numbers that begin every `stride` numbers of `x`; they may overlap.
///
/// # Panics
/// When the lengths do not fit.
pub fn strided_dense(x: &[f32], inputs: usize, stride: usize, w: &[f32], bias: &[f32], out: &mut [f32]) {
    product(x, inputs, stride, w, Some(bias), bias.len(), out);
}

/// Rows of `inputs` numbers that begin every `stride` numbers of `x`; they may overlap. Without a bias the product is added to `out`.
fn product(x: &[f32], inputs: usize, stride: usize, w: &[f32], bias: Option<&[f32]>, outputs: usize, out: &mut [f32]) {
    assert_eq!(w.len(), inputs * outputs, "weights are inputs × outputs");
    assert_eq!(out.len() % outputs.max(1), 0, "outputs are rows × outputs");
    let rows = out.len() / outputs.max(1);
    assert!(rows == 0 || x.len() >= (rows - 1) * stride + inputs, "the input holds every row");
    Arch::new().dispatch(Dense { x, inputs, stride, w, bias, out, outputs });
}

/// Sums per output when one register of columns has many inputs.
const CHAINS: usize = 4;
/// Inputs whose weights, four registers of columns, stay in the first cache.
const PIECE_INPUTS: usize = 128;
/// From so many inputs on, adding the sums up in the end is worth it.
const CHAINED_INPUTS_MIN: usize = 128;

struct Dense<'a> {
    x: &'a [f32],
    inputs: usize,
    stride: usize,
    w: &'a [f32],
    bias: Option<&'a [f32]>,
    out: &'a mut [f32],
    outputs: usize,
}

impl WithSimd for Dense<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        // Columns outside, rows inside: the panel of weights that a tile reads stays in the first cache for all rows.
        let lanes = S::F32_LANES;
        let rows = self.out.len() / self.outputs.max(1);
        let mut column = 0;
        while column < self.outputs {
            let left = (self.outputs - column) / lanes;
            column += match left {
                12.. if rows < 4 => self.panel::<S, 12>(simd, rows, column),
                8.. if rows < 4 => self.panel::<S, 8>(simd, rows, column),
                4.. if rows < 4 || S::REGISTER_COUNT >= 32 => self.panel::<S, 4>(simd, rows, column),
                2.. => self.panel::<S, 2>(simd, rows, column),
                1 => self.narrow(simd, rows, column),
                // The last columns once more together with some before them: a whole register is faster than a part of one.
                _ if self.outputs >= lanes && self.bias.is_some() => {
                    let _ = self.narrow(simd, rows, self.outputs - lanes);
                    lanes
                }
                _ => {
                    self.edges(simd, rows, column);
                    lanes
                }
            };
        }
    }
}

impl Dense<'_> {
    /// All rows of some columns. Returns how many columns.
    #[inline(always)]
    fn panel<S: Simd, const VECTORS: usize>(&mut self, simd: S, rows: usize, column: usize) -> usize {
        // Many rows take the inputs in pieces whose weights stay in the first cache; the order of each sum is the same.
        let piece = if rows < 4 { self.inputs.max(1) } else { PIECE_INPUTS };
        for from in (0..self.inputs.max(1)).step_by(piece) {
            let inputs = from..(from + piece).min(self.inputs);
            let mut row = 0;
            if VECTORS <= 4 {
                while rows - row >= 4 {
                    self.tile::<S, 4, VECTORS>(simd, row, column, inputs.clone());
                    row += 4;
                }
            }
            while row < rows {
                self.tile::<S, 1, VECTORS>(simd, row, column, inputs.clone());
                row += 1;
            }
        }
        VECTORS * S::F32_LANES
    }

    /// All rows of one register of columns. Returns how many columns.
    #[inline(always)]
    fn narrow<S: Simd>(&mut self, simd: S, rows: usize, column: usize) -> usize {
        if self.inputs < CHAINED_INPUTS_MIN {
            return self.panel::<S, 1>(simd, rows, column);
        }
        let mut row = 0;
        while rows - row >= 2 {
            self.chains::<S, 2>(simd, row, column);
            row += 2;
        }
        if row < rows {
            self.chains::<S, 1>(simd, row, column);
        }
        S::F32_LANES
    }

    /// One register of columns. Every fourth input goes to a sum of its own: one sum alone would wait for each addition to end.
    #[inline(always)]
    fn chains<S: Simd, const ROWS: usize>(&mut self, simd: S, row: usize, column: usize) {
        let end = column + S::F32_LANES;
        let load = |line: &[f32]| S::as_simd_f32s(&line[column..end]).0[0];
        let mut sums = [[simd.splat_f32s(0.0); CHAINS]; ROWS];
        for (r, sum) in sums.iter_mut().enumerate() {
            let start = (row + r) * self.outputs;
            sum[0] = load(self.bias.unwrap_or(&self.out[start..start + self.outputs]));
        }
        let (inputs, outputs, w) = (self.inputs, self.outputs, self.w);
        let x: [&[f32]; ROWS] = std::array::from_fn(|r| &self.x[(row + r) * self.stride..][..inputs]);
        let whole = inputs - inputs % CHAINS;
        for first in (0..whole).step_by(CHAINS) {
            let x: [&[f32; CHAINS]; ROWS] = x.map(|x| x[first..].first_chunk().expect("whole chunks of inputs"));
            for chain in 0..CHAINS {
                let weights = load(&w[(first + chain) * outputs..][..outputs]);
                for (sum, x) in sums.iter_mut().zip(x) {
                    sum[chain] = simd.mul_add_e_f32s(simd.splat_f32s(x[chain]), weights, sum[chain]);
                }
            }
        }
        for input in whole..inputs {
            let weights = load(&w[input * outputs..][..outputs]);
            for (sum, x) in sums.iter_mut().zip(&x) {
                sum[input - whole] = simd.mul_add_e_f32s(simd.splat_f32s(x[input]), weights, sum[input - whole]);
            }
        }
        for (r, [a, b, c, d]) in sums.into_iter().enumerate() {
            let start = (row + r) * self.outputs;
            let sum = simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(c, d));
            let out = &mut self.out[start + column..start + end];
            S::as_mut_simd_f32s(out).0[0] = sum;
        }
    }

    #[inline(always)]
    fn edges<S: Simd>(&mut self, simd: S, rows: usize, column: usize) {
        let mut row = 0;
        while rows - row >= 4 {
            self.edge::<S, 4>(simd, row, column);
            row += 4;
        }
        while row < rows {
            self.edge::<S, 1>(simd, row, column);
            row += 1;
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &mut self,
        simd: S,
        row: usize,
        column: usize,
        inputs: Range<usize>,
    ) {
        let width = VECTORS * S::F32_LANES;
        let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
        for (r, sum) in sums.iter_mut().enumerate() {
            let start = (row + r) * self.outputs + column;
            let bias = self.bias.filter(|_| inputs.start == 0);
            let before = bias.map_or(&self.out[start..start + width], |bias| &bias[column..column + width]);
            sum.copy_from_slice(S::as_simd_f32s(before).0);
        }
        let x: [&[f32]; ROWS] = std::array::from_fn(|r| &self.x[(row + r) * self.stride..][inputs.clone()]);
        let weights = &self.w[inputs.start * self.outputs..inputs.end * self.outputs];
        for (input, weights) in weights.chunks_exact(self.outputs).enumerate() {
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
        let mut sums: [S::f32s; ROWS] = std::array::from_fn(|r| {
            let start = (row + r) * self.outputs;
            let before = self.bias.unwrap_or(&self.out[start..start + self.outputs]);
            simd.partial_load_f32s(&before[column..])
        });
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

/// Natural logarithm of a positive number that is not subnormal, within 2 units in the last place; of infinity a finite number.
/// Source of the polynomial: Cephes `logf` (Moshier).
#[inline(always)]
#[must_use]
#[expect(clippy::cast_possible_wrap, clippy::cast_precision_loss, reason = "an exponent has eight bits")]
pub fn ln(x: f32) -> f32 {
    // √½: what is left beside the exponent lies between it and √2.
    const LEAST: u32 = 0x3f35_04f3;
    let bits = x.to_bits().wrapping_sub(LEAST);
    let exponent = (bits as i32 >> 23) as f32;
    let rest = f32::from_bits((bits & 0x007f_ffff) + LEAST) - 1.0;
    let square = rest * rest;
    let polynomial = 7.037_683_6e-2_f32;
    let polynomial = polynomial * rest - 1.151_461e-1;
    let polynomial = polynomial * rest + 1.167_699_9e-1;
    let polynomial = polynomial * rest - 1.242_014_1e-1;
    let polynomial = polynomial * rest + 1.424_932_3e-1;
    let polynomial = polynomial * rest - 1.666_805_8e-1;
    let polynomial = polynomial * rest + 2.000_071_5e-1;
    let polynomial = polynomial * rest - 2.499_999_4e-1;
    let polynomial = polynomial * rest + 3.333_333e-1;
    let rounding = polynomial * rest * square - exponent * 2.121_944_4e-4 - 0.5 * square;
    rest + rounding + exponent * 0.693_359_4
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_that_of_the_library() {
        assert_eq!(ln(1.0), 0.0);
        for step in 0..20_000_u16 {
            let x = ((f32::from(step) - 10_000.0) * 0.008_7).exp().max(f32::MIN_POSITIVE);
            let (got, wanted) = (f64::from(ln(x)), f64::from(x).ln());
            assert!((got - wanted).abs() <= 2.5e-7 * wanted.abs() + 1e-9, "ln({x}) = {got}, not {wanted}");
        }
        assert!(ln(f32::MAX) > 88.7 && ln(f32::INFINITY).is_finite());
    }

    #[test]
    fn products_are_those_of_plain_loops_for_any_shape_and_a_row_alone_gives_the_same_bits() {
        let number = |at: usize| (at * 7_919 % 1_009) as f32 / 1_009.0 - 0.5;
        for (rows, inputs, outputs) in
            [(1, 5, 3), (3, 9, 16), (3, 387, 24), (5, 48, 192), (9, 33, 200), (4, 17, 77), (2, 8, 33), (6, 300, 70)]
        {
            let x: Vec<f32> = (0..rows * inputs).map(number).collect();
            let w: Vec<f32> = (0..inputs * outputs).map(|at| number(at + 3)).collect();
            let bias: Vec<f32> = (0..outputs).map(|at| number(at + 11)).collect();
            let mut out = vec![0.0; rows * outputs];
            dense(&x, rows, &w, &bias, &mut out);
            let mut added: Vec<f32> = bias.repeat(rows);
            dense_add(&x, rows, &w, &mut added);
            let apart = out.iter().zip(&added).map(|(out, added)| (out - added).abs());
            assert!(apart.fold(0.0, f32::max) < 1e-5, "{rows} × {inputs} × {outputs}: adding to the bias is the same");
            for row in 0..rows {
                let mut alone = vec![0.0; outputs];
                dense(&x[row * inputs..(row + 1) * inputs], 1, &w, &bias, &mut alone);
                assert_eq!(alone, out[row * outputs..(row + 1) * outputs]);
                for (column, got) in alone.iter().enumerate() {
                    let products = (0..inputs).map(|i| x[row * inputs + i] * w[i * outputs + column]);
                    assert!((bias[column] + products.sum::<f32>() - got).abs() < 1e-4);
                }
            }
        }
    }
}
