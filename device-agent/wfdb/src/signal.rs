//! Header (`.hea`) and signal (`.dat`, or `.dat.zst` when packed by Zstandard) in format 212: two 12-bit samples in three bytes.
//!
//! One lead is read at a time, chosen by its name in the header. Guarantees: what is returned matches the header's first sample and checksum.
//! Must not: read a signal file that the header places in another folder.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::WfdbError;

/// Longest signal file, bytes unpacked: records of the MIT-BIH Arrhythmia Database have 1.95 million.
pub const SIGNAL_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Longest header, bytes.
pub const HEADER_BYTES_MAX: u64 = 64 * 1024;
/// Most signals of a record.
pub const SIGNALS_MAX: usize = 16;
/// Highest sampling frequency, Hz.
pub const FREQUENCY_HZ_MAX: u64 = 500;

/// One recorded lead.
#[derive(Clone, Debug, PartialEq)]
pub struct Lead {
    /// Sampling frequency, Hz.
    pub frequency_hz: u64,
    /// Units of the samples per millivolt.
    pub gain_per_mv: f64,
    /// The sample that means 0 mV.
    pub zero: i32,
    /// Resolution of a sample, bits.
    pub bits: u32,
    /// The samples, in time order.
    pub samples: Vec<i32>,
}

impl Lead {
    /// Reads the lead of this name from the record of a header file.
    ///
    /// # Errors
    /// [`WfdbError`] when a file cannot be read, is not format 212, has no such lead, or does not match its checksum.
    pub fn read(header_path: &Path, name: &str) -> Result<Self, WfdbError> {
        let mut text = String::new();
        let file = File::open(header_path).map_err(|error| WfdbError::new(header_path, error))?;
        file.take(HEADER_BYTES_MAX).read_to_string(&mut text).map_err(|error| WfdbError::new(header_path, error))?;
        let header = Header::parse(&text, name).map_err(|problem| WfdbError::new(header_path, problem))?;
        let bytes = signal_bytes(&header_path.with_file_name(&header.file))?;
        let samples: Vec<i32> = unpack_212(&bytes).skip(header.channel).step_by(header.signals).collect();
        let sum = samples.iter().fold(0_i16, |sum, sample| sum.wrapping_add(*sample as i16));
        if samples.first() != Some(&header.first) || sum != header.checksum {
            let problem = "the signal does not match the header's first sample and checksum; fetch both files again";
            return Err(WfdbError::new(header_path, problem));
        }
        let Header { frequency_hz, gain_per_mv, zero, bits, .. } = header;
        Ok(Self { frequency_hz, gain_per_mv, zero, bits, samples })
    }

    /// The samples in millivolts.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "a 12-bit sample over its gain fits f32")]
    pub fn millivolts(&self) -> Vec<f32> {
        self.samples.iter().map(|sample| (f64::from(*sample - self.zero) / self.gain_per_mv) as f32).collect()
    }
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

impl Header {
    /// Reads the record line and the line of one lead (`header(5)`).
    fn parse(text: &str, lead: &str) -> Result<Self, String> {
        let mut lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        let record: Vec<&str> = lines.next().ok_or("the header is empty")?.split_ascii_whitespace().collect();
        let wrong = "the header's first line is not a record name, a number of signals and a frequency";
        let [_, signals, frequency, ..] = record[..] else { return Err(wrong.to_owned()) };
        let signals: usize = signals.parse().map_err(|_| wrong)?;
        let frequency_hz: u64 = frequency.parse().map_err(|_| wrong)?;
        if !(1..=SIGNALS_MAX).contains(&signals) || !(1..=FREQUENCY_HZ_MAX).contains(&frequency_hz) {
            let problem = "the header names more signals or a higher frequency than is read here";
            return Err(format!("{problem} ({SIGNALS_MAX}, {FREQUENCY_HZ_MAX} Hz)"));
        }
        let mut of_lead =
            lines.take(signals).map(|line| line.split_ascii_whitespace().collect::<Vec<&str>>()).enumerate();
        let (channel, fields) = of_lead
            .find(|(_, fields)| fields.last() == Some(&lead))
            .ok_or_else(|| format!("the record has no lead {lead}"))?;
        let [file, format, gain, bits, zero, first, checksum, ..] = fields[..] else {
            return Err("a signal line of the header has too few fields".to_owned());
        };
        if format != "212" {
            return Err("the signal is not in format 212".to_owned());
        }
        if file.contains(['/', '\\']) {
            return Err("the header names a signal file in another folder".to_owned());
        }
        let field = "a signal line of the header has a field that is not a number";
        let gain_per_mv: f64 = gain.split(['(', '/']).next().unwrap_or(gain).parse().map_err(|_| field)?;
        let bits: u32 = bits.parse().map_err(|_| field)?;
        if !(gain_per_mv.is_finite() && gain_per_mv > 0.0 && (1..=12).contains(&bits)) {
            return Err("the header's gain or resolution is not one of format 212".to_owned());
        }
        let (file, zero) = (file.to_owned(), zero.parse().map_err(|_| field)?);
        let (first, checksum) = (first.parse().map_err(|_| field)?, checksum.parse().map_err(|_| field)?);
        Ok(Self { signals, frequency_hz, channel, file, gain_per_mv, bits, zero, first, checksum })
    }
}

/// The bytes of a signal file, unpacked when only the packed one is there.
fn signal_bytes(path: &Path) -> Result<Vec<u8>, WfdbError> {
    let packed = path.with_extension("dat.zst");
    let reader: Box<dyn Read> = if path.exists() {
        Box::new(File::open(path).map_err(|error| WfdbError::new(path, error))?)
    } else {
        let file = File::open(&packed).map_err(|error| WfdbError::new(&packed, error))?;
        let decoder = ruzstd::decoding::StreamingDecoder::new(std::io::BufReader::new(file));
        Box::new(decoder.map_err(|error| WfdbError::new(&packed, error))?)
    };
    let mut bytes = Vec::new();
    let read = reader.take(SIGNAL_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| WfdbError::new(path, error))?;
    if bytes.len() as u64 > SIGNAL_BYTES_MAX {
        return Err(WfdbError::new(path, format!("the signal has more than {SIGNAL_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// The samples of format 212 (`signal(5)`): the low byte of the first, four high bits of each, the low byte of the second.
pub fn unpack_212(bytes: &[u8]) -> impl Iterator<Item = i32> {
    let signed = |sample: i32| if sample > 2_047 { sample - 4_096 } else { sample };
    bytes.chunks_exact(3).flat_map(move |triple| {
        let (low, high, second) = (i32::from(triple[0]), i32::from(triple[1]), i32::from(triple[2]));
        [signed(low | (high & 0x0F) << 8), signed(second | (high & 0xF0) << 4)]
    })
}

#[cfg(test)]
mod tests {
    use super::{Header, Lead, unpack_212};

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
        let parse = |text: &str| Header::parse(text, "MLII");
        assert!(parse(&header("MLII", "212")).is_ok());
        assert!(parse(&header("V5", "212")).is_err());
        assert!(parse(&header("MLII", "16")).is_err());
        assert!(parse("").is_err());
        assert!(parse("1 2 0 4").is_err());
        assert!(parse("1 1 360 4\n../x.dat 212 200 11 1024 1 2 0 MLII").is_err());
    }

    #[test]
    fn a_lead_is_read_in_millivolts_and_a_damaged_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let header = folder.path().join("1.hea");
        // Two signals, two samples each: MLII is 0x123, −1.
        std::fs::write(folder.path().join("1.dat"), [0x23, 0xA1, 0xBC, 0xFF, 0x7F, 0xFF]).unwrap();
        std::fs::write(&header, "1 2 360 2\n1.dat 212 100 11 91 291 290 0 MLII\n1.dat 212 200 11 0 1 2 0 V1\n")
            .unwrap();
        assert_eq!(Lead::read(&header, "MLII").unwrap().millivolts(), [2.0, -0.92]);
        std::fs::write(folder.path().join("1.dat"), [0x24, 0xA1, 0xBC, 0xFF, 0x7F, 0xFF]).unwrap();
        assert!(Lead::read(&header, "MLII").unwrap_err().to_string().contains("checksum"));
    }
}
