//! The PhysioNet/CinC Challenge 2012 sets as they are, and the committed model on some of their stays (where `PULSEGATE_DATA` names a folder
//! with `physionet2012`; otherwise it says what was left out).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use pulsegate_detector::data::physionet2012::{Cohort, Wanted};
use pulsegate_detector::measure::roc_auc;
use pulsegate_detector::models;
use pulsegate_detector::vitals::{AGE_YEARS_MAX, Ensemble, FEATURES, HOURS, History, State};

/// Stays that the model is tried on; the whole set takes minutes without optimisation.
const STAYS_TRIED: usize = 400;

#[test]
fn the_test_set_is_read_whole_and_the_committed_model_ranks_its_first_stays_as_recorded() {
    let Some(data) = std::env::var_os("PULSEGATE_DATA").map(PathBuf::from) else {
        eprintln!("PULSEGATE_DATA is not set: the PhysioNet 2012 sets were not read");
        return;
    };
    let cohort = Cohort::read(&data.join("physionet2012"), Wanted::Testing).unwrap();
    let deaths = cohort.stays.iter().filter(|stay| stay.died).count();
    assert_eq!((cohort.stays.len(), deaths), (3_600, 527));
    assert!(cohort.sources.iter().all(|source| !source.file_name.contains("train")));
    assert!(cohort.implausible > 0 && cohort.implausible < 10_000, "{} faults of charting", cohort.implausible);
    let oldest = cohort.stays.iter().filter_map(|stay| stay.demographics.age_years).fold(0.0, f32::max);
    assert!(oldest <= AGE_YEARS_MAX && cohort.stays.iter().all(|stay| stay.unit.is_some()));

    let ensemble = Ensemble::of(&models::read("vital-signs").unwrap().unwrap()).unwrap();
    let (mut scratch, mut features) = (ensemble.scratch(), [0.0; FEATURES]);
    let (mut scores, mut died) = (Vec::new(), Vec::new());
    for stay in cohort.stays.iter().take(STAYS_TRIED) {
        let (mut history, mut state, mut score) = (History::default(), State::default(), 0.0);
        for hour in &stay.hours {
            history.pass(hour);
            history.write(&stay.demographics, &mut features);
            score = ensemble.step(&features, &mut state, &mut scratch);
        }
        assert_eq!(history.hours(), HOURS);
        scores.push(score);
        died.push(stay.died);
    }
    let area = roc_auc(&scores, &died);
    // As recorded; so few stays say little of how good the model is, which the card tells of all of them (0.840).
    assert!((area - 0.779).abs() < 2e-3, "AUROC {area} on the first {STAYS_TRIED} stays");
}
