//! The model without labels with flows of many devices, each with its own norm.

use std::ops::Range;

use ndarray::Array2;

use super::traffic::flow;
use super::{BATCH, OUTPUTS, SEED, Workload};
use crate::catalogue::TrainError;
use crate::model_file::{ModelFile, ModelFileError};
use crate::nn::generator;
use crate::traffic::encoding::Column;
use crate::traffic::serving::{SERVING_COLUMNS, SERVING_FEATURES};
use crate::unsupervised::{Judgement, Model, Own, TOGETHER_MAX, Work};

/// Flows that are made up per device.
const FLOWS: usize = 16;
/// Time between two flows of a device: more of them than fit into the grace, so that both sides of it are timed.
const GAP_MS: u64 = 1_000;

struct Unlabelled {
    model: Model,
    /// Rounds × devices × features.
    features: Vec<f32>,
    owns: Vec<Own>,
    work: Work,
    next: usize,
}

/// Sets the model up.
pub(super) fn workload(file: &ModelFile) -> Result<Box<dyn Workload>, ModelFileError> {
    let foreign = |error: TrainError| ModelFileError::Foreign { reason: error.to_string() };
    let model = Model::from_file(file).map_err(foreign)?;
    let kinds: Vec<Column> =
        SERVING_COLUMNS.iter().map(|column| column.codes.map_or(Column::Number, Column::Codes)).collect();
    let mut rng = generator(SEED, 0);
    let features = (0..FLOWS * BATCH).flat_map(|_| flow(&kinds, &mut rng)).collect();
    let (owns, work) = (vec![Own::default(); BATCH], model.work());
    Ok(Box::new(Unlabelled { model, features, owns, work, next: 0 }))
}

/// Where the flows of some devices in this round are.
const fn place(round: usize, devices: &Range<usize>) -> Range<usize> {
    let first = round % FLOWS * BATCH;
    (first + devices.start) * SERVING_FEATURES..(first + devices.end) * SERVING_FEATURES
}

impl Workload for Unlabelled {
    fn unit(&self) -> &'static str {
        "flows"
    }

    fn judge(&mut self, batch: usize) {
        let round = self.next / BATCH;
        let devices = if batch == 1 { self.next % BATCH..self.next % BATCH + 1 } else { 0..BATCH };
        self.next += batch;
        let mut judgements: [Option<Judgement>; TOGETHER_MAX] = [None; TOGETHER_MAX];
        for first in devices.clone().step_by(TOGETHER_MAX) {
            let group = first..devices.end.min(first + TOGETHER_MAX);
            let judgements = &mut judgements[..group.len()];
            self.model.judge_all(&self.features[place(round, &group)], &mut self.work, judgements);
            for (at, (own, judgement)) in self.owns[group].iter_mut().zip(judgements).enumerate() {
                let share = judgement.expect("made-up flows can be judged").share();
                own.see(self.model.ensemble.normalised(at, &self.work), round as u64 * GAP_MS, share);
            }
        }
    }

    fn exchange(&mut self) -> Vec<(&'static str, Array2<f32>)> {
        let ensemble = &self.model.ensemble;
        let (mut rows, mut scores) = (Array2::zeros((BATCH, ensemble.scale.width())), Array2::zeros((BATCH, 1)));
        for (device, row) in rows.rows_mut().into_iter().enumerate() {
            let count = ensemble.normalise(&self.features[place(0, &(device..device + 1))], &mut self.work);
            let row = row.into_slice().expect("rows of a new matrix lie in one piece");
            row.copy_from_slice(ensemble.normalised(0, &self.work));
            scores[[device, 0]] = self.model.scores(count, &mut self.work).next().expect("one row was normalised");
        }
        vec![("rows", rows), (OUTPUTS, scores)]
    }
}
