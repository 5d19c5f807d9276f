//! The model behind the seam: judges every flow of every device, each device by itself.
//!
//! Guarantees: what one device sends never touches another's state, so the order of devices changes nothing; a late arrival, one without a
//! flow and a flow that cannot be are not judged and change nothing; state per device is [`DEVICE_STATE_BYTES`] at most, for at most
//! [`UNSUPERVISED_DEVICES_MAX`] devices; the weights never change. An alarm takes far more than even odds, so a flow may be normal with a
//! confidence below one half: strange, but not rare enough to bother anybody. Must not: read a clock.

use std::borrow::Cow;
use std::collections::HashSet;

use pulsegate_rules::{DeviceId, ModelId};

use super::model::{Judgement, Model};
use super::own::{OWN_WIDTH_MAX, Own, Said};
use super::scale::Column;
use super::tail::attack_probability;
use super::together::{TOGETHER_MAX, Work};
use super::weights::CLASSES;
use crate::bounded::Bounded;
use crate::catalogue::TrainError;
use crate::error::DetectorError;
use crate::explain::{Contribution, Explanation, Measure, told};
use crate::model_file::ModelFile;
use crate::seam::{Arrival, Taken, TrafficDetector, each, only};
use crate::traffic::Flow;
use crate::traffic::serving::{
    HISTORY_BYTES, History, SERVING_COLUMNS, SERVING_FEATURES, SERVING_FLOW_FEATURES, ServingColumn,
};
use crate::verdict::{Assessment, InputsDigest, NotAssessed, TrafficClass, TrafficFinding};

/// Most devices that are watched at once; the one not heard of for longest gives way.
pub const UNSUPERVISED_DEVICES_MAX: usize = 100_000;
/// Most state per device, bytes: its own norm and, where the model reads history, its last flows.
pub const DEVICE_STATE_BYTES: usize = size_of::<Device>() + HISTORY_BYTES;

#[derive(Default)]
struct Device {
    own: Own,
    history: Option<Box<History>>,
}

/// Traffic without labels, with what it knows of each device.
pub struct UnsupervisedTraffic {
    id: ModelId,
    model: Model,
    reads_history: bool,
    blank: History,
    work: Work,
    devices: Bounded<DeviceId, Device>,
}

impl UnsupervisedTraffic {
    /// The detector of a model file, watching at most `devices_max` devices.
    ///
    /// # Errors
    /// [`TrainError::Model`] when the file is of another model, or its model does not read the serving schema.
    pub fn new(file: &ModelFile, devices_max: usize) -> Result<Self, TrainError> {
        let model = Model::from_file(file)?;
        let serving = model.features.iter().map(String::as_str).eq(SERVING_COLUMNS.iter().map(|column| column.name));
        if !serving || model.ensemble.scale.width() > OWN_WIDTH_MAX {
            return Err(TrainError::Model { reason: "it does not read the serving schema".to_owned() });
        }
        let reads_history = (SERVING_FLOW_FEATURES..SERVING_FEATURES).any(|at| model.ensemble.scale.reads(at));
        let (blank, work) = (History::new(), model.work());
        Ok(Self { id: file.id(), model, reads_history, blank, work, devices: Bounded::new(devices_max) })
    }
}

impl TrafficDetector for UnsupervisedTraffic {
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
        let flow = |(arrival, taken): (_, &Taken<Flow>)| Some((arrival, taken.as_ref().ok()?.ok()?));
        let flows: Vec<(&Arrival, Flow)> = arrivals.iter().zip(&taken).filter_map(flow).collect();
        let mut judged = Vec::with_capacity(flows.len());
        let mut rest = &flows[..];
        while !rest.is_empty() {
            let (group, after) = rest.split_at(self.independent(rest));
            self.judge(group, &mut judged);
            rest = after;
        }
        let mut judged = judged.into_iter();
        let missed = DetectorError::Failed { reason: "a flow was not judged" };
        Some(each(taken, |_| judged.next().unwrap_or_else(|| Err(missed.clone()))))
    }
}

impl UnsupervisedTraffic {
    /// How many of the flows, from the first, have features that none of the others changes, one at least. Without history these are all; with
    /// it, a device's earlier flow changes them, and so does a new device for which another's state gives way.
    fn independent(&self, flows: &[(&Arrival, Flow)]) -> usize {
        let most = flows.len().min(TOGETHER_MAX);
        if !self.reads_history {
            return most;
        }
        let free = self.devices.limit() - self.devices.len();
        let mut devices = HashSet::with_capacity(most);
        let fit = flows[..most.min(free)].iter().take_while(|(arrival, _)| devices.insert(arrival.device)).count();
        fit.max(1)
    }

    /// Judges flows whose features none of the others changes, then tells each device's own norm of them in their order.
    fn judge(&mut self, flows: &[(&Arrival, Flow)], said: &mut Vec<Result<Assessment<TrafficFinding>, DetectorError>>) {
        let mut features = [[0.0; SERVING_FEATURES]; TOGETHER_MAX];
        let features = &mut features[..flows.len()];
        for ((arrival, flow), features) in flows.iter().zip(&mut *features) {
            let history = self.devices.get(&arrival.device).and_then(|device| device.history.as_deref());
            *features = history.filter(|_| self.reads_history).unwrap_or(&self.blank).features(flow);
        }
        let mut judgements = [None; TOGETHER_MAX];
        let judgements = &mut judgements[..flows.len()];
        // Everything that can fail comes before the devices' states, which a refused flow must not touch.
        self.model.judge_all(features.as_flattened(), &mut self.work, judgements);
        for (at, (((arrival, flow), features), judgement)) in flows.iter().zip(features).zip(judgements).enumerate() {
            said.push(match judgement {
                Some(judgement) => Ok(self.conclude(at, arrival, flow, features, *judgement)),
                None => Err(DetectorError::UnusableInput { reason: "the flow says nothing that the model reads" }),
            });
        }
    }

    /// What is said of the flow at a place of the group that was judged, with its device's own norm.
    fn conclude(
        &mut self,
        at: usize,
        arrival: &Arrival,
        flow: &Flow,
        features: &[f32; SERVING_FEATURES],
        judgement: Judgement,
    ) -> Assessment<TrafficFinding> {
        let device = self.devices.entry(arrival.device);
        if self.reads_history {
            device.history.get_or_insert_default().remember(flow);
        }
        let row = self.model.ensemble.normalised(at, &self.work);
        let said = device.own.see(row, arrival.received_at_ms, judgement.share());
        let (class, share, label) = match (said, judgement.is_alarm()) {
            (Said::New, true) => return Assessment::NotAssessed(NotAssessed::Learning),
            (Said::Burst(chance), _) => (
                TrafficClass::Compromised,
                chance.min(judgement.share()),
                Some("a burst of what this device never did".to_owned()),
            ),
            (Said::Nothing, true) => (TrafficClass::Compromised, judgement.share(), self.strangest(at)),
            // For the device itself nothing about it is rare.
            (Said::Known, _) => (TrafficClass::Normal, 1.0, None),
            (_, false) => (TrafficClass::Normal, judgement.share(), None),
        };
        let attack = attack_probability(share);
        Assessment::Assessed(TrafficFinding {
            model: self.id,
            class,
            confidence: Some(if class == TrafficClass::Compromised { attack } else { 1.0 - attack }),
            label,
            inputs: self.digest(arrival, features),
            missing: self.missing(features),
            rate: None,
        })
    }

    /// What of the flow, were it the device's next, is unlike the nearest kind of benign flow: per feature, the share of the square distance.
    /// The smaller part of the score, of the autoencoders, is not divided. Where that kind has no value and the flow has one, the difference is
    /// that of an even spread. A category counts with all its normalised columns, where a finding's
    /// label names the one column that is farthest. Nothing of the device changes. None when the flow cannot be judged.
    #[must_use]
    pub fn explain(&mut self, device: &DeviceId, flow: &Flow) -> Option<Explanation> {
        flow.check().ok()?;
        let history = self.devices.get(device).and_then(|device| device.history.as_ref());
        let features = history.filter(|_| self.reads_history).map_or(&self.blank, AsRef::as_ref).features(flow);
        let judgement = self.model.judge(&features, &mut self.work)?;
        let apart = self.model.ensemble.apart(0, &self.work)?;
        let whole = apart.iter().sum::<f32>().max(f32::MIN_POSITIVE);
        let columns = self.model.ensemble.scale.columns.iter().zip(&features).zip(&apart);
        let read = SERVING_COLUMNS.iter().zip(columns).filter(|(_, ((column, _), _))| column.width() > 0);
        let contribution =
            |(named, ((column, value), apart)): (&ServingColumn, ((&Column, &f32), &f32))| Contribution {
                input: named.name.to_owned(),
                value: told(named.name, *value),
                typical: column.typical().and_then(|typical| told(named.name, typical)),
                contribution: apart / whole,
            };
        let mut inputs: Vec<Contribution> = read.map(contribution).collect();
        inputs.sort_by(|a, b| b.contribution.total_cmp(&a.contribution));
        let class = CLASSES[usize::from(judgement.is_alarm())].to_owned();
        let (measure, score) = (Measure::ShareOfDistance, judgement.log_share);
        Some(Explanation { model: self.id, class, measure, score, inputs })
    }

    fn strangest(&self, at: usize) -> Option<String> {
        self.model.strangest(at, &self.work).map(|feature| format!("unlike benign traffic: {feature}"))
    }

    fn digest(&self, arrival: &Arrival, features: &[f32; SERVING_FEATURES]) -> InputsDigest {
        let mut bytes = [0_u8; 4 * SERVING_FEATURES];
        for (out, value) in bytes.chunks_exact_mut(4).zip(features) {
            // All kinds of NaN mean the same.
            let value = if value.is_nan() { f32::NAN } else { *value };
            out.copy_from_slice(&value.to_be_bytes());
        }
        InputsDigest::of(&[&self.id.0, &arrival.device.0, &bytes])
    }

    fn missing(&self, features: &[f32; SERVING_FEATURES]) -> Vec<Cow<'static, str>> {
        let columns = SERVING_COLUMNS.iter().zip(features).enumerate();
        let missing = columns.filter(|(at, (_, value))| value.is_nan() && self.model.ensemble.scale.reads(*at));
        missing.map(|(_, (column, _))| Cow::Borrowed(column.name)).collect()
    }
}
