//! The MIT-BIH Arrhythmia Database: tables of annotated beats, and WFDB records (header, signal, annotations) of the same form.
//!
//! Lead MLII. Classes are those of AAMI EC57: N (N L R e j), S (A a J S), V (V E), F (F), Q (/ f Q). The patients' split is that of P. de
//! Chazal et al., IEEE Trans. Biomed. Eng. 51(7), 2004: [`DS1`] trains, all other records are tested, paced ones ([`PACED`]) are left out.
//! Guarantees: beats are in order of record and time, so that a record's own past can be followed; a beat never joins another record's.
//! Must not: read the class into anything but [`Beat::class`].

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use pulsegate_wfdb::{Lead, Symbol, WfdbError, read_annotations};

use super::table::{Column, Table};
use crate::catalogue::TrainError;
use crate::ecg::{BEAT_CLASSES, ECG_HZ, WINDOW, WINDOW_R};
use crate::model_file::DataSource;

/// Table of the training patients.
pub const TRAIN_FILE: &str = "beats_ds1_train.csv.gz";
/// Table of the test patients that are at hand.
pub const TEST_FILE: &str = "beats_ds2_test_dev.csv.gz";
/// Folder of the records, inside that of the data set.
pub const RECORDS_FOLDER: &str = "records";
/// Records of the training patients.
pub const DS1: [u32; 22] =
    [101, 106, 108, 109, 112, 114, 115, 116, 118, 119, 122, 124, 201, 203, 205, 207, 208, 209, 215, 220, 223, 230];
/// Records with a pacemaker, which EC57 leaves out.
pub const PACED: [u32; 4] = [102, 104, 107, 217];
/// Record of the test part whose patient is also in the training part (as record 201).
pub const SAME_PATIENT_AS_201: u32 = 202;
/// Units of the table's samples per mV.
const UNITS_PER_MV: f64 = 200.0;
/// Samples of a window on each side of the R peak, at the database's rate.
pub const BEFORE_R: usize = 2 * WINDOW_R;
/// Samples from the R peak on.
pub const FROM_R: usize = 2 * (WINDOW - WINDOW_R);

static SAMPLE_NAMES: LazyLock<Vec<String>> = LazyLock::new(|| (0..WINDOW).map(|at| format!("s{at:03}")).collect());

/// One annotated beat.
#[derive(Clone, Debug, PartialEq)]
pub struct Beat {
    /// The record.
    pub record: u32,
    /// Place of the R peak, samples at 360 Hz.
    pub place: u64,
    /// Index into [`BEAT_CLASSES`].
    pub class: usize,
    /// Interval from the beat before, seconds; none at the start.
    pub rr_prev_s: Option<f32>,
    /// Interval to the next beat, seconds; none at the end.
    pub rr_next_s: Option<f32>,
    /// The signal around the R peak at 180 Hz, mV.
    pub window: Box<[f32; WINDOW]>,
}

/// A record with its annotations.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Its number.
    pub record: u32,
    /// The lead, mV at 360 Hz.
    pub signal: Vec<f32>,
    /// Place and class of every annotated beat; none for a beat outside the five classes.
    pub beats: Vec<(u64, Option<usize>)>,
    /// First and last sample of every ventricular flutter.
    pub flutter: Vec<(u64, u64)>,
}

/// Reads a table of beats.
///
/// # Errors
/// [`TrainError`] that names file, row and column.
pub fn read_beats(path: &Path) -> Result<(Vec<Beat>, DataSource), TrainError> {
    let mut columns: Vec<Column> = ["record", "sample", "rr_prev", "rr_next"].map(Column::number).to_vec();
    columns.extend(SAMPLE_NAMES.iter().map(|name| Column::number(name)));
    columns.push(Column::text("aami").apart());
    let table = Table::read(path, &columns)?;
    let (record, place) = (table.number("record")?, table.number("sample")?);
    let (rr_prev, rr_next) = (table.number("rr_prev")?, table.number("rr_next")?);
    let aami = table.text("aami")?;
    let samples: Vec<&[f64]> = SAMPLE_NAMES.iter().map(|name| table.number(name)).collect::<Result<_, _>>()?;
    let mut beats = Vec::with_capacity(table.rows());
    for row in 0..table.rows() {
        let word = aami.get(row);
        let class = BEAT_CLASSES.iter().position(|class| *class == word);
        let class = class.ok_or_else(|| table.bad_cell(row, "aami", word, "it is none of N, S, V, F, Q"))?;
        if !(0.0..=4e9).contains(&place[row]) || !(0.0..=4e9).contains(&record[row]) {
            return Err(table.bad_cell(row, "sample", &place[row].to_string(), "it is no place in a record").into());
        }
        let window = Box::new(std::array::from_fn(|at| (samples[at][row] / UNITS_PER_MV) as f32));
        beats.push(Beat {
            record: record[row] as u32,
            place: place[row] as u64,
            class,
            rr_prev_s: interval_s(rr_prev[row]),
            rr_next_s: interval_s(rr_next[row]),
            window,
        });
    }
    beats.sort_by_key(|beat| (beat.record, beat.place));
    Ok((beats, table.source().clone()))
}

/// The header files of a folder (or of the folder `records` in it) in order, without the paced records.
///
/// # Errors
/// [`TrainError`] when the folder cannot be read or holds none.
pub fn headers(folder: &Path) -> Result<Vec<PathBuf>, TrainError> {
    let inner = folder.join(RECORDS_FOLDER);
    let folder = if inner.is_dir() { &inner } else { folder };
    let failed = |source| TrainError::File { path: folder.to_owned(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_header = path.extension().is_some_and(|extension| extension == "hea");
        if is_header && !PACED.contains(&record_number(&path)) {
            found.push(path);
        }
    }
    found.sort();
    if found.is_empty() { Err(TrainError::Empty { path: folder.to_owned() }) } else { Ok(found) }
}

/// Reads the lead MLII of a record.
///
/// # Errors
/// [`TrainError`] when a file is missing or damaged.
pub fn read_lead(header: &Path) -> Result<Lead, TrainError> {
    Lead::read(header, "MLII").map_err(|error| unusable(&error))
}

/// Reads a record: the header's lead MLII and the annotations (`.atr`) beside it.
///
/// # Errors
/// [`TrainError`] when a file is missing or damaged, or the record is not sampled at 360 Hz.
pub fn read_record(header: &Path) -> Result<Recording, TrainError> {
    let lead = read_lead(header)?;
    if (lead.frequency_hz as f64 - ECG_HZ).abs() > 0.5 {
        let reason = format!("{} is sampled at {} Hz; records at 360 Hz are read", header.display(), lead.frequency_hz);
        return Err(TrainError::Unsuitable { reason });
    }
    let annotations = read_annotations(&header.with_extension("atr")).map_err(|error| unusable(&error))?;
    let length = lead.samples.len() as u64;
    let placed = || {
        let place = |sample: i64| u64::try_from(sample).ok().filter(|place| *place < length);
        annotations.iter().filter_map(move |found| place(found.sample).map(|place| (place, found.symbol)))
    };
    let of = |symbol: Symbol| placed().filter(move |found| found.1 == symbol).map(|found| found.0);
    let flutter = of(Symbol::FLUTTER_START).zip(of(Symbol::FLUTTER_END)).collect();
    let beats = placed().filter(|found| found.1.is_beat()).map(|(place, symbol)| (place, class_of(symbol))).collect();
    Ok(Recording { record: record_number(header), signal: lead.millivolts(), beats, flutter })
}

impl Recording {
    /// The annotated beats of the five classes whose window lies within the record, as the tables have them.
    #[must_use]
    pub fn annotated_beats(&self) -> Vec<Beat> {
        let apart_s = |from: u64, to: u64| (to.saturating_sub(from) as f64 / ECG_HZ) as f32;
        let mut found = Vec::with_capacity(self.beats.len());
        for (at, (place, class)) in self.beats.iter().enumerate() {
            let (Some(class), Some(window)) = (*class, window(&self.signal, *place)) else { continue };
            let before = at.checked_sub(1).and_then(|before| self.beats.get(before));
            found.push(Beat {
                record: self.record,
                place: *place,
                class,
                rr_prev_s: before.map(|before| apart_s(before.0, *place)),
                rr_next_s: self.beats.get(at + 1).map(|next| apart_s(*place, next.0)),
                window: Box::new(window),
            });
        }
        found
    }
}

/// The window around an R peak: pairs of samples averaged. None at the signal's ends.
fn window(signal: &[f32], place: u64) -> Option<[f32; WINDOW]> {
    let from = usize::try_from(place).ok()?.checked_sub(BEFORE_R)?;
    let samples = signal.get(from..from + BEFORE_R + FROM_R)?;
    Some(std::array::from_fn(|at| f32::midpoint(samples[2 * at], samples[2 * at + 1])))
}

fn interval_s(samples: f64) -> Option<f32> {
    (samples >= 0.0).then_some((samples / ECG_HZ) as f32)
}

fn class_of(symbol: Symbol) -> Option<usize> {
    match symbol.character() {
        'N' | 'L' | 'R' | 'e' | 'j' => Some(0),
        'A' | 'a' | 'J' | 'S' => Some(1),
        'V' | 'E' => Some(2),
        'F' => Some(3),
        '/' | 'f' | 'Q' => Some(4),
        _ => None,
    }
}

/// The number in a file's name; 0 of a name that is none.
fn record_number(path: &Path) -> u32 {
    path.file_stem().and_then(|name| name.to_str()).and_then(|name| name.parse().ok()).unwrap_or(0)
}

fn unusable(error: &WfdbError) -> TrainError {
    TrainError::Data { code: error.code(), message: error.to_string() }
}
