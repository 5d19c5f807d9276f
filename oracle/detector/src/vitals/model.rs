//! The model in the catalogue: trained on the challenge's training set, judged on its test set.
//!
//! Ten members: two repetitions of five folds, each member trained without one fold. So every training stay has risks by two members that
//! never saw it; the calibration and the operating point are fitted on those alone. Guarantees: tested stays take part in nothing that is
//! fitted; the same seed gives the same file. Must not: train again for `--cross-validate` when the given weights are already those of the
//! same training files.

use std::path::Path;

use ndarray::Array2;
use pulsegate_rules::registry::DetectorKind;

use super::calibration::Calibration;
use super::cohort::Features;
use super::detector::{NAME, PATIENT_STATE_BYTES};
use super::encoding::Encoding;
use super::ensemble::{Ensemble, Settings, State, to_parameters};
use super::history::{FEATURES, PATIENT_FROM, feature_names};
use super::network::{EPOCHS, train};
use super::report::{Judged, sections};
use super::{HOURS, news2_hourly};
use crate::catalogue::{Description, EvaluateOptions, TrainError, TrainOptions, Trainable};
use crate::data::folds::grouped_stratified_folds;
use crate::data::physionet2012::{Cohort, Wanted};
use crate::measure::{Evaluation, Part, Predictions, Rows, roc_auc};
use crate::model_file::{Metadata, ModelFile};
use crate::progress::Progress;

/// Folds of a repetition.
const FOLDS: u8 = 5;
/// Repetitions of the folds.
const REPETITIONS: usize = 2;
/// Every so manieth patient-hour tells middle and spread of the features.
const ENCODING_STRIDE: usize = 7;
/// Classes, in the order of the probabilities.
const CLASSES: [&str; 2] = ["survived", "died"];
/// Stays that go through their hours together.
const STAYS_TOGETHER: usize = 64;
/// NEWS2 from which the report asks for an urgent response.
const NEWS2_URGENT: u8 = 5;
/// Highest NEWS2.
const NEWS2_MAX: f32 = 20.0;

/// The model `vital-signs`.
#[derive(Clone, Copy, Debug, Default)]
pub struct VitalSignsModel;

impl Trainable for VitalSignsModel {
    fn name(&self) -> &'static str {
        NAME
    }

    fn describe(&self) -> Description {
        Description {
            title: "Vital signs: hourly risk of death in hospital",
            design: "At every hour of the first 48, running statistics of heart rate, respiratory rate, oxygen saturation, temperature, \
                Glasgow coma score, inhaled oxygen, blood pressure (arterial line and cuff apart), shock index, pulse pressure, saturation over inhaled \
                oxygen and ventilation, with age, sex, height and weight, go through a dense layer of 32 units and a gated recurrent unit of 24 \
                (Cho et al. 2014) with a linear path beside them (wide and deep, Cheng et al. 2016). The outcome is the target at every hour (target \
                replication, Lipton et al. 2016). Missing values are masks and times since last measured; nothing is filled in. Ten members (two \
                repetitions of five folds) are averaged.",
            intended_use: "Advice to clinicians in adult intensive care, beside NEWS2, which keeps the alarm.",
            not_for: &[
                "Raising or silencing an alarm by itself. Outside intensive care its risk is not validated and is reported as advisory only.",
                "Deciding on treatment or its withdrawal. It predicts what happened to patients under the care of 2001 to 2008, not what care would achieve.",
                "Children, and stays longer than 48 hours.",
            ],
            limits: &[
                "Level with a tuned gradient boosting of the same features in ranking (AUROC 0.840 to 0.837, difference 0.003, interval −0.004 to 0.011), \
                    ahead of it in Brier score and calibration, where the boosting's probabilities are as it gives them. An AUROC of 0.86, which the best of the challenge reached with laboratory values, is not reached.",
                "After few hours little is known: AUROC 0.64 after hour 1, 0.75 after hour 12, 0.79 after hour 24.",
                "Weakest in coronary and medical intensive care (AUROC 0.78 and 0.79) and from the age of 80 (0.80), where it also states too little: \
                    mean risk 0.18 where 0.21 died.",
                "Trained on intensive-care patients of one hospital (MIMIC II), where the coma score, the ventilator and how often staff measure tell much; \
                    a ward or a home has other patients and other habits.",
                "The kind of unit is empty in the training set of the copy at hand and is no input.",
                "Saturation is charted in one hour of twenty-two; live pulse oximetry is far denser than what the model has seen.",
                "Live, a ventilator and an arterial line cannot be told from readings: no ventilation and cuff pressures are what the model then sees.",
                "Sedation lowers the coma score without making the patient sicker; the model cannot see sedation.",
            ],
            calibration: "Log-odds are calibrated by hour (four numbers, Platt with the hour) on risks of training stays by members that did not train on \
                them. The operating point has the best minimum of sensitivity and precision at 48 hours on those same risks. A set with another share of deaths needs its own.",
            data_folder: "physionet2012",
            data_citation: "I. Silva, G. Moody, D. J. Scott, L. A. Celi, R. G. Mark, \"Predicting In-Hospital Mortality of ICU Patients: The PhysioNet/Computing \
                in Cardiology Challenge 2012\", Computing in Cardiology 39, 2012; A. L. Goldberger et al., Circulation 101(23), 2000",
            data_terms: "ODC-By 1.0; de-identified; not part of this project.",
            state_bytes: Some(PATIENT_STATE_BYTES),
        }
    }

    fn train(&self, data: &Path, options: &TrainOptions, progress: &dyn Progress) -> Result<ModelFile, TrainError> {
        train_on(&Cohort::read(data, Wanted::Training)?, options, progress)
    }

    fn evaluate(
        &self,
        model: Option<&ModelFile>,
        data: &Path,
        options: &EvaluateOptions,
        progress: &dyn Progress,
    ) -> Result<Evaluation, TrainError> {
        let tested = Cohort::read(data, Wanted::Testing)?;
        if !options.cross_validate {
            let file = model.ok_or_else(|| TrainError::NoWeights { model: NAME.to_owned() })?;
            let protocol = "Every stay is tested by the given weights.".to_owned();
            return judge(file, &Cohort::default(), &tested, protocol, options.seed);
        }
        let trained = Cohort::read(data, Wanted::Training)?;
        if trained.sources == tested.sources {
            let reason = "the folder holds one part only, where a training and a test part are needed".to_owned();
            return Err(TrainError::Unsuitable { reason });
        }
        let protocol = "The training part trains, the test part tests, both as the challenge dealt them. Baselines see the same features after \
            48 hours and the same stays."
            .to_owned();
        if let Some(file) = model.filter(|file| file.metadata.data == trained.sources) {
            return judge(file, &trained, &tested, protocol, options.seed);
        }
        let train_options =
            TrainOptions { seed: options.seed, checkpoint: options.checkpoint.clone(), epochs: options.epochs };
        let file = train_on(&trained, &train_options, progress)?;
        judge(&file, &trained, &tested, protocol, options.seed)
    }
}

/// Trains all members on a cohort, then fits calibration and operating point on what members say of stays that they did not see.
fn train_on(cohort: &Cohort, options: &TrainOptions, progress: &dyn Progress) -> Result<ModelFile, TrainError> {
    let features = Features::of(cohort);
    let all = (0..features.len()).flat_map(|stay| (0..HOURS).map(move |hour| (stay, hour)));
    let encoding = Encoding::fit(all.step_by(ENCODING_STRIDE).map(|(stay, hour)| features.row(stay, hour)));
    let truth: Vec<usize> = features.died.iter().map(|died| usize::from(*died)).collect();
    let records: Vec<u64> = cohort.stays.iter().map(|stay| stay.record).collect();
    let mut folds = Vec::new();
    let mut members = Vec::new();
    for repetition in 0..REPETITIONS {
        let seed = options.seed.wrapping_mul(REPETITIONS as u64).wrapping_add(repetition as u64);
        let fold_of = grouped_stratified_folds(&truth, &records, FOLDS, seed)?;
        for fold in 0..FOLDS {
            let stays: Vec<usize> = (0..features.len()).filter(|stay| fold_of[*stay] != fold).collect();
            let seed = seed.wrapping_mul(u64::from(FOLDS)).wrapping_add(u64::from(fold));
            let file = format!("{NAME}-{repetition}-{fold}.checkpoint");
            let checkpoint = options.checkpoint.as_ref().map(|folder| folder.join(file));
            let epochs = options.epochs.unwrap_or(EPOCHS);
            members.push(train(&features, &encoding, &stays, seed, epochs, checkpoint.as_deref(), progress)?);
        }
        folds.push(fold_of);
    }
    let mut settings = Settings { members: members.len(), calibration: Calibration::default(), operating_point: 0.5 };
    let metadata = |settings: &Settings| Metadata {
        name: NAME.to_owned(),
        kind: DetectorKind::VitalSigns,
        classes: CLASSES.map(str::to_owned).to_vec(),
        settings: serde_json::to_value(settings).expect("settings are plain JSON"),
        data: cohort.sources.clone(),
        seed: options.seed,
        metrics_sha256: None,
    };
    let mut file = ModelFile::new(metadata(&settings), &to_parameters(&encoding, &members));
    let ensemble = Ensemble::of(&file)?;
    let unseen = out_of_fold(&ensemble, &features, &folds);
    let examples: Vec<(f32, usize, bool)> =
        unseen.iter().enumerate().map(|(place, score)| (*score, place % HOURS, features.died[place / HOURS])).collect();
    settings.calibration = Calibration::fit(&examples);
    let last: Vec<f32> = unseen.chunks_exact(HOURS).map(|scores| scores[HOURS - 1]).collect();
    let (_, score) = super::report::balanced(&last, &features.died, &vec![1; last.len()]);
    settings.operating_point = settings.calibration.probability(score, HOURS - 1);
    progress.start("calibrating on stays not trained on", 1);
    progress.step(&format!("AUROC {:.4} at 48 h", roc_auc(&last, &features.died)));
    progress.finish();
    file.metadata = metadata(&settings);
    Ok(file)
}

/// Takes all stays through their hours, many at a time, and tells the members' log-odds by stay and hour. `hide` may change the features
/// first.
fn walk(
    ensemble: &Ensemble,
    features: &Features,
    hide: impl Fn(&mut [f32]),
    mut tell: impl FnMut(usize, usize, &[f32]),
) {
    let (mut scratch, mut rows) = (ensemble.scratch(), vec![0.0; STAYS_TOGETHER * FEATURES]);
    for first in (0..features.len()).step_by(STAYS_TOGETHER) {
        let stays = STAYS_TOGETHER.min(features.len() - first);
        let (mut states, rows) = (vec![State::default(); stays], &mut rows[..stays * FEATURES]);
        for hour in 0..HOURS {
            for (place, row) in rows.chunks_exact_mut(FEATURES).enumerate() {
                row.copy_from_slice(features.row(first + place, hour));
                hide(row);
            }
            ensemble.step_each(rows, &mut states, &mut scratch, |place, logits| tell(first + place, hour, logits));
        }
    }
}

/// Mean log-odds per stay and hour by the members that did not train on the stay.
fn out_of_fold(ensemble: &Ensemble, features: &Features, folds: &[Vec<u8>]) -> Vec<f32> {
    let mut scores = vec![0.0; features.len() * HOURS];
    let share = 1.0 / f32::from(u8::try_from(folds.len()).expect("repetitions are few"));
    walk(
        ensemble,
        features,
        |_| {},
        |stay, hour, logits| {
            for (member, logit) in logits.iter().enumerate() {
                let (repetition, fold) = (member / usize::from(FOLDS), member % usize::from(FOLDS));
                if usize::from(folds[repetition][stay]) == fold {
                    scores[stay * HOURS + hour] += logit * share;
                }
            }
        },
    );
    scores
}

/// Risks of every stay and hour; with `hidden`, as of patients about whom nothing is known; with `alone`, by that member alone.
fn risks(ensemble: &Ensemble, features: &Features, hidden: bool, alone: Option<usize>) -> Vec<f32> {
    let mut risks = vec![0.0; features.len() * HOURS];
    let hide = |row: &mut [f32]| {
        if hidden {
            row[PATIENT_FROM..].fill(f32::NAN);
        }
    };
    walk(ensemble, features, hide, |stay, hour, logits| {
        let logit = alone.map_or_else(|| super::ensemble::mean(logits), |member| logits[member]);
        #[expect(clippy::cast_possible_truncation, reason = "a probability")]
        let risk = ensemble.risk(logit, hour) as f32;
        risks[stay * HOURS + hour] = risk;
    });
    risks
}

fn judge(
    file: &ModelFile,
    trained: &Cohort,
    tested: &Cohort,
    protocol: String,
    seed: u64,
) -> Result<Evaluation, TrainError> {
    if file.metadata.name != NAME {
        return Err(TrainError::Model { reason: format!("it holds the model {:?}", file.metadata.name) });
    }
    let ensemble = Ensemble::of(file)?;
    let features = Features::of(tested);
    let training = Features::of(trained);
    let rows = rows_of(&[(trained, &training, Part::Train), (tested, &features, Part::Test)]);
    let from = training.len();
    let point = ensemble.operating_point();
    let predictions = |name: &str, risks: &[f32]| {
        let last = last_of(risks);
        let decided = last.iter().map(|risk| usize::from(f64::from(*risk) >= point)).collect();
        predictions_of(name, from, &last, decided)
    };
    let risk = risks(&ensemble, &features, false, None);
    let hidden = risks(&ensemble, &features, true, None);
    let alone = risks(&ensemble, &features, false, Some(0));
    let news2: Vec<_> = tested.stays.iter().map(news2_hourly::scores).collect();
    let score: Vec<f32> = news2.iter().map(|scores| f32::from(scores[HOURS - 1].aggregate) / NEWS2_MAX).collect();
    let urgent = news2.iter().map(|scores| usize::from(scores[HOURS - 1].aggregate >= NEWS2_URGENT)).collect();
    let models = vec![
        predictions("vital-signs", &risk),
        predictions("vital-signs, age, sex, height and weight unknown", &hidden),
        predictions("vital-signs, one member of ten", &alone),
        predictions_of("NEWS2 (its 20th part, a score and no probability)", from, &score, urgent),
    ];
    let sections = sections(&Judged { stays: &tested.stays, risk: &risk, hidden: &hidden, news2: &news2, point, seed });
    let title = "Vital signs: risk of death in hospital, by hour".to_owned();
    Ok(Evaluation { title, protocol, rows, benign_class: Some(0), models, sections, boosting: None })
}

fn last_of(risks: &[f32]) -> Vec<f32> {
    risks.chunks_exact(HOURS).map(|hours| hours[HOURS - 1]).collect()
}

fn predictions_of(name: &str, from: usize, risk: &[f32], decided: Vec<usize>) -> Predictions {
    let probabilities =
        Array2::from_shape_fn((risk.len(), 2), |(row, class)| if class == 1 { risk[row] } else { 1.0 - risk[row] });
    Predictions { name: name.to_owned(), row: (from..from + risk.len()).collect(), probabilities, decided }
}

/// One row per stay: the features after the last hour.
fn rows_of(parts: &[(&Cohort, &Features, Part)]) -> Rows {
    let stays = || parts.iter().flat_map(|(cohort, _, part)| cohort.stays.iter().map(move |stay| (stay, *part)));
    let values: Vec<f32> = parts
        .iter()
        .flat_map(|(_, features, _)| (0..features.len()).flat_map(|stay| features.row(stay, HOURS - 1).iter().copied()))
        .collect();
    let features = Array2::from_shape_vec((stays().count(), FEATURES), values).expect("every row has all features");
    Rows {
        feature_names: feature_names(),
        features,
        classes: CLASSES.map(str::to_owned).to_vec(),
        truth: stays().map(|(stay, _)| usize::from(stay.died)).collect(),
        group: stays().map(|(stay, _)| stay.record).collect(),
        part: stays().map(|(_, part)| part).collect(),
    }
}
