//! What every traffic set gives: its own columns as features, the same rows as flows, classes, groups and whether its order means time.
//!
//! Guarantees: all parts have the same number of rows, at least one; features are finite or NaN (missing); categories are codes of a fixed
//! vocabulary whose last code means "anything else". Must not: hold a column that the set's provenance forbids.

use std::path::{Path, PathBuf};

use ndarray::Array2;

use super::table::{Table, TableError, Text};
use crate::catalogue::TrainError;
use crate::model_file::DataSource;
use crate::traffic::serving::{History, SERVING_COLUMNS, SERVING_FEATURES, ServingColumn};
use crate::traffic::{FLOW_BYTES_MAX, Flow};

/// Most preceding flows that [`TrafficSet::with_preceding`] sets side by side.
pub const PRECEDING_MAX: usize = 64;

/// A traffic set in memory.
#[derive(Clone, Debug)]
pub struct TrafficSet {
    /// Rows × features, the set's own columns.
    pub features: Array2<f32>,
    /// What each feature is.
    pub columns: Vec<Feature>,
    /// The rows as a sensor would have told them, as far as the set's columns allow. Their start is not known in any set.
    pub flows: Vec<Flow>,
    /// Whether consecutive rows are consecutive flows of one device.
    pub order: Order,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Class per row, index into `classes`.
    pub truth: Vec<usize>,
    /// Which class means "no attack".
    pub benign: usize,
    /// Group per row; rows of a group must not be split between training and test.
    pub groups: Vec<u64>,
    /// The name of the attack where it is finer than the class, only to break a result down.
    pub attack: Option<Text>,
    /// The file.
    pub source: DataSource,
}

/// A feature column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// The set's own name of it.
    pub name: String,
    /// What its values mean.
    pub kind: FeatureKind,
}

/// What the values of a feature mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeatureKind {
    /// A quantity, in the set's own unit.
    Numeric,
    /// A code, `0..codes`; where the vocabulary is a set's own, the last one means "anything else".
    Categorical {
        /// How many codes there are.
        codes: usize,
    },
}

/// Whether consecutive rows are consecutive flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Rows are the flows of one device in the order of capture.
    Capture,
    /// Rows are a sample; what stands before a row says nothing of what happened before it.
    None,
}

impl TrafficSet {
    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.truth.len()
    }

    /// Whether there are none; never.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.truth.is_empty()
    }

    /// The rows in the serving schema: rows × [`SERVING_FEATURES`], with the columns. In order of capture the rows are one device's history;
    /// without order every row stands alone and its history is missing.
    #[must_use]
    pub fn serving(&self) -> (Array2<f32>, Vec<Feature>) {
        let mut features = Array2::from_elem((self.len(), SERVING_FEATURES), f32::NAN);
        let mut history = History::new();
        for (flow, mut row) in self.flows.iter().zip(features.rows_mut()) {
            let of_flow = match self.order {
                Order::Capture => history.observe(flow),
                Order::None => history.features(flow),
            };
            row.iter_mut().zip(of_flow).for_each(|(place, value)| *place = value);
        }
        let kind =
            |codes: Option<usize>| codes.map_or(FeatureKind::Numeric, |codes| FeatureKind::Categorical { codes });
        let column = |column: &ServingColumn| Feature { name: column.name.to_owned(), kind: kind(column.codes) };
        (features, SERVING_COLUMNS.iter().map(column).collect())
    }

    /// [`side_by_side`] for the set's own columns.
    ///
    /// # Errors
    /// [`TrainError::Unsuitable`] when the rows are in no order, or `preceding` is above [`PRECEDING_MAX`].
    pub fn with_preceding(&self, preceding: usize) -> Result<(Array2<f32>, Vec<Feature>), TrainError> {
        side_by_side(self.order, &self.features, &self.columns, preceding)
    }
}

/// Every row's features with those of the `preceding` rows before it side by side, newest first: rows × `columns · (preceding + 1)`. Rows
/// before the first are NaN. The rows are taken as captured, across the borders of groups: a window that ended at a border would tell the
/// label by its length.
///
/// # Errors
/// [`TrainError::Unsuitable`] when the rows are in no order, or `preceding` is above [`PRECEDING_MAX`].
pub fn side_by_side(
    order: Order,
    features: &Array2<f32>,
    columns: &[Feature],
    preceding: usize,
) -> Result<(Array2<f32>, Vec<Feature>), TrainError> {
    if order == Order::None {
        return Err(TrainError::Unsuitable { reason: "the rows of this set are in no order of time".to_owned() });
    }
    if preceding > PRECEDING_MAX {
        return Err(TrainError::Unsuitable { reason: format!("{preceding} preceding flows, most {PRECEDING_MAX}") });
    }
    let width = features.ncols();
    let value = |(row, place): (usize, usize)| {
        let before: Option<usize> = row.checked_sub(place / width);
        before.map_or(f32::NAN, |row| features[[row, place % width]])
    };
    let wide = Array2::from_shape_fn((features.nrows(), width * (preceding + 1)), value);
    let name = |column: &Feature, back: usize| match back {
        0 => column.name.clone(),
        back => format!("{} -{back}", column.name),
    };
    let named = |back: usize| columns.iter().map(move |column| Feature { name: name(column, back), kind: column.kind });
    Ok((wide, (0..=preceding).flat_map(named).collect()))
}

/// The file to read: `path` itself, or the set's usual file in that folder.
pub(super) fn file_in(path: &Path, usual: &str) -> PathBuf {
    if path.is_dir() { path.join(usual) } else { path.to_owned() }
}

/// Class per row; a name that is not in `names` is an error with its line.
pub(super) fn classes(table: &Table, column: &'static str, names: &[&str]) -> Result<Vec<usize>, TableError> {
    let class = |(row, word): (usize, &str)| {
        let class = names.iter().position(|name| *name == word);
        class.ok_or_else(|| table.bad_cell(row, column, word, "is not a class of this set"))
    };
    table.text(column)?.iter().enumerate().map(class).collect()
}

/// A count of bytes or packets, absent when it is below zero or beyond belief.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "checked")]
pub(super) fn count(number: f64) -> Option<u64> {
    (0.0..=FLOW_BYTES_MAX as f64).contains(&number).then_some(number.round() as u64)
}

/// Features while they are put together, column by column.
pub(super) struct Columns<'a> {
    table: &'a Table,
    features: Vec<Feature>,
    values: Vec<Vec<f32>>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(table: &'a Table) -> Self {
        Self { table, features: Vec::new(), values: Vec::new() }
    }

    /// A declared column of numbers, changed by `change`.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "features are single precision; beyond its range is refused below"
    )]
    pub(super) fn number(&mut self, name: &'static str, change: impl Fn(f64) -> f64) -> Result<(), TableError> {
        let values: Vec<f32> = self.table.number(name)?.iter().map(|value| change(*value) as f32).collect();
        if let Some(row) = values.iter().position(|value| value.is_infinite()) {
            let value = self.table.number(name)?[row].to_string();
            return Err(self.table.bad_cell(row, name, &value, "is beyond the range of single precision"));
        }
        self.push(name, FeatureKind::Numeric, values);
        Ok(())
    }

    /// A declared column of words as codes of `vocabulary`, and one more code for any other word.
    pub(super) fn category(&mut self, name: &'static str, vocabulary: &[&str]) -> Result<(), TableError> {
        let code = |word: &str| vocabulary.iter().position(|known| *known == word).unwrap_or(vocabulary.len());
        let codes: Vec<usize> = self.table.text(name)?.iter().map(code).collect();
        self.codes(name, vocabulary.len() + 1, codes.into_iter());
        Ok(())
    }

    /// Codes that the set derived.
    pub(super) fn codes(&mut self, name: &'static str, count: usize, codes: impl Iterator<Item = usize>) {
        let exact = |code: usize| f32::from(u16::try_from(code).expect("vocabularies have fewer than 65536 words"));
        self.push(name, FeatureKind::Categorical { codes: count }, codes.map(exact).collect());
    }

    fn push(&mut self, name: &'static str, kind: FeatureKind, values: Vec<f32>) {
        self.features.push(Feature { name: name.to_owned(), kind });
        self.values.push(values);
    }

    pub(super) fn finish(self) -> (Array2<f32>, Vec<Feature>) {
        let shape = (self.table.rows(), self.values.len());
        (Array2::from_shape_fn(shape, |(row, column)| self.values[column][row]), self.features)
    }
}
