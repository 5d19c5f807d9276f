//! A model keeps its id: what was written, read and written again is the same file, byte by byte.

use ndarray::array;
use pulsegate_detector::model_file::{Metadata, ModelFile};
use pulsegate_detector::nn::Parameters;
use pulsegate_rules::ModelId;
use pulsegate_rules::registry::DetectorKind;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

fn model() -> ModelFile {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    // Many of these numbers change in their last place when JSON is read without care.
    let numbers: Vec<f64> = (0..500).map(|_| rng.gen_range(-1e3..1e3) * 10_f64.powi(rng.gen_range(-20..5))).collect();
    let mut parameters = Parameters::new();
    parameters.add("weight", array![[1.0, 2.0], [3.0, 4.0]]);
    let metadata = Metadata {
        name: "traffic-invented".to_owned(),
        kind: DetectorKind::Traffic,
        classes: vec!["normal".to_owned(), "attack".to_owned()],
        settings: serde_json::json!({ "temperature": 0.1_f32, "numbers": numbers }),
        data: Vec::new(),
        seed: 1,
        metrics_sha256: None,
    };
    ModelFile::new(metadata, &parameters)
}

#[test]
fn a_model_has_the_same_id_after_it_was_read() {
    let model = model();
    let bytes = model.to_bytes();
    let read = ModelFile::read(&bytes).unwrap();
    assert_eq!(read.to_bytes(), bytes);
    assert_eq!(read.id(), model.id());
    assert_eq!(read.id(), ModelId(Sha256::digest(&bytes).into()));
    assert_eq!(ModelFile::read(&read.to_bytes()).unwrap(), read);
}

#[test]
fn a_changed_description_makes_another_model() {
    let model = model();
    let mut read = ModelFile::read(&model.to_bytes()).unwrap();
    read.metadata.metrics_sha256 = Some("00".repeat(32));
    assert_ne!(read.id(), model.id());
    assert_eq!(ModelFile::read(&read.to_bytes()).unwrap().metadata.metrics_sha256, read.metadata.metrics_sha256);
}
