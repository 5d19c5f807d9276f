//! A seeded patient: vital signs that drift with the time of day, a heart that follows the breath, and, if asked for, an episode in which the
//! patient gets worse, so that NEWS2 rises.
//!
//! Guarantees: every measurement is a function of seed, settings and its number alone: one version of this program gives the same output
//! for the same seed, from any place (on one platform; the last bit of sines and exponentials may differ between others). All values are
//! plausible, so none is left out. Must not: be taken for a model of disease; its curves are chosen for plausibility, not fitted.

use std::f64::consts::TAU;

use pulsegate_reading::{Acvpu, Component, LoincCode, Quantity, SampledData, Unit, Value};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

use super::{EcgModel, Skipped, Source, SourceError};
use crate::measurement::Measurement;

/// ECG sampling frequency, Hz.
const ECG_HZ: u32 = 250;
/// Length of an ECG block, seconds.
const ECG_BLOCK_S: u32 = 10;
/// ECG resolution, mV per step.
const ECG_STEP_MV: f64 = 0.005;
/// Range of the ECG converter, steps each way: 12 bits.
const ECG_STEPS_MAX: i32 = 2_047;
/// One day, milliseconds.
const DAY_MS: f64 = 86_400_000.0;

/// When the patient gets worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deterioration {
    /// When it begins, milliseconds after the start.
    pub after_ms: u64,
    /// How long it takes to be at its worst, milliseconds; it stays there.
    pub over_ms: u64,
}

/// What the generator gives, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeneratorConfig {
    /// The patient.
    pub seed: u64,
    /// Time of the first measurement, Unix milliseconds.
    pub start_ms: u64,
    /// Time between two rounds of heart rate, respiratory rate and oxygen saturation, milliseconds, at least 1.
    pub every_ms: u64,
    /// In every so many rounds also blood pressure, temperature, consciousness and inhaled oxygen; 0 for never.
    pub slow_every_rounds: u64,
    /// In every so many rounds also ten seconds of ECG lead II; 0 for never.
    pub ecg_every_rounds: u64,
    /// How many rounds; `None` for no end.
    pub rounds: Option<u64>,
    /// Whether and when the patient gets worse.
    pub deterioration: Option<Deterioration>,
}

impl GeneratorConfig {
    /// A round a minute, the slow ones and an ECG block every fifth, no end, no deterioration.
    #[must_use]
    pub const fn new(seed: u64, start_ms: u64) -> Self {
        Self {
            seed,
            start_ms,
            every_ms: 60_000,
            slow_every_rounds: 5,
            ecg_every_rounds: 5,
            rounds: None,
            deterioration: None,
        }
    }
}

/// The seeded patient.
pub struct Generator {
    config: GeneratorConfig,
    position: u64,
    skipped: Skipped,
}

/// What is true of the patient at a moment.
struct State {
    heart_rate: f64,
    respiratory_rate: f64,
    saturation: f64,
    systolic: f64,
    diastolic: f64,
    temperature: f64,
    inhaled_oxygen: f64,
    consciousness: Acvpu,
}

impl Generator {
    /// A patient. An `every_ms` of zero counts as one.
    #[must_use]
    pub fn new(config: GeneratorConfig) -> Self {
        let config = GeneratorConfig { every_ms: config.every_ms.max(1), ..config };
        Self { config, position: 0, skipped: Skipped::default() }
    }

    /// The measurement at a place, or `None` past the end.
    #[must_use]
    pub fn at(&self, position: u64) -> Option<Measurement> {
        let (round, part) = self.locate(position);
        if self.config.rounds.is_some_and(|rounds| round >= rounds) {
            return None;
        }
        let at_ms = self.config.start_ms.saturating_add(round.saturating_mul(self.config.every_ms));
        Some(self.measure(round, part, at_ms))
    }

    /// How many measurements the rounds before this one have: three each, four more in slow ones, one more with ECG.
    fn before(&self, round: u64) -> u64 {
        let times = |every: u64| if every == 0 { 0 } else { round.div_ceil(every) };
        3 * round + 4 * times(self.config.slow_every_rounds) + times(self.config.ecg_every_rounds)
    }

    /// The round and the number within it of a place.
    fn locate(&self, position: u64) -> (u64, u64) {
        let (mut low, mut high) = (0, position / 3 + 1);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.before(middle) <= position { low = middle } else { high = middle }
        }
        (low, position - self.before(low))
    }

    fn measure(&self, round: u64, part: u64, at_ms: u64) -> Measurement {
        let state = self.state(round, at_ms);
        let slow = due(round, self.config.slow_every_rounds);
        let quantity = |code, value: f64, digits: i32, unit| {
            let scale = 10_f64.powi(digits);
            Measurement::quantity(at_ms, code, (value * scale).round() / scale, unit)
        };
        match part {
            0 => quantity(LoincCode::HeartRate, state.heart_rate, 0, Unit::PerMinute),
            1 => quantity(LoincCode::RespiratoryRate, state.respiratory_rate, 0, Unit::PerMinute),
            2 => quantity(LoincCode::OxygenSaturation, state.saturation, 0, Unit::Percent),
            3 if slow => pressure(at_ms, &state),
            4 if slow => quantity(LoincCode::BodyTemperature, state.temperature, 1, Unit::Celsius),
            5 if slow => {
                let (code, value) = (LoincCode::Consciousness, Value::Coded(state.consciousness));
                Measurement { measured_at_ms: at_ms, code, value }
            }
            6 if slow => quantity(LoincCode::InhaledOxygenConcentration, state.inhaled_oxygen, 0, Unit::Percent),
            _ => self.ecg(round, at_ms, &state),
        }
    }

    /// How bad it is at a moment: 0 before the episode, 1 at its worst, smooth between.
    fn severity(&self, at_ms: u64) -> f64 {
        let Some(episode) = self.config.deterioration else { return 0.0 };
        let since_ms = at_ms.saturating_sub(self.config.start_ms.saturating_add(episode.after_ms));
        let share = (since_ms as f64 / episode.over_ms.max(1) as f64).min(1.0);
        share * share * (3.0 - 2.0 * share)
    }

    fn state(&self, round: u64, at_ms: u64) -> State {
        let mut person = self.random(b"person", 0);
        let mut noise = self.random(b"noise", round);
        let bad = self.severity(at_ms);
        // Lowest at four in the morning UTC, highest twelve hours later.
        let day = -(TAU * (at_ms as f64 / DAY_MS - 4.0 / 24.0)).cos();
        let mut wave = |period_ms: f64| (TAU * (at_ms as f64 / period_ms + person.r#gen::<f64>())).sin();
        let (slow, middle) = (wave(5_400_000.0), wave(1_260_000.0));
        let mut around = |value: f64, spread: f64| value + noise.gen_range(-spread..spread);
        let base_heart_rate = person.gen_range(60.0..74.0);
        let base_systolic = person.gen_range(114.0..130.0);
        let base_respiratory_rate = person.gen_range(13.0..16.0);
        let respiratory_rate = around(base_respiratory_rate + 0.8 * slow + 0.6 * day + 14.0 * bad, 0.8);
        // The heart follows the breath: what the breath has over its base, the heart shares.
        let breath = respiratory_rate - base_respiratory_rate;
        let heart_rate = around(base_heart_rate + 5.0 * day + 2.0 * middle + 0.5 * breath + 45.0 * bad, 2.0);
        let systolic = around(base_systolic + 5.0 * day + 3.0 * slow - 38.0 * bad, 3.0);
        State {
            heart_rate,
            respiratory_rate,
            saturation: around(97.6 + 0.4 * middle - 8.0 * bad, 0.6).min(100.0),
            systolic,
            diastolic: around(systolic * 0.64, 2.0),
            temperature: around(36.8 + 0.3 * day + 2.0 * bad, 0.08),
            inhaled_oxygen: if bad > 0.5 { 40.0 } else { 21.0 },
            consciousness: if bad > 0.85 { Acvpu::Voice } else { Acvpu::Alert },
        }
    }

    fn ecg(&self, round: u64, at_ms: u64, state: &State) -> Measurement {
        let model =
            EcgModel { heart_rate_per_minute: state.heart_rate, respiratory_rate_per_minute: state.respiratory_rate };
        let block = model.block((ECG_HZ * ECG_BLOCK_S) as usize, f64::from(ECG_HZ), &mut self.random(b"ecg", round));
        #[expect(clippy::cast_possible_truncation, reason = "clamped to the converter's 12 bits before")]
        let step =
            |mv: &f64| (mv / ECG_STEP_MV).round().clamp(-f64::from(ECG_STEPS_MAX), f64::from(ECG_STEPS_MAX)) as i32;
        let value = Value::Sampled(SampledData {
            origin: 0.0,
            factor: ECG_STEP_MV,
            period_ns: 1_000_000_000 / u64::from(ECG_HZ),
            lower: -ECG_STEPS_MAX,
            upper: ECG_STEPS_MAX,
            unit: Unit::Millivolt,
            samples: block.iter().map(step).collect(),
        });
        Measurement { measured_at_ms: at_ms, code: LoincCode::EcgLeadTwo, value }
    }

    /// Random numbers for one purpose and round.
    fn random(&self, purpose: &[u8], round: u64) -> StdRng {
        let digest = Sha256::new().chain_update(purpose).chain_update(self.config.seed.to_be_bytes());
        StdRng::from_seed(digest.chain_update(round.to_be_bytes()).finalize().into())
    }
}

const fn due(round: u64, every: u64) -> bool {
    every != 0 && round.is_multiple_of(every)
}

fn pressure(at_ms: u64, state: &State) -> Measurement {
    let mean = state.diastolic + (state.systolic - state.diastolic) / 3.0;
    let part = |code, value: f64| Component {
        code,
        quantity: Quantity { value: value.round(), unit: Unit::MillimetreOfMercury },
    };
    let value = Value::Components(vec![
        part(LoincCode::SystolicBloodPressure, state.systolic),
        part(LoincCode::DiastolicBloodPressure, state.diastolic),
        part(LoincCode::MeanBloodPressure, mean),
    ]);
    Measurement { measured_at_ms: at_ms, code: LoincCode::BloodPressure, value }
}

impl Source for Generator {
    fn id(&self) -> String {
        let GeneratorConfig { seed, start_ms, every_ms, slow_every_rounds, ecg_every_rounds, deterioration, .. } =
            self.config;
        let episode =
            deterioration.map_or_else(String::new, |episode| format!(":{}+{}", episode.after_ms, episode.over_ms));
        format!("generator:{seed}:{start_ms}:{every_ms}:{slow_every_rounds}:{ecg_every_rounds}{episode}")
    }

    fn seek(&mut self, position: u64) -> Result<(), SourceError> {
        self.position = position;
        Ok(())
    }

    fn read(&mut self, limit: usize) -> Result<Vec<Measurement>, SourceError> {
        let mut found = Vec::new();
        while found.len() < limit
            && let Some(measurement) = self.at(self.position)
        {
            self.position += 1;
            found.push(measurement);
        }
        Ok(found)
    }

    fn skipped(&self) -> &Skipped {
        &self.skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_as_the_rounds_have_them() {
        for (slow, ecg) in [(0, 0), (1, 1), (5, 0), (5, 3), (2, 7)] {
            let config =
                GeneratorConfig { slow_every_rounds: slow, ecg_every_rounds: ecg, ..GeneratorConfig::new(1, 0) };
            let generator = Generator::new(config);
            let mut position = 0;
            for round in 0..50 {
                for part in 0..generator.before(round + 1) - generator.before(round) {
                    assert_eq!(generator.locate(position), (round, part));
                    position += 1;
                }
            }
        }
    }
}
