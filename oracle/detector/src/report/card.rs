//! The card of a model: what it is for, what it learned from, how good it is, where it is weak, how to make it again.
//!
//! After Mitchell et al. 2019 (model cards). Guarantees: figures are quoted from an evaluation's `figures.json`, with its digest; without
//! one the card says that nothing was measured. Must not: state a figure of its own.

use std::fmt::Write;

use super::figures_file::{Comparison, FiguresFile, ModelFigures, NamedFigure, View};
use super::markdown::OF_A_CLASS;
use super::text::{estimate, standing, table};
use crate::catalogue::Description;
use crate::measure::Interval;
use crate::model_file::ModelFile;

/// The card as Markdown. `figures` come with the SHA-256 of their file, hex.
#[must_use]
pub fn card(model: &ModelFile, description: &Description, figures: Option<(&FiguresFile, &str)>) -> String {
    let mut text = format!("# {}\n\n", description.title);
    text += &identity(model, description);
    section(&mut text, "Design", description.design);
    section(&mut text, "Intended use", description.intended_use);
    section(&mut text, "Not for", &bullets(description.not_for));
    section(&mut text, "Training data", &training_data(model, description));
    match figures {
        Some((figures, digest)) => text += &measured(figures, digest),
        None => {
            section(&mut text, "Figures", "None were given to this card: run `evaluate` and pass its `figures.json`.")
        }
    }
    section(&mut text, "Calibration", description.calibration);
    section(&mut text, "Limits", &bullets(description.limits));
    section(&mut text, "Make it again", &again(model, description));
    text.trim_end().to_owned() + "\n"
}

fn section(text: &mut String, heading: &str, body: &str) {
    let _ = write!(text, "## {heading}\n\n{}\n\n", body.trim());
}

fn bullets(lines: &[&str]) -> String {
    lines.iter().fold(String::new(), |text, line| text + "- " + line + "\n")
}

fn cells<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

fn identity(model: &ModelFile, description: &Description) -> String {
    let metadata = &model.metadata;
    let state = match description.state_bytes {
        Some(bytes) => format!("{bytes} bytes per device or patient"),
        None => "does not serve live".to_owned(),
    };
    let rows = [
        cells(["Name", &metadata.name]),
        cells(["Model id (SHA-256 of the file)", &format!("`{}`", model.id())]),
        cells(["File", &format!("`{}.safetensors`, {} bytes", metadata.name, model.to_bytes().len())]),
        cells(["Classes", &metadata.classes.join(", ")]),
        cells(["Seed", &metadata.seed.to_string()]),
        cells(["State while serving", &state]),
    ];
    // Values read better from the left than from the right.
    table(&cells(["Property", "Value"]), &rows).replace("---:", "---") + "\n"
}

fn training_data(model: &ModelFile, description: &Description) -> String {
    let metadata = &model.metadata;
    let line = |source: &crate::model_file::DataSource| {
        cells([&source.file_name, &source.rows.to_string(), &format!("`{}`", source.sha256)])
    };
    let files = table(&cells(["File", "Rows", "SHA-256"]), &metadata.data.iter().map(line).collect::<Vec<_>>());
    let hash: String = model.data_hash().iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "{files}\nDigest over these files, as the registry keeps it: `{hash}`.\n\nCite: {}\n\nTerms: {}\n",
        description.data_citation, description.data_terms
    )
}

fn measured(figures: &FiguresFile, digest: &str) -> String {
    let mut text = format!("## Protocol\n\n{}\n\n", figures.protocol);
    text += match figures.model_id {
        Some(_) => "The figures are those of the weights of this card's evaluation.\n\n",
        None => {
            "The figures below were measured by models that the protocol trained inside, each tested on rows that it never saw. The weights \
             of this card were trained on all training rows at hand with the same settings.\n\n"
        }
    };
    let _ = write!(
        text,
        "## Figures\n\n95 % intervals by {} bootstrap resamples of whole groups, seed {}. SHA-256 of `figures.json`: `{digest}`.\n\n",
        figures.resamples, figures.seed
    );
    for view in &figures.views {
        let _ = write!(text, "### {}\n\n", view.heading);
        text += &headline(view);
        text += &ahead(view);
        text += &per_class(view);
    }
    for extra in &figures.tables {
        let _ = write!(text, "### {}\n\n{}\n", extra.heading, table(&extra.header, &extra.rows));
    }
    text
}

fn headline(view: &View) -> String {
    let keys = view.headline();
    let header =
        std::iter::once("Model").chain(keys.iter().map(|(_, label)| *label)).map(str::to_owned).collect::<Vec<_>>();
    let line = |model: &ModelFigures| {
        let cell = |(key, _): &(&str, &str)| estimate_of(model, key, None);
        std::iter::once(model.name.clone()).chain(keys.iter().map(cell)).collect()
    };
    table(&header, &view.models.iter().map(line).collect::<Vec<_>>()) + "\n"
}

fn estimate_of(model: &ModelFigures, key: &str, class: Option<&str>) -> String {
    let is = |figure: &&NamedFigure| figure.key == key && figure.class.as_deref() == class;
    let undefined = Interval { value: f64::NAN, low: f64::NAN, high: f64::NAN };
    estimate(model.figures.iter().find(is).map_or(&undefined, |figure| &figure.estimate))
}

/// Where the model stands against gradient boosting, figure by figure.
fn ahead(view: &View) -> String {
    let keys = view.headline();
    let boosting = |comparison: &&Comparison| comparison.other == super::boosting::NAME && comparison.class.is_none();
    let lines = view.comparisons.iter().filter(boosting).filter_map(|comparison| {
        let (_, label) = keys.iter().find(|(key, _)| *key == comparison.key)?;
        let lower =
            ["false_positive_rate", "brier", "calibration_error"].iter().any(|part| comparison.key.contains(part));
        Some(format!("- {label}: {}\n", standing(&comparison.difference, !lower)))
    });
    let lines: String = lines.collect();
    if lines.is_empty() { lines } else { format!("Against gradient boosting on the same rows:\n\n{lines}\n") }
}

fn per_class(view: &View) -> String {
    let Some(model) = view.models.first() else { return String::new() };
    let label = |key: &&str| {
        let figure = model.figures.iter().find(|figure| figure.key == **key && figure.class.is_some());
        figure.map(|figure| figure.label.clone()).unwrap_or_default()
    };
    let header: Vec<String> =
        ["Class", "Rows"].map(str::to_owned).into_iter().chain(OF_A_CLASS.iter().map(label)).collect();
    let line = |(place, class): (usize, &String)| {
        let cells = OF_A_CLASS.iter().map(|key| estimate_of(model, key, Some(class)));
        let support = view.support.get(place).copied().unwrap_or_default();
        [class.clone(), support.to_string()].into_iter().chain(cells).collect()
    };
    table(&header, &view.classes.iter().enumerate().map(line).collect::<Vec<_>>()) + "\n"
}

fn again(model: &ModelFile, description: &Description) -> String {
    let (name, seed, folder) = (&model.metadata.name, model.metadata.seed, description.data_folder);
    format!(
        "```sh\npulsegate detector train --model {name} --data DATA/{folder} --seed {seed} --out {name}.safetensors\npulsegate detector \
         evaluate --model {name} --data DATA/{folder} --cross-validate --seed {seed} --boosting python3 --report REPORT\npulsegate detector \
         card --model {name}.safetensors --figures REPORT/figures.json --out {name}.md\n```\n\nThe same seed on the same kind of machine gives \
         the same weights. `evaluate` without `--cross-validate` judges the weights on any file with the same columns."
    )
}
