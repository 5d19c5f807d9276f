//! The first layer of a network on features as they come, without an encoded row in between.
//!
//! From one element to the next an encoded number falls at two places at most: from 1 to the share of its own bin, and from there to 0.
//! Summed by parts (Abel), the product of an encoded row and the weights is therefore each fall times the sum of all weights up to it, and
//! these sums are made once, when a model is read. So a number costs two rows of weights however many bins it has, a category or a missing
//! value one. Guarantees: what comes out is what [`Encoding::encode`] and a rectified dense layer give, but for rounding; a row alone and
//! among others gives the same bits; no allocation while judging. Must not: be trained.

use ndarray::Array2;
use pulp::{Arch, Simd, WithSimd};

use super::encoding::{Column, Encoding};
use crate::nn::kernel::{self, Term};

/// Edges are compared so many at once.
const LANES: usize = 16;

/// A rectified dense layer that reads features.
#[derive(Clone, Debug)]
pub(super) struct FirstLayer {
    columns: Vec<Reading>,
    /// Rising values of every column, each followed by infinities up to whole [`LANES`], one at least.
    edges: Vec<f32>,
    /// Inputs × hidden: running sums over the bins of a number, plain weights elsewhere.
    sums: Vec<f32>,
    bias: Vec<f32>,
}

/// Where a column's numbers are.
#[derive(Clone, Debug)]
struct Reading {
    number: bool,
    edges: std::ops::Range<usize>,
    /// Row of the first bin or code.
    first: u32,
    /// Row that says that it is missing.
    missing: Option<u32>,
}

impl FirstLayer {
    /// Of a layer's weights, [`Encoding::width`] × hidden, and bias.
    pub(super) fn new(encoding: &Encoding, weight: &Array2<f32>, bias: Vec<f32>) -> Self {
        let (mut columns, mut edges, mut sums) = (Vec::new(), Vec::new(), weight.as_standard_layout().into_owned());
        let mut row = 0;
        for (column, values, slots, missing) in encoding.seen() {
            let start = edges.len();
            edges.extend_from_slice(values);
            edges.resize(start + (values.len() + 1).next_multiple_of(LANES), f32::INFINITY);
            let number = column == Column::Number;
            for bin in row + 1..if number { row + slots } else { row } {
                let (above, mut here) = sums.view_mut().split_at(ndarray::Axis(0), bin);
                here.row_mut(0).zip_mut_with(&above.row(bin - 1), |here, above| *here += above);
            }
            let at = |row: usize| u32::try_from(row).expect("columns times bins are few");
            let reading = Reading {
                number,
                edges: start..edges.len(),
                first: at(row),
                missing: missing.then(|| at(row + slots)),
            };
            columns.push(reading);
            row += slots + usize::from(missing);
        }
        Self { columns, edges, sums: sums.into_raw_vec_and_offset().0, bias }
    }

    /// Room for the terms of one row.
    pub(super) fn room(&self) -> Vec<Term> {
        vec![Term::default(); 2 * self.columns.len() + 1]
    }

    /// Shapes: `row` one value per column, `terms` what [`FirstLayer::room`] gave, `out` hidden units, overwritten.
    ///
    /// # Panics
    /// When the lengths do not fit.
    pub(super) fn apply(&self, row: &[f32], terms: &mut [Term], out: &mut [f32]) {
        assert_eq!(row.len(), self.columns.len(), "a row has one value per column");
        let count = Arch::new().dispatch(Differences { layer: self, row, terms });
        kernel::sparse_relu(&terms[..count], &self.sums, &self.bias, out);
    }
}

/// Finds the terms of a row. Gives how many.
struct Differences<'a> {
    layer: &'a FirstLayer,
    row: &'a [f32],
    terms: &'a mut [Term],
}

impl WithSimd for Differences<'_> {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> usize {
        let mut count = 0;
        // Written first and counted after, so that nothing has to be guessed.
        let mut add = |row: u32, value: f32, counts: bool| {
            self.terms[count] = Term { row, value };
            count += usize::from(counts);
        };
        for (column, value) in self.layer.columns.iter().zip(self.row) {
            if value.is_nan() {
                add(column.missing.unwrap_or(0), 1.0, column.missing.is_some());
                continue;
            }
            let edges = &self.layer.edges[column.edges.clone()];
            // Below the infinities that fill up.
            let value = value.min(f32::MAX);
            let Some(bin) = count_up_to(simd, edges, value).checked_sub(1) else { continue };
            let (low, row) = (edges[bin as usize], column.first + bin);
            if column.number {
                // Zero beyond the last edge, where the next is infinity and the quotient may be no number.
                let share = ((value - low) / (edges[bin as usize + 1] - low)).max(0.0);
                add(row.wrapping_sub(1), 1.0 - share, bin > 0);
                add(row, share, share > 0.0);
            } else {
                add(row, 1.0, low == value);
            }
        }
        count
    }
}

/// How many of the rising edges do not exceed the value.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a sum of ones")]
fn count_up_to<S: Simd>(simd: S, edges: &[f32], value: f32) -> u32 {
    let (value, one, zero) = (simd.splat_f32s(value), simd.splat_f32s(1.0), simd.splat_f32s(0.0));
    let mut counts = zero;
    for edges in S::as_simd_f32s(edges).0 {
        let passed = simd.less_than_or_equal_f32s(*edges, value);
        counts = simd.add_f32s(counts, simd.select_f32s(passed, one, zero));
    }
    simd.reduce_sum_f32s(counts) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns of every kind: of many bins, of two values, of one, of none, codes, each with and without missing values.
    fn encoding() -> Encoding {
        let kinds =
            [Column::Number, Column::Number, Column::Codes(40), Column::Number, Column::Codes(3), Column::Number];
        let value = |(row, column): (usize, usize)| match column {
            0 => ((row * 37 % 101) as f32).exp2().min(1e30) - 5.0,
            1 if row % 5 == 0 => f32::NAN,
            1 => (row % 2) as f32,
            2 => (row * 3 % 40) as f32,
            3 => 7.0,
            4 if row % 7 == 0 => f32::NAN,
            4 => (row % 2) as f32,
            _ => f32::NAN,
        };
        let features = Array2::from_shape_fn((300, kinds.len()), value);
        Encoding::fit(&kinds, features.view(), &(0..300).collect::<Vec<_>>(), 24)
    }

    #[test]
    fn features_give_what_encoding_them_and_a_dense_layer_give() {
        let encoding = encoding();
        let edges = encoding.matrix();
        for hidden in [3, 16, 24, 128, 160, 512] {
            let number = |at: usize| (at * 7_919 % 1_009) as f32 / 1_009.0 - 0.5;
            let weight =
                Array2::from_shape_fn((encoding.width(), hidden), |(row, column)| number(row * hidden + column));
            let bias: Vec<f32> = (0..hidden).map(|at| number(at + 3)).collect();
            let layer = FirstLayer::new(&encoding, &weight, bias.clone());
            let mut terms = layer.room();
            let extremes = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, 0.0, -0.0, 0.5, 1e-40];
            let on_edges = edges.iter().flat_map(|edge| [*edge, edge.next_up(), edge.next_down(), edge * 1.3]);
            for value in on_edges.chain(extremes) {
                for column in 0..=encoding.columns().len() {
                    let mut row = [3.0, 1.0, 6.0, 7.0, 1.0, 2.0];
                    row.iter_mut()
                        .enumerate()
                        .filter(|(at, _)| *at == column || column == 6)
                        .for_each(|at| *at.1 = value);
                    let mut encoded = vec![0.0; encoding.width()];
                    encoding.encode(&row, &mut encoded);
                    let mut wanted = vec![0.0; hidden];
                    kernel::dense(&encoded, 1, weight.as_slice().unwrap(), &bias, &mut wanted);
                    kernel::relu(&mut wanted);
                    let mut got = vec![9.0; hidden];
                    layer.apply(&row, &mut terms, &mut got);
                    let apart = wanted.iter().zip(&got).map(|(wanted, got)| (wanted - got).abs());
                    assert!(apart.fold(0.0, f32::max) < 1e-4, "{row:?}: {got:?} for {wanted:?}");
                }
            }
        }
    }
}
