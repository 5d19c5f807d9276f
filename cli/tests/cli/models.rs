//! An operator's way with detector models, as a person types it, against `pulsegate up`: the models that come with the program are active
//! from the first start; other files are approved, activated, missed by the oracle until they are where it looks, and rolled back.

use std::path::Path;

use crate::embedded::up;
use crate::support::{eventually, free_port, json, refused};
use pulsegate_detector::model_file::{Metadata, ModelFile};
use pulsegate_detector::nn::Parameters;
use pulsegate_rules::registry::DetectorKind;
use serde_json::Value;
use sha2::{Digest, Sha256};

const ADMIN: [&str; 2] = ["--admin", "pulsegate-data/operator.keystore.json"];

/// A file that reads as a model of vital signs and holds no weights.
fn write_model(path: &Path, seed: u64, metrics_sha256: Option<String>) {
    let metadata = Metadata {
        name: "hollow".to_owned(),
        kind: DetectorKind::VitalSigns,
        classes: Vec::new(),
        settings: Value::Null,
        data: Vec::new(),
        seed,
        metrics_sha256,
    };
    std::fs::write(path, ModelFile::new(metadata, &Parameters::new()).to_bytes()).expect("the model is written");
}

fn vital_signs(folder: &Path) -> Value {
    let list = json(folder, &["oracle", "model", "list"]);
    let of = |standing: &&Value| standing["detector"] == "vital-signs";
    list.as_array().expect("a list of models").iter().find(of).expect("every kind is listed").clone()
}

#[test]
fn an_operator_approves_activates_and_rolls_back_models() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let port = free_port().to_string();
    let config = include_str!("../../examples/embedded.toml").replace("7400", &port);
    let config = config.replacen("[service]\n", "[service]\nmodels_dir = \"models\"\n", 1);
    assert!(config.contains("models_dir"), "the example has a [service] part");
    std::fs::write(folder.join("pulsegate.toml"), config).unwrap();
    std::fs::create_dir(folder.join("models")).unwrap();
    let (running, ready) = up(folder);
    let committed: Vec<_> = pulsegate_detector::runtime::committed().collect();
    assert_eq!(ready["models"].as_array().unwrap().len(), committed.len(), "each is active from the first start");
    let card: [u8; 32] = Sha256::digest(pulsegate_detector::models::card("vital-signs").unwrap()).into();
    assert_eq!(vital_signs(folder)["approved"]["metrics_hash"], serde_json::json!(card), "its evaluation is its card");

    write_model(&folder.join("first.safetensors"), 1, Some("0x".to_owned() + &"ab".repeat(32)));
    write_model(&folder.join("second.safetensors"), 2, None);
    let first = ["oracle", "model", "approve", "first.safetensors", "--activate"];
    let first = json(folder, &[&first[..], &ADMIN[..]].concat())[0]["model"].clone();
    assert_eq!(vital_signs(folder)["active"], first);
    assert_eq!(vital_signs(folder)["approved"]["metrics_hash"][0], 0xab);
    eventually("the oracle misses the file", || {
        (vital_signs(folder)["oracle"]["code"] == "MODEL_NOT_AT_HAND").then_some(())
    });

    // Without an evaluation nothing is approved; the report may be named.
    let second = [&["oracle", "model", "approve", "second.safetensors"][..], &ADMIN[..]].concat();
    refused(folder, &second, 1, "MODEL_WITHOUT_METRICS");
    std::fs::write(folder.join("report.md"), "how it was measured").unwrap();
    let second = json(folder, &[&second[..], &["--metrics", "report.md"]].concat())[0]["model"].clone();
    assert_eq!(vital_signs(folder)["active"], first, "approved is not active yet");
    json(folder, &[&["oracle", "model", "activate", second.as_str().unwrap()][..], &ADMIN[..]].concat());
    assert_eq!((&vital_signs(folder)["active"], &vital_signs(folder)["previous"]), (&second, &first));
    json(folder, &[&["oracle", "model", "roll-back", "vital-signs"][..], &ADMIN[..]].concat());
    assert_eq!(vital_signs(folder)["active"], first);

    // A file that is no model, and somebody who is no admin.
    std::fs::write(folder.join("letter.safetensors"), "dear").unwrap();
    let letter = [&["oracle", "model", "approve", "letter.safetensors"][..], &ADMIN[..]].concat();
    refused(folder, &letter, 1, "MODEL_FILE_UNREADABLE");
    let stranger = ["oracle", "model", "activate", second.as_str().unwrap(), "--admin", "dev:alice"];
    let output = crate::support::pulsegate(folder).args(stranger).output().unwrap();
    assert!(!output.status.success(), "only the registry's admin activates");
    assert_eq!(vital_signs(folder)["active"], first);

    // In the oracle's folder the file is found; that it holds no weights is found then, too.
    std::fs::copy(folder.join("first.safetensors"), folder.join("models/any-name.safetensors")).unwrap();
    eventually("the oracle looks at the file", || {
        let code = vital_signs(folder)["oracle"]["code"].clone();
        (code.is_string() && code != "MODEL_NOT_AT_HAND").then_some(())
    });
    running.interrupt();
}

#[test]
fn the_commands_of_the_detectors_belong_to_this_program() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let card =
        crate::support::pulsegate(folder).args(["detector", "card", "--model", "traffic-serving"]).output().unwrap();
    assert!(card.status.success() && String::from_utf8_lossy(&card.stdout).contains("Model id"));
    let log = concat!(env!("CARGO_MANIFEST_DIR"), "/../oracle/detector/tests/data/zeek_conn.log");
    let watched = crate::support::pulsegate(folder).args(["detector", "watch", "--zeek", log]).output().unwrap();
    assert!(watched.status.success(), "{}", String::from_utf8_lossy(&watched.stderr));
    let evaluate = ["detector", "evaluate", "--model", "vital-signs", "--data", "nowhere", "--report", "report"];
    let output = crate::support::pulsegate(folder).args(evaluate).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("nowhere"), "the error names what is not there");
}
