//! Every kind of reading as FHIR Observation, judged by the JSON schema that HL7 publishes for R4 (4.0.1).
//!
//! The validator is the crate `jsonschema` (draft 6, as the schema asks for). The schema is `tests/data/fhir-r4-observation.schema.json`: the
//! definition of Observation and of everything that it refers to, word for word without descriptions; only the list of all resources, which
//! contained resources would need, is cut to "none". It is strict: properties that R4 does not know are refused. What a JSON schema cannot
//! say (bindings, the invariants of the vital-signs profile) is asserted below where Pulsegate depends on it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use pulsegate_reading::LoincCode;
use serde_json::{Value as Json, json};

fn validator() -> jsonschema::Validator {
    let schema: Json = serde_json::from_str(include_str!("data/fhir-r4-observation.schema.json")).unwrap();
    jsonschema::draft6::new(&schema).unwrap()
}

#[test]
fn every_kind_of_reading_is_a_valid_r4_observation() {
    let validator = validator();
    let readings = common::valid();
    assert_eq!(readings.len(), LoincCode::ALL.len());
    for (name, reading) in readings {
        let observation = reading.to_fhir();
        let problems: Vec<String> =
            validator.iter_errors(&observation).map(|error| format!("{error} at {}", error.instance_path())).collect();
        assert!(problems.is_empty(), "{name}: {problems:?}");
    }
}

#[test]
fn the_schema_refuses_what_is_not_an_observation() {
    let validator = validator();
    let good = common::heart_rate().to_fhir();
    let spoil = |pointer: &str, value: Json| {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        bad
    };
    assert!(validator.is_valid(&good));
    for bad in [
        spoil("/status", json!("done")),
        spoil("/effectiveDateTime", json!("yesterday")),
        spoil("/valueQuantity/value", json!("72")),
        spoil("/code", json!({ "codings": [] })),
        spoil("/resourceType", json!("Patient")),
    ] {
        assert!(!validator.is_valid(&bad), "{bad}");
    }
    let mut unknown = good.clone();
    unknown["heartRate"] = json!(72);
    assert!(!validator.is_valid(&unknown));
}

#[test]
fn vital_signs_carry_what_their_r4_profile_demands() {
    for (name, reading) in common::valid() {
        let observation = reading.to_fhir();
        let Some(profile) = observation.pointer("/meta/profile/0").and_then(Json::as_str) else { continue };
        assert_eq!(observation.pointer("/category/0/coding/0/code"), Some(&json!("vital-signs")), "{name}");
        let code = match profile.rsplit('/').next().unwrap() {
            "heartrate" => "8867-4",
            "resprate" => "9279-1",
            "oxygensat" => "2708-6",
            "bodytemp" => "8310-5",
            "bp" => "85354-9",
            "bodyweight" => "29463-7",
            other => panic!("{other}"),
        };
        assert_eq!(observation.pointer("/code/coding/0/code"), Some(&json!(code)), "{name}");
        assert_eq!(observation.pointer("/code/coding/0/system"), Some(&json!("http://loinc.org")), "{name}");
        assert!(observation["subject"].is_object() && observation["effectiveDateTime"].is_string(), "{name}");
        let value = observation.pointer("/component/1/valueQuantity").unwrap_or(&observation["valueQuantity"]);
        assert_eq!(value["system"], "http://unitsofmeasure.org", "{name}");
        assert!(value["value"].is_number() && value["code"].is_string(), "{name}");
    }
    let pressure = common::blood_pressure().to_fhir();
    assert_eq!(pressure.pointer("/component/0/code/coding/0/code"), Some(&json!("8480-6")));
    assert_eq!(pressure.pointer("/component/1/code/coding/0/code"), Some(&json!("8462-4")));
    assert_eq!(pressure.pointer("/component/0/valueQuantity/code"), Some(&json!("mm[Hg]")));
}

#[test]
fn a_waveform_keeps_its_physical_values() {
    let data = common::waveform();
    let reading = common::reading(LoincCode::EcgLeadTwo, pulsegate_reading::Value::Sampled(data));
    let sampled = &reading.to_fhir()["valueSampledData"];
    assert_eq!(sampled["data"], "995 995 1024 1300 800 0 2047");
    assert_eq!((&sampled["factor"], &sampled["origin"]["value"]), (&json!(0.005), &json!(-5.12)));
    assert_eq!((&sampled["period"], &sampled["dimensions"]), (&json!(2.777_778), &json!(1)));
    assert_eq!(reading.to_fhir().pointer("/code/coding/1/code"), Some(&json!("131330")));
}
