//! The models that come with this program, by name.

use crate::model_file::{ModelFile, ModelFileError};

/// Name and file of every committed model. A new one is one line: `("NAME", include_bytes!("../models/NAME.safetensors"))`.
const COMMITTED: &[(&str, &[u8])] = &[
    ("ecg-beats", include_bytes!("../models/ecg-beats.safetensors")),
    ("traffic-serving", include_bytes!("../models/traffic-serving.safetensors")),
    ("traffic-wustl-ehms-2020", include_bytes!("../models/traffic-wustl-ehms-2020.safetensors")),
    ("traffic-cicids2017", include_bytes!("../models/traffic-cicids2017.safetensors")),
    ("traffic-unsw-nb15", include_bytes!("../models/traffic-unsw-nb15.safetensors")),
    ("traffic-nsl-kdd", include_bytes!("../models/traffic-nsl-kdd.safetensors")),
    ("traffic-unsupervised", include_bytes!("../models/traffic-unsupervised.safetensors")),
    ("vital-signs", include_bytes!("../models/vital-signs.safetensors")),
];

/// Names of the committed models.
pub fn names() -> impl Iterator<Item = &'static str> {
    COMMITTED.iter().map(|(name, _)| *name)
}

/// The file of a committed model.
#[must_use]
pub fn bytes(name: &str) -> Option<&'static [u8]> {
    COMMITTED.iter().find(|(known, _)| *known == name).map(|(_, bytes)| *bytes)
}

/// A committed model.
///
/// # Errors
/// [`ModelFileError`] when the file in this program was not written by this version.
pub fn read(name: &str) -> Option<Result<ModelFile, ModelFileError>> {
    bytes(name).map(ModelFile::read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_committed_model_reads_and_bears_its_name() {
        for name in names() {
            let model = read(name).unwrap().unwrap();
            assert_eq!(model.metadata.name, name);
            assert_eq!(model.to_bytes(), bytes(name).unwrap(), "{name}: writing it again changes its id");
        }
    }
}
