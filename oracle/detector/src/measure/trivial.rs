//! Baselines that anybody could write down: the majority class, and one threshold on one feature.
//!
//! Fitted per part of the protocol on exactly the rows that trained the deep model there, tested on the rows it was tested on. Missing
//! values go to the side of the threshold where they do better on the training rows. Must not: look at a tested row.

use ndarray::{Array2, ArrayView1};

use super::{Part, Predictions, Rows};

/// A threshold on one feature.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stump {
    feature: usize,
    threshold: f32,
    above_is_positive: bool,
    missing_is_positive: bool,
    balanced_accuracy: f64,
}

impl Stump {
    fn is_positive(&self, features: ArrayView1<'_, f32>) -> bool {
        let value = features[self.feature];
        if value.is_nan() { self.missing_is_positive } else { (value > self.threshold) == self.above_is_positive }
    }
}

/// The trivial baselines on the rows that `tested` names; none when no row trains.
#[must_use]
pub fn trivial_baselines(rows: &Rows, tested: &[usize], benign: Option<usize>) -> Vec<Predictions> {
    let mut baselines = vec![Collector::new("Majority class", rows)];
    if benign.is_some() {
        baselines.push(Collector::new("One threshold, benign or not", rows));
    }
    if benign.is_none() || rows.classes.len() > 2 {
        baselines.push(Collector::new("One threshold per class", rows));
    }
    for (training, testing) in splits(rows, tested) {
        if training.is_empty() {
            return Vec::new();
        }
        let columns = sorted_columns(rows, &training);
        let frequencies = frequencies(rows, training.iter().copied());
        let mut baselines = baselines.iter_mut();
        baselines.next().expect("majority is always first").add_all(&testing, |_| frequencies.clone());
        if let Some(benign) = benign {
            let sides = Sides::fit(rows, &training, &columns, benign);
            baselines.next().expect("one per benign class").add_all(&testing, |row| sides.probabilities(rows, row));
        }
        if let Some(baseline) = baselines.next() {
            let classes: Vec<OneClass> =
                (0..rows.classes.len()).map(|class| OneClass::fit(rows, &training, &columns, class)).collect();
            baseline.add_all(&testing, |row| classes.iter().map(|class| class.probability(rows, row)).collect());
        }
    }
    baselines.into_iter().map(|baseline| baseline.finish(rows.classes.len())).collect()
}

/// Training and tested rows of every part of the protocol that is tested.
pub(crate) fn splits(rows: &Rows, tested: &[usize]) -> Vec<(Vec<usize>, Vec<usize>)> {
    let mut parts: Vec<Part> = tested.iter().map(|row| rows.part[*row]).collect();
    parts.sort_unstable();
    parts.dedup();
    let trains = |part: Part, of: Part| match part {
        Part::Fold(_) => of != part && of != Part::Test,
        Part::Train | Part::Test => of != Part::Test,
    };
    let split = |part: Part| {
        let training = (0..rows.len()).filter(|row| trains(part, rows.part[*row])).collect();
        (training, tested.iter().copied().filter(|row| rows.part[*row] == part).collect())
    };
    parts.into_iter().map(split).collect()
}

/// Gathers the predictions of one baseline.
struct Collector {
    name: &'static str,
    row: Vec<usize>,
    probabilities: Vec<f32>,
    decided: Vec<usize>,
}

impl Collector {
    fn new(name: &'static str, rows: &Rows) -> Self {
        Self { name, row: Vec::new(), probabilities: Vec::with_capacity(rows.len()), decided: Vec::new() }
    }

    /// Adds rows with their rates per class, which are brought to the sum 1; the highest is decided.
    fn add_all(&mut self, testing: &[usize], rates: impl Fn(usize) -> Vec<f32>) {
        for row in testing {
            let rates = rates(*row);
            let sum: f32 = rates.iter().sum();
            let best = (0..rates.len()).reduce(|best, class| if rates[class] > rates[best] { class } else { best });
            self.row.push(*row);
            self.decided.push(best.unwrap_or(0));
            let share = |rate: &f32| if sum > 0.0 { rate / sum } else { 1.0 / rates.len() as f32 };
            self.probabilities.extend(rates.iter().map(share));
        }
    }

    fn finish(self, classes: usize) -> Predictions {
        let shape = (self.row.len(), classes);
        let probabilities = Array2::from_shape_vec(shape, self.probabilities).expect("one line of rates per row");
        Predictions { name: self.name.to_owned(), row: self.row, probabilities, decided: self.decided }
    }
}

/// Benign or not by one threshold; which attack by frequency on that side.
struct Sides {
    stump: Stump,
    benign: usize,
    negative: Vec<f32>,
    positive: Vec<f32>,
}

impl Sides {
    fn fit(rows: &Rows, training: &[usize], columns: &[Column], benign: usize) -> Self {
        let stump = best_stump(rows, training, columns, |class| class != benign);
        let side = |positive: bool| {
            let inside = training.iter().copied().filter(|row| stump.is_positive(rows.features.row(*row)) == positive);
            frequencies(rows, inside)
        };
        Self { benign, negative: side(false), positive: side(true), stump }
    }

    /// Rates per class; the decision, which is the highest, has to be the side's, so the side's own classes come first.
    fn probabilities(&self, rows: &Rows, row: usize) -> Vec<f32> {
        let positive = self.stump.is_positive(rows.features.row(row));
        let mut rates = if positive { self.positive.clone() } else { self.negative.clone() };
        let most = |rates: &[f32], wanted: &dyn Fn(usize) -> bool| {
            let classes = (0..rates.len()).filter(|class| wanted(*class));
            classes.reduce(|best, class| if rates[class] > rates[best] { class } else { best })
        };
        let wanted = most(&rates, &|class| (class != self.benign) == positive);
        let top = most(&rates, &|_| true);
        if let (Some(wanted), Some(top)) = (wanted, top) {
            // Balanced accuracy decides the side even where the other side's class is more frequent in it.
            rates[wanted] = rates[wanted].max(rates[top] * 1.0001 + f32::MIN_POSITIVE);
        }
        rates
    }
}

/// One class against all others by one threshold.
struct OneClass {
    stump: Stump,
    /// Rate of the class on the negative and on the positive side.
    rates: [f32; 2],
}

impl OneClass {
    fn fit(rows: &Rows, training: &[usize], columns: &[Column], class: usize) -> Self {
        let stump = best_stump(rows, training, columns, |truth| truth == class);
        let mut counts = [[0.0_f32; 2]; 2];
        for row in training {
            let side = &mut counts[usize::from(stump.is_positive(rows.features.row(*row)))];
            side[0] += f32::from(u8::from(rows.truth[*row] == class));
            side[1] += 1.0;
        }
        Self { stump, rates: counts.map(|[inside, all]| if all > 0.0 { inside / all } else { 0.0 }) }
    }

    fn probability(&self, rows: &Rows, row: usize) -> f32 {
        self.rates[usize::from(self.stump.is_positive(rows.features.row(row)))]
    }
}

fn frequencies(rows: &Rows, inside: impl Iterator<Item = usize>) -> Vec<f32> {
    let mut counts = vec![0_usize; rows.classes.len()];
    inside.for_each(|row| counts[rows.truth[row]] += 1);
    let all = counts.iter().sum::<usize>().max(1);
    counts.into_iter().map(|count| count as f32 / all as f32).collect()
}

/// The training rows of one feature: those with a value, from the lowest, and those without.
struct Column {
    sorted: Vec<(f32, usize)>,
    missing: Vec<usize>,
}

fn sorted_columns(rows: &Rows, training: &[usize]) -> Vec<Column> {
    let column = |feature: usize| {
        let value = |row: usize| rows.features[[row, feature]];
        let mut sorted: Vec<(f32, usize)> =
            training.iter().map(|row| (value(*row), *row)).filter(|(value, _)| !value.is_nan()).collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        Column { sorted, missing: training.iter().copied().filter(|row| value(*row).is_nan()).collect() }
    };
    (0..rows.features.ncols()).map(column).collect()
}

/// The threshold of the best balanced accuracy on the training rows; the first of equals.
fn best_stump(rows: &Rows, training: &[usize], columns: &[Column], positive: impl Fn(usize) -> bool) -> Stump {
    let is = |row: usize| positive(rows.truth[row]);
    let positives = training.iter().filter(|row| is(**row)).count();
    let totals = [training.len() - positives, positives].map(|count| count as f64);
    let mut best = Stump {
        feature: 0,
        threshold: f32::INFINITY,
        above_is_positive: true,
        missing_is_positive: false,
        balanced_accuracy: 0.5,
    };
    if totals.contains(&0.0) || columns.is_empty() {
        return best;
    }
    for (feature, column) in columns.iter().enumerate() {
        // Shares of negatives and of positives: missing, and at or below the threshold.
        let missing = column.missing.iter().fold([0.0; 2], |mut shares, row| {
            shares[usize::from(is(*row))] += 1.0;
            shares
        });
        let missing = [missing[0] / totals[0], missing[1] / totals[1]];
        let missing_is_positive = |gain: f64| gain > 0.0;
        let mut below = [0.0_f64; 2];
        let mut offer = |below: [f64; 2], threshold: f32| {
            let present = [1.0 - missing[0], 1.0 - missing[1]];
            // Sensitivity minus false-positive rate of "above is positive", and of the reverse; missing rows add theirs if it helps.
            let above = (present[1] - below[1]) - (present[0] - below[0]);
            let gain = missing[1] - missing[0];
            for (above_is_positive, difference) in [(true, above), (false, below[1] - below[0])] {
                let balanced_accuracy = 0.5 + (difference + gain.max(0.0)) / 2.0;
                if balanced_accuracy > best.balanced_accuracy + 1e-12 {
                    let missing_is_positive = missing_is_positive(gain);
                    best = Stump { feature, threshold, above_is_positive, missing_is_positive, balanced_accuracy };
                }
            }
        };
        offer(below, f32::NEG_INFINITY);
        for tie in column.sorted.chunk_by(|a, b| a.0 == b.0) {
            for (_, row) in tie {
                let side = usize::from(is(*row));
                below[side] += 1.0 / totals[side];
            }
            offer(below, tie[0].0);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(features: &[[f32; 2]], truth: &[usize], part: Vec<Part>) -> Rows {
        Rows {
            feature_names: vec!["a".to_owned(), "b".to_owned()],
            features: Array2::from_shape_fn((features.len(), 2), |(row, column)| features[row][column]),
            classes: ["benign", "flood", "scan"].map(str::to_owned).to_vec(),
            truth: truth.to_vec(),
            group: (0..truth.len() as u64).collect(),
            part,
        }
    }

    #[test]
    fn the_threshold_is_the_best_one_by_brute_force_also_with_missing_values() {
        let values = [0.1, 0.9, f32::NAN, 0.4, 0.8, f32::NAN, 0.3, 0.7, 0.2, f32::NAN];
        let truth = [0, 1, 1, 0, 1, 1, 0, 0, 2, 0];
        let features: Vec<[f32; 2]> = values.iter().map(|value| [0.0, *value]).collect();
        let rows = rows(&features, &truth, vec![Part::Train; 10]);
        let training: Vec<usize> = (0..10).collect();
        let found = best_stump(&rows, &training, &sorted_columns(&rows, &training), |class| class != 0);
        let score = |stump: &Stump| {
            let share = |wanted: bool| {
                let inside: Vec<usize> = training.iter().copied().filter(|row| (truth[*row] != 0) == wanted).collect();
                let right = inside.iter().filter(|row| stump.is_positive(rows.features.row(**row)) == wanted).count();
                right as f64 / inside.len() as f64
            };
            f64::midpoint(share(true), share(false))
        };
        let mut best: f64 = 0.5;
        for threshold in values.iter().filter(|value| !value.is_nan()).chain([&f32::NEG_INFINITY]) {
            for (above_is_positive, missing_is_positive) in [(true, true), (true, false), (false, true), (false, false)]
            {
                let stump = Stump {
                    feature: 1,
                    threshold: *threshold,
                    above_is_positive,
                    missing_is_positive,
                    balanced_accuracy: 0.0,
                };
                best = best.max(score(&stump));
            }
        }
        assert!(
            (score(&found) - best).abs() < 1e-12 && (found.balanced_accuracy - best).abs() < 1e-9,
            "{found:?} {best}"
        );
    }

    #[test]
    fn folds_are_fitted_on_the_other_folds_only() {
        // The feature means the opposite in the two folds, so a threshold that never saw its fold is always wrong.
        let features = [[0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [1.0, 0.0]];
        let part = vec![Part::Fold(0), Part::Fold(0), Part::Fold(1), Part::Fold(1)];
        let rows = rows(&features, &[0, 1, 1, 0], part);
        let baselines = trivial_baselines(&rows, &[0, 1, 2, 3], Some(0));
        assert_eq!(baselines.len(), 3);
        let threshold = &baselines[1];
        assert!(threshold.row.iter().zip(&threshold.decided).all(|(row, decided)| rows.truth[*row] != *decided));
    }

    #[test]
    fn the_majority_is_that_of_the_training_rows() {
        let part = vec![Part::Train, Part::Train, Part::Train, Part::Test];
        let rows = rows(&[[0.0; 2]; 4], &[2, 2, 0, 1], part);
        let majority = &trivial_baselines(&rows, &[3], Some(0))[0];
        assert_eq!((majority.row.as_slice(), majority.decided.as_slice()), ([3].as_slice(), [2].as_slice()));
        assert!((majority.probabilities.row(0).sum() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn tested_rows_beside_folds_are_judged_by_what_all_folds_trained() {
        let part = vec![Part::Fold(0), Part::Fold(1), Part::Test];
        let rows = rows(&[[0.0; 2]; 3], &[1, 1, 0], part);
        assert_eq!(splits(&rows, &[0, 2]), [(vec![1], vec![0]), (vec![0, 1], vec![2])]);
    }

    #[test]
    fn without_training_rows_there_is_no_baseline() {
        let rows = rows(&[[0.0; 2]; 2], &[0, 1], vec![Part::Test; 2]);
        assert!(trivial_baselines(&rows, &[0, 1], Some(0)).is_empty());
    }
}
