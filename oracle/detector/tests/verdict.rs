//! The verdict: both judgements in one word, kept apart inside, and whole after a trip through JSON and DAG-CBOR.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use pulsegate_detector::{
    Arrival, Assessment, DetectorError, InputsDigest, Judged, NotAssessed, PhysiologyClass, PhysiologyFinding,
    RateDetail, TrafficClass, TrafficDetector, TrafficFinding, Verdict, VerdictClass,
};
use pulsegate_detector::{News2Score, Parameter, SpO2Scale};
use pulsegate_rules::registry::DetectorKind;
use pulsegate_rules::{DeviceId, ModelId};

/// One detector's word, for a side of its own.
fn alone<T>(detector: DetectorKind, assessment: Assessment<T>) -> Vec<Judged<T>> {
    vec![Judged { detector, model: ModelId([1; 32]), assessment }]
}

fn combine(late: bool, traffic: Assessment<TrafficFinding>, physiology: Assessment<PhysiologyFinding>) -> Verdict {
    let (rate, vitals) = (DetectorKind::RequestRate, DetectorKind::VitalSigns);
    Verdict::combine(late, alone(rate, traffic), alone(vitals, physiology))
}

fn traffic(class: TrafficClass) -> Assessment<TrafficFinding> {
    let rate = Some(RateDetail { norm_ms: 59.2, recent_ms: 24.0 });
    let inputs = InputsDigest([3; 32]);
    let (model, label, missing) = (ModelId([1; 32]), None, Vec::new());
    Assessment::Assessed(TrafficFinding { model, class, confidence: Some(0.75), label, inputs, missing, rate })
}

fn physiology(class: PhysiologyClass, pulse: f64) -> Assessment<PhysiologyFinding> {
    let of = |parameter| match parameter {
        Parameter::Pulse => Some(pulse),
        Parameter::RespirationRate | Parameter::SystolicBloodPressure if pulse > 130.0 => Some(300.0),
        _ => None,
    };
    let score = News2Score::of(SpO2Scale::One, of);
    Assessment::Assessed(PhysiologyFinding {
        model: ModelId([2; 32]),
        class,
        confidence: None,
        label: None,
        inputs: InputsDigest([4; 32]),
        missing: score.missing.iter().map(|parameter| parameter.code().into()).collect(),
        news2: Some(score),
        beats: None,
    })
}

#[test]
fn each_pair_of_judgements_has_its_word() {
    use VerdictClass::{Both, Compromised, Neither, NotAssessed as Nobody, Unwell};
    let (good, bad) = (traffic(TrafficClass::Normal), traffic(TrafficClass::Compromised));
    let (well, ill) = (physiology(PhysiologyClass::Unremarkable, 72.0), physiology(PhysiologyClass::Unwell, 140.0));
    let none = || Assessment::NotAssessed(NotAssessed::Failed);
    for (traffic, physiology, expected) in [
        (good.clone(), well.clone(), Neither),
        (bad.clone(), well.clone(), Compromised),
        (good.clone(), ill.clone(), Unwell),
        (bad.clone(), ill.clone(), Both),
        (bad, none_of(), Compromised),
        (none(), ill, Unwell),
        (good, none_of(), Neither),
        (none(), well, Neither),
        (none(), none_of(), Nobody),
    ] {
        assert_eq!(combine(false, traffic, physiology).class, expected);
    }
}

fn none_of() -> Assessment<PhysiologyFinding> {
    Assessment::NotAssessed(NotAssessed::Failed)
}

#[test]
fn no_model_talks_another_ones_alarm_away() {
    use DetectorKind::{RequestRate, Traffic, TrafficUnsupervised};
    let judged = |detector, class| Judged { detector, model: ModelId([1; 32]), assessment: traffic(class) };
    let (normal, suspect) = (TrafficClass::Normal, TrafficClass::Compromised);
    for classes in [[suspect, normal, normal], [normal, suspect, normal], [normal, normal, suspect]] {
        let kinds = [RequestRate, Traffic, TrafficUnsupervised].into_iter();
        let said: Vec<_> = kinds.zip(classes).map(|(kind, class)| judged(kind, class)).collect();
        let verdict = Verdict::combine(false, said.clone(), Vec::new());
        assert_eq!(verdict.class, VerdictClass::Compromised, "{classes:?}");
        assert_eq!(verdict.traffic, said, "and everybody's word is kept");
    }
}

#[test]
fn a_detector_without_a_model_is_named_and_hides_nobody() {
    let unavailable = Judged {
        detector: DetectorKind::Traffic,
        model: ModelId([7; 32]),
        assessment: Assessment::NotAssessed(NotAssessed::Unavailable),
    };
    let mut said = alone(DetectorKind::RequestRate, traffic(TrafficClass::Compromised));
    said.push(unavailable);
    let verdict = Verdict::combine(false, said, alone(DetectorKind::VitalSigns, none_of()));
    assert_eq!(verdict.class, VerdictClass::Compromised);
    let models: Vec<_> = verdict.models().collect();
    assert_eq!(models[2], (DetectorKind::Traffic, ModelId([7; 32])));
}

#[test]
fn a_verdict_of_the_first_version_is_still_readable() {
    let old = serde_json::json!({
        "class": "neither",
        "late": false,
        "traffic": { "not-assessed": "learning" },
        "physiology": { "assessed": {
            "model": ModelId([2; 32]), "class": "unremarkable", "confidence": null,
            "inputs": InputsDigest([4; 32]), "missing": ["pulse"], "news2": null,
        } },
    });
    let verdict = serde_json::from_value::<Verdict>(old).unwrap();
    assert_eq!(verdict.traffic[0].detector, DetectorKind::RequestRate);
    assert_eq!(verdict.traffic[0].assessment, Assessment::NotAssessed(NotAssessed::Learning));
    assert_eq!(verdict.physiology[0].assessment.finding().unwrap().missing, ["pulse"]);

    #[derive(serde::Serialize)]
    struct First {
        class: VerdictClass,
        late: bool,
        traffic: Assessment<TrafficFinding>,
        physiology: Assessment<PhysiologyFinding>,
    }
    let (class, traffic) = (VerdictClass::Both, traffic(TrafficClass::Compromised));
    let physiology = physiology(PhysiologyClass::Unwell, 140.0);
    let first = First { class, late: false, traffic: traffic.clone(), physiology: physiology.clone() };
    let bytes = serde_ipld_dagcbor::to_vec(&first).unwrap();
    let verdict: Verdict = serde_ipld_dagcbor::from_slice(&bytes).unwrap();
    assert_eq!((&verdict.traffic[0].assessment, &verdict.physiology[0].assessment), (&traffic, &physiology));
    assert_eq!(verdict.class, class);
}

#[test]
fn only_a_live_high_score_is_critical() {
    let high = physiology(PhysiologyClass::Unwell, 140.0);
    let judge = |late, physiology| combine(late, traffic(TrafficClass::Normal), physiology).is_critical();
    assert!(judge(false, high.clone()));
    assert!(!judge(true, high));
    assert!(!judge(false, physiology(PhysiologyClass::Unwell, 125.0)));
    assert!(!judge(false, none_of()));
}

#[test]
fn a_verdict_survives_dag_cbor() {
    for verdict in [
        combine(false, traffic(TrafficClass::Compromised), physiology(PhysiologyClass::Unwell, 140.0)),
        combine(true, Assessment::NotAssessed(NotAssessed::Late), Assessment::NotAssessed(NotAssessed::Late)),
        Verdict::combine(false, Vec::new(), Vec::new()),
    ] {
        let bytes = serde_ipld_dagcbor::to_vec(&verdict).unwrap();
        assert_eq!(serde_ipld_dagcbor::from_slice::<Verdict>(&bytes).unwrap(), verdict);
    }
}

#[test]
fn a_learned_model_fits_the_seam_and_its_failure_is_not_a_verdict() {
    struct Learned;
    impl TrafficDetector for Learned {
        fn model(&self) -> ModelId {
            ModelId([5; 32])
        }
        fn screen(&mut self, arrival: &Arrival) -> Result<Assessment<TrafficFinding>, DetectorError> {
            if arrival.bytes == 0 {
                return Err(DetectorError::UnusableInput { reason: "an empty request" });
            }
            let (model, class, confidence) = (self.model(), TrafficClass::Normal, Some(0.9));
            let inputs = InputsDigest::of(&[&arrival.device.0]);
            let (label, missing) = (None, Vec::new());
            Ok(Assessment::Assessed(TrafficFinding { model, class, confidence, label, inputs, missing, rate: None }))
        }
    }
    let mut detector: Box<dyn TrafficDetector> = Box::new(Learned);
    let arrival = Arrival { device: DeviceId([1; 32]), received_at_ms: 1, measured_at_ms: 1, bytes: 0, flow: None };
    let error = detector.screen(&arrival).unwrap_err();
    assert_eq!(error.code(), "DETECTOR_UNUSABLE_INPUT");
    assert!(detector.screen(&Arrival { bytes: 9, ..arrival }).unwrap().finding().is_some());
}
