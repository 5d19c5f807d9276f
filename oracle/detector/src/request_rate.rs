//! The request-rate rule of BIoTIDS: a device that suddenly asks much faster than it used to is suspect.
//!
//! Source: Pavithra, Durgadevi, "Improving Security: Blockchain Based IoT Solutions for the Healthcare". The mean time between a device's
//! first ten requests is its own norm; when the mean over its last ten falls below 75 % of that, the device is flagged. The paper compares
//! ten with the next ten; here the ten slide by one, so a change shows as soon as it is in the mean. Several readings of one request share
//! their time of arrival and count as one. State: ten times per device, at most [`RATE_DEVICES_MAX`] devices.
//!
//! Limits of the rule: a device that is slow by design until flagged, or one that was already flooded when it was first seen, is not
//! found; after a restart a device's norm is learnt anew.

use std::collections::VecDeque;

use pulsegate_rules::{DeviceId, ModelId};
use serde::{Deserialize, Serialize};

use crate::bounded::Bounded;
use crate::error::DetectorError;
use crate::seam::{Arrival, TrafficDetector};
use crate::verdict::{Assessment, InputsDigest, NotAssessed, TrafficClass, TrafficFinding};

/// How many times between requests make the norm, and the mean that is compared with it.
pub const RATE_WINDOW: usize = 10;
/// A mean below this share of the norm is flagged, per cent.
pub const RATE_PERCENT_MIN: u32 = 75;
/// Most devices that are watched at once.
pub const RATE_DEVICES_MAX: usize = 100_000;

/// The numbers behind a finding.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RateDetail {
    /// Mean time between the first ten requests, milliseconds.
    pub norm_ms: f64,
    /// Mean time between the last ten, milliseconds.
    pub recent_ms: f64,
}

/// The rule with what it knows of each device.
pub struct RequestRate {
    model: ModelId,
    devices: Bounded<DeviceId, Device>,
}

#[derive(Default)]
struct Device {
    last_ms: Option<u64>,
    norm_ms: Option<f64>,
    recent_ms: VecDeque<u64>,
}

impl Default for RequestRate {
    fn default() -> Self {
        Self::new(RATE_DEVICES_MAX)
    }
}

impl RequestRate {
    /// The rule, watching at most `devices_max` devices; the one not heard of for longest gives way.
    #[must_use]
    pub fn new(devices_max: usize) -> Self {
        let digest = InputsDigest::of(&[
            b"pulsegate/detector/request-rate/v1",
            &(RATE_WINDOW as u64).to_be_bytes(),
            &RATE_PERCENT_MIN.to_be_bytes(),
        ]);
        Self { model: ModelId(digest.0), devices: Bounded::new(devices_max) }
    }
}

impl TrafficDetector for RequestRate {
    fn model(&self) -> ModelId {
        self.model
    }

    fn screen(&mut self, arrival: &Arrival) -> Result<Assessment<TrafficFinding>, DetectorError> {
        if arrival.is_late() {
            return Ok(Assessment::NotAssessed(NotAssessed::Late));
        }
        let model = self.model;
        let state = self.devices.entry(arrival.device);
        match state.last_ms {
            // Another reading of the same request, or a clock that was set back: no new time between requests.
            Some(last_ms) if arrival.received_at_ms <= last_ms => {}
            Some(last_ms) => state.push(arrival.received_at_ms - last_ms),
            None => {}
        }
        state.last_ms = Some(state.last_ms.unwrap_or(0).max(arrival.received_at_ms));
        Ok(state.judge(model, &arrival.device))
    }
}

impl Device {
    fn push(&mut self, between_ms: u64) {
        if self.recent_ms.len() == RATE_WINDOW {
            self.recent_ms.pop_front();
        }
        self.recent_ms.push_back(between_ms);
        if self.norm_ms.is_none() && self.recent_ms.len() == RATE_WINDOW {
            self.norm_ms = Some(self.mean_ms());
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "times between requests are far below 2^53 ms")]
    fn mean_ms(&self) -> f64 {
        let sum: f64 = self.recent_ms.iter().map(|between_ms| *between_ms as f64).sum();
        sum / RATE_WINDOW as f64
    }

    fn judge(&self, model: ModelId, device: &DeviceId) -> Assessment<TrafficFinding> {
        let Some(norm_ms) = self.norm_ms else { return Assessment::NotAssessed(NotAssessed::Learning) };
        if self.recent_ms.len() < RATE_WINDOW {
            return Assessment::NotAssessed(NotAssessed::Learning);
        }
        let recent_ms = self.mean_ms();
        let compromised = recent_ms * 100.0 < norm_ms * f64::from(RATE_PERCENT_MIN);
        let class = if compromised { TrafficClass::Compromised } else { TrafficClass::Normal };
        let times: Vec<u8> = self.recent_ms.iter().flat_map(|between_ms| between_ms.to_be_bytes()).collect();
        let inputs = InputsDigest::of(&[&model.0, &device.0, &norm_ms.to_be_bytes(), &times]);
        let rate = Some(RateDetail { norm_ms, recent_ms });
        Assessment::Assessed(TrafficFinding {
            model,
            class,
            confidence: None,
            label: None,
            inputs,
            missing: Vec::new(),
            rate,
        })
    }
}
