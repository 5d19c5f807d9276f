//! Measurements from a CSV file (RFC 4180) with a header line.
//!
//! Columns: `measured_at` (Unix milliseconds, or RFC 3339 in UTC), `code` (LOINC), `value`, `unit` (UCUM). A value is
//! - a number, such as `72` with `/min`;
//! - for blood pressure (85354-9) `120/80`, or `120/80/93` with the mean, with `mm[Hg]`;
//! - for the level of consciousness (80288-4) one of `A`, `C`, `V`, `P`, `U`, without a unit;
//! - for a waveform the samples, separated by spaces; then the columns `origin`, `factor`, `period_ns`, `lower` and `upper` are needed, too.
//!
//! Rows that cannot be signed are left out and counted by reason.

use std::fs::File;
use std::path::{Path, PathBuf};

use pulsegate_reading::{Acvpu, Component, LoincCode, Quantity, SampledData, Shape, Unit, Value};
use serde::Deserialize;

use super::{Place, Skipped, Source, SourceError, parse_time_ms};
use crate::measurement::Measurement;

/// Longest field, bytes: a waveform of the largest size fits.
const FIELD_BYTES_MAX: usize = 128 * 1024;

/// A CSV file of measurements.
pub struct CsvSource {
    path: PathBuf,
    rows: csv::DeserializeRecordsIntoIter<File, Row>,
    place: Place,
    skipped: Skipped,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    measured_at: String,
    code: String,
    value: String,
    #[serde(default)]
    unit: String,
    #[serde(default)]
    origin: Option<f64>,
    #[serde(default)]
    factor: Option<f64>,
    #[serde(default)]
    period_ns: Option<u64>,
    #[serde(default)]
    lower: Option<i32>,
    #[serde(default)]
    upper: Option<i32>,
}

impl CsvSource {
    /// Opens a file.
    ///
    /// # Errors
    /// [`SourceError`] when it cannot be read or lacks a column.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let rows = rows(path)?;
        Ok(Self { path: path.to_owned(), rows, place: Place::START, skipped: Skipped::default() })
    }

    fn next(&mut self) -> Result<Option<Measurement>, SourceError> {
        for row in self.rows.by_ref() {
            let kept = match row {
                Ok(row) => match row.measurement() {
                    Ok(measurement) => self.skipped.keep(measurement),
                    Err(reason) => {
                        self.skipped.add(reason);
                        None
                    }
                },
                Err(error) if error.is_io_error() => return Err(SourceError::new(&self.path, error)),
                Err(_) => {
                    self.skipped.add("MALFORMED_ROW");
                    None
                }
            };
            if kept.is_some() {
                return Ok(kept);
            }
        }
        Ok(None)
    }
}

fn rows(path: &Path) -> Result<csv::DeserializeRecordsIntoIter<File, Row>, SourceError> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_path(path)
        .map_err(|error| SourceError::new(path, format!("{error}; give a CSV file")))?;
    let headers = reader.headers().map_err(|error| SourceError::new(path, error))?;
    for column in ["measured_at", "code", "value", "unit"] {
        if !headers.iter().any(|header| header == column) {
            return Err(SourceError::new(path, format!("there is no column {column:?} in the header line")));
        }
    }
    Ok(reader.into_deserialize())
}

impl Row {
    fn measurement(&self) -> Result<Measurement, &'static str> {
        if self.value.len() > FIELD_BYTES_MAX {
            return Err("TOO_LARGE");
        }
        let measured_at_ms = parse_time_ms(&self.measured_at).ok_or("MALFORMED_TIME")?;
        let code = LoincCode::parse(&self.code).map_err(|_| "UNKNOWN_LOINC")?;
        let value = match code.shape() {
            Shape::Quantity => Value::Quantity(Quantity { value: number(&self.value)?, unit: self.unit()? }),
            Shape::Components { codes, .. } => {
                let unit = self.unit()?;
                let parts: Result<Vec<f64>, _> = self.value.split('/').map(number).collect();
                let parts = parts?;
                if parts.len() > codes.len() {
                    return Err("MALFORMED_VALUE");
                }
                let component =
                    |(code, value): (&LoincCode, f64)| Component { code: *code, quantity: Quantity { value, unit } };
                Value::Components(codes.iter().zip(parts).map(component).collect())
            }
            Shape::Sampled => Value::Sampled(self.sampled()?),
            Shape::Coded => Value::Coded(match self.value.as_str() {
                "A" => Acvpu::Alert,
                "C" => Acvpu::Confusion,
                "V" => Acvpu::Voice,
                "P" => Acvpu::Pain,
                "U" => Acvpu::Unresponsive,
                _ => return Err("MALFORMED_VALUE"),
            }),
        };
        Ok(Measurement { measured_at_ms, code, value })
    }

    fn unit(&self) -> Result<Unit, &'static str> {
        Unit::from_ucum(&self.unit).ok_or("UNIT_MISMATCH")
    }

    fn sampled(&self) -> Result<SampledData, &'static str> {
        let missing = "MISSING_WAVEFORM_COLUMN";
        let samples: Result<Vec<i32>, _> = self.value.split_ascii_whitespace().map(str::parse).collect();
        Ok(SampledData {
            origin: self.origin.ok_or(missing)?,
            factor: self.factor.ok_or(missing)?,
            period_ns: self.period_ns.ok_or(missing)?,
            lower: self.lower.ok_or(missing)?,
            upper: self.upper.ok_or(missing)?,
            unit: self.unit()?,
            samples: samples.map_err(|_| "MALFORMED_VALUE")?,
        })
    }
}

fn number(text: &str) -> Result<f64, &'static str> {
    text.trim().parse().map_err(|_| "MALFORMED_VALUE")
}

impl Source for CsvSource {
    fn id(&self) -> String {
        format!("csv:{}", std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone()).display())
    }

    fn seek(&mut self, position: u64) -> Result<(), SourceError> {
        let (start_over, leave_out) = self.place.to(position);
        if start_over {
            self.rows = rows(&self.path)?;
        }
        for _ in 0..leave_out {
            if self.next()?.is_none() {
                return Err(SourceError::new(
                    &self.path,
                    "the file has become shorter since it was read; give the same file",
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
