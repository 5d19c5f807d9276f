//! The models that come with this program, by name, each with its card.

use crate::model_file::{ModelFile, ModelFileError};

/// A committed model: its name, its file, its card.
type Committed = (&'static str, &'static [u8], &'static str);

macro_rules! committed {
    ($($name:literal),* $(,)?) => {
        &[$((
            $name,
            include_bytes!(concat!("../models/", $name, ".safetensors")),
            include_str!(concat!("../models/", $name, ".md")),
        )),*]
    };
}

/// Every committed model.
const COMMITTED: &[Committed] = committed![
    "ecg-beats",
    "traffic-serving",
    "traffic-wustl-ehms-2020",
    "traffic-cicids2017",
    "traffic-unsw-nb15",
    "traffic-nsl-kdd",
    "traffic-unsupervised",
    "vital-signs",
];

/// Names of the committed models.
pub fn names() -> impl Iterator<Item = &'static str> {
    COMMITTED.iter().map(|(name, ..)| *name)
}

/// The file of a committed model.
#[must_use]
pub fn bytes(name: &str) -> Option<&'static [u8]> {
    COMMITTED.iter().find(|(known, ..)| *known == name).map(|(_, bytes, _)| *bytes)
}

/// The card of a committed model, Markdown: what it is for and how it was measured.
#[must_use]
pub fn card(name: &str) -> Option<&'static str> {
    COMMITTED.iter().find(|(known, ..)| *known == name).map(|(.., card)| *card)
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
            assert!(card(name).unwrap().contains(&model.id().to_string()), "{name}: the card is of another file");
        }
    }
}
