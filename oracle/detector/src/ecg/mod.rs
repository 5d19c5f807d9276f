//! The heart's beats in a live ECG: where they are and of which kind.
//!
//! [`BeatFinder`] finds the R peaks in one lead as it comes in, and [`score_finder`] compares it with reference annotations. [`BeatStream`]
//! describes each beat beside the patient's own earlier ones, [`BeatModel`] tells its class, [`EcgDetector`] does both on live readings.
//! [`EcgBeats`] trains and judges the model. Guarantees: causal, bounded state, no label of a watched patient is ever used.

mod boosting;
mod catalogue;
mod context;
mod description;
mod detector;
mod evaluate;
mod filter;
mod finder;
mod model;
mod net;
mod score;
mod served;
mod stream;
mod synthetic;
mod tables;
mod train;

pub use catalogue::EcgBeats;
pub use context::{BeatContext, BeatInput, CHANNELS, CONTEXT, CONTEXT_NAMES, WINDOW, WINDOW_R};
pub use detector::{ECG_PATIENTS_MAX, EcgDetector, PATIENT_STATE_BYTES, VENTRICULAR_RUN};
pub use filter::{ECG_HZ, Resampler, SOURCE_HZ_RANGE};
pub use finder::{BeatFinder, FINDER_STATE_BYTES};
pub use model::{BEAT_MODEL, BeatJudgement, BeatModel};
pub use net::{BEAT_CLASSES, MEMBERS_MAX};
pub use score::{FinderScore, LEARNING_SAMPLES, MATCH_SAMPLES, Matches, match_beats, score_finder};
pub use stream::{BeatStream, DescribedBeat, STREAM_STATE_BYTES};
