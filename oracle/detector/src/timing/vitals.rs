//! The vital-signs model with hours of many patients.

use ndarray::Array2;
use rand::Rng;

use super::{BATCH, OUTPUTS, SEED, Workload};
use crate::model_file::{ModelFile, ModelFileError};
use crate::nn::generator;
use crate::vitals::{Encoding, Ensemble, FEATURES, INPUTS, Scratch, State};

/// Hours that are made up per patient.
const HOURS: usize = 6;
/// Share of made-up values that are missing.
const MISSING: f64 = 0.3;

struct Vitals {
    ensemble: Ensemble,
    encoding: Encoding,
    /// Hours × patients × features.
    features: Vec<f32>,
    states: Vec<State>,
    scratch: Scratch,
    logits: Vec<f32>,
    next: usize,
}

/// Sets the vital-signs model up.
pub(super) fn workload(file: &ModelFile) -> Result<Box<dyn Workload>, ModelFileError> {
    let ensemble = Ensemble::of(file)?;
    let row = |name: &str| file.tensor(name, [1, FEATURES]).map(|matrix| matrix.row(0).to_vec());
    let encoding = Encoding { centre: row("encoding.centre")?, spread: row("encoding.spread")? };
    let mut rng = generator(SEED, 0);
    let features = (0..HOURS * BATCH * FEATURES).map(|place| match rng.gen_bool(MISSING) {
        true => f32::NAN,
        false => encoding.centre[place % FEATURES] + rng.gen_range(-2.5..2.5) * encoding.spread[place % FEATURES],
    });
    let features = features.collect();
    let (states, scratch) = (vec![State::default(); BATCH], ensemble.scratch());
    Ok(Box::new(Vitals { ensemble, encoding, features, states, scratch, logits: vec![0.0; BATCH], next: 0 }))
}

impl Workload for Vitals {
    fn unit(&self) -> &'static str {
        "patient-hours"
    }

    fn judge(&mut self, batch: usize) {
        let hour = self.next / BATCH % HOURS;
        let patients = if batch == 1 { self.next % BATCH..self.next % BATCH + 1 } else { 0..BATCH };
        self.next += batch;
        let start = (hour * BATCH + patients.start) * FEATURES;
        let features = &self.features[start..start + patients.len() * FEATURES];
        let (states, logits) = (&mut self.states[patients.clone()], &mut self.logits[patients]);
        self.ensemble.step_all(features, states, &mut self.scratch, logits);
    }

    fn exchange(&mut self) -> Vec<(&'static str, Array2<f32>)> {
        self.states = vec![State::default(); BATCH];
        self.next = 0;
        (0..HOURS).for_each(|_| self.judge(BATCH));
        let mut hours = Array2::zeros((HOURS * BATCH, INPUTS));
        for (mut inputs, features) in hours.rows_mut().into_iter().zip(self.features.chunks_exact(FEATURES)) {
            self.encoding.encode(features, inputs.as_slice_mut().expect("rows of a new matrix lie in one piece"));
        }
        let outputs = Array2::from_shape_vec((BATCH, 1), self.logits.clone()).expect("one number per patient");
        vec![("hours", hours), (OUTPUTS, outputs)]
    }
}
