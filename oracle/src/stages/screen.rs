//! screen: what a device's traffic says of the device. Judges every accepted reading once, in the order of the log.
//!
//! Guarantees: a detector that fails leaves "not assessed"; nothing is dropped here, a suspect device's readings go on, marked.
//! The detector's state is in memory: after a restart it learns anew. Must not: look at what was measured.

use std::sync::Arc;

use async_trait::async_trait;
use pulsegate_detector::{
    Arrival, Assessment, Judged, NotAssessed, RequestRate, TrafficClass, TrafficDetector, TrafficFinding,
};
use pulsegate_reading::SignedReading;
use pulsegate_rules::registry::DetectorKind;

use super::{Item, Stage, StageError};
use crate::context::Context;

/// An accepted reading.
pub(crate) struct Received {
    /// The signed reading.
    pub(crate) signed: SignedReading,
    /// When it was received, Unix milliseconds.
    pub(crate) received_at_ms: u64,
    /// Whether its patient had quarantined the device then.
    pub(crate) quarantined: bool,
}

/// An accepted reading whose traffic was judged.
pub(crate) struct Screened {
    /// The reading.
    pub(crate) received: Received,
    /// What the traffic says, detector by detector.
    pub(crate) traffic: Vec<Judged<TrafficFinding>>,
}

/// The stage.
pub(crate) struct Screen {
    context: Arc<Context>,
    detector: Box<dyn TrafficDetector>,
}

impl Screen {
    /// Judges by the request-rate rule.
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context, detector: Box::new(RequestRate::default()) }
    }

    fn judge(&mut self, received: &Received) -> Vec<Judged<TrafficFinding>> {
        let reading = received.signed.unverified();
        let arrival = Arrival {
            device: reading.device,
            received_at_ms: received.received_at_ms,
            measured_at_ms: reading.measured_at_ms,
            bytes: received.signed.bytes().len(),
            flow: None,
        };
        let judged = self.detector.screen(&arrival).unwrap_or_else(|_failure| {
            self.context.metrics.flagged("traffic-failed");
            Assessment::NotAssessed(NotAssessed::Failed)
        });
        if judged.finding().is_some_and(|finding| finding.class == TrafficClass::Compromised) {
            self.context.metrics.flagged("traffic");
        }
        vec![Judged { detector: DetectorKind::RequestRate, model: self.detector.model(), assessment: judged }]
    }
}

#[async_trait]
impl Stage for Screen {
    type Input = Vec<Item<Received>>;
    type Output = Vec<Item<Screened>>;

    async fn run(&mut self, input: Self::Input) -> Result<Self::Output, StageError> {
        let judged = input.into_iter().map(|item| {
            let traffic = self.judge(&item.value);
            Item { position: item.position, value: Screened { received: item.value, traffic } }
        });
        Ok(judged.collect())
    }
}
