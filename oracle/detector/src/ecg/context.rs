//! What a beat looks like beside the patient's own earlier beats: the input of the beat model.
//!
//! A beat's window is compared with the patient's own running templates (clusters of beats of like shape, found without labels), and its RR
//! intervals with the patient's own recent ones, so that the model learns what is early or misshapen for this patient and not for another
//! (RR ratios and own-template morphology: P. de Chazal et al., IEEE Trans. Biomed. Eng. 51(7), 2004; M. Llamedo, J. P. Martínez, IEEE Trans.
//! Biomed. Eng. 58(3), 2011). Guarantees: causal but for the interval to the next beat, which [`BeatInput::complete`] adds one beat later; no
//! label is ever seen; no allocation after [`BeatContext::new`]; every number is finite and clipped. Must not: mix patients.

/// Samples of a beat's window, at 180 Hz; the R peak is at [`WINDOW_R`].
pub const WINDOW: usize = 128;
/// Where the R peak is in the window.
pub const WINDOW_R: usize = 48;
/// Channels of the signal input: the window, and its difference from the patient's dominant template.
pub const CHANNELS: usize = 2;
/// How many numbers describe the beat beside its signal.
pub const CONTEXT: usize = CONTEXT_NAMES.len();
/// Their names, for baselines and reports.
pub const CONTEXT_NAMES: [&str; 49] = [
    "rr_prev/mean300",
    "rr_next/mean300",
    "rr_before_prev/mean300",
    "rr_prev/median8",
    "rr_prev/rr_next",
    "rr_prev/rr_before_prev",
    "rr_deviation8",
    "rr_change_median32",
    "rr_change_median96",
    "rr_prev/mean2000",
    "rr_prev/decile32",
    "rr_prev/decile96",
    "rr_prev/upper_quartile96",
    "rr_spread96",
    "likeness_dominant",
    "likeness_dominant_recent",
    "likeness_own_cluster",
    "share_own_cluster",
    "qrs_height",
    "height",
    "r_value",
    "highest",
    "lowest",
    "qrs_width_excess",
    "p_likeness",
    "t_likeness",
    "difference_0",
    "difference_1",
    "difference_2",
    "difference_3",
    "difference_4",
    "difference_5",
    "difference_6",
    "difference_7",
    "difference_8",
    "roughness",
    "likeness_dominant_previous",
    "qrs_mean",
    "p_likeness_recent",
    "p_height_dominant",
    "p_difference_excess",
    "early_share32",
    "rr_turns32",
    "rr_rank32",
    "rr_prev/mean300_by_change96",
    "rr_prev/median8_by_deviation8",
    "rr_prev/mean300_by_spread96",
    "rr_prev/median8_by_change32",
    "rr_next/mean300_by_change96",
];

const RR_NEXT: usize = 1;
const RR_PREV_TO_NEXT: usize = 4;
/// Measures of earliness, and of the variability of this patient's intervals that each is divided by: place of the quotient, of both numbers,
/// and what is added to the divisor, about what the intervals of a calm heart vary. How early a beat is says little in a heart that is never
/// regular, and much in one that is.
const BY_VARIABILITY: [(usize, usize, usize, f32); 5] =
    [(44, 0, 8, 0.02), (45, 3, 6, 0.02), (46, 0, 13, 0.05), (47, 3, 7, 0.02), (48, RR_NEXT, 8, 0.02)];
/// These quotients are clipped to this much either way.
const BY_VARIABILITY_MAX: f32 = 8.0;
/// Intervals that are kept.
const KEPT: usize = 96;
/// Most templates of a patient.
const TEMPLATES_MAX: usize = 5;
/// A beat joins a template when their QRS complexes correlate at least this much.
const SAME_SHAPE: f32 = 0.92;
/// Share of a template's weight that is left after each beat.
const FORGET: f32 = 0.998;
/// Stretches over which the difference from the template is averaged.
const STRETCHES: [(usize, usize); 9] =
    [(0, 12), (12, 24), (24, 36), (36, 44), (44, 52), (52, 60), (60, 75), (75, 95), (95, 128)];
/// QRS complex, P wave and T wave in the window.
const QRS: std::ops::Range<usize> = 30..70;
const P_WAVE: std::ops::Range<usize> = 8..36;
const T_WAVE: std::ops::Range<usize> = 60..110;
/// Where a P wave that belongs to the beat lies, without the end of the T wave before.
const P_NEAR: std::ops::Range<usize> = 10..36;
/// Intervals that tell the rhythm of the moment, and how many have to be known.
const RHYTHM_REACH: usize = 32;
const RHYTHM_MIN: usize = 8;
/// An interval below this share of the mean is early; a turn counts from this share of the mean on.
const EARLY: f32 = 0.85;
const TURN_MIN: f32 = 0.05;
/// How fast the running figures of the P wave follow.
const P_RATE: f32 = 0.05;
/// Shortest and longest interval that is believed, seconds.
const RR_S: (f32, f32) = (0.2, 3.0);
/// Interval that stands in for one that is not known yet, seconds.
const RR_UNKNOWN_S: f32 = 0.8;
/// Values of the signal input are clipped to this many QRS heights.
const SIGNAL_MAX: f32 = 8.0;

/// The input of the beat model for one beat.
#[derive(Clone, Debug, PartialEq)]
pub struct BeatInput {
    /// Window and difference by turns, in heights of the patient's dominant QRS complex.
    pub signal: [f32; WINDOW * CHANNELS],
    /// The numbers of [`CONTEXT_NAMES`].
    pub context: [f32; CONTEXT],
    rr_prev_s: f32,
    mean_s: f32,
}

#[derive(Clone, Debug)]
struct Template {
    shape: [f32; WINDOW],
    weight: f32,
}

/// What is known of one patient.
#[derive(Clone, Debug)]
pub struct BeatContext {
    templates: [Template; TEMPLATES_MAX],
    known: usize,
    rr_s: [f32; KEPT],
    rr_count: u32,
    mean_s: f32,
    slow_mean_s: f32,
    beats: u32,
    likeness: f32,
    likeness_recent: f32,
    p_likeness_recent: f32,
    p_difference_recent: f32,
}

impl BeatInput {
    /// Adds the interval to the next beat, in seconds; the patient's mean stands in when there is none.
    #[must_use]
    pub fn complete(mut self, rr_next_s: Option<f32>) -> Self {
        let next_s = rr_next_s.map_or(self.mean_s, believable);
        self.context[RR_NEXT] = log_ratio(next_s, self.mean_s);
        self.context[RR_PREV_TO_NEXT] = log_ratio(self.rr_prev_s, next_s);
        for (quotient, early, variability, calm) in BY_VARIABILITY {
            let value = self.context[early] / (self.context[variability] + calm);
            self.context[quotient] = value.clamp(-BY_VARIABILITY_MAX, BY_VARIABILITY_MAX);
        }
        self
    }
}

impl Default for BeatContext {
    fn default() -> Self {
        Self::new()
    }
}

impl BeatContext {
    /// Nothing is known yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            templates: std::array::from_fn(|_| Template { shape: [0.0; WINDOW], weight: 0.0 }),
            known: 0,
            rr_s: [RR_UNKNOWN_S; KEPT],
            rr_count: 0,
            mean_s: RR_UNKNOWN_S,
            slow_mean_s: RR_UNKNOWN_S,
            beats: 0,
            likeness: 1.0,
            likeness_recent: 1.0,
            p_likeness_recent: 0.8,
            p_difference_recent: 0.05,
        }
    }

    /// Takes the next beat: its window in mV and the interval from the beat before, in seconds, when there was one without a gap between.
    pub fn observe(&mut self, window: &[f32; WINDOW], rr_prev_s: Option<f32>) -> BeatInput {
        let mut beat = *window;
        let mut sorted = beat;
        let middle = median(&mut sorted);
        beat.iter_mut().for_each(|sample| *sample -= middle);
        let mut context = [0.0; CONTEXT];
        let rr_s = rr_prev_s.map_or(if self.beats == 0 { RR_UNKNOWN_S } else { self.mean_s }, believable);
        self.describe_intervals(rr_s, &mut context);
        let signal = self.describe_shape(&beat, &mut context);
        BeatInput { signal, context, rr_prev_s: rr_s, mean_s: self.mean_s }
    }

    fn describe_intervals(&mut self, rr_s: f32, context: &mut [f32; CONTEXT]) {
        self.beats = self.beats.saturating_add(1);
        self.mean_s = follow(self.mean_s, rr_s, self.beats.min(300));
        self.slow_mean_s = follow(self.slow_mean_s, rr_s, self.beats.min(2_000));
        let mean_s = self.mean_s;
        let mut last = [rr_s; KEPT];
        let count = (self.rr_count as usize).min(KEPT);
        // The latest first.
        for (back, kept) in last[..count].iter_mut().enumerate() {
            *kept = self.rr_s[(self.rr_count as usize - 1 - back) % KEPT];
        }
        let before_s = last[0];
        context[0] = log_ratio(rr_s, mean_s);
        context[2] = log_ratio(before_s, mean_s);
        context[5] = log_ratio(rr_s, before_s);
        let near = count.clamp(1, 8);
        let mut sorted = last;
        let median8 = median(&mut sorted[..near]);
        context[3] = log_ratio(rr_s, median8);
        let mean8 = mean(&last[..near]);
        let square = last[..near].iter().map(|value| (value - mean8).powi(2)).sum::<f32>() / near as f32;
        context[6] = (square.sqrt() / median8).min(2.0);
        context[9] = log_ratio(rr_s, self.slow_mean_s);
        let mut changes = [0.0; KEPT];
        changes.iter_mut().zip(last.windows(2)).for_each(|(change, pair)| *change = (pair[0] - pair[1]).abs() / mean_s);
        for (reach, change_at, decile_at) in [(32, 7, 10), (KEPT, 8, 11)] {
            let seen = count.min(reach);
            let mut sorted_changes = changes;
            context[change_at] = if seen < 3 { 0.04 } else { median(&mut sorted_changes[..seen - 1]).min(1.0) };
            let mut sorted = last;
            let sorted = &mut sorted[..seen.max(1)];
            sorted.sort_unstable_by(f32::total_cmp);
            context[decile_at] = log_ratio(rr_s, quantile(sorted, 0.1));
            if reach == KEPT {
                context[12] = log_ratio(rr_s, quantile(sorted, 0.75));
                context[13] = log_ratio(quantile(sorted, 0.9), quantile(sorted, 0.1));
            }
        }
        context[41..44].copy_from_slice(&rhythm(rr_s, mean_s, &last[..count.min(RHYTHM_REACH)]));
        self.rr_s[self.rr_count as usize % KEPT] = rr_s;
        // The count wraps at a multiple of the ring's length, so the ring stays in order and stays full.
        self.rr_count =
            if self.rr_count as usize >= 2 * KEPT { self.rr_count - KEPT as u32 } else { self.rr_count } + 1;
    }

    fn describe_shape(&mut self, beat: &[f32; WINDOW], context: &mut [f32; CONTEXT]) -> [f32; WINDOW * CHANNELS] {
        let (own, own_likeness) = self.join(beat);
        let total: f32 = self.templates[..self.known].iter().map(|template| template.weight).sum();
        let heavier = |a: usize, b: usize| if self.templates[b].weight > self.templates[a].weight { b } else { a };
        let dominant = &self.templates[(0..self.known).reduce(heavier).unwrap_or(0)].shape;
        let (mut likeness, mut shift) = (-2.0, 0);
        for candidate in -3..=3 {
            let found = correlation(&beat[QRS], &dominant[shifted(QRS, candidate)]);
            if found > likeness {
                (likeness, shift) = (found, candidate);
            }
        }
        let aligned: [f32; WINDOW] =
            std::array::from_fn(|at| dominant[at.saturating_add_signed(shift).min(WINDOW - 1)]);
        let height = extent(&dominant[40..60]).max(0.05);
        let scaled = beat.map(|sample| (sample / height).clamp(-SIGNAL_MAX, SIGNAL_MAX));
        let difference: [f32; WINDOW] =
            std::array::from_fn(|at| ((beat[at] - aligned[at]) / height).clamp(-SIGNAL_MAX, SIGNAL_MAX));
        context[14] = likeness;
        context[15] = self.likeness_recent;
        context[16] = own_likeness;
        context[17] = self.templates[own].weight / total.max(1e-6);
        context[18] = extent(&scaled[36..64]);
        context[19] = extent(&scaled);
        context[20] = scaled[WINDOW_R];
        context[21] = scaled.iter().copied().fold(f32::MIN, f32::max);
        context[22] = scaled.iter().copied().fold(f32::MAX, f32::min);
        context[23] = steep_width(beat, 0.06 * height) - steep_width(dominant, 0.06 * height);
        context[24] = correlation(&beat[P_WAVE], &aligned[P_WAVE]);
        context[25] = correlation(&beat[T_WAVE], &aligned[T_WAVE]);
        for (number, (from, to)) in STRETCHES.into_iter().enumerate() {
            let sum: f32 = difference[from..to].iter().map(|value| value.abs()).sum();
            context[26 + number] = sum / (to - from) as f32;
        }
        let bends = |range: std::ops::Range<usize>| {
            range.map(|at| (scaled[at] - 2.0 * scaled[at + 1] + scaled[at + 2]).abs()).sum::<f32>()
        };
        context[35] = (bends(4..34) + bends(66..124)) / 88.0;
        context[36] = self.likeness;
        context[37] = mean(&scaled[36..64]);
        let p_wave = self.describe_p_wave(&difference, extent(&aligned[P_NEAR]) / height, context[24]);
        context[38..41].copy_from_slice(&p_wave);
        self.likeness = likeness;
        self.likeness_recent += 0.05 * (likeness - self.likeness_recent);
        std::array::from_fn(|at| if at % CHANNELS == 0 { scaled[at / CHANNELS] } else { difference[at / CHANNELS] })
    }

    /// Whether this patient shows a P wave at all, and how far this beat's stretch before the QRS complex is from what it lately was: in atrial
    /// fibrillation there is none to be missed.
    fn describe_p_wave(&mut self, difference: &[f32; WINDOW], height: f32, likeness: f32) -> [f32; 3] {
        let far: f32 = difference[P_NEAR].iter().map(|value| value.abs()).sum::<f32>() / P_NEAR.len() as f32;
        let described = [self.p_likeness_recent, height, log_ratio(far + 0.01, self.p_difference_recent + 0.01)];
        self.p_likeness_recent += P_RATE * (likeness - self.p_likeness_recent);
        self.p_difference_recent += P_RATE * (far - self.p_difference_recent);
        described
    }

    /// Joins the beat to the template of like shape, or makes one of it; gives the template and how like it was.
    fn join(&mut self, beat: &[f32; WINDOW]) -> (usize, f32) {
        let (mut best, mut own) = (-2.0, 0);
        for (number, template) in self.templates[..self.known].iter().enumerate() {
            for shift in -2..=2 {
                let likeness = correlation(&beat[QRS], &template.shape[shifted(QRS, shift)]);
                if likeness > best {
                    (best, own) = (likeness, number);
                }
            }
        }
        if best < SAME_SHAPE {
            let lighter = |a: usize, b: usize| if self.templates[b].weight < self.templates[a].weight { b } else { a };
            own = if self.known < TEMPLATES_MAX { self.known } else { (0..self.known).reduce(lighter).unwrap_or(0) };
            self.known = (own + 1).max(self.known);
            self.templates[own] = Template { shape: *beat, weight: 0.0 };
        }
        self.templates.iter_mut().for_each(|template| template.weight *= FORGET);
        let template = &mut self.templates[own];
        template.weight += 1.0;
        let rate = (1.0 / (template.weight + 1.0)).max(0.03);
        template.shape.iter_mut().zip(beat).for_each(|(shape, sample)| *shape += rate * (sample - *shape));
        (own, best.max(-1.0))
    }
}

/// Of the last intervals, the latest first: the share of early ones, of turns from longer to shorter or back, and of those shorter than this one.
fn rhythm(rr_s: f32, mean_s: f32, last: &[f32]) -> [f32; 3] {
    if last.len() < RHYTHM_MIN {
        return [0.0, 0.0, 0.5];
    }
    let share = |count: usize| count as f32 / last.len() as f32;
    let is_turn = |three: &&[f32]| {
        let (later, earlier) = (three[1] - three[0], three[2] - three[1]);
        later * earlier < 0.0 && later.abs() > TURN_MIN * mean_s
    };
    [
        share(last.iter().filter(|value| **value < EARLY * mean_s).count()),
        share(last.windows(3).filter(is_turn).count()),
        share(last.iter().filter(|value| **value < rr_s).count()),
    ]
}

fn believable(rr_s: f32) -> f32 {
    rr_s.clamp(RR_S.0, RR_S.1)
}

fn log_ratio(a: f32, b: f32) -> f32 {
    (a / b.max(1e-3)).clamp(0.15, 6.0).ln()
}

fn follow(mean: f32, value: f32, count: u32) -> f32 {
    mean + (value - mean) / count as f32
}

fn mean(values: &[f32]) -> f32 {
    values.iter().sum::<f32>() / values.len().max(1) as f32
}

/// Sorts and gives the middle one (the mean of the two in the middle); 0 of nothing.
fn median(values: &mut [f32]) -> f32 {
    if values.is_empty() {
        return 0.0;
    }
    values.sort_unstable_by(f32::total_cmp);
    f32::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index within the slice")]
fn quantile(sorted: &[f32], share: f32) -> f32 {
    let place = (sorted.len() - 1) as f32 * share;
    let below = place as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f32)
}

fn extent(values: &[f32]) -> f32 {
    let (low, high) =
        values.iter().fold((f32::MAX, f32::MIN), |(low, high), value| (low.min(*value), high.max(*value)));
    (high - low).max(0.0)
}

fn shifted(range: std::ops::Range<usize>, shift: isize) -> std::ops::Range<usize> {
    range.start.saturating_add_signed(shift)..range.end.saturating_add_signed(shift)
}

/// Pearson's correlation of two stretches of the same length; 0 when one is flat.
fn correlation(a: &[f32], b: &[f32]) -> f32 {
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut product, mut square_a, mut square_b) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a - mean_a, b - mean_b);
        product += a * b;
        square_a += a * a;
        square_b += b * b;
    }
    let norm = (square_a * square_b).sqrt();
    if norm > 1e-9 { (product / norm).clamp(-1.0, 1.0) } else { 0.0 }
}

/// How many samples lie between the first and the last steep step around the R peak.
fn steep_width(beat: &[f32; WINDOW], steep: f32) -> f32 {
    let is_steep = |at: &usize| (beat[at + 1] - beat[*at]).abs() > steep;
    match ((30..74).find(is_steep), (30..74).rev().find(is_steep)) {
        (Some(first), Some(last)) => (last - first) as f32,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::{BeatContext, CONTEXT_NAMES, WINDOW, WINDOW_R};

    fn beat(height: f32, width: f32) -> [f32; WINDOW] {
        std::array::from_fn(|at| height * (-((at as f32 - WINDOW_R as f32) / width).powi(2)).exp())
    }

    #[test]
    fn an_early_beat_and_a_strange_one_stand_out_against_the_patients_own() {
        let mut context = BeatContext::new();
        for _ in 0..200 {
            context.observe(&beat(1.0, 3.0), Some(0.8));
        }
        let usual = context.observe(&beat(1.0, 3.0), Some(0.8)).complete(Some(0.8));
        assert!(
            usual.context[0].abs() < 0.01
                && usual.context[14] > 0.999
                && usual.context[26..35].iter().all(|e| *e < 0.01)
        );
        let early = context.observe(&beat(1.0, 3.0), Some(0.5)).complete(Some(1.1));
        assert!(early.context[0] < -0.4 && early.context[1] > 0.3 && early.context[14] > 0.999);
        let strange = context.observe(&beat(-1.5, 9.0), Some(0.5)).complete(None);
        assert!(strange.context[14] < 0.5 && strange.context[17] < 0.05 && strange.context[29] > 0.1);
    }

    #[test]
    fn a_heart_that_fibrillates_shows_no_p_wave_and_turns_at_every_beat() {
        let mut context = BeatContext::new();
        let mut last = context.observe(&beat(1.0, 3.0), None);
        for number in 0..100_u8 {
            let rr_s = if number % 2 == 0 { 0.6 } else { 1.0 };
            last = context.observe(&beat(1.0, 3.0), Some(rr_s));
        }
        let named = |name: &str| last.context[CONTEXT_NAMES.iter().position(|known| *known == name).unwrap()];
        assert!(named("p_height_dominant") < 0.01 && named("rr_turns32") > 0.9);
        assert!((named("early_share32") - 0.5).abs() < 0.1 && named("rr_rank32") >= 0.5, "{:?}", &last.context[38..]);
        let with_p = |_: u8| -> [f32; WINDOW] {
            let (qrs, p) = (beat(1.0, 3.0), beat(0.2, 4.0));
            std::array::from_fn(|at| qrs[at] + p.get(at + 24).copied().unwrap_or(0.0))
        };
        for number in 0..100 {
            last = context.observe(&with_p(number), Some(0.8));
        }
        assert!(last.context[39] > 0.1 && last.context[42] < 0.1, "{:?}", &last.context[38..]);
    }

    #[test]
    fn an_early_beat_stands_out_where_intervals_are_regular() {
        let by_change = |usual_s: [f32; 2]| {
            let mut context = BeatContext::new();
            for number in 0..200 {
                context.observe(&beat(1.0, 3.0), Some(usual_s[number % 2]));
            }
            let early = context.observe(&beat(1.0, 3.0), Some(0.6)).complete(Some(1.0));
            early.context[CONTEXT_NAMES.iter().position(|name| *name == "rr_prev/mean300_by_change96").unwrap()]
        };
        let (regular, irregular) = (by_change([0.8, 0.8]), by_change([0.6, 1.0]));
        assert!(regular < -7.9 && irregular > -1.0, "{regular} and {irregular}");
    }

    #[test]
    fn amplitude_and_offset_of_the_recorder_change_nothing() {
        let (mut one, mut other) = (BeatContext::new(), BeatContext::new());
        for number in 0..50_u8 {
            let window = beat(1.0 + 0.1 * f32::from(number % 3), 3.0);
            let a = one.observe(&window, Some(0.8)).complete(Some(0.9));
            let b = other.observe(&window.map(|sample| 2.0 * sample + 0.5), Some(0.8)).complete(Some(0.9));
            assert!(a.context.iter().zip(&b.context).all(|(a, b)| (a - b).abs() < 1e-3), "{number}");
            assert!(a.signal.iter().zip(&b.signal).all(|(a, b)| (a - b).abs() < 1e-3), "{number}");
        }
    }

    #[test]
    fn flat_huge_and_endless_input_stays_finite() {
        let mut context = BeatContext::new();
        for number in 0..1_000_u16 {
            let window = beat(if number % 7 == 0 { 1e6 } else { 0.0 }, 2.0);
            let input = context.observe(&window, (number % 3 > 0).then_some(f32::from(number))).complete(None);
            assert!(input.signal.iter().chain(&input.context).all(|value| value.is_finite()), "{number}");
        }
    }
}
