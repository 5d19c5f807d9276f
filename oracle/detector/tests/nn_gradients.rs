//! Gradients of every layer against central differences, on random values with printed seeds.

use ndarray::Array2;
use pulsegate_detector::nn::{Conv, Param, Parameters, Tape, Var, generator, glorot};

const STEP: f32 = 1e-2;
const TOLERANCE: f32 = 2e-2;

/// Checks the gradient of `loss` by every number of every parameter.
fn check(parameters: &mut Parameters, loss: impl Fn(&mut Tape<'_>) -> Var) {
    let value_of = |parameters: &Parameters| {
        let mut tape = Tape::new(parameters, true, generator(7, 0));
        let loss = loss(&mut tape);
        tape.value(loss)[[0, 0]]
    };
    let gradients = {
        let mut tape = Tape::new(parameters, true, generator(7, 0));
        let loss = loss(&mut tape);
        tape.backward(loss)
    };
    let names: Vec<String> = parameters.iter().map(|(name, _)| name.to_owned()).collect();
    for name in names {
        let param = parameters.find(&name).expect("the name was listed");
        let analytic = gradients.get(param).expect("the loss depends on every parameter").clone();
        let mut greatest = 0.0_f32;
        for index in 0..analytic.len() {
            let place = (index / analytic.ncols(), index % analytic.ncols());
            let before = parameters.get(param)[place];
            parameters.get_mut(param)[place] = before + STEP;
            let above = value_of(parameters);
            parameters.get_mut(param)[place] = before - STEP;
            let below = value_of(parameters);
            parameters.get_mut(param)[place] = before;
            let numeric = (above - below) / (2.0 * STEP);
            let difference = (numeric - analytic[place]).abs();
            assert!(
                difference <= TOLERANCE * (1.0 + numeric.abs().max(analytic[place].abs())),
                "{name}{place:?}: {numeric} by differences, {} on the tape",
                analytic[place]
            );
            greatest = greatest.max(analytic[place].abs());
        }
        assert!(greatest > 1e-4, "{name} has a gradient that is not zero everywhere");
    }
}

fn random(seed: u64, rows: usize, columns: usize) -> Array2<f32> {
    glorot(&mut generator(seed, 1), rows, columns) * 1.5
}

/// Parameters of these shapes, named a, b, c, ….
fn with(seed: u64, shapes: &[(usize, usize)]) -> (Parameters, Vec<Param>) {
    let mut parameters = Parameters::new();
    let handles = shapes.iter().enumerate().map(|(number, &(rows, columns))| {
        let name = char::from(b'a' + u8::try_from(number).expect("few shapes")).to_string();
        parameters.add(&name, random(seed + number as u64, rows, columns))
    });
    let handles = handles.collect();
    (parameters, handles)
}

/// A loss that weighs every element differently, so that no two gradients are alike.
fn weigh(tape: &mut Tape<'_>, value: Var) -> Var {
    let shape = tape.value(value).dim();
    let target = tape.constant(random(99, shape.0, shape.1));
    tape.mean_square(value, target, None)
}

#[test]
fn gradients_of_arithmetic_match_differences() {
    let (mut parameters, p) = with(1, &[(3, 4), (4, 2), (3, 2)]);
    check(&mut parameters, |tape| {
        let (a, b, c) = (tape.param(p[0]), tape.param(p[1]), tape.param(p[2]));
        let product = tape.matmul(a, b);
        let sum = tape.add(product, c);
        let square = tape.mul(sum, product);
        let scaled = tape.scale(square, 0.7);
        weigh(tape, scaled)
    });
}

#[test]
fn gradients_of_activations_and_dense_layers_match_differences() {
    let (mut parameters, p) = with(2, &[(5, 4), (4, 3), (1, 3)]);
    check(&mut parameters, |tape| {
        let x = tape.param(p[0]);
        let dense = tape.linear(x, p[1], p[2]);
        let (s, t) = (tape.sigmoid(dense), tape.tanh(dense));
        let both = tape.concat(&[s, t]);
        let dropped = tape.dropout(both, 0.3);
        weigh(tape, dropped)
    });
}

#[test]
fn gradients_of_a_rectifier_match_differences() {
    let mut parameters = Parameters::new();
    // Away from the kink, where differences are wrong.
    let values = vec![-1.0, 0.5, 2.0, -0.4, 0.3, 1.2];
    let a = parameters.add("a", Array2::from_shape_vec((2, 3), values).expect("2 × 3"));
    check(&mut parameters, |tape| {
        let x = tape.param(a);
        let y = tape.relu(x);
        weigh(tape, y)
    });
}

#[test]
fn gradients_of_slices_match_differences() {
    let (mut parameters, p) = with(3, &[(4, 6)]);
    check(&mut parameters, |tape| {
        let x = tape.param(p[0]);
        let columns = tape.columns(x, 1..5);
        let rows = tape.rows(columns, 1..3);
        let gathered = tape.gather_rows(columns, &[3, 0, 3]);
        let (a, b, c) = (weigh(tape, rows), weigh(tape, gathered), weigh(tape, x));
        let sum = tape.add(a, b);
        tape.add(sum, c)
    });
}

#[test]
fn gradients_of_recurrent_steps_match_differences() {
    let units = 3;
    let (mut parameters, p) =
        with(4, &[(2, 4 * units), (units, 4 * units), (2, units), (2, 3 * units), (units, 3 * units)]);
    check(&mut parameters, |tape| {
        let (gates, recurrent, mut cell) = (tape.param(p[0]), tape.param(p[1]), tape.param(p[2]));
        let mut hidden = tape.constant(random(50, 2, units));
        for _ in 0..3 {
            let from_hidden = tape.matmul(hidden, recurrent);
            let all = tape.add(gates, from_hidden);
            (hidden, cell) = tape.lstm_step(all, cell);
        }
        let (x, recurrent) = (tape.param(p[3]), tape.param(p[4]));
        for _ in 0..2 {
            let h = tape.matmul(hidden, recurrent);
            hidden = tape.gru_step(x, h, hidden);
        }
        let (a, b) = (weigh(tape, hidden), weigh(tape, cell));
        tape.add(a, b)
    });
}

#[test]
fn gradients_of_convolutions_match_differences() {
    for (number, conv) in [
        Conv { channels: 2, kernel: 3, stride: 1, pad: 1 },
        Conv { channels: 2, kernel: 4, stride: 2, pad: 0 },
        Conv { channels: 2, kernel: 5, stride: 2, pad: 3 },
    ]
    .into_iter()
    .enumerate()
    {
        let (mut parameters, p) = with(5 + number as u64, &[(3, 20), (conv.kernel * 2, 3), (1, 3)]);
        check(&mut parameters, |tape| {
            let x = tape.param(p[0]);
            let y = tape.conv1d(x, p[1], p[2], conv);
            weigh(tape, y)
        });
    }
}

#[test]
fn gradients_of_losses_match_differences() {
    let (mut parameters, p) = with(9, &[(4, 3), (4, 2), (5, 3)]);
    let targets = Array2::from_shape_fn((4, 2), |(row, column)| if (row + column) % 2 == 0 { 1.0 } else { 0.3 });
    let weights = Array2::from_shape_fn((4, 2), |(row, column)| (row + 2 * column) as f32);
    check(&mut parameters, |tape| {
        let (a, b, c) = (tape.param(p[0]), tape.param(p[1]), tape.param(p[2]));
        let entropy = tape.cross_entropy(a, &[0, 2, 1, 1], Some(&[1.0, 0.5, 2.0, 0.0]));
        let binary = tape.binary_cross_entropy(b, &targets, Some(&weights));
        let active = tape.sigmoid(c);
        let sparse = tape.sparsity(active, 0.1);
        let sum = tape.add(entropy, binary);
        tape.add(sum, sparse)
    });
}
