//! The ensemble: one autoencoder per cluster of features, and one over how badly each of them did.
//!
//! Source: KitNET (Mirsky et al., NDSS 2018), section IV-C. Differences, each measured (see the model card): features are normalised by
//! quantiles instead of by the largest value seen; errors count as standardised logarithms, because one member's error spans decades; the
//! output layer is taught in passes of its own, after the members; and a [`Codebook`] reads the whole row beside them. Judging goes through
//! [`Together`]. Guarantees: taught on the rows it is given and nothing else, the same rows, settings and seed give the same weights; judging
//! allocates nothing. Must not: be given rows of attacks to learn from.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::autoencoder::{Autoencoder, INPUTS_MAX, Pass};
use super::clusters::Correlations;
use super::codebook::Codebook;
use super::scale::{BEYOND_MAX, Scale};
use super::together::{Together, Work};

/// Most members; a serving schema needs a handful.
pub(crate) const MEMBERS_MAX: usize = INPUTS_MAX;
/// Most normalised columns.
pub(crate) const WIDTH_MAX: usize = 256;
/// The least error that counts, so that the logarithm stays finite.
pub(super) const ERROR_MIN: f32 = 1e-4;
/// Standardised errors are held to ± this.
pub(super) const Z_MAX: f32 = 12.0;

/// How an ensemble is taught.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Teaching {
    /// Most features of one member.
    pub(crate) cluster_max: usize,
    /// Hidden units per input.
    pub(crate) hidden_share: f32,
    /// Learning rate of the first pass; it falls in a straight line to a tenth of it.
    pub(crate) rate: f32,
    /// How often all rows are gone through.
    pub(crate) passes: usize,
    /// Whether numbers are placed between the smallest and the largest value of training (after the logarithm) instead of by quantiles.
    pub(crate) extremes: bool,
    /// Prototypes of the codebook.
    pub(crate) prototypes: usize,
    /// Seed of the first weights and of the order of rows.
    pub(crate) seed: u64,
}

/// Mean and spread of a member's ln(error) on benign rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Level {
    pub(crate) mean: f32,
    pub(crate) spread: f32,
}

/// How many spreads above the benign mean the ln(error) of each part is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Errors {
    /// Of the codebook.
    pub(crate) codebook: f32,
    /// Of the members, on average.
    pub(crate) members: f32,
    /// Of the output layer.
    pub(crate) output: f32,
}

/// The taught ensemble.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ensemble {
    pub(crate) scale: Scale,
    pub(crate) clusters: Vec<Vec<usize>>,
    pub(crate) members: Vec<Autoencoder>,
    pub(crate) levels: Vec<Level>,
    pub(crate) output: Autoencoder,
    pub(crate) output_level: Level,
    pub(crate) codebook: Codebook,
    pub(crate) codebook_level: Level,
    /// All that judges, made of the above.
    together: Together,
}

/// Room for one row on its way through the members, used again for every row.
struct Lesson {
    part: [f32; INPUTS_MAX],
    z: [f32; MEMBERS_MAX],
    errors: [f32; MEMBERS_MAX],
    pass: Pass,
}

impl Default for Lesson {
    fn default() -> Self {
        Self { part: [0.0; INPUTS_MAX], z: [0.0; MEMBERS_MAX], errors: [0.0; MEMBERS_MAX], pass: Pass::default() }
    }
}

impl Level {
    #[expect(clippy::cast_possible_truncation, reason = "statistics of f32 values")]
    fn of(errors: impl Iterator<Item = f32>) -> Self {
        let (mut n, mut sum, mut square) = (0.0_f64, 0.0_f64, 0.0_f64);
        for log in errors.filter(|error| !error.is_nan()).map(|error| f64::from(error.max(ERROR_MIN).ln())) {
            (n, sum, square) = (n + 1.0, sum + log, square + log * log);
        }
        let mean = sum / n.max(1.0);
        let spread = (square / n.max(1.0) - mean * mean).max(0.0).sqrt();
        Self { mean: mean as f32, spread: spread.max(0.05) as f32 }
    }

    /// How many spreads ln(error) is above the mean; NaN stays NaN.
    pub(crate) fn z(self, error: f32) -> f32 {
        ((error.max(ERROR_MIN).ln() - self.mean) / self.spread).clamp(-Z_MAX, Z_MAX) + 0.0 * error
    }
}

/// A standardised error on the scale that an autoencoder reads: ±4 spreads are 0..1.
fn as_input(z: f32) -> f32 {
    ((z + 4.0) / 8.0).clamp(-BEYOND_MAX, 1.0 + BEYOND_MAX)
}

impl Ensemble {
    /// Teaches an ensemble on benign `rows` (raw features, NaN for missing); `None` when rows have no or too many columns.
    pub(crate) fn teach(rows: &[&[f32]], categorical: &[bool], teaching: &Teaching) -> Option<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(teaching.seed);
        let scale = Scale::fit(rows.iter().copied(), categorical, teaching.extremes);
        let width = scale.width();
        if rows.is_empty() || !(1..=WIDTH_MAX).contains(&width) {
            return None;
        }
        let mut normal = vec![0.0_f32; rows.len() * width];
        let mut seen = Correlations::new(width);
        for (row, out) in rows.iter().zip(normal.chunks_exact_mut(width)) {
            scale.apply(row, out);
            seen.see(out);
        }
        let clusters = seen.clusters(teaching.cluster_max.min(INPUTS_MAX));
        if clusters.len() > MEMBERS_MAX {
            return None;
        }
        let hidden = |inputs| Autoencoder::hidden_of(inputs, teaching.hidden_share);
        let new = |inputs: usize, rng: &mut ChaCha8Rng| Autoencoder::new(inputs, hidden(inputs), rng);
        let members: Vec<Autoencoder> = clusters.iter().map(|cluster| new(cluster.len(), &mut rng)).collect();
        let output = new(members.len(), &mut rng);
        let level = Level { mean: 0.0, spread: 1.0 };
        let levels = vec![level; members.len()];
        let codebook = Codebook::teach(&normal, width, teaching.prototypes, teaching.passes, &mut rng);
        let codebook_level = Level::of(normal.chunks_exact(width).map(|row| codebook.score(row)));
        let mut ensemble = Self::new(scale, clusters, (members, levels), (output, level), (codebook, codebook_level));
        ensemble.teach_members(&normal, width, teaching, &mut rng);
        ensemble.teach_output(&normal, width, teaching, &mut rng);
        ensemble.together = Together::of(&ensemble);
        Some(ensemble)
    }

    fn teach_members(&mut self, normal: &[f32], width: usize, teaching: &Teaching, rng: &mut ChaCha8Rng) {
        let mut work = Lesson::default();
        for pass in 0..teaching.passes {
            for at in shuffled(normal.len() / width, rng) {
                let rate = teaching.rate_at(pass);
                let row = &normal[at * width..(at + 1) * width];
                for (cluster, member) in self.clusters.iter().zip(&mut self.members) {
                    gather(row, cluster, &mut work.part);
                    member.learn(&work.part[..cluster.len()], rate, &mut work.pass);
                }
            }
        }
        let errors: Vec<[f32; MEMBERS_MAX]> = normal
            .chunks_exact(width)
            .map(|row| {
                self.errors(row, &mut work);
                work.errors
            })
            .collect();
        self.levels = (0..self.members.len()).map(|member| Level::of(errors.iter().map(|row| row[member]))).collect();
    }

    fn teach_output(&mut self, normal: &[f32], width: usize, teaching: &Teaching, rng: &mut ChaCha8Rng) {
        let mut work = Lesson::default();
        let count = self.members.len();
        for pass in 0..teaching.passes {
            for at in shuffled(normal.len() / width, rng) {
                self.judge_normalised(&normal[at * width..(at + 1) * width], &mut work);
                let inputs = work.z.map(as_input);
                self.output.learn(&inputs[..count], teaching.rate_at(pass), &mut work.pass);
            }
        }
        let mut score = |row: &[f32]| {
            self.judge_normalised(row, &mut work);
            self.output_error(&mut work)
        };
        let scores: Vec<f32> = normal.chunks_exact(width).map(&mut score).collect();
        self.output_level = Level::of(scores.into_iter());
    }

    fn errors(&self, row: &[f32], work: &mut Lesson) {
        for ((cluster, member), error) in self.clusters.iter().zip(&self.members).zip(&mut work.errors) {
            gather(row, cluster, &mut work.part);
            *error = member.score(&work.part[..cluster.len()], &mut work.pass);
        }
    }

    fn judge_normalised(&self, row: &[f32], work: &mut Lesson) {
        self.errors(row, work);
        for ((z, error), level) in work.z.iter_mut().zip(&work.errors).zip(&self.levels) {
            *z = level.z(*error);
        }
    }

    /// The output layer's error, after [`Ensemble::judge_normalised`].
    fn output_error(&self, work: &mut Lesson) -> f32 {
        let inputs = work.z.map(as_input);
        self.output.score(&inputs[..self.members.len()], &mut work.pass)
    }

    /// An ensemble of its parts, each with its level.
    pub(crate) fn new(
        scale: Scale,
        clusters: Vec<Vec<usize>>,
        (members, levels): (Vec<Autoencoder>, Vec<Level>),
        (output, output_level): (Autoencoder, Level),
        (codebook, codebook_level): (Codebook, Level),
    ) -> Self {
        let together = Together::default();
        let mut ensemble =
            Self { scale, clusters, members, levels, output, output_level, codebook, codebook_level, together };
        ensemble.together = Together::of(&ensemble);
        ensemble
    }

    /// Room for rows that are judged together.
    pub(crate) fn work(&self) -> Work {
        self.together.work()
    }

    /// Normalises rows of raw features (NaN for missing) into `work` without judging them. Gives how many.
    ///
    /// # Panics
    /// When they are more than [`super::together::TOGETHER_MAX`].
    pub(crate) fn normalise(&self, raw: &[f32], work: &mut Work) -> usize {
        let (features, width) = (self.scale.columns.len(), self.scale.width());
        raw.chunks_exact(features).enumerate().for_each(|(at, raw)| self.scale.apply(raw, work.row_mut(at, width)));
        raw.len() / features
    }

    /// The standardised errors of normalised rows, the first of `work`; those of the output layer only if asked for, else 0.
    pub(crate) fn judge_rows<'w>(&self, rows: usize, with_output: bool, work: &'w mut Work) -> &'w [Errors] {
        self.together.judge(rows, work);
        if with_output {
            let mut lesson = Lesson::default();
            for at in 0..rows {
                let members = self.together.members_of(at, work);
                lesson.z[..members.len()].copy_from_slice(members);
                work.errors[at].output = self.output_level.z(self.output_error(&mut lesson));
            }
        }
        &work.errors[..rows]
    }

    /// The normalised row at a place of the group that was judged last.
    pub(crate) fn normalised<'w>(&self, at: usize, work: &'w Work) -> &'w [f32] {
        work.row(at, self.scale.width())
    }

    /// After judging: the square difference from the nearest prototype per raw feature, over all its normalised columns.
    pub(crate) fn apart(&self, at: usize, work: &Work) -> Option<Vec<f32>> {
        let prototype = self.codebook.prototype(work.nearest[at].0)?;
        let mut squares = super::codebook::squares(self.normalised(at, work), prototype);
        Some(self.scale.columns.iter().map(|column| squares.by_ref().take(column.width()).sum()).collect())
    }

    /// After judging: the normalised column that differs most from the nearest prototype.
    pub(crate) fn strangest_column(&self, at: usize, work: &Work) -> Option<usize> {
        let prototype = self.codebook.prototype(work.nearest[at].0)?;
        let apart = self.normalised(at, work).iter().zip(prototype).map(|(value, own)| (value - own).abs());
        let there = apart.enumerate().filter(|(_, apart)| !apart.is_nan());
        there.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(column, _)| column)
    }
}

impl Teaching {
    /// What is served; `seed` as given.
    pub(crate) const fn served(seed: u64) -> Self {
        Self { cluster_max: 20, hidden_share: 0.75, rate: 0.1, passes: 3, extremes: false, prototypes: 256, seed }
    }

    #[expect(clippy::cast_precision_loss, reason = "few passes")]
    fn rate_at(&self, pass: usize) -> f32 {
        self.rate * (1.0 - 0.9 * pass as f32 / self.passes.max(1) as f32)
    }
}

fn gather(row: &[f32], cluster: &[usize], out: &mut [f32; INPUTS_MAX]) {
    out.iter_mut().zip(cluster).for_each(|(out, column)| *out = row[*column]);
}

pub(crate) fn shuffled(rows: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows).collect();
    order.shuffle(rng);
    order
}
