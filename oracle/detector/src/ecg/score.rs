//! Scores a beat finder against reference annotations, beat by beat, as ANSI/AAMI EC57 and the program `bxb` of WFDB do.
//!
//! A found beat matches a reference beat within 150 ms; each is matched once, to the nearest. The first five minutes of a record are its
//! learning period and not scored, nor are stretches of ventricular flutter. Must not: look at anything but the two lists.

use super::filter::ECG_HZ;

/// How far a found beat may be from its reference: 150 ms, in samples at the working rate.
pub const MATCH_SAMPLES: u64 = 54;
/// The learning period that EC57 does not score: five minutes, in samples at the working rate.
pub const LEARNING_SAMPLES: u64 = 5 * 60 * 360;

/// Which found beat belongs to which reference beat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matches {
    /// Pairs of indices: reference, found.
    pub pairs: Vec<(usize, usize)>,
    /// Reference beats that were not found.
    pub missed: Vec<usize>,
    /// Found beats without a reference.
    pub extra: Vec<usize>,
}

/// How well a record's beats were found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FinderScore {
    /// Reference beats that were found.
    pub found: u64,
    /// Reference beats that were not.
    pub missed: u64,
    /// Found beats without a reference.
    pub extra: u64,
    /// Sum of the offsets found − reference, samples.
    pub offset_sum: i64,
    /// Sum of their squares.
    pub offset_square_sum: i64,
}

/// Matches two ascending lists of places, within `window` samples.
#[must_use]
pub fn match_beats(reference: &[u64], found: &[u64], window: u64) -> Matches {
    let mut matches = Matches::default();
    let mut next = 0;
    for (index, place) in reference.iter().enumerate() {
        while next < found.len() && found[next] + window < *place {
            matches.extra.push(next);
            next += 1;
        }
        // Of several found beats the nearest counts; one that is nearer to the next reference is left to it, unless that has its own.
        while next + 1 < found.len() && found[next + 1].abs_diff(*place) < found[next].abs_diff(*place) {
            matches.extra.push(next);
            next += 1;
        }
        let near = next < found.len() && found[next].abs_diff(*place) <= window;
        let of_next = reference.get(index + 1).is_some_and(|later| {
            let own = found.get(next + 1).is_some_and(|after| after.abs_diff(*later) <= window);
            near && !own && found[next].abs_diff(*later) < found[next].abs_diff(*place)
        });
        if near && !of_next {
            matches.pairs.push((index, next));
            next += 1;
        } else {
            matches.missed.push(index);
        }
    }
    matches.extra.extend(next..found.len());
    matches
}

/// Scores one record from `from` on, without the `excluded` stretches (first and last sample).
#[must_use]
pub fn score_finder(reference: &[u64], found: &[u64], excluded: &[(u64, u64)], from: u64) -> FinderScore {
    let counts = |place: &&u64| {
        let inside = |(start, end): &(u64, u64)| **place + MATCH_SAMPLES >= *start && **place <= end + MATCH_SAMPLES;
        **place >= from && !excluded.iter().any(inside)
    };
    let reference: Vec<u64> = reference.iter().filter(counts).copied().collect();
    let found: Vec<u64> = found.iter().filter(counts).copied().collect();
    let matches = match_beats(&reference, &found, MATCH_SAMPLES);
    let mut score = FinderScore {
        found: matches.pairs.len() as u64,
        missed: matches.missed.len() as u64,
        extra: matches.extra.len() as u64,
        ..FinderScore::default()
    };
    for (of_reference, of_found) in matches.pairs {
        let offset = found[of_found].cast_signed() - reference[of_reference].cast_signed();
        score.offset_sum += offset;
        score.offset_square_sum += offset * offset;
    }
    score
}

#[expect(clippy::cast_precision_loss, reason = "beat counts are far below 2^53")]
impl FinderScore {
    /// Both counts together, as EC57's gross figures are made.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            found: self.found + other.found,
            missed: self.missed + other.missed,
            extra: self.extra + other.extra,
            offset_sum: self.offset_sum + other.offset_sum,
            offset_square_sum: self.offset_square_sum + other.offset_square_sum,
        }
    }

    /// Share of the reference beats that were found, 0 to 1; 1 when there was none.
    #[must_use]
    pub fn sensitivity(&self) -> f64 {
        share(self.found, self.missed)
    }

    /// Share of the found beats that are in the reference, 0 to 1; 1 when none was found.
    #[must_use]
    pub fn predictivity(&self) -> f64 {
        share(self.found, self.extra)
    }

    /// Mean and standard deviation of the places, found − reference, milliseconds.
    #[must_use]
    pub fn offset_ms(&self) -> (f64, f64) {
        let count = self.found.max(1) as f64;
        let mean = self.offset_sum as f64 / count;
        let variance = (self.offset_square_sum as f64 / count - mean * mean).max(0.0);
        (mean * 1_000.0 / ECG_HZ, variance.sqrt() * 1_000.0 / ECG_HZ)
    }
}

#[expect(clippy::cast_precision_loss, reason = "beat counts are far below 2^53")]
fn share(part: u64, rest: u64) -> f64 {
    if part + rest == 0 { 1.0 } else { part as f64 / (part + rest) as f64 }
}

#[cfg(test)]
mod tests {
    use super::{FinderScore, Matches, match_beats, score_finder};

    #[test]
    fn each_beat_is_matched_once_and_to_the_nearest() {
        let matches = match_beats(&[100, 400, 700, 760], &[90, 130, 500, 701, 740, 900], 54);
        let expected = Matches { pairs: vec![(0, 0), (2, 3), (3, 4)], missed: vec![1], extra: vec![1, 2, 5] };
        assert_eq!(matches, expected);
        assert_eq!(match_beats(&[100, 130], &[131], 54).pairs, [(1, 0)], "the nearer reference gets it");
        assert_eq!(match_beats(&[], &[5], 54).extra, [0]);
    }

    #[test]
    fn the_learning_period_and_flutter_are_not_scored() {
        let reference = [10, 1_000, 2_000, 3_000, 4_000];
        let found = [500, 1_002, 2_500, 3_000, 4_004, 5_000];
        let score = score_finder(&reference, &found, &[(1_900, 2_600)], 600);
        let expected = FinderScore { found: 3, missed: 0, extra: 1, offset_sum: 6, offset_square_sum: 20 };
        assert_eq!(score, expected);
        assert!((score.predictivity() - 0.75).abs() < 1e-12 && (score.sensitivity() - 1.0).abs() < 1e-12);
    }
}
