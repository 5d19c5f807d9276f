//! The seam between the oracle and any detector, rule or learned model.
//!
//! A detector sees readings in the order in which they were received and keeps its own bounded state. Time comes in with the input. The
//! oracle hands each reading over once, those that came together in one call where the detector gains by it, and turns an error into
//! [`crate::NotAssessed::Failed`].

use pulsegate_reading::Reading;
use pulsegate_rules::{DeviceId, ModelId};

use crate::error::DetectorError;
use crate::traffic::Flow;
use crate::verdict::{Assessment, NotAssessed, PhysiologyFinding, TrafficFinding};

/// A reading that was measured longer ago than this when it was received is late: 15 minutes, in milliseconds.
pub const LATE_AFTER_MS: u64 = 15 * 60 * 1_000;

/// A reading as traffic: who sent it when, and nothing of what was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arrival {
    /// The sender.
    pub device: DeviceId,
    /// When the oracle received it, Unix milliseconds. Readings of one request share it and count as one.
    pub received_at_ms: u64,
    /// When the device says it measured, Unix milliseconds.
    pub measured_at_ms: u64,
    /// Length of the signed reading, bytes.
    pub bytes: usize,
    /// An exchange of the device with the oracle that ended before this reading, as the listener measured it, each one handed over once;
    /// absent when none has ended since the device's last reading.
    pub flow: Option<Flow>,
}

impl Arrival {
    /// Whether the reading was measured more than [`LATE_AFTER_MS`] before it was received.
    #[must_use]
    pub const fn is_late(&self) -> bool {
        self.received_at_ms.saturating_sub(self.measured_at_ms) > LATE_AFTER_MS
    }

    /// The flow to judge, or why there is none; a flow that cannot be is an error.
    pub(crate) fn judgeable(&self) -> Taken<Flow> {
        if self.is_late() {
            return Ok(Err(NotAssessed::Late));
        }
        let Some(flow) = self.flow else { return Ok(Err(NotAssessed::NoFlow)) };
        flow.check()
            .map_err(|_| DetectorError::UnusableInput { reason: "a number of the flow is beyond its limit" })?;
        Ok(Ok(flow))
    }
}

/// A reading as physiology.
#[derive(Clone, Copy, Debug)]
pub struct Measured<'a> {
    /// The verified reading.
    pub reading: &'a Reading,
    /// When the oracle received it, Unix milliseconds.
    pub received_at_ms: u64,
}

impl Measured<'_> {
    /// Whether the reading was measured more than [`LATE_AFTER_MS`] before it was received.
    #[must_use]
    pub const fn is_late(&self) -> bool {
        self.received_at_ms.saturating_sub(self.reading.measured_at_ms) > LATE_AFTER_MS
    }
}

/// An input that a detector took up, or why it did not.
pub(crate) type Taken<T> = Result<Result<T, NotAssessed>, DetectorError>;

/// What each input of a group gets, when `judge` says of those that were taken up, in their order, what they get.
pub(crate) fn each<T, F>(
    taken: Vec<Taken<T>>,
    mut judge: impl FnMut(T) -> Result<Assessment<F>, DetectorError>,
) -> Vec<Result<Assessment<F>, DetectorError>> {
    let said = |taken: Taken<T>| match taken? {
        Ok(taken) => judge(taken),
        Err(why) => Ok(Assessment::NotAssessed(why)),
    };
    taken.into_iter().map(said).collect()
}

/// What the one input of a group got, for a detector that judges groups.
pub(crate) fn only<T>(said: Option<Vec<Result<Assessment<T>, DetectorError>>>) -> Result<Assessment<T>, DetectorError> {
    let said = said.and_then(|mut said| said.pop());
    said.unwrap_or(Err(DetectorError::Failed { reason: "an input was not judged" }))
}

/// Judges a device by its traffic.
pub trait TrafficDetector: Send {
    /// Which model judges; it goes with every finding and into the batch header.
    fn model(&self) -> ModelId;

    /// Judges one arrival. A late arrival gives [`crate::NotAssessed::Late`] and changes nothing.
    ///
    /// # Errors
    /// [`DetectorError`]; the state is then as before.
    fn screen(&mut self, arrival: &Arrival) -> Result<Assessment<TrafficFinding>, DetectorError>;

    /// Judges arrivals of several devices in one go: what [`Self::screen`] would give for one after the other, in their order. None, and
    /// nothing changed, when the detector gains nothing by it.
    fn screen_together(
        &mut self,
        _arrivals: &[Arrival],
    ) -> Option<Vec<Result<Assessment<TrafficFinding>, DetectorError>>> {
        None
    }
}

/// Judges a patient by what was measured.
pub trait PhysiologyDetector: Send {
    /// Which model judges; it goes with every finding and into the batch header.
    fn model(&self) -> ModelId;

    /// Judges one reading together with the patient's latest others. A late reading gives [`crate::NotAssessed::Late`] and changes nothing.
    ///
    /// # Errors
    /// [`DetectorError`]; the state is then as before.
    fn assess(&mut self, measured: &Measured<'_>) -> Result<Assessment<PhysiologyFinding>, DetectorError>;

    /// Judges readings of several patients in one go: what [`Self::assess`] would give for one after the other, in their order. None, and
    /// nothing changed, when the detector gains nothing by it.
    fn assess_together(
        &mut self,
        _measured: &[Measured<'_>],
    ) -> Option<Vec<Result<Assessment<PhysiologyFinding>, DetectorError>>> {
        None
    }
}
