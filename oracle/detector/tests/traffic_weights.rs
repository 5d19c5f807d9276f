//! The committed weights of the traffic models give the outputs that they gave when they were trained.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use pulsegate_detector::model_file::ModelFile;
use pulsegate_detector::traffic::encoding::Column;
use pulsegate_detector::traffic::model::TrafficModel;

/// Farthest that an output may be from what it was: kernels of other machines round in another order.
const TOLERANCE: f32 = 1e-4;

/// Flow number `flow` of a made-up device: small numbers, every third column missing in the second flow.
fn features(columns: &[Column], flow: usize) -> Vec<f32> {
    let value = |(place, column): (usize, &Column)| match column {
        _ if flow == 1 && place % 3 == 0 => f32::NAN,
        Column::Number => ((place * 7 + flow * 13) % 17 * (place + 1)) as f32,
        Column::Codes(count) => ((place + flow) % count) as f32,
    };
    columns.iter().enumerate().map(value).collect()
}

/// Outputs of the last of three flows, probabilities.
fn judged(bytes: &[u8]) -> Vec<f32> {
    let model = TrafficModel::read(&ModelFile::read(bytes).unwrap()).unwrap();
    let inference = &model.inference;
    let (mut memory, mut scratch) = ([inference.memory()], inference.scratch(1));
    let mut out = vec![0.0; model.classes.len()];
    for flow in 0..3 {
        let row = features(inference.encoding().columns(), flow);
        inference.judge(&row, &mut memory, &[0], &mut scratch, &mut out);
    }
    model.settings.judgement.calibrate(&mut out);
    out
}

fn assert_close(bytes: &[u8], expected: &[f32]) {
    let found = judged(bytes);
    assert_eq!(found.len(), expected.len(), "found {found:?}");
    let far = found.iter().zip(expected).any(|(found, expected)| (found - expected).abs() > TOLERANCE);
    assert!(!far, "found {found:?}, expected {expected:?}");
}

#[test]
fn the_deployed_model_judges_as_when_it_was_trained() {
    assert_close(include_bytes!("../models/traffic-serving.safetensors"), &[0.378343, 0.621657]);
}

#[test]
fn the_model_of_the_bedside_monitor_judges_as_when_it_was_trained() {
    assert_close(include_bytes!("../models/traffic-wustl-ehms-2020.safetensors"), &[0.999947, 0.000051, 0.000002]);
}

#[test]
fn the_model_of_cicids_2017_judges_as_when_it_was_trained() {
    assert_close(
        include_bytes!("../models/traffic-cicids2017.safetensors"),
        &[
            0.050783, 0.000633, 0.943149, 0.000141, 0.000000, 0.000125, 0.000119, 0.001342, 0.000540, 0.000026,
            0.002722, 0.000186, 0.000092, 0.000026, 0.000117,
        ],
    );
}

#[test]
fn the_model_of_unsw_nb15_judges_as_when_it_was_trained() {
    assert_close(
        include_bytes!("../models/traffic-unsw-nb15.safetensors"),
        &[0.987547, 0.005415, 0.006296, 0.000360, 0.000375, 0.000006, 0.000000, 0.000001, 0.000000, 0.000000],
    );
}

#[test]
fn the_model_of_nsl_kdd_judges_as_when_it_was_trained() {
    assert_close(include_bytes!("../models/traffic-nsl-kdd.safetensors"), &[0.000011, 0.999989]);
}

#[test]
fn flows_judged_together_have_the_bits_of_flows_judged_alone() {
    const FLOWS: usize = 7;
    let files: [&[u8]; 5] = [
        include_bytes!("../models/traffic-serving.safetensors"),
        include_bytes!("../models/traffic-wustl-ehms-2020.safetensors"),
        include_bytes!("../models/traffic-cicids2017.safetensors"),
        include_bytes!("../models/traffic-unsw-nb15.safetensors"),
        include_bytes!("../models/traffic-nsl-kdd.safetensors"),
    ];
    for bytes in files {
        let model = TrafficModel::read(&ModelFile::read(bytes).unwrap()).unwrap();
        let (inference, classes) = (&model.inference, model.classes.len());
        let columns = inference.encoding().columns();
        let rows: Vec<f32> = (0..FLOWS).flat_map(|flow| features(columns, flow)).collect();
        let mut memories: Vec<_> = (0..FLOWS).map(|_| inference.memory()).collect();
        let which: Vec<usize> = (0..FLOWS).collect();
        let mut together = vec![0.0; FLOWS * classes];
        inference.judge(&rows, &mut memories, &which, &mut inference.scratch(FLOWS), &mut together);
        for (row, together) in rows.chunks(columns.len()).zip(together.chunks(classes)) {
            let mut alone = vec![0.0; classes];
            inference.judge(row, &mut [inference.memory()], &[0], &mut inference.scratch(1), &mut alone);
            assert_eq!(alone, together);
        }
    }
}
