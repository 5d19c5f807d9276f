//! The payload: a CBOR map with integer keys, in deterministic encoding (RFC 8949, section 4.2.1).
//!
//! | key | what | type |
//! |---|---|---|
//! | 1 | format version, 1 | unsigned |
//! | 2 | patient | 32 bytes |
//! | 3 | audience | 32 bytes |
//! | 4 | sequence, from 1 | unsigned |
//! | 5 | hash of the reading before, zero for the first | 32 bytes |
//! | 6 | measured at, Unix milliseconds | unsigned |
//! | 7 | LOINC code | text |
//! | 8 | number: \[value, UCUM unit\] | \[float, text\] |
//! | 9 | panel: list of \[LOINC code, value, UCUM unit\] | |
//! | 10 | waveform: \[origin, factor, period in ns, lower, upper, UCUM unit, list of samples\] | |
//! | 11 | level of consciousness, SNOMED CT concept | text |
//!
//! Exactly one of 8 to 11 is there. The device is the key id of the envelope. Numbers that are measured are floats of the shortest width
//! that keeps them. Must not: accept a key that it does not know.

use coset::CborSerializable;
use coset::cbor::Value as Cbor;
use pulsegate_rules::{DeviceId, Principal};

use crate::error::ReadingError;
use crate::loinc::LoincCode;
use crate::reading::Reading;
use crate::signed::cbor;
use crate::unit::Unit;
use crate::value::{Acvpu, COMPONENTS_MAX, Component, Quantity, SAMPLES_MAX, SampledData, Value, unit_mismatch};

/// The version of the payload.
pub const PAYLOAD_VERSION: u64 = 1;
/// Longest code or unit, bytes.
pub const CODE_BYTES_MAX: usize = 24;

/// Most entries of the map that are looked at.
const ENTRIES_MAX: usize = 16;

const VERSION: u64 = 1;
const PATIENT: u64 = 2;
const AUDIENCE: u64 = 3;
const SEQUENCE: u64 = 4;
const PREVIOUS: u64 = 5;
const MEASURED_AT: u64 = 6;
const CODE: u64 = 7;
const QUANTITY: u64 = 8;
const COMPONENTS: u64 = 9;
const SAMPLED: u64 = 10;
const CODED: u64 = 11;

/// Encodes the payload: the one deterministic encoding of the reading.
pub(crate) fn encode(reading: &Reading) -> Vec<u8> {
    let text = |text: &str| Cbor::Text(text.to_owned());
    let (value_key, value) = match &reading.value {
        Value::Quantity(quantity) => (QUANTITY, Cbor::Array(vec![quantity.value.into(), text(quantity.unit.ucum())])),
        Value::Components(components) => {
            let one = |component: &Component| {
                let quantity = component.quantity;
                Cbor::Array(vec![text(component.code.as_str()), quantity.value.into(), text(quantity.unit.ucum())])
            };
            (COMPONENTS, Cbor::Array(components.iter().map(one).collect()))
        }
        Value::Sampled(sampled) => (SAMPLED, encode_sampled(sampled)),
        Value::Coded(level) => (CODED, text(level.snomed())),
    };
    let map: Vec<(Cbor, Cbor)> = vec![
        (VERSION.into(), PAYLOAD_VERSION.into()),
        (PATIENT.into(), Cbor::Bytes(reading.patient.0.to_vec())),
        (AUDIENCE.into(), Cbor::Bytes(reading.audience.to_vec())),
        (SEQUENCE.into(), reading.sequence.into()),
        (PREVIOUS.into(), Cbor::Bytes(reading.previous.to_vec())),
        (MEASURED_AT.into(), reading.measured_at_ms.into()),
        (CODE.into(), text(reading.code.as_str())),
        (value_key.into(), value),
    ];
    Cbor::Map(map).to_vec().expect("integers, floats, texts and byte strings always encode")
}

fn encode_sampled(sampled: &SampledData) -> Cbor {
    Cbor::Array(vec![
        sampled.origin.into(),
        sampled.factor.into(),
        sampled.period_ns.into(),
        sampled.lower.into(),
        sampled.upper.into(),
        Cbor::Text(sampled.unit.ucum().to_owned()),
        Cbor::Array(sampled.samples.iter().map(|sample| (*sample).into()).collect()),
    ])
}

/// Reads the payload of a device. Whether it was in deterministic encoding is for the caller to see, by encoding it again.
///
/// # Errors
/// Malformed, of another version, unknown code or unit, or too long; ranges are checked by `Reading::check`.
pub(crate) fn decode(device: DeviceId, payload: &[u8]) -> Result<Reading, ReadingError> {
    let whole = |problem| malformed(0, problem);
    let value = cbor(payload).ok_or_else(|| whole("is not CBOR"))?;
    let Cbor::Map(map) = value else { return Err(whole("is not a map")) };
    let mut fields = Fields { entries: Vec::with_capacity(map.len().min(ENTRIES_MAX)) };
    if map.len() > ENTRIES_MAX {
        return Err(whole("has too many entries"));
    }
    for (key, value) in map {
        let key = key.into_integer().ok().and_then(|key| u64::try_from(key).ok());
        let key = key.ok_or_else(|| whole("has a key that is not an unsigned integer"))?;
        if fields.entries.iter().any(|(known, _)| *known == key) {
            return Err(malformed(key, "is there twice"));
        }
        fields.entries.push((key, value));
    }
    let version = fields.unsigned(VERSION)?;
    if version != PAYLOAD_VERSION {
        return Err(ReadingError::UnsupportedVersion { version });
    }
    let (patient, audience) = (Principal(fields.bytes(PATIENT)?), fields.bytes(AUDIENCE)?);
    let (sequence, previous) = (fields.unsigned(SEQUENCE)?, fields.bytes(PREVIOUS)?);
    let measured_at_ms = fields.unsigned(MEASURED_AT)?;
    let code = LoincCode::parse(&text(CODE, fields.take(CODE)?)?)?;
    let value = decode_value(&mut fields, code)?;
    if let Some((key, _)) = fields.entries.first() {
        return Err(malformed(*key, "is not known or is one value too many"));
    }
    Ok(Reading { device, patient, audience, sequence, previous, measured_at_ms, code, value })
}

fn decode_value(fields: &mut Fields, code: LoincCode) -> Result<Value, ReadingError> {
    let Some(key) = [QUANTITY, COMPONENTS, SAMPLED, CODED].into_iter().find(|key| fields.has(*key)) else {
        return Err(malformed(QUANTITY, "is missing, and there is no other value"));
    };
    let value = fields.take(key)?;
    match key {
        QUANTITY => {
            let [number, unit] = array(key, value)?;
            Ok(Value::Quantity(quantity(key, code, number, unit)?))
        }
        COMPONENTS => {
            let components = list(key, value, "the panel", COMPONENTS_MAX)?;
            components.into_iter().map(component).collect::<Result<_, _>>().map(Value::Components)
        }
        SAMPLED => sampled(code, value).map(Value::Sampled),
        _ => {
            let concept = text(CODED, value)?;
            let level =
                Acvpu::from_snomed(&concept).ok_or_else(|| malformed(CODED, "is not a level of the ACVPU scale"))?;
            Ok(Value::Coded(level))
        }
    }
}

fn component(value: Cbor) -> Result<Component, ReadingError> {
    let [code, number, unit] = array(COMPONENTS, value)?;
    let code = LoincCode::parse(&text(COMPONENTS, code)?)?;
    Ok(Component { code, quantity: quantity(COMPONENTS, code, number, unit)? })
}

fn quantity(key: u64, code: LoincCode, number: Cbor, unit_code: Cbor) -> Result<Quantity, ReadingError> {
    Ok(Quantity { value: float(key, number)?, unit: unit(key, code, unit_code)? })
}

fn sampled(code: LoincCode, value: Cbor) -> Result<SampledData, ReadingError> {
    let [origin, factor, period_ns, lower, upper, unit_code, samples] = array(SAMPLED, value)?;
    let samples = list(SAMPLED, samples, "the waveform", SAMPLES_MAX)?;
    Ok(SampledData {
        origin: float(SAMPLED, origin)?,
        factor: float(SAMPLED, factor)?,
        period_ns: unsigned(SAMPLED, period_ns)?,
        lower: sample(lower)?,
        upper: sample(upper)?,
        unit: unit(SAMPLED, code, unit_code)?,
        samples: samples.into_iter().map(sample).collect::<Result<_, _>>()?,
    })
}

/// The entries of the map that are not yet read.
struct Fields {
    entries: Vec<(u64, Cbor)>,
}

impl Fields {
    fn has(&self, key: u64) -> bool {
        self.entries.iter().any(|(known, _)| *known == key)
    }

    fn take(&mut self, key: u64) -> Result<Cbor, ReadingError> {
        let position = self.entries.iter().position(|(known, _)| *known == key);
        position.map(|position| self.entries.remove(position).1).ok_or_else(|| malformed(key, "is missing"))
    }

    fn unsigned(&mut self, key: u64) -> Result<u64, ReadingError> {
        unsigned(key, self.take(key)?)
    }

    fn bytes(&mut self, key: u64) -> Result<[u8; 32], ReadingError> {
        let bytes = self.take(key)?.into_bytes().map_err(|_| malformed(key, "is not a byte string"))?;
        bytes.as_slice().try_into().map_err(|_| malformed(key, "has not 32 bytes"))
    }
}

fn malformed(key: u64, problem: &'static str) -> ReadingError {
    ReadingError::MalformedPayload { key, problem }
}

fn unsigned(key: u64, value: Cbor) -> Result<u64, ReadingError> {
    let number = value.into_integer().ok().and_then(|number| u64::try_from(number).ok());
    number.ok_or_else(|| malformed(key, "is not an unsigned integer of 64 bits"))
}

fn sample(value: Cbor) -> Result<i32, ReadingError> {
    let number = value.into_integer().ok().and_then(|number| i32::try_from(number).ok());
    number.ok_or_else(|| malformed(SAMPLED, "has a sample or limit that is not an integer of 32 bits"))
}

fn float(key: u64, value: Cbor) -> Result<f64, ReadingError> {
    value.into_float().map_err(|_| malformed(key, "has a number that is not a float"))
}

fn text(key: u64, value: Cbor) -> Result<String, ReadingError> {
    let text = value.into_text().map_err(|_| malformed(key, "is not a text"))?;
    if text.len() > CODE_BYTES_MAX {
        return Err(ReadingError::TooLarge { what: "a code or unit", actual: text.len(), limit: CODE_BYTES_MAX });
    }
    Ok(text)
}

fn unit(key: u64, code: LoincCode, value: Cbor) -> Result<Unit, ReadingError> {
    let text = text(key, value)?;
    Unit::from_ucum(&text).ok_or_else(|| unit_mismatch(code, &text))
}

fn list(key: u64, value: Cbor, what: &'static str, limit: usize) -> Result<Vec<Cbor>, ReadingError> {
    let list = value.into_array().map_err(|_| malformed(key, "is not a list"))?;
    if list.len() > limit {
        return Err(ReadingError::TooLarge { what, actual: list.len(), limit });
    }
    Ok(list)
}

fn array<const N: usize>(key: u64, value: Cbor) -> Result<[Cbor; N], ReadingError> {
    let list = value.into_array().map_err(|_| malformed(key, "is not a list"))?;
    list.try_into().map_err(|_| malformed(key, "has a list of the wrong length"))
}
