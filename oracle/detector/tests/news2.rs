//! NEWS2 against the published chart (Royal College of Physicians, 2017), and what it makes of a patient's stream of readings.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use pulsegate_detector::{
    Assessment, FRESHNESS_MS, LATE_AFTER_MS, Measured, News2, News2Score, NotAssessed, Parameter, PhysiologyClass,
    PhysiologyDetector, PhysiologyFinding, Risk, SpO2Scale, chart,
};
use pulsegate_reading::{Acvpu, Component, LoincCode, Quantity, Reading, SampledData, Unit, Value};
use pulsegate_rules::{DeviceId, Principal};

const START_MS: u64 = 1_790_000_000_000;

/// The chart's columns: the lowest and highest value of each, with its score.
type Columns = &'static [(f64, f64, u8)];

const RESPIRATION: Columns = &[(1.0, 8.0, 3), (9.0, 11.0, 1), (12.0, 20.0, 0), (21.0, 24.0, 2), (25.0, 120.0, 3)];
const SATURATION_ONE: Columns = &[(20.0, 91.0, 3), (92.0, 93.0, 2), (94.0, 95.0, 1), (96.0, 100.0, 0)];
const SATURATION_TWO_AIR: Columns = &[(20.0, 83.0, 3), (84.0, 85.0, 2), (86.0, 87.0, 1), (88.0, 100.0, 0)];
const SATURATION_TWO_OXYGEN: Columns = &[
    (20.0, 83.0, 3),
    (84.0, 85.0, 2),
    (86.0, 87.0, 1),
    (88.0, 92.0, 0),
    (93.0, 94.0, 1),
    (95.0, 96.0, 2),
    (97.0, 100.0, 3),
];
const SYSTOLIC: Columns = &[(20.0, 90.0, 3), (91.0, 100.0, 2), (101.0, 110.0, 1), (111.0, 219.0, 0), (220.0, 320.0, 3)];
const PULSE: Columns =
    &[(10.0, 40.0, 3), (41.0, 50.0, 1), (51.0, 90.0, 0), (91.0, 110.0, 1), (111.0, 130.0, 2), (131.0, 290.0, 3)];
const TEMPERATURE: Columns = &[(20.0, 35.0, 3), (35.1, 36.0, 1), (36.1, 38.0, 0), (38.1, 39.0, 1), (39.1, 46.0, 2)];

fn follows(columns: Columns, step: f64, score: impl Fn(f64) -> u8) {
    for (low, high, expected) in columns {
        let steps = ((high - low) / step).round() as u32;
        for number in 0..=steps {
            let value = low + f64::from(number) * step;
            assert_eq!(score(value), *expected, "{value}");
        }
    }
}

#[test]
fn every_column_of_the_chart_scores_as_published() {
    follows(RESPIRATION, 1.0, chart::respiration_rate);
    follows(SATURATION_ONE, 1.0, |value| chart::oxygen_saturation(value, SpO2Scale::One, false));
    follows(SATURATION_ONE, 1.0, |value| chart::oxygen_saturation(value, SpO2Scale::One, true));
    follows(SATURATION_TWO_AIR, 1.0, |value| chart::oxygen_saturation(value, SpO2Scale::Two, false));
    follows(SATURATION_TWO_OXYGEN, 1.0, |value| chart::oxygen_saturation(value, SpO2Scale::Two, true));
    follows(SYSTOLIC, 1.0, chart::systolic_blood_pressure);
    follows(PULSE, 1.0, chart::pulse);
    follows(TEMPERATURE, 0.1, chart::temperature);
    assert_eq!((chart::air_or_oxygen(false), chart::air_or_oxygen(true)), (0, 2));
    assert_eq!((chart::consciousness(true), chart::consciousness(false)), (0, 3));
}

#[test]
fn the_risk_follows_the_aggregate_and_a_single_three() {
    let of = |pulse: f64, rate: f64, pressure: f64| {
        News2Score::of(SpO2Scale::One, |parameter| match parameter {
            Parameter::Pulse => Some(pulse),
            Parameter::RespirationRate => Some(rate),
            Parameter::SystolicBloodPressure => Some(pressure),
            _ => None,
        })
    };
    let summary = |score: News2Score| (score.aggregate, score.risk, score.single_red);
    assert_eq!(summary(of(72.0, 16.0, 120.0)), (0, Risk::Low, false));
    assert_eq!(summary(of(115.0, 22.0, 120.0)), (4, Risk::Low, false));
    assert_eq!(summary(of(135.0, 16.0, 120.0)), (3, Risk::LowMedium, true));
    assert_eq!(summary(of(135.0, 10.0, 120.0)), (4, Risk::LowMedium, true));
    assert_eq!(summary(of(115.0, 22.0, 105.0)), (5, Risk::Medium, false));
    assert_eq!(summary(of(115.0, 22.0, 95.0)), (6, Risk::Medium, false));
    assert_eq!(summary(of(135.0, 22.0, 95.0)), (7, Risk::High, true));
    assert_eq!(of(72.0, 16.0, 120.0).missing.len(), 4);
}

struct Bedside {
    news2: News2,
    now_ms: u64,
}

impl Bedside {
    fn new() -> Self {
        Self { news2: News2::default(), now_ms: START_MS }
    }

    fn of(&mut self, patient: u8, code: LoincCode, value: Value, measured_at_ms: u64) -> Assessment<PhysiologyFinding> {
        let (device, patient, audience) = (DeviceId([9; 32]), Principal([patient; 32]), [0; 32]);
        let reading =
            Reading { device, patient, audience, sequence: 1, previous: [0; 32], measured_at_ms, code, value };
        reading.check().unwrap();
        self.news2.assess(&Measured { reading: &reading, received_at_ms: self.now_ms }).unwrap()
    }

    fn number(&mut self, code: LoincCode, value: f64) -> PhysiologyFinding {
        let (value, now_ms) = (Value::quantity(value, code.ranges()[0].unit), self.now_ms);
        self.of(1, code, value, now_ms).finding().cloned().unwrap()
    }

    fn well(&mut self) -> PhysiologyFinding {
        self.number(LoincCode::HeartRate, 72.0);
        self.number(LoincCode::RespiratoryRate, 16.0);
        self.number(LoincCode::OxygenSaturation, 97.0);
        self.number(LoincCode::InhaledOxygenConcentration, 21.0);
        self.number(LoincCode::BodyTemperature, 36.9);
        self.number(LoincCode::GlasgowComaScore, 15.0);
        let part = |code, value| Component { code, quantity: Quantity { value, unit: Unit::MillimetreOfMercury } };
        let (systolic, diastolic) =
            (part(LoincCode::SystolicBloodPressure, 122.0), part(LoincCode::DiastolicBloodPressure, 80.0));
        let (value, now_ms) = (Value::Components(vec![systolic, diastolic]), self.now_ms);
        self.of(1, LoincCode::BloodPressure, value, now_ms).finding().cloned().unwrap()
    }
}

fn score(finding: &PhysiologyFinding) -> &News2Score {
    finding.news2.as_ref().unwrap()
}

#[test]
fn missing_parameters_are_listed_until_they_are_there() {
    let mut bedside = Bedside::new();
    let first = bedside.number(LoincCode::HeartRate, 72.0);
    assert_eq!(first.missing.len(), 6);
    assert!(!first.missing.iter().any(|name| name == Parameter::Pulse.code()));
    let all = bedside.well();
    assert!(all.missing.is_empty());
    assert_eq!((score(&all).aggregate, all.class), (0, PhysiologyClass::Unremarkable));
}

#[test]
fn a_deteriorating_patient_becomes_unwell() {
    let mut bedside = Bedside::new();
    bedside.well();
    assert_eq!(bedside.number(LoincCode::HeartRate, 115.0).class, PhysiologyClass::Unremarkable);
    let red = bedside.number(LoincCode::RespiratoryRate, 26.0);
    assert_eq!((score(&red).aggregate, score(&red).risk, red.class), (5, Risk::Medium, PhysiologyClass::Unwell));
    let high = bedside.number(LoincCode::InhaledOxygenFlow, 4.0);
    assert_eq!((score(&high).aggregate, score(&high).risk), (7, Risk::High));
}

#[test]
fn a_single_three_makes_unwell_whatever_the_sum() {
    let mut bedside = Bedside::new();
    bedside.well();
    let finding = bedside.number(LoincCode::GlasgowComaScore, 14.0);
    assert_eq!((score(&finding).aggregate, score(&finding).risk), (3, Risk::LowMedium));
    assert_eq!(finding.class, PhysiologyClass::Unwell);
    let now_ms = bedside.now_ms;
    let alert = bedside.of(1, LoincCode::Consciousness, Value::Coded(Acvpu::Alert), now_ms);
    assert_eq!(score(alert.finding().unwrap()).aggregate, 0);
    let confused = bedside.of(1, LoincCode::Consciousness, Value::Coded(Acvpu::Confusion), now_ms);
    assert_eq!(score(confused.finding().unwrap()).aggregate, 3);
}

#[test]
fn values_older_than_the_stated_freshness_are_missing() {
    let mut bedside = Bedside::new();
    bedside.well();
    bedside.now_ms += FRESHNESS_MS;
    assert!(bedside.number(LoincCode::HeartRate, 72.0).missing.is_empty());
    bedside.now_ms += 1;
    assert_eq!(bedside.number(LoincCode::HeartRate, 72.0).missing.len(), 6);
}

#[test]
fn late_readings_change_no_state_and_older_ones_do_not_overwrite() {
    let mut bedside = Bedside::new();
    bedside.well();
    let (now_ms, rate) = (bedside.now_ms, Value::quantity(140.0, Unit::PerMinute));
    let late = bedside.of(1, LoincCode::HeartRate, rate.clone(), now_ms - LATE_AFTER_MS - 1);
    assert_eq!(late, Assessment::NotAssessed(NotAssessed::Late));
    let older = bedside.of(1, LoincCode::HeartRate, rate, now_ms - 1_000);
    assert_eq!(score(older.finding().unwrap()).aggregate, 0);
    assert_eq!(score(&bedside.number(LoincCode::BodyTemperature, 36.9)).aggregate, 0);
}

#[test]
fn one_patient_never_counts_for_another() {
    let mut bedside = Bedside::new();
    bedside.well();
    let now_ms = bedside.now_ms;
    let other = bedside.of(2, LoincCode::HeartRate, Value::quantity(140.0, Unit::PerMinute), now_ms);
    assert_eq!((score(other.finding().unwrap()).aggregate, other.finding().unwrap().missing.len()), (3, 6));
    assert_eq!(score(&bedside.number(LoincCode::BodyTemperature, 36.9)).aggregate, 0);
}

#[test]
fn scale_two_is_used_only_for_whom_it_was_ordered() {
    let mut bedside = Bedside::new();
    bedside.well();
    assert_eq!(score(&bedside.number(LoincCode::OxygenSaturation, 89.0)).aggregate, 3);
    bedside.news2.set_scale(Principal([1; 32]), SpO2Scale::Two);
    let finding = bedside.number(LoincCode::OxygenSaturation, 89.0);
    assert_eq!((score(&finding).aggregate, score(&finding).scale), (0, SpO2Scale::Two));
}

#[test]
fn an_ecg_is_not_for_news2_and_patients_are_bounded() {
    let mut bedside = Bedside { news2: News2::new(10, FRESHNESS_MS), now_ms: START_MS };
    let (origin, factor, period_ns, lower, upper) = (0.0, 0.005, 4_000_000, -2_047, 2_047);
    let ecg = SampledData { origin, factor, period_ns, lower, upper, unit: Unit::Millivolt, samples: vec![1] };
    let judged = bedside.of(1, LoincCode::EcgLeadTwo, Value::Sampled(ecg), START_MS);
    assert_eq!(judged, Assessment::NotAssessed(NotAssessed::NotApplicable));
    for patient in 0..=255 {
        bedside.of(patient, LoincCode::HeartRate, Value::quantity(72.0, Unit::PerMinute), START_MS);
        assert!(bedside.news2.patients() <= 10);
    }
}
