//! Recorded intensive-care patients: the hourly table made from the PhysioNet/CinC Challenge 2012 (I. Silva et al., "Predicting In-Hospital
//! Mortality of ICU Patients", Computing in Cardiology 2012).
//!
//! A CSV file, gzipped if its name ends in `.gz`, with the columns `RecordID,hour,HR,RespRate,SaO2,Temp,SBP,DBP,MAP,GCS,FiO2,MechVent`; empty is
//! not measured. FiO2 is a fraction and becomes per cent. SaO2 of the table is charted saturation and is given as pulse oximetry. MechVent has no
//! code here and is left alone. The charts hold artefacts (heart rate 0 and 300, −17.8 °C, pressure 0): each is left out and counted.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use pulsegate_reading::{Component, LoincCode, Quantity, Unit, Value};
use serde::Deserialize;

use super::{Place, Skipped, Source, SourceError};
use crate::measurement::Measurement;

/// One hour, milliseconds.
const HOUR_MS: u64 = 3_600_000;
/// Longest stay that is read, hours; the challenge has 48.
const HOURS_MAX: u64 = 24 * 366;

type Rows = csv::DeserializeRecordsIntoIter<Box<dyn Read + Send>, Row>;

/// One recorded patient.
pub struct PhysionetSource {
    path: PathBuf,
    record: u64,
    start_ms: u64,
    rows: Rows,
    ready: std::collections::VecDeque<Measurement>,
    place: Place,
    skipped: Skipped,
}

#[derive(Clone, Debug, Deserialize)]
struct Row {
    #[serde(rename = "RecordID")]
    record: u64,
    hour: u64,
    #[serde(rename = "HR")]
    heart_rate: Option<f64>,
    #[serde(rename = "RespRate")]
    respiratory_rate: Option<f64>,
    #[serde(rename = "SaO2")]
    saturation: Option<f64>,
    #[serde(rename = "Temp")]
    temperature: Option<f64>,
    #[serde(rename = "SBP")]
    systolic: Option<f64>,
    #[serde(rename = "DBP")]
    diastolic: Option<f64>,
    #[serde(rename = "MAP")]
    mean: Option<f64>,
    #[serde(rename = "GCS")]
    glasgow: Option<f64>,
    #[serde(rename = "FiO2")]
    oxygen_fraction: Option<f64>,
}

impl PhysionetSource {
    /// Opens a record of the table, or its first one. The first hour is at `start_ms`, Unix milliseconds.
    ///
    /// # Errors
    /// [`SourceError`] when the file cannot be read or does not hold the record.
    pub fn open(path: &Path, record: Option<u64>, start_ms: u64) -> Result<Self, SourceError> {
        let first = rows(path)?.find(|row| match row {
            Ok(row) => record.is_none_or(|wanted| wanted == row.record),
            Err(_) => false,
        });
        let Some(Ok(Row { record, .. })) = first else {
            return Err(SourceError::new(path, "the table does not hold the record, or lacks a column"));
        };
        let (rows, place, skipped) = (rows(path)?, Place::START, Skipped::default());
        Ok(Self {
            path: path.to_owned(),
            record,
            start_ms,
            rows,
            ready: std::collections::VecDeque::new(),
            place,
            skipped,
        })
    }

    /// The numbers of all records of a table, in its order.
    ///
    /// # Errors
    /// [`SourceError`] when the file cannot be read.
    pub fn records(path: &Path) -> Result<Vec<u64>, SourceError> {
        let mut records: Vec<u64> = rows(path)?.flatten().map(|row| row.record).collect();
        records.dedup();
        Ok(records)
    }

    /// Reads every record of a table: how many measurements there are, and what is left out.
    ///
    /// # Errors
    /// [`SourceError`] when the file cannot be read.
    pub fn survey(path: &Path) -> Result<(u64, Skipped), SourceError> {
        let (mut kept, mut skipped) = (0, Skipped::default());
        for row in rows(path)? {
            match row {
                Ok(row) => kept += row.measurements(0, &mut skipped).len() as u64,
                Err(error) if error.is_io_error() => return Err(SourceError::new(path, error)),
                Err(_) => skipped.add("MALFORMED_ROW"),
            }
        }
        Ok((kept, skipped))
    }

    /// The record's number.
    #[must_use]
    pub const fn record(&self) -> u64 {
        self.record
    }

    fn next(&mut self) -> Result<Option<Measurement>, SourceError> {
        loop {
            if let Some(measurement) = self.ready.pop_front() {
                return Ok(Some(measurement));
            }
            match self.rows.next() {
                None => return Ok(None),
                Some(Ok(row)) if row.record != self.record => {}
                Some(Ok(row)) => self.ready = row.measurements(self.start_ms, &mut self.skipped).into(),
                Some(Err(error)) if error.is_io_error() => return Err(SourceError::new(&self.path, error)),
                Some(Err(_)) => self.skipped.add("MALFORMED_ROW"),
            }
        }
    }
}

fn rows(path: &Path) -> Result<Rows, SourceError> {
    let file = File::open(path).map_err(|error| SourceError::new(path, error))?;
    let zipped = path.extension().is_some_and(|extension| extension == "gz");
    let reader: Box<dyn Read + Send> = if zipped { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    Ok(csv::Reader::from_reader(reader).into_deserialize())
}

impl Row {
    fn measurements(&self, start_ms: u64, skipped: &mut Skipped) -> Vec<Measurement> {
        if self.hour > HOURS_MAX {
            skipped.add("MALFORMED_TIME");
            return Vec::new();
        }
        let at_ms = start_ms.saturating_add(self.hour * HOUR_MS);
        let single = [
            (LoincCode::HeartRate, self.heart_rate, Unit::PerMinute),
            (LoincCode::RespiratoryRate, self.respiratory_rate, Unit::PerMinute),
            (LoincCode::OxygenSaturation, self.saturation, Unit::Percent),
            (LoincCode::BodyTemperature, self.temperature, Unit::Celsius),
            (LoincCode::GlasgowComaScore, self.glasgow, Unit::Score),
            (
                LoincCode::InhaledOxygenConcentration,
                self.oxygen_fraction.map(|fraction| fraction * 100.0),
                Unit::Percent,
            ),
        ];
        let mut found: Vec<Measurement> = single
            .into_iter()
            .filter_map(|(code, value, unit)| value.map(|value| Measurement::quantity(at_ms, code, value, unit)))
            .filter_map(|measurement| skipped.keep(measurement))
            .collect();
        found.extend(self.pressure(at_ms, skipped));
        found
    }

    /// The blood pressure as a panel, or what is left of it when a part is missing or implausible.
    fn pressure(&self, at_ms: u64, skipped: &mut Skipped) -> Vec<Measurement> {
        let parts = [
            (LoincCode::SystolicBloodPressure, self.systolic),
            (LoincCode::DiastolicBloodPressure, self.diastolic),
            (LoincCode::MeanBloodPressure, self.mean),
        ];
        let plausible: Vec<Measurement> = parts
            .into_iter()
            .filter_map(|(code, value)| Some(Measurement::quantity(at_ms, code, value?, Unit::MillimetreOfMercury)))
            .filter_map(|measurement| skipped.keep(measurement))
            .collect();
        let component = |measurement: &Measurement| match measurement.value {
            Value::Quantity(quantity @ Quantity { .. }) => Some(Component { code: measurement.code, quantity }),
            _ => None,
        };
        let components: Vec<Component> = plausible.iter().filter_map(component).collect();
        let has = |code: LoincCode| components.iter().any(|part| part.code == code);
        if has(LoincCode::SystolicBloodPressure) && has(LoincCode::DiastolicBloodPressure) {
            let code = LoincCode::BloodPressure;
            let panel = Measurement { measured_at_ms: at_ms, code, value: Value::Components(components) };
            return skipped.keep(panel).into_iter().collect();
        }
        plausible
    }
}

impl Source for PhysionetSource {
    fn id(&self) -> String {
        let path = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
        format!("physionet2012:{}:{}:{}", path.display(), self.record, self.start_ms)
    }

    fn seek(&mut self, position: u64) -> Result<(), SourceError> {
        let (start_over, leave_out) = self.place.to(position);
        if start_over {
            self.rows = rows(&self.path)?;
            self.ready.clear();
        }
        for _ in 0..leave_out {
            if self.next()?.is_none() {
                return Err(SourceError::new(
                    &self.path,
                    "the table has become shorter since it was read; give the same file",
                ));
            }
        }
        Ok(())
    }

    fn read(&mut self, limit: usize) -> Result<Vec<Measurement>, SourceError> {
        let mut found = Vec::new();
        while found.len() < limit
            && let Some(measurement) = self.next()?
        {
            found.push(measurement);
        }
        self.place.advance(found.len());
        Ok(found)
    }

    fn skipped(&self) -> &Skipped {
        &self.skipped
    }
}
