//! A synthetic lead II: each wave of the heart beat is a Gaussian of the phase.
//!
//! Source: P. E. McSharry, G. D. Clifford, L. Tarassenko, L. A. Smith, "A dynamical model for generating synthetic electrocardiogram signals",
//! IEEE Trans. Biomed. Eng. 50(3), 2003: phases and widths of P, Q, R, S and T are those of its table I. In place of the paper's differential
//! equation the sum is evaluated directly, with amplitudes in mV; as there, widths and phases scale with the square root of the mean heart
//! rate, beats are lengthened and shortened by breathing (respiratory sinus arrhythmia), and the baseline wanders with it.

use std::f64::consts::TAU;

use rand::Rng;

/// (phase in radians from the R peak, amplitude in mV, width in radians) of P, Q, R, S, T.
const WAVES: [(f64, f64, f64); 5] = [
    (-std::f64::consts::FRAC_PI_3, 0.12, 0.25),
    (-std::f64::consts::PI / 12.0, -0.12, 0.1),
    (0.0, 1.1, 0.1),
    (std::f64::consts::PI / 12.0, -0.25, 0.1),
    (std::f64::consts::FRAC_PI_2, 0.28, 0.4),
];
/// Share by which breathing lengthens and shortens a beat.
const BREATHING_SHARE: f64 = 0.05;
/// How far breathing moves the baseline, mV.
const WANDER_MV: f64 = 0.05;
/// Largest noise of a sample, mV.
const NOISE_MV: f64 = 0.01;

/// How the heart beats during a block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EcgModel {
    /// Mean heart rate, per minute.
    pub heart_rate_per_minute: f64,
    /// Respiratory rate, per minute.
    pub respiratory_rate_per_minute: f64,
}

impl EcgModel {
    /// `count` samples in mV at `frequency_hz`, starting at a random moment of the beat and of the breath.
    pub fn block(&self, count: usize, frequency_hz: f64, rng: &mut impl Rng) -> Vec<f64> {
        let mut phase = rng.gen_range(-std::f64::consts::PI..std::f64::consts::PI);
        let mut breath = rng.gen_range(0.0..TAU);
        let mut samples = Vec::with_capacity(count);
        let stretch = (self.heart_rate_per_minute / 60.0).sqrt();
        for _ in 0..count {
            samples.push(beat(phase, stretch) + WANDER_MV * breath.sin() + rng.gen_range(-NOISE_MV..NOISE_MV));
            let beats_per_s = self.heart_rate_per_minute / 60.0 * (1.0 + BREATHING_SHARE * breath.sin());
            phase += TAU * beats_per_s / frequency_hz;
            if phase > std::f64::consts::PI {
                phase -= TAU;
            }
            breath = (breath + TAU * self.respiratory_rate_per_minute / 60.0 / frequency_hz) % TAU;
        }
        samples
    }
}

/// The lead at a phase from −π to π, mV.
fn beat(phase: f64, stretch: f64) -> f64 {
    let wave = |(at, amplitude, width): &(f64, f64, f64)| {
        // The T wave keeps its distance less than the others do; the paper moves it by the fourth root.
        let moved = if at.abs() > 1.5 { at * stretch.sqrt() } else { at * stretch };
        let distance = (phase - moved + std::f64::consts::PI).rem_euclid(TAU) - std::f64::consts::PI;
        amplitude * (-distance * distance / (2.0 * (width * stretch) * (width * stretch))).exp()
    };
    WAVES.iter().map(wave).sum()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn the_number_of_r_peaks_is_the_heart_rate() {
        for rate in [48.0, 72.0, 132.0] {
            let model = EcgModel { heart_rate_per_minute: rate, respiratory_rate_per_minute: 15.0 };
            let mut rng = rand::rngs::StdRng::seed_from_u64(7);
            let samples = model.block(360 * 60, 360.0, &mut rng);
            let peaks = samples.windows(2).filter(|pair| pair[0] < 0.6 && pair[1] >= 0.6).count();
            assert!((peaks as f64 - rate).abs() <= 2.0, "{peaks} peaks in a minute at {rate} per minute");
            assert!(samples.iter().all(|sample| sample.abs() < 2.0));
        }
    }
}
