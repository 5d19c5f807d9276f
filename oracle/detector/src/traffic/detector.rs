//! The deployed traffic model behind the seam: judges a device by its last flows.
//!
//! Guarantees: a flow that cannot be is refused and changes nobody's state; an arrival without a flow, or a late one, changes nothing; a
//! device's state is [`TRAFFIC_STATE_BYTES`] at most and touched by its own flows alone; at most [`TRAFFIC_DEVICES_MAX`] devices are watched,
//! the one not heard of for longest gives way. Must not: take a model that reads other columns than the serving schema's.

use std::borrow::Cow;
use std::collections::HashSet;

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
use crate::seam::{Arrival, Taken, TrafficDetector, each, only};
use crate::verdict::{Assessment, InputsDigest, TrafficClass, TrafficFinding};

/// Most devices that are watched at once.
pub const TRAFFIC_DEVICES_MAX: usize = 20_000;
/// State per device of the deployed model, bytes: the projected flows of its window and what was known of them.
pub const TRAFFIC_STATE_BYTES: usize = 9_200;

/// Most devices whose flows go through the network together.
const TOGETHER_MAX: usize = 64;

/// The deployed model with what it knows of each device.
pub struct DeepTraffic {
    model: TrafficModel,
    id: ModelId,
    devices: Bounded<DeviceId, Option<Device>>,
    scratch: Scratch,
}

/// What is known of a device.
struct Device {
    memory: Memory,
    seen: Seen,
}

/// Features of the flows of the window as a ring, for the digest.
struct Seen {
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
        let scratch = model.inference.scratch(TOGETHER_MAX);
        Ok(Self { id: file.id(), model, devices, scratch })
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
        let seen = self.devices.get(device).and_then(Option::as_ref).map(|state| &state.seen);
        let mut rows = Vec::with_capacity(window * SERVING_FLOW_FEATURES);
        for age in 1..window {
            let Some(seen) = seen else { break };
            let start = (seen.next + age) % window * SERVING_FLOW_FEATURES;
            let row = &seen.features[start..start + SERVING_FLOW_FEATURES];
            // A flow always has a protocol, so an empty place is one that no flow has reached yet.
            if row.iter().any(|value| !value.is_nan()) {
                rows.extend_from_slice(row);
            }
        }
        rows.extend_from_slice(&History::new().features(flow)[..SERVING_FLOW_FEATURES]);
        rows
    }

    /// Judges a flow of each of some devices, no device twice. Each device's state is taken out meanwhile and put back, so a device whose
    /// judgement breaks off is forgotten.
    fn judge(&mut self, flows: &[(DeviceId, Flow)]) -> Vec<TrafficFinding> {
        let Self { model, id, devices, scratch } = self;
        let inference = &model.inference;
        let (window, classes) = (inference.shape().window, model.classes.len());
        let mut features = Vec::with_capacity(flows.len() * SERVING_FLOW_FEATURES);
        let (mut memories, mut seen) = (Vec::with_capacity(flows.len()), Vec::with_capacity(flows.len()));
        for (device, flow) in flows {
            let all = History::new().features(flow);
            let row = &all[..SERVING_FLOW_FEATURES];
            let new = || Device { memory: inference.memory(), seen: Seen::nothing(window) };
            let mut state = devices.entry(*device).take().unwrap_or_else(new);
            state.seen.remember(row, window);
            features.extend_from_slice(row);
            memories.push(state.memory);
            seen.push(state.seen);
        }
        let places: Vec<usize> = (0..flows.len()).collect();
        let mut outputs = vec![0.0; flows.len() * classes];
        inference.judge(&features, &mut memories, &places, scratch, &mut outputs);
        let told =
            flows.iter().zip(features.chunks_exact(SERVING_FLOW_FEATURES)).zip(outputs.chunks_exact_mut(classes));
        let findings = told.zip(&seen).map(|((((device, _), row), logits), seen)| {
            finding(model, *id, row, logits, seen.digest(id, device, window))
        });
        let findings = findings.collect();
        for (((device, _), memory), seen) in flows.iter().zip(memories).zip(seen) {
            *devices.entry(*device) = Some(Device { memory, seen });
        }
        findings
    }
}

/// What the logits of a flow say.
fn finding(
    model: &TrafficModel,
    id: ModelId,
    features: &[f32],
    logits: &mut [f32],
    inputs: InputsDigest,
) -> TrafficFinding {
    let judgement = &model.settings.judgement;
    judgement.calibrate(logits);
    let probabilities = logits;
    let decided = judgement.decide(probabilities);
    let (class, confidence) = match decided {
        BENIGN => (TrafficClass::Normal, probabilities[BENIGN]),
        _ => (TrafficClass::Compromised, 1.0 - probabilities[BENIGN]),
    };
    let label = (decided != BENIGN && model.classes.len() > 2).then(|| model.classes[decided].clone());
    let columns = SERVING_COLUMNS.iter().zip(features).filter(|(_, value)| value.is_nan());
    TrafficFinding {
        model: id,
        class,
        confidence: Some(f64::from(confidence).clamp(0.0, 1.0)),
        label,
        inputs,
        missing: columns.map(|(column, _)| Cow::Borrowed(column.name)).collect(),
        rate: None,
    }
}

impl TrafficDetector for DeepTraffic {
    fn model(&self) -> ModelId {
        self.id
    }

    fn screen(&mut self, arrival: &Arrival) -> Result<Assessment<TrafficFinding>, DetectorError> {
        only(self.screen_together(std::slice::from_ref(arrival)))
    }

    fn screen_together(
        &mut self,
        arrivals: &[Arrival],
    ) -> Option<Vec<Result<Assessment<TrafficFinding>, DetectorError>>> {
        let taken: Vec<Taken<Flow>> = arrivals.iter().map(Arrival::judgeable).collect();
        let flow = |(arrival, taken): (&Arrival, &Taken<Flow>)| Some((arrival.device, taken.as_ref().ok()?.ok()?));
        let flows: Vec<(DeviceId, Flow)> = arrivals.iter().zip(&taken).filter_map(flow).collect();
        let mut findings = Vec::with_capacity(flows.len());
        let mut rest = &flows[..];
        while !rest.is_empty() {
            let (group, after) = rest.split_at(distinct(rest, self.devices.limit().min(TOGETHER_MAX)));
            findings.extend(self.judge(group));
            rest = after;
        }
        let mut findings = findings.into_iter();
        let missed = DetectorError::Failed { reason: "a flow was not judged" };
        Some(each(taken, |_| findings.next().map(Assessment::Assessed).ok_or_else(|| missed.clone())))
    }
}

/// How many flows, at most `most`, stand before the first of a device that is there already.
fn distinct(flows: &[(DeviceId, Flow)], most: usize) -> usize {
    let mut devices = HashSet::with_capacity(most);
    flows.iter().take(most).take_while(|(device, _)| devices.insert(*device)).count()
}

impl Seen {
    fn nothing(window: usize) -> Self {
        Self { features: vec![f32::NAN; window * SERVING_FLOW_FEATURES].into(), next: 0 }
    }

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
