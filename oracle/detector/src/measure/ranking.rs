//! How well a score ranks: area under the ROC curve, average precision, and both curves.
//!
//! Sorted once, then weighed by multiplicity, so that a thousand bootstrap resamples cost a thousand linear scans. Ties count as half a
//! win (ROC) and as one step (precision–recall). Sources: Fawcett 2006 (ROC graphs and their area), Davis and Goadrich 2006 (precision
//! and recall; average precision is the step-wise area, without interpolation). Must not: assume that both classes occur.

/// Most points that a thinned curve keeps.
pub const CURVE_POINTS_MAX: usize = 200;

/// Scores of rows, sorted from the highest.
#[derive(Clone, Debug)]
pub struct Ranking {
    /// Row per place.
    order: Vec<u32>,
    /// Whether the row at a place is positive.
    positive: Vec<bool>,
    /// Whether a place is the last of its tie.
    tie_ends: Vec<bool>,
}

/// Areas of one ranking; NaN where only one class occurs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Areas {
    /// Area under the ROC curve.
    pub roc_auc: f64,
    /// Average precision, the area under the precision–recall curve.
    pub average_precision: f64,
}

/// Weight 1 for every row.
const fn once(_row: usize) -> u32 {
    1
}

impl Ranking {
    /// Ranks rows by score, highest first. A score that is not a number ranks lowest.
    ///
    /// # Panics
    /// When there are not as many labels as scores.
    #[must_use]
    pub fn new(scores: &[f32], positive: &[bool]) -> Self {
        assert_eq!(scores.len(), positive.len(), "as many labels as scores");
        let key = |row: &u32| if scores[*row as usize].is_nan() { f32::NEG_INFINITY } else { scores[*row as usize] };
        let mut order: Vec<u32> =
            (0..scores.len()).map(|row| u32::try_from(row).expect("fewer than 2³² rows")).collect();
        order.sort_by(|a, b| key(b).total_cmp(&key(a)));
        let tie_ends = (0..order.len())
            .map(|place| order.get(place + 1).is_none_or(|next| key(next) != key(&order[place])))
            .collect();
        let positive = order.iter().map(|row| positive[*row as usize]).collect();
        Self { order, positive, tie_ends }
    }

    /// Areas with every row counted `weights[row]` times.
    #[must_use]
    pub fn areas(&self, weights: &[u32]) -> Areas {
        self.areas_by(|row| weights[row])
    }

    /// Areas with every row counted once.
    #[must_use]
    pub fn plain_areas(&self) -> Areas {
        self.areas_by(once)
    }

    fn areas_by(&self, weight: impl Fn(usize) -> u32) -> Areas {
        // `wins` is twice the number of pairs won, so that a tie's half stays whole.
        let (mut wins, mut steps) = (0_u64, 0_f64);
        let (mut positives, mut negatives) = (0_u64, 0_u64);
        self.blocks(weight, |block_positives, block_negatives| {
            wins += block_negatives * (2 * positives + block_positives);
            positives += block_positives;
            negatives += block_negatives;
            if block_positives > 0 {
                steps += block_positives as f64 * positives as f64 / (positives + negatives) as f64;
            }
        });
        let pairs = positives as f64 * negatives as f64;
        let defined = positives > 0 && negatives > 0;
        let or_nan = |value: f64| if defined { value } else { f64::NAN };
        Areas { roc_auc: or_nan(wins as f64 / 2.0 / pairs), average_precision: or_nan(steps / positives as f64) }
    }

    /// Share of negatives at or above the highest threshold that finds at least this share of the positives; NaN where only one class
    /// occurs.
    #[must_use]
    pub fn false_alarms_at(&self, detection: f64, weights: &[u32]) -> f64 {
        let total = |wanted: bool| -> u64 {
            let places = self.order.iter().zip(&self.positive);
            places.filter(|(_, positive)| **positive == wanted).map(|(row, _)| u64::from(weights[*row as usize])).sum()
        };
        let (all_positives, all_negatives) = (total(true), total(false));
        if all_positives == 0 || all_negatives == 0 {
            return f64::NAN;
        }
        let needed = detection * all_positives as f64;
        let (mut positives, mut negatives, mut found) = (0, 0, None);
        self.blocks(
            |row| weights[row],
            |block_positives, block_negatives| {
                positives += block_positives;
                negatives += block_negatives;
                if found.is_none() && positives as f64 >= needed {
                    found = Some(negatives);
                }
            },
        );
        found.unwrap_or(all_negatives) as f64 / all_negatives as f64
    }

    /// The ROC curve from (0, 0) to (1, 1): false-positive rate, true-positive rate. Empty where only one class occurs.
    #[must_use]
    pub fn roc_curve(&self) -> Vec<(f64, f64)> {
        let counts = self.counts();
        let (positives, negatives) = counts.last().copied().unwrap_or_default();
        if positives == 0 || negatives == 0 {
            return Vec::new();
        }
        let point = |(tp, fp): (u64, u64)| (fp as f64 / negatives as f64, tp as f64 / positives as f64);
        thin(&std::iter::once((0, 0)).chain(counts).map(point).collect::<Vec<_>>())
    }

    /// The precision–recall curve from recall 0: recall, precision. Empty where only one class occurs.
    #[must_use]
    pub fn precision_recall_curve(&self) -> Vec<(f64, f64)> {
        let counts = self.counts();
        let (positives, negatives) = counts.last().copied().unwrap_or_default();
        if positives == 0 || negatives == 0 {
            return Vec::new();
        }
        let point = |(tp, fp): (u64, u64)| (tp as f64 / positives as f64, tp as f64 / (tp + fp) as f64);
        // The highest score's precision holds down to recall 0, as the step-wise area has it.
        let start = counts.first().map(|first| (0.0, point(*first).1));
        thin(&start.into_iter().chain(counts.into_iter().map(point)).collect::<Vec<_>>())
    }

    /// True and false positives after every tie.
    fn counts(&self) -> Vec<(u64, u64)> {
        let (mut counts, mut positives, mut negatives) = (Vec::new(), 0, 0);
        self.blocks(once, |block_positives, block_negatives| {
            positives += block_positives;
            negatives += block_negatives;
            counts.push((positives, negatives));
        });
        counts
    }

    /// Calls `take` with the weight of positives and of negatives of every tie, from the highest score.
    fn blocks(&self, weight: impl Fn(usize) -> u32, mut take: impl FnMut(u64, u64)) {
        let (mut positives, mut negatives) = (0_u64, 0_u64);
        for ((row, positive), ends) in self.order.iter().zip(&self.positive).zip(&self.tie_ends) {
            let count = u64::from(weight(*row as usize));
            if *positive {
                positives += count
            } else {
                negatives += count
            }
            if *ends {
                take(positives, negatives);
                (positives, negatives) = (0, 0);
            }
        }
    }
}

/// Area under the ROC curve; ties count half; NaN where only one class occurs.
#[must_use]
pub fn roc_auc(scores: &[f32], positive: &[bool]) -> f64 {
    Ranking::new(scores, positive).plain_areas().roc_auc
}

/// Average precision; NaN where only one class occurs.
#[must_use]
pub fn average_precision(scores: &[f32], positive: &[bool]) -> f64 {
    Ranking::new(scores, positive).plain_areas().average_precision
}

/// Keeps at most [`CURVE_POINTS_MAX`] points, evenly along the curve, both ends among them.
fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= CURVE_POINTS_MAX {
        return points.to_vec();
    }
    let length = |pair: &[(f64, f64)]| (pair[1].0 - pair[0].0).abs() + (pair[1].1 - pair[0].1).abs();
    let step = points.windows(2).map(length).sum::<f64>() / (CURVE_POINTS_MAX - 2) as f64;
    let (mut kept, mut walked) = (vec![points[0]], 0.0);
    for pair in points.windows(2) {
        walked += length(pair);
        if walked >= step && kept.len() < CURVE_POINTS_MAX - 1 {
            kept.push(pair[1]);
            walked = 0.0;
        }
    }
    kept.push(points[points.len() - 1]);
    kept
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn pairs_won(scores: &[f32], positive: &[bool]) -> f64 {
        let (mut won, mut pairs) = (0.0, 0.0);
        for (a, _) in scores.iter().zip(positive).filter(|(_, p)| **p) {
            for (b, _) in scores.iter().zip(positive).filter(|(_, p)| !**p) {
                pairs += 1.0;
                won += if a > b {
                    1.0
                } else if a == b {
                    0.5
                } else {
                    0.0
                };
            }
        }
        won / pairs
    }

    #[test]
    fn areas_are_those_worked_out_by_hand() {
        let scores = [0.9, 0.8, 0.7, 0.6];
        let positive = [true, false, true, false];
        assert_eq!(roc_auc(&scores, &positive), 0.75);
        assert!((average_precision(&scores, &positive) - (1.0 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
        // One score for all: chance, and the share of positives.
        assert_eq!(roc_auc(&[0.5; 4], &positive), 0.5);
        assert_eq!(average_precision(&[0.5; 4], &positive), 0.5);
    }

    #[test]
    fn the_area_is_the_share_of_pairs_won_also_with_ties_and_multiplicities() {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        for _ in 0..20 {
            let scores: Vec<f32> = (0..60).map(|_| rng.gen_range(0..10) as f32).collect();
            let positive: Vec<bool> = (0..60).map(|_| rng.gen_bool(0.3)).collect();
            let weights: Vec<u32> = (0..60).map(|_| rng.gen_range(0..4)).collect();
            let ranking = Ranking::new(&scores, &positive);
            assert!((ranking.plain_areas().roc_auc - pairs_won(&scores, &positive)).abs() < 1e-12);
            let repeat = |row: usize| std::iter::repeat_n(row, weights[row] as usize);
            let rows: Vec<usize> = (0..60).flat_map(repeat).collect();
            let (scores, positive): (Vec<f32>, Vec<bool>) =
                rows.iter().map(|row| (scores[*row], positive[*row])).unzip();
            let (weighed, repeated) = (ranking.areas(&weights), Ranking::new(&scores, &positive).plain_areas());
            assert!((weighed.roc_auc - repeated.roc_auc).abs() < 1e-12);
            assert!((weighed.average_precision - repeated.average_precision).abs() < 1e-12);
        }
    }

    #[test]
    fn one_class_alone_has_no_area_and_no_curve() {
        let ranking = Ranking::new(&[0.1, 0.2], &[true, true]);
        assert!(ranking.plain_areas().roc_auc.is_nan());
        assert!(ranking.false_alarms_at(0.9, &[1, 1]).is_nan());
        assert!(ranking.roc_curve().is_empty() && ranking.precision_recall_curve().is_empty());
    }

    #[test]
    fn false_alarms_are_counted_at_the_threshold_that_finds_enough() {
        let scores = [0.9, 0.8, 0.7, 0.6, 0.5];
        let positive = [true, false, true, false, false];
        let ranking = Ranking::new(&scores, &positive);
        assert_eq!(ranking.false_alarms_at(0.5, &[1; 5]), 0.0);
        assert!((ranking.false_alarms_at(0.9, &[1; 5]) - 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_thinned_curve_keeps_its_ends_and_its_area() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let positive: Vec<bool> = (0..5_000).map(|_| rng.gen_bool(0.2)).collect();
        let scores: Vec<f32> = positive.iter().map(|p| rng.gen_range(0.0..1.0) + if *p { 0.4 } else { 0.0 }).collect();
        let ranking = Ranking::new(&scores, &positive);
        let curve = ranking.roc_curve();
        assert!(curve.len() <= CURVE_POINTS_MAX);
        assert_eq!((curve[0], curve[curve.len() - 1]), ((0.0, 0.0), (1.0, 1.0)));
        let area: f64 = curve.windows(2).map(|p| (p[1].0 - p[0].0) * (p[1].1 + p[0].1) / 2.0).sum();
        assert!((area - ranking.plain_areas().roc_auc).abs() < 2e-3, "{area}");
    }
}
