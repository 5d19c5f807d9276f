//! Recorded ECG: a record of the MIT-BIH Arrhythmia Database (G. B. Moody, R. G. Mark, IEEE Eng. Med. Biol. 20(3), 2001; PhysioNet), its lead MLII.
//!
//! Read by `pulsegate-wfdb`. Guarantees: first sample and checksum of the header match what was decoded, or the record is refused. Gives
//! blocks of ten seconds; the last one may be shorter.

use std::path::{Path, PathBuf};

use pulsegate_reading::{LoincCode, SampledData, Unit, Value};
use pulsegate_wfdb::Lead;

use super::{Skipped, Source, SourceError};
use crate::measurement::Measurement;

/// Length of a block, seconds.
const BLOCK_S: u64 = 10;
/// Name of the lead in the header.
const LEAD: &str = "MLII";

/// One recorded lead.
pub struct MitBihSource {
    path: PathBuf,
    start_ms: u64,
    lead: Lead,
    position: u64,
    skipped: Skipped,
}

impl MitBihSource {
    /// Opens the record of a header file. The first sample is at `start_ms`, Unix milliseconds.
    ///
    /// # Errors
    /// [`SourceError`] when a file cannot be read, is not format 212, has no lead MLII, or does not match its checksum.
    pub fn open(header_path: &Path, start_ms: u64) -> Result<Self, SourceError> {
        let lead = Lead::read(header_path, LEAD).map_err(|error| SourceError::new(error.path, error.problem))?;
        Ok(Self { path: header_path.to_owned(), start_ms, lead, position: 0, skipped: Skipped::default() })
    }

    /// How many samples the lead has.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.lead.samples.len()
    }

    /// The block at a place, if the record goes that far.
    fn block(&self, position: u64) -> Option<Measurement> {
        let Lead { frequency_hz, gain_per_mv, zero, bits, samples } = &self.lead;
        let length = usize::try_from(frequency_hz * BLOCK_S).ok()?;
        let block = samples.chunks(length).nth(usize::try_from(position).ok()?)?;
        let value = Value::Sampled(SampledData {
            origin: -f64::from(*zero) / gain_per_mv,
            factor: 1.0 / gain_per_mv,
            period_ns: (1_000_000_000 + frequency_hz / 2) / frequency_hz,
            lower: 0,
            upper: (1 << bits) - 1,
            unit: Unit::Millivolt,
            samples: block.to_vec(),
        });
        let measured_at_ms = self.start_ms.saturating_add(position * BLOCK_S * 1_000);
        Some(Measurement { measured_at_ms, code: LoincCode::EcgLeadTwo, value })
    }
}

impl Source for MitBihSource {
    fn id(&self) -> String {
        let path = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
        format!("mitbih:{}:{}", path.display(), self.start_ms)
    }

    fn seek(&mut self, position: u64) -> Result<(), SourceError> {
        self.position = position;
        Ok(())
    }

    fn read(&mut self, limit: usize) -> Result<Vec<Measurement>, SourceError> {
        let mut found = Vec::new();
        while found.len() < limit {
            let Some(block) = self.block(self.position) else { break };
            block.check().map_err(|error| SourceError::new(&self.path, error))?;
            self.position += 1;
            found.push(block);
        }
        Ok(found)
    }

    fn skipped(&self) -> &Skipped {
        &self.skipped
    }
}
