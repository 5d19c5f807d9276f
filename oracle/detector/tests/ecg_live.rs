//! The beat model on live readings: one patient after another, in blocks, with gaps, late and poisoned ones.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use pulsegate_detector::ecg::{
    BEAT_CLASSES, BeatFinder, BeatJudgement, BeatModel, BeatStream, DescribedBeat, ECG_HZ, EcgDetector,
    FINDER_STATE_BYTES, PATIENT_STATE_BYTES, STREAM_STATE_BYTES,
};
use pulsegate_detector::{
    Assessment, LATE_AFTER_MS, Measured, NotAssessed, PhysiologyDetector, PhysiologyFinding, models,
};
use pulsegate_reading::{LoincCode, Quantity, Reading, SampledData, Unit, Value};
use pulsegate_rules::{DeviceId, Principal};

const START_MS: u64 = 1_700_000_000_000;
const BLOCK_S: u64 = 10;

/// A beat of the made-up heart: when, and whether it is broad and upside down, as a ventricular one.
#[derive(Clone, Copy)]
struct Made {
    at_s: f64,
    broad: bool,
}

/// Beats every 0.8 s; from `run_s` on, three early broad ones.
fn heart(seconds: f64, run_s: Option<f64>) -> Vec<Made> {
    let mut beats = Vec::new();
    let (mut at_s, mut left) = (0.5, 3);
    while at_s < seconds {
        let broad = run_s.is_some_and(|run_s| at_s >= run_s) && left > 0;
        left -= u32::from(broad);
        beats.push(Made { at_s, broad });
        at_s += if broad && left > 0 {
            0.42
        } else if run_s.is_some_and(|run_s| at_s < run_s && at_s + 0.8 >= run_s) {
            0.5
        } else {
            0.8
        };
    }
    beats
}

/// The lead in mV: P wave, QRS complex and T wave of each beat.
fn lead(beats: &[Made], seconds: f64, hz: f64) -> Vec<f64> {
    let wave = |time_s: f64, middle_s: f64, width_s: f64, height: f64| {
        height * (-((time_s - middle_s) / width_s).powi(2)).exp()
    };
    let value = |time_s: f64| -> f64 {
        let near = beats.iter().filter(|beat| (beat.at_s - time_s).abs() < 0.6);
        near.map(|beat| {
            if beat.broad {
                wave(time_s, beat.at_s, 0.045, -1.6) + wave(time_s, beat.at_s + 0.22, 0.07, 0.5)
            } else {
                let p_and_t = wave(time_s, beat.at_s - 0.16, 0.025, 0.12) + wave(time_s, beat.at_s + 0.25, 0.05, 0.25);
                p_and_t + wave(time_s, beat.at_s, 0.012, 1.1) + wave(time_s, beat.at_s + 0.03, 0.012, -0.2)
            }
        })
        .sum()
    };
    (0..(seconds * hz) as usize).map(|at| value(at as f64 / hz)).collect()
}

fn reading(patient: u8, at_ms: u64, hz: u64, millivolts: &[f64]) -> Reading {
    let samples = millivolts.iter().map(|value| (value * 200.0).round() as i32 + 1_024).collect();
    let period_ns = (1_000_000_000 + hz / 2) / hz;
    let (origin, factor, unit) = (-5.12, 0.005, Unit::Millivolt);
    let value = Value::Sampled(SampledData { origin, factor, period_ns, lower: 0, upper: 2_047, unit, samples });
    Reading {
        device: DeviceId([patient; 32]),
        patient: Principal([patient; 32]),
        audience: [0; 32],
        sequence: 1,
        previous: [0; 32],
        measured_at_ms: at_ms,
        code: LoincCode::EcgLeadTwo,
        value,
    }
}

/// The lead as readings of ten seconds.
fn blocks(patient: u8, millivolts: &[f64], hz: u64) -> Vec<Reading> {
    let block =
        |(number, part): (usize, &[f64])| reading(patient, START_MS + number as u64 * BLOCK_S * 1_000, hz, part);
    millivolts.chunks((hz * BLOCK_S) as usize).enumerate().map(block).collect()
}

fn detector() -> EcgDetector {
    EcgDetector::new(&models::read("ecg-beats").unwrap().unwrap(), 100).unwrap()
}

fn assess(detector: &mut EcgDetector, reading: &Reading) -> Assessment<PhysiologyFinding> {
    detector.assess(&Measured { reading, received_at_ms: reading.measured_at_ms + 500 }).unwrap()
}

#[test]
fn blocks_judged_together_get_what_each_would_get_alone() {
    let mut readings = Vec::new();
    for patient in 1..=4_u8 {
        let seconds = 60.0;
        let run_s = patient.is_multiple_of(2).then_some(28.0);
        let mut of_patient = blocks(patient, &lead(&heart(seconds, run_s), seconds, 360.0), 360);
        // A block of the third patient is lost.
        if patient == 3 {
            of_patient.remove(3);
        }
        readings.extend(of_patient);
    }
    readings.sort_by_key(|reading| reading.measured_at_ms);
    let received = |(number, reading)| {
        let late_ms = if number % 9 == 8 { LATE_AFTER_MS } else { 0 };
        Measured { reading, received_at_ms: reading.measured_at_ms + 500 + late_ms }
    };
    let measured: Vec<Measured<'_>> = readings.iter().enumerate().map(received).collect();
    for patients_max in [1, 3, 100] {
        let new = || EcgDetector::new(&models::read("ecg-beats").unwrap().unwrap(), patients_max).unwrap();
        let (mut alone, mut together) = (new(), new());
        for group in measured.chunks(11) {
            let one_by_one: Vec<_> = group.iter().map(|measured| alone.assess(measured)).collect();
            assert_eq!(together.assess_together(group).unwrap(), one_by_one, "{patients_max} patients at most");
        }
    }
}

#[test]
fn a_steady_heart_is_unremarkable_and_a_ventricular_run_is_unwell_at_every_rate() {
    for hz in [250_u64, 360, 500] {
        let mut detector = detector();
        let steady = lead(&heart(120.0, None), 120.0, hz as f64);
        for (number, reading) in blocks(1, &steady, hz).iter().enumerate() {
            let assessment = assess(&mut detector, reading);
            let Some(finding) = assessment.finding() else {
                assert_eq!(number, 0, "{hz} Hz: only the start may be learning");
                continue;
            };
            let beats = finding.beats.unwrap();
            assert_eq!(format!("{:?}", finding.class), "Unremarkable", "{hz} Hz, {number}: {beats:?}");
            assert!(beats.normal >= 10 && beats.ventricular == 0, "{hz} Hz, {number}: {beats:?}");
            assert!(finding.confidence.unwrap() > 0.5);
        }
        let run = lead(&heart(120.0, Some(93.0)), 120.0, hz as f64);
        let found: Vec<_> = blocks(2, &run, hz).iter().map(|reading| assess(&mut detector, reading)).collect();
        let unwell: Vec<usize> = (0..found.len())
            .filter(|at| {
                found[*at].finding().is_some_and(|finding| finding.label.as_deref() == Some("ventricular run"))
            })
            .collect();
        assert_eq!(unwell, [9], "{hz} Hz");
        assert_eq!(found[9].finding().unwrap().beats.unwrap().ventricular, 3, "{hz} Hz");
    }
}

#[test]
fn mixing_patients_changes_nothing_and_blocks_join_without_a_seam() {
    let one = lead(&heart(60.0, Some(41.0)), 60.0, 360.0);
    let other = lead(&heart(60.0, None), 60.0, 360.0);
    let (of_one, of_other) = (blocks(1, &one, 360), blocks(2, &other, 360));
    let mut apart = detector();
    let alone: Vec<_> = of_one.iter().map(|reading| assess(&mut apart, reading)).collect();
    let mut together = detector();
    for ((one, other), expected) in of_one.iter().zip(&of_other).zip(alone) {
        assess(&mut together, other);
        assert_eq!(assess(&mut together, one), expected);
    }
    let count = |readings: &[Reading]| {
        let mut detector = detector();
        let beats = readings.iter().filter_map(|reading| assess(&mut detector, reading).finding()?.beats);
        beats
            .map(|beats| beats.normal + beats.ventricular + beats.supraventricular + beats.fusion + beats.unknown)
            .sum::<u32>()
    };
    let longer: Vec<Reading> =
        one.chunks(7_200).enumerate().map(|(at, part)| reading(1, START_MS + at as u64 * 20_000, 360, part)).collect();
    assert_eq!(count(&of_one), count(&longer), "blocks of 10 s and of 20 s hold the same beats");
}

#[test]
fn late_foreign_and_poisoned_readings_change_no_state() {
    let millivolts = lead(&heart(60.0, None), 60.0, 360.0);
    let readings = blocks(1, &millivolts, 360);
    let (mut clean, mut tried) = (detector(), detector());
    for known in &readings {
        let late = Measured { reading: known, received_at_ms: known.measured_at_ms + LATE_AFTER_MS + 1 };
        assert_eq!(tried.assess(&late).unwrap(), Assessment::NotAssessed(NotAssessed::Late));
        let mut foreign = known.clone();
        (foreign.code, foreign.value) =
            (LoincCode::HeartRate, Value::Quantity(Quantity { value: 70.0, unit: Unit::PerMinute }));
        assert_eq!(assess(&mut tried, &foreign), Assessment::NotAssessed(NotAssessed::NotApplicable));
        for poison in [f64::NAN, f64::INFINITY, 1e30] {
            let mut poisoned = known.clone();
            let Value::Sampled(block) = &mut poisoned.value else { panic!("it is a waveform") };
            block.factor = poison;
            let measured = Measured { reading: &poisoned, received_at_ms: known.measured_at_ms };
            assert_eq!(tried.assess(&measured).unwrap_err().code(), "DETECTOR_UNUSABLE_INPUT");
        }
        assert_eq!(assess(&mut tried, known), assess(&mut clean, known));
    }
}

#[test]
fn a_gap_starts_the_stream_anew_and_no_interval_or_run_crosses_it() {
    let millivolts = lead(&heart(60.0, None), 60.0, 360.0);
    let mut readings = blocks(1, &millivolts, 360);
    readings.remove(2);
    let mut detector = detector();
    for reading in &readings {
        if let Some(finding) = assess(&mut detector, reading).finding() {
            let beats = finding.beats.unwrap();
            assert_eq!((beats.supraventricular, beats.ventricular), (0, 0), "a pause that was a gap is no arrhythmia");
        }
    }
}

#[test]
fn one_sample_at_a_time_and_interrupted_at_the_end_all_beats_come_once() {
    let made = heart(30.0, None);
    let mut stream = BeatStream::new(ECG_HZ).unwrap();
    let mut found: Vec<DescribedBeat> = Vec::new();
    lead(&made, 30.0, ECG_HZ).iter().for_each(|sample| stream.push(*sample as f32, |beat| found.push(beat)));
    assert!(stream.interrupt(ECG_HZ, |beat| found.push(beat)));
    assert!(made.len() - found.len() <= 2, "{} of {}", found.len(), made.len());
    assert!(found.windows(2).all(|pair| pair[0].place < pair[1].place));
    assert!(stream.state_bytes() <= STREAM_STATE_BYTES, "{}", stream.state_bytes());
    assert!(BeatFinder::new().state_bytes() <= FINDER_STATE_BYTES && STREAM_STATE_BYTES < PATIENT_STATE_BYTES);
}

#[test]
fn a_beat_among_others_is_judged_as_it_is_alone() {
    let mut model = BeatModel::read(&models::read("ecg-beats").unwrap().unwrap()).unwrap();
    let mut stream = BeatStream::new(ECG_HZ).unwrap();
    let mut beats = Vec::new();
    let made = heart(40.0, Some(31.0));
    lead(&made, 40.0, ECG_HZ).iter().for_each(|sample| stream.push(*sample as f32, |beat| beats.push(beat.input)));
    let alone: Vec<BeatJudgement> = beats.iter().map(|beat| model.judge(beat)).collect();
    for together in [1, 3, 16, 17, beats.len()] {
        let mut judgements = vec![BeatJudgement::default(); beats.len()];
        for (beats, judgements) in beats.chunks(together).zip(judgements.chunks_mut(together)) {
            model.judge_all(beats, judgements);
        }
        assert_eq!(judgements, alone, "{together} at once: the bits are the same");
    }
}

#[test]
fn the_committed_weights_give_what_they_gave() {
    let mut model = BeatModel::read(&models::read("ecg-beats").unwrap().unwrap()).unwrap();
    let made = heart(40.0, Some(31.0));
    let mut stream = BeatStream::new(ECG_HZ).unwrap();
    let mut found = Vec::new();
    let mut judge = |beat: DescribedBeat| found.push(model.judge(&beat.input));
    lead(&made, 40.0, ECG_HZ).iter().for_each(|sample| stream.push(*sample as f32, &mut judge));
    let golden: serde_json::Value = serde_json::from_str(include_str!("data/ecg_beats_golden.json")).unwrap();
    let classes: String = found.iter().map(|judgement| BEAT_CLASSES[judgement.class]).collect();
    let probabilities: Vec<[f32; 5]> = [20, found.len() - 10].map(|at| found[at].probabilities).to_vec();
    assert_eq!(golden["classes"], classes.as_str(), "{probabilities:?}");
    for (at, probabilities) in probabilities.iter().enumerate() {
        for (class, probability) in probabilities.iter().enumerate() {
            let expected = golden["probabilities"][at][class].as_f64().unwrap();
            assert!((f64::from(*probability) - expected).abs() < 1e-4, "{probabilities:?}");
        }
    }
}
