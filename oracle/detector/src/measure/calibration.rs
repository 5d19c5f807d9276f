//! Fitting of probabilities on rows that a model was not trained on: temperature.
//!
//! Source: Guo et al. 2017. Guarantees: the fit is deterministic, keeps the most probable class, and gives probabilities inside 0 to 1,
//! ends excluded. Must not: be fitted on rows that it is judged on.

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

/// Range of temperatures that are searched.
const TEMPERATURE_RANGE: (f64, f64) = (0.05, 20.0);
/// Steps of the search, each of which shortens the range by a third.
const SEARCH_STEPS: usize = 60;

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
}
