//! The vectors in `vectors/`: one file per defect, each with the code that the decoder or the verification gives, and one per valid shape.
//!
//! Files are the reference for other implementations. `PULSEGATE_WRITE_VECTORS=1` writes them from the cases below; the test then shows
//! that files and cases are the same, that each gives its code, and that every code has a file.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use ciborium::value::{Integer, Value as Cbor};
use pulsegate_reading::{
    DeviceKey, LoincCode, READING_BYTES_MAX, ReadingError, SIGNATURE_CONTEXT, SignedReading, Value,
};
use serde_json::{Value as Json, json};

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name)
}

fn encode(value: &Cbor) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

fn text(text: &str) -> Cbor {
    Cbor::Text(text.to_owned())
}

fn header() -> Vec<u8> {
    encode(&Cbor::Map(vec![(1.into(), (-8).into()), (4.into(), Cbor::Bytes(common::key().device_id().0.to_vec()))]))
}

/// Ed25519 by the fixed device over a Sig_structure of these parts.
fn signature(protected: &[u8], context: &[u8], payload: &[u8]) -> Vec<u8> {
    use ed25519_dalek::Signer;
    let parts = [protected, context, payload].map(|part| Cbor::Bytes(part.to_vec()));
    let structure = Cbor::Array(std::iter::once(text("Signature1")).chain(parts).collect());
    ed25519_dalek::SigningKey::from_bytes(&[7; 32]).sign(&encode(&structure)).to_bytes().to_vec()
}

fn message(parts: [Cbor; 4]) -> Vec<u8> {
    encode(&Cbor::Tag(18, Box::new(Cbor::Array(parts.to_vec()))))
}

fn signed(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    let signature = signature(protected, SIGNATURE_CONTEXT, payload);
    message([Cbor::Bytes(protected.to_vec()), Cbor::Map(vec![]), Cbor::Bytes(payload.to_vec()), Cbor::Bytes(signature)])
}

type Map = BTreeMap<u64, Cbor>;

/// The payload of heart rate 72 as a map that a case may spoil.
fn map() -> Map {
    let reading = common::heart_rate();
    let bytes = |bytes: [u8; 32]| Cbor::Bytes(bytes.to_vec());
    Map::from([
        (1, 1.into()),
        (2, bytes(reading.patient.0)),
        (3, bytes(reading.audience)),
        (4, reading.sequence.into()),
        (5, bytes(reading.previous)),
        (6, reading.measured_at_ms.into()),
        (7, text("8867-4")),
        (8, Cbor::Array(vec![72.0.into(), text("/min")])),
    ])
}

fn payload(map: Map) -> Vec<u8> {
    encode(&Cbor::Map(map.into_iter().map(|(key, value)| (key.into(), value)).collect()))
}

fn spoilt(change: impl FnOnce(&mut Map)) -> Vec<u8> {
    let mut map = map();
    change(&mut map);
    signed(&header(), &payload(map))
}

fn quantity(code: &str, value: f64, unit: &str) -> Vec<u8> {
    spoilt(|map| {
        map.insert(7, text(code));
        map.insert(8, Cbor::Array(vec![value.into(), text(unit)]));
    })
}

fn panel(parts: &[(&str, f64)]) -> Vec<u8> {
    spoilt(|map| {
        map.remove(&8);
        map.insert(7, text("85354-9"));
        let part = |(code, value): &(&str, f64)| Cbor::Array(vec![text(code), (*value).into(), text("mm[Hg]")]);
        map.insert(9, Cbor::Array(parts.iter().map(part).collect()));
    })
}

fn waveform(place: usize, value: Cbor) -> Vec<u8> {
    spoilt(|map| {
        map.remove(&8);
        map.insert(7, text("11524-6"));
        let samples = Cbor::Array(vec![995.into(), 1_024.into()]);
        let mut parts =
            vec![(-5.12).into(), 0.005.into(), 2_777_778.into(), 0.into(), 2_047.into(), text("mV"), samples];
        parts[place] = value;
        map.insert(10, Cbor::Array(parts));
    })
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|window| window == from).expect("the bytes to replace are there");
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

/// Name, code, bytes.
type Case = (&'static str, &'static str, Vec<u8>);

fn envelope_cases() -> Vec<Case> {
    let good = common::heart_rate().sign(&common::key()).unwrap().bytes().to_vec();
    let (protected, body) = (header(), payload(map()));
    let sealed = signature(&protected, SIGNATURE_CONTEXT, &body);
    let bytes = |bytes: &[u8]| Cbor::Bytes(bytes.to_vec());
    let with_header = |entries: Vec<(Cbor, Cbor)>| signed(&encode(&Cbor::Map(entries)), &body);
    let id = bytes(&common::key().device_id().0);
    let unprotected = Cbor::Map(vec![(4.into(), bytes(b"x"))]);
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    vec![
        ("no-bytes", "MALFORMED_COSE", vec![]),
        ("not-cbor", "MALFORMED_COSE", vec![0xFF; 16]),
        ("cut-off", "MALFORMED_COSE", good[..good.len() - 1].to_vec()),
        ("byte-after-the-message", "MALFORMED_COSE", [&good[..], &[0]].concat()),
        ("without-tag", "MALFORMED_COSE", good[1..].to_vec()),
        ("tag-of-mac0", "MALFORMED_COSE", [&[0xD1], &good[1..]].concat()),
        (
            "detached-payload",
            "MALFORMED_COSE",
            message([bytes(&protected), Cbor::Map(vec![]), Cbor::Null, bytes(&sealed)]),
        ),
        (
            "signature-of-63-bytes",
            "MALFORMED_COSE",
            message([bytes(&protected), Cbor::Map(vec![]), bytes(&body), bytes(&sealed[..63])]),
        ),
        ("algorithm-es256", "WRONG_HEADER", with_header(vec![(1.into(), (-7).into()), (4.into(), id.clone())])),
        ("algorithm-missing", "WRONG_HEADER", with_header(vec![(4.into(), id.clone())])),
        ("key-id-missing", "WRONG_HEADER", with_header(vec![(1.into(), (-8).into())])),
        ("key-id-of-31-bytes", "WRONG_HEADER", with_header(vec![(1.into(), (-8).into()), (4.into(), bytes(&[1; 31]))])),
        (
            "other-protected-header",
            "WRONG_HEADER",
            with_header(vec![(1.into(), (-8).into()), (3.into(), 60.into()), (4.into(), id)]),
        ),
        ("unprotected-header", "WRONG_HEADER", message([bytes(&protected), unprotected, bytes(&body), bytes(&sealed)])),
        ("signature-bit-flipped", "WRONG_SIGNATURE", flipped),
        ("payload-changed-after-signing", "WRONG_SIGNATURE", {
            let other = payload(Map::from_iter(map().into_iter().chain([(4, 2.into())])));
            message([bytes(&protected), Cbor::Map(vec![]), bytes(&other), bytes(&sealed)])
        }),
        (
            "signed-without-the-context",
            "WRONG_SIGNATURE",
            message([bytes(&protected), Cbor::Map(vec![]), bytes(&body), bytes(&signature(&protected, b"", &body))]),
        ),
    ]
}

fn payload_cases() -> Vec<Case> {
    let huge = Cbor::Tag(2, Box::new(Cbor::Bytes(vec![1; 9])));
    vec![
        ("payload-not-a-map", "MALFORMED_PAYLOAD", signed(&header(), &encode(&1.into()))),
        ("payload-with-byte-after-it", "MALFORMED_PAYLOAD", signed(&header(), &[payload(map()), vec![0]].concat())),
        ("payload-empty", "MALFORMED_PAYLOAD", signed(&header(), &[])),
        ("payload-key-as-text", "MALFORMED_PAYLOAD", {
            signed(&header(), &encode(&Cbor::Map(vec![(text("1"), 1.into())])))
        }),
        ("payload-key-twice", "MALFORMED_PAYLOAD", {
            signed(&header(), &encode(&Cbor::Map(vec![(1.into(), 1.into()), (1.into(), 1.into())])))
        }),
        ("payload-of-17-entries", "MALFORMED_PAYLOAD", spoilt(|map| map.extend((20..29).map(|key| (key, 1.into()))))),
        ("payload-key-unknown", "MALFORMED_PAYLOAD", spoilt(|map| _ = map.insert(12, 1.into()))),
        ("patient-missing", "MALFORMED_PAYLOAD", spoilt(|map| _ = map.remove(&2))),
        ("patient-of-31-bytes", "MALFORMED_PAYLOAD", spoilt(|map| _ = map.insert(2, Cbor::Bytes(vec![1; 31])))),
        ("sequence-negative", "MALFORMED_PAYLOAD", spoilt(|map| _ = map.insert(4, (-1).into()))),
        ("sequence-over-64-bits", "MALFORMED_PAYLOAD", spoilt(|map| _ = map.insert(4, huge))),
        ("time-as-float", "MALFORMED_PAYLOAD", spoilt(|map| _ = map.insert(6, 1.5.into()))),
        ("value-missing", "MALFORMED_PAYLOAD", spoilt(|map| _ = map.remove(&8))),
        ("two-values", "MALFORMED_PAYLOAD", spoilt(|map| _ = map.insert(11, text("248234008")))),
        (
            "number-as-integer",
            "MALFORMED_PAYLOAD",
            spoilt(|map| _ = map.insert(8, Cbor::Array(vec![72.into(), text("/min")]))),
        ),
        ("number-without-unit", "MALFORMED_PAYLOAD", spoilt(|map| _ = map.insert(8, Cbor::Array(vec![72.0.into()])))),
        ("sample-as-float", "MALFORMED_PAYLOAD", waveform(6, Cbor::Array(vec![1.5.into()]))),
        ("sample-over-32-bits", "MALFORMED_PAYLOAD", waveform(6, Cbor::Array(vec![Integer::from(1_u64 << 40).into()]))),
        ("level-of-consciousness-unknown", "MALFORMED_PAYLOAD", {
            spoilt(|map| {
                map.remove(&8);
                map.extend([(7, text("80288-4")), (11, text("1234"))]);
            })
        }),
        ("version-2", "UNSUPPORTED_VERSION", spoilt(|map| _ = map.insert(1, 2.into()))),
        ("sequence-zero", "SEQUENCE_ZERO", spoilt(|map| _ = map.insert(4, 0.into()))),
        ("payload-keys-unsorted", "NOT_DETERMINISTIC", {
            let entries: Vec<(Cbor, Cbor)> = map().into_iter().rev().map(|(key, value)| (key.into(), value)).collect();
            signed(&header(), &encode(&Cbor::Map(entries)))
        }),
        ("payload-of-indefinite-length", "NOT_DETERMINISTIC", {
            signed(&header(), &[&[0xBF], &payload(map())[1..], &[0xFF]].concat())
        }),
        ("number-as-longer-float", "NOT_DETERMINISTIC", {
            signed(&header(), &replace(&payload(map()), &[0xF9, 0x54, 0x80], &[0xFA, 0x42, 0x90, 0, 0]))
        }),
        ("integer-of-longer-length", "NOT_DETERMINISTIC", {
            signed(&header(), &replace(&payload(map()), &[0x04, 0x01, 0x05], &[0x04, 0x18, 0x01, 0x05]))
        }),
        ("nan-with-payload-bits", "ABSURD_VALUE", {
            signed(&header(), &replace(&payload(map()), &[0xF9, 0x54, 0x80], &[0xF9, 0x7E, 0x01]))
        }),
        ("header-of-longer-length", "NOT_DETERMINISTIC", {
            let long = [&[0xB8, 0x02], &header()[1..]].concat();
            signed(&long, &payload(map()))
        }),
    ]
}

fn value_cases() -> Vec<Case> {
    let (systolic, diastolic, mean) = (("8480-6", 120.0), ("8462-4", 80.0), ("8478-0", 93.0));
    vec![
        ("panel-of-nine", "TOO_LARGE", panel(&[systolic; 9])),
        ("code-of-25-bytes", "TOO_LARGE", quantity("1234567890123456789012345", 1.0, "/min")),
        ("waveform-of-8193-samples", "TOO_LARGE", waveform(6, Cbor::Array(vec![0.into(); 8_193]))),
        ("body-height", "UNKNOWN_LOINC", quantity("8302-2", 180.0, "cm")),
        ("panel-part-unknown", "UNKNOWN_LOINC", panel(&[("1-8", 120.0)])),
        ("heart-rate-in-percent", "UNIT_MISMATCH", quantity("8867-4", 72.0, "%")),
        ("unit-unknown", "UNIT_MISMATCH", quantity("8867-4", 72.0, "bpm")),
        ("waveform-in-percent", "UNIT_MISMATCH", waveform(5, text("%"))),
        ("blood-pressure-as-one-number", "WRONG_SHAPE", quantity("85354-9", 120.0, "mm[Hg]")),
        ("panel-empty", "WRONG_SHAPE", panel(&[])),
        ("panel-without-diastolic", "WRONG_SHAPE", panel(&[systolic])),
        ("panel-without-systolic", "WRONG_SHAPE", panel(&[diastolic, mean])),
        ("panel-out-of-order", "WRONG_SHAPE", panel(&[diastolic, systolic])),
        ("panel-part-twice", "WRONG_SHAPE", panel(&[systolic, systolic, diastolic])),
        ("panel-without-diastolic-but-mean", "WRONG_SHAPE", panel(&[systolic, mean])),
        ("heart-rate-zero", "ABSURD_VALUE", quantity("8867-4", 0.0, "/min")),
        ("heart-rate-300", "ABSURD_VALUE", quantity("8867-4", 300.0, "/min")),
        ("temperature-minus-17-8", "ABSURD_VALUE", quantity("8310-5", -17.8, "Cel")),
        ("number-nan", "ABSURD_VALUE", quantity("8867-4", f64::NAN, "/min")),
        ("number-infinite", "ABSURD_VALUE", quantity("8867-4", f64::INFINITY, "/min")),
        ("coma-score-of-a-half", "ABSURD_VALUE", quantity("9269-2", 7.5, "{score}")),
        ("diastolic-above-systolic", "ABSURD_VALUE", panel(&[("8480-6", 80.0), ("8462-4", 120.0)])),
        ("waveform-without-samples", "ABSURD_VALUE", waveform(6, Cbor::Array(vec![]))),
        ("waveform-factor-zero", "ABSURD_VALUE", waveform(1, 0.0.into())),
        ("waveform-origin-infinite", "ABSURD_VALUE", waveform(0, f64::NEG_INFINITY.into())),
        ("waveform-period-zero", "ABSURD_VALUE", waveform(2, 0.into())),
        ("waveform-limits-swapped", "ABSURD_VALUE", waveform(3, 4_000.into())),
        ("waveform-sample-outside-its-limits", "ABSURD_VALUE", waveform(6, Cbor::Array(vec![5_000.into()]))),
        ("waveform-of-30-millivolt", "ABSURD_VALUE", waveform(1, 0.04.into())),
    ]
}

/// The code that the bytes give, decoded and verified with the key.
fn outcome(bytes: &[u8], public_key: &[u8; 32]) -> Result<(), ReadingError> {
    SignedReading::decode(bytes)?.verify(public_key).map(|_| ())
}

fn write(name: &str, folder_name: &str, vector: &Json) {
    let path = folder(folder_name).join(format!("{name}.json"));
    std::fs::write(path, format!("{}\n", serde_json::to_string_pretty(vector).unwrap())).unwrap();
}

fn read(folder_name: &str) -> BTreeMap<String, Json> {
    let file = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap())
    };
    std::fs::read_dir(folder(folder_name)).unwrap().map(file).collect()
}

fn defects() -> BTreeMap<String, Json> {
    let own = hex::encode(common::key().public_key());
    let other = hex::encode(DeviceKey::from_seed(&[8; 32]).public_key());
    let good = common::heart_rate().sign(&common::key()).unwrap().bytes().to_vec();
    let all = envelope_cases().into_iter().chain(payload_cases()).chain(value_cases());
    let json = |(name, code, bytes): Case| {
        (name.to_owned(), json!({ "code": code, "public_key": own, "reading": hex::encode(bytes) }))
    };
    let mut defects: BTreeMap<String, Json> = all.map(json).collect();
    let vector = json!({ "code": "WRONG_KEY", "public_key": other, "reading": hex::encode(good) });
    defects.insert("public-key-of-another-device".to_owned(), vector);
    defects
}

fn valid() -> BTreeMap<String, Json> {
    let public_key = hex::encode(common::key().public_key());
    let json = |(name, reading): (String, pulsegate_reading::Reading)| {
        let signed = reading.sign(&common::key()).unwrap();
        let vector = json!({
            "public_key": public_key,
            "reading": hex::encode(signed.bytes()),
            "hash": hex::encode(signed.hash()),
            "fhir": reading.to_fhir(),
        });
        (name, vector)
    };
    common::valid().into_iter().map(json).collect()
}

/// Files and cases have the same names and content; a difference is named without printing the bytes.
fn same(folder: &str, files: &BTreeMap<String, Json>, cases: &BTreeMap<String, Json>) {
    let names: BTreeSet<&String> = files.keys().chain(cases.keys()).collect();
    let differs = names.into_iter().filter(|name| files.get(*name) != cases.get(*name));
    let differs: Vec<&String> = differs.collect();
    assert!(
        differs.is_empty(),
        "files and cases in {folder} differ: {differs:?}; PULSEGATE_WRITE_VECTORS=1 writes the files"
    );
}

#[test]
fn every_vector_gives_its_outcome_and_every_code_has_one() {
    let (defects, valid) = (defects(), valid());
    if std::env::var_os("PULSEGATE_WRITE_VECTORS").is_some() {
        defects.iter().for_each(|(name, vector)| write(name, "defects", vector));
        valid.iter().for_each(|(name, vector)| write(name, "valid", vector));
    }
    let files = read("defects");
    same("defects", &files, &defects);
    same("valid", &read("valid"), &valid);
    let mut seen = BTreeSet::new();
    for (name, vector) in &files {
        let text = |field: &str| hex::decode(vector[field].as_str().unwrap()).unwrap();
        let error = outcome(&text("reading"), &text("public_key").try_into().unwrap()).expect_err(name);
        assert_eq!(error.code(), vector["code"], "{name}: {error}");
        seen.insert(error.code());
    }
    assert_eq!(seen, ReadingError::CODES.iter().copied().collect(), "a code has no vector");
}

#[test]
fn a_message_over_the_limit_is_refused_before_it_is_parsed() {
    let error = SignedReading::decode(&vec![0xD2; READING_BYTES_MAX + 1]).unwrap_err();
    assert_eq!(error.code(), "TOO_LARGE");
}

#[test]
fn signing_refuses_what_decoding_would_refuse() {
    let mut absurd = common::heart_rate();
    absurd.value = Value::quantity(f64::NAN, pulsegate_reading::Unit::PerMinute);
    assert_eq!(absurd.sign(&common::key()).unwrap_err().code(), "ABSURD_VALUE");
    let other = DeviceKey::from_seed(&[8; 32]);
    assert_eq!(common::heart_rate().sign(&other).unwrap_err().code(), "WRONG_KEY");
    let zero = pulsegate_reading::Reading { sequence: 0, ..common::heart_rate() };
    assert_eq!(zero.sign(&common::key()).unwrap_err().code(), "SEQUENCE_ZERO");
}

#[test]
fn errors_and_debug_do_not_show_what_was_measured() {
    let mut reading = common::heart_rate();
    reading.value = Value::quantity(286.125, pulsegate_reading::Unit::PerMinute);
    let signed = reading.sign(&common::key()).unwrap();
    assert!(!format!("{signed:?}").contains("286"));
    reading.value = Value::quantity(986.125, pulsegate_reading::Unit::PerMinute);
    let error = reading.check().unwrap_err();
    assert!(!format!("{error} {error:?}").contains("986"));
    assert_eq!(LoincCode::HeartRate.to_string(), "8867-4");
}
