//! Finds heart beats in one ECG lead as it comes in, sample by sample.
//!
//! Method: band pass, energy over a tenth of a second, and candidates where it peaks (J. Pan, W. J. Tompkins, IEEE Trans. Biomed. Eng.
//! 32(3), 1985; two moving averages of energy: M. Elgendi, PLoS ONE 8(9), 2013). A candidate is a beat when it stands above a threshold
//! between the recent levels of beats and of noise, both taken as quantiles, so that one tall beat or artefact does not move them. Candidates
//! soon after a beat need more, those with a flat slope are T waves, and when a beat is overdue the best one left is taken at half the
//! threshold. The settings were chosen on the DS1 records of the MIT-BIH Arrhythmia Database alone.
//!
//! Guarantees: causal; beats come in time order, at most one per sample, usually 0.45 s after the R peak and after a search back at most
//! 3 s; no allocation after [`BeatFinder::new`]; the state does not grow ([`FINDER_STATE_BYTES`]). Must not: be fed a sample that is not finite.

use std::collections::VecDeque;

use super::filter::{Biquad, ECG_HZ};

/// Samples of the signal that are kept, a power of two: 5.7 s.
pub(crate) const KEPT_SAMPLES: usize = 2_048;
/// Size of a finder in memory, its buffers included, at most.
pub const FINDER_STATE_BYTES: usize = 16 * 1_024;

const HIGH_PASS_HZ: f64 = 6.33;
const LOW_PASS_HZ: f64 = 22.4;
/// Length of the energy window: 0.1 s.
const ENERGY_SAMPLES: u64 = 36;
/// Samples of the band-passed signal that are kept; more than a candidate looks back.
const BAND_SAMPLES: usize = 64;
/// A peak of the energy is over when it has fallen to this share, or after [`PEAK_SAMPLES`].
const PEAK_OVER: f64 = 0.6;
const PEAK_SAMPLES: u64 = 54;
/// Where the threshold lies between noise (0) and beats (1), of the amplitudes.
const THRESHOLD_SHARE: f64 = 0.332;
/// Lowest threshold, root mean square in the band, mV.
const THRESHOLD_MV_MIN: f64 = 0.0327;
/// Which quantile of the last beats' levels counts as their level.
const LEVEL_QUANTILE: f64 = 0.4;
/// Share of the threshold in a search back.
const SEARCH_BACK_SHARE: f64 = 0.5;
/// A beat is overdue after this many median intervals.
const OVERDUE_INTERVALS: f64 = 1.507;
/// No second beat within this time, s; the larger of the two stays.
const REFRACTORY_S: f64 = 0.248;
/// Until this time after a beat the threshold is raised, by up to [`RAISED_BY`] at its start, s.
const RAISED_S: f64 = 0.293;
const RAISED_BY: f64 = 1.04;
/// Until this time after a beat, a candidate whose slope is below [`T_WAVE_SLOPE`] of the beats' is a T wave, s.
const T_WAVE_S: f64 = 0.4;
const T_WAVE_SLOPE: f64 = 0.608;
/// The first levels are taken from this long a stretch, s.
const LEARNING_S: f64 = 2.5;
/// Longest interval that counts as one between neighbouring beats, s.
const INTERVAL_S_MAX: f64 = 3.0;
/// After this long without a beat the level falls by [`SILENCE_FALL`] every half second, s.
const SILENCE_S: f64 = 2.0;
const SILENCE_FALL: f64 = 0.096;
/// Most candidates that wait to be searched.
const CANDIDATES_MAX: usize = 64;
/// The R peak is looked for this far around the middle of the energy, samples.
const R_SEARCH_SAMPLES: u64 = 32;
/// The baseline is the median over this far around it, samples.
const BASELINE_SAMPLES: u64 = 50;
/// How far the band pass lags behind, samples.
const BAND_LAG_SAMPLES: u64 = 8;

/// The last values of something, at most `N`.
#[derive(Clone, Debug)]
struct Recent<const N: usize> {
    values: [f64; N],
    length: usize,
    next: usize,
}

/// A peak of energy.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    at: u64,
    level: f64,
    slope: f64,
}

/// The finder with its state.
#[derive(Clone, Debug)]
pub struct BeatFinder {
    high_pass: Biquad,
    low_pass: Biquad,
    origin: Option<f32>,
    now: u64,
    kept: Box<[f32; KEPT_SAMPLES]>,
    band: [f32; BAND_SAMPLES],
    energy: f64,
    peak: (f64, u64),
    learning: bool,
    waiting: VecDeque<Candidate>,
    levels: Recent<8>,
    slopes: Recent<8>,
    noise: Recent<16>,
    intervals: Recent<8>,
    last: Option<Candidate>,
    pending: bool,
    found: VecDeque<u64>,
    told: Option<u64>,
}

impl<const N: usize> Recent<N> {
    const fn new() -> Self {
        Self { values: [0.0; N], length: 0, next: 0 }
    }

    fn push(&mut self, value: f64) {
        self.values[self.next] = value;
        self.next = (self.next + 1) % N;
        self.length = (self.length + 1).min(N);
    }

    fn replace_last(&mut self, value: f64) {
        self.values[(self.next + N - 1) % N] = value;
    }

    /// The value at this share of the sorted ones; 0 when there is none.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index below N"
    )]
    fn quantile(&self, share: f64) -> f64 {
        if self.length == 0 {
            return 0.0;
        }
        let mut sorted = self.values;
        let sorted = &mut sorted[..self.length];
        sorted.sort_unstable_by(f64::total_cmp);
        sorted[((self.length - 1) as f64 * share).round() as usize]
    }
}

impl Default for BeatFinder {
    fn default() -> Self {
        Self::new()
    }
}

impl BeatFinder {
    /// A finder that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            high_pass: Biquad::high_pass(HIGH_PASS_HZ),
            low_pass: Biquad::low_pass(LOW_PASS_HZ),
            origin: None,
            now: 0,
            kept: Box::new([0.0; KEPT_SAMPLES]),
            band: [0.0; BAND_SAMPLES],
            energy: 0.0,
            peak: (0.0, 0),
            learning: true,
            waiting: VecDeque::with_capacity(CANDIDATES_MAX),
            levels: Recent::new(),
            slopes: Recent::new(),
            noise: Recent::new(),
            intervals: Recent::new(),
            last: None,
            pending: false,
            found: VecDeque::with_capacity(CANDIDATES_MAX),
            told: None,
        }
    }

    /// Takes the next sample, in mV at [`ECG_HZ`], and gives a beat that is certain by now: the place of its R peak, in samples since the start.
    pub fn push(&mut self, millivolts: f32) -> Option<u64> {
        let now = self.now;
        self.now += 1;
        let origin = *self.origin.get_or_insert(millivolts);
        let band = self.low_pass.step(self.high_pass.step(f64::from(millivolts - origin)));
        let leaving = if now >= ENERGY_SAMPLES { f64::from(self.band_at(now - ENERGY_SAMPLES)) } else { 0.0 };
        #[expect(clippy::cast_possible_truncation, reason = "millivolts")]
        let band = band as f32;
        self.kept[slot(now, KEPT_SAMPLES)] = millivolts;
        self.band[slot(now, BAND_SAMPLES)] = band;
        self.energy = (self.energy + f64::from(band) * f64::from(band) - leaving * leaving).max(0.0);
        let level = (self.energy / ENERGY_SAMPLES as f64).sqrt();
        if level > self.peak.0 {
            self.peak = (level, now);
        } else if level < PEAK_OVER * self.peak.0 || now - self.peak.1 > PEAK_SAMPLES {
            let candidate = self.candidate();
            self.peak = (level, now);
            if self.learning { self.keep(candidate) } else { self.judge(candidate) }
        }
        if self.learning {
            if seconds(now) > LEARNING_S {
                self.learn();
            }
        } else {
            self.wait();
        }
        self.found.pop_front()
    }

    /// Ends the signal and gives the beats that are still held back, one per call.
    pub fn finish(&mut self) -> Option<u64> {
        if self.learning && self.now > 0 {
            self.learn();
        }
        if self.pending {
            self.tell();
        }
        self.found.pop_front()
    }

    /// How many samples there were.
    #[must_use]
    pub const fn samples(&self) -> u64 {
        self.now
    }

    /// Size in memory, buffers included, bytes.
    #[must_use]
    pub fn state_bytes(&self) -> usize {
        let waiting = self.waiting.capacity() * size_of::<Candidate>() + self.found.capacity() * size_of::<u64>();
        size_of::<Self>() + size_of_val(&*self.kept) + waiting
    }

    /// A sample that is still kept, in mV.
    pub(crate) fn sample(&self, at: u64) -> Option<f32> {
        (at < self.now && at + KEPT_SAMPLES as u64 >= self.now).then(|| self.kept[slot(at, KEPT_SAMPLES)])
    }

    fn band_at(&self, at: u64) -> f32 {
        self.band[slot(at, BAND_SAMPLES)]
    }

    /// The peak of energy that has just ended, with the middle of its energy and its steepest slope.
    fn candidate(&self) -> Candidate {
        let (level, top) = self.peak;
        let from = top.saturating_sub(ENERGY_SAMPLES + 4).max(self.now.saturating_sub(BAND_SAMPLES as u64));
        let to = (top + 2).min(self.now - 1).max(from);
        let (mut weighted, mut weight, mut slope) = (0.0, 1e-12, 0.0_f32);
        for at in from..=to {
            let energy = f64::from(self.band_at(at)).powi(2);
            weighted += energy * (at - from) as f64;
            weight += energy;
            if at >= 4 {
                slope = slope.max((self.kept[slot(at, KEPT_SAMPLES)] - self.kept[slot(at - 4, KEPT_SAMPLES)]).abs());
            }
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a mean place within the window")]
        let middle = (weighted / weight).round() as u64;
        Candidate { at: from + middle, level, slope: f64::from(slope) }
    }

    fn keep(&mut self, candidate: Candidate) {
        if self.waiting.len() == CANDIDATES_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(candidate);
    }

    /// Takes the first levels from the start of the signal, then judges what was found there.
    fn learn(&mut self) {
        self.learning = false;
        let highest = self.waiting.iter().map(|candidate| candidate.level).fold(0.0, f64::max);
        let mut tall = Recent::<CANDIDATES_MAX>::new();
        let of_beats = self.waiting.iter().map(|candidate| candidate.level).filter(|level| *level > 0.4 * highest);
        of_beats.for_each(|level| tall.push(level));
        let level = if tall.length == 0 { 0.1 } else { tall.quantile(0.5) };
        (0..4).for_each(|_| self.levels.push(level));
        self.noise.push(0.1 * level);
        for _ in 0..self.waiting.len() {
            let candidate = self.waiting.pop_front().expect("the loop counts what is there");
            self.judge(candidate);
        }
    }

    fn threshold(&self) -> f64 {
        let level = self.levels.quantile(LEVEL_QUANTILE);
        let noise = self.noise.quantile(0.5).min(0.5 * level);
        (noise + THRESHOLD_SHARE * (level - noise)).max(THRESHOLD_MV_MIN)
    }

    /// Decides on a candidate: a beat, a better place of the last one, a T wave, or noise that waits for a search back.
    fn judge(&mut self, candidate: Candidate) {
        let since_s = self.last.map_or(f64::INFINITY, |last| seconds(candidate.at.saturating_sub(last.at)));
        if since_s < REFRACTORY_S {
            if self.pending && self.last.is_some_and(|last| candidate.level > last.level) {
                self.last = Some(candidate);
                self.levels.replace_last(candidate.level);
                self.slopes.replace_last(candidate.slope);
            }
            return;
        }
        let early = ((RAISED_S - since_s) / (RAISED_S - REFRACTORY_S)).max(0.0);
        let threshold = self.threshold() * (1.0 + RAISED_BY * early);
        let usual_slope = self.last.map_or(0.0, |last| last.slope.min(self.slopes.quantile(0.5)));
        if since_s < T_WAVE_S && candidate.slope < T_WAVE_SLOPE * usual_slope {
            return;
        }
        if candidate.level > threshold {
            self.accept(candidate);
        } else {
            self.noise.push(candidate.level);
            self.keep(candidate);
        }
    }

    fn accept(&mut self, candidate: Candidate) {
        if self.pending {
            self.tell();
        }
        if let Some(last) = self.last {
            let interval = candidate.at.saturating_sub(last.at);
            if seconds(interval) < INTERVAL_S_MAX {
                self.intervals.push(interval as f64);
            }
        }
        self.levels.push(candidate.level);
        self.slopes.push(candidate.slope);
        self.last = Some(candidate);
        self.pending = true;
        while self.waiting.front().is_some_and(|waiting| waiting.at <= candidate.at) {
            self.waiting.pop_front();
        }
    }

    /// What time alone brings: a beat that no other can replace any more, a search back, a lower level in silence.
    fn wait(&mut self) {
        let last_at = self.last.map_or(0, |last| last.at);
        let since_s = seconds(self.now.saturating_sub(last_at));
        if self.pending && since_s > REFRACTORY_S + 0.2 {
            self.tell();
        }
        let usual = if self.intervals.length == 0 { ECG_HZ } else { self.intervals.quantile(0.5) };
        let overdue_s = OVERDUE_INTERVALS * (usual / ECG_HZ).min(1.5);
        if since_s - 0.25 <= overdue_s {
            return;
        }
        if let Some(best) = self.search_back(last_at) {
            self.accept(best);
        } else if since_s > SILENCE_S && self.now.is_multiple_of(180) {
            self.levels.values.iter_mut().for_each(|level| *level *= 1.0 - SILENCE_FALL);
        }
    }

    fn search_back(&self, last_at: u64) -> Option<Candidate> {
        if self.waiting.is_empty() {
            return None;
        }
        let threshold = self.threshold() * SEARCH_BACK_SHARE;
        let slope = self.last.map_or(0.0, |last| last.slope);
        let fits = |candidate: &&Candidate| {
            let since_s = seconds(candidate.at.saturating_sub(last_at));
            let t_wave = since_s < T_WAVE_S && candidate.slope < T_WAVE_SLOPE * slope;
            since_s > 0.3 && candidate.level > threshold && !t_wave
        };
        self.waiting.iter().filter(fits).max_by(|a, b| a.level.total_cmp(&b.level)).copied()
    }

    /// Hands out the pending beat, at its R peak.
    fn tell(&mut self) {
        self.pending = false;
        let Some(place) = self.last.map(|last| self.r_peak(last)) else { return };
        if self.told.is_none_or(|told| place > told) && self.found.len() < CANDIDATES_MAX {
            self.told = Some(place);
            self.found.push_back(place);
        }
    }

    /// The tallest deflection from the local baseline near the middle of the energy; an upward one is preferred, as annotators do.
    #[expect(clippy::cast_precision_loss, reason = "distances of a few samples")]
    fn r_peak(&self, candidate: Candidate) -> u64 {
        let middle = candidate.at.saturating_sub(BAND_LAG_SAMPLES);
        let oldest = self.now.saturating_sub(KEPT_SAMPLES as u64);
        let newest = self.now.saturating_sub(1);
        let within = |reach: u64| middle.saturating_sub(reach).max(oldest)..=(middle + reach).min(newest);
        let mut around = [0.0_f32; 2 * BASELINE_SAMPLES as usize + 1];
        let mut length = 0;
        for (kept, at) in around.iter_mut().zip(within(BASELINE_SAMPLES)) {
            *kept = self.kept[slot(at, KEPT_SAMPLES)];
            length += 1;
        }
        around[..length].sort_unstable_by(f32::total_cmp);
        let baseline = if length == 0 { 0.0 } else { around[length / 2] };
        let (mut up, mut down) = ((0.0_f32, middle), (0.0_f32, middle));
        for at in within(R_SEARCH_SAMPLES) {
            let closeness = 1.0 - 0.3 * at.abs_diff(middle) as f32 / R_SEARCH_SAMPLES as f32;
            let height = (self.kept[slot(at, KEPT_SAMPLES)] - baseline) * closeness;
            if height > up.0 {
                up = (height, at);
            }
            if -height > down.0 {
                down = (-height, at);
            }
        }
        if up.0 >= 0.7 * down.0 { up.1 } else { down.1 }
    }
}

/// The place of a sample in a ring.
#[expect(clippy::cast_possible_truncation, reason = "less than the length of the ring")]
const fn slot(at: u64, length: usize) -> usize {
    (at % length as u64) as usize
}

#[expect(clippy::cast_precision_loss, reason = "sample counts are far below 2^53")]
fn seconds(samples: u64) -> f64 {
    samples as f64 / ECG_HZ
}
