//! The gradient-boosting baseline: a Python script in a process of its own, on exactly the rows of the evaluation.
//!
//! The rows go out as `rows.csv.gz` (`part,truth,group,FEATURES…`, an empty cell is missing) and come back as `boosting.csv.gz`
//! (`row,p0…,decided`) and `boosting.json`. What came back is kept in a folder beside the report with the digest of rows, script and seed, so
//! that judging another deep model on the same rows does not train the baseline again. Guarantees: the exported rows are removed
//! afterwards, also when the script fails; what comes back is checked before it is measured. Must not: use a network, or a script from the
//! working folder.

use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use ndarray::Array2;

use super::ReportError;
use crate::InputsDigest;
use crate::measure::{Predictions, Rows};

/// Longest `boosting.csv.gz` once unpacked, bytes.
const PREDICTIONS_BYTES_MAX: u64 = 1 << 30;

/// The script, as it stands in the repository.
const SCRIPT: &str = include_str!("../../baselines/boosting.py");
/// What the script needs.
const REQUIREMENTS: &str = include_str!("../../baselines/requirements.txt");

/// The name of the baseline in tables.
pub(crate) const NAME: &str = "Gradient boosting";

/// How to run it.
#[derive(Clone, Debug)]
pub struct Boosting {
    /// A Python 3 that has what the script needs.
    pub interpreter: PathBuf,
    /// Where its results are kept between evaluations of the same rows; made if need be.
    pub folder: PathBuf,
}

/// Runs the script on the rows, or takes what it said of the same rows before; gives its predictions of the tested rows and what it says of
/// its settings.
///
/// # Errors
/// [`ReportError`] when Python or what the script needs is absent, or when it wrote what cannot be used.
pub(crate) fn run(
    boosting: &Boosting,
    rows: &Rows,
    tested: &[usize],
    seed: u64,
) -> Result<(Predictions, serde_json::Value), ReportError> {
    if crate::measure::splits(rows, tested).iter().any(|(training, _)| training.is_empty()) {
        return Err(ReportError::BoostingWithoutTraining);
    }
    let folder = &boosting.folder;
    std::fs::create_dir_all(folder).map_err(ReportError::file(folder))?;
    let [export, digest, predictions, settings] =
        ["rows.csv.gz", "inputs.sha256", "boosting.csv.gz", "boosting.json"].map(|name| folder.join(name));
    let outcome = write(&export, rows)
        .and_then(|()| inputs(&export, seed))
        .map_err(ReportError::file(&export))
        .and_then(|inputs| {
            let known = std::fs::read_to_string(&digest).is_ok_and(|known| known.trim() == inputs);
            if !known {
                let _ = std::fs::remove_file(&digest);
                start(boosting, seed)?;
            }
            let read = read(&predictions, rows, tested)?;
            let unusable = |reason: String| ReportError::BoostingUnusable { path: settings.clone(), reason };
            let text = std::fs::read_to_string(&settings).map_err(|error| unusable(error.to_string()))?;
            let told = serde_json::from_str(&text).map_err(|error| unusable(error.to_string()))?;
            // Only what could be read back counts as known the next time.
            std::fs::write(&digest, inputs + "\n").map_err(ReportError::file(&digest))?;
            Ok((read, told))
        });
    let _ = std::fs::remove_file(&export);
    outcome
}

/// SHA-256 over the exported rows, the script and the seed, hex.
fn inputs(export: &Path, seed: u64) -> std::io::Result<String> {
    let rows = std::fs::read(export)?;
    Ok(InputsDigest::of(&[&rows, SCRIPT.as_bytes(), &seed.to_be_bytes()]).to_string())
}

fn start(boosting: &Boosting, seed: u64) -> Result<(), ReportError> {
    let [script, requirements] = ["boosting.py", "requirements.txt"].map(|name| boosting.folder.join(name));
    std::fs::write(&script, SCRIPT).map_err(ReportError::file(&script))?;
    std::fs::write(&requirements, REQUIREMENTS).map_err(ReportError::file(&requirements))?;
    let mut command = Command::new(&boosting.interpreter);
    // What the script says goes to standard error with its own errors; standard output belongs to this program's result.
    command.arg(script).arg(&boosting.folder).arg("--seed").arg(seed.to_string());
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    let status = status
        .map_err(|source| ReportError::BoostingUnavailable { interpreter: boosting.interpreter.clone(), source })?;
    if status.success() { Ok(()) } else { Err(ReportError::BoostingFailed { status, requirements }) }
}

/// Writes the rows for the script.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, rows: &Rows) -> std::io::Result<()> {
    let packed = GzEncoder::new(BufWriter::new(std::fs::File::create(path)?), Compression::fast());
    let mut table = csv::Writer::from_writer(packed);
    table.write_record(["part", "truth", "group"].into_iter().chain(rows.feature_names.iter().map(String::as_str)))?;
    for (row, features) in rows.features.rows().into_iter().enumerate() {
        let known = [rows.part[row].to_string(), rows.truth[row].to_string(), rows.group[row].to_string()];
        let features = features.into_iter().map(|value| if value.is_nan() { String::new() } else { value.to_string() });
        table.write_record(known.into_iter().chain(features))?;
    }
    let packed = table.into_inner().map_err(|error| error.into_error())?;
    std::io::Write::flush(&mut packed.finish()?)
}

/// Reads the predictions of the tested rows back.
fn read(path: &Path, rows: &Rows, tested: &[usize]) -> Result<Predictions, ReportError> {
    let unusable = |reason: String| ReportError::BoostingUnusable { path: path.to_owned(), reason };
    let file = std::fs::File::open(path).map_err(|error| unusable(error.to_string()))?;
    let unpacked = std::io::Read::take(GzDecoder::new(std::io::BufReader::new(file)), PREDICTIONS_BYTES_MAX);
    let mut table = csv::Reader::from_reader(unpacked);
    let header = table.headers().map_err(|error| unusable(error.to_string()))?;
    // The script counts classes up to the last one that occurs.
    let given = header.len().saturating_sub(2);
    if header.get(0) != Some("row") || header.get(given + 1) != Some("decided") || given > rows.classes.len() {
        return Err(unusable(format!("columns {header:?}")));
    }
    let mut lines: Vec<Option<(Vec<f32>, usize)>> = vec![None; rows.len()];
    for record in table.records() {
        let record = record.map_err(|error| unusable(error.to_string()))?;
        let line = parse(&record, given).filter(|(row, _, decided)| *row < rows.len() && *decided < rows.classes.len());
        let Some((row, probabilities, decided)) = line else { return Err(unusable(format!("line {record:?}"))) };
        lines[row] = Some((probabilities, decided));
    }
    let mut probabilities = Array2::zeros((tested.len(), rows.classes.len()));
    let mut decided = Vec::with_capacity(tested.len());
    for (place, row) in tested.iter().enumerate() {
        let Some((line, class)) = &lines[*row] else { return Err(unusable(format!("row {row} is not predicted"))) };
        line.iter().enumerate().for_each(|(class, p)| probabilities[[place, class]] = *p);
        decided.push(*class);
    }
    Ok(Predictions { name: NAME.to_owned(), row: tested.to_vec(), probabilities, decided })
}

fn parse(record: &csv::StringRecord, classes: usize) -> Option<(usize, Vec<f32>, usize)> {
    let number = |place: usize| record.get(place)?.parse::<f32>().ok().filter(|p| (0.0..=1.0).contains(p));
    let mut probabilities = (1..=classes).map(number).collect::<Option<Vec<f32>>>()?;
    let sum: f32 = probabilities.iter().sum();
    if (sum - 1.0).abs() > 0.01 {
        return None;
    }
    probabilities.iter_mut().for_each(|p| *p /= sum);
    Some((record.get(0)?.parse().ok()?, probabilities, record.get(classes + 1)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Part;

    fn rows() -> Rows {
        Rows {
            feature_names: vec!["bytes, sent".to_owned(), "port".to_owned()],
            features: Array2::from_shape_vec((3, 2), vec![1.5, f32::NAN, 0.25, 7.0, -1.0, 2.0]).unwrap(),
            classes: ["normal", "scan", "flood"].map(str::to_owned).to_vec(),
            truth: vec![0, 1, 1],
            group: vec![10, 11, 12],
            part: vec![Part::Fold(0), Part::Fold(1), Part::Fold(1)],
        }
    }

    fn packed(folder: &Path, text: &str) -> PathBuf {
        let path = folder.join("boosting.csv.gz");
        let mut file = GzEncoder::new(std::fs::File::create(&path).unwrap(), Compression::fast());
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        file.finish().unwrap();
        path
    }

    #[test]
    fn rows_are_written_with_their_parts_and_missing_cells_empty() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv.gz");
        write(&path, &rows()).unwrap();
        let text = std::io::read_to_string(GzDecoder::new(std::fs::File::open(path).unwrap())).unwrap();
        assert_eq!(
            text,
            "part,truth,group,\"bytes, sent\",port\nfold-0,0,10,1.5,\nfold-1,1,11,0.25,7\nfold-1,1,12,-1,2\n"
        );
    }

    #[test]
    fn predictions_come_back_in_the_order_of_the_tested_rows() {
        let folder = tempfile::tempdir().unwrap();
        let path = packed(folder.path(), "row,p0,p1,decided\n2,0.1,0.9,1\n0,0.7,0.3,0\n1,0.5,0.5,0\n");
        let read = read(&path, &rows(), &[0, 2]).unwrap();
        assert_eq!((read.row, read.decided), (vec![0, 2], vec![0, 1]));
        assert_eq!(read.probabilities.row(1).to_vec(), [0.1, 0.9, 0.0]);
    }

    #[test]
    fn unusable_predictions_are_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        for (text, reason) in [
            ("a,b\n", "columns"),
            ("row,p0,p1,decided\n0,0.5,0.5,0\n", "row 2 is not predicted"),
            ("row,p0,p1,decided\n0,0.5,NaN,0\n", "line"),
            ("row,p0,p1,decided\n0,0.5,0.9,0\n", "line"),
            ("row,p0,p1,decided\n0,0.5,0.5,9\n", "line"),
        ] {
            let error = read(&packed(folder.path(), text), &rows(), &[0, 2]).unwrap_err();
            assert_eq!(error.code(), "DETECTOR_BOOSTING_UNUSABLE");
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    fn boosting(interpreter: &str, folder: &Path) -> Boosting {
        Boosting { interpreter: interpreter.into(), folder: folder.to_owned() }
    }

    #[test]
    fn an_absent_python_is_named_and_no_row_stays_behind() {
        let folder = tempfile::tempdir().unwrap();
        let error = run(&boosting("/nowhere/python3", folder.path()), &rows(), &[0, 1, 2], 1).unwrap_err();
        assert_eq!(error.code(), "DETECTOR_BOOSTING_UNAVAILABLE");
        assert!(error.to_string().contains("/nowhere/python3") && error.to_string().contains("--boosting"), "{error}");
        assert!(!folder.path().join("rows.csv.gz").exists());
    }

    #[test]
    fn rows_to_test_alone_train_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let rows = Rows { part: vec![Part::Test; 3], ..rows() };
        let error = run(&boosting("python3", folder.path()), &rows, &[0, 1, 2], 1).unwrap_err();
        assert_eq!(error.code(), "DETECTOR_BOOSTING_WITHOUT_TRAINING");
    }

    #[test]
    fn what_it_said_of_the_same_rows_and_seed_is_taken_again_and_of_others_not() {
        let folder = tempfile::tempdir().unwrap();
        packed(folder.path(), "row,p0,p1,decided\n0,0.7,0.3,0\n1,0.5,0.5,0\n2,0.1,0.9,1\n");
        std::fs::write(folder.path().join("boosting.json"), r#"{"library":"a library"}"#).unwrap();
        let export = folder.path().join("rows.csv.gz");
        write(&export, &rows()).unwrap();
        std::fs::write(folder.path().join("inputs.sha256"), inputs(&export, 1).unwrap()).unwrap();
        // This interpreter always fails, so that a result can only be the one that is kept.
        let failing = boosting("/bin/false", folder.path());
        let (read, told) = run(&failing, &rows(), &[0, 1, 2], 1).unwrap();
        assert_eq!((read.decided, told["library"].as_str()), (vec![0, 0, 1], Some("a library")));
        assert!(!export.exists());
        let mut changed = rows();
        changed.features[[0, 0]] += 1.0;
        assert_eq!(run(&failing, &changed, &[0, 1, 2], 1).unwrap_err().code(), "DETECTOR_BOOSTING_FAILED");
        assert_eq!(run(&failing, &rows(), &[0, 1, 2], 2).unwrap_err().code(), "DETECTOR_BOOSTING_FAILED");
    }
}
