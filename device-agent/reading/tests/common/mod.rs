//! Readings for the tests: one of every shape, by a fixed device for a fixed patient.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of it")]

use pulsegate_reading::{
    Acvpu, Component, DeviceKey, LoincCode, Quantity, Reading, SampledData, Unit, Value, audience,
};
use pulsegate_rules::Principal;

/// The device of all vectors.
pub fn key() -> DeviceKey {
    DeviceKey::from_seed(&[7; 32])
}

/// A reading of the fixed device.
pub fn reading(code: LoincCode, value: Value) -> Reading {
    Reading {
        device: key().device_id(),
        patient: Principal([0x11; 32]),
        audience: audience(&[0x22; 32], &Principal([0x33; 32])),
        sequence: 1,
        previous: [0; 32],
        measured_at_ms: 1_790_000_000_123,
        code,
        value,
    }
}

/// Heart rate 72 per minute.
pub fn heart_rate() -> Reading {
    reading(LoincCode::HeartRate, Value::quantity(72.0, Unit::PerMinute))
}

/// A component in mmHg.
pub fn pressure(code: LoincCode, value: f64) -> Component {
    Component { code, quantity: Quantity { value, unit: Unit::MillimetreOfMercury } }
}

/// Blood pressure 120/80, mean 93.
pub fn blood_pressure() -> Reading {
    reading(
        LoincCode::BloodPressure,
        Value::Components(vec![
            pressure(LoincCode::SystolicBloodPressure, 120.0),
            pressure(LoincCode::DiastolicBloodPressure, 80.0),
            pressure(LoincCode::MeanBloodPressure, 93.5),
        ]),
    )
}

/// A short waveform at 360 Hz.
pub fn waveform() -> SampledData {
    SampledData {
        origin: -5.12,
        factor: 0.005,
        period_ns: 2_777_778,
        lower: 0,
        upper: 2_047,
        unit: Unit::Millivolt,
        samples: vec![995, 995, 1_024, 1_300, 800, 0, 2_047],
    }
}

/// One acceptable reading of every code, by name.
pub fn valid() -> Vec<(String, Reading)> {
    let one = |code: &LoincCode| {
        let value = match code {
            LoincCode::BloodPressure => blood_pressure().value,
            LoincCode::EcgLeadTwo => Value::Sampled(waveform()),
            LoincCode::Consciousness => Value::Coded(Acvpu::Confusion),
            _ => {
                let range = code.ranges()[0];
                let middle = (range.low + range.high) / 2.0;
                Value::quantity(if range.whole { middle.round() } else { middle }, range.unit)
            }
        };
        let name = code.display().to_lowercase().replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
        (name.trim_matches('-').to_owned(), reading(*code, value))
    };
    LoincCode::ALL.iter().map(one).collect()
}
