//! Damaged copies of the public sets: every fault is told with the file and the place. Needs PULSEGATE_DATA; says so when it is not set.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use pulsegate_detector::command::{Command, CommandError, TrainArgs, run};

/// Model, file of its set, a column of numbers.
const SETS: [(&str, &str, &str); 4] = [
    ("traffic-wustl-ehms-2020", "wustl_ehms_2020/wustl_ehms_2020_dev.csv.gz", "SrcLoad"),
    ("traffic-cicids2017", "cicids2017_improved/cicids2017_improved_dev.csv.gz", "Flow Duration"),
    ("traffic-unsw-nb15", "unsw_nb15_82k/unsw_nb15_82k_dev.csv.gz", "sbytes"),
    ("traffic-nsl-kdd", "nsl_kdd/KDDTrain+_20Percent.csv.gz", "src_bytes"),
];
/// Rows of the copies.
const ROWS: usize = 40;
/// The damaged row, counted from 1 after the header.
const DAMAGED: usize = 7;

fn copies() -> Vec<(&'static str, &'static str, Vec<Vec<String>>)> {
    let Some(data) = std::env::var_os("PULSEGATE_DATA").map(PathBuf::from) else {
        eprintln!("PULSEGATE_DATA is not set: damaged copies of the public sets were not tried");
        return Vec::new();
    };
    let copy = |(model, file, column): (&'static str, &'static str, &'static str)| {
        let lines = BufReader::new(GzDecoder::new(std::fs::File::open(data.join(file)).unwrap())).lines();
        let cells = |line: std::io::Result<String>| line.unwrap().split(',').map(str::to_owned).collect();
        (model, column, lines.take(ROWS + 1).map(cells).collect())
    };
    SETS.map(copy).into()
}

fn text(table: &[Vec<String>]) -> String {
    table.iter().map(|row| row.join(",") + "\n").collect()
}

fn refused(model: &str, data: &Path) -> CommandError {
    let out = data.with_extension("safetensors");
    let (model, data) = (model.to_owned(), data.to_owned());
    let train = TrainArgs { model, data, out: Some(out.clone()), seed: 1, resume: false, epochs: Some(1) };
    let error = run(&Command::Train(train), &mut Vec::new(), false).expect_err("damaged data must be refused");
    assert!(!out.exists(), "{error}");
    error
}

#[test]
fn a_cell_that_is_no_number_is_named_by_row_and_column() {
    let folder = tempfile::tempdir().unwrap();
    for (model, column, table) in copies() {
        let place = table[0].iter().position(|name| name == column).expect("the set has the column");
        for bad in ["NaN", "many"] {
            let mut table = table.clone();
            table[DAMAGED][place] = bad.to_owned();
            let file = folder.path().join("damaged.csv");
            std::fs::write(&file, text(&table)).unwrap();
            let error = refused(model, &file);
            let told = error.to_string();
            assert!(told.contains(column) && told.contains("damaged.csv"), "{model}, {bad}: {told}");
            assert!(
                told.contains(&DAMAGED.to_string()) || told.contains(&(DAMAGED + 1).to_string()),
                "{model}, {bad}: {told}"
            );
            assert!(error.code().starts_with("DETECTOR_"), "{model}, {bad}: {}", error.code());
        }
    }
}

#[test]
fn a_missing_column_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for (model, column, mut table) in copies() {
        let place = table[0].iter().position(|name| name == column).expect("the set has the column");
        table.iter_mut().for_each(|row| drop(row.remove(place)));
        let file = folder.path().join("narrow.csv");
        std::fs::write(&file, text(&table)).unwrap();
        let error = refused(model, &file);
        assert!(error.to_string().contains(column), "{model}: {error}");
        assert!(error.code().starts_with("DETECTOR_"), "{model}: {}", error.code());
    }
}

#[test]
fn a_header_without_rows_and_a_cut_off_file_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (model, _, table) in copies() {
        let file = folder.path().join("header.csv");
        std::fs::write(&file, text(&table[..1])).unwrap();
        let error = refused(model, &file);
        assert!(error.to_string().contains("header.csv"), "{model}: {error}");
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(text(&table).as_bytes()).unwrap();
        let packed = packed.finish().unwrap();
        let file = folder.path().join("cut.csv.gz");
        std::fs::write(&file, &packed[..packed.len() / 2]).unwrap();
        let error = refused(model, &file);
        assert!(error.to_string().contains("cut.csv"), "{model}: {error}");
    }
}
