//! Fitting of probabilities on rows that a model was not trained on: temperature, Platt, isotonic.
//!
//! Sources: Guo et al. 2017 (temperature); Platt 1999 with the numerics of Lin, Lin and Weng 2007; Zadrozny and Elkan 2002 (isotonic, by
//! pooling adjacent violators, Ayer et al. 1955). Guarantees: every fit is deterministic, keeps the order of scores (temperature keeps the
//! most probable class), and gives probabilities inside 0 to 1, ends excluded. Must not: be fitted on rows that it is judged on.

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

/// Most knots that an isotonic fit keeps.
pub const KNOTS_MAX: usize = 64;
/// Range of temperatures that are searched.
const TEMPERATURE_RANGE: (f64, f64) = (0.05, 20.0);
/// Steps of the search, each of which shortens the range by a third.
const SEARCH_STEPS: usize = 60;
/// Newton steps of Platt's fit.
const NEWTON_STEPS_MAX: usize = 100;

/// Divides logits before the softmax. 1 changes nothing, more makes a model less sure of itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Temperature(pub f32);

impl Temperature {
    /// The temperature of the smallest mean negative log-likelihood of the true classes. Without rows it is 1.
    ///
    /// `logits` is rows × classes.
    #[must_use]
    pub fn fit(logits: ArrayView2<'_, f32>, truth: &[usize]) -> Self {
        if truth.is_empty() {
            return Self(1.0);
        }
        // The loss is convex in 1/temperature and so has one minimum along the logarithm of the temperature.
        let loss = |log_temperature: f64| mean_loss(logits, truth, (-log_temperature).exp());
        let (mut low, mut high) = (TEMPERATURE_RANGE.0.ln(), TEMPERATURE_RANGE.1.ln());
        for _ in 0..SEARCH_STEPS {
            let third = (high - low) / 3.0;
            if loss(low + third) < loss(high - third) { high -= third } else { low += third }
        }
        Self(f64::midpoint(low, high).exp() as f32)
    }

    /// Probabilities, rows × classes, each line summing to 1.
    #[must_use]
    pub fn probabilities(&self, logits: ArrayView2<'_, f32>) -> Array2<f32> {
        let mut probabilities = logits.mapv(|logit| logit / self.0);
        for mut line in probabilities.rows_mut() {
            let top = line.fold(f32::NEG_INFINITY, |top, logit| top.max(*logit));
            line.mapv_inplace(|logit| (logit - top).exp());
            let sum = line.sum();
            line.mapv_inplace(|part| part / sum);
        }
        probabilities
    }
}

fn mean_loss(logits: ArrayView2<'_, f32>, truth: &[usize], inverse: f64) -> f64 {
    let loss = |(line, class): (ndarray::ArrayView1<'_, f32>, &usize)| {
        let top = line.fold(f32::NEG_INFINITY, |top, logit| top.max(*logit));
        let sum: f64 = line.iter().map(|logit| (f64::from(logit - top) * inverse).exp()).sum();
        sum.ln() - f64::from(line[*class] - top) * inverse
    };
    logits.rows().into_iter().zip(truth).map(loss).sum::<f64>() / truth.len() as f64
}

/// Turns a score into the probability 1 / (1 + exp(-(slope · score + intercept))).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Platt {
    /// Factor of the score.
    pub slope: f64,
    /// Log-odds at score 0.
    pub intercept: f64,
}

impl Platt {
    /// Fits slope and intercept to scores and whether they were positive. Without both classes it is the plain logistic function.
    #[must_use]
    pub fn fit(scores: &[f32], positive: &[bool]) -> Self {
        let positives = positive.iter().filter(|p| **p).count() as f64;
        let negatives = positive.len() as f64 - positives;
        let mut fit = Self { slope: 1.0, intercept: 0.0 };
        if positives == 0.0 || negatives == 0.0 {
            return fit;
        }
        // Platt's targets, which keep a separable set from an infinite slope.
        let targets = ((positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0));
        let target = |positive: bool| if positive { targets.0 } else { targets.1 };
        fit = Self { slope: 0.0, intercept: ((positives + 1.0) / (negatives + 1.0)).ln() };
        let loss = |fit: &Self| -> f64 {
            let rows = scores.iter().zip(positive);
            rows.map(|(score, positive)| {
                let odds = fit.slope.mul_add(f64::from(*score), fit.intercept);
                odds.max(0.0) - odds * target(*positive) + (-odds.abs()).exp().ln_1p()
            })
            .sum()
        };
        let mut best = loss(&fit);
        for _ in 0..NEWTON_STEPS_MAX {
            let step = fit.newton_step(scores, positive, target);
            let stepped = |share: f64| Self {
                slope: step.0.mul_add(share, fit.slope),
                intercept: step.1.mul_add(share, fit.intercept),
            };
            // Halves the step until it helps; none does at the minimum.
            let shares = std::iter::successors(Some(1.0), |share: &f64| (*share > 1e-9).then_some(share / 2.0));
            let Some((next, lower)) = shares.map(stepped).map(|fit| (fit, loss(&fit))).find(|(_, lower)| *lower < best)
            else {
                break;
            };
            let gained = best - lower;
            (fit, best) = (next, lower);
            if gained < 1e-10 * best.abs().max(1.0) {
                break;
            }
        }
        fit
    }

    fn newton_step(&self, scores: &[f32], positive: &[bool], target: impl Fn(bool) -> f64) -> (f64, f64) {
        // A ridge keeps the Hessian invertible where all scores are the same.
        let (mut ss, mut s1, mut n, mut gs, mut g1) = (1e-9, 0.0, 1e-9, 0.0, 0.0);
        for (score, positive) in scores.iter().zip(positive) {
            let score = f64::from(*score);
            let p = self.at(score);
            let (slope, curve) = (p - target(*positive), p * (1.0 - p));
            ss += score * score * curve;
            s1 += score * curve;
            n += curve;
            gs += score * slope;
            g1 += slope;
        }
        let determinant = ss.mul_add(n, -(s1 * s1)).max(1e-12);
        (-(gs * n - g1 * s1) / determinant, -(g1 * ss - gs * s1) / determinant)
    }

    fn at(&self, score: f64) -> f64 {
        1.0 / (1.0 + (-self.slope.mul_add(score, self.intercept)).exp())
    }

    /// The probability of a score.
    #[must_use]
    pub fn probability(&self, score: f32) -> f32 {
        self.at(f64::from(score)) as f32
    }
}

/// Turns a score into a probability along a line that never falls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Isotonic {
    /// Score and probability of every knot, rising; between knots the line is straight, outside it is level.
    knots: Vec<(f32, f32)>,
}

/// Rows that were pooled because their order was wrong.
struct Block {
    scores: f64,
    positives: f64,
    rows: f64,
}

impl Isotonic {
    /// Fits to scores and whether they were positive. Without rows every probability is one half.
    #[must_use]
    pub fn fit(scores: &[f32], positive: &[bool]) -> Self {
        let mut order: Vec<usize> = (0..scores.len()).filter(|row| scores[*row].is_finite()).collect();
        order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
        let mut blocks: Vec<Block> = Vec::new();
        for tie in order.chunk_by(|a, b| scores[*a] == scores[*b]) {
            let rows = tie.len() as f64;
            let positives = tie.iter().filter(|row| positive[**row]).count() as f64;
            let mut block = Block { scores: f64::from(scores[tie[0]]) * rows, positives, rows };
            while let Some(last) = blocks.pop_if(|last| last.positives * block.rows >= block.positives * last.rows) {
                block = Block {
                    scores: last.scores + block.scores,
                    positives: last.positives + block.positives,
                    rows: last.rows + block.rows,
                };
            }
            blocks.push(block);
        }
        // Half a row of each class beside every block keeps a clean block from claiming certainty.
        let knot =
            |block: &Block| ((block.scores / block.rows) as f32, ((block.positives + 0.5) / (block.rows + 1.0)) as f32);
        let mut knots: Vec<(f32, f32)> = blocks.iter().map(knot).collect();
        for place in 1..knots.len() {
            knots[place].1 = knots[place].1.max(knots[place - 1].1);
        }
        if knots.len() > KNOTS_MAX {
            let step = (knots.len() - 1) as f64 / (KNOTS_MAX - 1) as f64;
            knots = (0..KNOTS_MAX).map(|place| knots[(place as f64 * step).round() as usize]).collect();
        }
        Self { knots }
    }

    /// The probability of a score.
    #[must_use]
    pub fn probability(&self, score: f32) -> f32 {
        let above = self.knots.partition_point(|knot| knot.0 < score);
        match (above.checked_sub(1).map(|below| self.knots[below]), self.knots.get(above)) {
            (None, None) => 0.5,
            (None, Some(first)) => first.1,
            (Some(last), None) => last.1,
            (Some(below), Some(above)) => {
                let share = (score - below.0) / (above.0 - below.0);
                share.mul_add(above.1 - below.1, below.1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn the_temperature_that_drew_the_classes_is_found_again() {
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        let logits = Array2::from_shape_fn((6_000, 3), |_| rng.gen_range(-3.0..3.0_f32));
        let honest = Temperature(2.5).probabilities(logits.view());
        let draw = |line: ndarray::ArrayView1<'_, f32>| {
            let mut left = rng.gen_range(0.0..1.0_f32);
            line.iter()
                .position(|p| {
                    left -= p;
                    left < 0.0
                })
                .unwrap_or(2)
        };
        let truth: Vec<usize> = honest.rows().into_iter().map(draw).collect();
        let fitted = Temperature::fit(logits.view(), &truth).0;
        assert!((fitted - 2.5).abs() < 0.25, "{fitted}");
        assert!(honest.rows().into_iter().all(|line| (line.sum() - 1.0).abs() < 1e-5));
        assert_eq!(Temperature::fit(Array2::zeros((0, 3)).view(), &[]), Temperature(1.0));
    }

    #[test]
    fn the_logistic_line_that_drew_the_labels_is_found_again() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let scores: Vec<f32> = (0..8_000).map(|_| rng.gen_range(-4.0..4.0)).collect();
        let line = Platt { slope: 1.7, intercept: -0.6 };
        let positive: Vec<bool> =
            scores.iter().map(|score| rng.gen_bool(f64::from(line.probability(*score)))).collect();
        let fit = Platt::fit(&scores, &positive);
        assert!((fit.slope - 1.7).abs() < 0.12 && (fit.intercept + 0.6).abs() < 0.1, "{fit:?}");
    }

    #[test]
    fn separable_and_constant_scores_give_finite_fits() {
        let fit = Platt::fit(&[-1.0, -1.0, 1.0, 1.0], &[false, false, true, true]);
        assert!(fit.slope.is_finite() && fit.probability(1.0) > 0.5 && fit.probability(1.0) < 1.0);
        let level = Platt::fit(&[3.0; 4], &[true, false, false, false]);
        assert!((level.probability(3.0) - 0.25).abs() < 0.1, "{level:?}");
    }

    #[test]
    fn adjacent_violators_are_pooled() {
        // 1 and 0 violate: both get one half; with half a row of each class beside: (1 + 0.5) / 3.
        let fit = Isotonic::fit(&[1.0, 2.0, 3.0, 4.0], &[false, true, false, true]);
        assert_eq!(fit.probability(2.5), 0.5);
        assert_eq!((fit.probability(-9.0), fit.probability(9.0)), (0.25, 0.75));
        assert_eq!(fit.probability(1.75), 0.375);
        assert_eq!(Isotonic::fit(&[], &[]).probability(1.0), 0.5);
    }

    #[test]
    fn an_isotonic_fit_never_falls_and_stays_small() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let scores: Vec<f32> = (0..20_000).map(|_| rng.gen_range(0.0..1.0)).collect();
        let positive: Vec<bool> = scores.iter().map(|score| rng.gen_bool(f64::from(score * score))).collect();
        let fit = Isotonic::fit(&scores, &positive);
        assert!(fit.knots.len() <= KNOTS_MAX);
        let line: Vec<f32> = (0..=100).map(|step| fit.probability(step as f32 / 100.0)).collect();
        assert!(line.windows(2).all(|pair| pair[0] <= pair[1]) && line.iter().all(|p| *p > 0.0 && *p < 1.0));
        assert!((fit.probability(0.5) - 0.25).abs() < 0.05);
    }
}
