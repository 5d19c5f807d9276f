//! Made-up rhythms of real beats, for training only.
//!
//! The training patients show few kinds of supraventricular rhythm, and most of the beats come from five of them. A supraventricular beat is told by
//! its time above all, so more rhythms are made: normal beats of a training patient, in their order, are given new intervals (single
//! early beats, groups, long runs, a heart that is early most of the time and pauses, fibrillation, a sinus rhythm that sways or drops
//! beats), and their P wave is flattened, moved or hidden by the T wave before it where the rhythm asks for that. Guarantees: the same
//! generator gives the same beats; made-up beats carry record numbers of their own ([`source_record`] leads back). Must not: enter a
//! validation or a test.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::context::{WINDOW, WINDOW_R};
use super::model::{SUPRAVENTRICULAR, VENTRICULAR};
use crate::data::mitdb::Beat;

/// Beats of a made-up record.
const BEATS: usize = 600;
/// Made-up records are numbered from here on.
const RECORDS_FROM: u32 = 1_000;
/// Rate of a window, Hz.
const WINDOW_HZ: f32 = 180.0;
/// Share of the made-up records with ventricular beats, of patients who have some. None: on left-out training patients, made-up ventricular
/// beats (a share of 0.6) gained nothing for supraventricular ones and lost ventricular ones.
const WITH_VENTRICULAR: f64 = 0.0;
/// Shortest and longest interval that is made, s.
const RR_S: (f32, f32) = (0.28, 2.9);

/// The record whose beats a made-up record has; a real record is its own.
pub(super) const fn source_record(record: u32) -> u32 {
    record % RECORDS_FROM
}

/// Whether a record is made up.
pub(super) const fn is_made_up(record: u32) -> bool {
    record >= RECORDS_FROM
}

#[derive(Clone, Copy, PartialEq)]
enum Origin {
    Sinus,
    Early,
    Fibrillation,
    Ventricular,
}

/// How a made-up heart beats; shares are per beat, factors are of the usual interval.
struct Rhythm {
    usual_s: f32,
    sway: f32,
    drift: f32,
    jitter: f32,
    early_share: f32,
    run_mean: f32,
    coupling: f32,
    run_factor: f32,
    pause: f32,
    dropped_share: f32,
    fibrillation: f32,
    spread: f32,
    ventricular_share: f32,
}

/// `variants` made-up records of every record in `beats` (in order of record and time) that has normal beats.
pub(super) fn make_up(beats: &[Beat], variants: u32, rng: &mut ChaCha8Rng) -> Vec<Beat> {
    let mut made = Vec::new();
    for of_record in beats.chunk_by(|a, b| a.record == b.record) {
        let normal: Vec<&Beat> = of_record.iter().filter(|beat| beat.class == 0).collect();
        if normal.len() < 20 {
            continue;
        }
        let ventricular: Vec<&Beat> = of_record.iter().filter(|beat| beat.class == 2).collect();
        let intervals = normal.iter().filter_map(|beat| beat.rr_prev_s);
        let mean_s = intervals.sum::<f32>() / normal.len() as f32;
        for variant in 1..=variants {
            let mut rhythm = Rhythm::draw(mean_s, rng);
            if ventricular.len() >= 3 && rng.gen_bool(WITH_VENTRICULAR) {
                rhythm.ventricular_share = rng.gen_range(0.01..0.25);
            }
            record(&normal, &ventricular, &rhythm, of_record[0].record + variant * RECORDS_FROM, rng, &mut made);
        }
    }
    made
}

impl Rhythm {
    fn draw(mean_s: f32, rng: &mut ChaCha8Rng) -> Self {
        let quiet = Self {
            usual_s: (mean_s * rng.gen_range(0.75..1.3)).clamp(0.45, 1.3),
            sway: rng.gen_range(0.0..0.07),
            drift: rng.gen_range(0.0..0.12),
            jitter: rng.gen_range(0.005..0.03),
            early_share: 0.0,
            run_mean: 1.0,
            coupling: rng.gen_range(0.5..0.88),
            run_factor: rng.gen_range(0.5..0.85),
            pause: rng.gen_range(0.95..1.5),
            dropped_share: 0.0,
            fibrillation: 0.0,
            spread: rng.gen_range(0.08..0.3),
            ventricular_share: 0.0,
        };
        match rng.gen_range(0..22_u8) {
            0..=4 => Self { early_share: rng.gen_range(0.005..0.06), run_mean: rng.gen_range(1.0..1.5), ..quiet },
            5..=7 => Self { early_share: rng.gen_range(0.08..0.5), run_mean: rng.gen_range(1.0..2.5), ..quiet },
            8..=11 => Self { early_share: rng.gen_range(0.004..0.03), run_mean: rng.gen_range(4.0..80.0), ..quiet },
            12..=14 => Self {
                early_share: rng.gen_range(0.3..0.9),
                run_mean: rng.gen_range(2.0..8.0),
                pause: rng.gen_range(1.1..2.4),
                ..quiet
            },
            15..=18 => Self { fibrillation: 1.0, ..quiet },
            19 => Self { fibrillation: rng.gen_range(0.3..0.7), early_share: rng.gen_range(0.0..0.03), ..quiet },
            20 => Self { sway: rng.gen_range(0.07..0.2), ..quiet },
            _ => Self { dropped_share: rng.gen_range(0.01..0.2), ..quiet },
        }
    }
}

/// Intervals before each beat and where each beat comes from.
fn intervals(rhythm: &Rhythm, rng: &mut ChaCha8Rng) -> Vec<(f32, Origin)> {
    let (breath, slow) = (rng.gen_range(3.0..6.0_f32), rng.gen_range(80.0..400.0_f32));
    let mut made: Vec<(f32, Origin)> = Vec::with_capacity(BEATS);
    let (mut run, mut pause, mut episode, mut fibrillating) = (0_usize, false, 0_usize, rhythm.fibrillation > 0.99);
    while made.len() < BEATS {
        let number = made.len() as f32;
        let turn = |period: f32| (std::f32::consts::TAU * number / period).sin();
        let noise = 1.0 + rhythm.jitter * rng.gen_range(-1.7..1.7_f32);
        let sinus_s = rhythm.usual_s * (1.0 + rhythm.sway * turn(breath) + rhythm.drift * turn(slow)) * noise;
        if (0.01..0.99).contains(&rhythm.fibrillation) {
            if episode == 0 {
                fibrillating = rng.gen_bool(f64::from(rhythm.fibrillation));
                episode = rng.gen_range(60..200);
            }
            episode -= 1;
        }
        let after_ventricular = made.last().is_some_and(|last| last.1 == Origin::Ventricular);
        let beat = if run == 0 && rng.gen_bool(f64::from(rhythm.ventricular_share)) {
            (rhythm.usual_s * rng.gen_range(0.42..1.05), Origin::Ventricular)
        } else if after_ventricular && !fibrillating {
            (sinus_s * rng.gen_range(0.9..1.6), Origin::Sinus)
        } else if fibrillating {
            let bell: f32 = (0..3).map(|_| rng.gen_range(-1.0..1.0_f32)).sum();
            (rhythm.usual_s * (rhythm.spread * bell).exp(), Origin::Fibrillation)
        } else if run > 0 {
            run -= 1;
            pause = run == 0;
            (rhythm.usual_s * rhythm.run_factor * noise, Origin::Early)
        } else if std::mem::take(&mut pause) {
            (sinus_s * rhythm.pause, Origin::Sinus)
        } else if rng.gen_bool(f64::from(rhythm.early_share)) {
            run = (-rng.gen_range(1e-3..1.0_f32).ln() * (rhythm.run_mean - 1.0)).round() as usize;
            pause = run == 0;
            (sinus_s * (rhythm.coupling + rng.gen_range(-0.05..0.05)), Origin::Early)
        } else if rng.gen_bool(f64::from(rhythm.dropped_share)) {
            (sinus_s * 2.0, Origin::Sinus)
        } else {
            (sinus_s, Origin::Sinus)
        };
        made.push((beat.0.clamp(RR_S.0, RR_S.1), beat.1));
    }
    made
}

fn record(
    normal: &[&Beat],
    ventricular: &[&Beat],
    rhythm: &Rhythm,
    number: u32,
    rng: &mut ChaCha8Rng,
    made: &mut Vec<Beat>,
) {
    let intervals = intervals(rhythm, rng);
    let first = rng.gen_range(0..normal.len());
    // An ectopic focus stays where it is: its P wave looks the same throughout the record.
    let focus = (
        rng.gen_range(-0.14..0.16_f32),
        rng.gen_range(14.0..34.0_f32),
        rng.gen_range(2.5..6.0_f32),
        rng.gen_range(0.2..1.0_f32),
    );
    let mut at_s = 1.0;
    for (step, (rr_s, origin)) in intervals.iter().enumerate() {
        let own = match origin {
            Origin::Ventricular => ventricular[rng.gen_range(0..ventricular.len())],
            _ => normal[(first + step) % normal.len()],
        };
        let before = normal[(first + step + normal.len() - 1) % normal.len()];
        let mut window = own.window.clone();
        match origin {
            Origin::Sinus | Origin::Ventricular => {}
            Origin::Early => {
                flatten(&mut window, focus.3);
                bump(&mut window, focus);
                overlap(&mut window, &before.window, *rr_s);
            }
            Origin::Fibrillation => {
                flatten(&mut window, 1.0);
                quiver(&mut window, rng);
                overlap(&mut window, &before.window, *rr_s);
            }
        }
        at_s += rr_s;
        made.push(Beat {
            record: number,
            place: (at_s * 360.0) as u64,
            class: match origin {
                Origin::Sinus | Origin::Fibrillation => 0,
                Origin::Early => SUPRAVENTRICULAR,
                Origin::Ventricular => VENTRICULAR,
            },
            rr_prev_s: (step > 0).then_some(*rr_s),
            rr_next_s: intervals.get(step + 1).map(|next| next.0),
            window,
        });
    }
}

/// Takes this share of the P wave away: a straight line stands where it was.
fn flatten(window: &mut [f32; WINDOW], share: f32) {
    let (from, to) = (6, 37);
    let (left, right) = (window[from], window[to]);
    for (step, sample) in window[from..to].iter_mut().enumerate() {
        let line = left + (right - left) * step as f32 / (to - from) as f32;
        *sample += share * (line - *sample);
    }
}

/// Adds a P wave of another shape: height (share of the QRS), middle and width (samples).
fn bump(window: &mut [f32; WINDOW], (height, middle, width, _): (f32, f32, f32, f32)) {
    let (low, high) =
        window[40..60].iter().fold((f32::MAX, f32::MIN), |(low, high), value| (low.min(*value), high.max(*value)));
    for (at, sample) in window.iter_mut().enumerate().take(WINDOW_R - 6) {
        *sample += (high - low) * height * (-((at as f32 - middle) / width).powi(2)).exp();
    }
}

/// Adds what the beat before still gives (its T wave) after so short an interval.
fn overlap(window: &mut [f32; WINDOW], before: &[f32; WINDOW], rr_s: f32) {
    let later = (rr_s * WINDOW_HZ).round() as usize;
    let rest = before[WINDOW - 1];
    for (sample, value) in window[..WINDOW_R - 8].iter_mut().zip(before.iter().skip(later)) {
        *sample += 0.8 * (value - rest);
    }
}

/// Adds the small waves of fibrillation, 4 to 9 Hz.
fn quiver(window: &mut [f32; WINDOW], rng: &mut ChaCha8Rng) {
    let (height, hz, phase) = (rng.gen_range(0.0..0.07_f32), rng.gen_range(4.0..9.0_f32), rng.gen_range(0.0..6.2_f32));
    for (at, sample) in window.iter_mut().enumerate() {
        *sample += height * (std::f32::consts::TAU * hz * at as f32 / WINDOW_HZ + phase).sin();
    }
}
