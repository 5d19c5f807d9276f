//! The whole model: ensemble, how its parts make one score, and what a score means.
//!
//! The score is the standardised error of the codebook plus a share of the members' mean standardised error ([`Mix`]). Benign rows are parted by
//! group: four fifths teach, one fifth only fits the [`Tail`], so that the false-alarm rate that is promised is measured on rows that taught
//! nothing. Guarantees: judging allocates nothing; a row with an infinite or absurd value, or with nothing in it, is refused; a model that
//! was written and read again judges the same. Must not: see a label.

use super::ensemble::{Ensemble, Errors, Teaching};
use super::tail::{SHARE_MIN, Tail, attack_probability};
use super::together::{TOGETHER_MAX, Work};

/// An alarm is raised when at most this share of benign flows scores as high.
pub const ALARM_SHARE: f64 = 0.001;
/// Largest size of a raw value that is believed.
pub(crate) const VALUE_MAX: f32 = 1e18;
/// Of so many groups of benign rows, one fits the tail.
const HOLD_OUT_OF: u64 = 5;
/// Fewest benign rows that a model is taught on.
pub(crate) const ROWS_MIN: usize = 200;

/// How much each part of the ensemble adds to the score.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mix {
    /// Of the codebook's standardised error.
    pub(crate) codebook: f32,
    /// Of the mean of the members' standardised errors.
    pub(crate) members: f32,
    /// Of the output layer's standardised error; alone it is KitNET.
    pub(crate) output: f32,
}

impl Mix {
    /// What is served.
    pub(crate) const SERVED: Self = Self { codebook: 1.0, members: 0.3, output: 0.0 };
    /// The design of the paper.
    pub(crate) const KITNET: Self = Self { codebook: 0.0, members: 0.0, output: 1.0 };
}

/// The taught model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Model {
    /// Names of the raw features, in order.
    pub(crate) features: Vec<String>,
    pub(crate) ensemble: Ensemble,
    pub(crate) mix: Mix,
    pub(crate) tail: Tail,
}

/// What the model says of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Judgement {
    /// ln of the share of benign flows that score as high; 0 or below.
    pub(crate) log_share: f64,
}

impl Judgement {
    /// Of a row that cannot be judged: it raises no alarm.
    pub(crate) const UNREMARKABLE: Self = Self { log_share: 0.0 };

    /// Share of benign flows that score as high.
    pub(crate) fn share(self) -> f64 {
        self.log_share.exp().max(SHARE_MIN)
    }

    /// Whether an alarm is raised.
    pub(crate) fn is_alarm(self) -> bool {
        self.log_share <= ALARM_SHARE.ln()
    }

    /// Probability of an attack at even odds.
    pub(crate) fn attack_probability(self) -> f64 {
        attack_probability(self.share())
    }
}

/// Whether a row can be judged at all: something in it, nothing infinite or absurd. NaN is missing and fine.
pub(crate) fn is_usable(raw: &[f32]) -> bool {
    // Without a way out in between, so that values are looked at side by side.
    let look = |(sound, any): (bool, bool), value: &f32| {
        let missing = value.is_nan();
        (sound & (missing | (value.abs() <= VALUE_MAX)), any | !missing)
    };
    let (sound, any) = raw.iter().fold((true, false), look);
    sound && any
}

/// Whether rows of this group only fit the tail.
fn is_held_out(group: u64, seed: u64) -> bool {
    // Groups may be running numbers or digests: Fibonacci hashing spreads both.
    (group ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(24).is_multiple_of(HOLD_OUT_OF)
}

impl Mix {
    /// The score of a row with these errors.
    pub(crate) fn score(self, errors: Errors) -> f32 {
        // A part that does not count may be undefined.
        let part = |weight: f32, error: f32| if weight == 0.0 { 0.0 } else { weight * error };
        part(self.codebook, errors.codebook) + part(self.members, errors.members) + part(self.output, errors.output)
    }
}

/// A taught ensemble, before its parts are mixed.
#[derive(Clone, Debug)]
pub(crate) struct Taught {
    features: Vec<String>,
    ensemble: Ensemble,
    /// Errors of the benign rows that taught nothing.
    held_out: Vec<Errors>,
}

impl Taught {
    /// Teaches an ensemble on benign rows with their groups; `None` when there are too few, or no or too many columns.
    pub(crate) fn teach(
        features: &[String],
        categorical: &[bool],
        rows: &[(&[f32], u64)],
        teaching: &Teaching,
    ) -> Option<Self> {
        let is_held_out = |(_, group): &&(&[f32], u64)| is_held_out(*group, teaching.seed);
        let taught: Vec<&[f32]> = rows.iter().filter(|row| !is_held_out(row)).map(|(row, _)| *row).collect();
        if taught.len() < ROWS_MIN {
            return None;
        }
        let ensemble = Ensemble::teach(&taught, categorical, teaching)?;
        let mut work = ensemble.work();
        let mut errors_of = |row: &[f32]| {
            let count = ensemble.normalise(row, &mut work);
            ensemble.judge_rows(count, true, &mut work)[0]
        };
        let held_out = rows.iter().filter(is_held_out).map(|(row, _)| errors_of(row)).collect();
        Some(Self { features: features.to_vec(), ensemble, held_out })
    }

    /// All errors of a row; `None` when it cannot be judged ([`is_usable`]).
    pub(crate) fn errors_of(&self, raw: &[f32], work: &mut Work) -> Option<Errors> {
        is_usable(raw).then(|| {
            let rows = self.ensemble.normalise(raw, work);
            self.ensemble.judge_rows(rows, true, work)[0]
        })
    }

    /// Room for judging.
    pub(crate) fn work(&self) -> Work {
        self.ensemble.work()
    }

    /// The model with this mix; `None` when too few benign rows were held out.
    pub(crate) fn model(&self, mix: Mix) -> Option<Model> {
        let scores: Vec<f32> = self.held_out.iter().map(|errors| mix.score(*errors)).collect();
        let tail = Tail::fit(&scores)?;
        Some(Model { features: self.features.clone(), ensemble: self.ensemble.clone(), mix, tail })
    }
}

impl Model {
    /// Judges a row of raw features, NaN for missing; `None` when it cannot be judged ([`is_usable`]).
    pub(crate) fn judge(&self, raw: &[f32], work: &mut Work) -> Option<Judgement> {
        if raw.len() != self.features.len() {
            return None;
        }
        let mut judgement = [None];
        self.judge_all(raw, work, &mut judgement);
        judgement[0]
    }

    /// Judges rows of raw features together, each as [`Model::judge`] does it alone. Shapes: `raw` rows × features, `out` rows.
    ///
    /// # Panics
    /// When the lengths do not fit, or there are more rows than [`TOGETHER_MAX`].
    pub(crate) fn judge_all(&self, raw: &[f32], work: &mut Work, out: &mut [Option<Judgement>]) {
        let (rows, features) = (out.len(), self.features.len());
        assert!(raw.len() == rows * features && rows <= TOGETHER_MAX, "{} values are not {rows} rows", raw.len());
        self.ensemble.normalise(raw, work);
        let errors = self.ensemble.judge_rows(rows, self.mix.output != 0.0, work);
        for ((raw, errors), out) in raw.chunks_exact(features).zip(errors).zip(out) {
            let score = self.mix.score(*errors);
            let usable = is_usable(raw) && score.is_finite();
            *out = usable.then(|| Judgement { log_share: self.tail.log_share(score) });
        }
    }

    /// The mixed scores of rows that were normalised into `work`.
    pub(crate) fn scores<'w>(&self, rows: usize, work: &'w mut Work) -> impl Iterator<Item = f32> + 'w {
        let mix = self.mix;
        self.ensemble.judge_rows(rows, mix.output != 0.0, work).iter().map(move |errors| mix.score(*errors))
    }

    /// Room for judging.
    pub(crate) fn work(&self) -> Work {
        self.ensemble.work()
    }

    /// Judges a row with these errors; one without a score is [`Judgement::UNREMARKABLE`].
    pub(crate) fn judge_errors(&self, errors: Option<Errors>) -> Judgement {
        let score = errors.map(|errors| self.mix.score(errors)).filter(|score| score.is_finite());
        score.map_or(Judgement::UNREMARKABLE, |score| Judgement { log_share: self.tail.log_share(score) })
    }

    /// After [`Model::judge_all`] with the same `work`: the raw feature of a row that is farthest from what the nearest kind of benign flow has
    /// there.
    pub(crate) fn strangest(&self, at: usize, work: &Work) -> Option<&str> {
        let columns = self.ensemble.strangest_column(at, work)?;
        let mut after = 0;
        let feature = self.ensemble.scale.columns.iter().position(|column| {
            after += column.width();
            columns < after
        })?;
        self.features.get(feature).map(String::as_str)
    }
}
