//! Gradient boosting beside the beat model: the same beats, made-up rhythms included, the same folds, the same way to a decision.
//!
//! It reads what the network reads: the window and its difference from the patient's own template, both in heights of the patient's QRS
//! complex (neighbouring samples averaged in pairs, as a tree gains nothing from their fineness), and the numbers of [`CONTEXT_NAMES`].
//! Guarantees: temperature and decision factors come from training records that boosting had not seen, chosen by the code that chooses the
//! network's. Must not: see a label of a test record, or test a made-up beat.

use ndarray::{Array2, Axis};

use super::context::{BeatInput, CHANNELS, CONTEXT, CONTEXT_NAMES, WINDOW};
use super::net::BEAT_CLASSES;
use super::train::{Described, TrainingBeats, choose};
use crate::catalogue::TrainError;
use crate::measure::{Part, Predictions, Rows};
use crate::report::{BOOSTING, Boosting, run_boosting};

/// Columns of each of the two signals.
const PAIRS: usize = WINDOW / 2;
/// Nearest that a probability comes to 0 before its logarithm is taken.
const PROBABILITY_MIN: f32 = 1e-7;

/// Names of the columns that baselines read.
pub(super) fn names() -> Vec<String> {
    let pairs = |name: &'static str| (0..PAIRS).map(move |at| format!("{name}_{at:02}"));
    pairs("window").chain(pairs("difference")).chain(CONTEXT_NAMES.map(str::to_owned)).collect()
}

/// These columns, a row per beat.
pub(super) fn columns(inputs: &[BeatInput]) -> Array2<f32> {
    let value = |input: &BeatInput, column: usize| match column.checked_sub(CHANNELS * PAIRS) {
        Some(place) => input.context[place],
        None => {
            let at = 2 * CHANNELS * (column % PAIRS) + column / PAIRS;
            f32::midpoint(input.signal[at], input.signal[at + CHANNELS])
        }
    };
    Array2::from_shape_fn((inputs.len(), CHANNELS * PAIRS + CONTEXT), |(row, column)| value(&inputs[row], column))
}

/// What boosting says of the tested beats, whose rows begin at `first_row` in the evaluation; and of its settings.
///
/// # Errors
/// [`TrainError::Data`] with the code and words of the script's failure.
pub(super) fn boosted(
    boosting: &Boosting,
    training: &TrainingBeats,
    test: &Described,
    first_row: usize,
    seed: u64,
) -> Result<(Predictions, serde_json::Value), TrainError> {
    let both = || training.data.beats.iter().chain(&test.beats);
    let mut features = columns(&training.data.inputs);
    features.append(Axis(0), columns(&test.inputs).view()).expect("both have the same columns");
    let trained = training.data.beats.len();
    let rows = Rows {
        feature_names: names(),
        features,
        classes: BEAT_CLASSES.map(str::to_owned).to_vec(),
        truth: both().map(|beat| beat.class).collect(),
        // A made-up beat is of the patient whose beat it was.
        group: both().map(|beat| u64::from(super::synthetic::source_record(beat.record))).collect(),
        part: (0..trained + test.beats.len())
            .map(|row| training.folds.get(row).map_or(Part::Test, |fold| Part::Fold(*fold)))
            .collect(),
    };
    let every: Vec<usize> = (0..rows.len()).collect();
    let (predictions, told) = run_boosting(boosting, &rows, &every, seed)
        .map_err(|error| TrainError::Data { code: error.code(), message: error.to_string() })?;
    let logits = predictions.probabilities.mapv(|probability| probability.max(PROBABILITY_MIN).ln());
    let left_out = logits.view().split_at(Axis(0), training.real).0.to_owned();
    let classes: Vec<usize> = rows.truth[..training.real].to_vec();
    let settings = choose(left_out, &classes, [0.0; BEAT_CLASSES.len()]);
    let mut probabilities = Array2::zeros((test.beats.len(), BEAT_CLASSES.len()));
    let mut decided = Vec::with_capacity(test.beats.len());
    for (mut to, logits) in probabilities.rows_mut().into_iter().zip(logits.rows().into_iter().skip(trained)) {
        let judgement = settings.judge(&std::array::from_fn(|class| logits[class]));
        to.iter_mut().zip(judgement.probabilities).for_each(|(to, value)| *to = value);
        decided.push(judgement.class);
    }
    let row = (first_row..first_row + test.beats.len()).collect();
    Ok((Predictions { name: BOOSTING.to_owned(), row, probabilities, decided }, told))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ecg::BeatContext;

    #[test]
    fn a_column_is_what_its_name_says() {
        let input = BeatContext::new().observe(&std::array::from_fn(|at| at as f32), Some(0.8)).complete(None);
        let (names, columns) = (names(), columns(std::slice::from_ref(&input)));
        assert_eq!(names.len(), columns.ncols());
        let value = |name: &str| columns[[0, names.iter().position(|known| known == name).unwrap()]];
        // Sample 48 of the window and of the difference stand at 96 and 97, the next ones at 98 and 99.
        assert_eq!(value("window_24"), f32::midpoint(input.signal[96], input.signal[98]));
        assert_eq!(value("difference_24"), f32::midpoint(input.signal[97], input.signal[99]));
        assert_eq!(value(CONTEXT_NAMES[CONTEXT - 1]), input.context[CONTEXT - 1]);
    }
}
