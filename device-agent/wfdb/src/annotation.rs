//! Annotations (`.atr` and the like) in the MIT format: 16-bit little-endian words, six bits of type and ten bits of time since the last one.
//!
//! Source: `annot(5)` of the WFDB Applications Guide. The pseudo-annotations are followed: SKIP gives a long (also negative) step before the
//! next annotation, AUX a text, NUM and CHN a number and a channel that stay until changed, SUB a subtype of one annotation. Guarantees:
//! times never leave the range of `i64`, a cut file is an error and not a shorter list.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::WfdbError;

/// Longest annotation file, bytes: records of the MIT-BIH Arrhythmia Database have some 10,000.
pub const ANNOTATION_BYTES_MAX: u64 = 16 * 1024 * 1024;

const SKIP: u8 = 59;
const NUM: u8 = 60;
const SUB: u8 = 61;
const CHN: u8 = 62;
const AUX: u8 = 63;

/// The type of an annotation, 0 to 49 (`ecgcodes.h` of WFDB).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Symbol(pub u8);

/// One annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// Where, samples from the start of the record.
    pub sample: i64,
    /// What.
    pub symbol: Symbol,
    /// Subtype; of noise annotations, which signals are noisy.
    pub subtype: i8,
    /// The signal it belongs to.
    pub channel: u8,
    /// A number of the annotator's own.
    pub number: i8,
    /// Text, such as the name of the rhythm that starts here.
    pub text: Vec<u8>,
}

impl Symbol {
    /// Ventricular flutter begins, `[`.
    pub const FLUTTER_START: Self = Self(32);
    /// Ventricular flutter ends, `]`.
    pub const FLUTTER_END: Self = Self(33);

    /// The usual character of the type (`annot(5)`), `?` of a type without one.
    #[must_use]
    pub const fn character(self) -> char {
        const CHARACTERS: &[u8; 42] = b" NLRaVFJASEj/Q~?|?sT*D\"=pB^t+u?![]en@xf()r";
        if (self.0 as usize) < CHARACTERS.len() { CHARACTERS[self.0 as usize] as char } else { '?' }
    }

    /// Whether it marks a heart beat: N L R a V F J A S E j / Q B e n f r ?. Flutter waves (`!`) are none, they lie in excluded segments.
    #[must_use]
    pub const fn is_beat(self) -> bool {
        matches!(self.0, 1..=13 | 25 | 30 | 34 | 35 | 38 | 41)
    }
}

/// Reads an annotation file.
///
/// # Errors
/// [`WfdbError`] when it cannot be read, is too long or is cut.
pub fn read_annotations(path: &Path) -> Result<Vec<Annotation>, WfdbError> {
    let file = File::open(path).map_err(|error| WfdbError::new(path, error))?;
    let mut bytes = Vec::new();
    file.take(ANNOTATION_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| WfdbError::new(path, error))?;
    if bytes.len() as u64 > ANNOTATION_BYTES_MAX {
        return Err(WfdbError::new(path, format!("the annotations have more than {ANNOTATION_BYTES_MAX} bytes")));
    }
    decode_annotations(&bytes).map_err(|problem| WfdbError::new(path, problem))
}

/// Decodes annotations; what follows the end mark is ignored.
///
/// # Errors
/// What is wrong: the end mark is missing, or a time leaves the range.
pub fn decode_annotations(bytes: &[u8]) -> Result<Vec<Annotation>, &'static str> {
    let mut found: Vec<Annotation> = Vec::new();
    let (mut at, mut sample) = (0_usize, 0_i64);
    let (mut channel, mut number) = (0_u8, 0_i8);
    let cut = "the annotation file ends before its end mark; fetch it again";
    loop {
        let [low, high] = *bytes.get(at..at + 2).and_then(|word| word.first_chunk::<2>()).ok_or(cut)?;
        at += 2;
        let (kind, step) = (high >> 2, u16::from_le_bytes([low, high & 0x03]));
        match kind {
            0 if step == 0 => return Ok(found),
            SKIP => {
                let long = *bytes.get(at..at + 4).and_then(|long| long.first_chunk::<4>()).ok_or(cut)?;
                at += 4;
                // As on a PDP-11: the high word first, each word little-endian.
                let step = i32::from_le_bytes([long[2], long[3], long[0], long[1]]);
                sample = sample.checked_add(i64::from(step)).ok_or("the annotations' times leave the range")?;
            }
            NUM => {
                number = low.cast_signed();
                if let Some(last) = found.last_mut() {
                    last.number = number;
                }
            }
            SUB => {
                if let Some(last) = found.last_mut() {
                    last.subtype = low.cast_signed();
                }
            }
            CHN => {
                channel = low;
                if let Some(last) = found.last_mut() {
                    last.channel = channel;
                }
            }
            AUX => {
                let length = usize::from(step);
                let text = bytes.get(at..at + length).ok_or(cut)?;
                if let Some(last) = found.last_mut() {
                    last.text = text.to_vec();
                }
                at += length + length % 2;
            }
            _ => {
                sample = sample.checked_add(i64::from(step)).ok_or("the annotations' times leave the range")?;
                let symbol = Symbol(kind);
                found.push(Annotation { sample, symbol, subtype: 0, channel, number, text: Vec::new() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Symbol, decode_annotations};

    /// One word: type and time or value.
    fn word(kind: u16, step: u16) -> [u8; 2] {
        (kind << 10 | step).to_le_bytes()
    }

    #[test]
    fn a_rhythm_a_long_step_and_the_fields_that_stay_are_read() {
        let bytes = [
            &word(28, 18)[..],
            &word(63, 3),
            b"(N\0\0",
            &word(1, 59),
            &word(59, 0),
            &[0x01, 0x00, 0x02, 0x00],
            &word(5, 3),
            &word(61, 2),
            &word(62, 1),
            &word(60, 7),
            &word(8, 100),
            &word(0, 0),
            b"ignored",
        ]
        .concat();
        let found = decode_annotations(&bytes).unwrap();
        assert_eq!(found.len(), 4);
        assert_eq!((found[0].sample, found[0].symbol.character(), &found[0].text[..]), (18, '+', &b"(N\0"[..]));
        assert_eq!((found[1].sample, found[1].symbol.character()), (77, 'N'));
        let third = (found[2].sample, found[2].symbol.character(), found[2].subtype, found[2].channel, found[2].number);
        assert_eq!(third, (77 + 65_538 + 3, 'V', 2, 1, 7));
        let last = (found[3].symbol.character(), found[3].subtype, found[3].channel, found[3].number);
        assert_eq!(last, ('A', 0, 1, 7), "channel and number stay, the subtype does not");
    }

    #[test]
    fn a_cut_file_is_refused_at_every_length() {
        let bytes = [&word(28, 18)[..], &word(63, 3), b"(N\0\0", &word(59, 0), &[1, 0, 2, 0], &word(1, 5), &word(0, 0)]
            .concat();
        assert!(decode_annotations(&bytes).is_ok());
        for length in 0..bytes.len() - 1 {
            assert!(decode_annotations(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn flutter_marks_are_no_beats_and_have_their_brackets() {
        assert_eq!((Symbol::FLUTTER_START.character(), Symbol::FLUTTER_END.character()), ('[', ']'));
        assert!(
            !Symbol::FLUTTER_START.is_beat() && !Symbol(31).is_beat() && Symbol(13).is_beat() && !Symbol(255).is_beat()
        );
        let beats: String = (0..=49).map(Symbol).filter(|symbol| symbol.is_beat()).map(Symbol::character).collect();
        assert_eq!(beats, "NLRaVFJASEj/QB?enfr");
    }
}
