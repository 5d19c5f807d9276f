//! Why a beat was given its class: parts of its wave and of its rhythm are hidden one by one.
//!
//! A part of the wave is hidden by giving the beat the patient's usual shape there, with no difference from it; what describes that part, and
//! intervals, take their mean over the training beats, which the model file holds. So a contribution tells what it meant that this part is as
//! it is and not as usual. Guarantees: the score is the model's own; the model is not changed. Must not: be asked for a beat that another
//! model judged.

use std::ops::Range;

use pulsegate_rules::ModelId;

use super::{Contribution, Explanation, Group, Measure, Told, occlude};
use crate::ecg::{BEAT_CLASSES, BeatInput, BeatModel, CHANNELS, CONTEXT_NAMES, WINDOW};

/// Probabilities are held this far from 0 and 1, so that log-odds stay finite.
const PROBABILITY_MIN: f32 = 1e-7;
const SIGNAL: usize = WINDOW * CHANNELS;

/// What is hidden together. Milliseconds are from the R peak, place 48 at 180 per second.
struct Part {
    name: &'static str,
    /// Places in the window.
    wave: Range<usize>,
    /// Its value, of a wave how alike it is to the patient's usual one, and whether that is the logarithm of a ratio.
    shown: (&'static str, bool),
    /// Whether a number of [`CONTEXT_NAMES`] describes it.
    has: fn(&str) -> bool,
}

const PARTS: [Part; 8] = [
    Part { name: "P wave, -267 to -67 ms", wave: 0..36, shown: ("p_likeness", false), has: is_p_wave },
    Part { name: "QRS complex, -67 to 67 ms", wave: 36..60, shown: ("likeness_dominant", false), has: is_complex },
    Part { name: "T wave, 67 to 444 ms", wave: 60..WINDOW, shown: ("t_likeness", false), has: is_t_wave },
    Part { name: "roughness", wave: 0..0, shown: ("roughness", false), has: |name| name == "roughness" },
    Part { name: "beats before, likeness", wave: 0..0, shown: ("likeness_dominant_recent", false), has: is_before },
    Part { name: "interval before / usual", wave: 0..0, shown: ("rr_prev/mean300", true), has: is_previous },
    Part { name: "interval after / usual", wave: 0..0, shown: ("rr_next/mean300", true), has: is_next },
    Part { name: "rhythm, spread of intervals", wave: 0..0, shown: ("rr_spread96", false), has: is_rhythm },
];

fn is_p_wave(name: &str) -> bool {
    name.starts_with("p_") || matches!(name, "difference_0" | "difference_1" | "difference_2")
}

fn is_complex(name: &str) -> bool {
    let shape = matches!(name, "height" | "r_value" | "highest" | "lowest" | "likeness_dominant" | "share_own_cluster");
    let apart = matches!(name, "difference_3" | "difference_4" | "difference_5" | "likeness_own_cluster");
    shape || apart || name.starts_with("qrs_")
}

fn is_t_wave(name: &str) -> bool {
    name.starts_with("t_") || matches!(name, "difference_6" | "difference_7" | "difference_8")
}

fn is_before(name: &str) -> bool {
    matches!(name, "likeness_dominant_recent" | "likeness_dominant_previous")
}

fn is_previous(name: &str) -> bool {
    name.starts_with("rr_prev/") || name == "rr_rank32"
}

fn is_next(name: &str) -> bool {
    matches!(name, "rr_next/mean300" | "rr_next/mean300_by_change96" | "rr_prev/rr_next")
}

/// Whatever describes nothing else.
fn is_rhythm(name: &str) -> bool {
    PARTS[..PARTS.len() - 1].iter().all(|part| !(part.has)(name))
}

/// Place among the context of a name of [`CONTEXT_NAMES`].
fn place_of(name: &str) -> usize {
    CONTEXT_NAMES.iter().position(|known| *known == name).expect("parts name what describes a beat")
}

/// Why the model gives a beat its class. `id` is the model's.
pub fn explain_beat(model: &mut BeatModel, id: ModelId, beat: &BeatInput) -> Explanation {
    let judged = model.judge(beat);
    let typical = *model.typical_context();
    let usual = |place: usize| beat.signal[place * CHANNELS] - beat.signal[place * CHANNELS + 1];
    let group = |part: &Part| {
        let wave = part.wave.clone();
        let wave = wave.flat_map(|place| [(place * CHANNELS, usual(place)), (place * CHANNELS + 1, 0.0)]);
        let described = CONTEXT_NAMES.iter().enumerate().filter(|(_, name)| (part.has)(name));
        let context = described.map(|(place, _)| (SIGNAL + place, typical[place]));
        Group { name: part.name.to_owned(), hidden: wave.chain(context).collect() }
    };
    let groups: Vec<Group> = PARTS.iter().map(group).collect();
    let inputs: Vec<f32> = beat.signal.iter().chain(&beat.context).copied().collect();
    let mut changed = beat.clone();
    let occluded = occlude(&inputs, &groups, |inputs| {
        changed.signal.copy_from_slice(&inputs[..SIGNAL]);
        changed.context.copy_from_slice(&inputs[SIGNAL..]);
        let probability = model.judge(&changed).probabilities[judged.class];
        let probability = probability.clamp(PROBABILITY_MIN, 1.0 - PROBABILITY_MIN);
        (probability / (1.0 - probability)).ln()
    });
    let contribution = |(part, contribution): (usize, f32)| {
        let (name, is_logarithm) = PARTS[part].shown;
        let told = |value: f32| Some(Told::Number(if is_logarithm { value.exp() } else { value }));
        let (value, typical) = (told(beat.context[place_of(name)]), told(typical[place_of(name)]));
        Contribution { input: PARTS[part].name.to_owned(), value, typical, contribution }
    };
    Explanation {
        model: id,
        class: BEAT_CLASSES[judged.class].to_owned(),
        measure: Measure::LogOdds,
        score: f64::from(occluded.score),
        inputs: occluded.contributions.into_iter().map(contribution).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_shows_what_describes_it() {
        for part in &PARTS {
            assert!((part.has)(part.shown.0) && place_of(part.shown.0) < CONTEXT_NAMES.len(), "{}", part.name);
        }
        let parts = |name: &str| PARTS.iter().filter(|part| (part.has)(name)).count();
        for name in CONTEXT_NAMES {
            // The ratio of the two intervals belongs to both.
            assert_eq!(parts(name), 1 + usize::from(name == "rr_prev/rr_next"), "{name}");
        }
    }
}
