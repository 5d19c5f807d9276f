//! Where models come from: the files committed with this program, or a folder of the operator's.
//!
//! A model is asked for by the SHA-256 that the chain names active, and no other file is ever loaded. Guarantees: a file whose digest is
//! another one is refused, whatever its name; a folder's files are read within named limits. Must not: fetch anything.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pulsegate_detector::model_file::{MODEL_FILE_BYTES_MAX, ModelFile};
use pulsegate_detector::models as committed;
use pulsegate_detector::runtime::{self, Detector, LoadError};
use pulsegate_detector::vitals::Setting;
use pulsegate_rules::ModelId;
use pulsegate_rules::registry::DetectorKind;
use sha2::{Digest, Sha256};

/// Most model files of a folder that are looked at.
pub const MODEL_FILES_MAX: usize = 64;
/// How a model file's name ends.
const EXTENSION: &str = "safetensors";

/// Makes a detector of a file's bytes, whose digest was checked.
pub type ModelLoader = Arc<dyn Fn(DetectorKind, &[u8]) -> Result<Detector, ModelError> + Send + Sync>;

/// A model cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The folder or a file in it cannot be read.
    #[error("{path}: {reason}; check `models_dir` and its permissions", path = path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// No file has the digest that was asked for.
    #[error(
        "none of {files} model files has the SHA-256 {id}; put the approved file into `models_dir`, or activate a model that is at hand"
    )]
    NotAtHand {
        /// What was asked for.
        id: ModelId,
        /// How many files have another one.
        files: usize,
    },
    /// The file has the right digest and still does not become a detector.
    #[error(transparent)]
    Unusable(#[from] LoadError),
    /// The detector calls itself by another id than its file's.
    #[error(
        "the model calls itself {found} and its file is {id}; the file was not written by this project, train it again"
    )]
    OtherName {
        /// The file's digest.
        id: ModelId,
        /// The detector's own.
        found: ModelId,
    },
}

impl ModelError {
    /// The stable code of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "MODELS_UNREADABLE",
            Self::NotAtHand { .. } => "MODEL_NOT_AT_HAND",
            Self::Unusable(error) => error.code(),
            Self::OtherName { .. } => "MODEL_OTHER_NAME",
        }
    }
}

/// Where models are.
#[derive(Clone)]
pub struct Models {
    /// The operator's folder; without one, the files committed with this program.
    folder: Option<PathBuf>,
    loader: ModelLoader,
}

/// The loader of models that this program serves, for patients who are in `setting`.
///
/// # Errors of the loader
/// [`ModelError::Unusable`].
#[must_use]
pub fn served(setting: Setting) -> ModelLoader {
    Arc::new(move |kind, bytes| {
        let file = ModelFile::read(bytes).map_err(LoadError::from)?;
        Ok(runtime::load(kind, &file, setting)?)
    })
}

impl Models {
    /// Models of a folder, or the committed ones, made into detectors by `loader`.
    #[must_use]
    pub fn new(folder: Option<PathBuf>, loader: ModelLoader) -> Self {
        Self { folder, loader }
    }

    /// The detector of the model whose file has this digest. Blocks the thread while it reads.
    ///
    /// # Errors
    /// [`ModelError`].
    pub fn load(&self, kind: DetectorKind, id: ModelId) -> Result<Detector, ModelError> {
        let bytes = self.find(id)?;
        let detector = (self.loader)(kind, &bytes)?;
        let found = detector.model();
        if found == id { Ok(detector) } else { Err(ModelError::OtherName { id, found }) }
    }

    fn find(&self, id: ModelId) -> Result<Vec<u8>, ModelError> {
        let is_it = |bytes: &[u8]| ModelId(Sha256::digest(bytes).into()) == id;
        let Some(folder) = &self.folder else {
            let committed: Vec<&[u8]> = committed::names().filter_map(committed::bytes).collect();
            let found = committed.iter().find(|bytes| is_it(bytes)).map(|bytes| bytes.to_vec());
            return found.ok_or(ModelError::NotAtHand { id, files: committed.len() });
        };
        let paths = files_of(folder)?;
        for path in &paths {
            let bytes = std::fs::read(path).map_err(|error| unreadable(path, &error))?;
            if is_it(&bytes) {
                return Ok(bytes);
            }
        }
        Err(ModelError::NotAtHand { id, files: paths.len() })
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> ModelError {
    ModelError::Unreadable { path: path.to_owned(), reason: error.to_string() }
}

/// The model files of a folder, in order of their names; longer ones than any model is are left out.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
        let path = entry.map_err(|error| unreadable(folder, &error))?.path();
        let length = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        let fits = length <= MODEL_FILE_BYTES_MAX as u64;
        if fits && path.is_file() && path.extension().is_some_and(|extension| extension == EXTENSION) {
            paths.push(path);
        }
        if paths.len() > MODEL_FILES_MAX {
            let reason = format!("it holds more than {MODEL_FILES_MAX} model files");
            return Err(ModelError::Unreadable { path: folder.to_owned(), reason });
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusing() -> ModelLoader {
        Arc::new(|_, _| panic!("nothing may be loaded"))
    }

    #[test]
    fn a_file_of_another_digest_is_never_loaded_whatever_its_name() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("traffic-serving.safetensors"), b"another one").unwrap();
        let models = Models::new(Some(folder.path().to_owned()), refusing());
        let error = models.load(DetectorKind::Traffic, ModelId([7; 32])).unwrap_err();
        assert_eq!(error, ModelError::NotAtHand { id: ModelId([7; 32]), files: 1 });
        assert_eq!(error.code(), "MODEL_NOT_AT_HAND");
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let models = Models::new(Some(PathBuf::from("/nowhere/models")), refusing());
        let error = models.load(DetectorKind::Traffic, ModelId([7; 32])).unwrap_err();
        assert!(error.to_string().contains("/nowhere/models"), "{error}");
    }

    #[test]
    fn the_right_digest_with_other_content_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.safetensors"), b"no safetensors").unwrap();
        let id = ModelId(Sha256::digest(b"no safetensors").into());
        let error = Models::new(Some(folder.path().to_owned()), served(Setting::default()))
            .load(DetectorKind::Traffic, id)
            .unwrap_err();
        assert_eq!(error.code(), "MODEL_FILE_UNREADABLE");
    }
}
