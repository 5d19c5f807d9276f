//! How a row of features becomes the input of a network: piecewise-linear by quantiles, categories one-hot.
//!
//! A number becomes one element per bin between two quantiles: 1 for a bin that lies wholly below it, 0 for one above, and the share that
//! it covers of its own bin (Gorishniy, Rubachev, Babenko, "On Embeddings for Numerical Features in Tabular Deep Learning", NeurIPS 2022).
//! So a dense layer sees thresholds as a tree does, and a value beyond anything seen in training says no more than the highest that was
//! seen. Guarantees: every element is in 0..=1 whatever the input; a missing value has an element of its own and sets nothing else;
//! quantiles come from the rows that are named and no others. Must not: allocate while encoding a row.

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

/// Most bins of one number.
pub const BINS_MAX: usize = 64;
/// Most values of one category.
pub const CODES_MAX: usize = 4_096;

/// What a column of features holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Column {
    /// A number; NaN is missing.
    Number,
    /// A category as a whole number `0..count`; NaN is missing, any other number is a value that was never seen.
    Codes(usize),
}

/// The columns of an input, with what was seen of each.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoding {
    columns: Vec<Column>,
    seen: Vec<Seen>,
    width: usize,
}

/// What was seen of a column.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    /// Rising edges of a number's bins, or the codes of a category that occurred.
    values: Vec<f32>,
    /// Whether it was missing in some rows and known in others.
    missing: bool,
}

/// An encoding cannot be made of what was stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored encoding is unusable: {reason}")]
pub struct EncodingError {
    /// What is wrong.
    pub reason: String,
}

impl Encoding {
    /// Fits on the named rows of `features` (rows × columns). Half of a number's edges are quantiles of the rows, half of them quantiles of
    /// the distinct values, so that a column which is nearly always zero keeps its resolution elsewhere.
    #[must_use]
    pub fn fit(columns: &[Column], features: ArrayView2<'_, f32>, rows: &[usize], bins: usize) -> Self {
        let bins = bins.clamp(1, BINS_MAX);
        let seen = columns.iter().enumerate().map(|(column, kind)| {
            let mut values: Vec<f32> =
                rows.iter().map(|row| features[[*row, column]]).filter(|value| value.is_finite()).collect();
            let missing = values.len() < rows.len() && !values.is_empty();
            values.sort_by(f32::total_cmp);
            let values = match kind {
                Column::Codes(count) => {
                    values.dedup();
                    values.into_iter().filter(|code| is_code(*code, *count)).collect()
                }
                Column::Number => bin_edges(values, bins),
            };
            Seen { values, missing }
        });
        Self::assemble(columns.to_vec(), seen.collect())
    }

    /// From what [`Encoding::matrix`] gave.
    ///
    /// # Errors
    /// [`EncodingError`] when the matrix does not fit the columns or its numbers do not rise.
    pub fn from_parts(columns: Vec<Column>, matrix: &Array2<f32>) -> Result<Self, EncodingError> {
        let fail = |reason: String| EncodingError { reason };
        if matrix.nrows() != columns.len() || matrix.ncols() < HEAD || matrix.ncols() > HEAD + CODES_MAX {
            return Err(fail(format!("{:?} numbers for {} columns", matrix.dim(), columns.len())));
        }
        let mut seen = Vec::with_capacity(columns.len());
        for (row, column) in matrix.rows().into_iter().zip(&columns) {
            let room = row.len() - HEAD;
            let count = (0..=room).find(|count| as_float(*count) == row[1]);
            let count = count.ok_or_else(|| fail(format!("{} values where {room} fit", row[1])))?;
            let values: Vec<f32> = row.iter().skip(HEAD).take(count).copied().collect();
            let rising =
                values.windows(2).all(|pair| pair[0] < pair[1]) && values.iter().all(|value| value.is_finite());
            let fits = match column {
                Column::Number => count <= BINS_MAX + 1,
                Column::Codes(codes) => *codes <= CODES_MAX && values.iter().all(|code| is_code(*code, *codes)),
            };
            if !rising || !fits {
                return Err(fail("its values do not rise, or are none of their column".to_owned()));
            }
            seen.push(Seen { values, missing: row[0] > 0.5 });
        }
        Ok(Self::assemble(columns, seen))
    }

    fn assemble(columns: Vec<Column>, seen: Vec<Seen>) -> Self {
        let width =
            columns.iter().zip(&seen).map(|(column, seen)| seen.slots(*column) + usize::from(seen.missing)).sum();
        Self { columns, seen, width }
    }

    /// The columns.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Elements of an encoded row.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.width
    }

    /// A typical value of a number: the middle of the rising edges of its bins, half of which are quantiles of the training rows and half of
    /// the distinct values. None for a category, for a number that was never known, and beyond the columns.
    #[must_use]
    pub fn typical(&self, column: usize) -> Option<f32> {
        let values = &self.seen.get(column).filter(|_| self.columns[column] == Column::Number)?.values;
        values.get(values.len() / 2).copied()
    }

    /// Whether the column was missing in some training rows, so that missing means something to what reads it.
    #[must_use]
    pub fn knows_missing(&self, column: usize) -> bool {
        self.seen.get(column).is_some_and(|seen| seen.missing)
    }

    /// Every column with the rising values that were seen of it, its elements beside that of the missing, and whether it has that one.
    pub(super) fn seen(&self) -> impl Iterator<Item = (Column, &[f32], usize, bool)> {
        let columns = self.columns.iter().zip(&self.seen);
        columns.map(|(column, seen)| (*column, seen.values.as_slice(), seen.slots(*column), seen.missing))
    }

    /// What was seen as a matrix: a line per column, with whether it may be missing, how many values follow, and these.
    #[must_use]
    pub fn matrix(&self) -> Array2<f32> {
        let most = self.seen.iter().map(|seen| seen.values.len()).max().unwrap_or(0);
        Array2::from_shape_fn((self.columns.len(), HEAD + most), |(column, place)| {
            let seen = &self.seen[column];
            match place {
                0 => f32::from(u8::from(seen.missing)),
                1 => as_float(seen.values.len()),
                _ => seen.values.get(place - HEAD).copied().unwrap_or(0.0),
            }
        })
    }

    /// Encodes one row. Shapes: `row` one value per column, `out` [`Encoding::width`] elements, overwritten.
    ///
    /// # Panics
    /// When the lengths do not fit.
    pub fn encode(&self, row: &[f32], out: &mut [f32]) {
        assert!(row.len() == self.columns.len() && out.len() == self.width, "a row has one value per column");
        out.fill(0.0);
        let mut rest = out;
        for ((column, seen), value) in self.columns.iter().zip(&self.seen).zip(row) {
            let slots = seen.slots(*column);
            let (target, after) = rest.split_at_mut(slots + usize::from(seen.missing));
            rest = after;
            if value.is_nan() {
                target[slots..].fill(1.0);
                continue;
            }
            match column {
                Column::Number => {
                    for (element, edge) in target.iter_mut().zip(seen.values.windows(2)) {
                        *element = ((value - edge[0]) / (edge[1] - edge[0])).clamp(0.0, 1.0);
                    }
                }
                Column::Codes(_) => {
                    if let Some(place) = seen.values.iter().position(|code| code == value) {
                        target[place] = 1.0;
                    }
                }
            }
        }
    }

    /// Encodes the named rows of `features`: rows × [`Encoding::width`].
    #[must_use]
    pub fn encode_rows(&self, features: ArrayView2<'_, f32>, rows: &[usize]) -> Array2<f32> {
        let mut out = Array2::zeros((rows.len(), self.width));
        let mut values = vec![0.0; self.columns.len()];
        for (row, mut encoded) in rows.iter().zip(out.rows_mut()) {
            for (value, feature) in values.iter_mut().zip(features.row(*row)) {
                *value = *feature;
            }
            self.encode(&values, encoded.as_slice_mut().expect("rows of a new matrix lie in one piece"));
        }
        out
    }
}

/// Numbers before the values in a line of [`Encoding::matrix`].
const HEAD: usize = 2;

impl Seen {
    /// Elements beside that of the missing.
    fn slots(&self, column: Column) -> usize {
        match column {
            Column::Number => self.values.len().saturating_sub(1),
            Column::Codes(_) => self.values.len(),
        }
    }
}

fn is_code(value: f32, count: usize) -> bool {
    value >= 0.0 && value.fract() == 0.0 && value < as_float(count)
}

#[expect(clippy::cast_precision_loss, reason = "counts of values are small")]
fn as_float(count: usize) -> f32 {
    count as f32
}

/// Rising edges from sorted values.
fn bin_edges(values: Vec<f32>, bins: usize) -> Vec<f32> {
    if values.is_empty() {
        return Vec::new();
    }
    let mut distinct = values.clone();
    distinct.dedup();
    if distinct.len() <= bins + 1 {
        return distinct;
    }
    let by_rows = bins.div_ceil(2);
    let by_values = bins - by_rows;
    let quantile = |sorted: &[f32], step: usize, steps: usize| sorted[step * (sorted.len() - 1) / steps];
    let mut edges: Vec<f32> = (0..=by_rows).map(|step| quantile(&values, step, by_rows)).collect();
    edges.extend((1..by_values.max(1)).map(|step| quantile(&distinct, step, by_values.max(1))));
    edges.sort_by(f32::total_cmp);
    edges.dedup();
    edges
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn example() -> Encoding {
        let features = array![[0.0, 0.0], [1.0, 2.0], [2.0, 0.0], [4.0, 2.0], [f32::NAN, 0.0]];
        Encoding::fit(&[Column::Number, Column::Codes(4)], features.view(), &[0, 1, 2, 3, 4], 8)
    }

    #[test]
    fn a_number_fills_the_bins_below_it() {
        let encoding = example();
        let mut out = vec![9.0; encoding.width()];
        encoding.encode(&[3.0, 2.0], &mut out);
        assert_eq!(out, [1.0, 1.0, 0.5, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn missing_has_its_own_element_and_the_unheard_of_sets_none() {
        let encoding = example();
        let mut out = vec![9.0; encoding.width()];
        encoding.encode(&[f32::NAN, 1.0], &mut out);
        assert_eq!(out, [0.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
        encoding.encode(&[f32::INFINITY, f32::NEG_INFINITY], &mut out);
        assert_eq!(out, [1.0, 1.0, 1.0, 0.0, 0.0, 0.0], "beyond anything seen is the highest seen");
        encoding.encode(&[f32::NEG_INFINITY, f32::NAN], &mut out);
        assert_eq!(out, [0.0; 6], "the category was never missing");
    }

    #[test]
    fn a_column_that_was_never_known_has_no_element() {
        let features = array![[f32::NAN, 1.0], [f32::NAN, 2.0]];
        let encoding = Encoding::fit(&[Column::Number, Column::Number], features.view(), &[0, 1], 8);
        let mut out = [9.0];
        encoding.encode(&[5.0, 2.0], &mut out);
        assert_eq!(out, [1.0]);
    }

    #[test]
    fn what_is_stored_encodes_the_same() {
        let encoding = example();
        let again = Encoding::from_parts(encoding.columns().to_vec(), &encoding.matrix()).unwrap();
        assert_eq!(encoding, again);
        let mut falling = encoding.matrix();
        falling[[0, 3]] = -1.0;
        assert!(Encoding::from_parts(encoding.columns().to_vec(), &falling).is_err());
        let mut many = encoding.matrix();
        many[[0, 1]] = 1e9;
        assert!(Encoding::from_parts(encoding.columns().to_vec(), &many).is_err());
    }

    #[test]
    fn rows_that_are_not_named_have_no_part_in_the_quantiles() {
        let features = array![[0.0], [1.0], [1000.0]];
        let encoding = Encoding::fit(&[Column::Number], features.view(), &[0, 1], 4);
        assert_eq!(encoding.matrix(), array![[0.0, 2.0, 0.0, 1.0]]);
    }
}
