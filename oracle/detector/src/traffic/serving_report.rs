//! The deployed model in the catalogue: how it is trained by name, and how it is judged, per set and from one set to another.
//!
//! Guarantees: every figure is of flows that did not train the model which judged them; baselines are judged on the same flows, boosting by
//! the same rule of decision. Must not: let a set's share of attacks or its size decide a figure; per set is what counts.

use std::path::Path;

use ndarray::{Array2, Axis};

use super::full_columns_text;
use super::model::{BENIGN, TrafficModel};
use super::protocol::{FOLDS, predict, split};
use super::serving_boosting::{self, ALL_SETS, Boosted};
use super::serving_model::{NAME, Pooled, SETS, ServingRun, UNCALIBRATED};
use super::sets::Set;
use super::training::logits;
use crate::catalogue::{Description, EvaluateOptions, TrainError, TrainOptions, Trainable};
use crate::data::nsl_kdd::Part as NslPart;
use crate::measure::{Evaluation, Part, Predictions, Rows, roc_auc, trivial_baselines};
use crate::model_file::ModelFile;
use crate::progress::Progress;
use crate::report::{BOOSTING, Boosting, Section};

/// The deployed model.
pub struct Serving;

/// How the model is called in tables.
const DEEP: &str = "sparse autoencoder → BiLSTM";
/// How boosting that was trained on one set alone is called.
const ONE_PER_SET: &str = "Gradient boosting, one per set";

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
            return cross_validate(&run, data, options.boosting.as_ref());
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
        let per_set = per_set(&pooled, std::slice::from_ref(&predictions), &names);
        Ok(evaluation(&pooled, parts, vec![predictions], full_columns_text::GIVEN_WEIGHTS_PROTOCOL, vec![per_set]))
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

fn cross_validate(run: &ServingRun<'_>, data: &Path, boosting: Option<&Boosting>) -> Result<Evaluation, TrainError> {
    let pooled = Pooled::read(data, &SETS)?;
    let folds = run.folds(&pooled)?;
    let test = Pooled::of(&Set::NslKdd(NslPart::Test).read(&data.join("nsl_kdd"))?, 3);
    let (all, mut across) = networks(run, &pooled, &folds, &test)?;
    let (_, tested) = split(&folds, 0);
    let every: Vec<usize> = (0..pooled.flows.len()).collect();
    let mut models = vec![cross_fitted(DEEP, &all, &pooled, &folds, std::slice::from_ref(&every))];
    let boosted = match boosting {
        Some(boosting) => serving_boosting::boosted(boosting, &pooled, &folds, &test, run.seed)?,
        None => Vec::new(),
    };
    models.extend(boosted_models(&boosted, &pooled, &folds));
    for one in &boosted {
        let name = format!("{}, gradient boosting", one.trained_on);
        across.push(areas(&name, &pooled, &tested, &test, |row| one.attack[row], |row| one.test[row]));
    }
    let parts = folds.iter().map(|fold| Part::Fold(*fold)).collect();
    let mut evaluation = evaluation(&pooled, parts, models, full_columns_text::SERVING_PROTOCOL, Vec::new());
    let trivial = trivial_baselines(&evaluation.rows, &every, Some(BENIGN));
    let shown: Vec<Predictions> = evaluation.models.iter().cloned().chain(trivial).collect();
    evaluation.sections = vec![per_set(&pooled, &shown, &names()), matrix(across)];
    evaluation.boosting = settings(&boosted);
    Ok(evaluation)
}

/// Logits of every flow by the network of the other folds, and the lines of the matrix.
fn networks(
    run: &ServingRun<'_>,
    pooled: &Pooled,
    folds: &[u8],
    test: &Pooled,
) -> Result<(Array2<f32>, Vec<Vec<String>>), TrainError> {
    let mut all = Array2::zeros((pooled.flows.len(), 2));
    let mut across = Vec::new();
    for fold in 0..FOLDS {
        let (training, tested) = split(folds, fold);
        let model = run.model(&run.train(pooled, &training, &format!("fold-{fold}"))?, pooled, UNCALIBRATED)?;
        let judged = logits(&model.inference, &pooled.flows, &tested);
        for (row, judged) in tested.iter().zip(judged.rows()) {
            all.row_mut(*row).assign(&judged);
        }
        if fold == 0 {
            across.push(transfer(ALL_SETS, &model, pooled, &tested, test));
        }
    }
    let (training, tested) = split(folds, 0);
    for (origin, set) in SETS.iter().enumerate() {
        let alone: Vec<usize> = training.iter().filter(|row| pooled.origin[**row] == origin).copied().collect();
        let fitted = run.train(pooled, &alone, &format!("only-{origin}"))?;
        let model = run.model(&fitted, pooled, UNCALIBRATED)?;
        across.push(transfer(set.folder(), &model, pooled, &tested, test));
    }
    Ok((all, across))
}

/// Boosting on all sets with one threshold, as the network, and on each set with a threshold of its own.
fn boosted_models(boosted: &[Boosted], pooled: &Pooled, folds: &[u8]) -> Vec<Predictions> {
    let Some((all, alone)) = boosted.split_first() else { return Vec::new() };
    let sets: Vec<Vec<usize>> = (0..SETS.len()).map(|origin| pooled.rows_of(origin)).collect();
    let own: Vec<f32> = pooled.origin.iter().enumerate().map(|(row, origin)| alone[*origin].attack[row]).collect();
    let every = [(0..pooled.flows.len()).collect()];
    vec![
        cross_fitted(BOOSTING, &serving_boosting::logits(&all.attack), pooled, folds, &every),
        cross_fitted(ONE_PER_SET, &serving_boosting::logits(&own), pooled, folds, &sets),
    ]
}

/// What the script says of its settings: those of boosting on all sets, and the chosen ones of each set alone.
fn settings(boosted: &[Boosted]) -> Option<serde_json::Value> {
    let (all, alone) = boosted.split_first()?;
    let mut settings = all.settings.clone();
    for one in alone {
        settings["one_per_set"][one.trained_on] = one.settings["chosen"].clone();
    }
    Some(settings)
}

fn matrix(rows: Vec<Vec<String>>) -> Section {
    let mut header = vec!["trained on".to_owned()];
    header.extend(SETS.iter().map(|set| set.folder().to_owned()));
    header.push("nsl_kdd, official test part".to_owned());
    Section::Table {
        heading: "Trained on one set, tested on another".to_owned(),
        caption: "ROC-AUC of attack against benign on the first fold's flows of each set, which none of these models saw, and on the \
            official test part of NSL-KDD. 0.5 is chance; below it, what one set taught is wrong in the other. Networks were trained on the \
            other four folds; so was boosting where it judges a set that it was trained on, and on all five where it judges another."
            .to_owned(),
        header,
        rows,
    }
}

/// Calibrates and decides every fold by what was fitted on the other folds, for each of `units` (rows of one operating point) by itself.
fn cross_fitted(name: &str, logits: &Array2<f32>, pooled: &Pooled, folds: &[u8], units: &[Vec<usize>]) -> Predictions {
    let mut probabilities = Array2::zeros(logits.raw_dim());
    let mut decided = vec![BENIGN; folds.len()];
    for unit in units {
        for fold in 0..FOLDS {
            let (others, rows): (Vec<usize>, Vec<usize>) = unit.iter().partition(|row| folds[**row] != fold);
            let judgement = ServingRun::judgement(&logits.select(Axis(0), &others), pooled, &others);
            let judged = judgement.probabilities(logits.select(Axis(0), &rows).view());
            for (row, judged) in rows.iter().zip(judged.rows()) {
                probabilities.row_mut(*row).assign(&judged);
                decided[*row] = judgement.decide(judged.as_slice().expect("standard layout"));
            }
        }
    }
    Predictions { name: name.to_owned(), row: (0..folds.len()).collect(), probabilities, decided }
}

/// A line of the matrix for a network: the name of what was trained on, then an area per tested set.
fn transfer(name: &str, model: &TrafficModel, pooled: &Pooled, tested: &[usize], test: &Pooled) -> Vec<String> {
    let scores = |pooled: &Pooled, rows: &[usize]| -> Vec<f32> {
        logits(&model.inference, &pooled.flows, rows).rows().into_iter().map(|row| row[1] - row[BENIGN]).collect()
    };
    let every: Vec<usize> = (0..test.flows.len()).collect();
    let mut of_tested = vec![f32::NAN; pooled.flows.len()];
    tested.iter().zip(scores(pooled, tested)).for_each(|(row, score)| of_tested[*row] = score);
    let of_test = scores(test, &every);
    areas(name, pooled, tested, test, |row| of_tested[row], |row| of_test[row])
}

/// A line of the matrix from scores of an attack, per tested flow and per flow of the official test part.
fn areas(
    name: &str,
    pooled: &Pooled,
    tested: &[usize],
    test: &Pooled,
    of_tested: impl Fn(usize) -> f32,
    of_test: impl Fn(usize) -> f32,
) -> Vec<String> {
    let area = |pooled: &Pooled, rows: &[usize], score: &dyn Fn(usize) -> f32| {
        let scores: Vec<f32> = rows.iter().map(|row| score(*row)).collect();
        let positive: Vec<bool> = rows.iter().map(|row| pooled.flows.truth[*row] != BENIGN).collect();
        format!("{:.3}", roc_auc(&scores, &positive))
    };
    let mut line = vec![name.to_owned()];
    for origin in 0..SETS.len() {
        let rows: Vec<usize> = tested.iter().filter(|row| pooled.origin[**row] == origin).copied().collect();
        line.push(area(pooled, &rows, &of_tested));
    }
    line.push(area(test, &(0..test.flows.len()).collect::<Vec<_>>(), &of_test));
    line
}

/// What every model's operating point means in each set.
fn per_set(pooled: &Pooled, models: &[Predictions], names: &[&str]) -> Section {
    let mut lines = Vec::new();
    for (origin, name) in names.iter().enumerate() {
        for model in models {
            let places: Vec<usize> =
                (0..model.row.len()).filter(|place| pooled.origin[model.row[*place]] == origin).collect();
            if !places.is_empty() {
                lines.push(in_a_set(name, model, pooled, &places));
            }
        }
    }
    Section::Table {
        heading: "By set, at the operating point".to_owned(),
        caption: "One threshold for all sets (boosting on one set: one for that set), set on other flows than those that are counted here."
            .to_owned(),
        header: ["set", "model", "benign flows", "of them alarmed", "attacking flows", "of them found", "ROC-AUC"]
            .map(str::to_owned)
            .to_vec(),
        rows: lines,
    }
}

/// A line of that table: the predictions at these places.
fn in_a_set(name: &str, model: &Predictions, pooled: &Pooled, places: &[usize]) -> Vec<String> {
    let attack = |place: &usize| pooled.flows.truth[model.row[*place]] != BENIGN;
    let scores: Vec<f32> = places.iter().map(|place| 1.0 - model.probabilities[[*place, BENIGN]]).collect();
    let positive: Vec<bool> = places.iter().map(attack).collect();
    let count = |wanted: bool| places.iter().filter(|place| attack(place) == wanted).count();
    let called = |wanted: bool| {
        places.iter().filter(|place| attack(place) == wanted && model.decided[**place] != BENIGN).count()
    };
    vec![
        name.to_owned(),
        model.name.clone(),
        count(false).to_string(),
        share(called(false), count(false)),
        count(true).to_string(),
        share(called(true), count(true)),
        format!("{:.4}", roc_auc(&scores, &positive)),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "row counts are far below 2^53")]
fn share(part: usize, whole: usize) -> String {
    if whole == 0 { "–".to_owned() } else { format!("{:.4}", part as f64 / whole as f64) }
}

fn evaluation(
    pooled: &Pooled,
    part: Vec<Part>,
    models: Vec<Predictions>,
    protocol: &str,
    sections: Vec<Section>,
) -> Evaluation {
    let flows = &pooled.flows;
    Evaluation {
        title: full_columns_text::serving().title.to_owned(),
        protocol: protocol.to_owned(),
        rows: Rows {
            feature_names: serving_boosting::names(),
            features: pooled.seen.clone(),
            classes: flows.classes.clone(),
            truth: flows.truth.clone(),
            group: flows.group.clone(),
            part,
        },
        benign_class: Some(BENIGN),
        models,
        sections,
        boosting: None,
    }
}
