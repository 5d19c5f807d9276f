//! Beats of a live lead, described for the beat model: resampler, finder, window and context in one, fed sample by sample.
//!
//! A beat leaves when the next one is certain, because its interval to that one belongs to its description. Guarantees: the same samples in
//! blocks of any length give the same beats; no allocation after [`BeatStream::new`]; the state does not grow
//! ([`STREAM_STATE_BYTES`]). Must not: bridge a gap: after [`BeatStream::interrupt`] no interval crosses it.

use std::collections::VecDeque;

use super::context::{BeatContext, BeatInput, WINDOW, WINDOW_R};
use super::filter::{ECG_HZ, Resampler};
use super::finder::BeatFinder;

/// Size of a stream in memory, its buffers included, at most.
pub const STREAM_STATE_BYTES: usize = 20 * 1_024;
/// Samples before the R peak and from it on that make a window, at the working rate.
const BEFORE_R: u64 = 2 * WINDOW_R as u64;
const FROM_R: u64 = 2 * (WINDOW - WINDOW_R) as u64;
/// Most beats that wait for their window to fill or for the next beat.
const WAITING_MAX: usize = 64;

/// A beat with what the model reads.
#[derive(Clone, Debug, PartialEq)]
pub struct DescribedBeat {
    /// Place of the R peak, samples at 360 Hz since the stream or the last interruption began.
    pub place: u64,
    /// Its description.
    pub input: BeatInput,
}

/// One patient's lead.
#[derive(Clone, Debug)]
pub struct BeatStream {
    source_hz: f64,
    resampler: Resampler,
    finder: BeatFinder,
    context: BeatContext,
    waiting: VecDeque<u64>,
    before: Option<u64>,
    last: Option<DescribedBeat>,
}

impl BeatStream {
    /// A stream of `source_hz`; `None` when the beat finder cannot read that rate ([`super::SOURCE_HZ_RANGE`]).
    #[must_use]
    pub fn new(source_hz: f64) -> Option<Self> {
        Some(Self {
            source_hz,
            resampler: Resampler::new(source_hz)?,
            finder: BeatFinder::new(),
            context: BeatContext::new(),
            waiting: VecDeque::with_capacity(WAITING_MAX),
            before: None,
            last: None,
        })
    }

    /// Takes the next sample, mV, finite, and hands every beat that is complete to `beat`.
    pub fn push(&mut self, millivolts: f32, mut beat: impl FnMut(DescribedBeat)) {
        let Self { resampler, finder, context, waiting, before, last, .. } = self;
        resampler.push(millivolts, |sample| {
            if let Some(place) = finder.push(sample) {
                if waiting.len() == WAITING_MAX {
                    waiting.pop_front();
                }
                waiting.push_back(place);
            }
            describe_ready(finder, context, waiting, before, last, &mut beat);
        });
    }

    /// Ends the signal, as after a gap or at the end of a record, and hands out the beats that are held back. The patient's templates and usual
    /// intervals stay; the finder starts anew, at `source_hz`. `false`, and nothing is done, when that rate cannot be read.
    pub fn interrupt(&mut self, source_hz: f64, mut beat: impl FnMut(DescribedBeat)) -> bool {
        let Some(resampler) = Resampler::new(source_hz) else { return false };
        while let Some(place) = self.finder.finish() {
            if self.waiting.len() < WAITING_MAX {
                self.waiting.push_back(place);
            }
        }
        let Self { finder, context, waiting, before, last, .. } = self;
        describe_ready(finder, context, waiting, before, last, &mut beat);
        if let Some(last) = self.last.take() {
            // A beat whose window the gap has cut still ends the interval of the one before.
            let next_s = self.waiting.front().map(|next| seconds(next.saturating_sub(last.place)));
            beat(DescribedBeat { input: last.input.complete(next_s), place: last.place });
        }
        self.waiting.clear();
        self.before = None;
        (self.source_hz, self.resampler, self.finder) = (source_hz, resampler, BeatFinder::new());
        true
    }

    /// Size in memory, buffers included, bytes.
    #[must_use]
    pub fn state_bytes(&self) -> usize {
        let inside_finder = self.finder.state_bytes() - size_of::<BeatFinder>();
        size_of::<Self>() + inside_finder + self.waiting.capacity() * size_of::<u64>()
    }

    /// The rate that it was made for, Hz.
    #[must_use]
    pub const fn source_hz(&self) -> f64 {
        self.source_hz
    }
}

/// Describes the beats whose window is complete, and lets go of the one before each.
fn describe_ready(
    finder: &BeatFinder,
    context: &mut BeatContext,
    waiting: &mut VecDeque<u64>,
    before: &mut Option<u64>,
    last: &mut Option<DescribedBeat>,
    beat: &mut impl FnMut(DescribedBeat),
) {
    while let Some(place) = waiting.front().copied().filter(|place| place + FROM_R <= finder.samples()) {
        waiting.pop_front();
        let rr_prev_s = before.replace(place).map(|before| seconds(place.saturating_sub(before)));
        if let Some(complete) = last.take() {
            beat(DescribedBeat { input: complete.input.complete(rr_prev_s), place: complete.place });
        }
        if let Some(window) = window(finder, place) {
            *last = Some(DescribedBeat { place, input: context.observe(&window, rr_prev_s) });
        }
    }
}

/// Pairs of samples averaged; none when the signal does not reach far enough back.
fn window(finder: &BeatFinder, place: u64) -> Option<[f32; WINDOW]> {
    let from = place.checked_sub(BEFORE_R)?;
    let mut window = [0.0; WINDOW];
    for (at, value) in (0_u64..).zip(&mut window) {
        *value = f32::midpoint(finder.sample(from + 2 * at)?, finder.sample(from + 2 * at + 1)?);
    }
    Some(window)
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "intervals of a few seconds")]
fn seconds(samples: u64) -> f32 {
    (samples as f64 / ECG_HZ) as f32
}
