//! All detectors at one table: the two rules, and beside them the learned models that the chain names active.
//!
//! Guarantees: the rules judge every reading, whatever becomes of a learned model; each detector's word is kept; one that fails, panics, or
//! says what cannot be (a number that is not finite, another model's name) counts as "not assessed" for that reading alone, is counted by
//! its code, and costs neither the reading nor the other detectors anything; a late reading never reaches a learned model.
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

    /// What everybody says of a device's traffic, the request-rate rule first.
    pub(crate) fn screen(&mut self, arrival: &Arrival) -> Vec<Judged<TrafficFinding>> {
        let (metrics, model) = (&self.metrics, self.rate.model());
        let assessment = self.rate.screen(arrival).unwrap_or_else(|error| {
            metrics.detector_failed(kind_name(DetectorKind::RequestRate), error.code());
            Assessment::NotAssessed(NotAssessed::Failed)
        });
        let mut judged = vec![Judged { detector: DetectorKind::RequestRate, model, assessment }];
        for seat in &mut self.learned {
            if !matches!(seat.kind, DetectorKind::Traffic | DetectorKind::TrafficUnsupervised) {
                continue;
            }
            let assessment = match &mut seat.detector {
                None => Assessment::NotAssessed(NotAssessed::Unavailable),
                Some(_) if arrival.is_late() => Assessment::NotAssessed(NotAssessed::Late),
                Some(Detector::Traffic(detector)) => {
                    contain(metrics, seat.kind, seat.model, || detector.screen(arrival))
                }
                Some(Detector::Physiology(_)) => Assessment::NotAssessed(NotAssessed::Unavailable),
            };
            keep(&mut judged, seat, assessment);
        }
        for judged in &judged {
            if judged.assessment.finding().is_some_and(|finding| finding.class == TrafficClass::Compromised) {
                metrics.flagged(kind_name(judged.detector));
            }
        }
        judged
    }

    /// What everybody who looks at this kind of measurement says of the patient, NEWS2 first.
    pub(crate) fn assess(&mut self, measured: &Measured<'_>) -> Vec<Judged<PhysiologyFinding>> {
        let (metrics, model) = (&self.metrics, self.news2.model());
        let assessment = self.news2.assess(measured).unwrap_or_else(|error| {
            metrics.detector_failed("news2", error.code());
            Assessment::NotAssessed(NotAssessed::Failed)
        });
        let mut judged = Vec::new();
        if assessment != Assessment::NotAssessed(NotAssessed::NotApplicable) {
            judged.push(Judged { detector: DetectorKind::VitalSigns, model, assessment });
        }
        for seat in &mut self.learned {
            if !looks_at(seat.kind, measured.reading) {
                continue;
            }
            let assessment = match &mut seat.detector {
                None => Assessment::NotAssessed(NotAssessed::Unavailable),
                Some(_) if measured.is_late() => Assessment::NotAssessed(NotAssessed::Late),
                Some(Detector::Physiology(detector)) => {
                    contain(metrics, seat.kind, seat.model, || detector.assess(measured))
                }
                Some(Detector::Traffic(_)) => Assessment::NotAssessed(NotAssessed::Unavailable),
            };
            keep(&mut judged, seat, assessment);
        }
        for judged in &judged {
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

/// Lets a learned model judge, and turns whatever goes wrong in it into "not assessed".
fn contain<T: Finding>(
    metrics: &Metrics,
    kind: DetectorKind,
    model: ModelId,
    judge: impl FnOnce() -> Result<Assessment<T>, DetectorError>,
) -> Assessment<T> {
    // The model's own state may be half changed for this one device or patient; the seam keeps those apart.
    let outcome = panics::contained(|| catch_unwind(AssertUnwindSafe(judge)));
    let code = match outcome {
        Ok(Ok(Assessment::Assessed(finding))) if !finding.is_sound(model) => "DETECTOR_UNSOUND",
        Ok(Ok(assessment)) => return assessment,
        Ok(Err(error)) => error.code(),
        Err(_panic) => "DETECTOR_PANICKED",
    };
    metrics.detector_failed(kind_name(kind), code);
    Assessment::NotAssessed(NotAssessed::Failed)
}
