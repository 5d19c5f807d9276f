//! A dense layer whose input is nearly all zeros: the rows of weights that count are named, the others are never read.
//!
//! Guarantees: no allocation; terms are added in the order in which they stand, whatever the width. Must not: panic on any value; a row that
//! the weights do not have is the caller's mistake and does panic.

use pulp::{Arch, Simd, WithSimd};

/// An input that is not zero.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Term {
    /// Which input, so which row of the weights.
    pub row: u32,
    /// Its value.
    pub value: f32,
}

/// `out = max(bias + Σ value · w[row], 0)` for one row of input. Shapes: `w` inputs × outputs, `bias` and `out` outputs.
///
/// # Panics
/// When the lengths do not fit or a term names a row that `w` does not have.
pub fn sparse_relu(terms: &[Term], w: &[f32], bias: &[f32], out: &mut [f32]) {
    assert_eq!(out.len(), bias.len(), "an output per bias");
    Arch::new().dispatch(Sparse { terms, w, bias, out });
}

struct Sparse<'a> {
    terms: &'a [Term],
    w: &'a [f32],
    bias: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Sparse<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut column = 0;
        while column < self.bias.len() {
            column += match (self.bias.len() - column) / S::F32_LANES {
                16.. if S::REGISTER_COUNT >= 32 => self.panel::<S, 16>(simd, column),
                10.. => self.panel::<S, 10>(simd, column),
                8.. => self.panel::<S, 8>(simd, column),
                4.. => self.panel::<S, 4>(simd, column),
                2.. => self.panel::<S, 2>(simd, column),
                1 => self.panel::<S, 1>(simd, column),
                _ => self.edge(simd, column),
            };
        }
    }
}

impl Sparse<'_> {
    /// Some whole registers of columns. Returns how many columns.
    #[inline(always)]
    fn panel<S: Simd, const VECTORS: usize>(&mut self, simd: S, column: usize) -> usize {
        let end = column + VECTORS * S::F32_LANES;
        let mut sums = [simd.splat_f32s(0.0); VECTORS];
        sums.copy_from_slice(S::as_simd_f32s(&self.bias[column..end]).0);
        for term in self.terms {
            let start = term.row as usize * self.bias.len();
            let weights = S::as_simd_f32s(&self.w[start + column..start + end]).0;
            let value = simd.splat_f32s(term.value);
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum = simd.mul_add_e_f32s(value, *weight, *sum);
            }
        }
        let zero = simd.splat_f32s(0.0);
        let out = S::as_mut_simd_f32s(&mut self.out[column..end]).0;
        out.iter_mut().zip(sums).for_each(|(out, sum)| *out = simd.max_f32s(sum, zero));
        end - column
    }

    /// The last columns, fewer than a register holds.
    #[inline(always)]
    fn edge<S: Simd>(&mut self, simd: S, column: usize) -> usize {
        let outputs = self.bias.len();
        let mut sum = simd.partial_load_f32s(&self.bias[column..]);
        for term in self.terms {
            let start = term.row as usize * outputs;
            let weights = simd.partial_load_f32s(&self.w[start + column..start + outputs]);
            sum = simd.mul_add_e_f32s(simd.splat_f32s(term.value), weights, sum);
        }
        simd.partial_store_f32s(&mut self.out[column..], simd.max_f32s(sum, simd.splat_f32s(0.0)));
        S::F32_LANES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_the_inputs_of_a_rectified_layer_for_any_width() {
        let number = |at: usize| (at * 7_919 % 1_009) as f32 / 1_009.0 - 0.5;
        let inputs = 40;
        for outputs in [1, 8, 15, 16, 33, 96, 128, 160, 200, 300, 512] {
            let w: Vec<f32> = (0..inputs * outputs).map(number).collect();
            let bias: Vec<f32> = (0..outputs).map(|at| number(at + 5)).collect();
            let terms = [(3, 0.5), (0, 1.0), (39, -2.0), (17, 0.25)].map(|(row, value)| Term { row, value });
            let mut out = vec![9.0; outputs];
            sparse_relu(&terms, &w, &bias, &mut out);
            for (column, got) in out.iter().enumerate() {
                let products = terms.iter().map(|term| term.value * w[term.row as usize * outputs + column]);
                let wanted = (bias[column] + products.sum::<f32>()).max(0.0);
                assert!((wanted - got).abs() < 1e-5, "{outputs} outputs, column {column}: {got} for {wanted}");
            }
        }
    }
}
