//! All detectors at one table: the two rules, and beside them the learned models that the chain names active.
//!
//! Guarantees: the rules judge every reading, whatever becomes of a learned model; each detector's word is kept; one that fails, panics, or
//! says what cannot be (a number that is not finite, another model's name) counts as "not assessed" for that reading alone (a panic: for
//! the readings that it judged together), is counted by its code, and costs neither the reading nor the other detectors anything; a late
//! reading never reaches a learned model.
//! Must not: drop a reading, or let a panic's text (it may hold a measured value) be printed.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pulsegate_detector::runtime::{Detector, kind_name, model_set};
use pulsegate_detector::{
    Arrival, Assessment, DetectorError, Judged, Measured, News2, NotAssessed, PhysiologyClass, PhysiologyDetector,
    PhysiologyFinding, RequestRate, TrafficClass, TrafficDetector, TrafficFinding,
};
use pulsegate_reading::Reading;
use pulsegate_rules::registry::DetectorKind;
use pulsegate_rules::{Category, ModelId};

use super::panics;
use crate::metrics::Metrics;

/// Longest label, or name of a missing input, that a model may give, bytes: a sentence.
pub(crate) const LABEL_BYTES_MAX: usize = 256;
/// Most missing inputs that a finding may name.
pub(crate) const MISSING_MAX: usize = 128;

/// What a finding of either side has in common.
trait Finding {
    fn is_sound(&self, model: ModelId) -> bool;
}

/// Whether what a model said can be sealed: it goes into DAG-CBOR, which knows finite numbers only, and into a record of bounded length.
fn is_sound(confidence: Option<f64>, label: Option<&String>, missing: &[Cow<'static, str>]) -> bool {
    confidence.is_none_or(|confidence| (0.0..=1.0).contains(&confidence))
        && label.is_none_or(|label| label.len() <= LABEL_BYTES_MAX)
        && missing.len() <= MISSING_MAX
        && missing.iter().all(|name| name.len() <= LABEL_BYTES_MAX)
}

impl Finding for TrafficFinding {
    fn is_sound(&self, model: ModelId) -> bool {
        let rate = self.rate.is_none_or(|rate| rate.norm_ms.is_finite() && rate.recent_ms.is_finite());
        self.model == model && rate && is_sound(self.confidence, self.label.as_ref(), &self.missing)
    }
}

impl Finding for PhysiologyFinding {
    fn is_sound(&self, model: ModelId) -> bool {
        // Only the rule beside the models gives a score, which alone makes a verdict critical.
        self.model == model && self.news2.is_none() && is_sound(self.confidence, self.label.as_ref(), &self.missing)
    }
}

/// A learned model's place at the table.
pub(crate) struct Seat {
    /// What it judges.
    pub(crate) kind: DetectorKind,
    /// The model that the chain names active.
    pub(crate) model: ModelId,
    /// The model at work; none when it could not be loaded.
    pub(crate) detector: Option<Detector>,
}

/// What changes at the table.
pub(crate) enum Change {
    /// A model takes the place of its kind, and starts to learn anew.
    Seat(Seat),
    /// The chain names no model of this kind.
    Leave(DetectorKind),
}

/// The table.
pub(crate) struct Panel {
    rate: RequestRate,
    news2: News2,
    /// In the order of their kinds.
    learned: Vec<Seat>,
    metrics: Metrics,
}

impl Panel {
    /// The rules alone.
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { rate: RequestRate::default(), news2: News2::default(), learned: Vec::new(), metrics }
    }

    /// Seats or unseats learned models.
    pub(crate) fn change(&mut self, changes: Vec<Change>) {
        for change in changes {
            let kind = match &change {
                Change::Seat(seat) => seat.kind,
                Change::Leave(kind) => *kind,
            };
            self.learned.retain(|seat| seat.kind != kind);
            if let Change::Seat(seat) = change {
                self.learned.push(seat);
                self.learned.sort_by_key(|seat| seat.kind);
            }
        }
    }

    /// One id for all that judge now: the rules and the learned models that are at work.
    pub(crate) fn model_set(&self) -> ModelId {
        let mut models =
            vec![(DetectorKind::RequestRate, self.rate.model()), (DetectorKind::VitalSigns, self.news2.model())];
        models.extend(self.learned.iter().filter(|seat| seat.detector.is_some()).map(|seat| (seat.kind, seat.model)));
        model_set(&models)
    }

    /// What everybody says of the traffic behind some readings, reading by reading, the request-rate rule first.
    pub(crate) fn screen(&mut self, arrivals: &[Arrival]) -> Vec<Vec<Judged<TrafficFinding>>> {
        let (metrics, model) = (&self.metrics, self.rate.model());
        let rate = &mut self.rate;
        let by_rule = |arrival| {
            let assessment = rate.screen(arrival).unwrap_or_else(|error| {
                metrics.detector_failed(kind_name(DetectorKind::RequestRate), error.code());
                Assessment::NotAssessed(NotAssessed::Failed)
            });
            vec![Judged { detector: DetectorKind::RequestRate, model, assessment }]
        };
        let mut judged: Vec<_> = arrivals.iter().map(by_rule).collect();
        for seat in &mut self.learned {
            if !matches!(seat.kind, DetectorKind::Traffic | DetectorKind::TrafficUnsupervised) {
                continue;
            }
            let assessments = match &mut seat.detector {
                Some(Detector::Traffic(detector)) => Trial { metrics, kind: seat.kind, model: seat.model }.of(
                    detector,
                    arrivals,
                    Arrival::is_late,
                    |detector, arrivals| detector.screen_together(arrivals),
                    |detector, arrival| detector.screen(arrival),
                ),
                _ => vec![Assessment::NotAssessed(NotAssessed::Unavailable); arrivals.len()],
            };
            judged.iter_mut().zip(assessments).for_each(|(judged, assessment)| keep(judged, seat, assessment));
        }
        for judged in judged.iter().flatten() {
            if judged.assessment.finding().is_some_and(|finding| finding.class == TrafficClass::Compromised) {
                metrics.flagged(kind_name(judged.detector));
            }
        }
        judged
    }

    /// What everybody who looks at such measurements says of their patients, reading by reading, NEWS2 first.
    pub(crate) fn assess(&mut self, measured: &[Measured<'_>]) -> Vec<Vec<Judged<PhysiologyFinding>>> {
        let (metrics, model) = (&self.metrics, self.news2.model());
        let news2 = &mut self.news2;
        let by_rule = |measured| {
            let assessment = news2.assess(measured).unwrap_or_else(|error| {
                metrics.detector_failed("news2", error.code());
                Assessment::NotAssessed(NotAssessed::Failed)
            });
            let looks = assessment != Assessment::NotAssessed(NotAssessed::NotApplicable);
            looks.then_some(Judged { detector: DetectorKind::VitalSigns, model, assessment }).into_iter().collect()
        };
        let mut judged: Vec<Vec<_>> = measured.iter().map(by_rule).collect();
        for seat in &mut self.learned {
            let places: Vec<usize> =
                (0..measured.len()).filter(|place| looks_at(seat.kind, measured[*place].reading)).collect();
            let seen: Vec<Measured<'_>> = places.iter().map(|place| measured[*place]).collect();
            let assessments = match &mut seat.detector {
                Some(Detector::Physiology(detector)) => Trial { metrics, kind: seat.kind, model: seat.model }.of(
                    detector,
                    &seen,
                    Measured::is_late,
                    |detector, measured| detector.assess_together(measured),
                    |detector, measured| detector.assess(measured),
                ),
                _ => vec![Assessment::NotAssessed(NotAssessed::Unavailable); seen.len()],
            };
            places.iter().zip(assessments).for_each(|(place, assessment)| keep(&mut judged[*place], seat, assessment));
        }
        for judged in judged.iter().flatten() {
            let unwell = |finding: &PhysiologyFinding| finding.class == PhysiologyClass::Unwell;
            if judged.assessment.finding().is_some_and(unwell) {
                metrics.flagged(if judged.model == model { "news2" } else { kind_name(judged.detector) });
            }
        }
        judged
    }
}

/// Whether a kind of model judges this kind of measurement at all.
fn looks_at(kind: DetectorKind, reading: &Reading) -> bool {
    match kind {
        DetectorKind::EcgBeats => reading.category() == Category::Ecg,
        DetectorKind::VitalSigns => reading.category() == Category::VitalSigns,
        DetectorKind::RequestRate | DetectorKind::Traffic | DetectorKind::TrafficUnsupervised => false,
    }
}

fn keep<T>(judged: &mut Vec<Judged<T>>, seat: &Seat, assessment: Assessment<T>) {
    if !matches!(assessment, Assessment::NotAssessed(NotAssessed::NotApplicable)) {
        judged.push(Judged { detector: seat.kind, model: seat.model, assessment });
    }
}

/// What a model said of one input.
type Said<T> = Result<Assessment<T>, DetectorError>;

/// A learned model that is let judge, whatever goes wrong in it.
struct Trial<'a> {
    metrics: &'a Metrics,
    kind: DetectorKind,
    model: ModelId,
}

impl Trial<'_> {
    /// What the model says of every input: of all that are live together if it can, one by one if not. Late ones do not reach it.
    fn of<D: ?Sized, I: Copy, T: Finding>(
        &self,
        detector: &mut D,
        inputs: &[I],
        is_late: impl Fn(&I) -> bool,
        together: impl FnOnce(&mut D, &[I]) -> Option<Vec<Said<T>>>,
        alone: impl Fn(&mut D, &I) -> Said<T>,
    ) -> Vec<Assessment<T>> {
        let live: Vec<I> = inputs.iter().filter(|input| !is_late(input)).copied().collect();
        let said: Vec<Assessment<T>> = match held(|| together(detector, &live)) {
            Some(Some(said)) => said.into_iter().map(|said| self.checked(Some(said))).collect(),
            Some(None) => live.iter().map(|one| self.checked(held(|| alone(detector, one)))).collect(),
            None => live.iter().map(|_| self.checked(None)).collect(),
        };
        let mut said = said.into_iter();
        let of = |input| match is_late(input) {
            true => Assessment::NotAssessed(NotAssessed::Late),
            false => said.next().unwrap_or_else(|| self.failed("DETECTOR_UNSOUND")),
        };
        inputs.iter().map(of).collect()
    }

    /// What was said, if it can be; none is a panic.
    fn checked<T: Finding>(&self, said: Option<Said<T>>) -> Assessment<T> {
        match said {
            Some(Ok(Assessment::Assessed(finding))) if !finding.is_sound(self.model) => self.failed("DETECTOR_UNSOUND"),
            Some(Ok(assessment)) => assessment,
            Some(Err(error)) => self.failed(error.code()),
            None => self.failed("DETECTOR_PANICKED"),
        }
    }

    fn failed<T>(&self, code: &'static str) -> Assessment<T> {
        self.metrics.detector_failed(kind_name(self.kind), code);
        Assessment::NotAssessed(NotAssessed::Failed)
    }
}

/// Runs a model's own code; none when it panics. Its state may then be half changed for the devices or patients that it was judging, and
/// for no other: the seam keeps those apart.
fn held<T>(run: impl FnOnce() -> T) -> Option<T> {
    panics::contained(|| catch_unwind(AssertUnwindSafe(run))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulsegate_detector::InputsDigest;
    use pulsegate_rules::DeviceId;

    const MODEL: ModelId = ModelId([7; 32]);

    /// Judges together, and says how many were judged together; what goes wrong hangs on how many they are.
    struct Together;

    impl TrafficDetector for Together {
        fn model(&self) -> ModelId {
            MODEL
        }

        fn screen(&mut self, _: &Arrival) -> Result<Assessment<TrafficFinding>, DetectorError> {
            Err(DetectorError::Failed { reason: "judges together only" })
        }

        fn screen_together(
            &mut self,
            arrivals: &[Arrival],
        ) -> Option<Vec<Result<Assessment<TrafficFinding>, DetectorError>>> {
            assert!(arrivals.len() < 4, "four are too many");
            let finding = TrafficFinding {
                model: MODEL,
                class: TrafficClass::Normal,
                confidence: Some(0.5),
                label: Some(format!("one of {}", arrivals.len())),
                inputs: InputsDigest([0; 32]),
                missing: Vec::new(),
                rate: None,
            };
            let answers = if arrivals.len() == 3 { 2 } else { arrivals.len() };
            Some((0..answers).map(|_| Ok(Assessment::Assessed(finding.clone()))).collect())
        }
    }

    fn said(count: u8, late: u8) -> Vec<Assessment<TrafficFinding>> {
        let mut panel = Panel::new(Metrics::new());
        let detector = Some(Detector::Traffic(Box::new(Together)));
        panel.change(vec![Change::Seat(Seat { kind: DetectorKind::Traffic, model: MODEL, detector })]);
        let arrival = |number| {
            let measured_at_ms = if number < late { 0 } else { 1 << 40 };
            let device = DeviceId([number; 32]);
            Arrival { device, received_at_ms: 1 << 40, measured_at_ms, bytes: 1, flow: None }
        };
        let arrivals: Vec<Arrival> = (0..count).map(arrival).collect();
        let judged = panel.screen(&arrivals);
        assert!(judged.iter().all(|judged| judged.len() == 2), "the rule judges every reading beside the model");
        judged.into_iter().map(|mut judged| judged.remove(1).assessment).collect()
    }

    #[test]
    fn readings_of_a_group_are_judged_in_one_call_and_late_ones_reach_nobody() {
        let said = said(3, 1);
        assert_eq!(said[0], Assessment::NotAssessed(NotAssessed::Late));
        let labels: Vec<_> = said[1..].iter().filter_map(|said| said.finding()?.label.clone()).collect();
        assert_eq!(labels, ["one of 2", "one of 2"]);
    }

    #[test]
    fn a_panic_or_a_missing_answer_is_not_assessed_for_those_judged_together_alone() {
        let failed = Assessment::NotAssessed(NotAssessed::Failed);
        assert_eq!(said(5, 1).iter().filter(|said| **said == failed).count(), 4);
        let short = said(3, 0);
        assert_eq!((short[0].finding().is_some(), &short[2]), (true, &failed));
    }
}
