//! A patient's hours so far as features: running statistics of what was measured and of what follows from it, and who the patient is.
//!
//! Derived quantities are the ones that clinicians use: pressures by whichever way they were measured (the arterial line first), shock index
//! (heart rate over systolic pressure; Allgöwer, Burri 1967), pulse pressure, saturation over inhaled oxygen (Rice et al. 2007).
//! Guarantees: a feature of hour n depends on hours 1 to n alone; no allocation; NaN is missing. Must not: forget the order of
//! [`feature_names`], which trained weights rely on.

use super::Demographics;
use super::hour::{Bin, Channel, Hour};
use super::statistics::{BRIEF, FURTHER, Running};

/// Quantities described in full, in order: six measured, six derived.
const FULL: [&str; 12] = [
    "heart_rate",
    "respiratory_rate",
    "saturation",
    "temperature",
    "coma",
    "inhaled_oxygen",
    "systolic",
    "diastolic",
    "mean_pressure",
    "shock_index",
    "pulse_pressure",
    "saturation_over_oxygen",
];
/// Quantities described in brief: pressures by how they were measured.
const LITTLE: [Channel; 6] = [
    Channel::ArterialSystolic,
    Channel::ArterialDiastolic,
    Channel::ArterialMean,
    Channel::CuffSystolic,
    Channel::CuffDiastolic,
    Channel::CuffMean,
];
/// Quantities in all.
pub(crate) const QUANTITIES: usize = FULL.len() + LITTLE.len();
const FULL_WIDTH: usize = BRIEF.len() + FURTHER.len();
/// Features about the ventilator and about the stay.
const STAY: [&str; 7] = [
    "ventilated_hours",
    "ventilated_since",
    "ventilated_first",
    "ventilated_now",
    "hour",
    "log_hour",
    "measured_share",
];
/// Features about the patient.
const PATIENT: [&str; 5] = ["age", "male", "height", "weight", "body_mass_index"];
/// Hours without a ventilator count up to this.
const VENTILATED_SINCE_HOURS_MAX: f32 = 24.0;

/// How many features there are.
pub const FEATURES: usize = FULL.len() * FULL_WIDTH + LITTLE.len() * BRIEF.len() + STAY.len() + PATIENT.len();
/// Where the features about the patient begin.
pub(crate) const PATIENT_FROM: usize = FEATURES - PATIENT.len();

/// Features, by place, whose being missing says that something was not measured or is not known: one per quantity, then the ventilator, then
/// age, sex, height and weight.
pub(crate) fn mask_places() -> [usize; QUANTITIES + 5] {
    const MEAN: usize = 2;
    let mut places = [0; QUANTITIES + 5];
    for (quantity, place) in places.iter_mut().take(QUANTITIES).enumerate() {
        let full = quantity.min(FULL.len());
        *place = full * FULL_WIDTH + (quantity - full) * BRIEF.len() + MEAN;
    }
    places[QUANTITIES] = FULL.len() * FULL_WIDTH + LITTLE.len() * BRIEF.len() + 1;
    for (number, place) in places.iter_mut().skip(QUANTITIES + 1).enumerate() {
        *place = PATIENT_FROM + number;
    }
    places
}

/// Names of the features, in order.
#[must_use]
pub fn feature_names() -> Vec<String> {
    let full = FULL.iter().flat_map(|name| BRIEF.iter().chain(&FURTHER).map(move |what| format!("{name}_{what}")));
    let brief = LITTLE.iter().flat_map(|channel| BRIEF.iter().map(move |what| format!("{}_{what}", channel.name())));
    let rest = STAY.iter().chain(&PATIENT).map(|name| (*name).to_owned());
    full.chain(brief).chain(rest).collect()
}

/// What is kept of a patient's hours so far.
#[derive(Clone, Copy, Debug)]
pub struct History {
    quantities: [Running; QUANTITIES],
    systolic_mean: f32,
    ventilated_hours: f32,
    ventilated_since: f32,
    ventilated_first: f32,
    ventilated_now: bool,
    hours: f32,
    hours_measured: f32,
}

impl Default for History {
    fn default() -> Self {
        Self {
            quantities: [Running::default(); QUANTITIES],
            systolic_mean: f32::NAN,
            ventilated_hours: 0.0,
            ventilated_since: f32::NAN,
            ventilated_first: f32::NAN,
            ventilated_now: false,
            hours: 0.0,
            hours_measured: 0.0,
        }
    }
}

impl History {
    /// One more hour is over.
    pub fn pass(&mut self, hour: &Hour) {
        let either = |line: Channel, cuff: Channel| {
            let line = hour.bin(line);
            if line.is_measured() { *line } else { *hour.bin(cuff) }
        };
        let systolic = either(Channel::ArterialSystolic, Channel::CuffSystolic);
        let diastolic = either(Channel::ArterialDiastolic, Channel::CuffDiastolic);
        let mean = either(Channel::ArterialMean, Channel::CuffMean);
        for (place, channel) in Channel::ALL.into_iter().take(6).enumerate() {
            self.quantities[place].pass(hour.bin(channel));
        }
        if systolic.is_measured() {
            self.systolic_mean = systolic.mean();
        }
        let shock_index = derived(hour.bin(Channel::HeartRate).mean() / self.systolic_mean);
        let pulse_pressure = derived(systolic.mean() - diastolic.mean());
        let oxygen = [Channel::Saturation, Channel::InhaledOxygen];
        let breathed = oxygen.iter().any(|channel| hour.bin(*channel).is_measured());
        let [saturation, inhaled] = oxygen.map(|channel| self.quantities[channel as usize].last());
        let over_oxygen = if breathed { derived(saturation / inhaled) } else { Bin::EMPTY };
        let made = [systolic, diastolic, mean, shock_index, pulse_pressure, over_oxygen];
        for (bin, running) in made.iter().zip(&mut self.quantities[6..]) {
            running.pass(bin);
        }
        for (channel, running) in LITTLE.into_iter().zip(&mut self.quantities[FULL.len()..]) {
            running.pass(hour.bin(channel));
        }
        self.pass_stay(hour);
    }

    fn pass_stay(&mut self, hour: &Hour) {
        self.ventilated_since += 1.0;
        self.ventilated_now = hour.ventilated;
        if hour.ventilated {
            self.ventilated_hours += 1.0;
            self.ventilated_since = 0.0;
            if self.ventilated_first.is_nan() {
                self.ventilated_first = self.hours;
            }
        }
        self.hours += 1.0;
        self.hours_measured += if hour.is_empty() { 0.0 } else { 1.0 };
    }

    /// Hours that are over.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count kept as a number")]
    pub const fn hours(&self) -> usize {
        self.hours as usize
    }

    /// Whether a channel was measured in any hour that is over.
    #[must_use]
    pub fn has_measured(&self, channel: Channel) -> bool {
        let place = if (channel as usize) < 6 { channel as usize } else { FULL.len() + channel as usize - 6 };
        !self.quantities[place].last().is_nan()
    }

    /// Writes the features, [`FEATURES`] numbers in the order of [`feature_names`]; NaN is missing.
    ///
    /// # Panics
    /// When `out` is shorter.
    pub fn write(&self, demographics: &Demographics, out: &mut [f32]) {
        let mut at = 0;
        for (place, running) in self.quantities.iter().enumerate() {
            at += running.write(place < FULL.len(), &mut out[at..]);
        }
        let stay = [
            self.ventilated_hours.ln_1p(),
            self.ventilated_since.min(VENTILATED_SINCE_HOURS_MAX) + 0.0 * self.ventilated_since,
            self.ventilated_first,
            if self.ventilated_now { 1.0 } else { 0.0 },
            self.hours,
            self.hours.ln(),
            self.hours_measured / self.hours,
        ];
        out[at..at + STAY.len()].copy_from_slice(&stay);
        let unknown = |value: Option<f32>| value.unwrap_or(f32::NAN);
        let (height, weight) = (unknown(demographics.height_cm), unknown(demographics.weight_kg));
        let male = unknown(demographics.male.map(|male| if male { 1.0 } else { 0.0 }));
        let metres = height / 100.0;
        let patient = [unknown(demographics.age_years), male, height, weight, weight / (metres * metres)];
        out[PATIENT_FROM..FEATURES].copy_from_slice(&patient);
    }
}

/// A quantity that follows from others; not measured when one of them was not.
fn derived(value: f32) -> Bin {
    if value.is_finite() { Bin::single(value) } else { Bin::EMPTY }
}

#[cfg(test)]
mod tests {
    use super::{FEATURES, History, feature_names, mask_places};
    use crate::vitals::{Channel, Demographics, Hour};

    #[test]
    fn every_feature_has_a_name_of_its_own() {
        let names = feature_names();
        assert_eq!(names.len(), FEATURES);
        assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), FEATURES);
        let masks: Vec<&str> = mask_places().into_iter().map(|place| names[place].as_str()).collect();
        assert_eq!((masks[0], masks[11]), ("heart_rate_mean", "saturation_over_oxygen_mean"));
        assert_eq!((masks[12], masks[17]), ("arterial_systolic_mean", "cuff_mean_mean"));
        assert_eq!(&masks[18..], &["ventilated_since", "age", "male", "height", "weight"]);
    }

    #[test]
    fn the_shock_index_uses_the_pressure_measured_last() {
        let mut history = History::default();
        let mut hour = Hour::default();
        hour.measure(Channel::CuffSystolic, 120.0);
        history.pass(&hour);
        let mut hour = Hour::default();
        hour.measure(Channel::HeartRate, 60.0);
        history.pass(&hour);
        let mut out = [0.0; FEATURES];
        history.write(&Demographics::default(), &mut out);
        let of = |name: &str| out[feature_names().iter().position(|known| known == name).expect("a feature")];
        assert!((of("shock_index_last") - 0.5).abs() < 1e-6);
        assert!(of("age").is_nan() && of("saturation_last").is_nan());
        assert_eq!((of("systolic_since"), of("hour"), of("measured_share")), (1.0, 2.0, 1.0));
        assert!(history.has_measured(Channel::CuffSystolic) && !history.has_measured(Channel::ArterialSystolic));
    }
}
