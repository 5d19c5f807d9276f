//! `figures.json`: every number of a report, for programs and for the model's card.

use serde::{Deserialize, Serialize};

use super::markdown::headline_keys;
use crate::measure::{Interval, ReliabilityPoint, Standing, Summary};

/// Version of the file's layout.
pub const FIGURES_FORMAT: u32 = 1;

/// The file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FiguresFile {
    /// Version of the layout.
    pub format: u32,
    /// Title of the report.
    pub title: String,
    /// Name of the model in the catalogue.
    pub model: String,
    /// SHA-256 of the weights that were judged, hex; none when the protocol trained its own.
    pub model_id: Option<String>,
    /// How rows were split, trained on and tested.
    pub protocol: String,
    /// Seed of folds, training and resamples.
    pub seed: u64,
    /// Resamples per interval.
    pub resamples: usize,
    /// Rows of the evaluation, trained and tested ones.
    pub rows: usize,
    /// The classes as the model gives them, then merged ones.
    pub views: Vec<View>,
    /// What the boosting script says of its settings.
    pub boosting: Option<serde_json::Value>,
    /// Extra tables.
    pub tables: Vec<ExtraTable>,
}

/// All models on one set of classes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct View {
    /// Heading in the report.
    pub heading: String,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Tested rows per class.
    pub support: Vec<u64>,
    /// The class that means "nothing wrong".
    pub benign_class: Option<usize>,
    /// Groups that were resampled.
    pub groups: usize,
    /// The models, the one in question first.
    pub models: Vec<ModelFigures>,
    /// First model against each other one.
    pub comparisons: Vec<Comparison>,
}

/// One model's numbers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ModelFigures {
    /// Its name.
    pub name: String,
    /// Tested rows.
    pub rows: usize,
    /// Its figures.
    pub figures: Vec<NamedFigure>,
    /// Counts per true class (line) and decided class (column).
    pub confusion: Vec<Vec<u64>>,
    /// ROC curve of "not benign" (false-positive rate, true-positive rate); empty without a benign class.
    pub roc: Vec<(f64, f64)>,
    /// Precision–recall curve of "not benign" (recall, precision); empty without a benign class.
    pub precision_recall: Vec<(f64, f64)>,
    /// Reliability of "not benign", or of the most probable class without a benign one.
    #[serde(skip_deserializing)]
    pub reliability: Vec<ReliabilityPoint>,
}

/// A figure with its name and interval.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NamedFigure {
    /// Stable name.
    pub key: String,
    /// Name in tables.
    pub label: String,
    /// The class that it speaks of, if one.
    pub class: Option<String>,
    /// The figure.
    #[serde(flatten)]
    pub estimate: Interval,
}

/// By how much the first model is better than another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Comparison {
    /// The other model.
    pub other: String,
    /// Stable name of the figure.
    pub key: String,
    /// The class that it speaks of, if one.
    pub class: Option<String>,
    /// Whether the first is ahead; none where the figure is not defined.
    pub standing: Option<Standing>,
    /// First minus other, on the same resamples.
    #[serde(flatten)]
    pub difference: Interval,
}

/// A table that the model added.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExtraTable {
    /// Its heading.
    pub heading: String,
    /// Column headings.
    pub header: Vec<String>,
    /// Cells.
    pub rows: Vec<Vec<String>>,
}

impl View {
    /// The numbers of a summary.
    #[must_use]
    pub fn of(heading: &str, summary: &Summary) -> Self {
        let first = summary.models.first().map(|model| model.judge.plain_confusion());
        let support = first.map(|confusion| (0..summary.classes.len()).map(|class| confusion.support(class)).collect());
        Self {
            heading: heading.to_owned(),
            classes: summary.classes.clone(),
            support: support.unwrap_or_default(),
            benign_class: summary.benign_class,
            groups: summary.groups,
            models: summary.models.iter().map(|model| model_figures(summary, model)).collect(),
            comparisons: comparisons(summary),
        }
    }

    /// Keys and names of the figures that head a report on these classes, as far as they are there.
    #[must_use]
    pub fn headline(&self) -> Vec<(&str, &str)> {
        let Some(first) = self.models.first() else { return Vec::new() };
        let named = |key: &&str| first.figures.iter().find(|figure| figure.key == *key && figure.class.is_none());
        let keys = headline_keys(self.classes.len(), self.benign_class);
        keys.iter().filter_map(named).map(|figure| (figure.key.as_str(), figure.label.as_str())).collect()
    }

    /// A model's figure by its key and class.
    #[must_use]
    pub fn figure(&self, model: usize, key: &str, class: Option<&str>) -> Option<&Interval> {
        let figures = self.models.get(model)?.figures.iter();
        let is = |figure: &&NamedFigure| figure.key == key && figure.class.as_deref() == class;
        figures.filter(|figure| !figure.estimate.value.is_nan()).find(is).map(|figure| &figure.estimate)
    }
}

fn model_figures(summary: &Summary, model: &crate::measure::ModelSummary) -> ModelFigures {
    let named = |(figure, estimate): (&crate::measure::Figure, &Interval)| NamedFigure {
        key: figure.key.clone(),
        label: figure.label.clone(),
        class: figure.class.map(|class| summary.classes[class].clone()),
        estimate: *estimate,
    };
    let attack = model.judge.attack_ranking();
    ModelFigures {
        name: model.name.clone(),
        rows: model.rows,
        figures: summary.figures.iter().zip(&model.estimates).map(named).collect(),
        confusion: model.judge.plain_confusion().lines(),
        roc: attack.map(crate::measure::Ranking::roc_curve).unwrap_or_default(),
        precision_recall: attack.map(crate::measure::Ranking::precision_recall_curve).unwrap_or_default(),
        reliability: model.judge.reliability().curve(),
    }
}

fn comparisons(summary: &Summary) -> Vec<Comparison> {
    let of_model = |model: &crate::measure::ModelSummary| {
        let compare = |(figure, difference): (&crate::measure::Figure, &Interval)| Comparison {
            other: model.name.clone(),
            key: figure.key.clone(),
            class: figure.class.map(|class| summary.classes[class].clone()),
            standing: Standing::of(difference, figure.higher_is_better),
            difference: *difference,
        };
        summary.figures.iter().zip(&model.differences).map(compare).collect::<Vec<_>>()
    };
    summary.models.iter().flat_map(of_model).collect()
}
