//! The deployed model in the catalogue: how it is trained by name, and how it is judged, per set and from one set to another.
//!
//! Guarantees: every figure is of flows that did not train the network which judged them. Must not: let a set's share of attacks or its
//! size decide a figure; per set is what counts.

use std::path::Path;

use ndarray::{Array2, Axis};

use super::full_columns_text;
use super::model::{BENIGN, TrafficModel};
use super::protocol::{FOLDS, predict, split};
use super::serving_model::{NAME, Pooled, SETS, ServingRun, UNCALIBRATED};
use super::sets::Set;
use super::training::logits;
use crate::catalogue::{Description, EvaluateOptions, TrainError, TrainOptions, Trainable};
use crate::data::nsl_kdd::Part as NslPart;
use crate::measure::{Evaluation, Part, Predictions, Rows, roc_auc};
use crate::model_file::ModelFile;
use crate::progress::Progress;
use crate::report::Section;

/// The deployed model.
pub struct Serving;

/// How the model is called in tables.
const DEEP: &str = "sparse autoencoder → BiLSTM";

impl Trainable for Serving {
    fn name(&self) -> &'static str {
        NAME
    }

    fn describe(&self) -> Description {
        full_columns_text::serving()
    }

    fn train(&self, data: &Path, options: &TrainOptions, progress: &dyn Progress) -> Result<ModelFile, TrainError> {
        let pooled = Pooled::read(data, &SETS)?;
        let checkpoint = options.checkpoint.as_deref();
        ServingRun { seed: options.seed, epochs: options.epochs, checkpoint, progress }.train_for_use(&pooled)
    }

    fn evaluate(
        &self,
        model: Option<&ModelFile>,
        data: &Path,
        options: &EvaluateOptions,
        progress: &dyn Progress,
    ) -> Result<Evaluation, TrainError> {
        let checkpoint = options.checkpoint.as_deref();
        let run = ServingRun { seed: options.seed, epochs: options.epochs, checkpoint, progress };
        if options.cross_validate {
            return cross_validate(&run, data);
        }
        let model = model.ok_or_else(|| TrainError::NoWeights { model: NAME.to_owned() })?;
        let model = TrafficModel::read(model).map_err(|error| TrainError::Model { reason: error.to_string() })?;
        let (pooled, names) = any_sets(data)?;
        if model.settings.columns.len() != pooled.flows.columns.len() {
            return Err(TrainError::Model { reason: "it does not read the serving schema".to_owned() });
        }
        let rows: Vec<usize> = (0..pooled.flows.len()).collect();
        let predictions = predict(DEEP, &model, &pooled.flows, &rows);
        let parts = vec![Part::Test; rows.len()];
        let per_set = per_set(&pooled, &predictions, &names);
        Ok(evaluation(&pooled, parts, predictions, full_columns_text::GIVEN_WEIGHTS_PROTOCOL, vec![per_set]))
    }
}

/// All sets of a folder, or the one set whose file or folder this is.
fn any_sets(data: &Path) -> Result<(Pooled, Vec<&'static str>), TrainError> {
    if SETS.iter().all(|set| data.join(set.folder()).is_dir()) {
        return Ok((Pooled::read(data, &SETS)?, names()));
    }
    let mut failed = None;
    for (origin, set) in SETS.iter().enumerate() {
        match set.read(data) {
            Ok(read) => return Ok((Pooled::of(&read, origin), names())),
            Err(error) => failed = Some(failed.unwrap_or(error)),
        }
    }
    Err(failed.expect("there is a set to try"))
}

fn names() -> Vec<&'static str> {
    SETS.iter().map(|set| set.folder()).collect()
}

fn cross_validate(run: &ServingRun<'_>, data: &Path) -> Result<Evaluation, TrainError> {
    let pooled = Pooled::read(data, &SETS)?;
    let folds = run.folds(&pooled)?;
    let test = Pooled::of(&Set::NslKdd(NslPart::Test).read(&data.join("nsl_kdd"))?, 3);
    let mut all = Array2::zeros((pooled.flows.len(), 2));
    let mut across = Vec::new();
    for fold in 0..FOLDS {
        let (training, tested) = split(&folds, fold);
        let model = run.model(&run.train(&pooled, &training, &format!("fold-{fold}"))?, &pooled, UNCALIBRATED)?;
        let judged = logits(&model.inference, &pooled.flows, &tested);
        for (row, judged) in tested.iter().zip(judged.rows()) {
            all.row_mut(*row).assign(&judged);
        }
        if fold == 0 {
            across.push(transfer("all four", &model, &pooled, &tested, &test));
        }
    }
    let (training, tested) = split(&folds, 0);
    for (origin, set) in SETS.iter().enumerate() {
        let alone: Vec<usize> = training.iter().filter(|row| pooled.origin[**row] == origin).copied().collect();
        let fitted = run.train(&pooled, &alone, &format!("only-{origin}"))?;
        let model = run.model(&fitted, &pooled, UNCALIBRATED)?;
        across.push(transfer(set.folder(), &model, &pooled, &tested, &test));
    }
    let predictions = cross_fitted(&all, &pooled, &folds);
    let mut header = vec!["trained on".to_owned()];
    header.extend(SETS.iter().map(|set| set.folder().to_owned()));
    header.push("nsl_kdd, official test part".to_owned());
    let matrix = Section::Table {
        heading: "Trained on one set, tested on another".to_owned(),
        caption: "ROC-AUC of attack against benign on the first fold's flows of each set, which none of these networks saw, and on the \
            official test part of NSL-KDD. 0.5 is chance; below it, what one set taught is wrong in the other."
            .to_owned(),
        header,
        rows: across,
    };
    let per_set = per_set(&pooled, &predictions, &names());
    let parts = folds.iter().map(|fold| Part::Fold(*fold)).collect();
    Ok(evaluation(&pooled, parts, predictions, full_columns_text::SERVING_PROTOCOL, vec![per_set, matrix]))
}

/// Calibrates and decides every fold by what was fitted on the other folds.
fn cross_fitted(logits: &Array2<f32>, pooled: &Pooled, folds: &[u8]) -> Predictions {
    let mut probabilities = Array2::zeros(logits.raw_dim());
    let mut decided = vec![BENIGN; folds.len()];
    for fold in 0..FOLDS {
        let (others, rows) = split(folds, fold);
        let judgement = ServingRun::judgement(&logits.select(Axis(0), &others), pooled, &others);
        let judged = judgement.probabilities(logits.select(Axis(0), &rows).view());
        for (row, judged) in rows.iter().zip(judged.rows()) {
            probabilities.row_mut(*row).assign(&judged);
            decided[*row] = judgement.decide(judged.as_slice().expect("standard layout"));
        }
    }
    Predictions { name: DEEP.to_owned(), row: (0..folds.len()).collect(), probabilities, decided }
}

/// A line of the matrix: the name of what was trained on, then an area per tested set.
fn transfer(name: &str, model: &TrafficModel, pooled: &Pooled, tested: &[usize], test: &Pooled) -> Vec<String> {
    let area = |pooled: &Pooled, rows: &[usize]| {
        let outputs = logits(&model.inference, &pooled.flows, rows);
        let scores: Vec<f32> = outputs.rows().into_iter().map(|row| row[1] - row[BENIGN]).collect();
        let positive: Vec<bool> = rows.iter().map(|row| pooled.flows.truth[*row] != BENIGN).collect();
        format!("{:.3}", roc_auc(&scores, &positive))
    };
    let mut line = vec![name.to_owned()];
    for origin in 0..SETS.len() {
        let rows: Vec<usize> = tested.iter().filter(|row| pooled.origin[**row] == origin).copied().collect();
        line.push(area(pooled, &rows));
    }
    let rows: Vec<usize> = (0..test.flows.len()).collect();
    line.push(area(test, &rows));
    line
}

/// What the operating point means in each set.
fn per_set(pooled: &Pooled, predictions: &Predictions, names: &[&str]) -> Section {
    let mut lines = Vec::new();
    for (origin, name) in names.iter().enumerate() {
        let places: Vec<usize> =
            (0..predictions.row.len()).filter(|place| pooled.origin[predictions.row[*place]] == origin).collect();
        if places.is_empty() {
            continue;
        }
        let attack = |place: &usize| pooled.flows.truth[predictions.row[*place]] != BENIGN;
        let scores: Vec<f32> = places.iter().map(|place| 1.0 - predictions.probabilities[[*place, BENIGN]]).collect();
        let positive: Vec<bool> = places.iter().map(attack).collect();
        let count = |wanted: bool| places.iter().filter(|place| attack(place) == wanted).count();
        let called = |wanted: bool| {
            places.iter().filter(|place| attack(place) == wanted && predictions.decided[**place] != BENIGN).count()
        };
        lines.push(vec![
            (*name).to_owned(),
            count(false).to_string(),
            share(called(false), count(false)),
            count(true).to_string(),
            share(called(true), count(true)),
            format!("{:.4}", roc_auc(&scores, &positive)),
        ]);
    }
    Section::Table {
        heading: "By set, at the operating point".to_owned(),
        caption: "One threshold for all sets, set on other flows than those that are counted here.".to_owned(),
        header: ["set", "benign flows", "of them alarmed", "attacking flows", "of them found", "ROC-AUC"]
            .map(str::to_owned)
            .to_vec(),
        rows: lines,
    }
}

#[expect(clippy::cast_precision_loss, reason = "row counts are far below 2^53")]
fn share(part: usize, whole: usize) -> String {
    if whole == 0 { "–".to_owned() } else { format!("{:.4}", part as f64 / whole as f64) }
}

fn evaluation(
    pooled: &Pooled,
    part: Vec<Part>,
    predictions: Predictions,
    protocol: &str,
    sections: Vec<Section>,
) -> Evaluation {
    let flows = &pooled.flows;
    Evaluation {
        title: full_columns_text::serving().title.to_owned(),
        protocol: protocol.to_owned(),
        rows: Rows {
            feature_names: flows.names.clone(),
            features: flows.features.clone(),
            classes: flows.classes.clone(),
            truth: flows.truth.clone(),
            group: flows.group.clone(),
            part,
        },
        benign_class: Some(BENIGN),
        models: vec![predictions],
        sections,
    }
}
