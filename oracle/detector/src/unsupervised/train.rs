//! Training and judging from the command line.
//!
//! `--data` is the folder with the four public sets, or one of them. What is served is taught on the benign rows of all of them in the
//! serving schema. Guarantees: a model never trains on an attack, on a tested row, or on the group of one; the same seed gives the same
//! weights. Training takes seconds and leaves no checkpoint: what is interrupted begins anew. Must not: use a label for anything but leaving attacks out and counting afterwards.

use std::path::Path;

use ndarray::Array2;

use super::ensemble::Teaching;
use super::model::{Judgement, Mix, Model, Taught};
use super::rows::{Labelled, SETS, Schema, folders, load, load_file};
use super::study;
use super::weights::{CLASSES, NAME};
use crate::catalogue::{Description, EvaluateOptions, TrainError, TrainOptions, Trainable};
use crate::measure::{Evaluation, Part, Predictions, Rows};
use crate::model_file::ModelFile;
use crate::progress::Progress;

/// Traffic without labels.
#[derive(Clone, Copy, Debug)]
pub struct Unsupervised;

/// The models of the report: name and mix, the served one first.
pub(crate) const MIXES: [(&str, Mix); 4] = [
    ("Codebook and members (served)", Mix::SERVED),
    ("Codebook alone", Mix { codebook: 1.0, members: 0.0, output: 0.0 }),
    ("Members alone", Mix { codebook: 0.0, members: 1.0, output: 0.0 }),
    ("Output layer alone (KitNET)", Mix::KITNET),
];

impl Trainable for Unsupervised {
    fn name(&self) -> &'static str {
        NAME
    }

    fn describe(&self) -> Description {
        super::card::description()
    }

    fn train(&self, data: &Path, options: &TrainOptions, progress: &dyn Progress) -> Result<ModelFile, TrainError> {
        let sets = load_all(data, Schema::Serving, options.seed, progress)?;
        let all = Labelled::pooled(&sets, options.seed)?;
        let benign: Vec<usize> = (0..all.len()).filter(|row| !all.attack[*row]).collect();
        progress.start("teaching", 1);
        let taught = teach(&all, &benign, &teaching(options.seed, options.epochs))?;
        progress.finish();
        Ok(model(&taught, Mix::SERVED)?.to_file(all.sources, options.seed))
    }

    fn evaluate(
        &self,
        model: Option<&ModelFile>,
        data: &Path,
        options: &EvaluateOptions,
        progress: &dyn Progress,
    ) -> Result<Evaluation, TrainError> {
        if !options.cross_validate {
            let file = model.ok_or_else(|| TrainError::NoWeights { model: NAME.to_owned() })?;
            return judge_file(&Model::from_file(file)?, data, options, progress);
        }
        let sets = load_all(data, Schema::Serving, options.seed, progress)?;
        let alone = <[Labelled; 1]>::try_from(sets.clone());
        let all = alone.map_or_else(|sets| Labelled::pooled(&sets, options.seed), |[set]| Ok(set))?;
        let teaching = teaching(options.seed, options.epochs);
        progress.start("teaching and testing", all.splits().len() as u64);
        let judged = judge_parts(&all, &teaching, &MIXES, progress)?;
        progress.finish();
        let models = MIXES.iter().zip(&judged).map(|((name, _), judged)| predictions(name, judged)).collect();
        let sections = study::sections(data, &sets, &all, &judged[0], &teaching, progress)?;
        Ok(Evaluation {
            title: "Traffic without labels".to_owned(),
            protocol: format!(
                "{}, serving schema. Models are taught on benign rows alone, those of the training part; a fifth of their groups teaches \
                 nothing and fits the threshold. Folds keep groups whole; the official test rows of nsl_kdd are in the table per set. \
                 Probabilities are at even odds.",
                all.name
            ),
            rows: rows(&all),
            benign_class: Some(0),
            models,
            sections,
            boosting: None,
        })
    }
}

fn load_all(data: &Path, schema: Schema, seed: u64, progress: &dyn Progress) -> Result<Vec<Labelled>, TrainError> {
    let folders = folders(data);
    if folders.is_empty() {
        let reason = format!("{} holds none of {}", data.display(), SETS.join(", "));
        return Err(TrainError::Unsuitable { reason });
    }
    progress.start("reading", folders.len() as u64);
    let sets = folders
        .iter()
        .map(|(name, folder)| {
            progress.step(name);
            load(name, folder, schema, seed)
        })
        .collect();
    progress.finish();
    sets
}

pub(crate) fn teaching(seed: u64, passes: Option<usize>) -> Teaching {
    let served = Teaching::served(seed);
    Teaching { passes: passes.unwrap_or(served.passes), ..served }
}

/// Teaches on the benign ones of these rows.
pub(crate) fn teach(all: &Labelled, rows: &[usize], teaching: &Teaching) -> Result<Taught, TrainError> {
    let benign: Vec<(&[f32], u64)> =
        rows.iter().filter(|row| !all.attack[**row]).map(|row| (all.row(*row), all.groups[*row])).collect();
    Taught::teach(&all.features, &all.categorical, &benign, teaching).ok_or_else(|| TrainError::Unsuitable {
        reason: format!("{} benign rows of {} columns teach nothing", benign.len(), all.features.len()),
    })
}

pub(crate) fn model(taught: &Taught, mix: Mix) -> Result<Model, TrainError> {
    taught.model(mix).ok_or_else(|| TrainError::Unsuitable { reason: "too few benign rows fit the tail".to_owned() })
}

/// Judges every tested row by a model that was taught on the benign rows of its training part; one list per mix.
pub(crate) fn judge_parts(
    all: &Labelled,
    teaching: &Teaching,
    mixes: &[(&str, Mix)],
    progress: &dyn Progress,
) -> Result<Vec<Vec<(usize, Judgement)>>, TrainError> {
    let mut judged = vec![Vec::new(); mixes.len()];
    for (training, tested) in all.splits() {
        let taught = teach(all, &training, teaching)?;
        let models: Vec<Model> =
            mixes.iter().map(|(_, mix)| model(&taught, *mix)).collect::<Result<_, TrainError>>()?;
        let mut work = taught.work();
        for row in tested {
            let errors = taught.errors_of(all.row(row), &mut work);
            judged.iter_mut().zip(&models).for_each(|(judged, model)| judged.push((row, model.judge_errors(errors))));
        }
        progress.step("");
    }
    Ok(judged)
}

/// Judges rows; one that cannot be judged counts as unremarkable, as it raises no alarm.
pub(crate) fn judge<'a>(
    model: &'a Model,
    all: &'a Labelled,
    rows: &'a [usize],
) -> impl Iterator<Item = (usize, Judgement)> + 'a {
    let mut work = model.work();
    rows.iter().map(move |row| (*row, model.judge(all.row(*row), &mut work).unwrap_or(Judgement { log_share: 0.0 })))
}

#[expect(clippy::cast_possible_truncation, reason = "probabilities are single precision in reports")]
fn predictions(name: &str, judged: &[(usize, Judgement)]) -> Predictions {
    let probability = |(_, judgement): &(usize, Judgement)| judgement.attack_probability() as f32;
    let lines: Vec<f32> = judged.iter().map(probability).flat_map(|attack| [1.0 - attack, attack]).collect();
    Predictions {
        name: name.to_owned(),
        row: judged.iter().map(|(row, _)| *row).collect(),
        probabilities: Array2::from_shape_vec((judged.len(), 2), lines).expect("two probabilities per row"),
        decided: judged.iter().map(|(_, judgement)| usize::from(judgement.is_alarm())).collect(),
    }
}

fn rows(all: &Labelled) -> Rows {
    Rows {
        feature_names: all.features.clone(),
        features: all.values.clone(),
        classes: CLASSES.map(str::to_owned).to_vec(),
        truth: all.attack.iter().map(|attack| usize::from(*attack)).collect(),
        group: all.groups.clone(),
        part: all.part.clone(),
    }
}

fn judge_file(
    model: &Model,
    data: &Path,
    options: &EvaluateOptions,
    progress: &dyn Progress,
) -> Result<Evaluation, TrainError> {
    let mut all = if data.is_file() {
        load_file(data)?
    } else {
        let sets = load_all(data, Schema::Serving, options.seed, progress)?;
        let alone = <[Labelled; 1]>::try_from(sets);
        alone.map_or_else(|sets| Labelled::pooled(&sets, options.seed), |[set]| Ok(set))?
    };
    if model.features != all.features {
        return Err(TrainError::Model { reason: "it reads other columns than the serving schema".to_owned() });
    }
    all.part = vec![Part::Test; all.len()];
    let tested: Vec<usize> = (0..all.len()).collect();
    let judged: Vec<(usize, Judgement)> = judge(model, &all, &tested).collect();
    Ok(Evaluation {
        title: "Traffic without labels".to_owned(),
        protocol: format!("{}, serving schema; every row judged by the given weights.", all.name),
        rows: rows(&all),
        benign_class: Some(0),
        models: vec![predictions(MIXES[0].0, &judged)],
        sections: study::sections_of_rows(&all, &judged, options.seed),
        boosting: None,
    })
}
