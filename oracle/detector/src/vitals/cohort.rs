//! A cohort as matrices: features of every stay and hour, and outcomes.
//!
//! Guarantees: computed by the same [`super::History`] that serves live. Must not: look at an outcome while making features.

use crate::data::physionet2012::{Cohort, Stay};

use super::HOURS;
use super::history::{FEATURES, History};

/// Features of every stay and hour.
pub(crate) struct Features {
    /// Stays × hours × features, in that order.
    values: Vec<f32>,
    /// Whether the patient died, per stay.
    pub(crate) died: Vec<bool>,
}

impl Features {
    pub(crate) fn of(cohort: &Cohort) -> Self {
        let mut values = vec![0.0; cohort.stays.len() * HOURS * FEATURES];
        for (stay, out) in cohort.stays.iter().zip(values.chunks_exact_mut(HOURS * FEATURES)) {
            write_stay(stay, out);
        }
        Self { values, died: cohort.stays.iter().map(|stay| stay.died).collect() }
    }

    /// How many stays there are.
    pub(crate) fn len(&self) -> usize {
        self.died.len()
    }

    /// Features of a stay after an hour, counted from 0.
    pub(crate) fn row(&self, stay: usize, hour: usize) -> &[f32] {
        let from = (stay * HOURS + hour) * FEATURES;
        &self.values[from..from + FEATURES]
    }
}

fn write_stay(stay: &Stay, out: &mut [f32]) {
    let mut history = History::default();
    for (hour, out) in stay.hours.iter().zip(out.chunks_exact_mut(FEATURES)) {
        history.pass(hour);
        history.write(&stay.demographics, out);
    }
}
