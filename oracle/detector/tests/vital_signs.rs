//! The vital-signs model: its committed weights, its live detector and its training.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::path::Path;

use pulsegate_detector::catalogue::{EvaluateOptions, TrainOptions, Trainable};
use pulsegate_detector::model_file::ModelFile;
use pulsegate_detector::progress::Silent;
use pulsegate_detector::vitals::{
    Channel, Demographics, Ensemble, FEATURES, HOURS, History, Hour, PATIENT_STATE_BYTES, Setting, State,
    VITAL_PATIENTS_MAX, VitalSigns, VitalSignsModel,
};
use pulsegate_detector::{
    Assessment, DetectorError, LATE_AFTER_MS, Measured, NotAssessed, PhysiologyClass, PhysiologyDetector,
    PhysiologyFinding,
};
use pulsegate_reading::{Component, LoincCode, Quantity, Reading, Unit, Value};
use pulsegate_rules::{DeviceId, Principal};

const START_MS: u64 = 1_790_000_000_000;
const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;

fn committed() -> ModelFile {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/vital-signs.safetensors");
    ModelFile::read(&std::fs::read(path).unwrap()).unwrap()
}

fn detector(setting: Setting) -> VitalSigns {
    VitalSigns::new(&committed(), setting, VITAL_PATIENTS_MAX).unwrap()
}

fn reading(patient: u8, at_ms: u64, code: LoincCode, value: Value) -> Reading {
    Reading {
        device: DeviceId([7; 32]),
        patient: Principal([patient; 32]),
        audience: [1; 32],
        sequence: 1,
        previous: [0; 32],
        measured_at_ms: at_ms,
        code,
        value,
    }
}

fn quantity(patient: u8, at_ms: u64, code: LoincCode, value: f64, unit: Unit) -> Reading {
    reading(patient, at_ms, code, Value::quantity(value, unit))
}

fn pressure(patient: u8, at_ms: u64, systolic: f64, diastolic: f64) -> Reading {
    let part = |code, value| Component { code, quantity: Quantity { value, unit: Unit::MillimetreOfMercury } };
    let parts =
        vec![part(LoincCode::SystolicBloodPressure, systolic), part(LoincCode::DiastolicBloodPressure, diastolic)];
    reading(patient, at_ms, LoincCode::BloodPressure, Value::Components(parts))
}

/// Hours of a patient whose pressure falls and whose heart races, faster the higher `haste` is.
fn course(patient: u8, hours: u64, haste: f64) -> Vec<Reading> {
    let mut readings = Vec::new();
    for hour in 0..hours {
        let at = |minute: u64| START_MS + hour * HOUR_MS + minute * MINUTE_MS;
        let gone = haste * hour as f64;
        readings.push(quantity(patient, at(0), LoincCode::HeartRate, 80.0 + gone, Unit::PerMinute));
        readings.push(quantity(patient, at(20), LoincCode::HeartRate, 82.0 + gone, Unit::PerMinute));
        readings.push(pressure(patient, at(25), 120.0 - gone, 70.0 - gone / 2.0));
        if hour % 4 == 1 {
            readings.push(quantity(
                patient,
                at(30),
                LoincCode::GlasgowComaScore,
                (15.0 - gone / 4.0).floor().max(3.0),
                Unit::Score,
            ));
            readings.push(quantity(patient, at(31), LoincCode::BodyTemperature, 37.0 - gone / 40.0, Unit::Celsius));
        }
        if hour % 6 == 2 {
            readings.push(quantity(patient, at(40), LoincCode::OxygenSaturation, 97.0 - gone / 8.0, Unit::Percent));
            readings.push(quantity(patient, at(41), LoincCode::InhaledOxygenConcentration, 40.0, Unit::Percent));
            readings.push(quantity(patient, at(42), LoincCode::RespiratoryRate, 16.0 + gone / 4.0, Unit::PerMinute));
        }
    }
    readings
}

fn assess(detector: &mut VitalSigns, reading: &Reading) -> Assessment<PhysiologyFinding> {
    let received_at_ms = reading.measured_at_ms + 1_000;
    detector.assess(&Measured { reading, received_at_ms }).unwrap()
}

fn finding(detector: &mut VitalSigns, reading: &Reading) -> PhysiologyFinding {
    match assess(detector, reading) {
        Assessment::Assessed(finding) => finding,
        Assessment::NotAssessed(reason) => panic!("not assessed: {reason:?}"),
    }
}

fn risk_of(finding: &PhysiologyFinding) -> f64 {
    let confidence = finding.confidence.unwrap();
    if finding.class == PhysiologyClass::Unwell { confidence } else { 1.0 - confidence }
}

/// Risks after every hour, computed as for a table: hours first, then the network.
fn risks_of_table(readings: &[Reading], demographics: &Demographics, hours: usize) -> Vec<f64> {
    let ensemble = Ensemble::of(&committed()).unwrap();
    let mut table = vec![Hour::default(); hours];
    for reading in readings {
        let hour = &mut table[usize::try_from((reading.measured_at_ms - START_MS) / HOUR_MS).unwrap()];
        let mut take = |code: LoincCode, value: f64| {
            let (channel, value) = match code {
                LoincCode::HeartRate => (Channel::HeartRate, value),
                LoincCode::GlasgowComaScore => (Channel::Coma, value),
                LoincCode::BodyTemperature => (Channel::Temperature, value),
                LoincCode::OxygenSaturation => (Channel::Saturation, value),
                LoincCode::InhaledOxygenConcentration => (Channel::InhaledOxygen, value / 100.0),
                LoincCode::RespiratoryRate => (Channel::RespiratoryRate, value),
                LoincCode::SystolicBloodPressure => (Channel::CuffSystolic, value),
                LoincCode::DiastolicBloodPressure => (Channel::CuffDiastolic, value),
                other => panic!("{other} is not in the course"),
            };
            assert!(hour.measure(channel, value as f32));
        };
        match &reading.value {
            Value::Quantity(quantity) => take(reading.code, quantity.value),
            Value::Components(parts) => parts.iter().for_each(|part| take(part.code, part.quantity.value)),
            other => panic!("{other:?} is not in the course"),
        }
    }
    let (mut history, mut state, mut scratch) = (History::default(), State::default(), ensemble.scratch());
    let mut features = [0.0; FEATURES];
    let step = |(number, hour): (usize, &Hour)| {
        history.pass(hour);
        history.write(demographics, &mut features);
        ensemble.risk(ensemble.step(&features, &mut state, &mut scratch), number)
    };
    table.iter().enumerate().map(step).collect()
}

fn known() -> Demographics {
    Demographics { age_years: Some(78.0), male: Some(true), height_cm: Some(172.0), weight_kg: Some(80.0) }
}

#[test]
fn the_committed_weights_give_the_recorded_risks() {
    let golden = [0.094_179, 0.047_575, 0.835_419, 0.091_917, 0.032_302, 0.028_294];
    let worse = risks_of_table(&course(1, 48, 1.0), &known(), HOURS);
    let steady = risks_of_table(&course(1, 48, 0.0), &Demographics::default(), HOURS);
    let found = [worse[0], worse[11], worse[47], steady[0], steady[11], steady[47]];
    let close = found.iter().zip(golden).all(|(found, golden): (&f64, f64)| (found - golden).abs() < 1e-4);
    assert!(close, "{found:?} instead of {golden:?}");
    assert!(worse[47] > 2.0 * steady[47], "who gets worse is at higher risk");
}

#[test]
fn a_stream_gives_what_the_table_gives() {
    let readings = course(1, 48, 0.8);
    let mut detector = detector(Setting::Elsewhere);
    detector.describe(Principal([1; 32]), known());
    let mut last_of_hour = [0.0; HOURS];
    for reading in &readings {
        let hour = usize::try_from((reading.measured_at_ms - START_MS) / HOUR_MS).unwrap();
        last_of_hour[hour] = risk_of(&finding(&mut detector, reading));
    }
    for (hour, (live, table)) in last_of_hour.iter().zip(risks_of_table(&readings, &known(), HOURS)).enumerate() {
        assert!((live - table).abs() < 1e-9, "hour {}: {live} and {table}", hour + 1);
    }
}

#[test]
fn a_patient_among_others_gets_the_bits_of_the_patient_alone() {
    const PATIENTS: usize = 70;
    let ensemble = Ensemble::of(&committed()).unwrap();
    let mut scratch = ensemble.scratch();
    // Every third feature of a patient is missing, never the same ones.
    let feature = |patient: usize, hour: usize, at: usize| match (patient + at) % 3 {
        0 => f32::NAN,
        _ => ((patient * 31 + hour * 17 + at * 7) % 100) as f32,
    };
    let (mut alone, mut together) = (vec![State::default(); PATIENTS], vec![State::default(); PATIENTS]);
    for hour in 0..4 {
        let features: Vec<f32> =
            (0..PATIENTS * FEATURES).map(|place| feature(place / FEATURES, hour, place % FEATURES)).collect();
        let mut logits = vec![0.0; PATIENTS];
        ensemble.step_all(&features, &mut together, &mut scratch, &mut logits);
        for (patient, (logit, state)) in logits.iter().zip(&mut alone).enumerate() {
            let own = ensemble.step(&features[patient * FEATURES..(patient + 1) * FEATURES], state, &mut scratch);
            assert_eq!(own.to_bits(), logit.to_bits(), "patient {patient} after hour {hour}");
        }
        assert_eq!(alone, together, "after hour {hour}");
    }
    ensemble.step_all(&[], &mut [], &mut scratch, &mut []);
}

#[test]
fn hours_without_a_reading_pass_as_hours_without_a_measurement() {
    let mut readings = course(1, 3, 0.5);
    readings.push(quantity(1, START_MS + 20 * HOUR_MS, LoincCode::HeartRate, 95.0, Unit::PerMinute));
    let mut detector = detector(Setting::Elsewhere);
    let live = readings.iter().map(|reading| risk_of(&finding(&mut detector, reading))).last().unwrap();
    let table = risks_of_table(&readings, &Demographics::default(), 21);
    assert!((live - table[20]).abs() < 1e-9, "{live} and {}", table[20]);
}

#[test]
fn patients_do_not_touch_one_another_in_whatever_order_they_come() {
    let (one, two) = (course(1, 12, 1.0), course(2, 12, 0.0));
    let alone = |readings: &[Reading]| {
        let mut detector = detector(Setting::Elsewhere);
        readings.iter().map(|reading| finding(&mut detector, reading)).collect::<Vec<_>>()
    };
    let mut detector = detector(Setting::Elsewhere);
    let mut mixed = (Vec::new(), Vec::new());
    for (a, b) in one.iter().zip(&two) {
        mixed.1.push(finding(&mut detector, b));
        mixed.0.push(finding(&mut detector, a));
    }
    assert_eq!(mixed, (alone(&one), alone(&two)));
    assert_eq!(detector.patients(), 2);
}

#[test]
fn a_poisoned_reading_is_refused_and_changes_nobody() {
    let (one, two) = (course(1, 6, 0.5), course(2, 6, 0.5));
    let (mut clean, mut attacked) = (detector(Setting::Elsewhere), detector(Setting::Elsewhere));
    for (a, b) in one.iter().zip(&two) {
        for value in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
            let poison = quantity(1, a.measured_at_ms, LoincCode::HeartRate, value, Unit::PerMinute);
            let refused = attacked.assess(&Measured { reading: &poison, received_at_ms: a.measured_at_ms });
            assert!(matches!(refused, Err(DetectorError::UnusableInput { .. })), "{value}");
        }
        for reading in [a, b] {
            assert_eq!(finding(&mut clean, reading), finding(&mut attacked, reading));
        }
    }
}

#[test]
fn a_late_reading_and_one_from_the_future_change_nothing() {
    let readings = course(1, 4, 0.5);
    let (mut clean, mut disturbed) = (detector(Setting::Elsewhere), detector(Setting::Elsewhere));
    for reading in &readings {
        assert_eq!(finding(&mut clean, reading), finding(&mut disturbed, reading));
        let late = Measured { reading, received_at_ms: reading.measured_at_ms + LATE_AFTER_MS + 1 };
        assert_eq!(disturbed.assess(&late).unwrap(), Assessment::NotAssessed(NotAssessed::Late));
        let future = Measured { reading, received_at_ms: reading.measured_at_ms - LATE_AFTER_MS - 1 };
        assert!(disturbed.assess(&future).is_err());
    }
    let closed = quantity(1, START_MS + 2 * HOUR_MS, LoincCode::HeartRate, 200.0, Unit::PerMinute);
    assert_eq!(assess(&mut disturbed, &closed), Assessment::NotAssessed(NotAssessed::Late), "this hour is over");
    let next = quantity(1, START_MS + 4 * HOUR_MS, LoincCode::HeartRate, 90.0, Unit::PerMinute);
    assert_eq!(finding(&mut clean, &next), finding(&mut disturbed, &next));
}

#[test]
fn what_is_not_known_is_named_and_what_is_no_input_is_not_judged() {
    let mut detector = detector(Setting::Elsewhere);
    let first = finding(&mut detector, &quantity(1, START_MS, LoincCode::HeartRate, 70.0, Unit::PerMinute));
    let missing: Vec<&str> = first.missing.iter().map(AsRef::as_ref).collect();
    let all = [
        "respiration rate",
        "oxygen saturation",
        "temperature",
        "Glasgow coma score",
        "inhaled oxygen concentration",
        "blood pressure",
        "age",
        "sex",
        "height",
        "weight",
    ];
    assert_eq!(missing, all);
    detector
        .describe(Principal([1; 32]), Demographics { age_years: Some(70.0), male: Some(false), ..Default::default() });
    let weighed = finding(&mut detector, &quantity(1, START_MS + 1, LoincCode::BodyWeight, 61.0, Unit::Kilogram));
    assert!(!weighed.missing.iter().any(|name| ["age", "sex", "weight"].contains(&name.as_ref())));
    assert!(weighed.missing.iter().any(|name| name == "height"));
    let steps = quantity(1, START_MS + 2, LoincCode::Steps, 61.0, Unit::Steps);
    assert_eq!(assess(&mut detector, &steps), Assessment::NotAssessed(NotAssessed::NotApplicable));
}

#[test]
fn readings_judged_together_get_what_each_would_get_alone() {
    let mut readings: Vec<Reading> = (1..=5).flat_map(|patient| course(patient, 6, 1.0)).collect();
    readings.sort_by_key(|reading| reading.measured_at_ms);
    let received = |(number, reading)| {
        // Late ones, and ones that come before they were measured, are among them.
        let shift = [0, 0, 0, 0, LATE_AFTER_MS + 1][number % 5];
        let before = if number % 7 == 6 { 2 * LATE_AFTER_MS } else { 0 };
        Measured { reading, received_at_ms: reading.measured_at_ms + shift - before }
    };
    let measured: Vec<Measured<'_>> = readings.iter().enumerate().map(received).collect();
    for patients_max in [1, 3, 100] {
        let new = || VitalSigns::new(&committed(), Setting::Elsewhere, patients_max).unwrap();
        let (mut alone, mut together) = (new(), new());
        for group in measured.chunks(17) {
            let one_by_one: Vec<_> = group.iter().map(|measured| alone.assess(measured)).collect();
            assert_eq!(together.assess_together(group).unwrap(), one_by_one, "{patients_max} patients at most");
        }
    }
}

#[test]
fn outside_intensive_care_the_risk_advises_and_raises_no_alarm() {
    let point = Ensemble::of(&committed()).unwrap().operating_point();
    let readings = course(1, 48, 1.2);
    let (mut ward, mut unit) = (detector(Setting::Elsewhere), detector(Setting::IntensiveCare));
    let mut elevated = 0;
    for reading in &readings {
        let (advice, alarm) = (finding(&mut ward, reading), finding(&mut unit, reading));
        assert_eq!(advice.class, PhysiologyClass::Unremarkable);
        assert!(advice.label.unwrap().contains("advisory"));
        assert_eq!(alarm.class == PhysiologyClass::Unwell, risk_of(&alarm) >= point);
        elevated += u32::from(alarm.class == PhysiologyClass::Unwell);
    }
    assert!(elevated > 0, "this patient comes to an elevated risk");
}

#[test]
fn after_two_days_a_new_stay_begins() {
    let mut detector = detector(Setting::Elsewhere);
    course(1, 48, 1.2).iter().for_each(|reading| {
        finding(&mut detector, reading);
    });
    let again = quantity(1, START_MS + 48 * HOUR_MS, LoincCode::HeartRate, 80.0, Unit::PerMinute);
    let mut fresh = self::detector(Setting::Elsewhere);
    assert_eq!(finding(&mut detector, &again), finding(&mut fresh, &again));
}

#[test]
fn the_state_of_a_patient_is_small_and_patients_are_bounded() {
    const { assert!(PATIENT_STATE_BYTES <= 4_096) };
    let mut detector = VitalSigns::new(&committed(), Setting::Elsewhere, 3).unwrap();
    for patient in 0..10 {
        finding(&mut detector, &quantity(patient, START_MS, LoincCode::HeartRate, 70.0, Unit::PerMinute));
    }
    assert_eq!(detector.patients(), 3);
}

#[test]
fn foreign_and_cut_off_weights_are_refused() {
    let mut other = committed();
    other.metadata.name = "ecg-beats".to_owned();
    let error = VitalSigns::new(&other, Setting::Elsewhere, 1).err().unwrap();
    assert_eq!(error.code(), "DETECTOR_OTHER_MODEL");
    let mut without = committed();
    without.metadata.settings["members"] = 11.into();
    let error = VitalSigns::new(&without, Setting::Elsewhere, 1).err().unwrap();
    assert!(error.to_string().contains("member10.dense.weight"), "{error}");
    let mut strange = committed();
    strange.metadata.settings = serde_json::json!({ "layers": 3 });
    assert_eq!(VitalSigns::new(&strange, Setting::Elsewhere, 1).err().unwrap().code(), "MODEL_FILE_FOREIGN");
    let bytes = committed().to_bytes();
    assert!(ModelFile::read(&bytes[..bytes.len() / 2]).is_err());
}

/// A training set of 10 stays, of whom those with a falling pressure died.
fn write_set(folder: &Path, name: &str) {
    let mut patients = "RecordID,Age,Gender,Height,Weight,ICUType,In-hospital_death\n".to_owned();
    let mut long = "RecordID,minute,parameter,value\n".to_owned();
    for record in 0..10 {
        let died = record % 3 == 0;
        writeln!(patients, "{record},{},{},-1,70,,{}", 50 + record, record % 2, u8::from(died)).unwrap();
        for hour in 0..48 {
            let fall = if died { hour } else { 0 };
            writeln!(long, "{record},{},NISysABP,{}", hour * 60, 130 - fall).unwrap();
            writeln!(long, "{record},{},HR,{}", hour * 60 + 5, 70 + record % 5 + fall).unwrap();
        }
    }
    std::fs::write(folder.join(format!("patients_{name}.csv")), patients).unwrap();
    std::fs::write(folder.join(format!("vitals_long_{name}.csv")), long).unwrap();
}

#[test]
fn the_same_seed_gives_the_same_file_with_and_without_a_stop() {
    let (data, checkpoints) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_set(data.path(), "small_train");
    let train = |seed, checkpoint: Option<&Path>| {
        let options = TrainOptions { seed, checkpoint: checkpoint.map(Path::to_owned), epochs: Some(1) };
        VitalSignsModel.train(data.path(), &options, &Silent).unwrap().to_bytes()
    };
    let once = train(1, None);
    assert!(once == train(1, Some(checkpoints.path())), "checkpoints change nothing");
    let mut left: Vec<_> = std::fs::read_dir(checkpoints.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    left.sort();
    left[4..].iter().for_each(|path| std::fs::remove_file(path).unwrap());
    assert!(once == train(1, Some(checkpoints.path())), "as if it had been stopped after four members");
    assert!(once != train(2, None), "another seed gives other weights");
}

#[test]
fn any_folder_of_the_same_columns_can_be_judged_and_its_rows_are_all_tested() {
    let data = tempfile::tempdir().unwrap();
    write_set(data.path(), "other_test");
    let options = EvaluateOptions { seed: 1, ..EvaluateOptions::default() };
    let model = committed();
    let evaluation = VitalSignsModel.evaluate(Some(&model), data.path(), &options, &Silent).unwrap();
    evaluation.check().unwrap();
    assert_eq!((evaluation.rows.len(), evaluation.models[0].row.len()), (10, 10));
    let leaks = ["SAPS-I", "SOFA", "Length_of_stay", "Survival", "RecordID"];
    assert!(evaluation.rows.feature_names.iter().all(|name| !leaks.contains(&name.as_str())));
    let options = EvaluateOptions { cross_validate: true, ..options };
    let error = VitalSignsModel.evaluate(Some(&model), data.path(), &options, &Silent).unwrap_err();
    assert!(error.to_string().contains("one part only"), "{error}");
}
