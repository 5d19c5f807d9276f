//! The sources: recorded patients (where `PULSEGATE_DATA` names the folder with `physionet2012` and `mitdb`), the seeded one, CSV files.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking and prints its seed")]

use std::path::PathBuf;

use pulsegate_device_agent::Measurement;
use pulsegate_device_agent::sources::{
    CsvSource, Deterioration, Generator, GeneratorConfig, MitBihSource, PhysionetSource, Source,
};
use pulsegate_reading::{Acvpu, LoincCode, Value};

const START_MS: u64 = 1_790_000_000_000;

/// A file or folder of the recorded data, or `None` with a word about it.
fn recorded(path: &str) -> Option<PathBuf> {
    let found =
        std::env::var_os("PULSEGATE_DATA").map(|folder| PathBuf::from(folder).join(path)).filter(|path| path.exists());
    if found.is_none() {
        println!("skipped: PULSEGATE_DATA names no folder with {path}");
    }
    found
}

fn all(source: &mut dyn Source) -> Vec<Measurement> {
    let mut found = Vec::new();
    loop {
        let part = source.read(100).unwrap();
        if part.is_empty() {
            return found;
        }
        found.extend(part);
    }
}

/// Any place of a source gives the same as reading from the start.
fn places_are_stable(source: &mut dyn Source, whole: &[Measurement]) {
    for place in [whole.len() / 2, 0, whole.len() - 1, 1, whole.len()] {
        source.seek(place as u64).unwrap();
        let rest = source.read(7).unwrap();
        assert_eq!(rest, whole[place..(place + 7).min(whole.len())], "from place {place}");
    }
}

#[test]
fn a_csv_file_gives_every_kind_of_value_and_counts_what_it_cannot_give() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("readings.csv");
    let text = "measured_at,code,value,unit,origin,factor,period_ns,lower,upper\n\
        2026-11-21T10:00:00Z,8867-4,72,/min,,,,,\n\
        1790000000000,85354-9,120/80/93,mm[Hg],,,,,\n\
        1790000000000,85354-9,80/120,mm[Hg],,,,,\n\
        1790000000000,80288-4,V,,,,,,\n\
        1790000000000,11524-6,1 2 -3,mV,0,0.005,4000000,-2047,2047\n\
        1790000000000,11524-6,1 2 -3,mV,,,,,\n\
        1790000000000,8867-4,0,/min,,,,,\n\
        1790000000000,8867-4,NaN,/min,,,,,\n\
        1790000000000,8867-4,72,bpm,,,,,\n\
        1790000000000,8302-2,180,cm,,,,,\n\
        yesterday,8867-4,72,/min,,,,,\n\
        1790000000000,8867-4,fast,/min,,,,,\n\
        1790000000000,8867-4\n\
        1790000000000,80288-4,X,,,,,,\n\
        1790000000000,8310-5,36.9,Cel,,,,,\n";
    std::fs::write(&path, text).unwrap();
    let mut source = CsvSource::open(&path).unwrap();
    let whole = all(&mut source);
    let codes: Vec<&str> = whole.iter().map(|measurement| measurement.code.as_str()).collect();
    assert_eq!(codes, ["8867-4", "85354-9", "80288-4", "11524-6", "8310-5"]);
    assert_eq!(whole[2].value, Value::Coded(Acvpu::Voice));
    let reasons: Vec<(&str, u64)> =
        source.skipped().0.iter().map(|(reason, count)| (reason.as_str(), *count)).collect();
    let expected = [
        ("ABSURD_VALUE 85354-9", 1),
        ("ABSURD_VALUE 8867-4", 2),
        ("MALFORMED_ROW", 1),
        ("MALFORMED_TIME", 1),
        ("MALFORMED_VALUE", 2),
        ("MISSING_WAVEFORM_COLUMN", 1),
        ("UNIT_MISMATCH", 1),
        ("UNKNOWN_LOINC", 1),
    ];
    assert_eq!(reasons, expected);
    places_are_stable(&mut source, &whole);
    std::fs::write(&path, "time,code\n1,2\n").unwrap();
    assert!(CsvSource::open(&path).is_err());
    assert!(CsvSource::open(&dir.path().join("none.csv")).is_err());
}

#[test]
fn the_same_seed_gives_the_same_patient_and_another_seed_another() {
    let config = GeneratorConfig { rounds: Some(40), ..GeneratorConfig::new(42, START_MS) };
    let whole = all(&mut Generator::new(config));
    assert_eq!(whole, all(&mut Generator::new(config)));
    assert_ne!(whole, all(&mut Generator::new(GeneratorConfig { seed: 43, ..config })));
    assert_eq!(whole.len(), 40 * 3 + 8 * 4 + 8);
    assert!(whole.iter().all(|measurement| measurement.check().is_ok()));
    assert!(whole.is_sorted_by_key(|measurement| measurement.measured_at_ms));
    places_are_stable(&mut Generator::new(config), &whole);
}

#[test]
fn a_day_of_any_patient_is_plausible_also_at_the_worst() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    for seed in seed..seed.saturating_add(20) {
        let deterioration = Some(Deterioration { after_ms: 0, over_ms: 8 * 3_600_000 });
        let config = GeneratorConfig {
            rounds: Some(288),
            every_ms: 300_000,
            ecg_every_rounds: 48,
            deterioration,
            ..GeneratorConfig::new(seed, START_MS)
        };
        for measurement in all(&mut Generator::new(config)) {
            measurement.check().unwrap();
        }
    }
}

#[test]
fn a_deteriorating_patient_gets_worse_and_a_well_one_does_not() {
    let mean =
        |deterioration, code: LoincCode| {
            let config = GeneratorConfig {
                rounds: Some(240),
                ecg_every_rounds: 0,
                deterioration,
                ..GeneratorConfig::new(5, START_MS)
            };
            let whole = all(&mut Generator::new(config));
            let late = whole.iter().filter(|measurement| measurement.measured_at_ms > START_MS + 200 * 60_000);
            let values: Vec<f64> =
                late.filter(|measurement| measurement.code == code)
                    .filter_map(|measurement| {
                        if let Value::Quantity(quantity) = measurement.value { Some(quantity.value) } else { None }
                    })
                    .collect();
            values.iter().sum::<f64>() / values.len() as f64
        };
    let worse = Some(Deterioration { after_ms: 60 * 60_000, over_ms: 60 * 60_000 });
    assert!((50.0..90.0).contains(&mean(None, LoincCode::HeartRate)));
    assert!(mean(worse, LoincCode::HeartRate) > 100.0);
    assert!(mean(worse, LoincCode::RespiratoryRate) > 25.0);
    assert!(mean(worse, LoincCode::OxygenSaturation) < 92.0);
    assert!(mean(None, LoincCode::OxygenSaturation) > 95.0);
}

#[test]
fn recorded_patients_replay_and_their_artefacts_are_counted() {
    for file in ["vitals_hourly_set_a_train.csv.gz", "vitals_hourly_set_c_test_dev.csv.gz"] {
        let Some(path) = recorded("physionet2012").map(|folder| folder.join(file)) else { return };
        let (kept, skipped) = PhysionetSource::survey(&path).unwrap();
        println!("{file}: {kept} measurements, left out {:?}", skipped.0);
        assert!(kept > 300_000, "{kept}");
        assert!(skipped.0["ABSURD_VALUE 8867-4"] > 0 && skipped.0["ABSURD_VALUE 8310-5"] > 0);
        assert!(skipped.total() * 20 < kept, "more than a twentieth is left out");
        assert!(!skipped.0.contains_key("MALFORMED_ROW"));
    }
}

#[test]
fn a_recorded_patient_can_be_left_and_taken_up_again() {
    let Some(path) = recorded("physionet2012/vitals_hourly_set_a_train.csv.gz") else { return };
    let mut source = PhysionetSource::open(&path, Some(132_540), START_MS).unwrap();
    let whole = all(&mut source);
    assert!(whole.len() > 100 && whole.iter().all(|measurement| measurement.check().is_ok()));
    assert!(whole.iter().any(|measurement| measurement.code == LoincCode::BloodPressure));
    assert!(whole.last().unwrap().measured_at_ms <= START_MS + 48 * 3_600_000);
    places_are_stable(&mut source, &whole);
    assert!(PhysionetSource::open(&path, Some(1), START_MS).is_err());
    assert_eq!(PhysionetSource::open(&path, None, START_MS).unwrap().record(), 132_539);
}

#[test]
fn recorded_ecgs_replay_whole_and_match_their_checksums() {
    let Some(folder) = recorded("mitdb/records") else { return };
    let headers = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut leads = 0;
    for header in headers.filter(|path| path.extension().is_some_and(|extension| extension == "hea")) {
        let text = std::fs::read_to_string(&header).unwrap();
        if !text.contains("MLII") {
            assert!(MitBihSource::open(&header, START_MS).is_err());
            continue;
        }
        let mut source = MitBihSource::open(&header, START_MS).unwrap();
        assert_eq!(source.samples(), 650_000);
        leads += 1;
        if leads > 2 {
            continue;
        }
        let whole = all(&mut source);
        assert_eq!(whole.len(), 181);
        assert!(whole.iter().all(|measurement| measurement.check().is_ok()));
        assert_eq!(whole[1].measured_at_ms, START_MS + 10_000);
        places_are_stable(&mut source, &whole);
    }
    println!("{leads} leads replayed");
    assert!(leads > 30);
}
