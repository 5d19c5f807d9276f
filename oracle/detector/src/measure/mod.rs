//! How good a model is: figures, curves, intervals, calibration and trivial baselines, all on the same rows.
//!
//! Guarantees: every figure has one definition, given with its source; intervals resample whole groups; the same seed gives the same
//! interval. Must not: train a deep model, read a file, or print.

mod bootstrap;
mod calibration;
mod confusion;
mod evaluation;
mod figures;
mod ranking;
mod reliability;
mod summary;
mod trivial;

pub use bootstrap::{GroupSampler, Interval, RESAMPLES, bootstrap, quantile};
pub use calibration::Temperature;
pub use confusion::Confusion;
pub use evaluation::{Evaluation, EvaluationError, Part, Predictions, Rows};
pub use figures::{Figure, Judge, figures_of};
pub use ranking::{Areas, CURVE_POINTS_MAX, Ranking, average_precision, roc_auc};
pub use reliability::{BINS, Reliability, ReliabilityPoint};
pub use summary::{ModelSummary, Resampling, Standing, Summary};
pub(crate) use trivial::splits;
pub use trivial::trivial_baselines;
