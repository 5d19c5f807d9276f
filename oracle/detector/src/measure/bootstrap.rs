//! Intervals by the percentile bootstrap over whole groups.
//!
//! A resample draws as many groups as there are, with replacement, and counts every row of a drawn group as often as it was drawn (Efron
//! and Tibshirani 1993; the cluster bootstrap, Davison and Hinkley 1997, section 3.8), so that rows which resemble one another are never
//! taken for independent ones. Guarantees: the same seed gives the same resamples, for every model that is measured on the same rows, so
//! differences between models are paired. Must not: draw single rows.

use std::collections::HashMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// How many resamples an interval is read from, unless another number is asked for.
pub const RESAMPLES: usize = 1_000;
/// Share of the resamples below the interval, and above it.
const TAIL: f64 = 0.025;

/// A figure with its 95 % interval. NaN (`null` in JSON) where it is not defined.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The figure on the rows themselves.
    #[serde(deserialize_with = "number_or_null")]
    pub value: f64,
    /// Lower end.
    #[serde(deserialize_with = "number_or_null")]
    pub low: f64,
    /// Upper end.
    #[serde(deserialize_with = "number_or_null")]
    pub high: f64,
}

/// A number in the form that serde_json keeps it in: with its arbitrary precision, which other crates of a program may switch on for all,
/// a plain float cannot be read out of a flattened structure.
fn number_or_null<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let number = Option::<serde_json::Number>::deserialize(deserializer)?;
    Ok(number.and_then(|number| number.as_f64()).unwrap_or(f64::NAN))
}

impl Interval {
    /// The interval of a figure from what it was on the resamples; resamples on which it is not defined are left out.
    #[must_use]
    pub fn of(value: f64, draws: impl Iterator<Item = f64>) -> Self {
        let mut draws: Vec<f64> = draws.filter(|draw| !draw.is_nan()).collect();
        draws.sort_by(f64::total_cmp);
        Self { value, low: quantile(&draws, TAIL), high: quantile(&draws, 1.0 - TAIL) }
    }
}

/// The quantile of sorted numbers, linear between neighbours; NaN of none.
#[must_use]
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = share.clamp(0.0, 1.0) * last as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    let (below, above) = (sorted[below], sorted[above]);
    (above - below).mul_add(place.fract(), below)
}

/// Draws resamples of groups.
#[derive(Clone, Debug)]
pub struct GroupSampler {
    /// Place of its group per row; none for a row that is not sampled.
    group_of: Vec<Option<u32>>,
    groups: usize,
    seed: u64,
}

impl GroupSampler {
    /// Samples the groups of the rows for which `sampled` says so.
    #[must_use]
    pub fn new(group: &[u64], sampled: impl Fn(usize) -> bool, seed: u64) -> Self {
        let mut places = HashMap::new();
        let mut place = |row: usize| {
            let next = u32::try_from(places.len()).expect("fewer than 2³² groups");
            *places.entry(group[row]).or_insert(next)
        };
        let group_of = (0..group.len()).map(|row| sampled(row).then(|| place(row))).collect();
        Self { group_of, groups: places.len(), seed }
    }

    /// How many groups there are.
    #[must_use]
    pub const fn groups(&self) -> usize {
        self.groups
    }

    /// How often every row counts in a resample.
    #[must_use]
    pub fn weights(&self, resample: usize) -> Vec<u32> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(resample as u64 + 1);
        let mut times = vec![0_u32; self.groups];
        for _ in 0..self.groups {
            times[rng.gen_range(0..self.groups)] += 1;
        }
        self.group_of.iter().map(|place| place.map_or(0, |place| times[place as usize])).collect()
    }
}

/// Intervals of any figures of rows: `figures` gets how often every row counts and gives the figures, always as many.
#[must_use]
pub fn bootstrap(group: &[u64], resamples: usize, seed: u64, figures: impl Fn(&[u32]) -> Vec<f64>) -> Vec<Interval> {
    let sampler = GroupSampler::new(group, |_| true, seed);
    let values = figures(&vec![1; group.len()]);
    let draws: Vec<Vec<f64>> = (0..resamples).map(|resample| figures(&sampler.weights(resample))).collect();
    let of = |(figure, value): (usize, &f64)| Interval::of(*value, draws.iter().map(|draw| draw[figure]));
    values.iter().enumerate().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weighted_mean(values: &[f64], weights: &[u32]) -> f64 {
        let sum: f64 = values.iter().zip(weights).map(|(value, weight)| value * f64::from(*weight)).sum();
        sum / f64::from(weights.iter().sum::<u32>())
    }

    #[test]
    fn the_interval_of_a_mean_is_that_of_theory() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let values: Vec<f64> = (0..400).map(|_| f64::from(u8::from(rng.gen_bool(0.4)))).collect();
        let group: Vec<u64> = (0..400).collect();
        let interval = bootstrap(&group, 1_000, 7, |weights| vec![weighted_mean(&values, weights)])[0];
        let error = 1.96 * (interval.value * (1.0 - interval.value) / 400.0).sqrt();
        assert!((interval.low - (interval.value - error)).abs() < 0.01, "{interval:?}, ±{error}");
        assert!((interval.high - (interval.value + error)).abs() < 0.01, "{interval:?}, ±{error}");
    }

    #[test]
    fn rows_of_one_group_are_drawn_together_and_widen_the_interval() {
        let values: Vec<f64> = (0..400).map(|row| f64::from(u8::from(row / 20 % 2 == 0))).collect();
        let (alone, together): (Vec<u64>, Vec<u64>) = (0..400).map(|row| (row, row / 20)).unzip();
        let width = |group: &[u64]| {
            let interval = bootstrap(group, 500, 7, |weights| vec![weighted_mean(&values, weights)])[0];
            interval.high - interval.low
        };
        assert!(width(&together) > 3.0 * width(&alone));
        let weights = GroupSampler::new(&together, |_| true, 1).weights(0);
        assert!(weights.chunks(20).all(|group| group.iter().all(|weight| *weight == group[0])));
        assert_eq!(weights.iter().sum::<u32>(), 400);
    }

    #[test]
    fn the_same_seed_gives_the_same_interval() {
        let group: Vec<u64> = (0..50).collect();
        let run = |seed| bootstrap(&group, 50, seed, |weights| vec![f64::from(weights[0])]);
        assert_eq!(run(1), run(1));
        assert_ne!(
            GroupSampler::new(&group, |_| true, 1).weights(3),
            GroupSampler::new(&group, |_| true, 2).weights(3)
        );
    }

    #[test]
    fn rows_left_out_count_in_no_resample() {
        let sampler = GroupSampler::new(&[1, 1, 2, 3], |row| row != 3, 1);
        assert_eq!(sampler.groups(), 2);
        assert!((0..20).all(|resample| sampler.weights(resample)[3] == 0));
    }

    #[test]
    fn quantiles_lie_between_neighbours() {
        assert_eq!(quantile(&[1.0, 2.0, 3.0], 0.25), 1.5);
        assert_eq!(quantile(&[4.0], 0.9), 4.0);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
