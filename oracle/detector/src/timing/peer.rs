//! ONNX Runtime with the same weights, through a Python that has it.
//!
//! The script builds the graph from the model file, compares its outputs with ours and times it on one thread. Guarantees: outputs that
//! differ by more than [`DIFFERENCE_MAX`] are an error, not a row of a table. Must not: be needed by anything but a comparison.

use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::Workload;
use crate::model_file::ModelFile;
use crate::nn::Parameters;

/// How far a peer's outputs may be from ours.
pub const DIFFERENCE_MAX: f64 = 1e-4;

const SCRIPT: &str = include_str!("../../baselines/onnx_peer.py");

/// What the peer measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerReport {
    /// Name and version of the runtime.
    pub runtime: String,
    /// The largest difference between its outputs and ours.
    pub difference: f64,
    /// Its times.
    pub timings: Vec<PeerTiming>,
}

/// One measurement of a peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerTiming {
    /// How the graph is cut: `whole` computes everything anew, `kept` is given what our state keeps between calls.
    pub graph: String,
    /// Inputs per call.
    pub batch: usize,
    /// Half of the calls took no longer, nanoseconds.
    pub median_ns: f64,
    /// The fastest call, nanoseconds.
    pub fastest_ns: f64,
}

impl PeerReport {
    /// The quieter of two turns of the same measurements, and the larger difference.
    #[must_use]
    pub fn quieter(mut self, other: &Self) -> Self {
        for (mine, theirs) in self.timings.iter_mut().zip(&other.timings) {
            mine.median_ns = mine.median_ns.min(theirs.median_ns);
            mine.fastest_ns = mine.fastest_ns.min(theirs.fastest_ns);
        }
        self.difference = self.difference.max(other.difference);
        self
    }
}

/// The peer could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// Files for it could not be written.
    #[error("the files for the comparison cannot be written: {0}; check the temporary folder")]
    Files(#[from] std::io::Error),
    /// It does not run, or says no.
    #[error(
        "{python} did not measure: {reason}; give a Python 3 with the packages of oracle/detector/baselines/requirements.txt"
    )]
    Failed {
        /// The interpreter.
        python: String,
        /// Its last words.
        reason: String,
    },
    /// Its outputs are not ours.
    #[error("the peer's outputs differ by {difference:e}, more than {DIFFERENCE_MAX:e}; nothing was compared")]
    Different {
        /// The largest difference.
        difference: f64,
    },
}

impl PeerError {
    /// The stable code of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Files(_) => "DETECTOR_FILE_UNREADABLE",
            Self::Failed { .. } => "DETECTOR_PEER_FAILED",
            Self::Different { .. } => "DETECTOR_PEER_DIFFERS",
        }
    }
}

/// Asks ONNX Runtime for its times with this model and these inputs; `seconds` per measurement. Files go to `folder`, which exists.
///
/// # Errors
/// [`PeerError`].
pub fn measure(
    python: &Path,
    folder: &Path,
    file: &ModelFile,
    workload: &mut dyn Workload,
    seconds: f64,
) -> Result<PeerReport, PeerError> {
    let mut inputs = ModelFile::new(file.metadata.clone(), &Parameters::new());
    for (name, matrix) in workload.exchange() {
        inputs.insert(name, matrix);
    }
    std::fs::write(folder.join("model.safetensors"), file.to_bytes())?;
    std::fs::write(folder.join("inputs.safetensors"), inputs.to_bytes())?;
    std::fs::write(folder.join("onnx_peer.py"), SCRIPT)?;
    let failed = |reason: String| PeerError::Failed { python: python.display().to_string(), reason };
    let script = folder.join("onnx_peer.py");
    let output = Command::new(python).arg(&script).arg(folder).arg("--seconds").arg(seconds.to_string()).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(failed(words.trim().lines().last().unwrap_or("it said nothing").to_owned()));
    }
    let report: PeerReport = serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))?;
    if report.difference > DIFFERENCE_MAX || report.difference.is_nan() {
        return Err(PeerError::Different { difference: report.difference });
    }
    Ok(report)
}
