//! The verdict: both judgements in one word, kept apart inside, and whole after a trip through JSON and DAG-CBOR.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use pulsegate_detector::{
    Arrival, Assessment, DetectorError, InputsDigest, NotAssessed, PhysiologyClass, PhysiologyFinding, RateDetail,
    TrafficClass, TrafficDetector, TrafficFinding, Verdict, VerdictClass,
};
use pulsegate_detector::{News2Score, Parameter, SpO2Scale};
use pulsegate_rules::{DeviceId, ModelId};

fn traffic(class: TrafficClass) -> Assessment<TrafficFinding> {
    let rate = Some(RateDetail { norm_ms: 59.2, recent_ms: 24.0 });
    let inputs = InputsDigest([3; 32]);
    Assessment::Assessed(TrafficFinding { model: ModelId([1; 32]), class, confidence: Some(0.75), inputs, rate })
}

fn physiology(class: PhysiologyClass, pulse: f64) -> Assessment<PhysiologyFinding> {
    let of = |parameter| match parameter {
        Parameter::Pulse => Some(pulse),
        Parameter::RespirationRate | Parameter::SystolicBloodPressure if pulse > 130.0 => Some(300.0),
        _ => None,
    };
    let score = News2Score::of(SpO2Scale::One, of);
    let (missing, inputs) = (score.missing.clone(), InputsDigest([4; 32]));
    let model = ModelId([2; 32]);
    Assessment::Assessed(PhysiologyFinding { model, class, confidence: None, inputs, missing, news2: Some(score) })
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
        assert_eq!(Verdict::combine(false, traffic, physiology).class, expected);
    }
}

fn none_of() -> Assessment<PhysiologyFinding> {
    Assessment::NotAssessed(NotAssessed::Failed)
}

#[test]
fn only_a_live_high_score_is_critical() {
    let high = physiology(PhysiologyClass::Unwell, 140.0);
    let judge = |late, physiology| Verdict::combine(late, traffic(TrafficClass::Normal), physiology).is_critical();
    assert!(judge(false, high.clone()));
    assert!(!judge(true, high));
    assert!(!judge(false, physiology(PhysiologyClass::Unwell, 125.0)));
    assert!(!judge(false, none_of()));
}

#[test]
fn a_verdict_survives_dag_cbor() {
    for verdict in [
        Verdict::combine(false, traffic(TrafficClass::Compromised), physiology(PhysiologyClass::Unwell, 140.0)),
        Verdict::not_assessed(true, NotAssessed::Late),
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
            Ok(Assessment::Assessed(TrafficFinding { model, class, confidence, inputs, rate: None }))
        }
    }
    let mut detector: Box<dyn TrafficDetector> = Box::new(Learned);
    let arrival = Arrival { device: DeviceId([1; 32]), received_at_ms: 1, measured_at_ms: 1, bytes: 0 };
    let error = detector.screen(&arrival).unwrap_err();
    assert_eq!(error.code(), "DETECTOR_UNUSABLE_INPUT");
    assert!(detector.screen(&Arrival { bytes: 9, ..arrival }).unwrap().finding().is_some());
}
