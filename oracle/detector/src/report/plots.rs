//! The plots that every report has: ROC, precision–recall and reliability.

use super::boosting;
use super::section::{Axis, Plot, Series};
use crate::measure::{ModelSummary, Ranking, Summary};

/// Classes that have a line of their own in one plot; those that are ranked worst are taken.
const CLASSES_MAX: usize = 7;
/// Models that have a line of their own in one plot.
const MODELS_MAX: usize = 7;

/// The model in question and gradient boosting, with their places.
pub(crate) fn shown(summary: &Summary) -> impl Iterator<Item = (usize, &ModelSummary)> {
    summary.models.iter().enumerate().filter(|(place, model)| *place == 0 || model.name == boosting::NAME)
}

/// Curves of all models against benign, of the model's classes, and reliability. File names begin with `stem`.
pub(crate) fn curves(summary: &Summary, stem: &str) -> Vec<Plot> {
    let mut plots = Vec::new();
    if summary.benign_class.is_some() {
        let benign = benign_name(summary);
        let ranked = |curve: fn(&Ranking) -> Vec<(f64, f64)>| {
            let line = |model: &ModelSummary| {
                Series::line(&model.name, model.judge.attack_ranking().map(curve).unwrap_or_default())
            };
            summary
                .models
                .iter()
                .take(MODELS_MAX)
                .map(line)
                .filter(|series| !series.points.is_empty())
                .collect::<Vec<_>>()
        };
        plots.push(roc(format!("{stem}roc"), format!("ROC: anything against {benign}"), ranked(Ranking::roc_curve)));
        let series = ranked(Ranking::precision_recall_curve);
        plots.push(precision_recall(
            format!("{stem}pr"),
            format!("Precision and recall: anything against {benign}"),
            series,
        ));
    }
    if summary.classes.len() > 2 || summary.benign_class.is_none() {
        plots.extend(class_curves(summary, stem));
    }
    plots.push(reliability(summary, stem));
    plots
}

fn benign_name(summary: &Summary) -> &str {
    summary.benign_class.map_or("the rest", |class| summary.classes[class].as_str())
}

fn roc(file_stem: String, heading: String, series: Vec<Series>) -> Plot {
    Plot {
        heading,
        caption: "The dashed diagonal is chance.".to_owned(),
        file_stem,
        x: Axis::unit("false-positive rate"),
        y: Axis::unit("true-positive rate"),
        series,
        diagonal: true,
    }
}

fn precision_recall(file_stem: String, heading: String, series: Vec<Series>) -> Plot {
    Plot {
        heading,
        caption: String::new(),
        file_stem,
        x: Axis::unit("recall"),
        y: Axis::unit("precision"),
        series,
        diagonal: false,
    }
}

/// One line per class of the first model, the worst ranked classes only.
fn class_curves(summary: &Summary, stem: &str) -> Vec<Plot> {
    let Some(model) = summary.models.first() else { return Vec::new() };
    let average_precision = |class: usize| {
        let place = summary.place("average_precision", Some(class));
        place.map_or(f64::NAN, |place| model.estimates[place].value)
    };
    let mut classes: Vec<usize> =
        (0..summary.classes.len()).filter(|class| !average_precision(*class).is_nan()).collect();
    classes.sort_by(|a, b| average_precision(*a).total_cmp(&average_precision(*b)));
    classes.truncate(CLASSES_MAX);
    let left = summary.classes.len() - classes.len();
    let caption = match left {
        0 => String::new(),
        _ => {
            format!("The {} classes of the lowest average precision; the other {left} are in the table.", classes.len())
        }
    };
    let lines = |curve: fn(&Ranking) -> Vec<(f64, f64)>| -> Vec<Series> {
        let line = |class: &usize| Series::line(&summary.classes[*class], curve(model.judge.ranking(*class)));
        classes.iter().map(line).collect()
    };
    let heading = |what: &str| format!("{what} per class: {}", model.name);
    let roc = roc(format!("{stem}roc-classes"), heading("ROC"), lines(Ranking::roc_curve));
    let pr = precision_recall(
        format!("{stem}pr-classes"),
        heading("Precision and recall"),
        lines(Ranking::precision_recall_curve),
    );
    [roc, pr].map(|plot| Plot { caption: format!("{} {caption}", plot.caption).trim().to_owned(), ..plot }).into()
}

fn reliability(summary: &Summary, stem: &str) -> Plot {
    let what = match summary.benign_class {
        Some(_) => format!("anything but {}", benign_name(summary)),
        None => "the most probable class".to_owned(),
    };
    let line = |(_, model): (usize, &ModelSummary)| {
        let points = model.judge.reliability().curve();
        Series {
            name: model.name.clone(),
            points: points.iter().map(|point| (point.stated, point.observed)).collect(),
            band: Some(points.iter().map(|point| (point.low, point.high)).collect()),
            marks: true,
        }
    };
    Plot {
        heading: format!("Reliability of {what}"),
        caption: "Each point is a group of equally many rows, with Wilson's 95 % interval; on the dashed diagonal, probabilities mean what \
                  they say."
            .to_owned(),
        file_stem: format!("{stem}reliability"),
        x: Axis::unit("stated probability"),
        y: Axis::unit("observed share"),
        series: shown(summary).map(line).collect(),
        diagonal: true,
    }
}
