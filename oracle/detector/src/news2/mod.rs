//! NEWS2, the National Early Warning Score (Royal College of Physicians, "National Early Warning Score (NEWS) 2", London 2017).
//!
//! The score is made of the patient's latest values, none older than [`FRESHNESS_MS`] when the reading was measured. Parameters that are not
//! there are listed and score nothing, so the aggregate is a lower bound, and says so. Choices that the chart leaves to the user:
//! - oxygen: an inhaled concentration above 21 % or a flow above 0 is supplemental oxygen;
//! - consciousness: ACVPU as it is; a Glasgow coma score of 15 counts as alert and anything less as not alert (the report: C, V, P or U
//!   score 3). Of the two, the later one counts;
//! - blood pressure: systolic, of the panel or alone; pulse: heart rate;
//! - oxygen saturation scale 2 only for patients for whom [`News2::set_scale`] says so, as the report leaves it to a clinician's order.
//!
//! Not for children under 16 or in pregnancy, as the report says. Must not: be changed by a late reading.

pub mod chart;
mod score;

use pulsegate_reading::{Acvpu, LoincCode, Reading, Value};
use pulsegate_rules::{ModelId, Principal};
use serde::{Deserialize, Serialize};

pub use score::{News2Score, ParameterScore, Risk, SpO2Scale};

use crate::bounded::Bounded;
use crate::error::DetectorError;
use crate::seam::{Measured, PhysiologyDetector};
use crate::verdict::{Assessment, InputsDigest, NotAssessed, PhysiologyClass, PhysiologyFinding};

/// How old a value may be and still count, milliseconds: four hours, the report's shorter interval between
/// observations of a patient with a low score.
pub const FRESHNESS_MS: u64 = 4 * 3_600 * 1_000;
/// Most patients whose latest values are kept at once.
pub const NEWS2_PATIENTS_MAX: usize = 100_000;

/// A parameter of the score, in the order of the chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Parameter {
    /// Breaths per minute.
    RespirationRate,
    /// Oxygen saturation, per cent.
    OxygenSaturation,
    /// Air or supplemental oxygen.
    AirOrOxygen,
    /// Systolic blood pressure, mmHg.
    SystolicBloodPressure,
    /// Pulse, beats per minute.
    Pulse,
    /// Consciousness, ACVPU.
    Consciousness,
    /// Temperature, °C.
    Temperature,
}

impl Parameter {
    /// All parameters, in the order of the chart.
    pub const ALL: [Self; 7] = [
        Self::RespirationRate,
        Self::OxygenSaturation,
        Self::AirOrOxygen,
        Self::SystolicBloodPressure,
        Self::Pulse,
        Self::Consciousness,
        Self::Temperature,
    ];

    /// The parameter in formats.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::RespirationRate => "respiration-rate",
            Self::OxygenSaturation => "oxygen-saturation",
            Self::AirOrOxygen => "air-or-oxygen",
            Self::SystolicBloodPressure => "systolic-blood-pressure",
            Self::Pulse => "pulse",
            Self::Consciousness => "consciousness",
            Self::Temperature => "temperature",
        }
    }

    /// The parameter for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RespirationRate => "respiration rate",
            Self::OxygenSaturation => "oxygen saturation",
            Self::AirOrOxygen => "air or oxygen",
            Self::SystolicBloodPressure => "systolic blood pressure",
            Self::Pulse => "pulse",
            Self::Consciousness => "consciousness",
            Self::Temperature => "temperature",
        }
    }
}

impl std::fmt::Display for Parameter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The score with what it knows of each patient.
pub struct News2 {
    model: ModelId,
    freshness_ms: u64,
    patients: Bounded<Principal, Patient>,
}

/// A patient's latest values, one place per parameter.
#[derive(Clone, Copy, Default)]
struct Patient {
    scale: SpO2Scale,
    latest: [Option<Latest>; 7],
}

#[derive(Clone, Copy)]
struct Latest {
    measured_at_ms: u64,
    /// In the chart's unit; 1 for oxygen or not alert, 0 for air or alert.
    value: f64,
}

impl Default for News2 {
    fn default() -> Self {
        Self::new(NEWS2_PATIENTS_MAX, FRESHNESS_MS)
    }
}

impl News2 {
    /// The score for at most `patients_max` patients, of values not older than `freshness_ms` milliseconds.
    #[must_use]
    pub fn new(patients_max: usize, freshness_ms: u64) -> Self {
        let digest = InputsDigest::of(&[b"pulsegate/detector/news2/v1", &freshness_ms.to_be_bytes()]);
        Self { model: ModelId(digest.0), freshness_ms, patients: Bounded::new(patients_max) }
    }

    /// Which oxygen saturation scale a clinician ordered for a patient.
    pub fn set_scale(&mut self, patient: Principal, scale: SpO2Scale) {
        self.patients.entry(patient).scale = scale;
    }

    /// How many patients are known.
    #[must_use]
    pub fn patients(&self) -> usize {
        self.patients.len()
    }
}

impl PhysiologyDetector for News2 {
    fn model(&self) -> ModelId {
        self.model
    }

    fn assess(&mut self, measured: &Measured<'_>) -> Result<Assessment<PhysiologyFinding>, DetectorError> {
        let inputs = inputs_of(measured.reading);
        if inputs.is_empty() {
            return Ok(Assessment::NotAssessed(NotAssessed::NotApplicable));
        }
        if measured.is_late() {
            return Ok(Assessment::NotAssessed(NotAssessed::Late));
        }
        if inputs.iter().any(|(_, value)| !value.is_finite()) {
            return Err(DetectorError::UnusableInput { reason: "a value is not finite" });
        }
        let (model, freshness_ms, at_ms) = (self.model, self.freshness_ms, measured.reading.measured_at_ms);
        let patient = self.patients.entry(measured.reading.patient);
        for (parameter, value) in inputs {
            let place = &mut patient.latest[parameter as usize];
            if place.is_none_or(|known| known.measured_at_ms <= at_ms) {
                *place = Some(Latest { measured_at_ms: at_ms, value });
            }
        }
        Ok(Assessment::Assessed(patient.judge(model, at_ms, freshness_ms)))
    }
}

impl Patient {
    fn judge(&self, model: ModelId, at_ms: u64, freshness_ms: u64) -> PhysiologyFinding {
        let fresh = |parameter: Parameter| {
            let latest = self.latest[parameter as usize]?;
            (at_ms.abs_diff(latest.measured_at_ms) <= freshness_ms).then_some(latest.value)
        };
        let score = News2Score::of(self.scale, fresh);
        let digest = |parameter: Parameter| fresh(parameter).map_or([0xFF; 8], f64::to_be_bytes);
        let values: Vec<u8> = Parameter::ALL.into_iter().flat_map(digest).collect();
        let inputs = InputsDigest::of(&[&model.0, &[self.scale as u8], &values]);
        let unwell = score.risk >= Risk::LowMedium;
        let class = if unwell { PhysiologyClass::Unwell } else { PhysiologyClass::Unremarkable };
        let missing = score.missing.iter().map(|parameter| parameter.code().into()).collect();
        let (confidence, label, beats) = (None, None, None);
        PhysiologyFinding { model, class, confidence, label, inputs, missing, news2: Some(score), beats }
    }
}

/// What a reading says of the chart's parameters; nothing for what NEWS2 does not look at.
fn inputs_of(reading: &Reading) -> Vec<(Parameter, f64)> {
    match &reading.value {
        Value::Quantity(quantity) => of_code(reading.code, quantity.value).into_iter().collect(),
        Value::Components(components) => {
            components.iter().filter_map(|part| of_code(part.code, part.quantity.value)).collect()
        }
        Value::Coded(level) => vec![(Parameter::Consciousness, if *level == Acvpu::Alert { 0.0 } else { 1.0 })],
        Value::Sampled(_) => Vec::new(),
    }
}

/// Room air, per cent of oxygen.
const ROOM_AIR_PERCENT: f64 = 21.0;
/// The Glasgow coma score of somebody alert.
const GLASGOW_ALERT: f64 = 15.0;

fn of_code(code: LoincCode, value: f64) -> Option<(Parameter, f64)> {
    let yes = |condition: bool| if condition { 1.0 } else { 0.0 };
    match code {
        LoincCode::RespiratoryRate => Some((Parameter::RespirationRate, value)),
        LoincCode::OxygenSaturation => Some((Parameter::OxygenSaturation, value)),
        LoincCode::InhaledOxygenConcentration => Some((Parameter::AirOrOxygen, yes(value > ROOM_AIR_PERCENT))),
        LoincCode::InhaledOxygenFlow => Some((Parameter::AirOrOxygen, yes(value > 0.0))),
        LoincCode::SystolicBloodPressure => Some((Parameter::SystolicBloodPressure, value)),
        LoincCode::HeartRate => Some((Parameter::Pulse, value)),
        LoincCode::GlasgowComaScore => Some((Parameter::Consciousness, yes(value < GLASGOW_ALERT))),
        LoincCode::BodyTemperature => Some((Parameter::Temperature, value)),
        _ => None,
    }
}
