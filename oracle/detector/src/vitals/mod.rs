//! Vital signs: at every hour of the first 48, the risk of death in hospital from what has been measured so far.
//!
//! [`Hour`] collects what is measured within an hour, [`History`] the running statistics of all hours so far, a recurrent network
//! ([`network`], served by [`Ensemble`]) turns them into a risk, calibrated by hour. Trained on `physionet2012` (the PhysioNet/CinC
//! Challenge 2012, intensive-care patients); NEWS2 is scored on the same rows as the clinical baseline. Guarantees: what was not measured is
//! missing, by masks and by the time since it was last measured, and never filled in; nothing that happens after an hour changes the risk
//! of that hour; a live stream gives what the table gives. Must not: read a severity score, the length of stay or the survival time, which
//! the data set holds and which tell the outcome.

mod calibration;
mod cohort;
mod detector;
mod encoding;
mod ensemble;
mod history;
mod hour;
mod model;
pub mod network;
mod news2_hourly;
mod report;
mod statistics;

pub use calibration::Calibration;
pub use detector::{NAME, PATIENT_STATE_BYTES, Setting, VITAL_PATIENTS_MAX, VitalSigns, VitalSignsError};
pub use encoding::{Encoding, INPUTS};
pub use ensemble::{Ensemble, MEMBERS_MAX, Scratch, Settings, State};
pub use history::{FEATURES, History, feature_names};
pub use hour::{Channel, Hour, SERIES_MEASURED};
pub use model::VitalSignsModel;
pub use statistics::Running;

/// Hours of a stay in which the model judges: what the challenge gave.
pub const HOURS: usize = 48;

/// What is known of a patient besides measurements; unknown stays unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Demographics {
    /// Age, years; [`AGE_YEARS_MAX`] stands for that age and above.
    pub age_years: Option<f32>,
    /// Sex: true for male.
    pub male: Option<bool>,
    /// Height, centimetres, [`HEIGHT_CM`].
    pub height_cm: Option<f32>,
    /// Weight, kilograms, [`WEIGHT_KG`].
    pub weight_kg: Option<f32>,
}

/// Ages from here on are one: the source writes 200 (in other copies 90) for everybody above 89, so that nobody is recognised by age.
pub const AGE_YEARS_MAX: f32 = 90.0;
/// Youngest age that is taken; NEWS2 and the data are of adults.
pub const AGE_YEARS_MIN: f32 = 15.0;
/// Heights that are taken, centimetres; others are charted wrongly (1.8, 431) and count as unknown.
pub const HEIGHT_CM: std::ops::RangeInclusive<f32> = 100.0..=230.0;
/// Weights that are taken, kilograms; others count as unknown.
pub const WEIGHT_KG: std::ops::RangeInclusive<f32> = 25.0..=300.0;

impl Demographics {
    /// The same with what cannot be true made unknown and the age capped at [`AGE_YEARS_MAX`].
    #[must_use]
    pub fn plausible(self) -> Self {
        Self {
            age_years: self.age_years.filter(|age| *age >= AGE_YEARS_MIN).map(|age| age.min(AGE_YEARS_MAX)),
            male: self.male,
            height_cm: self.height_cm.filter(|height| HEIGHT_CM.contains(height)),
            weight_kg: self.weight_kg.filter(|weight| WEIGHT_KG.contains(weight)),
        }
    }
}
