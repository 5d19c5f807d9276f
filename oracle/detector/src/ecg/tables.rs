//! Tables of beat classes: per record, without the person who is in both parts, and as EC57 counts.

use std::collections::BTreeMap;

use super::model::{SUPRAVENTRICULAR, VENTRICULAR};
use super::net::BEAT_CLASSES;
use crate::data::mitdb::{Beat, SAME_PATIENT_AS_201};
use crate::report::Section;

/// Counts by true class (or none: no such beat in the reference) and decided class (or none: not found).
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) counts: [[u64; 6]; 6],
}

/// Place of "none" in [`Counts`].
pub(super) const NONE: usize = 5;

impl Counts {
    pub(super) const fn add(&mut self, truth: usize, decided: usize) {
        self.counts[truth][decided] += 1;
    }

    pub(super) fn and(&mut self, other: &Self) {
        for (row, of_other) in self.counts.iter_mut().zip(&other.counts) {
            row.iter_mut().zip(of_other).for_each(|(count, more)| *count += more);
        }
    }

    pub(super) fn truth(&self, class: usize) -> u64 {
        self.counts[class].iter().sum()
    }

    fn decided(&self, class: usize) -> u64 {
        self.counts.iter().map(|row| row[class]).sum()
    }

    /// Share of the true beats of the class that were decided so, in per cent, with one digit; a dash when there are none.
    pub(super) fn sensitivity(&self, class: usize) -> String {
        percent(self.counts[class][class], self.truth(class))
    }

    /// Share of the beats decided as the class that are of it.
    pub(super) fn precision(&self, class: usize) -> String {
        percent(self.counts[class][class], self.decided(class))
    }

    /// As EC57 counts V: fusion and unknown beats taken for V are not held against it.
    pub(super) fn ventricular_precision_ec57(&self) -> String {
        let excused = self.counts[3][VENTRICULAR] + self.counts[4][VENTRICULAR];
        percent(self.counts[VENTRICULAR][VENTRICULAR], self.decided(VENTRICULAR) - excused)
    }

    /// The confusion matrix as lines of a table; `none` names the line and column of beats on one side only, when there are any.
    pub(super) fn confusion(&self, heading: &str, caption: &str) -> Section {
        let extra = self.counts[NONE].iter().sum::<u64>() + self.decided(NONE) > 0;
        let names: Vec<&str> = BEAT_CLASSES.into_iter().chain(extra.then_some("none")).collect();
        let header = std::iter::once("true \\ decided").chain(names.iter().copied()).map(str::to_owned).collect();
        let line = |(at, name): (usize, &&str)| {
            let cells = (0..names.len()).map(|to| self.counts[at][to].to_string());
            std::iter::once((*name).to_owned()).chain(cells).collect()
        };
        let rows = names.iter().enumerate().map(line).collect();
        Section::Table { heading: heading.to_owned(), caption: caption.to_owned(), header, rows }
    }
}

#[expect(clippy::cast_precision_loss, reason = "beat counts are far below 2^53")]
fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "–".to_owned() } else { format!("{:.1}", 100.0 * part as f64 / whole as f64) }
}

/// The table of beats that were judged at their annotated places.
pub(super) fn beat_section(heading: &str, beats: &[Beat], decided: &[usize]) -> Section {
    let mut records: BTreeMap<u32, Counts> = BTreeMap::new();
    for (beat, decided) in beats.iter().zip(decided) {
        records.entry(beat.record).or_default().add(beat.class, *decided);
    }
    let caption = "Annotated R peaks. Beats, sensitivity (Se) and positive predictivity (+P) in per cent. The last lines are all records \
                   together, and without record 202, whose patient is also in the training part.";
    per_record(heading, caption, &records)
}

/// One line per record, then all records, then all without record 202.
pub(super) fn per_record(heading: &str, caption: &str, records: &BTreeMap<u32, Counts>) -> Section {
    let header = ["record", "N", "S", "V", "F", "S Se", "S +P", "V Se", "V +P", "V +P as EC57", "F Se", "N Se"];
    let line = |name: String, counts: &Counts| {
        let mut cells = vec![name];
        cells.extend((0..4).map(|class| counts.truth(class).to_string()));
        cells.extend([counts.sensitivity(SUPRAVENTRICULAR), counts.precision(SUPRAVENTRICULAR)]);
        cells.extend([counts.sensitivity(VENTRICULAR), counts.precision(VENTRICULAR)]);
        cells.extend([counts.ventricular_precision_ec57(), counts.sensitivity(3), counts.sensitivity(0)]);
        cells
    };
    let (mut all, mut without) = (Counts::default(), Counts::default());
    for (record, counts) in records {
        all.and(counts);
        if *record != SAME_PATIENT_AS_201 {
            without.and(counts);
        }
    }
    let mut rows: Vec<Vec<String>> = records.iter().map(|(record, counts)| line(record.to_string(), counts)).collect();
    rows.push(line("all".to_owned(), &all));
    if records.contains_key(&SAME_PATIENT_AS_201) {
        rows.push(line("all but 202".to_owned(), &without));
    }
    let header = header.map(str::to_owned).to_vec();
    Section::Table { heading: heading.to_owned(), caption: caption.to_owned(), header, rows }
}
