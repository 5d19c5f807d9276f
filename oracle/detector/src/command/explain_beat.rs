//! `explain` for the beat model: a beat of a recorded lead, described by all that come before it, as the live detector describes it.
//!
//! Guarantees: the beats are those that the beat finder finds; annotations beside the record are not read. Must not: judge a beat otherwise
//! than the detector does.

use std::path::Path;

use super::CommandError;
use crate::data::mitdb;
use crate::ecg::{BeatModel, BeatStream, DescribedBeat, ECG_HZ};
use crate::explain::{ExplainError, Explanation, explain_beat};
use crate::model_file::ModelFile;

/// A beat, when it was, its probability of the class that it was given, and why.
pub(super) struct OfBeat {
    /// Seconds from the start of the record to the R peak.
    pub(super) at_s: f64,
    pub(super) probability: f64,
    pub(super) explanation: Explanation,
}

/// The beat nearest to `second`, or the one that is least likely normal.
pub(super) fn of_record(file: &ModelFile, header: &Path, second: Option<f64>) -> Result<OfBeat, CommandError> {
    let mut model = BeatModel::read(file)?;
    let lead = mitdb::read_lead(header)?;
    let none = || ExplainError::NoBeat { path: header.to_owned() };
    #[expect(clippy::cast_precision_loss, reason = "a sampling rate")]
    let source_hz = lead.frequency_hz as f64;
    let mut stream = BeatStream::new(source_hz).ok_or_else(none)?;
    let mut found: Option<(f64, DescribedBeat)> = None;
    let mut take = |beat: DescribedBeat| {
        let worth = match second {
            Some(second) => -(seconds(&beat) - second).abs(),
            None => -f64::from(model.judge(&beat.input).probabilities[0]),
        };
        if found.as_ref().is_none_or(|(best, _)| worth > *best) {
            found = Some((worth, beat));
        }
    };
    lead.millivolts().into_iter().for_each(|sample| stream.push(sample, &mut take));
    stream.interrupt(source_hz, &mut take);
    let (_, beat) = found.ok_or_else(none)?;
    let judgement = model.judge(&beat.input);
    let probability = f64::from(judgement.probabilities[judgement.class]);
    Ok(OfBeat { at_s: seconds(&beat), probability, explanation: explain_beat(&mut model, file.id(), &beat.input) })
}

#[expect(clippy::cast_precision_loss, reason = "places are far below 2^53")]
fn seconds(beat: &DescribedBeat) -> f64 {
    beat.place as f64 / ECG_HZ
}
