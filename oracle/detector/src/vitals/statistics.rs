//! Running statistics of one quantity over the hours so far: bounded, causal, with missing as missing.
//!
//! Guarantees: 17 numbers of state whatever the length of the stay; an hour without a measurement changes only what passes with time (the
//! time since, fading counts and extremes). Must not: fill in a value that was not measured.

use super::hour::Bin;

/// After this many hours the fast mean has forgotten half.
const FAST_HALF_LIFE_HOURS: f32 = 4.0;
/// After this many hours fading counts and extremes have forgotten half.
const FADING_HALF_LIFE_HOURS: f32 = 8.0;
/// After this many hours the slow mean has forgotten half.
const SLOW_HALF_LIFE_HOURS: f32 = 12.0;
/// The first measured hours, whose mean is where the patient began.
const FIRST_HOURS: f32 = 6.0;
/// Longer than this is long ago, hours.
const SINCE_HOURS_MAX: f32 = 24.0;
/// A faded mean that rests on less weight than this says nothing.
const WEIGHT_MIN: f32 = 1e-3;

/// What is kept of one quantity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Running {
    last: f32,
    low: f32,
    high: f32,
    /// First hourly mean; sums are taken of differences from it, which keeps them small and exact.
    origin: f32,
    sum: f32,
    squares: f32,
    hours: f32,
    count: f32,
    fading_count: f32,
    fast: [f32; 2],
    slow: [f32; 2],
    fading_low: f32,
    fading_high: f32,
    first_sum: f32,
    since: f32,
}

impl Default for Running {
    fn default() -> Self {
        let missing = f32::NAN;
        Self {
            last: missing,
            low: missing,
            high: missing,
            origin: 0.0,
            sum: 0.0,
            squares: 0.0,
            hours: 0.0,
            count: 0.0,
            fading_count: 0.0,
            fast: [0.0; 2],
            slow: [0.0; 2],
            fading_low: missing,
            fading_high: missing,
            first_sum: 0.0,
            since: missing,
        }
    }
}

/// Statistics of a quantity that is described in few numbers.
pub(crate) const BRIEF: [&str; 7] = ["low", "high", "mean", "slow_mean", "first", "count", "since"];
/// Statistics of a quantity that is described in full: the brief ones and these.
pub(crate) const FURTHER: [&str; 8] =
    ["last", "fast_mean", "fading_low", "fading_high", "deviation", "fading_count", "trend", "now"];

impl Running {
    /// The quantity was last this, if it ever was measured; NaN otherwise.
    #[must_use]
    pub const fn last(&self) -> f32 {
        self.last
    }

    fn mean(&self) -> f32 {
        if self.hours > 0.0 { self.origin + self.sum / self.hours } else { f32::NAN }
    }

    /// One hour passes, with or without a measurement.
    pub(crate) fn pass(&mut self, bin: &Bin) {
        let fade = fade_of(FADING_HALF_LIFE_HOURS);
        let (fast, slow) = (fade_of(FAST_HALF_LIFE_HOURS), fade_of(SLOW_HALF_LIFE_HOURS));
        self.fading_count = self.fading_count * fade + bin.count;
        self.fast = self.fast.map(|value| value * fast);
        self.slow = self.slow.map(|value| value * slow);
        if bin.is_measured() {
            self.measured(bin);
        } else {
            self.since += 1.0;
        }
        let mean = self.mean();
        self.fading_low = (mean + (self.fading_low - mean) * fade).min(bin.low);
        self.fading_high = (mean + (self.fading_high - mean) * fade).max(bin.high);
    }

    fn measured(&mut self, bin: &Bin) {
        let value = bin.mean();
        if self.hours == 0.0 {
            self.origin = value;
        }
        let difference = value - self.origin;
        if self.hours < FIRST_HOURS {
            self.first_sum += difference;
        }
        self.last = bin.last;
        self.low = self.low.min(bin.low);
        self.high = self.high.max(bin.high);
        self.sum += difference;
        self.squares += difference * difference;
        self.hours += 1.0;
        self.count += bin.count;
        for faded in [&mut self.fast, &mut self.slow] {
            faded[0] += difference;
            faded[1] += 1.0;
        }
        self.since = 0.0;
    }

    /// Writes the statistics of [`BRIEF`] and, when `full`, of [`FURTHER`]; returns how many. NaN is missing; counts are 0 then.
    pub(crate) fn write(&self, full: bool, out: &mut [f32]) -> usize {
        let missing = self.hours == 0.0;
        let faded = |[sum, weight]: [f32; 2]| if weight > WEIGHT_MIN { self.origin + sum / weight } else { f32::NAN };
        let first = if missing { f32::NAN } else { self.origin + self.first_sum / self.hours.min(FIRST_HOURS) };
        let mean = self.mean();
        let since = if missing { f32::NAN } else { self.since.min(SINCE_HOURS_MAX) };
        let brief = [self.low, self.high, mean, faded(self.slow), first, self.count.ln_1p(), since];
        out[..BRIEF.len()].copy_from_slice(&brief);
        if !full {
            return BRIEF.len();
        }
        let spread = self.sum / self.hours;
        let deviation =
            if self.hours > 1.0 { (self.squares / self.hours - spread * spread).max(0.0).sqrt() } else { f32::NAN };
        let fast = faded(self.fast);
        let now = if self.since == 0.0 { 1.0 } else { 0.0 };
        let extremes = (self.fading_low, self.fading_high);
        let further =
            [self.last, fast, extremes.0, extremes.1, deviation, self.fading_count.ln_1p(), fast - first, now];
        out[BRIEF.len()..BRIEF.len() + FURTHER.len()].copy_from_slice(&further);
        BRIEF.len() + FURTHER.len()
    }
}

/// What is left of a weight after an hour.
fn fade_of(half_life_hours: f32) -> f32 {
    (-1.0 / half_life_hours).exp2()
}

#[cfg(test)]
mod tests {
    use super::{BRIEF, FURTHER, Running};
    use crate::vitals::hour::Bin;

    fn features(running: &Running) -> Vec<f32> {
        let mut out = vec![0.0; BRIEF.len() + FURTHER.len()];
        assert_eq!(running.write(true, &mut out), out.len());
        out
    }

    #[test]
    fn what_was_never_measured_stays_missing() {
        let mut running = Running::default();
        for _ in 0..48 {
            running.pass(&Bin::EMPTY);
        }
        let out = features(&running);
        let counted = |name: &str| matches!(name, "count" | "fading_count" | "now");
        for (name, value) in BRIEF.iter().chain(&FURTHER).zip(out) {
            assert!(if counted(name) { value == 0.0 } else { value.is_nan() }, "{name} is {value}");
        }
    }

    #[test]
    fn statistics_are_those_of_the_hours_measured() {
        let mut running = Running::default();
        for value in [100.0, 110.0, 90.0] {
            running.pass(&Bin::single(value));
        }
        running.pass(&Bin::EMPTY);
        let out = features(&running);
        assert_eq!(&out[..3], &[90.0, 110.0, 100.0], "lowest, highest, mean");
        assert!((out[11] - (200.0_f32 / 3.0).sqrt()).abs() < 1e-3, "deviation {}", out[11]);
        assert_eq!((out[6], running.last(), out[14]), (1.0, 90.0, 0.0), "an hour ago");
    }
}
