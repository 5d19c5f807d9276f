//! The models that can be trained, judged and described by name.
//!
//! [`Trainable`] is what a model's owner provides; [`catalogue`] lists them all. Guarantees: the same seed on the same machine gives the
//! same weights; an error names the file, line or column at fault and what to do next. Must not: change a model that is in use.

use std::path::{Path, PathBuf};

use crate::measure::Evaluation;
use crate::model_file::ModelFile;
use crate::progress::Progress;
use crate::report::Boosting;
use crate::traffic::{full_columns, serving_report};
use crate::vitals::VitalSignsModel;

/// A model that can be trained and judged.
pub trait Trainable: Sync {
    /// Its name on the command line and of its file: lower case, digits and hyphens.
    fn name(&self) -> &'static str;

    /// What the model's card says in words.
    fn describe(&self) -> Description;

    /// Trains on all rows at hand.
    ///
    /// `data` is the folder of the data set or one file of it.
    ///
    /// # Errors
    /// [`TrainError`]; nothing is written then but the checkpoint that the options name.
    fn train(&self, data: &Path, options: &TrainOptions, progress: &dyn Progress) -> Result<ModelFile, TrainError>;

    /// Judges a model on any file with the same columns (all its rows are [`crate::measure::Part::Test`]), or, with
    /// [`EvaluateOptions::cross_validate`], trains and tests inside by the set's protocol; `model` may be absent then.
    ///
    /// # Errors
    /// [`TrainError`].
    fn evaluate(
        &self,
        model: Option<&ModelFile>,
        data: &Path,
        options: &EvaluateOptions,
        progress: &dyn Progress,
    ) -> Result<Evaluation, TrainError>;
}

/// How to train.
#[derive(Clone, Debug, Default)]
pub struct TrainOptions {
    /// Seed of every random choice.
    pub seed: u64,
    /// Folder for checkpoints, which exists; training that finds one of its own there goes on from it. None: no checkpoints.
    pub checkpoint: Option<PathBuf>,
    /// Passes over the data; the model's own number when absent.
    pub epochs: Option<usize>,
}

/// How to judge.
#[derive(Clone, Debug, Default)]
pub struct EvaluateOptions {
    /// Train and test by the set's own protocol (grouped folds, or its official parts) instead of judging given weights.
    pub cross_validate: bool,
    /// Seed of every random choice, folds included.
    pub seed: u64,
    /// Folder for checkpoints of cross-validation, which exists. None: no checkpoints.
    pub checkpoint: Option<PathBuf>,
    /// Passes over the data when cross-validating; the model's own number when absent.
    pub epochs: Option<usize>,
    /// Gradient boosting, for a protocol that decides for it as for its own model; the report adds it where the protocol does not.
    pub boosting: Option<Boosting>,
}

/// What the card of a model says in words. Plain Markdown sentences, no headings.
#[derive(Clone, Debug)]
pub struct Description {
    /// Title of the card.
    pub title: &'static str,
    /// What the model is: layers, inputs, outputs, with the papers it follows.
    pub design: &'static str,
    /// What it is for, and who acts on it.
    pub intended_use: &'static str,
    /// What it must not be used for.
    pub not_for: &'static [&'static str],
    /// Where the model is weak, as measured.
    pub limits: &'static [&'static str],
    /// How calibration was fitted and on which rows.
    pub calibration: &'static str,
    /// Folder name of the data set that it is trained on.
    pub data_folder: &'static str,
    /// Whom to cite for the data.
    pub data_citation: &'static str,
    /// Terms of the data.
    pub data_terms: &'static str,
    /// Bytes of state per device or patient while it serves; none for a model that does not serve live.
    pub state_bytes: Option<usize>,
}

/// Training or judging could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A file cannot be read or written.
    #[error("{path}: {source}; check the path and its permissions", path = path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file holds no rows.
    #[error("{path} holds no rows; give a file with a header line and at least one row", path = path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Columns that the model needs are not there.
    #[error("{path} lacks the columns {missing:?}; give a file with the columns of the training set", path = path.display())]
    WrongColumns {
        /// The file.
        path: PathBuf,
        /// The missing columns.
        missing: Vec<String>,
    },
    /// A cell cannot be used.
    #[error("{path}, row {row}, column {column:?}: {reason}; correct or remove the row", path = path.display())]
    BadCell {
        /// The file.
        path: PathBuf,
        /// Row, counted from 1 after the header.
        row: usize,
        /// The column.
        column: String,
        /// What is wrong.
        reason: String,
    },
    /// An error of reading data that brings its own stable code.
    #[error("{message}")]
    Data {
        /// The stable code.
        code: &'static str,
        /// What is wrong and what to do next.
        message: String,
    },
    /// The rows at hand do not allow it: too few rows, groups or classes.
    #[error("the data do not allow this: {reason}; give more rows, or judge a trained model without --cross-validate")]
    Unsuitable {
        /// Why.
        reason: String,
    },
    /// Weights are of another model or shape.
    #[error("the model file does not fit: {reason}; train it again with `pulsegate detector train`")]
    Model {
        /// Why.
        reason: String,
    },
    /// A model file cannot be used.
    #[error(transparent)]
    ModelFile(#[from] crate::model_file::ModelFileError),
    /// A checkpoint is of another run.
    #[error("{path} cannot be resumed from: {reason}; remove it, or train without --resume", path = path.display())]
    Checkpoint {
        /// The checkpoint.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The loss is not a number any more.
    #[error("training diverged in epoch {epoch}: the loss is not finite; try another --seed and report it")]
    Diverged {
        /// The epoch, from 0.
        epoch: usize,
    },
    /// Weights are needed and none were given.
    #[error("no weights of {model:?} were given; name a model file, or use --cross-validate")]
    NoWeights {
        /// The model.
        model: String,
    },
}

impl TrainError {
    /// The stable code of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File { .. } => "DETECTOR_FILE_UNREADABLE",
            Self::Empty { .. } => "DETECTOR_DATA_EMPTY",
            Self::WrongColumns { .. } => "DETECTOR_WRONG_COLUMNS",
            Self::BadCell { .. } => "DETECTOR_BAD_CELL",
            Self::Data { code, .. } => code,
            Self::Unsuitable { .. } => "DETECTOR_DATA_UNSUITABLE",
            Self::Model { .. } => "DETECTOR_MODEL_UNUSABLE",
            Self::ModelFile(error) => error.code(),
            Self::Checkpoint { .. } => "DETECTOR_CHECKPOINT_UNUSABLE",
            Self::Diverged { .. } => "DETECTOR_TRAINING_DIVERGED",
            Self::NoWeights { .. } => "DETECTOR_NO_WEIGHTS",
        }
    }
}

/// Every model, in the order in which they are listed.
#[must_use]
pub const fn catalogue() -> &'static [&'static dyn Trainable] {
    &CATALOGUE
}

static CATALOGUE: [&dyn Trainable; 8] = [
    &serving_report::Serving,
    &full_columns::WUSTL_EHMS,
    &full_columns::CICIDS2017,
    &full_columns::UNSW_NB15,
    &full_columns::NSL_KDD,
    &crate::unsupervised::Unsupervised,
    &crate::ecg::EcgBeats,
    &VitalSignsModel,
];

/// The model of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static dyn Trainable> {
    catalogue().iter().copied().find(|model| model.name() == name)
}
