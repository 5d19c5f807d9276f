//! Recorded ECG: a record of the MIT-BIH Arrhythmia Database (G. B. Moody, R. G. Mark, IEEE Eng. Med. Biol. 20(3), 2001; PhysioNet), its lead MLII.
//!
//! Reads the WFDB header (`.hea`) and the signal file beside it (`.dat`, or `.dat.zst` when packed by Zstandard) in format 212: two 12-bit
//! samples in three bytes. Guarantees: first sample and checksum of the header match what was decoded, or the record is refused. Gives
//! blocks of ten seconds; the last one may be shorter.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use pulsegate_reading::{LoincCode, SampledData, Unit, Value};

use super::{Skipped, Source, SourceError};
use crate::measurement::Measurement;

/// Longest signal file, bytes unpacked: the database's records have 1.95 million.
const SIGNAL_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Longest header, bytes.
const HEADER_BYTES_MAX: u64 = 64 * 1024;
/// Length of a block, seconds.
const BLOCK_S: u64 = 10;
/// Name of the lead in the header.
const LEAD: &str = "MLII";

/// One recorded lead.
pub struct MitBihSource {
    path: PathBuf,
    start_ms: u64,
    frequency_hz: u64,
    gain_per_mv: f64,
    zero: i32,
    upper: i32,
    samples: Vec<i32>,
    position: u64,
    skipped: Skipped,
}

struct Header {
    signals: usize,
    frequency_hz: u64,
    channel: usize,
    file: String,
    gain_per_mv: f64,
    bits: u32,
    zero: i32,
    first: i32,
    checksum: i16,
}

impl MitBihSource {
    /// Opens the record of a header file. The first sample is at `start_ms`, Unix milliseconds.
    ///
    /// # Errors
    /// [`SourceError`] when a file cannot be read, is not format 212, has no lead MLII, or does not match its checksum.
    pub fn open(header_path: &Path, start_ms: u64) -> Result<Self, SourceError> {
        let problem = |problem: &str| SourceError::new(header_path, problem);
        let mut text = String::new();
        let file = File::open(header_path).map_err(|error| SourceError::new(header_path, error))?;
        file.take(HEADER_BYTES_MAX).read_to_string(&mut text).map_err(|error| SourceError::new(header_path, error))?;
        let header = Header::parse(&text).map_err(problem)?;
        let bytes = signal_bytes(&header_path.with_file_name(&header.file))?;
        let samples: Vec<i32> = unpack_212(&bytes).skip(header.channel).step_by(header.signals).collect();
        let sum = samples.iter().fold(0_i16, |sum, sample| sum.wrapping_add(*sample as i16));
        if samples.first() != Some(&header.first) || sum != header.checksum {
            return Err(problem(
                "the signal does not match the header's first sample and checksum; fetch both files again",
            ));
        }
        Ok(Self {
            path: header_path.to_owned(),
            start_ms,
            frequency_hz: header.frequency_hz,
            gain_per_mv: header.gain_per_mv,
            zero: header.zero,
            upper: (1 << header.bits) - 1,
            samples,
            position: 0,
            skipped: Skipped::default(),
        })
    }

    /// How many samples the lead has.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.samples.len()
    }

    /// The block at a place, if the record goes that far.
    fn block(&self, position: u64) -> Option<Measurement> {
        let length = usize::try_from(self.frequency_hz * BLOCK_S).ok()?;
        let block = self.samples.chunks(length).nth(usize::try_from(position).ok()?)?;
        let value = Value::Sampled(SampledData {
            origin: -f64::from(self.zero) / self.gain_per_mv,
            factor: 1.0 / self.gain_per_mv,
            period_ns: (1_000_000_000 + self.frequency_hz / 2) / self.frequency_hz,
            lower: 0,
            upper: self.upper,
            unit: Unit::Millivolt,
            samples: block.to_vec(),
        });
        let measured_at_ms = self.start_ms.saturating_add(position * BLOCK_S * 1_000);
        Some(Measurement { measured_at_ms, code: LoincCode::EcgLeadTwo, value })
    }
}

impl Header {
    /// Reads the record line and the line of lead MLII (WFDB header, `header(5)`).
    fn parse(text: &str) -> Result<Self, &'static str> {
        let mut lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        let record: Vec<&str> = lines.next().ok_or("the header is empty")?.split_ascii_whitespace().collect();
        let wrong = "the header's first line is not a record name, a number of signals and a frequency";
        let [_, signals, frequency, ..] = record[..] else { return Err(wrong) };
        let signals: usize = signals.parse().map_err(|_| wrong)?;
        let frequency_hz: u64 = frequency.parse().map_err(|_| wrong)?;
        if !(1..=16).contains(&signals) || !(1..=500).contains(&frequency_hz) {
            return Err("the header names more signals or a higher frequency than is read here (16, 500 Hz)");
        }
        let mut of_lead =
            lines.take(signals).map(|line| line.split_ascii_whitespace().collect::<Vec<&str>>()).enumerate();
        let (channel, fields) =
            of_lead.find(|(_, fields)| fields.last() == Some(&LEAD)).ok_or("the record has no lead MLII")?;
        let [file, format, gain, bits, zero, first, checksum, ..] = fields[..] else {
            return Err("a signal line of the header has too few fields");
        };
        if format != "212" {
            return Err("the signal is not in format 212");
        }
        if file.contains(['/', '\\']) {
            return Err("the header names a signal file in another folder");
        }
        let field = "a signal line of the header has a field that is not a number";
        let gain_per_mv: f64 = gain.split(['(', '/']).next().unwrap_or(gain).parse().map_err(|_| field)?;
        let bits: u32 = bits.parse().map_err(|_| field)?;
        if !(gain_per_mv.is_finite() && gain_per_mv > 0.0 && (1..=12).contains(&bits)) {
            return Err("the header's gain or resolution is not one of format 212");
        }
        let (file, zero) = (file.to_owned(), zero.parse().map_err(|_| field)?);
        let (first, checksum) = (first.parse().map_err(|_| field)?, checksum.parse().map_err(|_| field)?);
        Ok(Self { signals, frequency_hz, channel, file, gain_per_mv, bits, zero, first, checksum })
    }
}

/// The bytes of a signal file, unpacked when only the packed one is there.
fn signal_bytes(path: &Path) -> Result<Vec<u8>, SourceError> {
    let packed = path.with_extension("dat.zst");
    let reader: Box<dyn Read> = if path.exists() {
        Box::new(File::open(path).map_err(|error| SourceError::new(path, error))?)
    } else {
        let file = File::open(&packed).map_err(|error| SourceError::new(&packed, error))?;
        let decoder = ruzstd::decoding::StreamingDecoder::new(std::io::BufReader::new(file));
        Box::new(decoder.map_err(|error| SourceError::new(&packed, error))?)
    };
    let mut bytes = Vec::new();
    let read = reader.take(SIGNAL_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| SourceError::new(path, error))?;
    if bytes.len() as u64 > SIGNAL_BYTES_MAX {
        return Err(SourceError::new(path, format!("the signal has more than {SIGNAL_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// The samples of format 212 (WFDB `signal(5)`): the low byte of the first, four high bits of each, the low byte of the second.
fn unpack_212(bytes: &[u8]) -> impl Iterator<Item = i32> {
    let signed = |sample: i32| if sample > 2_047 { sample - 4_096 } else { sample };
    bytes.chunks_exact(3).flat_map(move |triple| {
        let (low, high, second) = (i32::from(triple[0]), i32::from(triple[1]), i32::from(triple[2]));
        [signed(low | (high & 0x0F) << 8), signed(second | (high & 0xF0) << 4)]
    })
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

#[cfg(test)]
mod tests {
    use super::{Header, unpack_212};

    #[test]
    fn format_212_is_unpacked_with_sign() {
        // 0x123 and 0xABC (negative), then −1 and 2047.
        let samples: Vec<i32> = unpack_212(&[0x23, 0xA1, 0xBC, 0xFF, 0x7F, 0xFF, 0x00]).collect();
        assert_eq!(samples, [0x123, 0xABC - 4_096, -1, 2_047]);
    }

    #[test]
    fn a_header_without_the_lead_or_in_another_format_is_refused() {
        let header = |lead: &str, format: &str| {
            format!("1 2 360 4\n1.dat {format} 200 11 1024 1 2 0 {lead}\n1.dat 212 200 11 1024 1 2 0 V1\n")
        };
        assert!(Header::parse(&header("MLII", "212")).is_ok());
        assert!(Header::parse(&header("V5", "212")).is_err());
        assert!(Header::parse(&header("MLII", "16")).is_err());
        assert!(Header::parse("").is_err());
        assert!(Header::parse("1 2 0 4").is_err());
        assert!(Header::parse("1 1 360 4\n../x.dat 212 200 11 1024 1 2 0 MLII").is_err());
    }
}
