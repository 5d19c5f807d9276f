//! What was measured within one hour, by channel: last, lowest, highest, mean and how often.
//!
//! Guarantees: a value outside the plausible range of its channel is not taken and says so; fixed size, no allocation. Must not: combine
//! hours, which is the part of [`super::History`].

/// A measured quantity. Invasive and cuff pressures are kept apart, as they differ in the same patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// Heart rate, per minute.
    HeartRate,
    /// Respiratory rate, per minute.
    RespiratoryRate,
    /// Oxygen saturation, per cent.
    Saturation,
    /// Temperature, °C.
    Temperature,
    /// Glasgow coma score, 3 to 15.
    Coma,
    /// Share of oxygen in what is inhaled, 0.2 to 1.
    InhaledOxygen,
    /// Systolic pressure by an arterial line, mmHg.
    ArterialSystolic,
    /// Diastolic pressure by an arterial line, mmHg.
    ArterialDiastolic,
    /// Mean pressure by an arterial line, mmHg.
    ArterialMean,
    /// Systolic pressure by a cuff, mmHg.
    CuffSystolic,
    /// Diastolic pressure by a cuff, mmHg.
    CuffDiastolic,
    /// Mean pressure by a cuff, mmHg.
    CuffMean,
}

/// How many channels there are.
pub const SERIES_MEASURED: usize = 12;

impl Channel {
    /// All channels, in order.
    pub const ALL: [Self; SERIES_MEASURED] = [
        Self::HeartRate,
        Self::RespiratoryRate,
        Self::Saturation,
        Self::Temperature,
        Self::Coma,
        Self::InhaledOxygen,
        Self::ArterialSystolic,
        Self::ArterialDiastolic,
        Self::ArterialMean,
        Self::CuffSystolic,
        Self::CuffDiastolic,
        Self::CuffMean,
    ];

    /// What a living body and its sensor can show, both ends included, as in `pulsegate_reading::LoincCode`: it stops charting and sensor
    /// faults (heart rate 0 or 300, −17.8 °C, pressure 0), never illness. Temperatures below 25 °C are Fahrenheit faults or a probe that
    /// fell out.
    #[must_use]
    pub const fn plausible(self) -> (f32, f32) {
        match self {
            Self::HeartRate => (10.0, 290.0),
            Self::RespiratoryRate => (1.0, 120.0),
            Self::Saturation => (20.0, 100.0),
            Self::Temperature => (25.0, 45.0),
            Self::Coma => (3.0, 15.0),
            Self::InhaledOxygen => (0.2, 1.0),
            Self::ArterialSystolic | Self::CuffSystolic => (20.0, 320.0),
            Self::ArterialDiastolic | Self::CuffDiastolic => (5.0, 220.0),
            Self::ArterialMean | Self::CuffMean => (10.0, 260.0),
        }
    }

    /// Name of the channel in features and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HeartRate => "heart_rate",
            Self::RespiratoryRate => "respiratory_rate",
            Self::Saturation => "saturation",
            Self::Temperature => "temperature",
            Self::Coma => "coma",
            Self::InhaledOxygen => "inhaled_oxygen",
            Self::ArterialSystolic => "arterial_systolic",
            Self::ArterialDiastolic => "arterial_diastolic",
            Self::ArterialMean => "arterial_mean",
            Self::CuffSystolic => "cuff_systolic",
            Self::CuffDiastolic => "cuff_diastolic",
            Self::CuffMean => "cuff_mean",
        }
    }
}

/// One quantity within one hour; every number is NaN and the count 0 when it was not measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bin {
    pub(crate) last: f32,
    pub(crate) low: f32,
    pub(crate) high: f32,
    pub(crate) sum: f32,
    pub(crate) count: f32,
}

impl Bin {
    pub(crate) const EMPTY: Self = Self { last: f32::NAN, low: f32::NAN, high: f32::NAN, sum: 0.0, count: 0.0 };

    /// A quantity that was derived once in the hour.
    pub(crate) const fn single(value: f32) -> Self {
        Self { last: value, low: value, high: value, sum: value, count: 1.0 }
    }

    pub(crate) fn is_measured(&self) -> bool {
        self.count > 0.0
    }

    /// NaN when not measured.
    pub(crate) fn mean(&self) -> f32 {
        if self.is_measured() { self.sum / self.count } else { f32::NAN }
    }

    fn add(&mut self, value: f32) {
        self.last = value;
        self.low = self.low.min(value);
        self.high = self.high.max(value);
        self.sum += value;
        self.count += 1.0;
    }
}

/// Everything measured within one hour, in the order in which it was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hour {
    pub(crate) bins: [Bin; SERIES_MEASURED],
    pub(crate) ventilated: bool,
}

impl Default for Hour {
    fn default() -> Self {
        Self { bins: [Bin::EMPTY; SERIES_MEASURED], ventilated: false }
    }
}

impl Hour {
    /// Takes a value measured after those before. False, and nothing changes, when it is not plausible for the channel.
    pub fn measure(&mut self, channel: Channel, value: f32) -> bool {
        let (low, high) = channel.plausible();
        let plausible = value >= low && value <= high;
        if plausible {
            self.bins[channel as usize].add(value);
        }
        plausible
    }

    /// A ventilator breathed for the patient in this hour. Without a word of it, none is assumed to have been charted.
    pub fn ventilate(&mut self) {
        self.ventilated = true;
    }

    /// Whether nothing was measured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.ventilated && self.bins.iter().all(|bin| !bin.is_measured())
    }

    pub(crate) fn bin(&self, channel: Channel) -> &Bin {
        &self.bins[channel as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::{Channel, Hour};

    #[test]
    fn faults_of_charting_are_not_taken() {
        let mut hour = Hour::default();
        for (channel, value) in [
            (Channel::HeartRate, 0.0),
            (Channel::HeartRate, 300.0),
            (Channel::Temperature, -17.8),
            (Channel::CuffSystolic, 0.0),
            (Channel::Saturation, f32::NAN),
            (Channel::Coma, f32::INFINITY),
        ] {
            assert!(!hour.measure(channel, value), "{channel:?} {value}");
        }
        assert!(hour.is_empty());
        assert!(hour.measure(Channel::HeartRate, 80.0) && hour.measure(Channel::HeartRate, 60.0));
        let bin = hour.bin(Channel::HeartRate);
        assert_eq!((bin.last, bin.low, bin.high, bin.mean(), bin.count), (60.0, 60.0, 80.0, 70.0, 2.0));
    }
}
