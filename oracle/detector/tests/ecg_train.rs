//! Training of the beat model on a few made-up patients: repeatable, resumable, and clear about what it cannot use.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use pulsegate_detector::catalogue::{EvaluateOptions, TrainOptions, Trainable};
use pulsegate_detector::ecg::{BeatModel, EcgBeats};
use pulsegate_detector::model_file::ModelFile;
use pulsegate_detector::progress::{Progress, Silent};

/// A table of 8 beats of each of six patients, every fourth broad and early.
fn table(path: &Path) {
    let names: Vec<String> = (0..128).map(|at| format!("s{at:03}")).collect();
    let mut text = format!("record,sample,symbol,aami,rr_prev,rr_next,{}\n", names.join(","));
    for record in 101..107 {
        for beat in 0..8 {
            let broad = beat % 4 == 3;
            let (class, rr) = if broad { ("V", 190) } else { ("N", 290 + record - 101) };
            write!(text, "{record},{},{class},{class},{rr},290", 1_000 + beat * 290).unwrap();
            for at in 0..128 {
                let width: f64 = if broad { 9.0 } else { 2.5 };
                let height = if broad { -260.0 } else { 200.0 };
                let value = height * (-((f64::from(at) - 48.0) / width).powi(2)).exp() + f64::from((at * 7 + beat) % 5);
                write!(text, ",{}", value.round()).unwrap();
            }
            text.push('\n');
        }
    }
    std::fs::write(path, text).unwrap();
}

fn options(epochs: usize) -> TrainOptions {
    TrainOptions { seed: 3, checkpoint: None, epochs: Some(epochs) }
}

/// Ends the run, as a power cut would, after so many steps.
struct Cut(AtomicU64);

impl Progress for Cut {
    fn start(&self, _what: &str, _steps: u64) {}
    fn step(&self, _note: &str) {
        assert!(self.0.fetch_sub(1, Ordering::Relaxed) > 1, "cut");
    }
    fn finish(&self) {}
}

#[test]
fn the_same_seed_gives_the_same_weights_and_a_cut_run_goes_on_to_them() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("beats.csv");
    table(&data);
    let once = EcgBeats.train(&data, &options(1), &Silent).unwrap();
    let checkpoint = folder.path().join("checkpoint");
    std::fs::create_dir(&checkpoint).unwrap();
    let resumable = TrainOptions { checkpoint: Some(checkpoint), ..options(1) };
    let cut = std::panic::AssertUnwindSafe(|| EcgBeats.train(&data, &resumable, &Cut(AtomicU64::new(5))));
    assert!(std::panic::catch_unwind(cut).is_err());
    let again = EcgBeats.train(&data, &resumable, &Silent).unwrap();
    assert_eq!(once.to_bytes(), again.to_bytes());
    assert_eq!(once.metadata.data[0].rows, 48);
    // It judges the table that it was trained on, and says how.
    let evaluation = EcgBeats.evaluate(Some(&once), &data, &EvaluateOptions::default(), &Silent).unwrap();
    evaluation.check().unwrap();
    assert_eq!(evaluation.rows.len(), 48);
}

#[test]
fn foreign_and_damaged_weights_and_tables_are_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("beats.csv");
    std::fs::write(&data, "record,sample\n101,5\n").unwrap();
    let error = EcgBeats.train(&data, &options(1), &Silent).unwrap_err();
    assert!(error.to_string().contains("aami") || error.to_string().contains("s000"), "{error}");
    let error = EcgBeats.evaluate(None, &data, &EvaluateOptions::default(), &Silent).unwrap_err();
    assert_eq!(error.code(), "DETECTOR_NO_WEIGHTS");
    let protocol = EvaluateOptions { cross_validate: true, ..EvaluateOptions::default() };
    assert_eq!(EcgBeats.evaluate(None, &data, &protocol, &Silent).unwrap_err().code(), "DETECTOR_DATA_UNSUITABLE");

    let bytes = pulsegate_detector::models::bytes("ecg-beats").unwrap();
    for length in [0, 7, 100, bytes.len() / 2, bytes.len() - 1] {
        assert!(ModelFile::read(&bytes[..length]).is_err(), "{length}");
    }
    let mut foreign = ModelFile::read(bytes).unwrap();
    foreign.metadata.name = "vital-signs".to_owned();
    assert_eq!(BeatModel::read(&foreign).unwrap_err().code(), "DETECTOR_MODEL_UNUSABLE");
    let mut more = ModelFile::read(bytes).unwrap();
    more.metadata.settings["members"] = 4.into();
    assert!(BeatModel::read(&more).unwrap_err().to_string().contains("member-3"));
    more.metadata.settings["members"] = 4_000_000.into();
    assert_eq!(BeatModel::read(&more).unwrap_err().code(), "DETECTOR_MODEL_UNUSABLE");
}
