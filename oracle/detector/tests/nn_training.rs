//! The training loop learns, repeats itself, goes on from a checkpoint; kernels agree with plain arithmetic; model files keep their word.

use ndarray::Array2;
use pulsegate_detector::catalogue::TrainError;
use pulsegate_detector::model_file::{Metadata, ModelFile, ModelFileError};
use pulsegate_detector::nn::{Conv, Parameters, Schedule, Tape, Var, fit, generator, glorot, kernel};
use pulsegate_detector::progress::Silent;
use pulsegate_rules::registry::DetectorKind;
use rand::seq::SliceRandom;

struct Network {
    parameters: Parameters,
    first: (pulsegate_detector::nn::Param, pulsegate_detector::nn::Param),
    second: (pulsegate_detector::nn::Param, pulsegate_detector::nn::Param),
}

fn network() -> Network {
    let mut parameters = Parameters::new();
    let mut rng = generator(3, 0);
    let first = parameters.add_dense("first", 2, 16, &mut rng);
    let second = parameters.add_dense("second", 16, 2, &mut rng);
    Network { parameters, first, second }
}

/// Exclusive or: no straight line divides it.
fn points() -> (Array2<f32>, Vec<usize>) {
    let x = glorot(&mut generator(11, 0), 400, 2) * 24.0;
    let classes = x.rows().into_iter().map(|row| usize::from((row[0] > 0.0) != (row[1] > 0.0))).collect();
    (x, classes)
}

fn train(
    schedule: &Schedule,
    checkpoint: Option<&std::path::Path>,
    stop_after: usize,
) -> Result<(Parameters, f32), TrainError> {
    let mut network = network();
    let (x, classes) = points();
    let (first, second) = (network.first, network.second);
    let logits = |tape: &mut Tape<'_>, batch: &[usize]| -> Var {
        let input = tape.constant(x.select(ndarray::Axis(0), batch));
        let hidden = tape.linear(input, first.0, first.1);
        let hidden = tape.tanh(hidden);
        let hidden = tape.dropout(hidden, 0.1);
        tape.linear(hidden, second.0, second.1)
    };
    let mut last = f32::NAN;
    let shuffle = |epoch: usize, rng: &mut rand_chacha::ChaCha8Rng| {
        let mut rows: Vec<usize> = (0..400).collect();
        rows.shuffle(rng);
        // An interruption: the loss becomes unusable, as a power cut would end the run.
        if epoch >= stop_after { vec![usize::MAX] } else { rows }
    };
    fit(
        &mut network.parameters,
        schedule,
        checkpoint,
        &Silent,
        shuffle,
        |tape, batch| {
            if batch == [usize::MAX] {
                return tape.constant(Array2::from_elem((1, 1), f32::NAN));
            }
            let value = logits(tape, batch);
            let targets: Vec<usize> = batch.iter().map(|row| classes[*row]).collect();
            tape.cross_entropy(value, &targets, None)
        },
        |_, _, loss| last = loss,
    )?;
    Ok((network.parameters, last))
}

fn schedule() -> Schedule {
    Schedule {
        epochs: 30,
        batch: 32,
        learning_rate: 2e-2,
        weight_decay: 1e-3,
        average: Some(0.9),
        ..Schedule::default()
    }
}

#[test]
fn training_learns_what_no_straight_line_divides() {
    let (_, loss) = train(&schedule(), None, usize::MAX).expect("training ends");
    assert!(loss < 0.25, "loss {loss}, chance is 0.69");
}

#[test]
fn one_seed_gives_one_set_of_weights() {
    let once = train(&schedule(), None, usize::MAX).expect("training ends").0;
    let again = train(&schedule(), None, usize::MAX).expect("training ends").0;
    let other = train(&Schedule { seed: 2, ..schedule() }, None, usize::MAX).expect("training ends").0;
    assert_eq!(once, again);
    assert_ne!(once, other);
}

#[test]
fn stopped_training_ends_as_training_that_never_stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("xor.checkpoint");
    let stopped = train(&schedule(), Some(&path), 11);
    assert!(matches!(stopped, Err(TrainError::Diverged { epoch: 11 })));
    let resumed = train(&schedule(), Some(&path), usize::MAX).expect("training goes on").0;
    assert_eq!(resumed, train(&schedule(), None, usize::MAX).expect("training ends").0);
    let foreign = train(&Schedule { seed: 5, ..schedule() }, Some(&path), usize::MAX);
    assert_eq!(foreign.map(|_| ()).map_err(|error| error.code()), Err("DETECTOR_CHECKPOINT_UNUSABLE"));
    std::fs::write(&path, b"cut off").expect("the file is written");
    let broken = train(&schedule(), Some(&path), usize::MAX);
    assert_eq!(broken.map(|_| ()).map_err(|error| error.code()), Err("DETECTOR_CHECKPOINT_UNUSABLE"));
}

#[test]
fn a_dense_kernel_agrees_with_plain_sums_and_rows_do_not_touch_each_other() {
    for (rows, inputs, outputs) in [(1, 7, 5), (3, 16, 33), (4, 8, 64), (9, 31, 150), (5, 1, 1), (6, 40, 17)] {
        let x = glorot(&mut generator(1, 0), rows, inputs);
        let w = glorot(&mut generator(2, 0), inputs, outputs);
        let bias = glorot(&mut generator(3, 0), 1, outputs);
        let (x_flat, w_flat) = (x.as_slice().expect("row-major"), w.as_slice().expect("row-major"));
        let bias_flat = bias.as_slice().expect("row-major");
        let mut out = vec![f32::NAN; rows * outputs];
        kernel::dense(x_flat, rows, w_flat, bias_flat, &mut out);
        let expected = x.dot(&w) + &bias;
        for (value, expected) in out.iter().zip(&expected) {
            assert!((value - expected).abs() < 1e-5, "{rows} × {inputs} × {outputs}: {value} instead of {expected}");
        }
        for row in 0..rows {
            let mut alone = vec![f32::NAN; outputs];
            kernel::dense(&x_flat[row * inputs..(row + 1) * inputs], 1, w_flat, bias_flat, &mut alone);
            assert_eq!(
                alone,
                out[row * outputs..(row + 1) * outputs],
                "a row alone is the row in a batch, bit for bit"
            );
        }
    }
}

#[test]
fn a_convolution_agrees_with_plain_sums() {
    for conv in [
        Conv { channels: 1, kernel: 5, stride: 1, pad: 2 },
        Conv { channels: 3, kernel: 4, stride: 2, pad: 0 },
        Conv { channels: 2, kernel: 7, stride: 3, pad: 5 },
        Conv { channels: 2, kernel: 30, stride: 2, pad: 8 },
    ] {
        let (steps, outputs) = (20, 6);
        let x = glorot(&mut generator(4, 0), steps, conv.channels);
        let w = glorot(&mut generator(5, 0), conv.kernel * conv.channels, outputs);
        let bias = glorot(&mut generator(6, 0), 1, outputs);
        let steps_out = conv.steps_out(steps);
        let mut out = vec![f32::NAN; steps_out * outputs];
        let flat = |matrix: &Array2<f32>| matrix.iter().copied().collect::<Vec<f32>>();
        kernel::conv1d(&flat(&x), conv, &flat(&w), &flat(&bias), &mut out);
        for step in 0..steps_out {
            for output in 0..outputs {
                let mut sum = bias[[0, output]];
                for k in 0..conv.kernel {
                    for channel in 0..conv.channels {
                        let at = (step * conv.stride + k).checked_sub(conv.pad).filter(|at| *at < steps);
                        sum += at.map_or(0.0, |at| x[[at, channel]] * w[[k * conv.channels + channel, output]]);
                    }
                }
                assert!((out[step * outputs + output] - sum).abs() < 1e-5, "{conv:?} step {step}");
            }
        }
    }
}

#[test]
fn quick_functions_agree_with_exact_ones() {
    for number in -9000_i16..9000 {
        let x = f32::from(number) * 0.01;
        let (quick, exact) = (kernel::exp(x), x.clamp(-87.0, 88.0).exp());
        assert!((quick - exact).abs() <= exact * 3e-7, "e^{x}: {quick} instead of {exact}");
        let (mut sigmoid, mut tanh) = ([x], [x]);
        kernel::sigmoid(&mut sigmoid);
        kernel::tanh(&mut tanh);
        assert!((sigmoid[0] - 1.0 / (1.0 + (-x).exp())).abs() < 3e-7);
        assert!((tanh[0] - x.tanh()).abs() < 5e-7);
    }
    let mut rows = [1.0, 2.0, 3.0, 1000.0, -1000.0, 0.0];
    kernel::softmax(&mut rows, 3);
    assert!((rows[..3].iter().sum::<f32>() - 1.0).abs() < 1e-6 && (rows[3] - 1.0).abs() < 1e-6);
}

fn model() -> ModelFile {
    let metadata = Metadata {
        name: "example".to_owned(),
        kind: DetectorKind::Traffic,
        classes: vec!["normal".to_owned(), "attack".to_owned()],
        settings: serde_json::json!({ "threshold": 0.5 }),
        data: Vec::new(),
        seed: 1,
        metrics_sha256: None,
    };
    ModelFile::new(metadata, &network().parameters)
}

#[test]
fn a_model_file_reads_back_and_is_named_by_its_bytes() {
    let model = model();
    let bytes = model.to_bytes();
    let back = ModelFile::read(&bytes).expect("the file reads back");
    assert_eq!(back, model);
    assert_eq!(back.id(), model.id());
    assert_eq!(back.to_bytes(), bytes);
    assert!(back.tensor("first.weight", [2, 16]).is_ok());
    assert!(matches!(back.tensor("first.weight", [2, 15]), Err(ModelFileError::Tensor { .. })));
}

#[test]
fn truncated_foreign_and_poisoned_model_files_are_refused() {
    let bytes = model().to_bytes();
    for length in [0, 7, 8, 100, bytes.len() / 2, bytes.len() - 1] {
        let error = ModelFile::read(&bytes[..length]).expect_err("a cut-off file is refused");
        assert_eq!(error.code(), "MODEL_FILE_UNREADABLE", "{length} bytes");
    }
    assert_eq!(ModelFile::read(b"not a model at all").map_err(|e| e.code()), Err("MODEL_FILE_UNREADABLE"));
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let at = text.find("traffic").expect("the kind is in the text");
    let mut other = bytes.clone();
    other[at..at + 7].copy_from_slice(b"weather");
    assert_eq!(ModelFile::read(&other).map_err(|e| e.code()), Err("MODEL_FILE_FOREIGN"));
    let mut poisoned = bytes.clone();
    let end = poisoned.len();
    poisoned[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    assert_eq!(ModelFile::read(&poisoned).map_err(|e| e.code()), Err("MODEL_FILE_NOT_FINITE"));
}
