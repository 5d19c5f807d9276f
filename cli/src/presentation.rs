//! Opened readings as people and other programs take them: words, CSV, JSON, a FHIR R4 Bundle.
//!
//! Must not: round or convert a value; what the device signed is what is shown.

use pulsegate_detector::{
    Assessment, Judged, NotAssessed, PhysiologyClass, PhysiologyFinding, Risk, TrafficClass, TrafficFinding,
};
use pulsegate_oracle::payload::Payload;
use pulsegate_reading::{Reading, Value};
use pulsegate_rules::registry::DetectorKind;
use serde_json::{Value as Json, json};

use crate::actions::opening::OpenedReading;
use crate::moment;

/// What was measured, in LOINC's words.
pub(crate) fn name(reading: &Reading) -> &'static str {
    reading.code.display()
}

/// The value with its unit, in one line.
pub(crate) fn value(reading: &Reading) -> String {
    match &reading.value {
        Value::Quantity(quantity) => format!("{} {}", quantity.value, quantity.unit.ucum()),
        Value::Components(components) => {
            let numbers: Vec<String> =
                components.iter().map(|component| component.quantity.value.to_string()).collect();
            let unit = components.first().map_or("", |component| component.quantity.unit.ucum());
            format!("{} {unit}", numbers.join("/"))
        }
        Value::Sampled(sampled) => {
            #[expect(clippy::cast_precision_loss, reason = "periods and counts are far below 2^53")]
            let seconds = sampled.period_ns as f64 * sampled.samples.len() as f64 / 1e9;
            format!("{} samples over {seconds:.1} s, {}", sampled.samples.len(), sampled.unit.ucum())
        }
        Value::Coded(level) => level.display().to_owned(),
    }
}

/// What the detectors said, and how the device stood, in a few words.
pub(crate) fn assessment(payload: &Payload) -> String {
    let verdict = &payload.verdict;
    let mut words = Vec::new();
    words.extend(verdict.physiology.iter().filter_map(physiology));
    words.extend(verdict.traffic.iter().filter_map(traffic));
    if payload.quarantined {
        words.push("device in quarantine".to_owned());
    }
    if verdict.late {
        words.push("late".to_owned());
    }
    if words.is_empty() { "-".to_owned() } else { words.join("; ") }
}

/// What a detector said of the patient, when there is something to say.
fn physiology(judged: &Judged<PhysiologyFinding>) -> Option<String> {
    let finding = match &judged.assessment {
        Assessment::Assessed(finding) => finding,
        Assessment::NotAssessed(reason) => return not_assessed(judged.detector, *reason),
    };
    if let Some(score) = &finding.news2 {
        return Some(format!("NEWS2 {} {}{}", score.aggregate, risk(score.risk), missing(score.missing.len())));
    }
    let class = match finding.class {
        PhysiologyClass::Unremarkable => "unremarkable",
        PhysiologyClass::Unwell => "unwell",
    };
    let label = finding.label.as_deref().filter(|_| finding.class == PhysiologyClass::Unwell);
    Some(said(judged.detector, class, label, finding.confidence))
}

/// What a detector said of the device, when there is something to say.
fn traffic(judged: &Judged<TrafficFinding>) -> Option<String> {
    match &judged.assessment {
        Assessment::Assessed(finding) if finding.class == TrafficClass::Compromised => {
            let (label, confidence) = (finding.label.as_deref(), finding.confidence);
            Some(said(judged.detector, "device suspect", label, confidence))
        }
        Assessment::Assessed(_) => None,
        Assessment::NotAssessed(reason) => not_assessed(judged.detector, *reason),
    }
}

fn said(detector: DetectorKind, class: &str, label: Option<&str>, confidence: Option<f64>) -> String {
    let label = label.map_or_else(String::new, |label| format!(", {label}"));
    let confidence = confidence.map_or_else(String::new, |confidence| format!(" {confidence:.2}"));
    format!("{}: {class}{label}{confidence}", kind(detector))
}

/// A detector that failed or has no model is named; one that learns, has nothing new to judge, or judges no late readings, is in the JSON alone.
fn not_assessed(detector: DetectorKind, reason: NotAssessed) -> Option<String> {
    let reason = match reason {
        NotAssessed::Failed => "the detector failed",
        NotAssessed::Unavailable => "the model is not at hand",
        NotAssessed::NoRoom => "no room for another one",
        NotAssessed::Learning | NotAssessed::Late | NotAssessed::NotApplicable | NotAssessed::NoFlow => {
            return None;
        }
    };
    Some(format!("{} not assessed, {reason}", kind(detector)))
}

/// A kind of detector, for people.
pub(crate) const fn kind(detector: DetectorKind) -> &'static str {
    match detector {
        DetectorKind::RequestRate => "request rate",
        DetectorKind::Traffic => "traffic",
        DetectorKind::TrafficUnsupervised => "unusual traffic",
        DetectorKind::EcgBeats => "ECG",
        DetectorKind::VitalSigns => "vital signs",
    }
}

const fn risk(risk: Risk) -> &'static str {
    match risk {
        Risk::Low => "low",
        Risk::LowMedium => "low to medium",
        Risk::Medium => "medium",
        Risk::High => "HIGH",
    }
}

fn missing(count: usize) -> String {
    if count == 0 { String::new() } else { format!(", {count} of 7 missing") }
}

/// A reading with all that is known of it.
pub(crate) fn json(opened: &OpenedReading) -> Json {
    let leaf = &opened.found.leaf;
    json!({
        "observation": opened.reading.to_fhir(),
        "measured_at_ms": opened.reading.measured_at_ms,
        "received_at_ms": opened.payload.received_at_ms,
        "loinc": opened.reading.code,
        "value": value(&opened.reading),
        "verdict": opened.payload.verdict,
        "quarantined": opened.payload.quarantined,
        "device": leaf.device,
        "sequence": leaf.sequence,
        "generation": leaf.generation,
        "record": leaf.record.to_string(),
        "oracle": opened.found.oracle,
        "batch": opened.found.batch,
        "anchored_at_ms": opened.found.anchored_at_ms,
    })
}

/// CSV (RFC 4180): one row per number; a waveform is one row, its samples separated by spaces.
pub(crate) fn csv(readings: &[OpenedReading]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let headings = [
        "measured_at",
        "device",
        "sequence",
        "loinc",
        "name",
        "value",
        "unit",
        "period_ns",
        "origin",
        "factor",
        "assessment",
        "record",
        "batch",
    ];
    let mut write =
        |row: &[String]| writer.write_record(row).expect("writing to memory does not fail and rows are equally long");
    write(&headings.map(str::to_owned));
    for opened in readings {
        for (code, value, unit, sampling) in numbers(&opened.reading) {
            let [period_ns, origin, factor] = sampling;
            write(&[
                moment::format_ms(opened.reading.measured_at_ms),
                opened.found.leaf.device.to_string(),
                opened.found.leaf.sequence.to_string(),
                code.as_str().to_owned(),
                code.display().to_owned(),
                value,
                unit.to_owned(),
                period_ns,
                origin,
                factor,
                assessment(&opened.payload),
                opened.found.leaf.record.to_string(),
                opened.found.batch.to_string(),
            ]);
        }
    }
    let bytes = writer.into_inner().expect("writing to memory does not fail");
    String::from_utf8(bytes).expect("every cell is text")
}

type Number = (pulsegate_reading::LoincCode, String, &'static str, [String; 3]);

fn numbers(reading: &Reading) -> Vec<Number> {
    let plain = || [String::new(), String::new(), String::new()];
    match &reading.value {
        Value::Quantity(quantity) => vec![(reading.code, quantity.value.to_string(), quantity.unit.ucum(), plain())],
        Value::Components(components) => components
            .iter()
            .map(|component| {
                (component.code, component.quantity.value.to_string(), component.quantity.unit.ucum(), plain())
            })
            .collect(),
        Value::Sampled(sampled) => {
            let samples: Vec<String> = sampled.samples.iter().map(ToString::to_string).collect();
            let sampling = [sampled.period_ns.to_string(), sampled.origin.to_string(), sampled.factor.to_string()];
            vec![(reading.code, samples.join(" "), sampled.unit.ucum(), sampling)]
        }
        Value::Coded(level) => vec![(reading.code, level.snomed().to_owned(), "", plain())],
    }
}

/// A FHIR R4 Bundle (type `collection`) of the readings' Observations.
pub(crate) fn bundle(readings: &[OpenedReading]) -> Json {
    let entry = |opened: &OpenedReading| json!({ "fullUrl": urn(&opened.found.leaf.link), "resource": opened.reading.to_fhir() });
    let entries: Vec<Json> = readings.iter().map(entry).collect();
    let mut bundle = json!({ "resourceType": "Bundle", "type": "collection" });
    // FHIR forbids empty lists.
    if !entries.is_empty() {
        bundle["entry"] = Json::Array(entries);
    }
    bundle
}

/// A UUID (RFC 9562, version 8) out of the signed reading's hash, so that the same reading has the same name everywhere.
fn urn(link: &[u8; 32]) -> String {
    let mut bytes = [0u8; 16];
    bytes.copy_from_slice(&link[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex::encode(bytes);
    format!("urn:uuid:{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..])
}

#[cfg(test)]
mod tests {
    use pulsegate_detector::{InputsDigest, Verdict};
    use pulsegate_ipfs::manifest::RecordLeaf;
    use pulsegate_reading::{Component, LoincCode, Quantity, Unit};
    use pulsegate_rules::{DeviceId, Epoch, Generation, ModelId, Principal, StreamId};

    use super::*;
    use crate::actions::opening::Found;

    fn opened(code: LoincCode, value: Value) -> OpenedReading {
        let device = DeviceId([3; 32]);
        let leaf = RecordLeaf {
            record: pulsegate_ipfs::Block::dag_cbor(&1).unwrap().cid,
            stream: StreamId([0; 32]),
            generation: Generation(0),
            epoch: Epoch(0),
            device,
            sequence: 1,
            link: [0xab; 32],
            previous: [0; 32],
        };
        let patient = Principal([1; 32]);
        let reading = Reading {
            device,
            patient,
            audience: [0; 32],
            sequence: 1,
            previous: [0; 32],
            measured_at_ms: 0,
            code,
            value,
        };
        let late = Assessment::NotAssessed(NotAssessed::Late);
        let judged = Judged { detector: DetectorKind::RequestRate, model: ModelId([5; 32]), assessment: late };
        let verdict = Verdict::combine(true, vec![judged], Vec::new());
        let payload = Payload { reading: Vec::new(), received_at_ms: 1, verdict, quarantined: true };
        OpenedReading { found: Found { leaf, oracle: patient, batch: 7, anchored_at_ms: 2 }, payload, reading }
    }

    fn blood_pressure() -> OpenedReading {
        let part = |code, value| Component { code, quantity: Quantity { value, unit: Unit::MillimetreOfMercury } };
        let parts = vec![part(LoincCode::SystolicBloodPressure, 120.0), part(LoincCode::DiastolicBloodPressure, 80.5)];
        opened(LoincCode::BloodPressure, Value::Components(parts))
    }

    #[test]
    fn values_are_shown_as_signed() {
        assert_eq!(value(&blood_pressure().reading), "120/80.5 mm[Hg]");
        let rate = opened(LoincCode::HeartRate, Value::quantity(61.25, Unit::PerMinute));
        assert_eq!(value(&rate.reading), "61.25 /min");
        assert_eq!(assessment(&rate.payload), "device in quarantine; late");
    }

    #[test]
    fn every_detector_that_has_something_to_say_is_quoted() {
        let finding = TrafficFinding {
            model: ModelId([6; 32]),
            class: TrafficClass::Compromised,
            confidence: Some(0.987),
            label: Some("brute force".to_owned()),
            inputs: InputsDigest([0; 32]),
            missing: Vec::new(),
            rate: None,
        };
        let traffic = [
            (DetectorKind::RequestRate, Assessment::NotAssessed(NotAssessed::Learning)),
            (DetectorKind::Traffic, Assessment::Assessed(finding)),
            (DetectorKind::TrafficUnsupervised, Assessment::NotAssessed(NotAssessed::Unavailable)),
        ];
        let judged = |(detector, assessment)| Judged { detector, model: ModelId([6; 32]), assessment };
        let mut rate = opened(LoincCode::HeartRate, Value::quantity(61.25, Unit::PerMinute));
        rate.payload.quarantined = false;
        rate.payload.verdict = Verdict::combine(false, traffic.map(judged).into(), Vec::new());
        let words = assessment(&rate.payload);
        assert_eq!(
            words,
            "traffic: device suspect, brute force 0.99; unusual traffic not assessed, the model is not at hand"
        );
    }

    #[test]
    fn csv_has_one_row_per_number() {
        let text = csv(&[blood_pressure()]);
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows.len(), 3);
        assert!(rows[1].contains("8480-6,Systolic blood pressure,120,mm[Hg]"), "{text}");
        assert!(rows[2].contains("8462-4,Diastolic blood pressure,80.5,mm[Hg]"), "{text}");
    }

    #[test]
    fn a_bundle_names_each_reading_once_and_an_empty_one_has_no_list() {
        let bundle_of_one = bundle(&[blood_pressure()]);
        assert_eq!(bundle_of_one["entry"][0]["fullUrl"], "urn:uuid:abababab-abab-8bab-abab-abababababab");
        assert_eq!(bundle_of_one["entry"][0]["resource"]["resourceType"], "Observation");
        assert!(bundle(&[]).get("entry").is_none());
    }
}
