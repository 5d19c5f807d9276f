//! The trained members together, as they serve: one pass over an hour's features gives one risk.
//!
//! All members read the same inputs, so their dense layers and linear paths are one matrix. Their log-odds are averaged, then calibrated by
//! hour. Guarantees: no allocation in [`Ensemble::step`]; weights of another shape are refused; the state is [`State`], a few numbers per
//! member. Must not: remember anything of one patient for another.

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
    from_inputs: [f32; GATES],
    from_hidden: [f32; GATES],
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
    out_bias: f32,
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
                out_bias: row(&name("out.bias"), 1)?[0],
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
        let (inputs, first) = (vec![0.0; INPUTS], vec![0.0; self.members.len() * (DENSE_UNITS + 1)]);
        Scratch { inputs, first, from_inputs: [0.0; GATES], from_hidden: [0.0; GATES] }
    }

    /// An hour is over: moves the state on and returns the mean log-odds. `features` are [`FEATURES`] numbers of
    /// [`super::History::write`]. No allocation.
    ///
    /// # Panics
    /// When there are fewer features.
    pub fn step(&self, features: &[f32], state: &mut State, scratch: &mut Scratch) -> f32 {
        self.step_each(features, state, scratch, |_, _| {})
    }

    /// As [`Self::step`], telling the log-odds of each member.
    pub(crate) fn step_each(
        &self,
        features: &[f32],
        state: &mut State,
        scratch: &mut Scratch,
        mut each: impl FnMut(usize, f32),
    ) -> f32 {
        let Scratch { inputs, first, from_inputs, from_hidden } = scratch;
        self.encoding.encode(features, inputs);
        kernel::dense(inputs, 1, &self.first, &self.first_bias, first);
        let (dense, beside) = first.split_at_mut(self.members.len() * DENSE_UNITS);
        kernel::relu(dense);
        let mut sum = 0.0;
        let states = state.0.chunks_exact_mut(RECURRENT_UNITS);
        for (number, ((member, hidden), dense)) in
            self.members.iter().zip(states).zip(dense.chunks_exact(DENSE_UNITS)).enumerate()
        {
            kernel::dense(dense, 1, &member.from_inputs, &member.from_inputs_bias, from_inputs);
            kernel::dense(hidden, 1, &member.from_hidden, &member.from_hidden_bias, from_hidden);
            kernel::gru_cell(from_inputs, from_hidden, hidden, RECURRENT_UNITS);
            let deep: f32 = hidden.iter().zip(&member.out).map(|(unit, weight)| unit * weight).sum();
            let logit = deep + member.out_bias + beside[number];
            each(number, logit);
            sum += logit;
        }
        #[expect(clippy::cast_precision_loss, reason = "at most sixteen")]
        let members = self.members.len() as f32;
        sum / members
    }

    /// The calibrated risk of log-odds after an hour, counted from 0.
    #[must_use]
    pub fn risk(&self, logit: f32, hour: usize) -> f64 {
        self.calibration.probability(logit, hour)
    }
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
