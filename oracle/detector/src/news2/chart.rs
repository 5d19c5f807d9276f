//! The scoring chart of NEWS2 (Royal College of Physicians, 2017, chart 1), one function per row.
//!
//! Values are rounded to the chart's own resolution first (whole numbers; tenths for temperature), so that 91.5 % or 36.04 °C fall into a
//! column and never between two.

use super::score::SpO2Scale;

/// Respiration rate, breaths per minute.
#[must_use]
pub fn respiration_rate(per_minute: f64) -> u8 {
    match per_minute.round() {
        rate if rate <= 8.0 => 3,
        rate if rate <= 11.0 => 1,
        rate if rate <= 20.0 => 0,
        rate if rate <= 24.0 => 2,
        _ => 3,
    }
}

/// Oxygen saturation, per cent. Scale 2 depends on whether the patient breathes supplemental oxygen.
#[must_use]
pub fn oxygen_saturation(percent: f64, scale: SpO2Scale, on_oxygen: bool) -> u8 {
    let percent = percent.round();
    match scale {
        SpO2Scale::One => match percent {
            saturation if saturation <= 91.0 => 3,
            saturation if saturation <= 93.0 => 2,
            saturation if saturation <= 95.0 => 1,
            _ => 0,
        },
        SpO2Scale::Two => match percent {
            saturation if saturation <= 83.0 => 3,
            saturation if saturation <= 85.0 => 2,
            saturation if saturation <= 87.0 => 1,
            saturation if saturation <= 92.0 || !on_oxygen => 0,
            saturation if saturation <= 94.0 => 1,
            saturation if saturation <= 96.0 => 2,
            _ => 3,
        },
    }
}

/// Air or supplemental oxygen.
#[must_use]
pub const fn air_or_oxygen(on_oxygen: bool) -> u8 {
    if on_oxygen { 2 } else { 0 }
}

/// Systolic blood pressure, mmHg.
#[must_use]
pub fn systolic_blood_pressure(mmhg: f64) -> u8 {
    match mmhg.round() {
        pressure if pressure <= 90.0 => 3,
        pressure if pressure <= 100.0 => 2,
        pressure if pressure <= 110.0 => 1,
        pressure if pressure <= 219.0 => 0,
        _ => 3,
    }
}

/// Pulse, beats per minute.
#[must_use]
pub fn pulse(per_minute: f64) -> u8 {
    match per_minute.round() {
        rate if rate <= 40.0 => 3,
        rate if rate <= 50.0 => 1,
        rate if rate <= 90.0 => 0,
        rate if rate <= 110.0 => 1,
        rate if rate <= 130.0 => 2,
        _ => 3,
    }
}

/// Consciousness: alert, or one of new confusion, voice, pain, unresponsive.
#[must_use]
pub const fn consciousness(alert: bool) -> u8 {
    if alert { 0 } else { 3 }
}

/// Temperature, °C.
#[must_use]
pub fn temperature(celsius: f64) -> u8 {
    match (celsius * 10.0).round() {
        tenths if tenths <= 350.0 => 3,
        tenths if tenths <= 360.0 => 1,
        tenths if tenths <= 380.0 => 0,
        tenths if tenths <= 390.0 => 1,
        _ => 2,
    }
}
