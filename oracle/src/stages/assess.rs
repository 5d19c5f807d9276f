//! assess: what the measurements say of the patient. Judges every accepted reading once, in the order of the log, those of a group
//! together.
//!
//! A live verdict is critical at a NEWS2 aggregate of 7 or more (Royal College of Physicians, 2017: emergency response). It is anchored
//! on its own at once when the patient becomes critical, when the aggregate rises above what was anchored, and every
//! [`CRITICAL_REPEAT_MS`] while it lasts, so that an emergency is on chain within a block and a long one does not flood the chain.
//! Late readings never raise it. Must not: change, delay or drop a reading.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use pulsegate_detector::{Measured, Verdict};
use pulsegate_rules::Principal;

use super::screen::{Received, Screened};
use super::seal::JudgedReading;
use super::{Item, Stage, StageError, away};
use crate::detectors::Panel;

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
    panel: Arc<Mutex<Panel>>,
    alarms: Arc<Mutex<Alarms>>,
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
    /// Judges by the detectors at this table.
    pub(crate) fn new(panel: Arc<Mutex<Panel>>) -> Self {
        Self { panel, alarms: Arc::default() }
    }
}

fn measured(received: &Received) -> Measured<'_> {
    Measured { reading: received.signed.unverified(), received_at_ms: received.received_at_ms }
}

#[async_trait]
impl Stage for Assess {
    type Input = Vec<Item<Screened>>;
    type Output = Vec<Item<JudgedReading>>;

    async fn run(&mut self, input: Self::Input) -> Result<Self::Output, StageError> {
        let (panel, alarms) = (Arc::clone(&self.panel), Arc::clone(&self.alarms));
        away(move || {
            let mut panel = panel.lock().unwrap_or_else(PoisonError::into_inner);
            let mut alarms = alarms.lock().unwrap_or_else(PoisonError::into_inner);
            // Who judges changes between two groups only, so one id names all of them.
            let model = panel.model_set();
            let readings: Vec<Measured<'_>> = input.iter().map(|item| measured(&item.value.received)).collect();
            let judged = panel.assess(&readings);
            let combined = input.into_iter().zip(judged).map(|(Item { position, value }, physiology)| {
                let Screened { received, traffic } = value;
                let late = measured(&received).is_late();
                let verdict = Verdict::combine(late, traffic, physiology);
                let patient = received.signed.unverified().patient;
                let critical = alarms.is_news(patient, &verdict, received.received_at_ms);
                Item { position, value: JudgedReading { received, verdict, model, critical } }
            });
            combined.collect()
        })
        .await
    }
}
