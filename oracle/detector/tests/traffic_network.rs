//! The traffic network from training to serving, on made-up flows: what training promises, what a file promises, what streaming promises.

use ndarray::Array2;
use pulsegate_detector::model_file::ModelFile;
use pulsegate_detector::progress::Silent;
use pulsegate_detector::traffic::autoencoder_bilstm::Restraint;
use pulsegate_detector::traffic::encoding::Column;
use pulsegate_detector::traffic::inference::{Inference, Memory};
use pulsegate_detector::traffic::model::{Rule, TrafficModel};
use pulsegate_detector::traffic::protocol::Experiment;
use pulsegate_detector::traffic::training::{LabelledFlows, Recipe, logits};

const WINDOW: usize = 5;

fn recipe() -> Recipe {
    Recipe {
        bins: 6,
        hidden: 8,
        code: 4,
        units: 4,
        window: WINDOW,
        reads_hidden: false,
        restraint: Restraint { input_dropout: 0.1, dropout: 0.1, reconstruction: 0.5, sparsity: 0.01, activity: 0.1 },
        epochs: 4,
        batch: 32,
        block: 8,
        learning_rate: 1e-2,
        weight_decay: 0.01,
        balance: 0.3,
    }
}

/// A capture in which a flow is an attack when the flow three before it was marked.
fn flows(rows: usize) -> LabelledFlows {
    let mark = |row: usize| (row * row + row / 3).is_multiple_of(7);
    let value = |(row, column): (usize, usize)| match column {
        0 => f32::from(u8::from(mark(row))),
        1 if row % 11 == 0 => f32::NAN,
        1 => ((row * 37) % 100) as f32,
        _ => (row % 3) as f32,
    };
    LabelledFlows {
        names: ["mark", "noise", "kind"].map(str::to_owned).to_vec(),
        columns: vec![Column::Number, Column::Number, Column::Codes(3)],
        features: Array2::from_shape_fn((rows, 3), value),
        classes: ["benign", "attack"].map(str::to_owned).to_vec(),
        truth: (0..rows).map(|row| usize::from(row >= 3 && mark(row - 3))).collect(),
        group: (0..rows).map(|row| row as u64 / 10).collect(),
        sequence: vec![0; rows],
        importance: vec![1.0; rows],
        sources: Vec::new(),
    }
}

fn experiment(checkpoint: Option<&std::path::Path>, epochs: Option<usize>) -> Experiment<'_> {
    Experiment {
        name: "made-up",
        recipe: recipe(),
        rule: Rule::BenignShare(0.05),
        seed: 7,
        epochs,
        checkpoint,
        progress: &Silent,
    }
}

fn trained(epochs: Option<usize>, checkpoint: Option<&std::path::Path>) -> (ModelFile, LabelledFlows) {
    let flows = flows(300);
    let experiment = experiment(checkpoint, epochs);
    let (fitted, judgement) = experiment.train_for_use(&flows).expect("the flows can be learnt from");
    (fitted.to_file(experiment.metadata(&fitted, &flows, judgement)), flows)
}

fn row(flows: &LabelledFlows, row: usize) -> Vec<f32> {
    flows.features.row(row).to_vec()
}

/// Logits of a device that sends the given rows one after the other.
fn streamed(inference: &Inference, flows: &LabelledFlows, rows: &[usize]) -> Vec<Vec<f32>> {
    let mut memory = [inference.memory()];
    let mut scratch = inference.scratch(1);
    let judge = |at: &usize| {
        let mut out = vec![0.0; 2];
        inference.judge(&row(flows, *at), &mut memory, &[0], &mut scratch, &mut out);
        out
    };
    rows.iter().map(judge).collect()
}

#[test]
fn the_same_seed_gives_the_same_file() {
    assert_eq!(trained(Some(2), None).0.to_bytes(), trained(Some(2), None).0.to_bytes());
}

#[test]
fn training_that_was_stopped_ends_as_training_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let whole = trained(None, None).0.to_bytes();
    let first = trained(None, Some(folder.path())).0.to_bytes();
    // Everything is found finished now, and read from the checkpoints.
    let resumed = trained(None, Some(folder.path())).0.to_bytes();
    assert_eq!(first, whole);
    assert_eq!(resumed, whole);
}

#[test]
fn what_is_read_from_a_file_judges_as_what_was_trained() {
    let (file, flows) = trained(None, None);
    let model = TrafficModel::read(&file).unwrap();
    let again = TrafficModel::read(&ModelFile::read(&file.to_bytes()).unwrap()).unwrap();
    let rows: Vec<usize> = (0..flows.len()).collect();
    assert_eq!(logits(&model.inference, &flows, &rows), logits(&again.inference, &flows, &rows));
    assert_eq!(model.settings, again.settings);
}

#[test]
fn a_file_that_is_cut_off_or_of_another_model_is_refused() {
    let (file, _) = trained(Some(1), None);
    let bytes = file.to_bytes();
    for length in [0, 7, bytes.len() / 2, bytes.len() - 1] {
        assert!(ModelFile::read(&bytes[..length]).is_err(), "cut to {length} bytes");
    }
    let mut foreign = file.clone();
    foreign.metadata.settings["shape"]["hidden"] = 9.into();
    assert_eq!(TrafficModel::read(&foreign).unwrap_err().code(), "MODEL_FILE_TENSOR");
    let mut without = file;
    without.metadata.settings = serde_json::json!({});
    assert_eq!(TrafficModel::read(&without).unwrap_err().code(), "MODEL_FILE_FOREIGN");
}

#[test]
fn devices_judged_together_are_judged_as_one_by_one() {
    let (file, flows) = trained(Some(1), None);
    let inference = TrafficModel::read(&file).unwrap().inference;
    // Seven devices, each with flows of its own, and one of them named twice in a batch.
    let of_device = |device: usize, step: usize| (device * 31 + step * 7) % flows.len();
    let devices = 7;
    let mut memories: Vec<Memory> = (0..devices).map(|_| inference.memory()).collect();
    let mut scratch = inference.scratch(4);
    let mut together: Vec<Vec<Vec<f32>>> = vec![Vec::new(); devices];
    let mut taken = vec![0; devices];
    for step in 0..12 {
        let mut which: Vec<usize> = (0..devices).map(|place| (place + step) % devices).collect();
        which.push(step % devices);
        let mut features = Vec::new();
        for device in &which {
            features.extend(row(&flows, of_device(*device, taken[*device])));
            taken[*device] += 1;
        }
        let mut out = vec![0.0; which.len() * 2];
        inference.judge(&features, &mut memories, &which, &mut scratch, &mut out);
        for (device, out) in which.iter().zip(out.chunks(2)) {
            together[*device].push(out.to_vec());
        }
    }
    for device in 0..devices {
        let rows: Vec<usize> = (0..taken[device]).map(|step| of_device(device, step)).collect();
        assert_eq!(streamed(&inference, &flows, &rows), together[device], "device {device}");
    }
}

#[test]
fn a_window_is_all_that_is_remembered() {
    let (file, flows) = trained(Some(1), None);
    let inference = TrafficModel::read(&file).unwrap().inference;
    let window: Vec<usize> = (50..50 + WINDOW).collect();
    let one = streamed(&inference, &flows, &[vec![1, 2, 3], window.clone()].concat());
    let other = streamed(&inference, &flows, &[vec![9, 8, 7, 6, 5, 4], window].concat());
    assert_eq!(one.last(), other.last());
}

#[test]
fn rows_judged_out_of_a_capture_are_judged_with_their_past() {
    let (file, flows) = trained(Some(1), None);
    let inference = TrafficModel::read(&file).unwrap().inference;
    let all: Vec<usize> = (0..flows.len()).collect();
    let whole = logits(&inference, &flows, &all);
    let some = [2, 3, 40, 41, 43, 200];
    let picked = logits(&inference, &flows, &some);
    for (place, row) in some.iter().enumerate() {
        assert_eq!(picked.row(place), whole.row(*row), "row {row}");
    }
}

#[test]
fn history_is_learnt() {
    let (file, flows) = trained(Some(60), None);
    let model = TrafficModel::read(&file).unwrap();
    let rows: Vec<usize> = (3..flows.len()).collect();
    let outputs = logits(&model.inference, &flows, &rows);
    let right = rows.iter().zip(outputs.rows()).filter(|(row, out)| usize::from(out[1] > out[0]) == flows.truth[**row]);
    let share = right.count() as f64 / rows.len() as f64;
    assert!(share > 0.95, "the label stands three flows back, and {share} were right");
}
