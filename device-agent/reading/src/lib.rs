//! The signed reading: what one device measured at one time, in a form that cannot be changed, replayed elsewhere or misread.
//!
//! A reading is a CBOR map with integer keys inside a tagged COSE_Sign1 (RFC 9052), signed by Ed25519 (RFC 8032). Codes are LOINC, units
//! are UCUM. Guarantees: one reading has exactly one encoding (RFC 8949, section 4.2.1), so its hash names it; the decoder bounds every
//! length, accepts no unknown key, no trailing byte and no second encoding, and never panics; a reading that decodes has a known code, a
//! unit that belongs to the code and values inside the plausible range of the code. Must not: trust a device before
//! [`SignedReading::verify`], show a measured value in an error or a log.
//!
//! The bytes are described in `docs/formats.md`; vectors, one file per defect, are in `vectors/`.

mod error;
mod fhir;
mod key;
mod loinc;
mod reading;
mod signed;
mod unit;
mod value;
mod wire;

pub use error::ReadingError;
pub use key::DeviceKey;
pub use loinc::{LoincCode, PlausibleRange, Shape};
pub use reading::{Reading, audience};
pub use signed::{READING_BYTES_MAX, SIGNATURE_CONTEXT, SignedReading};
pub use unit::Unit;
pub use value::{Acvpu, COMPONENTS_MAX, Component, Quantity, SAMPLES_MAX, SampledData, Value};
pub use wire::{CODE_BYTES_MAX, PAYLOAD_VERSION};
