//! The report of an evaluation and the card of a model: Markdown, SVG plots, and figures for programs.
//!
//! Guarantees: every number in a report comes from the evaluation at hand; the same evaluation and seed give the same files. Must not:
//! put single rows or their predictions into the report's folder, or name a folder of the machine that it ran on.

mod boosting;
mod card;
mod draw;
mod error;
mod figures_file;
mod markdown;
mod merged;
mod plots;
mod section;
mod text;

use std::path::{Path, PathBuf};

pub use boosting::{Boosting, write as write_rows};
pub(crate) use boosting::{NAME as BOOSTING, run as run_boosting};
pub use card::card;
pub use draw::SERIES_MAX;
pub use error::ReportError;
pub use figures_file::{Comparison, ExtraTable, FIGURES_FORMAT, FiguresFile, ModelFigures, NamedFigure, View};
pub use section::{Axis, Plot, Section, Series};

use crate::measure::{Evaluation, Resampling, Summary, trivial_baselines};
use crate::progress::Progress;

/// Name of the report in its folder.
pub const REPORT_FILE: &str = "report.md";
/// Name of the figures in the report's folder.
pub const FIGURES_FILE: &str = "figures.json";

/// What a report says beside the evaluation.
#[derive(Clone, Debug)]
pub struct ReportOptions {
    /// Name of the model in the catalogue.
    pub model: String,
    /// SHA-256 of the weights that were judged, hex; none when the protocol trained its own.
    pub model_id: Option<String>,
    /// The command that repeats the evaluation, without folders of this machine.
    pub command: String,
    /// Seed and number of resamples.
    pub resampling: Resampling,
    /// Whether and how to run gradient boosting on the same rows.
    pub boosting: Option<Boosting>,
}

/// Measures the evaluation and writes `report.md`, `figures.json` and the plots into the folder, which is made if need be.
///
/// Trivial baselines are added here, and gradient boosting when the options name a Python and the evaluation does not bring it.
///
/// # Errors
/// [`ReportError`]; files that are already written stay.
pub fn write(
    mut evaluation: Evaluation,
    options: &ReportOptions,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<FiguresFile, ReportError> {
    evaluation.check()?;
    std::fs::create_dir_all(folder).map_err(ReportError::file(folder))?;
    let tested = evaluation.models[0].row.clone();
    let mut settings = evaluation.boosting.take();
    if let Some(boosting) = options.boosting.as_ref().filter(|_| settings.is_none()) {
        let (predictions, told) = boosting::run(boosting, &evaluation.rows, &tested, options.resampling.seed)?;
        evaluation.models.push(predictions);
        settings = Some(told);
    }
    progress.start("trivial baselines", 1);
    let trivial = trivial_baselines(&evaluation.rows, &tested, evaluation.benign_class);
    progress.finish();
    let has_baselines = !trivial.is_empty();
    evaluation.models.extend(trivial);
    let mut figures = FiguresFile {
        format: FIGURES_FORMAT,
        title: evaluation.title.clone(),
        model: options.model.clone(),
        model_id: options.model_id.clone(),
        protocol: evaluation.protocol.clone(),
        seed: options.resampling.seed,
        resamples: options.resampling.resamples,
        rows: evaluation.rows.len(),
        views: Vec::new(),
        boosting: settings,
        tables: Vec::new(),
    };
    let mut body = Body { text: String::new(), folder: folder.to_owned(), files: Vec::new() };
    body.sections(&evaluation, options.resampling, &mut figures, progress)?;
    if let Some(boosting) = &figures.boosting {
        body.text += &markdown::settings(boosting);
    }
    let text = markdown::opening(&figures, &options.command, has_baselines) + &body.text;
    body.write(REPORT_FILE, text.trim_end().to_owned() + "\n")?;
    let json = serde_json::to_string(&figures).expect("figures are plain data with text keys");
    body.write(FIGURES_FILE, json + "\n")?;
    Ok(figures)
}

/// The report as it grows.
struct Body {
    text: String,
    folder: PathBuf,
    files: Vec<String>,
}

impl Body {
    fn sections(
        &mut self,
        evaluation: &Evaluation,
        resampling: Resampling,
        figures: &mut FiguresFile,
        progress: &dyn Progress,
    ) -> Result<(), ReportError> {
        let Evaluation { rows, models, benign_class, .. } = evaluation;
        let summary = Summary::new(rows, models, *benign_class, resampling, progress);
        self.view("Figures", "", &summary, figures)?;
        for section in &evaluation.sections {
            match section {
                Section::Text { heading, body } => self.text += &format!("## {heading}\n\n{body}\n\n"),
                Section::Table { heading, caption, header, rows } => {
                    self.text += &format!("## {heading}\n\n{caption}\n\n{}\n", text::table(header, rows));
                    figures.tables.push(ExtraTable {
                        heading: heading.clone(),
                        header: header.clone(),
                        rows: rows.clone(),
                    });
                }
                Section::Plot(plot) => {
                    self.text += &format!("## {}\n\n", plot.heading);
                    self.plot(plot)?;
                }
                Section::Merged { heading, caption, classes, merged_of, benign_class } => {
                    let (rows, models) = merged::merged(rows, models, classes, merged_of, *benign_class)?;
                    let summary = Summary::new(&rows, &models, *benign_class, resampling, progress);
                    self.view(heading, caption, &summary, figures)?;
                }
            }
        }
        Ok(())
    }

    /// Tables and plots of one set of classes.
    fn view(
        &mut self,
        heading: &str,
        caption: &str,
        summary: &Summary,
        figures: &mut FiguresFile,
    ) -> Result<(), ReportError> {
        self.text += &markdown::view(heading, caption, summary);
        // The first view's plots have plain names; a merged one's begin with its heading.
        let stem = if figures.views.is_empty() { String::new() } else { format!("{}-", text::slug(heading)) };
        self.text += "### Confusion\n\n";
        for (place, model) in plots::shown(summary) {
            let name =
                if place == 0 { "confusion".to_owned() } else { format!("confusion-{}", text::slug(&model.name)) };
            let lines = model.judge.plain_confusion().lines();
            let svg = draw::confusion(&model.name, &summary.classes, &lines);
            self.picture(&format!("Confusion matrix, {}", model.name), "", &format!("{stem}{name}"), svg)?;
        }
        self.text += "### Curves and calibration\n\n";
        for plot in plots::curves(summary, &stem) {
            self.plot(&plot)?;
        }
        figures.views.push(View::of(heading, summary));
        Ok(())
    }

    fn plot(&mut self, plot: &Plot) -> Result<(), ReportError> {
        let mut caption = plot.caption.clone();
        if plot.series.len() > SERIES_MAX {
            let left = plot.series.len() - SERIES_MAX;
            caption += &format!(" The last {left} lines are left out, because nobody could tell them apart.");
        }
        self.picture(&plot.heading, caption.trim(), &plot.file_stem, draw::lines(plot))
    }

    /// Writes a picture under a name of its own and shows it.
    fn picture(
        &mut self,
        heading: &str,
        caption: &str,
        stem: &str,
        svg: Result<String, String>,
    ) -> Result<(), ReportError> {
        let svg = svg.map_err(|reason| ReportError::Plot { heading: heading.to_owned(), reason })?;
        let stem = text::slug(stem);
        let taken = self.files.iter().filter(|file| **file == stem).count();
        let file = if taken == 0 { format!("{stem}.svg") } else { format!("{stem}-{}.svg", taken + 1) };
        self.files.push(stem);
        self.write(&file, svg)?;
        self.text += &markdown::picture(heading, caption, &file);
        Ok(())
    }

    fn write(&self, name: &str, content: String) -> Result<(), ReportError> {
        let path = self.folder.join(name);
        std::fs::write(&path, content).map_err(ReportError::file(&path))
    }
}
