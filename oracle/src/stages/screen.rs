//! screen: what a device's traffic says of the device. Judges every accepted reading once, in the order of the log, those of a group
//! together.
//!
//! Guarantees: a detector that fails leaves "not assessed"; nothing is dropped here, a suspect device's readings go on, marked.
//! The detectors' state is in memory: after a restart, and after another model was activated, they learn anew. Models judge on a thread for
//! blocking work, so that no request waits for them. Must not: look at what was measured.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use pulsegate_detector::traffic::Flow;
use pulsegate_detector::{Arrival, Judged, TrafficFinding};
use pulsegate_reading::SignedReading;

use super::{Item, Stage, StageError, away};
use crate::detectors::Panel;

/// An accepted reading.
pub(crate) struct Received {
    /// The signed reading.
    pub(crate) signed: SignedReading,
    /// When it was received, Unix milliseconds.
    pub(crate) received_at_ms: u64,
    /// Whether its patient had quarantined the device then.
    pub(crate) quarantined: bool,
    /// An exchange of the device that ended before, as the listener measured it.
    pub(crate) flow: Option<Flow>,
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
    panel: Arc<Mutex<Panel>>,
}

impl Screen {
    /// Judges by the detectors at this table.
    pub(crate) const fn new(panel: Arc<Mutex<Panel>>) -> Self {
        Self { panel }
    }
}

fn arrival(received: &Received) -> Arrival {
    let reading = received.signed.unverified();
    Arrival {
        device: reading.device,
        received_at_ms: received.received_at_ms,
        measured_at_ms: reading.measured_at_ms,
        bytes: received.signed.bytes().len(),
        flow: received.flow,
    }
}

#[async_trait]
impl Stage for Screen {
    type Input = Vec<Item<Received>>;
    type Output = Vec<Item<Screened>>;

    async fn run(&mut self, input: Self::Input) -> Result<Self::Output, StageError> {
        let panel = Arc::clone(&self.panel);
        away(move || {
            let mut panel = panel.lock().unwrap_or_else(PoisonError::into_inner);
            let arrivals: Vec<Arrival> = input.iter().map(|item| arrival(&item.value)).collect();
            let judged = input.into_iter().zip(panel.screen(&arrivals));
            let screened = judged.map(|(Item { position, value }, traffic)| Item {
                position,
                value: Screened { received: value, traffic },
            });
            screened.collect()
        })
        .await
    }
}
