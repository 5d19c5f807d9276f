//! The words and tables of `report.md`.

use std::fmt::Write;

use super::boosting;
use super::figures_file::FiguresFile;
use super::text::{estimate, number, standing, table};
use crate::measure::{ModelSummary, RESAMPLES, Summary};

/// The figures that head a report of two classes.
const HEADLINE_TWO: [&str; 9] = [
    "accuracy",
    "macro_f1",
    "binary_auc",
    "binary_average_precision",
    "min_se_ppv",
    "false_positive_rate",
    "false_positive_rate_at_90",
    "binary_brier",
    "binary_calibration_error",
];
/// The figures that head a report of more classes; those of a benign class only where there is one.
const HEADLINE_MORE: [&str; 10] = [
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "macro_auc",
    "binary_auc",
    "binary_average_precision",
    "binary_accuracy",
    "false_positive_rate",
    "brier",
    "calibration_error",
];
/// The figures of a class, in the order of its table.
pub(crate) const OF_A_CLASS: [&str; 5] = ["recall", "precision", "f1", "auc", "average_precision"];

/// Keys of the figures that head a report on so many classes.
pub(crate) fn headline_keys(classes: usize, benign_class: Option<usize>) -> &'static [&'static str] {
    if classes == 2 && benign_class.is_some() { &HEADLINE_TWO } else { &HEADLINE_MORE }
}

/// Places of the figures that head the report.
fn headline(summary: &Summary) -> Vec<usize> {
    let keys = headline_keys(summary.classes.len(), summary.benign_class);
    keys.iter().filter_map(|key| summary.place(key, None)).collect()
}

/// Title, protocol, and how to read the tables.
pub(crate) fn opening(figures: &FiguresFile, command: &str, has_baselines: bool) -> String {
    let mut text = format!("# {}\n\n{}\n\n", figures.title, figures.protocol);
    let judged = match &figures.model_id {
        Some(id) => format!("weights with SHA-256 `{id}`"),
        None => "weights trained inside the protocol, none of them on the rows that they are tested on".to_owned(),
    };
    let groups = figures.views.first().map_or(0, |view| view.groups);
    let tested = figures.views.first().and_then(|view| view.models.first()).map_or(0, |model| model.rows);
    let _ = write!(
        text,
        "- Model: `{}`, {judged}.\n- Rows: {tested} tested of {} at hand, in {groups} tested groups.\n- Seed: {}.\n- Intervals: 95 %, \
         percentile bootstrap over whole groups, {} resamples; the same resamples for all models, so that differences are paired.\n- \
         Repeat it: `{command}`\n\n",
        figures.model, figures.rows, figures.seed, figures.resamples,
    );
    if figures.resamples < RESAMPLES {
        let _ = write!(text, "Fewer resamples than the usual {RESAMPLES}: the ends of intervals are rough.\n\n");
    }
    let boosting = if figures.boosting.is_some() { ", and gradient boosting," } else { "" };
    if has_baselines {
        let _ = write!(
            text,
            "The majority class and the single thresholds{boosting} were fitted on exactly the rows and columns that trained the model in \
             question, part by part.\n\n"
        );
    } else {
        text += "No row trained here, so there is nothing that baselines could be fitted on; `--cross-validate` shows them.\n\n";
    }
    text
}

/// Headline table, comparison, classes.
pub(crate) fn view(heading: &str, caption: &str, summary: &Summary) -> String {
    let mut text = format!("## {heading}\n\n");
    if !caption.is_empty() {
        let _ = write!(text, "{caption}\n\n");
    }
    let places = headline(summary);
    let label = |place: &usize| summary.figures[*place].label.clone();
    let header: Vec<String> = std::iter::once("Model".to_owned()).chain(places.iter().map(label)).collect();
    let line = |model: &ModelSummary| {
        let cells = places.iter().map(|place| estimate(&model.estimates[*place]));
        std::iter::once(model.name.clone()).chain(cells).collect()
    };
    text += &table(&header, &summary.models.iter().map(line).collect::<Vec<_>>());
    text.push('\n');
    text += &comparison(summary, &places);
    text += &per_class(summary);
    text += &uneven_rows(summary);
    text
}

fn comparison(summary: &Summary, places: &[usize]) -> String {
    let [first, others @ ..] = summary.models.as_slice() else { return String::new() };
    if others.is_empty() {
        return String::new();
    }
    let header: Vec<String> = std::iter::once(format!("{} is", first.name))
        .chain(others.iter().map(|model| format!("… {}", model.name)))
        .collect();
    let line = |place: &usize| {
        let figure = &summary.figures[*place];
        let cell = |model: &ModelSummary| standing(&model.differences[*place], figure.higher_is_better);
        std::iter::once(figure.label.clone()).chain(others.iter().map(cell)).collect()
    };
    let lines: Vec<Vec<String>> = places.iter().map(line).collect();
    "*Ahead* and *behind* mean that the 95 % interval of the paired difference leaves out zero; amounts are in the figure's own unit, \
     positive is better.\n\n"
        .to_owned()
        + &table(&header, &lines)
        + "\n"
}

fn per_class(summary: &Summary) -> String {
    let mut text = String::from("### Per class\n\n");
    let boosting = summary.models.iter().skip(1).filter(|model| model.name == boosting::NAME);
    for model in summary.models.iter().take(1).chain(boosting) {
        let confusion = model.judge.plain_confusion();
        let labels =
            OF_A_CLASS.iter().map(|key| summary.place(key, Some(0)).map(|place| summary.figures[place].label.clone()));
        let header: Vec<String> =
            [model.name.clone(), "Rows".to_owned()].into_iter().chain(labels.map(Option::unwrap_or_default)).collect();
        let line = |(class, name): (usize, &String)| {
            let cell = |key: &&str| summary.place(key, Some(class)).map(|place| estimate(&model.estimates[place]));
            let cells = OF_A_CLASS.iter().map(|key| cell(key).unwrap_or_default());
            [name.clone(), confusion.support(class).to_string()].into_iter().chain(cells).collect()
        };
        text += &table(&header, &summary.classes.iter().enumerate().map(line).collect::<Vec<_>>());
        text.push('\n');
    }
    if summary.models.len() > 1 && summary.classes.len() > 2 {
        text += "F1 of every model:\n\n";
        let names = summary.models.iter().map(|model| model.name.clone());
        let header: Vec<String> = std::iter::once("Class".to_owned()).chain(names).collect();
        let line = |(class, name): (usize, &String)| {
            let place = summary.place("f1", Some(class));
            let cell =
                |model: &ModelSummary| place.map_or_else(String::new, |place| number(model.estimates[place].value));
            std::iter::once(name.clone()).chain(summary.models.iter().map(cell)).collect()
        };
        text += &table(&header, &summary.classes.iter().enumerate().map(line).collect::<Vec<_>>());
        text.push('\n');
    }
    text
}

/// Says so when a model was tested on other rows than the first.
fn uneven_rows(summary: &Summary) -> String {
    let first = summary.models.first().map_or(0, |model| model.rows);
    let uneven = summary.models.iter().filter(|model| model.rows != first);
    let lines: Vec<String> = uneven.map(|model| format!("{} judged {} rows", model.name, model.rows)).collect();
    if lines.is_empty() { String::new() } else { format!("Not on the same {first} rows: {}.\n\n", lines.join("; ")) }
}

/// A picture with its caption.
pub(crate) fn picture(heading: &str, caption: &str, file: &str) -> String {
    let caption = if caption.is_empty() { String::new() } else { format!("\n\n{caption}") };
    format!("![{heading}]({file}){caption}\n\n")
}

/// What the boosting script says of its settings.
pub(crate) fn settings(boosting: &serde_json::Value) -> String {
    let pretty = serde_json::to_string_pretty(&boosting["chosen"]).unwrap_or_default();
    let library = boosting["library"].as_str().unwrap_or("gradient boosting");
    format!(
        "## Settings of gradient boosting\n\n{library}, chosen on training rows alone:\n\n```json\n{pretty}\n```\n\n"
    )
}
