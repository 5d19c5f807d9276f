//! Why a learned model judged as it did, told in its own inputs.
//!
//! Networks are asked by occlusion (Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014): one input, or a
//! group of inputs that belong together, is replaced by "missing", and the change of the judged class's log-odds is what it contributed.
//! Where a model has no word for missing, its typical value from the model file takes the place. The model without labels
//! ([`crate::unsupervised`]) compares a flow with the nearest kind of benign flow, so its distances are told as they are. Guarantees: nothing
//! that a detector knows is changed; the same inputs give the same answer, in the same order. Contributions of log-odds do not add up to the
//! score: inputs that say the same thing (bytes, and bytes per second) stand in for each other, each of them looks weaker than both together,
//! and what only a pair says is counted twice. An input that is missing already has nothing to take away and contributes nothing. Must not:
//! be read as a cause; it tells what the model looked at, not what happened.

mod ecg;
mod error;
mod occlusion;
mod traffic;
mod vitals;

pub use ecg::explain_beat;
pub use error::ExplainError;
pub use occlusion::{Group, Occluded, occlude, ranked};
pub use vitals::explain_stay;

use pulsegate_rules::ModelId;
use serde::Serialize;

pub(crate) use traffic::told;

/// How many inputs are shown unless somebody asks for more.
pub const STRONGEST: usize = 5;

/// What a number of a [`Contribution`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// What the log-odds (natural logarithm) of the class lose without the input; negative: the input speaks against the class. They do not
    /// add up.
    LogOdds,
    /// Share of the square distance from the nearest kind of benign flow, 0 to 1. They add up to 1 over all inputs, or are all 0.
    ShareOfDistance,
}

/// A value of an input, as a reader knows it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Told {
    /// A quantity, in the unit of the input.
    Number(f32),
    /// The name of a category.
    Name(&'static str),
}

/// What one input had to do with a judgement.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Contribution {
    /// The input, or the group of inputs.
    pub input: String,
    /// Its value; absent when it was missing.
    pub value: Option<Told>,
    /// A typical value in the rows that the model was trained on; absent when the model file tells none.
    pub typical: Option<Told>,
    /// How much it had to do with it, in [`Explanation::measure`].
    pub contribution: f32,
}

/// Why a model judged as it did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The model.
    pub model: ModelId,
    /// The class that is explained: the judged one.
    pub class: String,
    /// What the contributions are.
    pub measure: Measure,
    /// Calibrated log-odds of the class with all inputs as they are; for [`Measure::ShareOfDistance`] the natural logarithm of the share of
    /// benign flows that are as strange.
    pub score: f64,
    /// Every input, those with the largest contributions first, whatever their sign.
    pub inputs: Vec<Contribution>,
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const DIGITS_FROM: f32 = 100.0;
        match self {
            Self::Name(name) => f.pad(name),
            Self::Number(number) if number.fract() == 0.0 || number.abs() >= DIGITS_FROM => {
                f.pad(&format!("{number:.0}"))
            }
            Self::Number(number) => f.pad(&format!("{number:.3}")),
        }
    }
}

impl Measure {
    /// What heads a column of contributions.
    #[must_use]
    pub const fn heading(self) -> &'static str {
        match self {
            Self::LogOdds => "log-odds",
            Self::ShareOfDistance => "share of distance",
        }
    }
}
