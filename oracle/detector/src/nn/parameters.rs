//! Named weights of a network, and how they begin.

use ndarray::Array2;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// A weight matrix of [`Parameters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param(pub(super) usize);

/// The weights of a network by name, in the order in which they were added.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters {
    pub(super) names: Vec<String>,
    pub(super) values: Vec<Array2<f32>>,
}

impl Parameters {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a matrix. Names are distinct.
    ///
    /// # Panics
    /// When the name is taken.
    pub fn add(&mut self, name: &str, value: Array2<f32>) -> Param {
        assert!(!self.names.iter().any(|known| known == name), "parameter {name} is added once");
        self.names.push(name.to_owned());
        self.values.push(value.as_standard_layout().into_owned());
        Param(self.values.len() - 1)
    }

    /// A dense layer: weights `NAME.weight` inputs × outputs after Glorot and Bengio (2010), bias `NAME.bias` of zeros.
    pub fn add_dense(&mut self, name: &str, inputs: usize, outputs: usize, rng: &mut ChaCha8Rng) -> (Param, Param) {
        let weight = self.add(&format!("{name}.weight"), glorot(rng, inputs, outputs));
        (weight, self.add(&format!("{name}.bias"), Array2::zeros((1, outputs))))
    }

    /// The matrix.
    #[must_use]
    pub fn get(&self, param: Param) -> &Array2<f32> {
        &self.values[param.0]
    }

    /// The matrix, to change it.
    pub fn get_mut(&mut self, param: Param) -> &mut Array2<f32> {
        &mut self.values[param.0]
    }

    /// The handle of a name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Param> {
        self.names.iter().position(|known| known == name).map(Param)
    }

    /// All, by name, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Array2<f32>)> {
        self.names.iter().map(String::as_str).zip(&self.values)
    }

    /// How many numbers there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.values.iter().map(Array2::len).sum()
    }
}

/// Uniform weights of variance 2 / (inputs + outputs) (Glorot, Bengio 2010), inputs × outputs.
pub fn glorot(rng: &mut ChaCha8Rng, inputs: usize, outputs: usize) -> Array2<f32> {
    uniform(rng, inputs, outputs, inputs + outputs, 6.0)
}

/// Uniform weights of variance 2 / inputs, for layers before a rectifier (He et al. 2015), inputs × outputs.
pub fn he(rng: &mut ChaCha8Rng, inputs: usize, outputs: usize) -> Array2<f32> {
    uniform(rng, inputs, outputs, inputs, 6.0)
}

#[expect(clippy::cast_precision_loss, reason = "layers have fewer than 2^24 inputs")]
fn uniform(rng: &mut ChaCha8Rng, inputs: usize, outputs: usize, fan: usize, scale: f32) -> Array2<f32> {
    let limit = (scale / fan.max(1) as f32).sqrt();
    Array2::from_shape_simple_fn((inputs, outputs), || rng.gen_range(-limit..=limit))
}
