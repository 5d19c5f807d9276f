//! Recorded ECG in the WFDB format of PhysioNet: header, signal in format 212, annotations.
//!
//! Used by the device agent (a recorded patient as a source) and by the detectors (training and scoring). Formats: `header(5)`, `signal(5)`
//! and `annot(5)` of the WFDB Applications Guide (G. B. Moody, PhysioNet). Guarantees: first sample and checksum of the header match
//! what was decoded, or the record is refused; every file has a named size limit; no input makes it panic. Must not: open a file outside the
//! header's folder, or guess what a damaged file meant.

mod annotation;
mod error;
mod signal;

pub use annotation::{ANNOTATION_BYTES_MAX, Annotation, Symbol, decode_annotations, read_annotations};
pub use error::WfdbError;
pub use signal::{FREQUENCY_HZ_MAX, HEADER_BYTES_MAX, Lead, SIGNAL_BYTES_MAX, SIGNALS_MAX, unpack_212};
