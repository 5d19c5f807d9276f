//! Properties of the codec: what is signed comes back, what is touched does not, and no bytes make the decoder panic.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use proptest::prelude::*;
use pulsegate_reading::{
    Acvpu, Component, LoincCode, Quantity, Reading, SAMPLES_MAX, SampledData, Shape, SignedReading, Unit, Value,
};
use pulsegate_rules::Principal;

fn number(code: LoincCode) -> BoxedStrategy<Quantity> {
    let range = code.ranges()[0];
    let value = range.low..=range.high;
    let whole = range.whole;
    value.prop_map(move |value| Quantity { value: if whole { value.round() } else { value }, unit: range.unit }).boxed()
}

fn panel() -> BoxedStrategy<Value> {
    let part = |code, value: f64| Component { code, quantity: Quantity { value, unit: Unit::MillimetreOfMercury } };
    let mean = prop::option::of(10.0..=260.0_f64);
    (5.0..=160.0_f64, 161.0..=320.0_f64, mean)
        .prop_map(move |(diastolic, systolic, mean)| {
            let mut parts = vec![
                part(LoincCode::SystolicBloodPressure, systolic),
                part(LoincCode::DiastolicBloodPressure, diastolic),
            ];
            parts.extend(mean.map(|mean| part(LoincCode::MeanBloodPressure, mean)));
            Value::Components(parts)
        })
        .boxed()
}

fn waveform() -> BoxedStrategy<Value> {
    let samples = prop::collection::vec(-2_048..=2_047_i32, 1..600);
    (samples, -1.0..1.0_f64, 1e-6..0.005_f64, 1..=60_000_000_000_u64)
        .prop_map(|(samples, origin, factor, period_ns)| {
            let (lower, upper, unit) = (-2_048, 2_047, Unit::Millivolt);
            Value::Sampled(SampledData { origin, factor, period_ns, lower, upper, unit, samples })
        })
        .boxed()
}

fn value(code: LoincCode) -> BoxedStrategy<Value> {
    match code.shape() {
        Shape::Quantity => number(code).prop_map(Value::Quantity).boxed(),
        Shape::Components { .. } => panel(),
        Shape::Sampled => waveform(),
        Shape::Coded => prop::sample::select(Acvpu::ALL).prop_map(Value::Coded).boxed(),
    }
}

fn reading() -> impl Strategy<Value = Reading> {
    let code = prop::sample::select(LoincCode::ALL);
    let value = code.prop_flat_map(|code| value(code).prop_map(move |value| (code, value)));
    let ids = (any::<[u8; 32]>(), any::<[u8; 32]>(), any::<[u8; 32]>());
    (value, ids, 1..=u64::MAX, any::<u64>()).prop_map(
        |((code, value), (patient, audience, previous), sequence, measured_at_ms)| {
            let (device, patient) = (common::key().device_id(), Principal(patient));
            Reading { device, patient, audience, sequence, previous, measured_at_ms, code, value }
        },
    )
}

proptest! {
    #[test]
    fn what_is_signed_comes_back_and_verifies(reading in reading()) {
        let signed = reading.sign(&common::key()).unwrap();
        let decoded = SignedReading::decode(signed.bytes()).unwrap();
        prop_assert_eq!(decoded.verify(&common::key().public_key()).unwrap(), &reading);
        prop_assert_eq!(decoded.bytes(), signed.bytes());
        prop_assert_eq!(decoded.hash(), signed.hash());
        prop_assert_eq!(&reading.to_fhir()["resourceType"], "Observation");
    }

    #[test]
    fn a_changed_byte_never_verifies_and_never_panics(reading in reading(), at in any::<prop::sample::Index>(), by in 1..=255_u8) {
        let mut bytes = reading.sign(&common::key()).unwrap().bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= by;
        let verified = SignedReading::decode(&bytes).and_then(|signed| signed.verify(&common::key().public_key()).cloned());
        prop_assert!(verified.is_err());
    }

    #[test]
    fn cut_and_spliced_bytes_never_panic(
        reading in reading(),
        at in any::<prop::sample::Index>(),
        splice in prop::collection::vec(any::<u8>(), 0..24),
        leave_out in 0..24_usize,
    ) {
        let bytes = reading.sign(&common::key()).unwrap().bytes().to_vec();
        let at = at.index(bytes.len());
        let end = (at + leave_out).min(bytes.len());
        let spliced = [&bytes[..at], &splice, &bytes[end..]].concat();
        if spliced != bytes {
            let verified = SignedReading::decode(&spliced).and_then(|signed| signed.verify(&common::key().public_key()).cloned());
            prop_assert!(verified.is_err());
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(SignedReading::decode(&bytes).is_err());
        let tagged = [&[0xD2, 0x84][..], &bytes].concat();
        prop_assert!(SignedReading::decode(&tagged).is_err());
    }
}

#[test]
fn the_largest_waveform_fits_and_nested_or_boastful_cbor_is_refused() {
    let samples = vec![i32::from(i16::MAX); SAMPLES_MAX];
    let (origin, factor, period_ns) = (0.0, 1e-4, 2_000_000);
    let data = SampledData { origin, factor, period_ns, lower: 0, upper: 65_535, unit: Unit::Millivolt, samples };
    let signed = common::reading(LoincCode::EcgLeadTwo, Value::Sampled(data)).sign(&common::key()).unwrap();
    assert!(SignedReading::decode(signed.bytes()).is_ok());
    // Arrays within arrays, and lengths of 2^62 with nothing behind them.
    assert!(SignedReading::decode(&vec![0x81; 60_000]).is_err());
    assert!(SignedReading::decode(&[0xD2, 0x9B, 0x40, 0, 0, 0, 0, 0, 0, 0]).is_err());
    assert!(SignedReading::decode(&[0xD2, 0x84, 0x5B, 0x40, 0, 0, 0, 0, 0, 0, 0]).is_err());
}
