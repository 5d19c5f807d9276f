//! The figures of one model on its tested rows, computed for any resample.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::confusion::{Confusion, mean};
use super::ranking::Ranking;
use super::reliability::Reliability;
use super::{Predictions, Rows};

/// The share of attacks that must be found where false alarms are counted "at 90 % detection".
const DETECTION: f64 = 0.9;

/// What a figure is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figure {
    /// Stable name for programs.
    pub key: String,
    /// Name in the tables.
    pub label: String,
    /// The class that it speaks of, if one.
    pub class: Option<usize>,
    /// Whether more is better.
    pub higher_is_better: bool,
}

/// Figures of all classes together, in their order.
const OVERALL: [(&str, &str, bool); 6] = [
    ("accuracy", "Accuracy", true),
    ("balanced_accuracy", "Balanced accuracy", true),
    ("macro_f1", "Macro-F1", true),
    ("macro_auc", "Macro ROC-AUC", true),
    ("brier", "Brier score", false),
    ("calibration_error", "Calibration error", false),
];
/// Figures of benign against all else, in their order.
const AGAINST_BENIGN: [(&str, &str, bool); 10] = [
    ("binary_auc", "ROC-AUC, two classes", true),
    ("binary_average_precision", "PR-AUC, two classes", true),
    ("binary_accuracy", "Accuracy, two classes", true),
    ("sensitivity", "Sensitivity", true),
    ("positive_predictive_value", "Precision", true),
    ("min_se_ppv", "min(Se, P+)", true),
    ("false_positive_rate", "Benign false-positive rate", false),
    ("false_positive_rate_at_90", "False positives at 90 % detection", false),
    ("binary_brier", "Brier score, two classes", false),
    ("binary_calibration_error", "Calibration error, two classes", false),
];
/// Figures of every class, in their order.
const PER_CLASS: [(&str, &str); 5] = [
    ("recall", "Recall"),
    ("precision", "Precision"),
    ("f1", "F1"),
    ("auc", "ROC-AUC"),
    ("average_precision", "PR-AUC"),
];

/// The figures that these classes have, in the order of [`Judge::figures`].
#[must_use]
pub fn figures_of(classes: &[String], benign: Option<usize>) -> Vec<Figure> {
    let plain = |(key, label, higher_is_better): &(&str, &str, bool)| Figure {
        key: (*key).to_owned(),
        label: (*label).to_owned(),
        class: None,
        higher_is_better: *higher_is_better,
    };
    let against = if benign.is_some() { AGAINST_BENIGN.as_slice() } else { &[] };
    let per_class = (0..classes.len()).flat_map(|class| {
        PER_CLASS.iter().map(move |(key, label)| Figure {
            key: (*key).to_owned(),
            label: (*label).to_owned(),
            class: Some(class),
            higher_is_better: true,
        })
    });
    OVERALL.iter().map(plain).chain(against.iter().map(plain)).chain(per_class).collect()
}

/// One model's predictions, sorted and binned so that a resample costs a few linear scans.
#[derive(Clone, Debug)]
pub struct Judge {
    rows: Vec<usize>,
    truth: Vec<usize>,
    decided: Vec<usize>,
    /// Ranking of every class against all others.
    rankings: Vec<Ranking>,
    /// Sum over classes of the squared distance between probability and truth.
    distance: Vec<f32>,
    /// Probability of the most probable class and whether that is the true one.
    top: Reliability,
    against: Option<AgainstBenign>,
    classes: usize,
}

/// The same for benign against all else.
#[derive(Clone, Debug)]
struct AgainstBenign {
    class: usize,
    ranking: Ranking,
    reliability: Reliability,
}

impl Judge {
    /// Prepares predictions that [`super::Evaluation::check`] has passed.
    #[must_use]
    pub fn new(rows: &Rows, predictions: &Predictions, benign: Option<usize>) -> Self {
        let truth: Vec<usize> = predictions.row.iter().map(|row| rows.truth[*row]).collect();
        let p = &predictions.probabilities;
        let classes = rows.classes.len();
        let ranking = |class: usize| {
            let positive: Vec<bool> = truth.iter().map(|truth| *truth == class).collect();
            Ranking::new(&p.column(class).to_vec(), &positive)
        };
        let against = benign.map(|class| {
            let attack: Vec<f32> = p.column(class).iter().map(|p| (1.0 - p).clamp(0.0, 1.0)).collect();
            let came: Vec<bool> = truth.iter().map(|truth| *truth != class).collect();
            AgainstBenign { class, ranking: Ranking::new(&attack, &came), reliability: Reliability::new(attack, came) }
        });
        Self {
            rankings: (0..classes).map(ranking).collect(),
            distance: distances(p, &truth),
            top: top_class(p, &truth),
            rows: predictions.row.clone(),
            decided: predictions.decided.clone(),
            against,
            classes,
            truth,
        }
    }

    /// The figures with every row of [`Rows`] counted as often as `weights` says; NaN where a figure is not defined.
    #[must_use]
    pub fn figures(&self, weights: &[u32]) -> Vec<f64> {
        let weights: Vec<u32> = self.rows.iter().map(|row| weights[*row]).collect();
        let confusion = self.confusion(&weights);
        let areas: Vec<_> = self.rankings.iter().map(|ranking| ranking.areas(&weights)).collect();
        let all: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let distance: f64 = self
            .distance
            .iter()
            .zip(&weights)
            .map(|(distance, weight)| f64::from(*distance) * f64::from(*weight))
            .sum();
        let mut figures = vec![
            confusion.accuracy(),
            confusion.balanced_accuracy(),
            confusion.macro_f1(),
            mean(areas.iter().map(|areas| areas.roc_auc)),
            distance / all as f64,
            self.top.calibration_error(&weights),
        ];
        if let Some(against) = &self.against {
            figures.extend(against.figures(&confusion, &weights));
        }
        for (class, areas) in areas.iter().enumerate() {
            figures.extend([confusion.recall(class), confusion.precision(class), confusion.f1(class)]);
            figures.extend([areas.roc_auc, areas.average_precision]);
        }
        figures
    }

    /// The confusion matrix on the tested rows, each counted once.
    #[must_use]
    pub fn plain_confusion(&self) -> Confusion {
        self.confusion(&vec![1; self.rows.len()])
    }

    fn confusion(&self, weights: &[u32]) -> Confusion {
        let mut confusion = Confusion::new(self.classes);
        for ((truth, decided), weight) in self.truth.iter().zip(&self.decided).zip(weights) {
            confusion.add(*truth, *decided, *weight);
        }
        confusion
    }

    /// Ranking of a class against all others.
    #[must_use]
    pub fn ranking(&self, class: usize) -> &Ranking {
        &self.rankings[class]
    }

    /// Ranking of all else against benign, where there is a benign class.
    #[must_use]
    pub fn attack_ranking(&self) -> Option<&Ranking> {
        self.against.as_ref().map(|against| &against.ranking)
    }

    /// Stated probabilities of "not benign", or, without a benign class, of the most probable class.
    #[must_use]
    pub fn reliability(&self) -> &Reliability {
        self.against.as_ref().map_or(&self.top, |against| &against.reliability)
    }
}

impl AgainstBenign {
    /// In the order of [`AGAINST_BENIGN`].
    fn figures(&self, confusion: &Confusion, weights: &[u32]) -> [f64; AGAINST_BENIGN.len()] {
        let two = confusion.against(self.class);
        let areas = self.ranking.areas(weights);
        let (sensitivity, precision) = (two.recall(1), two.precision(1));
        // Nothing decided positive is a precision of nothing: the smaller of both is then 0, as the challenge scores it.
        let smaller = if sensitivity.is_nan() {
            f64::NAN
        } else {
            sensitivity.min(if precision.is_nan() { 0.0 } else { precision })
        };
        [
            areas.roc_auc,
            areas.average_precision,
            two.accuracy(),
            sensitivity,
            precision,
            smaller,
            1.0 - two.recall(0),
            self.ranking.false_alarms_at(DETECTION, weights),
            self.reliability.brier(weights),
            self.reliability.calibration_error(weights),
        ]
    }
}

fn distances(probabilities: &Array2<f32>, truth: &[usize]) -> Vec<f32> {
    let distance = |(line, truth): (ndarray::ArrayView1<'_, f32>, &usize)| {
        let parts = line.iter().enumerate();
        parts.map(|(class, p)| (p - f32::from(u8::from(class == *truth))).powi(2)).sum()
    };
    probabilities.rows().into_iter().zip(truth).map(distance).collect()
}

fn top_class(probabilities: &Array2<f32>, truth: &[usize]) -> Reliability {
    let top = |line: ndarray::ArrayView1<'_, f32>| {
        let parts = line.iter().copied().enumerate();
        parts.reduce(|best, part| if part.1 > best.1 { part } else { best }).unwrap_or((0, 0.0))
    };
    let tops = probabilities.rows().into_iter().map(top).zip(truth);
    let (probability, right) = tops.map(|((class, p), truth)| (p, class == *truth)).unzip();
    Reliability::new(probability, right)
}
