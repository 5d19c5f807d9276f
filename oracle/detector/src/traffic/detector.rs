//! The deployed traffic model behind the seam: judges a device by its last flows.
//!
//! Guarantees: a flow that cannot be is refused and changes nobody's state; an arrival without a flow, or a late one, changes nothing; a
//! device's state is [`TRAFFIC_STATE_BYTES`] at most and touched by its own flows alone; at most [`TRAFFIC_DEVICES_MAX`] devices are watched,
//! the one not heard of for longest gives way. Must not: take a model that reads other columns than the serving schema's.

use std::borrow::Cow;
use std::slice::from_mut;

use pulsegate_rules::registry::DetectorKind;
use pulsegate_rules::{DeviceId, ModelId};

use super::encoding::Column;
use super::flow::Flow;
use super::inference::{Memory, Scratch};
use super::model::{BENIGN, TrafficModel};
use super::serving::{History, SERVING_COLUMNS, SERVING_FLOW_FEATURES};
use crate::bounded::Bounded;
use crate::error::DetectorError;
use crate::model_file::{ModelFile, ModelFileError};
use crate::seam::{Arrival, TrafficDetector};
use crate::verdict::{Assessment, InputsDigest, NotAssessed, TrafficClass, TrafficFinding};

/// Most devices that are watched at once.
pub const TRAFFIC_DEVICES_MAX: usize = 20_000;
/// State per device of the deployed model, bytes: the projected flows of its window and what was known of them.
pub const TRAFFIC_STATE_BYTES: usize = 9_200;

/// The deployed model with what it knows of each device.
pub struct DeepTraffic {
    model: TrafficModel,
    id: ModelId,
    devices: Bounded<DeviceId, Option<Device>>,
    scratch: Scratch,
    outputs: Vec<f32>,
}

/// What is known of a device.
struct Device {
    memory: Memory,
    /// Features of the flows of the window as a ring, for the digest.
    features: Box<[f32]>,
    next: usize,
}

/// What the columns of the deployed model hold: those of the serving schema that tell of a flow by itself.
#[must_use]
pub fn columns() -> Vec<Column> {
    let holds = |codes: Option<usize>| codes.map_or(Column::Number, Column::Codes);
    SERVING_COLUMNS[..SERVING_FLOW_FEATURES].iter().map(|column| holds(column.codes)).collect()
}

impl DeepTraffic {
    /// Takes a model file into service, watching at most `devices_max` devices.
    ///
    /// # Errors
    /// [`ModelFileError`]: the file is of another kind, reads other columns, or lacks a matrix.
    pub fn new(file: &ModelFile, devices_max: usize) -> Result<Self, ModelFileError> {
        let model = TrafficModel::read(file)?;
        let names = model.settings.columns.iter().map(|column| column.name.as_str());
        let expected = SERVING_COLUMNS[..SERVING_FLOW_FEATURES].iter().map(|column| column.name);
        let same = names.eq(expected) && model.settings.columns.iter().map(|column| column.holds).eq(columns());
        if file.metadata.kind != DetectorKind::Traffic || !same {
            let reason = "it does not read the columns of the serving schema".to_owned();
            return Err(ModelFileError::Foreign { reason });
        }
        let devices = Bounded::new(devices_max.min(TRAFFIC_DEVICES_MAX));
        let scratch = model.inference.scratch(1);
        let outputs = vec![0.0; model.classes.len()];
        Ok(Self { id: file.id(), model, devices, scratch, outputs })
    }

    /// State per device, bytes.
    #[must_use]
    pub fn state_bytes(&self) -> usize {
        let shape = self.model.inference.shape();
        let ring = shape.window * SERVING_FLOW_FEATURES * size_of::<f32>();
        super::inference::Inference::memory_bytes(shape) - size_of::<Memory>() + ring + size_of::<Device>()
    }

    /// How many devices are watched.
    #[must_use]
    pub fn devices(&self) -> usize {
        self.devices.len()
    }

    /// The model's id.
    pub(crate) const fn id(&self) -> ModelId {
        self.id
    }

    /// The model.
    pub(crate) const fn traffic_model(&self) -> &TrafficModel {
        &self.model
    }

    /// Features of the window that the model would read if the flow were the device's next: flows × columns, oldest first, the flow itself
    /// last. Fewer flows than the window are there while fewer were seen.
    pub(crate) fn window_with(&self, device: &DeviceId, flow: &Flow) -> Vec<f32> {
        let window = self.model.inference.shape().window;
        let state = self.devices.get(device).and_then(Option::as_ref);
        let mut rows = Vec::with_capacity(window * SERVING_FLOW_FEATURES);
        for age in 1..window {
            let Some(state) = state else { break };
            let start = (state.next + age) % window * SERVING_FLOW_FEATURES;
            let row = &state.features[start..start + SERVING_FLOW_FEATURES];
            // A flow always has a protocol, so an empty place is one that no flow has reached yet.
            if row.iter().any(|value| !value.is_nan()) {
                rows.extend_from_slice(row);
            }
        }
        rows.extend_from_slice(&History::new().features(flow)[..SERVING_FLOW_FEATURES]);
        rows
    }

    fn judge(&mut self, device: &DeviceId, flow: &Flow) -> TrafficFinding {
        let all = History::new().features(flow);
        let features = &all[..SERVING_FLOW_FEATURES];
        let inference = &self.model.inference;
        let window = inference.shape().window;
        let state = self.devices.entry(*device).get_or_insert_with(|| Device {
            memory: inference.memory(),
            features: vec![f32::NAN; window * SERVING_FLOW_FEATURES].into(),
            next: 0,
        });
        state.remember(features, window);
        inference.judge(features, from_mut(&mut state.memory), &[0], &mut self.scratch, &mut self.outputs);
        let inputs = state.digest(&self.id, device, window);
        let judgement = &self.model.settings.judgement;
        judgement.calibrate(&mut self.outputs);
        let decided = judgement.decide(&self.outputs);
        let attack = 1.0 - self.outputs[BENIGN];
        let (class, confidence) = match decided {
            BENIGN => (TrafficClass::Normal, self.outputs[BENIGN]),
            _ => (TrafficClass::Compromised, attack),
        };
        let label = (decided != BENIGN && self.model.classes.len() > 2).then(|| self.model.classes[decided].clone());
        let columns = SERVING_COLUMNS.iter().zip(features).filter(|(_, value)| value.is_nan());
        TrafficFinding {
            model: self.id,
            class,
            confidence: Some(f64::from(confidence).clamp(0.0, 1.0)),
            label,
            inputs,
            missing: columns.map(|(column, _)| Cow::Borrowed(column.name)).collect(),
            rate: None,
        }
    }
}

impl TrafficDetector for DeepTraffic {
    fn model(&self) -> ModelId {
        self.id
    }

    fn screen(&mut self, arrival: &Arrival) -> Result<Assessment<TrafficFinding>, DetectorError> {
        if arrival.is_late() {
            return Ok(Assessment::NotAssessed(NotAssessed::Late));
        }
        let Some(flow) = &arrival.flow else { return Ok(Assessment::NotAssessed(NotAssessed::NotApplicable)) };
        if flow.check().is_err() {
            return Err(DetectorError::UnusableInput { reason: "a number of the flow is beyond its limit" });
        }
        Ok(Assessment::Assessed(self.judge(&arrival.device, flow)))
    }
}

impl Device {
    fn remember(&mut self, features: &[f32], window: usize) {
        let start = self.next * SERVING_FLOW_FEATURES;
        self.features[start..start + SERVING_FLOW_FEATURES].copy_from_slice(features);
        self.next = (self.next + 1) % window;
    }

    /// Over the model, the device, and the features of the window, oldest first; what was not seen yet is NaN.
    fn digest(&self, model: &ModelId, device: &DeviceId, window: usize) -> InputsDigest {
        let mut bytes = Vec::with_capacity(self.features.len() * size_of::<f32>());
        for age in 0..window {
            let start = (self.next + age) % window * SERVING_FLOW_FEATURES;
            bytes.extend(
                self.features[start..start + SERVING_FLOW_FEATURES].iter().flat_map(|value| value.to_be_bytes()),
            );
        }
        InputsDigest::of(&[&model.0, &device.0, &bytes])
    }
}
