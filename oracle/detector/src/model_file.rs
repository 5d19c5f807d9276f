//! A model's file: safetensors with the weights, and one JSON text of what is known of them.
//!
//! A model is named by the SHA-256 of its file, so a file cannot be changed and keep its name. Guarantees: the same model gives the same
//! bytes; a truncated, foreign or over-long file, and weights that are not finite, are refused before anything is used. Must not: execute
//! or fetch anything on a file's word.

pub(crate) mod tensors;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use ndarray::Array2;
use pulsegate_rules::ModelId;
use pulsegate_rules::registry::DetectorKind;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::nn::Parameters;

/// Longest file, bytes.
pub const MODEL_FILE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Version of the JSON text.
const FORMAT: u32 = 1;

/// A model's weights and what is known of them.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFile {
    /// What is known of the weights.
    pub metadata: Metadata,
    tensors: BTreeMap<String, Array2<f32>>,
}

/// What is known of the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// Name of the model in the catalogue.
    pub name: String,
    /// What it judges.
    pub kind: DetectorKind,
    /// Names of the classes, in the order of the outputs.
    pub classes: Vec<String>,
    /// The model's own settings: encoders, thresholds, calibration, sizes.
    pub settings: serde_json::Value,
    /// The files that it was trained on.
    pub data: Vec<DataSource>,
    /// Seed of every random choice of training.
    pub seed: u64,
    /// SHA-256 of the figures of its evaluation, hex.
    pub metrics_sha256: Option<String>,
}

/// A file that a model was trained on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSource {
    /// Name of the file, without folders.
    pub file_name: String,
    /// SHA-256 of the file as it lies on disk, hex.
    pub sha256: String,
    /// Rows that were used.
    pub rows: u64,
}

impl DataSource {
    /// Names a file by its digest.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn of(path: &Path, rows: u64) -> std::io::Result<Self> {
        let digest = Sha256::digest(std::fs::read(path)?);
        let file_name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { file_name, sha256: ModelId(digest.into()).to_string(), rows })
    }
}

/// A model file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelFileError {
    /// The file is too long.
    #[error("the model file has more than {MODEL_FILE_BYTES_MAX} bytes; it is not a model of this project")]
    TooLong,
    /// The file is not safetensors, or is cut off.
    #[error(
        "the model file cannot be read ({reason}); fetch it again, or train it again with `pulsegate detector train`"
    )]
    Unreadable {
        /// What is wrong.
        reason: String,
    },
    /// The file's JSON text is not what this version writes.
    #[error(
        "the model file's description is unusable ({reason}); it was written by another version or is not a model of this project"
    )]
    Foreign {
        /// What is wrong.
        reason: String,
    },
    /// A tensor is not there, or of another shape.
    #[error("tensor {name:?} is missing or not {rows} × {columns}; the file belongs to another model or version")]
    Tensor {
        /// Its name.
        name: String,
        /// Rows that were expected.
        rows: usize,
        /// Columns that were expected.
        columns: usize,
    },
    /// A weight is not a number.
    #[error("tensor {name:?} holds a value that is not finite; train the model again")]
    NotFinite {
        /// Its name.
        name: String,
    },
}

impl ModelFileError {
    /// The stable code of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLong => "MODEL_FILE_TOO_LONG",
            Self::Unreadable { .. } => "MODEL_FILE_UNREADABLE",
            Self::Foreign { .. } => "MODEL_FILE_FOREIGN",
            Self::Tensor { .. } => "MODEL_FILE_TENSOR",
            Self::NotFinite { .. } => "MODEL_FILE_NOT_FINITE",
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    format: u32,
    #[serde(flatten)]
    metadata: serde_json::Value,
}

/// The bytes of a file that may be a model: no more of it than shows that it is none.
///
/// # Errors
/// What the file system says.
pub fn bytes_of(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MODEL_FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl ModelFile {
    /// A model with the weights of a network.
    #[must_use]
    pub fn new(metadata: Metadata, parameters: &Parameters) -> Self {
        let tensors = parameters.iter().map(|(name, value)| (name.to_owned(), value.clone())).collect();
        Self { metadata, tensors }
    }

    /// Adds a matrix that is no weight: an encoder's quantiles, a normalisation.
    pub fn insert(&mut self, name: &str, matrix: Array2<f32>) {
        self.tensors.insert(name.to_owned(), matrix.as_standard_layout().into_owned());
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`ModelFileError`].
    pub fn read(bytes: &[u8]) -> Result<Self, ModelFileError> {
        if bytes.len() > MODEL_FILE_BYTES_MAX {
            return Err(ModelFileError::TooLong);
        }
        let (text, tensors) = tensors::decode(bytes)?;
        let foreign = |reason: String| ModelFileError::Foreign { reason };
        let envelope: Envelope = serde_json::from_str(&text).map_err(|error| foreign(error.to_string()))?;
        if envelope.format != FORMAT {
            return Err(foreign(format!("format {} instead of {FORMAT}", envelope.format)));
        }
        let metadata = serde_json::from_value(envelope.metadata).map_err(|error| foreign(error.to_string()))?;
        Ok(Self { metadata, tensors })
    }

    /// The file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let metadata = serde_json::to_value(&self.metadata).expect("metadata are plain JSON");
        let text = serde_json::to_string(&Envelope { format: FORMAT, metadata }).expect("metadata are plain JSON");
        tensors::encode(&text, self.tensors.iter().map(|(name, matrix)| (name.clone(), matrix)).collect())
    }

    /// The name of the model: SHA-256 of its file.
    #[must_use]
    pub fn id(&self) -> ModelId {
        ModelId(Sha256::digest(self.to_bytes()).into())
    }

    /// A matrix of this shape, rows × columns.
    ///
    /// # Errors
    /// [`ModelFileError::Tensor`] when it is not there or of another shape.
    pub fn tensor(&self, name: &str, shape: [usize; 2]) -> Result<&Array2<f32>, ModelFileError> {
        let found = self.tensors.get(name).filter(|matrix| matrix.dim() == (shape[0], shape[1]));
        found.ok_or_else(|| ModelFileError::Tensor { name: name.to_owned(), rows: shape[0], columns: shape[1] })
    }

    /// All matrices by name.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &Array2<f32>)> {
        self.tensors.iter().map(|(name, matrix)| (name.as_str(), matrix))
    }

    /// Digest over the data that it was trained on, as the registry keeps it: SHA-256 over the digests of the files, in order.
    #[must_use]
    pub fn data_hash(&self) -> [u8; 32] {
        let add = |hasher: Sha256, source: &DataSource| hasher.chain_update(source.sha256.as_bytes());
        self.metadata.data.iter().fold(Sha256::new(), add).finalize().into()
    }
}
