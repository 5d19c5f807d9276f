//! The aggregate of NEWS2, its missing parts and the clinical risk that follows (Royal College of Physicians, 2017, charts 1 and 2).

use serde::{Deserialize, Serialize};

use super::{Parameter, chart};

/// Score of a single parameter that asks for an urgent look by itself.
const RED_SCORE: u8 = 3;
/// Aggregate from which the risk is medium.
const MEDIUM_SCORE: u8 = 5;
/// Aggregate from which the risk is high.
const HIGH_SCORE: u8 = 7;

/// Which row of the chart scores oxygen saturation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpO2Scale {
    /// Everybody else.
    #[default]
    One,
    /// Patients with hypercapnic respiratory failure, target 88 to 92 %, by a clinician's order.
    Two,
}

/// The clinical risk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Risk {
    /// Aggregate 0 to 4, no single 3: ward-based response.
    Low,
    /// A single parameter scores 3: urgent ward-based response.
    LowMedium,
    /// Aggregate 5 or 6: key threshold for urgent response.
    Medium,
    /// Aggregate 7 or more: urgent or emergency response.
    High,
}

/// The score of one parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParameterScore {
    /// Which.
    pub parameter: Parameter,
    /// 0 to 3.
    pub score: u8,
}

/// A NEWS2 score. When `missing` is not empty the aggregate and the risk are lower bounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct News2Score {
    /// Sum of the scores, 0 to 20.
    pub aggregate: u8,
    /// The clinical risk.
    pub risk: Risk,
    /// Whether a single parameter scores 3, which asks for an urgent look whatever the sum.
    pub single_red: bool,
    /// Which oxygen saturation scale was used.
    pub scale: SpO2Scale,
    /// The score of each parameter that was there, in the order of the chart.
    pub scores: Vec<ParameterScore>,
    /// The parameters that were not there or too old, in the order of the chart.
    pub missing: Vec<Parameter>,
}

impl News2Score {
    /// Scores what is there. `value` gives a parameter in the chart's unit; for air or oxygen, and for consciousness, 0 is air and alert,
    /// anything else oxygen and not alert.
    pub fn of(scale: SpO2Scale, value: impl Fn(Parameter) -> Option<f64>) -> Self {
        let on_oxygen = value(Parameter::AirOrOxygen).is_some_and(|oxygen| oxygen != 0.0);
        let score = |parameter: Parameter| {
            let measured = value(parameter)?;
            let score = match parameter {
                Parameter::RespirationRate => chart::respiration_rate(measured),
                Parameter::OxygenSaturation => chart::oxygen_saturation(measured, scale, on_oxygen),
                Parameter::AirOrOxygen => chart::air_or_oxygen(on_oxygen),
                Parameter::SystolicBloodPressure => chart::systolic_blood_pressure(measured),
                Parameter::Pulse => chart::pulse(measured),
                Parameter::Consciousness => chart::consciousness(measured == 0.0),
                Parameter::Temperature => chart::temperature(measured),
            };
            Some(ParameterScore { parameter, score })
        };
        let scores: Vec<ParameterScore> = Parameter::ALL.into_iter().filter_map(score).collect();
        let present = |parameter: &Parameter| scores.iter().any(|entry| entry.parameter == *parameter);
        let missing = Parameter::ALL.into_iter().filter(|parameter| !present(parameter)).collect();
        let aggregate = scores.iter().map(|entry| entry.score).sum();
        let single_red = scores.iter().any(|entry| entry.score == RED_SCORE);
        let risk = match aggregate {
            HIGH_SCORE.. => Risk::High,
            MEDIUM_SCORE.. => Risk::Medium,
            _ if single_red => Risk::LowMedium,
            _ => Risk::Low,
        };
        Self { aggregate, risk, single_red, scale, scores, missing }
    }
}
