//! assess: what the measurements say of the patient. Judges every accepted reading once, in the order of the log.
//!
//! A live verdict is critical at a NEWS2 aggregate of 7 or more (Royal College of Physicians, 2017: emergency response). It is anchored
//! on its own at once when the patient becomes critical, when the aggregate rises above what was anchored, and every
//! [`CRITICAL_REPEAT_MS`] while it lasts, so that an emergency is on chain within a block and a long one does not flood the chain.
//! Late readings never raise it. Must not: change, delay or drop a reading.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use pulsegate_detector::{
    Assessment, Judged, Measured, News2, NotAssessed, PhysiologyClass, PhysiologyDetector, PhysiologyFinding, Verdict,
};
use pulsegate_rules::registry::DetectorKind;
use pulsegate_rules::{ModelId, Principal};

use super::screen::{Received, Screened};
use super::seal::JudgedReading;
use super::{Item, Stage, StageError};
use crate::context::Context;

/// How often a lasting critical state is anchored again, milliseconds of the oracle's clock: 15 minutes.
pub const CRITICAL_REPEAT_MS: u64 = 15 * 60 * 1_000;
/// Most patients whose critical state is remembered; when full, all are forgotten and anchored anew.
const CRITICAL_PATIENTS_MAX: usize = 65_536;

/// A critical state that is on chain.
struct Alarm {
    aggregate: u8,
    at_ms: u64,
}

/// The stage.
pub(crate) struct Assess {
    context: Arc<Context>,
    detector: Box<dyn PhysiologyDetector>,
    alarms: Alarms,
}

/// The critical states that are on chain, by patient.
#[derive(Default)]
struct Alarms(HashMap<Principal, Alarm>);

impl Alarms {
    /// Whether a verdict is anchored on its own.
    fn is_news(&mut self, patient: Principal, verdict: &Verdict, received_at_ms: u64) -> bool {
        let Some(score) = verdict.news2() else { return false };
        if verdict.late {
            return false;
        }
        if !verdict.is_critical() {
            self.0.remove(&patient);
            return false;
        }
        let known = self.0.get(&patient);
        let news = known.is_none_or(|alarm| {
            score.aggregate > alarm.aggregate || received_at_ms.saturating_sub(alarm.at_ms) >= CRITICAL_REPEAT_MS
        });
        if news {
            if self.0.len() >= CRITICAL_PATIENTS_MAX {
                self.0.clear();
            }
            self.0.insert(patient, Alarm { aggregate: score.aggregate, at_ms: received_at_ms });
        }
        news
    }
}

impl Assess {
    /// Judges by NEWS2.
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context, detector: Box::new(News2::default()), alarms: Alarms::default() }
    }

    fn assess(&mut self, received: &Received) -> (bool, Vec<Judged<PhysiologyFinding>>) {
        let measured = Measured { reading: received.signed.unverified(), received_at_ms: received.received_at_ms };
        let judged = self.detector.assess(&measured).unwrap_or_else(|_failure| {
            self.context.metrics.flagged("physiology-failed");
            Assessment::NotAssessed(NotAssessed::Failed)
        });
        if judged.finding().is_some_and(|finding| finding.class == PhysiologyClass::Unwell) {
            self.context.metrics.flagged("physiology");
        }
        let model = self.detector.model();
        let judged = match judged {
            Assessment::NotAssessed(NotAssessed::NotApplicable) => Vec::new(),
            assessment => vec![Judged { detector: DetectorKind::VitalSigns, model, assessment }],
        };
        (measured.is_late(), judged)
    }

    fn judge(&mut self, screened: Screened) -> JudgedReading {
        let Screened { received, traffic } = screened;
        let (late, physiology) = self.assess(&received);
        let verdict = Verdict::combine(late, traffic, physiology);
        let patient = received.signed.unverified().patient;
        let critical = self.alarms.is_news(patient, &verdict, received.received_at_ms);
        let model = verdict.models().next().map_or(ModelId([0; 32]), |(_, model)| model);
        JudgedReading { received, verdict, model, critical }
    }
}

#[async_trait]
impl Stage for Assess {
    type Input = Vec<Item<Screened>>;
    type Output = Vec<Item<JudgedReading>>;

    async fn run(&mut self, input: Self::Input) -> Result<Self::Output, StageError> {
        let judged = input.into_iter().map(|item| Item { position: item.position, value: self.judge(item.value) });
        Ok(judged.collect())
    }
}
