//! All models of an evaluation side by side: figures with intervals, and by how much the first is ahead of each other one.

use serde::{Deserialize, Serialize};

use super::bootstrap::{GroupSampler, Interval};
use super::figures::{Figure, Judge, figures_of};
use super::{Predictions, Rows};
use crate::progress::Progress;

/// How many resamples, from which seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resampling {
    /// How many.
    pub resamples: usize,
    /// Seed of the draws.
    pub seed: u64,
}

/// Models side by side on the same rows.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Names of the classes.
    pub classes: Vec<String>,
    /// The class that means "nothing wrong".
    pub benign_class: Option<usize>,
    /// What the figures are.
    pub figures: Vec<Figure>,
    /// The models, the one in question first.
    pub models: Vec<ModelSummary>,
    /// Groups that were resampled.
    pub groups: usize,
}

/// One model's figures.
#[derive(Clone, Debug)]
pub struct ModelSummary {
    /// Its name.
    pub name: String,
    /// Tested rows.
    pub rows: usize,
    /// Its figures, in the order of [`Summary::figures`].
    pub estimates: Vec<Interval>,
    /// First model minus this one, on the same resamples; empty for the first.
    pub differences: Vec<Interval>,
    /// The prepared predictions, for curves.
    pub judge: Judge,
}

/// Whether the first model does better than another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Better, and the interval of the difference excludes none.
    Ahead,
    /// The interval of the difference includes none.
    Level,
    /// Worse, and the interval of the difference excludes none.
    Behind,
}

impl Standing {
    /// Reads the standing off the difference "first minus other"; none where it is not defined.
    #[must_use]
    pub fn of(difference: &Interval, higher_is_better: bool) -> Option<Self> {
        let more = match (difference.low, difference.high) {
            (low, high) if low.is_nan() || high.is_nan() => return None,
            (low, _) if low > 0.0 => true,
            (_, high) if high < 0.0 => false,
            _ => return Some(Self::Level),
        };
        Some(if more == higher_is_better { Self::Ahead } else { Self::Behind })
    }
}

impl Summary {
    /// Measures the models on the same resamples of whole groups of the rows that the first one was tested on.
    ///
    /// # Panics
    /// When there is no model.
    #[must_use]
    pub fn new(
        rows: &Rows,
        models: &[Predictions],
        benign_class: Option<usize>,
        resampling: Resampling,
        progress: &dyn Progress,
    ) -> Self {
        let mut tested = vec![false; rows.len()];
        models.first().expect("an evaluation holds a model").row.iter().for_each(|row| tested[*row] = true);
        let sampler = GroupSampler::new(&rows.group, |row| tested[row], resampling.seed);
        let judges: Vec<Judge> = models.iter().map(|model| Judge::new(rows, model, benign_class)).collect();
        let all = vec![1; rows.len()];
        let values: Vec<Vec<f64>> = judges.iter().map(|judge| judge.figures(&all)).collect();
        progress.start("bootstrap", resampling.resamples as u64);
        let draw = |resample| {
            let weights = sampler.weights(resample);
            let draws: Vec<Vec<f64>> = judges.iter().map(|judge| judge.figures(&weights)).collect();
            progress.step("");
            draws
        };
        // Lines are resamples; in each, models; in each, figures.
        let draws: Vec<Vec<Vec<f64>>> = (0..resampling.resamples).map(draw).collect();
        progress.finish();
        let interval = |model: usize, figure: usize| {
            Interval::of(values[model][figure], draws.iter().map(|draw| draw[model][figure]))
        };
        let difference = |model: usize, figure: usize| {
            let between = draws.iter().map(|draw| draw[0][figure] - draw[model][figure]);
            Interval::of(values[0][figure] - values[model][figure], between)
        };
        let figures = figures_of(&rows.classes, benign_class);
        let summary = |(place, judge): (usize, Judge)| ModelSummary {
            name: models[place].name.clone(),
            rows: models[place].row.len(),
            estimates: (0..figures.len()).map(|figure| interval(place, figure)).collect(),
            differences: if place == 0 {
                Vec::new()
            } else {
                (0..figures.len()).map(|figure| difference(place, figure)).collect()
            },
            judge,
        };
        Self {
            classes: rows.classes.clone(),
            benign_class,
            models: judges.into_iter().enumerate().map(summary).collect(),
            figures: figures.clone(),
            groups: sampler.groups(),
        }
    }

    /// Place of a figure by its key and class.
    #[must_use]
    pub fn place(&self, key: &str, class: Option<usize>) -> Option<usize> {
        self.figures.iter().position(|figure| figure.key == key && figure.class == class)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::measure::Part;
    use crate::progress::Silent;

    const RESAMPLING: Resampling = Resampling { resamples: 300, seed: 1 };

    fn rows(count: usize) -> Rows {
        Rows {
            feature_names: vec!["x".to_owned()],
            features: Array2::zeros((count, 1)),
            classes: vec!["benign".to_owned(), "attack".to_owned()],
            truth: (0..count).map(|row| row % 2).collect(),
            group: (0..count).map(|row| row as u64 / 2).collect(),
            part: vec![Part::Test; count],
        }
    }

    fn noisy(name: &str, rows: &Rows, noise: f32, seed: u64) -> Predictions {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let score: Vec<f32> = rows
            .truth
            .iter()
            .map(|truth| (0.25 + 0.5 * *truth as f32 + rng.gen_range(-noise..noise)).clamp(0.0, 1.0))
            .collect();
        Predictions {
            name: name.to_owned(),
            row: (0..rows.len()).collect(),
            probabilities: Array2::from_shape_fn((rows.len(), 2), |(row, class)| {
                if class == 1 { score[row] } else { 1.0 - score[row] }
            }),
            decided: score.iter().map(|score| usize::from(*score > 0.5)).collect(),
        }
    }

    #[test]
    fn a_better_model_is_ahead_and_the_same_model_is_level() {
        let rows = rows(600);
        let good = noisy("good", &rows, 0.3, 1);
        let models = [good.clone(), noisy("poor", &rows, 0.9, 2), Predictions { name: "same".to_owned(), ..good }];
        let summary = Summary::new(&rows, &models, Some(0), RESAMPLING, &Silent);
        let standing = |model: usize, key: &str| {
            let place = summary.place(key, None).unwrap();
            Standing::of(&summary.models[model].differences[place], summary.figures[place].higher_is_better)
        };
        for key in ["accuracy", "macro_f1", "binary_auc", "false_positive_rate", "binary_brier"] {
            assert_eq!(standing(1, key), Some(Standing::Ahead), "{key}");
            assert_eq!(standing(2, key), Some(Standing::Level), "{key}");
        }
        assert_eq!(summary.groups, 300);
    }

    #[test]
    fn every_figure_has_a_name_and_an_interval_around_it() {
        let rows = rows(200);
        let summary = Summary::new(&rows, &[noisy("a", &rows, 0.6, 3)], Some(0), RESAMPLING, &Silent);
        let estimates = &summary.models[0].estimates;
        assert_eq!(estimates.len(), summary.figures.len());
        for (figure, estimate) in summary.figures.iter().zip(estimates) {
            assert!(estimate.low <= estimate.value && estimate.value <= estimate.high, "{figure:?} {estimate:?}");
        }
    }

    #[test]
    fn figures_of_two_classes_agree_with_one_another() {
        let rows = rows(400);
        let judge = Judge::new(&rows, &noisy("a", &rows, 0.7, 4), Some(0));
        let summary =
            Summary::new(&rows, &[noisy("a", &rows, 0.7, 4)], Some(0), Resampling { resamples: 2, seed: 1 }, &Silent);
        let value = |key: &str, class| summary.models[0].estimates[summary.place(key, class).unwrap()].value;
        assert_eq!(value("accuracy", None), judge.plain_confusion().accuracy());
        assert!((value("binary_auc", None) - value("auc", Some(1))).abs() < 1e-12);
        assert!((value("sensitivity", None) - value("recall", Some(1))).abs() < 1e-12);
        assert!((value("false_positive_rate", None) - (1.0 - value("recall", Some(0)))).abs() < 1e-12);
        assert!((value("brier", None) - 2.0 * value("binary_brier", None)).abs() < 1e-6);
    }

    #[test]
    fn an_evaluation_that_does_not_fit_together_is_refused_with_the_reason() {
        let evaluation = |change: &dyn Fn(&mut crate::measure::Evaluation)| {
            let rows = rows(10);
            let mut evaluation = crate::measure::Evaluation {
                title: String::new(),
                protocol: String::new(),
                models: vec![noisy("a", &rows, 0.1, 1)],
                rows,
                benign_class: Some(0),
                sections: Vec::new(),
                boosting: None,
            };
            change(&mut evaluation);
            evaluation.check().map_err(|error| error.reason)
        };
        assert_eq!(evaluation(&|_| {}), Ok(()));
        assert!(evaluation(&|e| e.models[0].row[1] = 0).unwrap_err().contains("twice"));
        assert!(evaluation(&|e| e.models[0].probabilities[[3, 0]] = f32::NAN).unwrap_err().contains("do not sum"));
        assert!(evaluation(&|e| e.rows.part[2] = Part::Train).unwrap_err().contains("not a tested row"));
        assert!(evaluation(&|e| e.rows.truth[0] = 7).unwrap_err().contains("true class 7"));
        assert!(evaluation(&|e| e.models.clear()).unwrap_err().contains("no model"));
    }
}
