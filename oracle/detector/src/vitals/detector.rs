//! The model at work: readings of a patient as they come, the risk of what has been measured so far.
//!
//! A patient's hours are counted from the first reading; after [`super::HOURS`] of them the next reading begins a new stay, as the model
//! knows no later hour. Each judgement takes the hour that is still open as it stands, so at the end of an hour it equals what a table of
//! that hour gives. Blood pressure counts as taken by a cuff, as readings do not say how; oxygen flow and ACVPU are not inputs; a ventilator is
//! never reported. Trained on intensive-care patients, so elsewhere ([`Setting::Elsewhere`], the default) the risk is advisory: it is named
//! in the finding and never makes the patient unwell by itself, which is the part of NEWS2. Guarantees: at most [`VITAL_PATIENTS_MAX`]
//! patients of [`PATIENT_STATE_BYTES`] each; late readings, refused values and other patients' readings change nothing of a patient. Must
//! not: guess age, sex, height or weight.

use std::borrow::Cow;

use pulsegate_reading::{LoincCode, Reading, Value};
use pulsegate_rules::{ModelId, Principal};
use serde::{Deserialize, Serialize};

use super::ensemble::{Ensemble, Scratch, State};
use super::history::{FEATURES, History};
use super::{Channel, Demographics, HOURS, Hour};
use crate::bounded::Bounded;
use crate::error::DetectorError;
use crate::model_file::{ModelFile, ModelFileError};
use crate::seam::{LATE_AFTER_MS, Measured, PhysiologyDetector, Taken, each, only};
use crate::verdict::{Assessment, InputsDigest, NotAssessed, PhysiologyClass, PhysiologyFinding};

/// Most patients that are followed at once.
pub const VITAL_PATIENTS_MAX: usize = 20_000;
/// Bytes kept per patient, besides the table that finds it.
pub const PATIENT_STATE_BYTES: usize = size_of::<Patient>();
/// Name of the model in the catalogue.
pub const NAME: &str = "vital-signs";

const HOUR_MS: u64 = 3_600_000;

/// Where the patients are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Setting {
    /// A ward, a home: the model is not validated there and only advises.
    #[default]
    Elsewhere,
    /// Intensive care, as where the model was trained: an elevated risk makes the patient unwell.
    IntensiveCare,
}

/// A model file cannot serve as this detector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VitalSignsError {
    /// The file is of another model.
    #[error("the file holds the model {found:?}, not vital-signs; give the file of that model")]
    OtherModel {
        /// Its name.
        found: String,
    },
    /// The weights do not fit.
    #[error(transparent)]
    File(#[from] ModelFileError),
}

impl VitalSignsError {
    /// The stable code of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::OtherModel { .. } => "DETECTOR_OTHER_MODEL",
            Self::File(error) => error.code(),
        }
    }
}

/// The detector with what it knows of each patient.
pub struct VitalSigns {
    model: ModelId,
    ensemble: Ensemble,
    setting: Setting,
    patients: Bounded<Principal, Patient>,
    scratch: Scratch,
    features: Box<[f32; FEATURES]>,
}

#[derive(Clone, Default)]
struct Patient {
    demographics: Demographics,
    stay: Option<Stay>,
}

/// The stay that goes on. Readings never name another hour than its open one or a later one.
#[derive(Clone)]
struct Stay {
    began_at_ms: u64,
    /// Hours that are over, and the state of the network after them.
    history: History,
    state: State,
    open: Hour,
}

impl VitalSigns {
    /// The detector of a model file, for at most `patients_max` patients.
    ///
    /// # Errors
    /// [`VitalSignsError`].
    pub fn new(file: &ModelFile, setting: Setting, patients_max: usize) -> Result<Self, VitalSignsError> {
        if file.metadata.name != NAME {
            return Err(VitalSignsError::OtherModel { found: file.metadata.name.clone() });
        }
        let ensemble = Ensemble::of(file)?;
        let scratch = ensemble.scratch();
        let patients = Bounded::new(patients_max.min(VITAL_PATIENTS_MAX));
        Ok(Self { model: file.id(), ensemble, setting, patients, scratch, features: Box::new([0.0; FEATURES]) })
    }

    /// What is known of a patient besides readings. Implausible values count as unknown, ages as in [`Demographics::plausible`].
    pub fn describe(&mut self, patient: Principal, demographics: Demographics) {
        self.patients.entry(patient).demographics = demographics.plausible();
    }

    /// How many patients are known.
    #[must_use]
    pub fn patients(&self) -> usize {
        self.patients.len()
    }
}

impl PhysiologyDetector for VitalSigns {
    fn model(&self) -> ModelId {
        self.model
    }

    fn assess(&mut self, measured: &Measured<'_>) -> Result<Assessment<PhysiologyFinding>, DetectorError> {
        only(self.assess_together(std::slice::from_ref(measured)))
    }

    fn assess_together(
        &mut self,
        measured: &[Measured<'_>],
    ) -> Option<Vec<Result<Assessment<PhysiologyFinding>, DetectorError>>> {
        let (mut features, mut states) = (Vec::new(), Vec::new());
        let taken: Vec<_> = measured.iter().map(|measured| self.take(measured, &mut features, &mut states)).collect();
        let mut logits = vec![0.0; states.len()];
        self.ensemble.step_all(&features, &mut states, &mut self.scratch, &mut logits);
        let mut judged = features.chunks_exact(FEATURES).zip(logits);
        Some(each(taken, |hour| {
            let missed = DetectorError::Failed { reason: "a reading was not judged" };
            let (features, logit) = judged.next().ok_or(missed)?;
            self.finding(hour, features, logit).map(Assessment::Assessed)
        }))
    }
}

/// A reading that its patient's stay took up.
struct StayHour {
    /// Of the stay, counted from 0.
    hour: usize,
    missing: Vec<Cow<'static, str>>,
}

impl VitalSigns {
    /// Takes a reading into its patient's stay, or says why not. What the network reads of the open hour as it now stands, and from which
    /// state it reads it, is put after the `features` and `states` of other readings.
    fn take(&mut self, measured: &Measured<'_>, features: &mut Vec<f32>, states: &mut Vec<State>) -> Taken<StayHour> {
        let reading = measured.reading;
        let Some(values) = Values::of(reading) else { return Ok(Err(NotAssessed::NotApplicable)) };
        if measured.is_late() {
            return Ok(Err(NotAssessed::Late));
        }
        if reading.measured_at_ms.saturating_sub(measured.received_at_ms) > LATE_AFTER_MS {
            return Err(DetectorError::UnusableInput { reason: "it was measured after it was received" });
        }
        values.check()?;
        let patient = self.patients.entry(reading.patient);
        let at_ms = reading.measured_at_ms;
        let over = |stay: &Stay| at_ms.saturating_sub(stay.began_at_ms) / HOUR_MS >= HOURS as u64;
        if patient.stay.as_ref().is_none_or(over) {
            let (history, state) = (History::default(), State::default());
            patient.stay = Some(Stay { began_at_ms: at_ms, history, state, open: Hour::default() });
        }
        let Some(stay) = &mut patient.stay else {
            return Err(DetectorError::Failed { reason: "a stay that began is not there" });
        };
        let hour = usize::try_from(at_ms.saturating_sub(stay.began_at_ms) / HOUR_MS).unwrap_or(HOURS);
        if at_ms < stay.began_at_ms || hour < stay.history.hours() {
            return Ok(Err(NotAssessed::Late));
        }
        if values.weight_kg.is_some() {
            patient.demographics.weight_kg = values.weight_kg;
        }
        while stay.history.hours() < hour {
            stay.close(&patient.demographics, &mut self.features[..]);
            let _ = self.ensemble.step(&self.features[..], &mut stay.state, &mut self.scratch);
        }
        for (channel, value) in values.measured.into_iter().flatten() {
            stay.open.measure(channel, value);
        }
        let mut provisional = stay.clone();
        provisional.close(&patient.demographics, &mut self.features[..]);
        features.extend_from_slice(&self.features[..]);
        states.push(provisional.state);
        Ok(Ok(StayHour { hour, missing: missing(&provisional.history, &patient.demographics) }))
    }

    /// What the log-odds say of the hour whose features these are.
    fn finding(&self, taken: StayHour, features: &[f32], logit: f32) -> Result<PhysiologyFinding, DetectorError> {
        let StayHour { hour, missing } = taken;
        let risk = self.ensemble.risk(logit, hour);
        if !risk.is_finite() {
            return Err(DetectorError::Failed { reason: "the risk is not a number" });
        }
        let inputs = InputsDigest::of(&[&self.model.0, &bytes_of(features)]);
        let elevated = risk >= self.ensemble.operating_point();
        let unwell = elevated && self.setting == Setting::IntensiveCare;
        let class = if unwell { PhysiologyClass::Unwell } else { PhysiologyClass::Unremarkable };
        let advisory = if self.setting == Setting::Elsewhere { "; advisory outside intensive care" } else { "" };
        let level = if elevated { "elevated" } else { "not elevated" };
        let label = format!("risk of death in hospital {risk:.3} after {} h, {level}{advisory}", hour + 1);
        Ok(PhysiologyFinding {
            model: self.model,
            class,
            confidence: Some(if unwell { risk } else { 1.0 - risk }),
            label: Some(label),
            inputs,
            missing,
            news2: None,
            beats: None,
        })
    }
}

impl Stay {
    /// The open hour is over; `features` get what the network reads of it. No allocation.
    fn close(&mut self, demographics: &Demographics, features: &mut [f32]) {
        self.history.pass(&self.open);
        self.history.write(demographics, features);
        self.open = Hour::default();
    }
}

/// What a reading says of the model's inputs.
#[derive(Default)]
struct Values {
    measured: [Option<(Channel, f32)>; 3],
    weight_kg: Option<f32>,
}

impl Values {
    /// None when the model does not look at such a reading.
    fn of(reading: &Reading) -> Option<Self> {
        let mut values = Self::default();
        match &reading.value {
            Value::Quantity(quantity) => values.take(0, reading.code, quantity.value),
            Value::Components(parts) => parts
                .iter()
                .take(3)
                .enumerate()
                .for_each(|(place, part)| values.take(place, part.code, part.quantity.value)),
            Value::Sampled(_) | Value::Coded(_) => {}
        }
        let any = values.weight_kg.is_some() || values.measured.iter().any(Option::is_some);
        any.then_some(values)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the network computes in single precision")]
    fn take(&mut self, place: usize, code: LoincCode, value: f64) {
        const PERCENT: f64 = 100.0;
        let (channel, value) = match code {
            LoincCode::HeartRate => (Channel::HeartRate, value),
            LoincCode::RespiratoryRate => (Channel::RespiratoryRate, value),
            LoincCode::OxygenSaturation => (Channel::Saturation, value),
            LoincCode::BodyTemperature => (Channel::Temperature, value),
            LoincCode::GlasgowComaScore => (Channel::Coma, value),
            LoincCode::InhaledOxygenConcentration => (Channel::InhaledOxygen, value / PERCENT),
            LoincCode::SystolicBloodPressure => (Channel::CuffSystolic, value),
            LoincCode::DiastolicBloodPressure => (Channel::CuffDiastolic, value),
            LoincCode::MeanBloodPressure => (Channel::CuffMean, value),
            LoincCode::BodyWeight => return self.weight_kg = Some(value as f32),
            _ => return,
        };
        self.measured[place] = Some((channel, value as f32));
    }

    /// Refuses what no body and no sensor can show, before anything is changed.
    fn check(&self) -> Result<(), DetectorError> {
        let plausible =
            self.measured.iter().flatten().all(|(channel, value)| Hour::default().measure(*channel, *value));
        let weight = self.weight_kg.is_none_or(|weight| super::WEIGHT_KG.contains(&weight));
        if plausible && weight {
            return Ok(());
        }
        Err(DetectorError::UnusableInput { reason: "a value is outside the plausible range of its kind" })
    }
}

/// What was never measured in this stay and what is not known of the patient, by name.
fn missing(history: &History, demographics: &Demographics) -> Vec<Cow<'static, str>> {
    const NAMED: [(Channel, &str); 7] = [
        (Channel::HeartRate, "pulse"),
        (Channel::RespiratoryRate, "respiration rate"),
        (Channel::Saturation, "oxygen saturation"),
        (Channel::Temperature, "temperature"),
        (Channel::Coma, "Glasgow coma score"),
        (Channel::InhaledOxygen, "inhaled oxygen concentration"),
        (Channel::CuffSystolic, "blood pressure"),
    ];
    let measured = NAMED.into_iter().filter(|(channel, _)| !history.has_measured(*channel)).map(|(_, name)| name);
    let known = [
        (demographics.age_years.is_none(), "age"),
        (demographics.male.is_none(), "sex"),
        (demographics.height_cm.is_none(), "height"),
        (demographics.weight_kg.is_none(), "weight"),
    ];
    let unknown = known.into_iter().filter(|(is_unknown, _)| *is_unknown).map(|(_, name)| name);
    measured.chain(unknown).map(Cow::Borrowed).collect()
}

/// Features as bytes, big-endian; every missing one alike.
fn bytes_of(features: &[f32]) -> Vec<u8> {
    let one = |feature: &f32| if feature.is_nan() { [0xFF; 4] } else { feature.to_be_bytes() };
    features.iter().flat_map(one).collect()
}
