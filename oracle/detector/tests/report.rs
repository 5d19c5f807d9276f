//! A report of invented predictions: every promised part is there, and nothing of single rows stays behind.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use ndarray::Array2;
use pulsegate_detector::measure::{Evaluation, Part, Predictions, Resampling, Rows};
use pulsegate_detector::progress::Silent;
use pulsegate_detector::report::{
    Axis, Boosting, FIGURES_FILE, FiguresFile, Plot, REPORT_FILE, ReportError, ReportOptions, Section, Series, write,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const CLASSES: [&str; 4] = ["benign", "flood", "scan", "slow scan"];

/// Rows in five folds whose first feature tells the class with some noise.
fn rows(count: usize) -> Rows {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let truth: Vec<usize> = (0..count).map(|row| if row % 2 == 0 { 0 } else { 1 + row / 2 % 3 }).collect();
    let features = Array2::from_shape_fn((count, 2), |(row, feature)| match feature {
        0 if row % 17 == 0 => f32::NAN,
        0 => truth[row] as f32 + rng.gen_range(-0.8..0.8),
        _ => rng.gen_range(0.0..1.0),
    });
    Rows {
        feature_names: vec!["packets".to_owned(), "noise".to_owned()],
        features,
        classes: CLASSES.map(str::to_owned).to_vec(),
        group: (0..count as u64).map(|row| row / 4).collect(),
        part: (0..count).map(|row| Part::Fold((row / 4 % 5) as u8)).collect(),
        truth,
    }
}

fn predictions(name: &str, rows: &Rows, sharpness: f32, seed: u64) -> Predictions {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut probabilities = Array2::from_shape_fn((rows.len(), CLASSES.len()), |(row, class)| {
        let right = if rows.truth[row] == class { sharpness } else { 0.0 };
        (right + rng.gen_range(0.0..2.0_f32)).exp()
    });
    for mut line in probabilities.rows_mut() {
        let sum = line.sum();
        line.mapv_inplace(|p| p / sum);
    }
    let best =
        |row: usize| (0..CLASSES.len()).max_by(|a, b| probabilities[[row, *a]].total_cmp(&probabilities[[row, *b]]));
    let decided = (0..rows.len()).map(|row| best(row).unwrap()).collect();
    Predictions { name: name.to_owned(), row: (0..rows.len()).collect(), probabilities, decided }
}

fn evaluation() -> Evaluation {
    let rows = rows(800);
    let plot = Plot {
        heading: "ROC-AUC by hours seen".to_owned(),
        caption: "Invented.".to_owned(),
        file_stem: "auc-by-hour".to_owned(),
        x: Axis::new("hours seen"),
        y: Axis { label: "ROC-AUC".to_owned(), range: Some((0.5, 1.0)) },
        series: vec![
            Series {
                name: "deep".to_owned(),
                points: (1..=48).map(|hour| (f64::from(hour), 0.7 + f64::from(hour) / 300.0)).collect(),
                band: Some(
                    (1..=48).map(|hour| (0.68 + f64::from(hour) / 300.0, 0.72 + f64::from(hour) / 300.0)).collect(),
                ),
                marks: false,
            },
            Series::line("NEWS2", (1..=48).map(|hour| (f64::from(hour), 0.62 + f64::from(hour) / 400.0)).collect()),
        ],
        diagonal: false,
    };
    Evaluation {
        title: "Invented traffic".to_owned(),
        protocol: "Five folds of invented rows.".to_owned(),
        models: vec![predictions("Deep", &rows, 2.5, 2), predictions("Without memory", &rows, 1.6, 3)],
        rows,
        benign_class: Some(0),
        sections: vec![
            Section::Text { heading: "Latency".to_owned(), body: "None was measured.".to_owned() },
            Section::Table {
                heading: "Alarms".to_owned(),
                caption: "Per day.".to_owned(),
                header: vec!["Device".to_owned(), "Alarms".to_owned()],
                rows: vec![vec!["a".to_owned(), "1".to_owned()]],
            },
            Section::Plot(plot),
            Section::Merged {
                heading: "Scans taken together".to_owned(),
                caption: "The features cannot tell them apart.".to_owned(),
                classes: ["benign", "flood", "scan"].map(str::to_owned).to_vec(),
                merged_of: vec![0, 1, 2, 2],
                benign_class: Some(0),
            },
        ],
        boosting: None,
    }
}

fn options(boosting: Option<Boosting>) -> ReportOptions {
    ReportOptions {
        model: "traffic-invented".to_owned(),
        model_id: None,
        command: "pulsegate detector evaluate --model traffic-invented --cross-validate".to_owned(),
        resampling: Resampling { resamples: 60, seed: 5 },
        boosting,
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn every_promised_part_is_in_the_report() {
    // PULSEGATE_REPORT keeps the report where a person wants to look at it.
    let kept = std::env::var_os("PULSEGATE_REPORT").map(std::path::PathBuf::from);
    let temporary = tempfile::tempdir().unwrap();
    let folder = kept.as_deref().unwrap_or(temporary.path());
    write(evaluation(), &options(None), folder, &Silent).unwrap();
    let report = std::fs::read_to_string(folder.join(REPORT_FILE)).unwrap();
    for part in [
        "# Invented traffic",
        "Five folds",
        "Majority class",
        "One threshold, benign or not",
        "One threshold per class",
        "**ahead** by",
        "### Per class",
        "![Confusion matrix, Deep](confusion.svg)",
        "(roc.svg)",
        "(pr.svg)",
        "(reliability.svg)",
        "(auc-by-hour.svg)",
        "## Scans taken together",
        "None was measured.",
        "| a | 1 |",
        "--cross-validate",
    ] {
        assert!(report.contains(part), "{part} is not in\n{report}");
    }
    let pictures: Vec<&str> = report.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    let files = names(folder);
    assert!(
        pictures.len() >= 9 && pictures.iter().all(|picture| files.iter().any(|file| file == picture)),
        "{files:?}"
    );
    assert!(!files.iter().any(|file| file.contains("rows") || file.contains("boosting")), "{files:?}");
}

#[test]
fn figures_can_be_read_back_and_agree_with_the_predictions() {
    let folder = tempfile::tempdir().unwrap();
    let expected = {
        let evaluation = evaluation();
        let deep = &evaluation.models[0];
        let right =
            deep.row.iter().zip(&deep.decided).filter(|(row, decided)| evaluation.rows.truth[**row] == **decided);
        right.count() as f64 / deep.row.len() as f64
    };
    write(evaluation(), &options(None), folder.path(), &Silent).unwrap();
    let text = std::fs::read_to_string(folder.path().join(FIGURES_FILE)).unwrap();
    let figures: FiguresFile = serde_json::from_str(&text).unwrap();
    assert_eq!(figures.views.len(), 2);
    let accuracy = figures.views[0].figure(0, "accuracy", None).unwrap();
    assert!((accuracy.value - expected).abs() < 1e-12 && accuracy.low <= expected && expected <= accuracy.high);
    assert!(figures.views[0].figure(0, "recall", Some("slow scan")).is_some());
    let merged = figures.views[1].figure(0, "accuracy", None).unwrap();
    assert!(merged.value >= expected);
}

#[test]
fn the_same_evaluation_and_seed_give_the_same_files() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(evaluation(), &options(None), one.path(), &Silent).unwrap();
    write(evaluation(), &options(None), two.path(), &Silent).unwrap();
    assert_eq!(names(one.path()), names(two.path()));
    for name in names(one.path()) {
        assert_eq!(
            std::fs::read(one.path().join(&name)).unwrap(),
            std::fs::read(two.path().join(&name)).unwrap(),
            "{name}"
        );
    }
}

#[test]
fn a_failing_boosting_script_leaves_a_clear_error_and_no_row() {
    let folder = tempfile::tempdir().unwrap();
    let (report, kept) = (folder.path().join("report"), folder.path().join("report.boosting"));
    let boosting = Boosting { interpreter: "/bin/false".into(), folder: kept.clone() };
    let error = write(evaluation(), &options(Some(boosting)), &report, &Silent).unwrap_err();
    assert!(matches!(error, ReportError::BoostingFailed { .. }), "{error}");
    assert!(error.to_string().contains("requirements.txt"), "{error}");
    assert_eq!(
        (names(&report), names(&kept)),
        (Vec::new(), vec!["boosting.py".to_owned(), "requirements.txt".to_owned()])
    );
}

#[test]
fn an_inconsistent_evaluation_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut evaluation = evaluation();
    evaluation.models[0].probabilities[[0, 0]] = f32::NAN;
    let error = write(evaluation, &options(None), &folder.path().join("report"), &Silent).unwrap_err();
    assert_eq!(error.code(), "DETECTOR_EVALUATION_INCONSISTENT");
    assert!(names(folder.path()).is_empty());
}
