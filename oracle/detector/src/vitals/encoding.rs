//! Features as inputs of the network: centred and scaled by the training rows, how far from the middle, and masks of what is missing.
//!
//! Vital signs are risky on both sides of normal, so beside the scaled value goes its distance from the middle. A missing value gives 0 in
//! both and 1 in its mask. Guarantees: every input is finite and between −[`CLIP`] and [`CLIP`] whatever the features are. Must not: be
//! fitted on rows that are tested.

use super::history::{FEATURES, PATIENT_FROM, QUANTITIES, mask_places};

/// Scaled values end here, in standard deviations.
const CLIP: f32 = 3.0;
/// The usual distance from the middle, taken off so that distances are centred.
const USUAL_DISTANCE: f32 = 0.7;
/// A spread below this is that of a constant.
const SPREAD_MIN: f32 = 1e-6;
/// Masks: one per quantity, the ventilator, age, sex, height, weight.
const MASKS: usize = QUANTITIES + 5;
/// Masks about the patient.
const PATIENT_MASKS: usize = 4;

/// Inputs of the network: scaled values, distances, masks.
pub const INPUTS: usize = 2 * FEATURES + MASKS;

/// Middle and spread of each feature over the training rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoding {
    /// Medians; as many as features.
    pub centre: Vec<f32>,
    /// Standard deviations; as many as features.
    pub spread: Vec<f32>,
}

impl Encoding {
    /// Fits middle and spread to rows of features; missing values are left out. A feature that is never there gets 0 and 1.
    #[must_use]
    pub fn fit<'a>(rows: impl Iterator<Item = &'a [f32]> + Clone) -> Self {
        let (centre, spread) = (0..FEATURES)
            .map(|feature| {
                let mut values: Vec<f32> =
                    rows.clone().map(|row| row[feature]).filter(|value| value.is_finite()).collect();
                values.sort_by(f32::total_cmp);
                middle_and_spread(&values)
            })
            .unzip();
        Self { centre, spread }
    }

    /// Writes the inputs, [`INPUTS`] numbers, of the features.
    ///
    /// # Panics
    /// When a slice is too short.
    pub fn encode(&self, features: &[f32], inputs: &mut [f32]) {
        let (values, rest) = inputs[..INPUTS].split_at_mut(FEATURES);
        let (distances, masks) = rest.split_at_mut(FEATURES);
        for (place, feature) in features[..FEATURES].iter().enumerate() {
            let scaled = ((feature - self.centre[place]) / self.spread[place]).clamp(-CLIP, CLIP);
            let there = !scaled.is_nan();
            values[place] = if there { scaled } else { 0.0 };
            distances[place] = if there { scaled.abs() - USUAL_DISTANCE } else { 0.0 };
        }
        for (mask, place) in masks.iter_mut().zip(mask_places()) {
            *mask = if features[place].is_nan() { 1.0 } else { 0.0 };
        }
    }

    /// Makes encoded inputs those of a patient about whom nothing is known.
    pub fn forget_patient(inputs: &mut [f32]) {
        inputs[PATIENT_FROM..FEATURES].fill(0.0);
        inputs[FEATURES + PATIENT_FROM..2 * FEATURES].fill(0.0);
        inputs[INPUTS - PATIENT_MASKS..INPUTS].fill(1.0);
    }
}

#[expect(clippy::cast_precision_loss, reason = "rows are far fewer than 2^52")]
#[expect(clippy::cast_possible_truncation, reason = "stored as the network computes")]
fn middle_and_spread(sorted: &[f32]) -> (f32, f32) {
    let Some(middle) = sorted.get(sorted.len() / 2) else { return (0.0, 1.0) };
    let count = sorted.len() as f64;
    let mean = sorted.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
    let variance = sorted.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum::<f64>() / count;
    let spread = variance.sqrt() as f32;
    (*middle, if spread < SPREAD_MIN { 1.0 } else { spread })
}

#[cfg(test)]
mod tests {
    use super::{Encoding, FEATURES, INPUTS};
    use crate::vitals::{Demographics, History, Hour};

    #[test]
    fn missing_gives_zero_and_a_mask_and_nothing_is_out_of_bounds() {
        let rows = [vec![1.0_f32; FEATURES], vec![3.0; FEATURES]];
        let encoding = Encoding::fit(rows.iter().map(Vec::as_slice));
        let mut inputs = vec![9.0; INPUTS];
        let mut features = vec![f32::NAN; FEATURES];
        features[0] = f32::INFINITY;
        encoding.encode(&features, &mut inputs);
        assert_eq!((inputs[0], inputs[1], inputs[INPUTS - 1]), (3.0, 0.0, 1.0));
        assert!(inputs.iter().all(|input| input.abs() <= 3.0));
    }

    #[test]
    fn forgetting_a_patient_is_the_same_as_never_having_known() {
        let rows = [vec![50.0_f32; FEATURES], vec![80.0; FEATURES]];
        let encoding = Encoding::fit(rows.iter().map(Vec::as_slice));
        let mut history = History::default();
        history.pass(&Hour::default());
        let known =
            Demographics { age_years: Some(70.0), male: Some(true), height_cm: Some(180.0), weight_kg: Some(80.0) };
        let [one, other] = [(known, true), (Demographics::default(), false)].map(|(demographics, forget)| {
            let (mut features, mut inputs) = (vec![0.0; FEATURES], vec![0.0; INPUTS]);
            history.write(&demographics, &mut features);
            encoding.encode(&features, &mut inputs);
            if forget {
                Encoding::forget_patient(&mut inputs);
            }
            inputs
        });
        assert_eq!(one, other);
    }
}
