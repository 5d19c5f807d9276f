//! PhysioNet/CinC Challenge 2012: vital signs of the first 48 hours in intensive care, and who died in hospital (Silva et al. 2012).
//!
//! A set is `patients_NAME.csv(.gz)` with `vitals_long_NAME.csv(.gz)` (every charted value with its minute) or, when that is not there,
//! `vitals_hourly_NAME.csv(.gz)` (last value per hour). Guarantees: values outside the plausible range of their channel, heights, weights
//! and ages that cannot be, and −1 count as not measured; the columns SAPS-I, SOFA, Length_of_stay and Survival, which tell the outcome,
//! are never declared and so never read. In hourly files the source already chose between arterial line and cuff without saying which;
//! those pressures are taken as cuff pressures. Must not: fill in a value.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::table::{Column, Table, TableError};
use crate::catalogue::TrainError;
use crate::model_file::DataSource;
use crate::vitals::{Channel, Demographics, HOURS, Hour};

/// The kind of unit; empty in the training set of the copy that is used, so no model can learn from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CareUnit {
    /// Coronary care.
    Coronary,
    /// Recovery after cardiac surgery.
    CardiacSurgery,
    /// Medical intensive care.
    Medical,
    /// Surgical intensive care.
    Surgical,
}

/// One stay in intensive care.
#[derive(Clone, Debug)]
pub struct Stay {
    /// The record's number: groups rows, never an input.
    pub record: u64,
    /// Who the patient is.
    pub demographics: Demographics,
    /// The kind of unit, for tables of subgroups.
    pub unit: Option<CareUnit>,
    /// Whether the patient died in hospital.
    pub died: bool,
    /// What was measured, hour by hour; [`HOURS`] of them.
    pub hours: Vec<Hour>,
}

/// The stays of one or more sets.
#[derive(Clone, Debug, Default)]
pub struct Cohort {
    /// The stays, in the order of the files.
    pub stays: Vec<Stay>,
    /// The files.
    pub sources: Vec<DataSource>,
    /// Values that were not plausible and not taken.
    pub implausible: u64,
}

/// Which sets of a folder are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Those with `train` in their name; all when there are none.
    Training,
    /// Those without; all when there are none.
    Testing,
}

/// Minutes in an hour.
const HOUR_MINUTES: f64 = 60.0;

impl Cohort {
    /// Reads the wanted sets of a folder, or the set of one `patients_NAME` file.
    ///
    /// # Errors
    /// [`TrainError`] for a folder without sets and for files that cannot be used.
    pub fn read(data: &Path, wanted: Wanted) -> Result<Self, TrainError> {
        let mut cohort = Self::default();
        for patients in patient_files(data, wanted)? {
            cohort.read_set(&patients)?;
        }
        Ok(cohort)
    }

    fn read_set(&mut self, patients: &Path) -> Result<(), TrainError> {
        let from = self.stays.len();
        self.read_patients(patients)?;
        let places: HashMap<u64, usize> =
            self.stays.iter().enumerate().skip(from).map(|(place, stay)| (stay.record, place)).collect();
        let long = sibling(patients, "vitals_long_");
        if long.exists() {
            return self.read_long(&long, &places);
        }
        let hourly = sibling(patients, "vitals_hourly_");
        if hourly.exists() {
            return self.read_hourly(&hourly, &places);
        }
        let reason =
            format!("{} has neither {} nor {} beside it", patients.display(), long.display(), hourly.display());
        Err(TrainError::Unsuitable { reason })
    }

    fn read_patients(&mut self, path: &Path) -> Result<(), TrainError> {
        const NUMBERS: [&str; 6] = ["RecordID", "Age", "Gender", "Height", "Weight", "In-hospital_death"];
        let mut columns = NUMBERS.map(Column::number).to_vec();
        columns.push(Column::text("ICUType"));
        let table = Table::read(path, &columns)?;
        let [record, age, gender, height, weight, died] = NUMBERS.map(|name| table.number(name));
        let (record, age, gender) = (record?, age?, gender?);
        let (height, weight, died) = (height?, weight?, died?);
        let units = table.text("ICUType")?;
        for row in 0..table.rows() {
            let male = [(0.0, false), (1.0, true)].into_iter().find(|(code, _)| *code == gender[row]);
            let demographics = Demographics {
                age_years: Some(single(age[row])),
                male: male.map(|(_, male)| male),
                height_cm: Some(single(height[row])),
                weight_kg: Some(single(weight[row])),
            };
            let died = match died[row] {
                0.0 => false,
                1.0 => true,
                other => {
                    return Err(table.bad_cell(row, "In-hospital_death", &other.to_string(), "is not 0 or 1").into());
                }
            };
            let unit = match units.get(row).trim_end_matches(".0") {
                "1" => Some(CareUnit::Coronary),
                "2" => Some(CareUnit::CardiacSurgery),
                "3" => Some(CareUnit::Medical),
                "4" => Some(CareUnit::Surgical),
                _ => None,
            };
            let record = number_of(&table, row, record[row])?;
            let hours = vec![Hour::default(); HOURS];
            self.stays.push(Stay { record, demographics: demographics.plausible(), unit, died, hours });
        }
        self.sources.push(table.source().clone());
        Ok(())
    }

    fn read_long(&mut self, path: &Path, places: &HashMap<u64, usize>) -> Result<(), TrainError> {
        let columns =
            [Column::number("RecordID"), Column::number("minute"), Column::text("parameter"), Column::number("value")];
        let table = Table::read(path, &columns)?;
        let (record, minute, value) = (table.number("RecordID")?, table.number("minute")?, table.number("value")?);
        let parameter = table.text("parameter")?;
        let mut order: Vec<usize> = (0..table.rows()).collect();
        // Stable, so that values of one minute stay in the order of the file.
        order.sort_by(|a, b| record[*a].total_cmp(&record[*b]).then(minute[*a].total_cmp(&minute[*b])));
        for row in order {
            let Some(place) = places.get(&number_of(&table, row, record[row])?) else { continue };
            let Some(hour) = hour_of(minute[row] / HOUR_MINUTES) else { continue };
            let name = parameter.get(row);
            let taken = take(&mut self.stays[*place].hours[hour], name, single(value[row]));
            self.implausible += u64::from(!taken);
        }
        self.sources.push(table.source().clone());
        Ok(())
    }

    fn read_hourly(&mut self, path: &Path, places: &HashMap<u64, usize>) -> Result<(), TrainError> {
        const NAMES: [(&str, &str); 10] = [
            ("HR", "HR"),
            ("RespRate", "RespRate"),
            ("SaO2", "SaO2"),
            ("Temp", "Temp"),
            ("SBP", "NISysABP"),
            ("DBP", "NIDiasABP"),
            ("MAP", "NIMAP"),
            ("GCS", "GCS"),
            ("FiO2", "FiO2"),
            ("MechVent", "MechVent"),
        ];
        let mut columns = vec![Column::number("RecordID"), Column::number("hour")];
        columns.extend(NAMES.iter().map(|(name, _)| Column::text(name)));
        let table = Table::read(path, &columns)?;
        let (record, hours) = (table.number("RecordID")?, table.number("hour")?);
        for (name, parameter) in NAMES {
            let cells = table.text(name)?;
            for row in 0..table.rows() {
                let cell = cells.get(row);
                let Some(place) = places.get(&number_of(&table, row, record[row])?) else { continue };
                let (Some(hour), false) = (hour_of(hours[row]), cell.is_empty()) else { continue };
                let value: f32 = cell.parse().map_err(|_| table.bad_cell(row, name, cell, "is not a number"))?;
                let taken = take(&mut self.stays[*place].hours[hour], parameter, value);
                self.implausible += u64::from(!taken);
            }
        }
        self.sources.push(table.source().clone());
        Ok(())
    }
}

/// The hour, from 0, of a time in hours; the end of the last hour belongs to it. None when outside.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 0 to 48 after the check")]
fn hour_of(time_hours: f64) -> Option<usize> {
    let last = 48.0;
    (time_hours >= 0.0 && time_hours <= last).then(|| (time_hours as usize).min(HOURS - 1))
}

/// Takes a charted value; false when it is not plausible. Parameters that are no vital sign are passed over.
fn take(hour: &mut Hour, parameter: &str, value: f32) -> bool {
    let channel = match parameter {
        "HR" => Channel::HeartRate,
        "RespRate" => Channel::RespiratoryRate,
        "SaO2" => Channel::Saturation,
        "Temp" => Channel::Temperature,
        "GCS" => Channel::Coma,
        "FiO2" => Channel::InhaledOxygen,
        "SysABP" => Channel::ArterialSystolic,
        "DiasABP" => Channel::ArterialDiastolic,
        "MAP" => Channel::ArterialMean,
        "NISysABP" => Channel::CuffSystolic,
        "NIDiasABP" => Channel::CuffDiastolic,
        "NIMAP" => Channel::CuffMean,
        "MechVent" => {
            if value == 1.0 {
                hour.ventilate();
            }
            return value == 1.0;
        }
        _ => return true,
    };
    hour.measure(channel, value)
}

#[expect(clippy::cast_possible_truncation, reason = "vital signs are charted in a few digits")]
const fn single(value: f64) -> f32 {
    value as f32
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be a whole number below 2^53")]
fn number_of(table: &Table, row: usize, record: f64) -> Result<u64, TableError> {
    let whole = (0.0..9_007_199_254_740_992.0).contains(&record) && record.fract() == 0.0;
    if whole {
        Ok(record as u64)
    } else {
        Err(table.bad_cell(row, "RecordID", &record.to_string(), "is not a whole number"))
    }
}

fn patient_files(data: &Path, wanted: Wanted) -> Result<Vec<PathBuf>, TrainError> {
    let file_error = |source| TrainError::File { path: data.to_owned(), source };
    if !std::fs::metadata(data).map_err(file_error)?.is_dir() {
        return Ok(vec![data.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(data).map_err(file_error)? {
        let path = entry.map_err(file_error)?.path();
        let name = name_of(&path);
        if name.starts_with("patients_") && (name.ends_with(".csv") || name.ends_with(".csv.gz")) {
            files.push(path);
        }
    }
    files.sort();
    let fits = |path: &PathBuf| name_of(path).contains("train") == (wanted == Wanted::Training);
    if files.iter().any(fits) {
        files.retain(fits);
    }
    if files.is_empty() {
        let reason = format!("{} holds no file patients_NAME.csv or patients_NAME.csv.gz", data.display());
        return Err(TrainError::Unsuitable { reason });
    }
    Ok(files)
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The file of the same set with another beginning; gzip or plain, whichever is there.
fn sibling(patients: &Path, beginning: &str) -> PathBuf {
    let name = name_of(patients);
    let set = name.strip_prefix("patients_").unwrap_or(&name);
    let stem = set.trim_end_matches(".gz").trim_end_matches(".csv");
    let path = patients.with_file_name(format!("{beginning}{stem}.csv.gz"));
    if path.exists() { path } else { patients.with_file_name(format!("{beginning}{stem}.csv")) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{CareUnit, Cohort, Wanted};
    use crate::vitals::Channel;

    const PATIENTS: &str = "RecordID,set,Age,Gender,Height,Weight,ICUType,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death\n\
        1,a,200,1,431.8,80,,6,1,5,-1,0\n2,c,64,-1,-1,-1,3,6,1,5,-1,1\n";

    fn write(folder: &Path, name: &str, text: &str) {
        std::fs::write(folder.join(name), text).unwrap();
    }

    #[test]
    fn a_stay_holds_what_was_measured_and_nothing_that_tells_the_outcome() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "patients_x_test.csv", PATIENTS);
        let long = "RecordID,minute,parameter,value\n1,65,HR,90\n1,61,HR,80\n1,2880,Temp,-17.8\n1,2880,Temp,37\n2,0,MechVent,1\n9,0,HR,70\n1,3,pH,7\n";
        write(folder.path(), "vitals_long_x_test.csv", long);
        let cohort = Cohort::read(folder.path(), Wanted::Testing).unwrap();
        let [one, two] = &cohort.stays[..] else { panic!("two stays") };
        assert_eq!((one.demographics.age_years, one.demographics.height_cm), (Some(90.0), None));
        assert_eq!((two.unit, two.died, two.demographics.male), (Some(CareUnit::Medical), true, None));
        let bin = one.hours[1].bin(Channel::HeartRate);
        assert_eq!((bin.last, bin.count), (90.0, 2.0), "in the order of the minutes");
        assert_eq!(one.hours[47].bin(Channel::Temperature).last, 37.0);
        assert!(two.hours[0].ventilated && cohort.implausible == 1);
    }

    #[test]
    fn hourly_files_do_where_there_are_no_minutes() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "patients_y.csv", PATIENTS);
        let hourly =
            "RecordID,hour,HR,RespRate,SaO2,Temp,SBP,DBP,MAP,GCS,FiO2,MechVent\n1,0,77,19,,35.6,157,58,91,15,,\n";
        write(folder.path(), "vitals_hourly_y.csv", hourly);
        let cohort = Cohort::read(&folder.path().join("patients_y.csv"), Wanted::Training).unwrap();
        assert_eq!(cohort.stays[0].hours[0].bin(Channel::CuffSystolic).last, 157.0);
        assert!(!cohort.stays[0].hours[0].bin(Channel::Saturation).is_measured());
    }

    #[test]
    fn a_folder_without_a_set_says_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let none = Cohort::read(folder.path(), Wanted::Testing).unwrap_err();
        assert!(none.to_string().contains("patients_NAME.csv"), "{none}");
        write(folder.path(), "patients_y.csv", PATIENTS);
        let alone = Cohort::read(folder.path(), Wanted::Testing).unwrap_err();
        assert!(alone.to_string().contains("vitals_long_y.csv"), "{alone}");
    }
}
