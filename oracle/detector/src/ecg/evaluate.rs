//! Judges the beat model: on annotated R peaks for comparison with papers, and end to end with its own beat finder, as it is served.

use std::path::Path;

use ndarray::Array2;

use super::boosting::{boosted, columns, names};
use super::model::BeatModel;
use super::net::BEAT_CLASSES;
use super::served::served_sections;
use super::tables::beat_section;
use super::train::{Described, TrainingBeats};
use crate::catalogue::{EvaluateOptions, TrainError};
use crate::data::mitdb::{self, Beat};
use crate::measure::{Evaluation, Part, Predictions, Rows};
use crate::progress::Progress;

/// Judges a model on a folder of the data set (its test patients, beside the training rows for the baselines), on a folder of records, or
/// on a table of beats (all of them).
///
/// # Errors
/// [`TrainError`].
pub(super) fn evaluate(
    mut model: BeatModel,
    data: &Path,
    options: &EvaluateOptions,
    progress: &dyn Progress,
) -> Result<Evaluation, TrainError> {
    let (train, test) = read(data)?;
    let trained = train.len();
    let described = Described::new(train.into_iter().chain(test).collect());
    let tested: Vec<usize> = (trained..described.beats.len()).collect();
    if tested.is_empty() {
        return Err(TrainError::Empty { path: data.to_owned() });
    }
    let mut probabilities = Array2::zeros((tested.len(), BEAT_CLASSES.len()));
    let mut decided = Vec::with_capacity(tested.len());
    for (at, row) in tested.iter().enumerate() {
        let judgement = model.judge(&described.inputs[*row]);
        probabilities.row_mut(at).iter_mut().zip(judgement.probabilities).for_each(|(to, value)| *to = value);
        decided.push(judgement.class);
    }
    let mut sections = vec![beat_section("Per record, annotated R peaks", &described.beats[trained..], &decided)];
    if data.is_dir()
        && let Ok(headers) = mitdb::headers(data)
    {
        let records: Vec<u32> = described.beats[trained..].iter().map(|beat| beat.record).collect();
        sections.extend(served_sections(&mut model, &headers, &records, progress)?);
    }
    let name = "deep: convolutions and rhythm, annotated R peaks".to_owned();
    let mut models = vec![Predictions { name, row: tested, probabilities, decided }];
    let mut told = None;
    if let Some(boosting) = options.boosting.as_ref().filter(|_| trained > 0) {
        let training = TrainingBeats::new(described.beats[..trained].to_vec(), options.seed)?;
        let test = Described::new(described.beats[trained..].to_vec());
        let (predictions, settings) = boosted(boosting, &training, &test, trained, options.seed)?;
        let heading = "Per record, gradient boosting, annotated R peaks";
        sections.insert(1, beat_section(heading, &test.beats, &predictions.decided));
        models.push(predictions);
        told = Some(settings);
    }
    let split = if trained > 0 {
        "Trained on the DS1 patients, tested on the DS2 patients at hand (P. de Chazal et al. 2004); no patient's beats are on both sides \
         but those of records 201 and 202, which are one person."
    } else {
        "All rows are tested, by weights that were trained on the DS1 patients of the MIT-BIH Arrhythmia Database."
    };
    let protocol = format!(
        "{split} Classes are those of AAMI EC57; records with a pacemaker are left out. Windows are cut at the annotated R peaks here; the \
         sections on what is served use the beat finder. Each beat is described by its patient's own past and the interval to the next \
         beat; no label of a tested patient is used. Gradient boosting trains on the made-up beats too; its temperature and decision factors \
         come from the same left-out records. The bootstrap resamples whole records."
    );
    Ok(Evaluation {
        title: "Heart beats (MIT-BIH Arrhythmia Database)".to_owned(),
        protocol,
        rows: rows(&described, trained),
        benign_class: Some(0),
        models,
        sections,
        boosting: told,
    })
}

/// Training and tested beats of what `data` is.
fn read(data: &Path) -> Result<(Vec<Beat>, Vec<Beat>), TrainError> {
    if !data.is_dir() {
        return Ok((Vec::new(), mitdb::read_beats(data)?.0));
    }
    let (train, test) = (data.join(mitdb::TRAIN_FILE), data.join(mitdb::TEST_FILE));
    if test.is_file() {
        let train = if train.is_file() { mitdb::read_beats(&train)?.0 } else { Vec::new() };
        return Ok((train, mitdb::read_beats(&test)?.0));
    }
    let mut beats = Vec::new();
    for header in mitdb::headers(data)? {
        beats.extend(mitdb::read_record(&header)?.annotated_beats());
    }
    Ok((Vec::new(), beats))
}

/// The rows as baselines read them ([`super::boosting`]).
fn rows(described: &Described, trained: usize) -> Rows {
    let count = described.beats.len();
    Rows {
        feature_names: names(),
        features: columns(&described.inputs),
        classes: BEAT_CLASSES.map(str::to_owned).to_vec(),
        truth: described.beats.iter().map(|beat| beat.class).collect(),
        group: described.beats.iter().map(|beat| u64::from(beat.record)).collect(),
        part: (0..count).map(|row| if row < trained { Part::Train } else { Part::Test }).collect(),
    }
}
