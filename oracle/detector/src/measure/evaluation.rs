//! What a model hands over so that it can be measured: the rows, the predictions, and extra sections of the report.
//!
//! Guarantees: [`Evaluation::check`] finds every disagreement of lengths, indices and probabilities before anything is computed or
//! written. Must not: hold a column that identifies a person, a device or an address.

use ndarray::Array2;

use crate::report::Section;

/// To which part of the protocol a row belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Cross-validation: tested by the model that was trained on all other folds.
    Fold(u8),
    /// Trains only.
    Train,
    /// Tested by the model that was trained on [`Part::Train`] and all folds, or by a model that was trained elsewhere.
    Test,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fold(number) => write!(f, "fold-{number}"),
            Self::Train => f.write_str("train"),
            Self::Test => f.write_str("test"),
        }
    }
}

/// Exactly the rows that trained and tested. Baselines are fitted on them, so the columns are what the deep model saw too.
#[derive(Clone, Debug)]
pub struct Rows {
    /// Name of every feature column.
    pub feature_names: Vec<String>,
    /// Rows × features; NaN is missing; categories are integer codes.
    pub features: Array2<f32>,
    /// Name of every class, in the order of the probabilities.
    pub classes: Vec<String>,
    /// True class per row, index into `classes`.
    pub truth: Vec<usize>,
    /// Group per row (episode, patient, set of duplicates): the bootstrap resamples whole groups.
    pub group: Vec<u64>,
    /// Part per row.
    pub part: Vec<Part>,
}

/// What one model said of the tested rows.
#[derive(Clone, Debug)]
pub struct Predictions {
    /// How the model is called in the tables.
    pub name: String,
    /// Index into [`Rows`] per prediction; tested rows only, each at most once.
    pub row: Vec<usize>,
    /// Predictions × classes, calibrated, each line summing to 1.
    pub probabilities: Array2<f32>,
    /// Decided class per prediction, index into the classes; need not be the most probable one.
    pub decided: Vec<usize>,
}

/// Everything that a report is made from.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// Title of the report.
    pub title: String,
    /// How rows were split, trained on and tested, in sentences.
    pub protocol: String,
    /// The rows.
    pub rows: Rows,
    /// Index of the class that means "nothing wrong", where there is one: it gives false alarms and attack-versus-benign curves.
    pub benign_class: Option<usize>,
    /// The deep model first, then its ablations and other comparisons.
    pub models: Vec<Predictions>,
    /// Extra tables, plots and words, in order.
    pub sections: Vec<Section>,
    /// What gradient boosting says of its settings, where it is among the models already; none where the report is to add it.
    pub boosting: Option<serde_json::Value>,
}

/// An evaluation does not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the evaluation does not fit together ({reason}); this is a fault of the model's code, report it with the command"
)]
pub struct EvaluationError {
    /// What disagrees.
    pub reason: String,
}

impl EvaluationError {
    /// The stable code of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "DETECTOR_EVALUATION_INCONSISTENT"
    }
}

/// How far a line of probabilities may be from summing to 1.
const SUM_TOLERANCE: f32 = 1e-3;

impl Rows {
    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.truth.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.truth.is_empty()
    }

    fn check(&self) -> Result<(), String> {
        let rows = self.len();
        if rows == 0 || self.classes.len() < 2 {
            return Err(format!("{rows} rows of {} classes", self.classes.len()));
        }
        if self.features.nrows() != rows || self.group.len() != rows || self.part.len() != rows {
            return Err(format!("{rows} rows, but other lengths of features, groups or parts"));
        }
        if self.features.ncols() != self.feature_names.len() {
            return Err(format!("{} columns and {} names", self.features.ncols(), self.feature_names.len()));
        }
        match self.truth.iter().find(|class| **class >= self.classes.len()) {
            Some(class) => Err(format!("true class {class} of {}", self.classes.len())),
            None => Ok(()),
        }
    }
}

impl Predictions {
    fn check(&self, rows: &Rows) -> Result<(), String> {
        let count = self.row.len();
        if count == 0 || self.decided.len() != count || self.probabilities.dim() != (count, rows.classes.len()) {
            return Err(format!("{}: {count} predictions of {:?} probabilities", self.name, self.probabilities.dim()));
        }
        let mut seen = vec![false; rows.len()];
        for row in &self.row {
            match rows.part.get(*row) {
                None | Some(Part::Train) => return Err(format!("{}: row {row} is not a tested row", self.name)),
                Some(_) if std::mem::replace(&mut seen[*row], true) => {
                    return Err(format!("{}: row {row} is predicted twice", self.name));
                }
                Some(_) => {}
            }
        }
        if self.decided.iter().any(|class| *class >= rows.classes.len()) {
            return Err(format!("{}: a decision is no class", self.name));
        }
        let bad = |line: ndarray::ArrayView1<'_, f32>| {
            let in_range = line.iter().all(|p| (0.0..=1.0 + SUM_TOLERANCE).contains(p));
            !in_range || (line.sum() - 1.0).abs() > SUM_TOLERANCE
        };
        match self.probabilities.rows().into_iter().position(bad) {
            Some(line) => Err(format!("{}: probabilities of prediction {line} do not sum to 1", self.name)),
            None => Ok(()),
        }
    }
}

impl Evaluation {
    /// Whether lengths, indices and probabilities agree.
    ///
    /// # Errors
    /// [`EvaluationError`] names the first disagreement.
    pub fn check(&self) -> Result<(), EvaluationError> {
        let models = || self.models.iter().try_for_each(|model| model.check(&self.rows));
        let benign = || match self.benign_class {
            Some(class) if class >= self.rows.classes.len() => Err(format!("benign class {class}")),
            _ => Ok(()),
        };
        let any = || if self.models.is_empty() { Err("no model".to_owned()) } else { Ok(()) };
        self.rows
            .check()
            .and_then(|()| models())
            .and_then(|()| benign())
            .and_then(|()| any())
            .map_err(|reason| EvaluationError { reason })
    }
}
