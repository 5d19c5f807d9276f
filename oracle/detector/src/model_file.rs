//! What a model's file says of itself.

use pulsegate_rules::registry::DetectorKind;

/// A model's weights and what is known of them.
#[derive(Clone, Debug)]
pub struct ModelFile {
    /// What is known of the weights.
    pub metadata: Metadata,
}

/// What is known of the weights.
#[derive(Clone, Debug)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSource {
    /// Name of the file, without folders.
    pub file_name: String,
    /// SHA-256 of the file as it lies on disk, hex.
    pub sha256: String,
    /// Rows that were used.
    pub rows: u64,
}
