//! How good a model is: figures, curves, intervals, calibration and trivial baselines, all on the same rows.
//!
//! Guarantees: every figure has one definition, given with its source; intervals resample whole groups; the same seed gives the same
//! interval. Must not: train a deep model, read a file, or print.

mod evaluation;

pub use evaluation::{Evaluation, EvaluationError, Part, Predictions, Rows};
