//! The heart's beats in a live ECG: where they are and of which kind.
//!
//! [`BeatFinder`] finds the R peaks in one lead as it comes in; [`score_finder`] compares it with reference annotations.

mod filter;
mod finder;
mod score;

pub use filter::{ECG_HZ, Resampler, SOURCE_HZ_RANGE};
pub use finder::{BeatFinder, FINDER_STATE_BYTES};
pub use score::{FinderScore, LEARNING_SAMPLES, MATCH_SAMPLES, Matches, match_beats, score_finder};
