//! From the network's log-odds to a probability, by hour (Platt 1999, with the hour beside the score).
//!
//! `p = sigmoid(a·s + b + t·(c·s + d))`, `s` the mean log-odds of the members, `t = ln(hour) / ln 48`. Fitted on predictions for stays that
//! the predicting members did not train on. Guarantees: monotone in the score as long as `a + t·c` is positive, which fitting ensures. Must
//! not: be fitted on tested stays.

use serde::{Deserialize, Serialize};

use super::HOURS;

/// The four numbers of the calibration.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Factor of the score at hour 1.
    pub slope: f64,
    /// Log-odds added at hour 1.
    pub intercept: f64,
    /// What the factor gains until hour 48.
    pub slope_by_hour: f64,
    /// What is added until hour 48.
    pub intercept_by_hour: f64,
}

impl Default for Calibration {
    /// Leaves the log-odds as they are.
    fn default() -> Self {
        Self { slope: 1.0, intercept: 0.0, slope_by_hour: 0.0, intercept_by_hour: 0.0 }
    }
}

/// Newton steps at most.
const STEPS_MAX: usize = 50;
/// A gradient shorter than this is the end.
const GRADIENT_MIN: f64 = 1e-8;
/// Keeps the steps finite when the outcome can be told perfectly.
const RIDGE: f64 = 1e-3;

impl Calibration {
    /// The calibration of greatest likelihood (Newton's method). `examples` are score, hour from 0, and outcome. Leaves the scores as they
    /// are when there are no examples of both outcomes, or when the fit would turn the order of scores around.
    #[must_use]
    pub fn fit(examples: &[(f32, usize, bool)]) -> Self {
        let outcomes = |wanted: bool| examples.iter().any(|(_, _, died)| *died == wanted);
        if !outcomes(true) || !outcomes(false) {
            return Self::default();
        }
        let mut weights = [1.0, 0.0, 0.0, 0.0];
        for _ in 0..STEPS_MAX {
            let (gradient, hessian) = slopes(examples, &weights);
            if gradient.iter().map(|g| g * g).sum::<f64>().sqrt() < GRADIENT_MIN {
                break;
            }
            let Some(step) = solve(hessian, gradient) else { return Self::default() };
            weights.iter_mut().zip(step).for_each(|(weight, step)| *weight -= step);
        }
        let [slope, intercept, slope_by_hour, intercept_by_hour] = weights;
        let rises = slope > 0.0 && slope + slope_by_hour > 0.0 && weights.iter().all(|weight| weight.is_finite());
        if rises { Self { slope, intercept, slope_by_hour, intercept_by_hour } } else { Self::default() }
    }

    /// The probability of the outcome; `hour` counts from 0 and ends at 47.
    #[must_use]
    pub fn probability(&self, score: f32, hour: usize) -> f64 {
        let [score, one, score_by_hour, by_hour] = terms(score, hour);
        let logit = self.slope * score
            + self.intercept * one
            + self.slope_by_hour * score_by_hour
            + self.intercept_by_hour * by_hour;
        1.0 / (1.0 + (-logit).exp())
    }
}

#[expect(clippy::cast_precision_loss, reason = "hours are few")]
fn terms(score: f32, hour: usize) -> [f64; 4] {
    let time = ((hour.min(HOURS - 1) + 1) as f64).ln() / (HOURS as f64).ln();
    let score = f64::from(score);
    [score, 1.0, time * score, time]
}

#[expect(clippy::cast_precision_loss, reason = "examples are far fewer than 2^52")]
fn slopes(examples: &[(f32, usize, bool)], weights: &[f64; 4]) -> ([f64; 4], [[f64; 4]; 4]) {
    let (mut gradient, mut hessian) = ([0.0; 4], [[0.0; 4]; 4]);
    let share = 1.0 / examples.len() as f64;
    for (score, hour, died) in examples {
        let terms = terms(*score, *hour);
        let logit: f64 = terms.iter().zip(weights).map(|(term, weight)| term * weight).sum();
        let p = 1.0 / (1.0 + (-logit).exp());
        for i in 0..4 {
            gradient[i] += share * (p - f64::from(u8::from(*died))) * terms[i];
            for j in 0..4 {
                hessian[i][j] += share * p * (1.0 - p) * terms[i] * terms[j];
            }
        }
    }
    // A small pull towards leaving the scores as they are.
    for i in 0..4 {
        gradient[i] += RIDGE * share * (weights[i] - if i == 0 { 1.0 } else { 0.0 });
        hessian[i][i] += RIDGE * share;
    }
    (gradient, hessian)
}

/// Gauss's elimination with pivoting; none for a singular matrix.
fn solve(mut a: [[f64; 4]; 4], mut b: [f64; 4]) -> Option<[f64; 4]> {
    for column in 0..4 {
        let pivot = (column..4).max_by(|i, j| a[*i][column].abs().total_cmp(&a[*j][column].abs()))?;
        if a[pivot][column].abs() < f64::MIN_POSITIVE {
            return None;
        }
        a.swap(column, pivot);
        b.swap(column, pivot);
        for row in column + 1..4 {
            let factor = a[row][column] / a[column][column];
            let above = a[column];
            a[row].iter_mut().zip(above).for_each(|(value, above)| *value -= factor * above);
            b[row] -= factor * b[column];
        }
    }
    let mut x = [0.0; 4];
    for row in (0..4).rev() {
        let known: f64 = (row + 1..4).map(|column| a[row][column] * x[column]).sum();
        x[row] = (b[row] - known) / a[row][row];
    }
    Some(x)
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::Calibration;

    #[test]
    fn a_miscalibrated_score_is_set_right_at_every_hour() {
        let truth = Calibration { slope: 0.5, intercept: -1.0, slope_by_hour: 0.6, intercept_by_hour: 0.4 };
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        let examples: Vec<_> = (0..60_000)
            .map(|row| {
                let score = rng.gen_range(-3.0..3.0);
                (score, row % 48, rng.gen_bool(truth.probability(score, row % 48)))
            })
            .collect();
        let fitted = Calibration::fit(&examples);
        for (score, hour) in [(-2.0, 0), (0.0, 5), (2.0, 47)] {
            let (p, q) = (truth.probability(score, hour), fitted.probability(score, hour));
            assert!((p - q).abs() < 0.03, "score {score}, hour {hour}: {p} and {q}");
        }
    }

    #[test]
    fn one_outcome_alone_leaves_scores_as_they_are() {
        assert_eq!(Calibration::fit(&[(1.0, 3, true), (2.0, 4, true)]), Calibration::default());
        assert_eq!(Calibration::fit(&[]), Calibration::default());
    }
}
