//! A traffic model with flows of many devices.

use ndarray::Array2;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{BATCH, OUTPUTS, SEED, Workload};
use crate::model_file::{ModelFile, ModelFileError};
use crate::nn::generator;
use crate::traffic::encoding::Column;
use crate::traffic::inference::{Memory, Scratch};
use crate::traffic::model::TrafficModel;

/// Largest logarithm of a made-up number: bytes of a long connection.
const LOGARITHM_MAX: f32 = 12.0;
/// Share of made-up values that are missing.
const MISSING: f64 = 0.02;

struct Traffic {
    model: TrafficModel,
    /// Flows × columns; as many rounds of all devices as a window has flows.
    flows: Vec<f32>,
    columns: usize,
    memories: Vec<Memory>,
    all: Vec<usize>,
    scratch: Scratch,
    out: Vec<f32>,
    next: usize,
}

/// Sets a traffic model up.
pub(super) fn workload(file: &ModelFile) -> Result<Box<dyn Workload>, ModelFileError> {
    let model = TrafficModel::read(file)?;
    let kinds = model.inference.encoding().columns().to_vec();
    let mut rng = generator(SEED, 0);
    let rounds = model.inference.shape().window.max(4);
    let flows = (0..rounds * BATCH).flat_map(|_| flow(&kinds, &mut rng)).collect();
    let memories = (0..BATCH).map(|_| model.inference.memory()).collect();
    let (scratch, out) = (model.inference.scratch(BATCH), vec![0.0; BATCH * model.classes.len()]);
    let all = (0..BATCH).collect();
    Ok(Box::new(Traffic { model, flows, columns: kinds.len(), memories, all, scratch, out, next: 0 }))
}

/// A made-up flow: a number per column.
pub(super) fn flow(kinds: &[Column], rng: &mut ChaCha8Rng) -> Vec<f32> {
    let value = |kind: &Column| match kind {
        _ if rng.gen_bool(MISSING) => f32::NAN,
        Column::Number => rng.gen_range(-3.0..LOGARITHM_MAX).exp(),
        #[expect(clippy::cast_precision_loss, reason = "codes are small")]
        Column::Codes(count) => rng.gen_range(0..*count) as f32,
    };
    kinds.iter().map(value).collect()
}

impl Traffic {
    fn rounds(&self) -> usize {
        self.flows.len() / self.columns / BATCH
    }
}

impl Workload for Traffic {
    fn unit(&self) -> &'static str {
        "flows"
    }

    fn judge(&mut self, batch: usize) {
        let classes = self.model.classes.len();
        let device = if batch == 1 { self.next % BATCH } else { 0 };
        let start = (self.next / BATCH % self.rounds()) * BATCH + device;
        self.next += batch;
        let which = if batch == 1 { device..device + 1 } else { 0..BATCH };
        let count = which.len();
        let features = &self.flows[start * self.columns..(start + count) * self.columns];
        let out = &mut self.out[..count * classes];
        let which = &self.all[which];
        self.model.inference.judge(features, &mut self.memories, which, &mut self.scratch, out);
        out.chunks_exact_mut(classes).for_each(|logits| self.model.settings.judgement.calibrate(logits));
    }

    fn exchange(&mut self) -> Vec<(&'static str, Array2<f32>)> {
        let shape = *self.model.inference.shape();
        self.memories = (0..BATCH).map(|_| self.model.inference.memory()).collect();
        self.next = 0;
        let mut windows = Array2::zeros((shape.window * BATCH, shape.inputs));
        for step in 0..shape.window {
            let judged = self.next / BATCH % self.rounds() * BATCH;
            self.judge(BATCH);
            for device in 0..BATCH {
                let start = (judged + device) * self.columns;
                let mut row = windows.row_mut(step * BATCH + device);
                let row = row.as_slice_mut().expect("rows of a new matrix lie in one piece");
                self.model.inference.encoding().encode(&self.flows[start..start + self.columns], row);
            }
        }
        let outputs = Array2::from_shape_vec((BATCH, shape.classes), self.out.clone()).expect("one row per device");
        vec![("windows", windows), (OUTPUTS, outputs)]
    }
}
