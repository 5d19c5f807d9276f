//! The trained members together, as they serve: one pass over an hour's features gives one risk, for one patient or for many.
//!
//! All members read the same inputs, so their dense layers and linear paths are one matrix. Their log-odds are averaged, then calibrated by
//! hour. Guarantees: no allocation in [`Ensemble::step`] and [`Ensemble::step_all`]; a patient alone and among others gets the same bits;
//! weights of another shape are refused; the state is [`State`], a few numbers per member. Must not: remember anything of one patient for
//! another.

use ndarray::{Array2, Axis, Slice};
use serde::{Deserialize, Serialize};

use super::calibration::Calibration;
use super::encoding::{Encoding, INPUTS};
use super::history::FEATURES;
use super::network::{DENSE_UNITS, RECURRENT_UNITS};
use crate::model_file::{ModelFile, ModelFileError};
use crate::nn::{Parameters, kernel};

/// Most members.
pub const MEMBERS_MAX: usize = 16;
const GATES: usize = 3 * RECURRENT_UNITS;
/// Patients that go through the members together: enough to read the weights rarely, few enough to stay in the second cache.
const BLOCK: usize = 32;

/// What a model file says of the model besides its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How many members there are, 1 to [`MEMBERS_MAX`].
    pub members: usize,
    /// From log-odds to a probability.
    pub calibration: Calibration,
    /// Risk from which the model speaks of an elevated risk, 0 to 1; chosen on stays of the training set that the predicting members did
    /// not train on.
    pub operating_point: f64,
}

/// What the network remembers of a patient: the recurrent state of every member.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct State([f32; MEMBERS_MAX * RECURRENT_UNITS]);

impl Default for State {
    fn default() -> Self {
        Self([0.0; MEMBERS_MAX * RECURRENT_UNITS])
    }
}

/// Room for one pass; made once, used for every patient.
#[derive(Clone, Debug)]
pub struct Scratch {
    inputs: Vec<f32>,
    first: Vec<f32>,
    from_inputs: Vec<f32>,
    from_hidden: Vec<f32>,
    hidden: Vec<f32>,
    deep: Vec<f32>,
    /// Log-odds, patients × members.
    logits: Vec<f32>,
}

/// The members of a model file.
#[derive(Clone, Debug)]
pub struct Ensemble {
    encoding: Encoding,
    /// Dense layers of all members side by side, then one column of the linear path per member; inputs × members·(units + 1).
    first: Vec<f32>,
    first_bias: Vec<f32>,
    members: Vec<Recurrent>,
    calibration: Calibration,
    operating_point: f64,
}

#[derive(Clone, Debug)]
struct Recurrent {
    from_inputs: Vec<f32>,
    from_inputs_bias: Vec<f32>,
    from_hidden: Vec<f32>,
    from_hidden_bias: Vec<f32>,
    out: Vec<f32>,
    out_bias: Vec<f32>,
}

impl Ensemble {
    /// Reads the members out of a model file.
    ///
    /// # Errors
    /// [`ModelFileError`] when the settings are not this model's or a matrix is missing or of another shape.
    pub fn of(file: &ModelFile) -> Result<Self, ModelFileError> {
        let foreign = |reason: String| ModelFileError::Foreign { reason };
        let settings: Settings =
            serde_json::from_value(file.metadata.settings.clone()).map_err(|error| foreign(error.to_string()))?;
        if !(1..=MEMBERS_MAX).contains(&settings.members) {
            return Err(foreign(format!("{} members, where 1 to {MEMBERS_MAX} are possible", settings.members)));
        }
        if !(0.0..=1.0).contains(&settings.operating_point) {
            return Err(foreign("the operating point is not a probability".to_owned()));
        }
        let row = |name: &str, columns| file.tensor(name, [1, columns]).map(|matrix| matrix.row(0).to_vec());
        let encoding =
            Encoding { centre: row("encoding.centre", FEATURES)?, spread: row("encoding.spread", FEATURES)? };
        if encoding.spread.iter().any(|spread| *spread <= 0.0) {
            return Err(foreign("a spread of the encoding is not positive".to_owned()));
        }
        let width = settings.members * (DENSE_UNITS + 1);
        let mut first = Array2::zeros((INPUTS, width));
        let mut first_bias = vec![0.0; width];
        let mut members = Vec::with_capacity(settings.members);
        for number in 0..settings.members {
            let name = |what: &str| tensor_name(number, what);
            let units = number * DENSE_UNITS..(number + 1) * DENSE_UNITS;
            let dense = file.tensor(&name("dense.weight"), [INPUTS, DENSE_UNITS])?;
            first.slice_axis_mut(Axis(1), Slice::from(units.clone())).assign(dense);
            first_bias[units].copy_from_slice(&row(&name("dense.bias"), DENSE_UNITS)?);
            let beside = settings.members * DENSE_UNITS + number;
            let linear = file.tensor(&name("linear.weight"), [INPUTS, 1])?;
            first.slice_axis_mut(Axis(1), Slice::from(beside..beside + 1)).assign(linear);
            members.push(Recurrent {
                from_inputs: flat(file.tensor(&name("from_inputs.weight"), [DENSE_UNITS, GATES])?),
                from_inputs_bias: row(&name("from_inputs.bias"), GATES)?,
                from_hidden: flat(file.tensor(&name("from_hidden.weight"), [RECURRENT_UNITS, GATES])?),
                from_hidden_bias: row(&name("from_hidden.bias"), GATES)?,
                out: flat(file.tensor(&name("out.weight"), [RECURRENT_UNITS, 1])?),
                out_bias: row(&name("out.bias"), 1)?,
            });
        }
        let (calibration, operating_point) = (settings.calibration, settings.operating_point);
        Ok(Self { encoding, first: flat(&first), first_bias, members, calibration, operating_point })
    }

    /// How many members there are.
    #[must_use]
    pub const fn members(&self) -> usize {
        self.members.len()
    }

    /// Risk from which the model speaks of an elevated risk.
    #[must_use]
    pub const fn operating_point(&self) -> f64 {
        self.operating_point
    }

    /// Room for one pass.
    #[must_use]
    pub fn scratch(&self) -> Scratch {
        let room = |per_patient: usize| vec![0.0; BLOCK * per_patient];
        Scratch {
            inputs: room(INPUTS),
            first: room(self.members.len() * (DENSE_UNITS + 1)),
            from_inputs: room(GATES),
            from_hidden: room(GATES),
            hidden: room(RECURRENT_UNITS),
            deep: room(1),
            logits: room(self.members.len()),
        }
    }

    /// An hour is over: moves the state on and returns the mean log-odds. `features` are [`FEATURES`] numbers of
    /// [`super::History::write`]. No allocation.
    ///
    /// # Panics
    /// When there are fewer features.
    pub fn step(&self, features: &[f32], state: &mut State, scratch: &mut Scratch) -> f32 {
        let mut logit = [0.0];
        self.step_all(&features[..FEATURES], std::slice::from_mut(state), scratch, &mut logit);
        logit[0]
    }

    /// As [`Self::step`], for many patients at once: `features` are patients × [`FEATURES`], `logits` get one number per patient.
    ///
    /// # Panics
    /// When there are not as many rows of features and room for as many numbers as there are states.
    pub fn step_all(&self, features: &[f32], states: &mut [State], scratch: &mut Scratch, logits: &mut [f32]) {
        assert_eq!(logits.len(), states.len(), "one number per patient");
        self.step_each(features, states, scratch, |patient, of_members| logits[patient] = mean(of_members));
    }

    /// As [`Self::step_all`], telling the log-odds of all members for each patient.
    pub(crate) fn step_each(
        &self,
        features: &[f32],
        states: &mut [State],
        scratch: &mut Scratch,
        mut each: impl FnMut(usize, &[f32]),
    ) {
        assert_eq!(features.len(), states.len() * FEATURES, "one row of features per patient");
        let blocks = features.chunks(BLOCK * FEATURES).zip(states.chunks_mut(BLOCK));
        for (number, (features, states)) in blocks.enumerate() {
            self.pass(features, states, scratch);
            let logits = scratch.logits.chunks_exact(self.members.len()).take(states.len());
            logits.enumerate().for_each(|(place, logits)| each(number * BLOCK + place, logits));
        }
    }

    /// One block of patients; leaves the log-odds in the scratch.
    fn pass(&self, features: &[f32], states: &mut [State], scratch: &mut Scratch) {
        let (rows, members) = (states.len(), self.members.len());
        let (dense, width) = (members * DENSE_UNITS, members * (DENSE_UNITS + 1));
        let inputs = &mut scratch.inputs[..rows * INPUTS];
        for (features, inputs) in features.chunks_exact(FEATURES).zip(inputs.chunks_exact_mut(INPUTS)) {
            self.encoding.encode(features, inputs);
        }
        let first = &mut scratch.first[..rows * width];
        kernel::dense(inputs, rows, &self.first, &self.first_bias, first);
        first.chunks_exact_mut(width).for_each(|row| kernel::relu(&mut row[..dense]));
        let (from_inputs, from_hidden) =
            (&mut scratch.from_inputs[..rows * GATES], &mut scratch.from_hidden[..rows * GATES]);
        let (hidden, deep) = (&mut scratch.hidden[..rows * RECURRENT_UNITS], &mut scratch.deep[..rows]);
        for (number, member) in self.members.iter().enumerate() {
            let own = number * RECURRENT_UNITS..(number + 1) * RECURRENT_UNITS;
            for (hidden, state) in hidden.chunks_exact_mut(RECURRENT_UNITS).zip(states.iter()) {
                hidden.copy_from_slice(&state.0[own.clone()]);
            }
            let read = &first[number * DENSE_UNITS..];
            kernel::strided_dense(read, DENSE_UNITS, width, &member.from_inputs, &member.from_inputs_bias, from_inputs);
            kernel::dense(hidden, rows, &member.from_hidden, &member.from_hidden_bias, from_hidden);
            kernel::gru_serve(from_inputs, from_hidden, hidden, RECURRENT_UNITS);
            kernel::dense(hidden, rows, &member.out, &member.out_bias, deep);
            for (row, state) in states.iter_mut().enumerate() {
                state.0[own.clone()].copy_from_slice(&hidden[row * RECURRENT_UNITS..(row + 1) * RECURRENT_UNITS]);
                scratch.logits[row * members + number] = deep[row] + first[row * width + dense + number];
            }
        }
    }

    /// The calibrated risk of log-odds after an hour, counted from 0.
    #[must_use]
    pub fn risk(&self, logit: f32, hour: usize) -> f64 {
        self.calibration.probability(logit, hour)
    }
}

/// Mean of the members' log-odds.
#[expect(clippy::cast_precision_loss, reason = "at most sixteen")]
pub(crate) fn mean(logits: &[f32]) -> f32 {
    logits.iter().sum::<f32>() / logits.len() as f32
}

/// Name in the file of a matrix of a member.
fn tensor_name(member: usize, what: &str) -> String {
    format!("member{member}.{what}")
}

/// All matrices of a model file: the encoding and the weights of every member.
pub(crate) fn to_parameters(encoding: &Encoding, members: &[Parameters]) -> Parameters {
    let mut all = Parameters::new();
    let row =
        |values: &[f32]| Array2::from_shape_vec((1, values.len()), values.to_vec()).expect("one row of all values");
    all.add("encoding.centre", row(&encoding.centre));
    all.add("encoding.spread", row(&encoding.spread));
    for (number, member) in members.iter().enumerate() {
        for (name, value) in member.iter() {
            all.add(&tensor_name(number, name), value.clone());
        }
    }
    all
}

fn flat(matrix: &Array2<f32>) -> Vec<f32> {
    matrix.iter().copied().collect()
}
