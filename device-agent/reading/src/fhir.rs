//! A reading as FHIR R4 Observation (HL7 FHIR 4.0.1).
//!
//! Guarantees: every value that the decoder accepts gives an Observation that the published R4 JSON schema accepts; vital signs name
//! the profile of the vital-signs family that they conform to. Must not: name a person; the subject is the patient's principal.

use pulsegate_rules::Category;
use serde_json::{Value as Json, json};

use crate::loinc::LoincCode;
use crate::reading::Reading;
use crate::unit::Unit;
use crate::value::{Quantity, SampledData, Value};

const LOINC: &str = "http://loinc.org";
const UCUM: &str = "http://unitsofmeasure.org";
const SNOMED: &str = "http://snomed.info/sct";
const ISO_11073: &str = "urn:iso:std:iso:11073:10101";
const CATEGORIES: &str = "http://terminology.hl7.org/CodeSystem/observation-category";
/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;
/// The last moment that FHIR's four-digit years can name: 9999-12-31T23:59:59.999Z, Unix milliseconds.
const MOMENT_MS_MAX: u64 = 253_402_300_799_999;

/// The Observation of a reading.
pub(crate) fn observation(reading: &Reading) -> Json {
    let mut observation = json!({
        "resourceType": "Observation",
        "identifier": [{
            "system": "urn:pulsegate:reading",
            "value": format!("{}/{}", reading.device, reading.sequence),
        }],
        "status": "final",
        "category": [{ "coding": [category(reading.category())] }],
        "code": code(reading.code),
        "subject": { "type": "Patient", "identifier": { "system": "urn:pulsegate:principal", "value": reading.patient.to_string() } },
        "effectiveDateTime": moment(reading.measured_at_ms),
        "device": { "type": "Device", "identifier": { "system": "urn:pulsegate:device", "value": reading.device.to_string() } },
    });
    if let Some(profile) = profile(reading.code) {
        observation["meta"] = json!({ "profile": [profile] });
    }
    match &reading.value {
        Value::Quantity(value) => observation["valueQuantity"] = quantity(*value),
        Value::Components(components) => {
            let one = |component: &crate::value::Component| json!({ "code": code(component.code), "valueQuantity": quantity(component.quantity) });
            observation["component"] = components.iter().map(one).collect();
        }
        Value::Sampled(data) => observation["valueSampledData"] = sampled(data),
        Value::Coded(level) => {
            let coding = json!({ "system": SNOMED, "code": level.snomed(), "display": level.display() });
            observation["valueCodeableConcept"] = json!({ "coding": [coding], "text": level.display() });
        }
    }
    observation
}

/// The profile of the R4 vital-signs family that the reading conforms to.
const fn profile(code: LoincCode) -> Option<&'static str> {
    match code {
        LoincCode::HeartRate => Some("http://hl7.org/fhir/StructureDefinition/heartrate"),
        LoincCode::RespiratoryRate => Some("http://hl7.org/fhir/StructureDefinition/resprate"),
        LoincCode::OxygenSaturation => Some("http://hl7.org/fhir/StructureDefinition/oxygensat"),
        LoincCode::BodyTemperature => Some("http://hl7.org/fhir/StructureDefinition/bodytemp"),
        LoincCode::BloodPressure => Some("http://hl7.org/fhir/StructureDefinition/bp"),
        LoincCode::BodyWeight => Some("http://hl7.org/fhir/StructureDefinition/bodyweight"),
        _ => None,
    }
}

fn category(category: Category) -> Json {
    let (code, display) = match category {
        Category::VitalSigns => ("vital-signs", "Vital Signs"),
        Category::Ecg => ("procedure", "Procedure"),
        Category::Activity => ("activity", "Activity"),
        Category::Laboratory => ("laboratory", "Laboratory"),
        Category::Medication => ("therapy", "Therapy"),
    };
    json!({ "system": CATEGORIES, "code": code, "display": display })
}

fn code(code: LoincCode) -> Json {
    let own = json!({ "system": LOINC, "code": code.as_str(), "display": code.display() });
    let mut codings = vec![own];
    match code {
        // The R4 profile for oxygen saturation asks for this code; the one for pulse oximetry stands beside it.
        LoincCode::OxygenSaturation => {
            let general =
                json!({ "system": LOINC, "code": "2708-6", "display": "Oxygen saturation in Arterial blood" });
            codings.insert(0, general);
        }
        LoincCode::EcgLeadTwo => {
            codings.push(json!({ "system": ISO_11073, "code": "131330", "display": "MDC_ECG_ELEC_POTL_II" }));
        }
        _ => {}
    }
    json!({ "coding": codings, "text": code.display() })
}

fn quantity(quantity: Quantity) -> Json {
    quantity_of(quantity.value, quantity.unit)
}

fn quantity_of(value: f64, unit: Unit) -> Json {
    json!({ "value": value, "unit": unit.display(), "system": UCUM, "code": unit.ucum() })
}

fn sampled(data: &SampledData) -> Json {
    let samples: Vec<String> = data.samples.iter().map(i32::to_string).collect();
    #[expect(clippy::cast_precision_loss, reason = "a period is at most a minute in nanoseconds, which 53 bits hold")]
    let period_ms = data.period_ns as f64 / 1e6;
    json!({
        "origin": quantity_of(data.origin, data.unit),
        "period": period_ms,
        "factor": data.factor,
        "lowerLimit": data.origin + data.factor * f64::from(data.lower),
        "upperLimit": data.origin + data.factor * f64::from(data.upper),
        "dimensions": 1,
        "data": samples.join(" "),
    })
}

/// Unix milliseconds as FHIR `dateTime` in UTC; moments after the year 9999 are cut to its end.
pub(crate) fn moment(unix_ms: u64) -> String {
    let unix_ms = unix_ms.min(MOMENT_MS_MAX);
    let (year, month, day) = civil(unix_ms / DAY_MS);
    let ms = unix_ms % DAY_MS;
    let (hour, minute, second, rest) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60, ms % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{rest:03}Z")
}

/// The civil date of a day counted from 1970-01-01 (Howard Hinnant, "chrono-compatible low-level date algorithms").
const fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::moment;

    #[test]
    fn moments_are_named_in_utc() {
        assert_eq!(moment(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(moment(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(moment(1_763_724_645_678), "2025-11-21T11:30:45.678Z");
        assert_eq!(moment(u64::MAX), "9999-12-31T23:59:59.999Z");
    }
}
