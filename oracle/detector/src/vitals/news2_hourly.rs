//! NEWS2 hour by hour for the stays of a cohort: the clinical baseline on the rows that the network is judged on.
//!
//! Scored by the crate's own chart from values not older than four hours, as live. What the data lack: no inspired-oxygen entry means
//! neither air nor oxygen, so air or oxygen is missing until an inhaled share or a ventilator is charted; level of consciousness is the
//! Glasgow coma score (15 is alert, less is not); saturation is charted in one hour of twenty-two, by blood gas rather than pulse oximetry;
//! scale 1 for everybody, as no order for scale 2 is recorded. Guarantees: missing parameters score nothing and are counted. Must not: be
//! read as what NEWS2 does on a ward, where it is complete.

use super::{Channel, HOURS, Hour};
use crate::data::physionet2012::Stay;
use crate::news2::{News2Score, Parameter, SpO2Scale};

/// A value counts in the hour in which it was measured and in the next three.
const FRESH_HOURS: usize = 4;
/// Air.
const ROOM_AIR: f32 = 0.21;
/// The coma score of somebody alert.
const ALERT: f32 = 15.0;

/// The score after every hour, [`HOURS`] of them.
pub(crate) fn scores(stay: &Stay) -> Vec<News2Score> {
    (0..HOURS)
        .map(|hour| {
            let fresh = &stay.hours[(hour + 1).saturating_sub(FRESH_HOURS)..=hour];
            News2Score::of(SpO2Scale::One, |parameter| latest(fresh, parameter))
        })
        .collect()
}

fn latest(hours: &[Hour], parameter: Parameter) -> Option<f64> {
    let last = |channel: Channel| hours.iter().rev().map(|hour| hour.bin(channel)).find(|bin| bin.is_measured());
    let value = |channel: Channel| last(channel).map(|bin| f64::from(bin.last));
    match parameter {
        Parameter::RespirationRate => value(Channel::RespiratoryRate),
        Parameter::OxygenSaturation => value(Channel::Saturation),
        Parameter::Pulse => value(Channel::HeartRate),
        Parameter::Temperature => value(Channel::Temperature),
        Parameter::Consciousness => last(Channel::Coma).map(|bin| if bin.last < ALERT { 1.0 } else { 0.0 }),
        Parameter::SystolicBloodPressure => hours.iter().rev().find_map(|hour| {
            let ways = [Channel::ArterialSystolic, Channel::CuffSystolic].map(|channel| hour.bin(channel));
            ways.into_iter().find(|bin| bin.is_measured()).map(|bin| f64::from(bin.last))
        }),
        Parameter::AirOrOxygen => {
            let ventilated = hours.iter().any(|hour| hour.ventilated);
            let inhaled = last(Channel::InhaledOxygen).map(|bin| bin.last > ROOM_AIR);
            if ventilated { Some(1.0) } else { inhaled.map(|oxygen| if oxygen { 1.0 } else { 0.0 }) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::scores;
    use crate::data::physionet2012::Stay;
    use crate::news2::Parameter;
    use crate::vitals::{Channel, Demographics, HOURS, Hour};

    #[test]
    fn values_count_for_four_hours_and_a_ventilator_is_oxygen() {
        let mut hours = vec![Hour::default(); HOURS];
        hours[0].measure(Channel::CuffSystolic, 85.0);
        hours[1].ventilate();
        let stay = Stay { record: 1, demographics: Demographics::default(), unit: None, died: false, hours };
        let scores = scores(&stay);
        let aggregates: Vec<u8> = scores.iter().take(6).map(|score| score.aggregate).collect();
        assert_eq!(aggregates, [3, 5, 5, 5, 2, 0]);
        assert!(
            scores[0].missing.contains(&Parameter::AirOrOxygen) && !scores[1].missing.contains(&Parameter::AirOrOxygen)
        );
    }
}
