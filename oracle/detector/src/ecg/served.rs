//! What is served, measured: the raw lead through the beat finder and the model, against the annotations.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::detector::VENTRICULAR_RUN;
use super::filter::ECG_HZ;
use super::finder::BeatFinder;
use super::model::{BeatModel, VENTRICULAR};
use super::score::{FinderScore, LEARNING_SAMPLES, MATCH_SAMPLES, match_beats, score_finder};
use super::stream::BeatStream;
use super::tables::{Counts, NONE, per_record};
use crate::catalogue::TrainError;
use crate::data::mitdb::{self, Recording};
use crate::progress::Progress;
use crate::report::Section;

/// Seconds of a day.
const DAY_S: f64 = 86_400.0;

/// A beat as it was served.
struct Served {
    place: u64,
    class: usize,
}

/// What live judgement would have cost.
#[derive(Default)]
struct Alarms {
    seconds: f64,
    false_beats: u64,
    false_runs: u64,
    true_runs: u64,
}

/// Runs every record through finder and model. Class tables are of the `tested` records; the finder's table is of all, as nothing of it was
/// chosen on more than the training records.
pub(super) fn served_sections(
    model: &mut BeatModel,
    headers: &[PathBuf],
    tested: &[u32],
    progress: &dyn Progress,
) -> Result<Vec<Section>, TrainError> {
    let tested: BTreeSet<u32> = tested.iter().copied().collect();
    let (mut scores, mut classes, mut alarms) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    progress.start("records, as served", headers.len() as u64);
    for header in headers {
        let recording = mitdb::read_record(header)?;
        let served = serve(model, &recording.signal);
        let reference: Vec<u64> = recording.beats.iter().map(|beat| beat.0).collect();
        let mut finder = BeatFinder::new();
        let mut found: Vec<u64> = recording.signal.iter().filter_map(|sample| finder.push(*sample)).collect();
        found.extend(std::iter::from_fn(|| finder.finish()));
        let score = |from| score_finder(&reference, &found, &recording.flutter, from);
        scores.insert(recording.record, (score(LEARNING_SAMPLES), score(0)));
        if tested.contains(&recording.record) {
            classes.insert(recording.record, count(&recording, &served));
            alarms.insert(recording.record, watch(&recording, &served));
        }
        progress.step("");
    }
    progress.finish();
    let caption = "The raw lead through the beat finder and the model, one beat of delay; found beats are matched to annotations within 150 \
                   ms over the whole record, ventricular flutter left out. A missed beat counts against the sensitivity of its class, a \
                   beat without annotation against the predictivity of the class that it was given.";
    let mut all = Counts::default();
    classes.values().for_each(|counts| all.and(counts));
    Ok(vec![
        per_record("Per record, as served", caption, &classes),
        all.confusion("Confusion matrix, as served", "All tested records; none: not annotated, or not found."),
        alarm_table(&alarms),
        finder_table(&scores),
    ])
}

fn serve(model: &mut BeatModel, signal: &[f32]) -> Vec<Served> {
    let mut served = Vec::new();
    let Some(mut stream) = BeatStream::new(ECG_HZ) else { return served };
    let mut take = |beat: super::stream::DescribedBeat| {
        served.push(Served { place: beat.place, class: model.judge(&beat.input).class });
    };
    signal.iter().for_each(|sample| stream.push(*sample, &mut take));
    stream.interrupt(ECG_HZ, &mut take);
    served
}

fn in_flutter(recording: &Recording, place: u64) -> bool {
    recording.flutter.iter().any(|(from, to)| place + MATCH_SAMPLES >= *from && place <= to + MATCH_SAMPLES)
}

/// The annotated class of every served beat ([`NONE`] without one), and the classes that were missed.
fn truths(recording: &Recording, served: &[Served]) -> (Vec<usize>, Vec<usize>) {
    let reference: Vec<u64> = recording.beats.iter().map(|beat| beat.0).collect();
    let found: Vec<u64> = served.iter().map(|beat| beat.place).collect();
    let matches = match_beats(&reference, &found, MATCH_SAMPLES);
    let mut of_served = vec![NONE; served.len()];
    for (of_reference, of_found) in matches.pairs {
        of_served[of_found] = recording.beats[of_reference].1.unwrap_or(NONE);
    }
    let missed = matches.missed.into_iter().filter(|at| !in_flutter(recording, reference[*at]));
    (of_served, missed.filter_map(|at| recording.beats[at].1).collect())
}

fn count(recording: &Recording, served: &[Served]) -> Counts {
    let (truths, missed) = truths(recording, served);
    let mut counts = Counts::default();
    for (beat, truth) in served.iter().zip(truths).filter(|(beat, _)| !in_flutter(recording, beat.place)) {
        counts.add(truth, beat.class);
    }
    missed.into_iter().for_each(|class| counts.add(class, NONE));
    counts
}

/// False V beats, and runs of three V: true when every beat of the run is annotated V or F or lies in flutter.
#[expect(clippy::cast_precision_loss, reason = "sample counts are far below 2^53")]
fn watch(recording: &Recording, served: &[Served]) -> Alarms {
    let (truths, _) = truths(recording, served);
    let mut alarms = Alarms { seconds: recording.signal.len() as f64 / ECG_HZ, ..Alarms::default() };
    let (mut length, mut right) = (0, true);
    for (beat, truth) in served.iter().zip(truths) {
        let ventricular = matches!(truth, 2 | 3) || in_flutter(recording, beat.place);
        if beat.class != VENTRICULAR {
            (length, right) = (0, true);
            continue;
        }
        alarms.false_beats += u64::from(!ventricular);
        length += 1;
        right &= ventricular;
        if length == VENTRICULAR_RUN {
            *(if right { &mut alarms.true_runs } else { &mut alarms.false_runs }) += 1;
        }
    }
    alarms
}

#[expect(clippy::cast_precision_loss, reason = "beat counts are far below 2^53")]
fn alarm_table(alarms: &BTreeMap<u32, Alarms>) -> Section {
    let mut all = Alarms::default();
    let line = |name: String, of: &Alarms| {
        let per_day = |count: u64| format!("{:.1}", count as f64 * DAY_S / of.seconds.max(1.0));
        let (beats, runs) = (of.false_beats.to_string(), of.false_runs.to_string());
        vec![name, beats, per_day(of.false_beats), of.true_runs.to_string(), runs, per_day(of.false_runs)]
    };
    let mut rows = Vec::new();
    for (record, of) in alarms {
        rows.push(line(record.to_string(), of));
        all.seconds += of.seconds;
        all.false_beats += of.false_beats;
        all.false_runs += of.false_runs;
        all.true_runs += of.true_runs;
    }
    rows.push(line("all".to_owned(), &all));
    let header = ["record", "false V beats", "per patient-day", "true runs", "false runs", "per patient-day"];
    Section::Table {
        heading: "False alarms, as served".to_owned(),
        caption: "Beats taken for V that are neither V nor F nor in flutter, and runs of three V (what marks a patient as unwell); a run is \
                  true when its first three beats are all V, F or in flutter. Records last half an hour and were chosen for their \
                  arrhythmias, so days of usual patients are quieter."
            .to_owned(),
        header: header.map(str::to_owned).to_vec(),
        rows,
    }
}

fn finder_table(scores: &BTreeMap<u32, (FinderScore, FinderScore)>) -> Section {
    let line = |name: String, (scored, whole): &(FinderScore, FinderScore)| {
        let (mean_ms, deviation_ms) = scored.offset_ms();
        let percent = |share: f64| format!("{:.2}", share * 100.0);
        vec![
            name,
            (scored.found + scored.missed).to_string(),
            scored.missed.to_string(),
            scored.extra.to_string(),
            percent(scored.sensitivity()),
            percent(scored.predictivity()),
            format!("{mean_ms:.1} ± {deviation_ms:.1}"),
            percent(whole.sensitivity()),
            percent(whole.predictivity()),
        ]
    };
    let mut rows: Vec<Vec<String>> = scores.iter().map(|(record, score)| line(record.to_string(), score)).collect();
    let add =
        |sum: (FinderScore, FinderScore), score: &(FinderScore, FinderScore)| (sum.0.and(score.0), sum.1.and(score.1));
    let gross = |keep: &dyn Fn(&u32) -> bool| {
        scores.iter().filter(|(record, _)| keep(record)).map(|of| of.1).fold(Default::default(), add)
    };
    rows.push(line("all".to_owned(), &gross(&|_| true)));
    rows.push(line("DS1 (settings chosen here)".to_owned(), &gross(&|record| mitdb::DS1.contains(record))));
    rows.push(line("others".to_owned(), &gross(&|record| !mitdb::DS1.contains(record))));
    let header =
        ["record", "beats", "missed", "extra", "Se", "+P", "offset, ms", "Se, whole record", "+P, whole record"];
    Section::Table {
        heading: "Beat finder".to_owned(),
        caption: "Matched within 150 ms as ANSI/AAMI EC57 says, without the first five minutes (its learning period; the last two columns \
                  include them) and without ventricular flutter (record 207). Offset: found − annotated, mean ± standard deviation."
            .to_owned(),
        header: header.map(str::to_owned).to_vec(),
        rows,
    }
}
