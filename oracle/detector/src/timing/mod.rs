//! How fast the models judge, alone and in batches, on one core, next to another runtime with the very same weights.
//!
//! A [`Workload`] is a model with made-up inputs, set up as it serves: state per device, one call per new input. [`time`] gives the
//! median and the fastest of many calls, [`peer`] asks ONNX Runtime. Guarantees: inputs come from a fixed seed, so two machines time the same
//! work; outputs of a peer that differ are an error. Must not: be used by anything that judges; nothing else in this crate reads a clock.

use std::time::{Duration, Instant};

use ndarray::Array2;
use serde::Serialize;

use crate::model_file::{ModelFile, ModelFileError};

mod ecg;
pub mod peer;
mod traffic;
mod unsupervised;
mod vitals;

/// Inputs in a batch, and devices or patients that take turns.
pub const BATCH: usize = 64;
/// Seed of the made-up inputs.
pub const SEED: u64 = 4;
/// Calls per measurement at most and at least.
const CALLS_MAX: usize = 20_000;
const CALLS_MIN: usize = 15;

/// A model set up with inputs to judge.
pub trait Workload {
    /// What it judges, in the plural: flows, beats, patient-hours.
    fn unit(&self) -> &'static str;

    /// Judges the next input of one device (`batch` 1), or of each of [`BATCH`] devices, without allocating.
    fn judge(&mut self, batch: usize);

    /// What another runtime needs to judge the same: inputs as the network takes them, and [`OUTPUTS`], what came out here for them.
    fn exchange(&mut self) -> Vec<(&'static str, Array2<f32>)>;
}

/// Name of the outputs in [`Workload::exchange`]: [`BATCH`] rows.
pub const OUTPUTS: &str = "outputs";

/// Sets up the model of a file; none when this kind is not timed.
///
/// # Errors
/// [`ModelFileError`] when the file is not what its name says.
pub fn workload(file: &ModelFile) -> Option<Result<Box<dyn Workload>, ModelFileError>> {
    let name = file.metadata.name.as_str();
    match name {
        "traffic-unsupervised" => Some(unsupervised::workload(file)),
        "ecg-beats" => Some(ecg::workload(file)),
        "vital-signs" => Some(vitals::workload(file)),
        _ if name.starts_with("traffic-") => Some(traffic::workload(file)),
        _ => None,
    }
}

/// How long one call takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Timing {
    /// Inputs per call.
    pub batch: usize,
    /// Half of the calls took no longer, nanoseconds.
    pub median_ns: f64,
    /// The fastest call, nanoseconds.
    pub fastest_ns: f64,
}

impl Timing {
    /// Inputs per second by the median.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a batch is small")]
        let batch = self.batch as f64;
        batch / (self.median_ns * 1e-9)
    }

    /// The quieter of two measurements of the same work.
    #[must_use]
    pub fn quieter(self, other: Self) -> Self {
        Self {
            median_ns: self.median_ns.min(other.median_ns),
            fastest_ns: self.fastest_ns.min(other.fastest_ns),
            ..self
        }
    }
}

/// Times calls for about this long, each by itself, after one that warms up.
pub fn time(workload: &mut dyn Workload, batch: usize, length: Duration) -> Timing {
    let mut call = || {
        let began = Instant::now();
        workload.judge(batch);
        began.elapsed()
    };
    call();
    let first = call().max(Duration::from_nanos(100));
    let calls = usize::try_from(length.as_nanos() / first.as_nanos()).unwrap_or(CALLS_MAX).clamp(CALLS_MIN, CALLS_MAX);
    let mut taken: Vec<Duration> = (0..calls).map(|_| call()).collect();
    taken.sort_unstable();
    let nanoseconds = |duration: Duration| duration.as_secs_f64() * 1e9;
    Timing { batch, median_ns: nanoseconds(taken[calls / 2]), fastest_ns: nanoseconds(taken[0]) }
}
