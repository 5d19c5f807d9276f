//! From a model's file to a detector that serves.
//!
//! [`load`] is the one place that knows which learned models can judge live. Guarantees: a file of another kind, or one that no detector
//! of this program can serve, is refused with what to do next. Must not: check who approved a model; the oracle compares the file's hash
//! with the chain before it comes here.

use pulsegate_rules::ModelId;
use pulsegate_rules::registry::DetectorKind;

use crate::ecg::{ECG_PATIENTS_MAX, EcgDetector};
use crate::model_file::{ModelFile, ModelFileError};
use crate::models;
use crate::seam::{PhysiologyDetector, TrafficDetector};
use crate::traffic::detector::{DeepTraffic, TRAFFIC_DEVICES_MAX};
use crate::unsupervised::{UNSUPERVISED_DEVICES_MAX, UnsupervisedTraffic};
use crate::verdict::InputsDigest;
use crate::vitals::{Setting, VITAL_PATIENTS_MAX, VitalSigns};

/// The kinds that learned models judge. [`DetectorKind::RequestRate`] is a rule alone, and NEWS2 runs beside [`DetectorKind::VitalSigns`].
pub const LEARNED: [DetectorKind; 4] =
    [DetectorKind::Traffic, DetectorKind::TrafficUnsupervised, DetectorKind::EcgBeats, DetectorKind::VitalSigns];

/// A learned detector, ready to judge; it has seen nothing yet.
pub enum Detector {
    /// Judges devices by their traffic.
    Traffic(Box<dyn TrafficDetector>),
    /// Judges patients by what was measured.
    Physiology(Box<dyn PhysiologyDetector>),
}

impl Detector {
    /// Which model judges.
    #[must_use]
    pub fn model(&self) -> ModelId {
        match self {
            Self::Traffic(detector) => detector.model(),
            Self::Physiology(detector) => detector.model(),
        }
    }
}

impl std::fmt::Debug for Detector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Detector({})", self.model())
    }
}

/// A model's file does not become a detector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file is unusable.
    #[error(transparent)]
    File(#[from] ModelFileError),
    /// The file's model judges something else.
    #[error("the model {name:?} judges {found}, not {asked}; activate a model of the right kind, or roll back")]
    WrongKind {
        /// The model's name.
        name: String,
        /// What was asked for.
        asked: &'static str,
        /// What it judges.
        found: &'static str,
    },
    /// The detector of its kind does not take the file.
    #[error("{reason}")]
    Unfit {
        /// The detector's own code.
        code: &'static str,
        /// What it says, and what to do next.
        reason: String,
    },
    /// The model reads inputs that a running oracle does not have, or no detector of this version serves it.
    #[error(
        "the model {name:?} cannot judge live; it is for comparison with published results, activate the one that is made for serving"
    )]
    NotServed {
        /// The model's name.
        name: String,
    },
}

impl LoadError {
    /// The stable code of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::Unfit { code, .. } => code,
            Self::WrongKind { .. } => "MODEL_WRONG_KIND",
            Self::NotServed { .. } => "MODEL_NOT_SERVED",
        }
    }
}

/// Names of the committed models that are made for serving, one a kind; the others are for comparison with published results.
pub const SERVED: [&str; 4] = ["traffic-serving", "traffic-unsupervised", "ecg-beats", "vital-signs"];

/// The committed models that are made for serving: name and file.
pub fn committed() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    SERVED.into_iter().filter_map(|name| Some((name, models::bytes(name)?)))
}

/// Makes the detector of a model that judges `kind`, for patients who are in `setting`.
///
/// # Errors
/// [`LoadError`].
pub fn load(kind: DetectorKind, file: &ModelFile, setting: Setting) -> Result<Detector, LoadError> {
    let name = || file.metadata.name.clone();
    if file.metadata.kind != kind {
        let (asked, found) = (kind_name(kind), kind_name(file.metadata.kind));
        return Err(LoadError::WrongKind { name: name(), asked, found });
    }
    match kind {
        DetectorKind::VitalSigns => {
            let detector = VitalSigns::new(file, setting, VITAL_PATIENTS_MAX);
            Ok(Detector::Physiology(Box::new(detector.map_err(|error| unfit(error.code(), &error))?)))
        }
        DetectorKind::Traffic => Ok(Detector::Traffic(Box::new(DeepTraffic::new(file, TRAFFIC_DEVICES_MAX)?))),
        DetectorKind::TrafficUnsupervised => {
            let detector = UnsupervisedTraffic::new(file, UNSUPERVISED_DEVICES_MAX);
            Ok(Detector::Traffic(Box::new(detector.map_err(|error| unfit(error.code(), &error))?)))
        }
        DetectorKind::EcgBeats => {
            let detector = EcgDetector::new(file, ECG_PATIENTS_MAX);
            Ok(Detector::Physiology(Box::new(detector.map_err(|error| unfit(error.code(), &error))?)))
        }
        DetectorKind::RequestRate => Err(LoadError::NotServed { name: name() }),
    }
}

fn unfit(code: &'static str, error: &dyn std::error::Error) -> LoadError {
    LoadError::Unfit { code, reason: error.to_string() }
}

/// One id for all models that judge together, as batch headers name it: SHA-256 over them in this order. With the ids of the rules and the
/// models that the chain names active, anybody can compute it.
#[must_use]
pub fn model_set(models: &[(DetectorKind, ModelId)]) -> ModelId {
    let mut parts: Vec<&[u8]> = vec![b"pulsegate/model-set/v1"];
    for (kind, model) in models {
        parts.extend([kind_name(*kind).as_bytes(), &model.0]);
    }
    ModelId(InputsDigest::of(&parts).0)
}

/// The kind's name in formats, metrics and on the command line.
#[must_use]
pub const fn kind_name(kind: DetectorKind) -> &'static str {
    match kind {
        DetectorKind::RequestRate => "request-rate",
        DetectorKind::Traffic => "traffic",
        DetectorKind::TrafficUnsupervised => "traffic-unsupervised",
        DetectorKind::EcgBeats => "ecg-beats",
        DetectorKind::VitalSigns => "vital-signs",
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn every_committed_model_that_serves_becomes_a_detector_of_its_id() {
        for (name, bytes) in committed() {
            let file = ModelFile::read(bytes).unwrap();
            let kind = file.metadata.kind;
            let detector = load(kind, &file, Setting::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(detector.model(), ModelId(Sha256::digest(bytes).into()), "{name}");
            let other = LEARNED.into_iter().find(|other| *other != kind).unwrap();
            assert_eq!(load(other, &file, Setting::default()).unwrap_err().code(), "MODEL_WRONG_KIND", "{name}");
        }
    }

    #[test]
    fn a_set_of_models_has_another_id_when_any_of_them_changes() {
        let (one, two) = (ModelId([1; 32]), ModelId([2; 32]));
        let set = |traffic, vitals| model_set(&[(DetectorKind::Traffic, traffic), (DetectorKind::VitalSigns, vitals)]);
        let ids =
            [set(one, one), set(one, two), set(two, one), set(two, two), model_set(&[(DetectorKind::Traffic, one)])];
        for (index, id) in ids.iter().enumerate() {
            assert!(!ids[..index].contains(id));
        }
    }
}
