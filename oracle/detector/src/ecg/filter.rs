//! Signal conditioning of the beat finder: a resampler to its working rate and second-order filters.
//!
//! Guarantees: causal, sample by sample, no allocation, state of a few numbers. Must not: be fed a sample that is not finite.

/// Working rate of the beat finder and of the beat model, Hz: that of the MIT-BIH Arrhythmia Database.
pub const ECG_HZ: f64 = 360.0;
/// Lowest and highest sampling rate that is read, Hz.
pub const SOURCE_HZ_RANGE: std::ops::RangeInclusive<f64> = 90.0..=1_100.0;
/// Rates this close to [`ECG_HZ`] pass unchanged, relative.
const SAME_RATE: f64 = 1e-4;

/// Turns a signal of any steady rate into one of [`ECG_HZ`], by linear interpolation.
///
/// There is no anti-aliasing filter: an ECG has next to no energy above 180 Hz, and the finder looks below 30 Hz.
#[derive(Clone, Debug)]
pub struct Resampler {
    /// Source samples per working sample.
    step: f64,
    /// Where the next working sample lies between the last two source samples, 0 to 1; more when it is still to come.
    phase: f64,
    last: Option<f32>,
}

impl Resampler {
    /// For a source of `source_hz`; `None` outside [`SOURCE_HZ_RANGE`].
    #[must_use]
    pub fn new(source_hz: f64) -> Option<Self> {
        if !SOURCE_HZ_RANGE.contains(&source_hz) {
            return None;
        }
        let step = source_hz / ECG_HZ;
        let step = if (step - 1.0).abs() < SAME_RATE { 1.0 } else { step };
        Some(Self { step, phase: 0.0, last: None })
    }

    /// Takes one source sample and hands every working sample that can be computed by now to `out`.
    pub fn push(&mut self, sample: f32, mut out: impl FnMut(f32)) {
        let Some(last) = self.last.replace(sample) else {
            out(sample);
            self.phase = self.step;
            return;
        };
        while self.phase <= 1.0 {
            #[expect(clippy::cast_possible_truncation, reason = "a share between 0 and 1")]
            let share = self.phase as f32;
            out(if share >= 1.0 { sample } else { last + (sample - last) * share });
            self.phase += self.step;
        }
        self.phase -= 1.0;
    }
}

/// A second-order filter (R. Bristow-Johnson, Cookbook formulae for audio equalizer biquad filter coefficients), transposed direct form II.
#[derive(Clone, Debug)]
pub(crate) struct Biquad {
    ahead: [f64; 3],
    back: [f64; 2],
    state: [f64; 2],
}

impl Biquad {
    /// Butterworth low pass at `corner_hz`, at the working rate.
    pub(crate) fn low_pass(corner_hz: f64) -> Self {
        Self::new(corner_hz, |cosine| [(1.0 - cosine) / 2.0, 1.0 - cosine, (1.0 - cosine) / 2.0])
    }

    /// Butterworth high pass at `corner_hz`, at the working rate.
    pub(crate) fn high_pass(corner_hz: f64) -> Self {
        Self::new(corner_hz, |cosine| [f64::midpoint(1.0, cosine), -(1.0 + cosine), f64::midpoint(1.0, cosine)])
    }

    fn new(corner_hz: f64, ahead: impl Fn(f64) -> [f64; 3]) -> Self {
        let angle = std::f64::consts::TAU * corner_hz / ECG_HZ;
        let alpha = angle.sin() * std::f64::consts::FRAC_1_SQRT_2;
        let scale = 1.0 / (1.0 + alpha);
        let ahead = ahead(angle.cos()).map(|coefficient| coefficient * scale);
        Self { ahead, back: [-2.0 * angle.cos() * scale, (1.0 - alpha) * scale], state: [0.0; 2] }
    }

    pub(crate) fn step(&mut self, input: f64) -> f64 {
        let output = self.ahead[0] * input + self.state[0];
        self.state[0] = self.ahead[1] * input - self.back[0] * output + self.state[1];
        self.state[1] = self.ahead[2] * input - self.back[1] * output;
        output
    }
}

#[cfg(test)]
mod tests {
    use super::{Biquad, ECG_HZ, Resampler};

    #[test]
    fn the_working_rate_passes_unchanged_and_others_keep_their_shape() {
        let mut same = Resampler::new(1e9 / 2_777_778.0).unwrap();
        let mut out = Vec::new();
        (0..1_000_u16).for_each(|at| same.push(f32::from(at), |sample| out.push(sample)));
        assert_eq!(out, (0..1_000_u16).map(f32::from).collect::<Vec<f32>>());
        for source_hz in [100.0, 250.0, 500.0] {
            let mut resampler = Resampler::new(source_hz).unwrap();
            let mut ramp = Vec::new();
            (0..5_000_u16).for_each(|at| resampler.push(f32::from(at) / source_hz as f32, |sample| ramp.push(sample)));
            let seconds = 4_999.0 / source_hz;
            assert!((ramp.len() as f64 - seconds * ECG_HZ).abs() < 2.5, "{source_hz}: {}", ramp.len());
            for (at, value) in ramp.iter().enumerate() {
                assert!((f64::from(*value) - at as f64 / ECG_HZ).abs() < 1e-3, "{source_hz} at {at}: {value}");
            }
        }
        assert!(Resampler::new(10.0).is_none() && Resampler::new(f64::NAN).is_none());
    }

    #[test]
    fn the_filters_pass_their_band_and_hold_back_the_rest() {
        let gain = |mut filter: Biquad, hz: f64| {
            let wave = |at: i32| (std::f64::consts::TAU * hz * f64::from(at) / ECG_HZ).sin();
            (0..7_200).map(|at| filter.step(wave(at))).skip(3_600).fold(0.0, |top: f64, value| top.max(value.abs()))
        };
        assert!(gain(Biquad::high_pass(6.0), 0.5) < 0.01 && gain(Biquad::high_pass(6.0), 40.0) > 0.97);
        assert!(gain(Biquad::low_pass(22.0), 100.0) < 0.05 && gain(Biquad::low_pass(22.0), 2.0) > 0.97);
    }
}
