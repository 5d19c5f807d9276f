//! One small autoencoder with sigmoid units, taught one row at a time.
//!
//! Source of the design: Mirsky, Doitshman, Elovici, Shabtai, "Kitsune: An Ensemble of Autoencoders for Online Network Intrusion
//! Detection" (NDSS 2018), section IV. A value that is missing (NaN) is left out of the input and out of the loss. The input is centred on
//! 0.5, the middle of the normalised scale, so leaving a value out says "as usual", not "very small". The loss of a row is the mean
//! cross-entropy of the values that are there; the score is their root mean square error. Guarantees: judging allocates nothing; a row with
//! no value at all gives no score and teaches nothing. Must not: see values that [`super::scale`] has not normalised.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Most inputs of one autoencoder.
pub(crate) const INPUTS_MAX: usize = 64;

/// The weights of one autoencoder, all in one vector: encoder (inputs × hidden), hidden bias, decoder (inputs × hidden), output bias.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Autoencoder {
    inputs: usize,
    hidden: usize,
    weights: Vec<f32>,
}

/// Room for one row on its way through, used again for every row.
#[derive(Clone, Debug)]
pub(crate) struct Pass {
    hidden: [f32; INPUTS_MAX],
    output: [f32; INPUTS_MAX],
    delta: [f32; INPUTS_MAX],
}

impl Default for Pass {
    fn default() -> Self {
        Self { hidden: [0.0; INPUTS_MAX], output: [0.0; INPUTS_MAX], delta: [0.0; INPUTS_MAX] }
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

impl Autoencoder {
    /// How many weights an autoencoder of this shape has.
    pub(crate) const fn weights_of(inputs: usize, hidden: usize) -> usize {
        2 * inputs * hidden + hidden + inputs
    }

    /// How many hidden units go with so many inputs: `share` of them, rounded up, at least one.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "few inputs"
    )]
    pub(crate) fn hidden_of(inputs: usize, share: f32) -> usize {
        ((inputs as f32 * share).ceil() as usize).clamp(1, inputs.clamp(1, INPUTS_MAX))
    }

    /// New weights, uniform within ±√(6 / (inputs + hidden)) (Glorot, Bengio 2010), biases zero.
    #[expect(clippy::cast_precision_loss, reason = "few units")]
    pub(crate) fn new(inputs: usize, hidden: usize, rng: &mut ChaCha8Rng) -> Self {
        debug_assert!((1..=INPUTS_MAX).contains(&inputs) && (1..=INPUTS_MAX).contains(&hidden), "clusters are small");
        let bound = (6.0 / (inputs + hidden) as f32).sqrt();
        let mut weights = vec![0.0; Self::weights_of(inputs, hidden)];
        let (encoder, decoder) = (0..inputs * hidden, inputs * hidden + hidden..2 * inputs * hidden + hidden);
        encoder.chain(decoder).for_each(|at| weights[at] = rng.gen_range(-bound..bound));
        Self { inputs, hidden, weights }
    }

    /// An autoencoder from stored weights; `None` when their number does not fit the shape or one of them is not finite.
    pub(crate) fn from_weights(inputs: usize, hidden: usize, weights: Vec<f32>) -> Option<Self> {
        let fits = (1..=INPUTS_MAX).contains(&inputs)
            && (1..=INPUTS_MAX).contains(&hidden)
            && weights.len() == Self::weights_of(inputs, hidden)
            && weights.iter().all(|weight| weight.is_finite());
        fits.then_some(Self { inputs, hidden, weights })
    }

    /// Number of hidden units.
    pub(crate) const fn hidden(&self) -> usize {
        self.hidden
    }

    /// All weights, in the order of [`Autoencoder`].
    pub(crate) fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// Encoder (inputs × hidden), hidden bias, decoder (inputs × hidden), output bias.
    pub(super) fn parts(&self) -> (&[f32], &[f32], &[f32], &[f32]) {
        let (encoder, rest) = self.weights.split_at(self.inputs * self.hidden);
        let (hidden_bias, rest) = rest.split_at(self.hidden);
        let (decoder, output_bias) = rest.split_at(self.inputs * self.hidden);
        (encoder, hidden_bias, decoder, output_bias)
    }

    fn forward(&self, row: &[f32], pass: &mut Pass) {
        let (encoder, hidden_bias, decoder, output_bias) = self.parts();
        let hidden = &mut pass.hidden[..self.hidden];
        hidden.copy_from_slice(hidden_bias);
        for (value, weights) in row.iter().zip(encoder.chunks_exact(self.hidden)) {
            if !value.is_nan() {
                let centred = value - 0.5;
                hidden.iter_mut().zip(weights).for_each(|(unit, weight)| *unit += centred * weight);
            }
        }
        hidden.iter_mut().for_each(|unit| *unit = sigmoid(*unit));
        for ((output, weights), bias) in pass.output.iter_mut().zip(decoder.chunks_exact(self.hidden)).zip(output_bias)
        {
            let sum: f32 = hidden.iter().zip(weights).map(|(unit, weight)| unit * weight).sum();
            *output = sigmoid(sum + bias);
        }
    }

    /// Root mean square error of the values that are there; NaN when none is.
    pub(crate) fn score(&self, row: &[f32], pass: &mut Pass) -> f32 {
        self.forward(row, pass);
        let (sum, count) = row
            .iter()
            .zip(&pass.output)
            .filter(|(value, _)| !value.is_nan())
            .fold((0.0_f32, 0.0_f32), |(sum, count), (value, output)| {
                (sum + (value - output) * (value - output), count + 1.0)
            });
        (sum / count).sqrt()
    }

    /// One step of stochastic gradient descent on `row`, values held to 0..1; gives the score from before the step.
    pub(crate) fn learn(&mut self, row: &[f32], rate: f32, pass: &mut Pass) -> f32 {
        let score = self.score(row, pass);
        if score.is_nan() {
            return score;
        }
        self.backward(row, pass);
        let (inputs, width) = (self.inputs, self.hidden);
        let (encoder, rest) = self.weights.split_at_mut(inputs * width);
        let (hidden_bias, rest) = rest.split_at_mut(width);
        let (decoder, output_bias) = rest.split_at_mut(inputs * width);
        let (hidden, delta) = (&pass.hidden[..width], &pass.delta[..width]);
        for (at, value) in row.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
            let error = rate * pass.output[at];
            let centred = rate * (value.clamp(0.0, 1.0) - 0.5);
            let row_of = at * width..(at + 1) * width;
            decoder[row_of.clone()].iter_mut().zip(hidden).for_each(|(weight, unit)| *weight -= error * unit);
            encoder[row_of].iter_mut().zip(delta).for_each(|(weight, delta)| *weight -= centred * delta);
            output_bias[at] -= error;
        }
        hidden_bias.iter_mut().zip(delta).for_each(|(bias, delta)| *bias -= rate * delta);
        score
    }

    /// After a forward pass: turns `pass.output` into the loss's slope at the output's input (zero where missing), `pass.delta` into that
    /// at the hidden units' input. The loss is the sum of the cross-entropies, so the slope at the output is simply output − value.
    fn backward(&self, row: &[f32], pass: &mut Pass) {
        let (_, _, decoder, _) = self.parts();
        let delta = &mut pass.delta[..self.hidden];
        delta.fill(0.0);
        for ((output, value), weights) in pass.output.iter_mut().zip(row).zip(decoder.chunks_exact(self.hidden)) {
            *output = if value.is_nan() { 0.0 } else { *output - value.clamp(0.0, 1.0) };
            delta.iter_mut().zip(weights).for_each(|(delta, weight)| *delta += *output * weight);
        }
        for (delta, unit) in delta.iter_mut().zip(&pass.hidden) {
            *delta *= unit * (1.0 - unit);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn loss(model: &Autoencoder, row: &[f32]) -> f64 {
        let mut pass = Pass::default();
        model.forward(row, &mut pass);
        let terms = row.iter().zip(pass.output).filter(|(value, _)| !value.is_nan());
        terms.map(|(x, y)| -f64::from(x * y.ln() + (1.0 - x) * (1.0 - y).ln())).sum()
    }

    #[test]
    fn gradient_agrees_with_finite_differences_and_ignores_what_is_missing() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let model = Autoencoder::new(5, 3, &mut rng);
        let row = [0.1, 0.9, f32::NAN, 0.4, 0.7];
        let mut taught = model.clone();
        taught.learn(&row, 1.0, &mut Pass::default());
        for at in 0..model.weights.len() {
            let slope = model.weights[at] - taught.weights[at];
            let (mut above, mut below) = (model.clone(), model.clone());
            above.weights[at] += 1e-2;
            below.weights[at] -= 1e-2;
            let expected = (loss(&above, &row) - loss(&below, &row)) / 2e-2;
            assert!((f64::from(slope) - expected).abs() < 1e-3, "weight {at}: {slope} and {expected}");
        }
    }

    #[test]
    fn learning_lowers_the_score_and_an_empty_row_teaches_nothing() {
        let mut model = Autoencoder::new(4, 3, &mut ChaCha8Rng::seed_from_u64(1));
        let mut pass = Pass::default();
        let row = [0.2, 0.8, 0.5, 0.1];
        let before = model.score(&row, &mut pass);
        (0..500).for_each(|_| {
            model.learn(&row, 0.1, &mut pass);
        });
        assert!(model.score(&row, &mut pass) < before / 4.0);
        let kept = model.clone();
        assert!(model.learn(&[f32::NAN; 4], 0.1, &mut pass).is_nan());
        assert_eq!(model, kept);
    }
}
