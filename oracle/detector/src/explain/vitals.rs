//! Why the risk of a stay is what it is: each vital sign is hidden as if it had never been measured.
//!
//! Hiding is done where measurements come in, hour by hour, so that a sign goes with all its statistics, its counts and what is derived from
//! it: without the pulse there is no shock index either. So it needs the hours of the stay, which the live detector does not keep. The score is
//! the calibrated log-odds of death whatever the judgement: a positive contribution raises the risk. That a sign was measured
//! at all, and how often, goes with it: a respiratory rate is charted for patients who breathe by themselves, so it may speak for survival
//! whatever its value. Guarantees: the score is the risk that the model gives at that hour. Must not: look at an hour after the one that is explained.

use super::{Contribution, ExplainError, Explanation, Measure, Told, ranked};
use crate::model_file::ModelFile;
use crate::vitals::{
    Channel, Demographics, Ensemble, FEATURES, HOURS, History, Hour, State, VitalSignsError, feature_names,
};

/// The class that is explained.
const DIED: &str = "died";
/// Probabilities are held this far from 0 and 1, so that log-odds stay finite.
const PROBABILITY_MIN: f64 = 1e-9;

/// What can be hidden: its name, and the feature that is shown as its value.
struct Sign {
    name: &'static str,
    shown: &'static str,
    hides: Hides,
}

/// What hiding a sign takes away.
enum Hides {
    Channels(&'static [Channel]),
    Ventilator,
    Age,
    Sex,
    Height,
    Weight,
}

const fn measured(name: &'static str, shown: &'static str, channels: &'static [Channel]) -> Sign {
    Sign { name, shown, hides: Hides::Channels(channels) }
}

const SIGNS: [Sign; 12] = [
    measured("heart_rate", "heart_rate_last", &[Channel::HeartRate]),
    measured("respiratory_rate", "respiratory_rate_last", &[Channel::RespiratoryRate]),
    measured("saturation", "saturation_last", &[Channel::Saturation]),
    measured("temperature", "temperature_last", &[Channel::Temperature]),
    measured("coma", "coma_last", &[Channel::Coma]),
    measured("inhaled_oxygen", "inhaled_oxygen_last", &[Channel::InhaledOxygen]),
    measured(
        "blood_pressure_systolic",
        "systolic_last",
        &[
            Channel::ArterialSystolic,
            Channel::ArterialDiastolic,
            Channel::ArterialMean,
            Channel::CuffSystolic,
            Channel::CuffDiastolic,
            Channel::CuffMean,
        ],
    ),
    Sign { name: "ventilated_now", shown: "ventilated_now", hides: Hides::Ventilator },
    Sign { name: "age", shown: "age", hides: Hides::Age },
    Sign { name: "male", shown: "male", hides: Hides::Sex },
    Sign { name: "height", shown: "height", hides: Hides::Height },
    Sign { name: "weight", shown: "weight", hides: Hides::Weight },
];

/// Why the risk at the end of these hours is what it is; `hours` are those from the beginning of the stay, 1 to [`HOURS`].
///
/// # Errors
/// [`ExplainError::Hour`] for no or too many hours, [`ExplainError::VitalSigns`] for a file of another model.
pub fn explain_stay(
    file: &ModelFile,
    hours: &[Hour],
    demographics: &Demographics,
) -> Result<Explanation, ExplainError> {
    if !(1..=HOURS).contains(&hours.len()) {
        return Err(ExplainError::Hour { hour: hours.len() });
    }
    if file.metadata.name != crate::vitals::NAME {
        return Err(VitalSignsError::OtherModel { found: file.metadata.name.clone() }.into());
    }
    let ensemble = Ensemble::of(file).map_err(VitalSignsError::from)?;
    let centre = file.tensor("encoding.centre", [1, FEATURES]).map_err(VitalSignsError::from)?;
    let occluded = ranked(SIGNS.len(), |hidden| log_odds(&ensemble, hours, *demographics, hidden.map(|at| &SIGNS[at])));
    let mut history = History::default();
    hours.iter().for_each(|hour| history.pass(hour));
    let mut features = vec![f32::NAN; FEATURES];
    history.write(demographics, &mut features);
    let names = feature_names();
    let contribution = |(at, contribution): (usize, f32)| {
        let sign = &SIGNS[at];
        let place = names.iter().position(|name| name == sign.shown).expect("every sign shows a feature of the model");
        let told = |value: f32| (!value.is_nan()).then_some(Told::Number(value));
        let (value, typical) = (told(features[place]), told(centre[[0, place]]));
        Contribution { input: sign.name.to_owned(), value, typical, contribution }
    };
    Ok(Explanation {
        model: file.id(),
        class: DIED.to_owned(),
        measure: Measure::LogOdds,
        score: f64::from(occluded.score),
        inputs: occluded.contributions.into_iter().map(contribution).collect(),
    })
}

/// Calibrated log-odds of death at the end of the hours, with one sign hidden.
#[expect(clippy::cast_possible_truncation, reason = "log-odds need no more than 24 bits")]
fn log_odds(ensemble: &Ensemble, hours: &[Hour], mut demographics: Demographics, hidden: Option<&Sign>) -> f32 {
    match hidden.map(|sign| &sign.hides) {
        Some(Hides::Age) => demographics.age_years = None,
        Some(Hides::Sex) => demographics.male = None,
        Some(Hides::Height) => demographics.height_cm = None,
        Some(Hides::Weight) => demographics.weight_kg = None,
        _ => {}
    }
    let (mut history, mut state, mut scratch) = (History::default(), State::default(), ensemble.scratch());
    let mut features = vec![f32::NAN; FEATURES];
    let mut logit = 0.0;
    for hour in hours {
        history.pass(&without(hour, hidden));
        history.write(&demographics, &mut features);
        logit = ensemble.step(&features, &mut state, &mut scratch);
    }
    let risk = ensemble.risk(logit, hours.len() - 1).clamp(PROBABILITY_MIN, 1.0 - PROBABILITY_MIN);
    (risk / (1.0 - risk)).ln() as f32
}

/// The hour as if the sign had not been measured.
fn without(hour: &Hour, hidden: Option<&Sign>) -> Hour {
    let (mut hour, blank) = (*hour, Hour::default());
    match hidden.map(|sign| &sign.hides) {
        Some(Hides::Channels(channels)) => {
            for channel in *channels {
                hour.bins[*channel as usize] = blank.bins[*channel as usize];
            }
        }
        Some(Hides::Ventilator) => hour.ventilated = false,
        _ => {}
    }
    hour
}
