//! The tables that go beside the figures: per set and schema, what each part adds, from set to set, and whether the promised rate is kept.
//!
//! Guarantees: every figure is of tested rows only, with intervals that resample whole groups. Must not: change what is served.

use std::path::Path;

use pulsegate_rules::DeviceId;

use super::detector::UnsupervisedTraffic;
use super::ensemble::Teaching;
use super::model::{Judgement, Mix};
use super::rows::{Labelled, SETS, Schema, folders, load};
use super::train::{MIXES, judge, judge_parts, model, teach};
use crate::catalogue::TrainError;
use crate::data::wustl_ehms;
use crate::measure::{Interval, Ranking, bootstrap};
use crate::progress::Progress;
use crate::report::Section;
use crate::seam::{Arrival, TrafficDetector};
use crate::traffic::serving::History;
use crate::verdict::{Assessment, TrafficClass};

/// Resamples of the tables here.
const RESAMPLES: usize = 200;
/// Share of attacks that have to be found where alarms are counted.
const DETECTION: f64 = 0.9;
/// Alarms are counted per so many benign flows.
const PER_FLOWS: f64 = 10_000.0;
/// Promised shares of false alarms that are checked.
const PROMISES: [f64; 3] = [0.05, 0.01, 0.001];
/// Kinds with fewer tested rows are left out of the table of kinds.
const KIND_ROWS_MIN: usize = 20;

/// One minute, milliseconds.
const MINUTE_MS: u64 = 60_000;

/// What is different, how it is taught, and the mixes that are judged.
type Variant<'a> = (&'a str, Teaching, Vec<(&'a str, Mix)>);
type Judged = Vec<(usize, Judgement)>;

/// All tables of a cross-validation. `sets` are the sets one by one, `all` what was judged, both in the serving schema.
pub(super) fn sections(
    data: &Path,
    sets: &[Labelled],
    all: &Labelled,
    judged: &Judged,
    teaching: &Teaching,
    progress: &dyn Progress,
) -> Result<Vec<Section>, TrainError> {
    let mut sections = vec![Section::Text {
        heading: "How to read the alarms".to_owned(),
        body: format!(
            "No set tells the time, so alarms are counted per {PER_FLOWS:.0} benign flows. A device with a flow a minute makes 1,440 flows \
             a day: its alarms per day are 0.144 times the figure."
        ),
    }];
    sections.push(per_set(data, sets, all, judged, teaching, progress)?);
    sections.extend(sections_of_rows(all, judged, teaching.seed));
    sections.push(ablation(sets, teaching, progress)?);
    if sets.len() > 1 {
        sections.push(transfer(sets, teaching, progress)?);
        sections.extend(in_order(data, sets, teaching)?);
    }
    Ok(sections)
}

/// The tables that need no training.
pub(super) fn sections_of_rows(all: &Labelled, judged: &Judged, seed: u64) -> Vec<Section> {
    vec![promises(all, judged, seed), kinds(all, judged)]
}

fn cell(interval: Interval, digits: usize) -> String {
    if interval.value.is_nan() {
        return "–".to_owned();
    }
    format!("{:.digits$} ({:.digits$} to {:.digits$})", interval.value, interval.low, interval.high)
}

/// ROC-AUC, average precision, alarms per 10,000 benign flows where 90 % of attacks are found; then, at the alarm threshold, alarms per
/// 10,000 benign flows and the share of attacks found.
fn figures(all: &Labelled, judged: &Judged, seed: u64) -> Vec<Interval> {
    #[expect(clippy::cast_possible_truncation, reason = "a rank needs no more digits")]
    let scores: Vec<f32> = judged.iter().map(|(_, judgement)| -judgement.log_share as f32).collect();
    let attack: Vec<bool> = judged.iter().map(|(row, _)| all.attack[*row]).collect();
    let groups: Vec<u64> = judged.iter().map(|(row, _)| all.groups[*row]).collect();
    let ranking = Ranking::new(&scores, &attack);
    let alarm_share = |weights: &[u32], of: bool| {
        let (mut alarms, mut count) = (0_u64, 0_u64);
        for ((weight, (_, judgement)), _) in
            weights.iter().zip(judged).zip(&attack).filter(|(_, attack)| **attack == of)
        {
            alarms += u64::from(*weight) * u64::from(judgement.is_alarm());
            count += u64::from(*weight);
        }
        ratio(alarms, count)
    };
    bootstrap(&groups, RESAMPLES, seed, |weights| {
        let areas = ranking.areas(weights);
        let alarms = PER_FLOWS * ranking.false_alarms_at(DETECTION, weights);
        let false_alarms = PER_FLOWS * alarm_share(weights, false);
        vec![areas.roc_auc, areas.average_precision, alarms, false_alarms, alarm_share(weights, true)]
    })
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

fn line(name: &str, figures: &[Interval]) -> Vec<String> {
    let digits = [4, 4, 0, 1, 3];
    let cells = figures.iter().zip(digits).map(|(figure, digits)| cell(*figure, digits));
    std::iter::once(name.to_owned()).chain(cells).collect()
}

fn header(first: &str) -> Vec<String> {
    let names = [
        first,
        "ROC-AUC",
        "PR-AUC",
        "alarms per 10,000 benign flows at 90 % detection",
        "at the served threshold: alarms per 10,000 benign flows",
        "at the served threshold: share of attacks found",
    ];
    names.map(str::to_owned).to_vec()
}

fn per_set(
    data: &Path,
    sets: &[Labelled],
    all: &Labelled,
    judged: &Judged,
    teaching: &Teaching,
    progress: &dyn Progress,
) -> Result<Section, TrainError> {
    let served = [("", Mix::SERVED)];
    let mut rows = Vec::new();
    progress.start("sets", sets.len() as u64 * 10);
    for (set, (_, folder)) in sets.iter().zip(folders(data)) {
        let own = load(&set.name, &folder, Schema::Own, teaching.seed)?;
        for (schema, set) in [("its own columns", &own), ("serving schema", set)] {
            let judged = judge_parts(set, teaching, &served, progress)?.remove(0);
            rows.push(line(
                &format!("{}, {schema}, taught on this set", set.name),
                &figures(set, &judged, teaching.seed),
            ));
        }
        if sets.len() > 1 {
            let prefix = format!("{}: ", set.name);
            let of_set = |(row, _): &&(usize, Judgement)| all.kinds[all.kind[*row]].starts_with(&prefix);
            let judged: Judged = judged.iter().filter(of_set).copied().collect();
            let name = format!("{}, serving schema, taught on all sets (served)", set.name);
            rows.push(line(&name, &figures(all, &judged, teaching.seed)));
        }
    }
    progress.finish();
    Ok(Section::Table {
        heading: "Per set".to_owned(),
        caption: "Five grouped folds; nsl_kdd taught on its own is tested on its official test part, and by folds of its training part \
                  where all sets taught. 95 % intervals over whole groups."
            .to_owned(),
        header: header("set, columns, taught on"),
        rows,
    })
}

fn promises(all: &Labelled, judged: &Judged, seed: u64) -> Section {
    let benign: Judged = judged.iter().filter(|(row, _)| !all.attack[*row]).copied().collect();
    let groups: Vec<u64> = benign.iter().map(|(row, _)| all.groups[*row]).collect();
    let measured = bootstrap(&groups, RESAMPLES, seed, |weights| {
        let share = |promise: f64| {
            let hits = weights.iter().zip(&benign).filter(|(_, (_, judgement))| judgement.log_share <= promise.ln());
            let hits: u64 = hits.map(|(weight, _)| u64::from(*weight)).sum();
            ratio(hits, weights.iter().map(|weight| u64::from(*weight)).sum())
        };
        PROMISES.map(share).to_vec()
    });
    let rows =
        PROMISES.iter().zip(measured).map(|(promise, share)| vec![promise.to_string(), cell(share, 5)]).collect();
    Section::Table {
        heading: "Is the promised rate of false alarms kept?".to_owned(),
        caption: "Share of tested benign flows that are called as rare as this or rarer; the promise comes from held-out benign rows of the \
                  training part."
            .to_owned(),
        header: vec!["promised".to_owned(), "measured".to_owned()],
        rows,
    }
}

fn kinds(all: &Labelled, judged: &Judged) -> Section {
    let shares = [0.01_f64, super::ALARM_SHARE];
    let mut counts = vec![[0_u64; 3]; all.kinds.len()];
    for (row, judgement) in judged {
        let count = &mut counts[all.kind[*row]];
        count[0] += 1;
        for (hits, share) in count[1..].iter_mut().zip(shares) {
            *hits += u64::from(judgement.log_share <= share.ln());
        }
    }
    let known = all.kinds.iter().zip(&counts).filter(|(_, count)| count[0] >= KIND_ROWS_MIN as u64);
    let percent = |hits: u64, of: u64| format!("{:.1}", 100.0 * ratio(hits, of));
    let rows = known.map(|(kind, [count, wide, served])| {
        vec![kind.clone(), count.to_string(), percent(*wide, *count), percent(*served, *count)]
    });
    Section::Table {
        heading: "Which kinds show".to_owned(),
        caption: format!(
            "Share of the flows of a kind that raise an alarm; kinds with at least {KIND_ROWS_MIN} tested flows."
        ),
        header: ["kind", "flows", "found at 1 in 100 benign, %", "found at the served 1 in 1,000, %"]
            .map(str::to_owned)
            .to_vec(),
        rows: rows.collect(),
    }
}

/// What each part adds, in the serving schema, taught and tested per set.
fn ablation(sets: &[Labelled], teaching: &Teaching, progress: &dyn Progress) -> Result<Section, TrainError> {
    let served = MIXES[..1].to_vec();
    let variants: [Variant<'_>; 6] = [
        ("", *teaching, MIXES.to_vec()),
        ("clusters of at most 10", Teaching { cluster_max: 10, ..*teaching }, vec![("", Mix::KITNET), served[0]]),
        ("64 prototypes", Teaching { prototypes: 64, ..*teaching }, served.clone()),
        ("512 prototypes", Teaching { prototypes: 512, ..*teaching }, served.clone()),
        ("one pass", Teaching { passes: 1, ..*teaching }, served.clone()),
        (
            "smallest and largest value instead of quantiles",
            Teaching { extremes: true, ..*teaching },
            vec![("", Mix::KITNET), served[0]],
        ),
    ];
    let mut rows: Vec<Vec<String>> = Vec::new();
    progress.start("ablation", (variants.len() * sets.len()) as u64);
    for (what, teaching, mixes) in &variants {
        let names = mixes.iter().map(|(name, mix)| match (what.is_empty(), *mix == Mix::KITNET) {
            (true, _) => (*name).to_owned(),
            (false, true) => format!("Output layer alone, {what}"),
            (false, false) => format!("Served, but {what}"),
        });
        let mut lines: Vec<Vec<String>> = names.map(|name| vec![name]).collect();
        for set in sets {
            let (training, tested) = set.splits().into_iter().next().expect("every set tests something");
            let taught = teach(set, &training, teaching)?;
            for (line, (_, mix)) in lines.iter_mut().zip(mixes) {
                line.push(area(set, &judge(&model(&taught, *mix)?, set, &tested).collect()));
            }
            progress.step(what);
        }
        rows.extend(lines);
    }
    progress.finish();
    let header = std::iter::once("variant".to_owned()).chain(sets.iter().map(|set| set.name.clone())).collect();
    Ok(Section::Table {
        heading: "What each part adds".to_owned(),
        caption:
            "ROC-AUC / alarms per 10,000 benign flows at 90 % detection; serving schema, taught and tested per set."
                .to_owned(),
        header,
        rows,
    })
}

fn area(all: &Labelled, judged: &Judged) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "a rank needs no more digits")]
    let scores: Vec<f32> = judged.iter().map(|(_, judgement)| -judgement.log_share as f32).collect();
    let attack: Vec<bool> = judged.iter().map(|(row, _)| all.attack[*row]).collect();
    let ranking = Ranking::new(&scores, &attack);
    let alarms = PER_FLOWS * ranking.false_alarms_at(DETECTION, &vec![1; judged.len()]);
    format!("{:.4} / {alarms:.0}", ranking.plain_areas().roc_auc)
}

/// Taught on the benign rows of one set, tested on every row of another.
fn transfer(sets: &[Labelled], teaching: &Teaching, progress: &dyn Progress) -> Result<Section, TrainError> {
    let mut rows = Vec::new();
    progress.start("from set to set", sets.len() as u64);
    for from in sets {
        let training: Vec<usize> =
            (0..from.len()).filter(|row| from.part[*row] != crate::measure::Part::Test).collect();
        let model = model(&teach(from, &training, teaching)?, Mix::SERVED)?;
        let mut line = vec![from.name.clone()];
        for to in sets {
            let tested: Vec<usize> = (0..to.len()).collect();
            let same = from.name == to.name;
            line.push(if same { "–".to_owned() } else { area(to, &judge(&model, to, &tested).collect()) });
        }
        rows.push(line);
        progress.step(&from.name);
    }
    progress.finish();
    let header = std::iter::once("taught on".to_owned())
        .chain(sets.iter().map(|set| format!("tested on {}", set.name)))
        .collect();
    Ok(Section::Table {
        heading: "From set to set".to_owned(),
        caption: "ROC-AUC / alarms per 10,000 benign flows at 90 % detection; serving schema. A norm is of its place."
            .to_owned(),
        header,
        rows,
    })
}

/// The only set whose rows are one device's flows in order, through the whole detector, by a model that was taught elsewhere.
fn in_order(data: &Path, sets: &[Labelled], teaching: &Teaching) -> Result<Option<Section>, TrainError> {
    let found = folders(data).into_iter().find(|(name, _)| *name == SETS[0]);
    let Some((name, folder)) = found else { return Ok(None) };
    let others: Vec<Labelled> = sets.iter().filter(|set| set.name != name).cloned().collect();
    let all = Labelled::pooled(&others, teaching.seed)?;
    let rows: Vec<usize> = (0..all.len()).collect();
    let file = model(&teach(&all, &rows, teaching)?, Mix::SERVED)?.to_file(Vec::new(), teaching.seed);
    let (taught, mut served) = (super::model::Model::from_file(&file)?, UnsupervisedTraffic::new(&file, 1)?);
    let set = wustl_ehms::load(&folder, wustl_ehms::Options::default())?;
    let (mut work, blank) = (taught.work(), History::new());
    // Alarms of the model alone and of the detector, and rows not judged because the device was new; benign first, then attacks.
    let mut counts = [[0_u64; 4]; 2];
    for (at, (flow, class)) in set.flows.iter().zip(&set.truth).enumerate() {
        let at_ms = MINUTE_MS * (1 + at as u64);
        let arrival = Arrival {
            device: DeviceId([0; 32]),
            received_at_ms: at_ms,
            measured_at_ms: at_ms,
            bytes: 0,
            flow: Some(*flow),
        };
        let [rows, alone, with_own, new] = &mut counts[usize::from(*class != set.benign)];
        *rows += 1;
        *alone += u64::from(taught.judge(&blank.features(flow), &mut work).is_some_and(Judgement::is_alarm));
        match served.screen(&arrival) {
            Ok(Assessment::Assessed(finding)) => *with_own += u64::from(finding.class == TrafficClass::Compromised),
            _ => *new += 1,
        }
    }
    let [benign, attacks] = counts;
    let line = |name: &str, at: usize| {
        vec![
            name.to_owned(),
            format!("{:.0}", PER_FLOWS * ratio(benign[at], benign[0])),
            format!("{:.3}", ratio(attacks[at], attacks[0])),
        ]
    };
    Ok(Some(Section::Table {
        heading: format!("A device in a new place: {name}, in order of capture"),
        caption: format!(
            "Taught on the other sets; the device's own kinds are learnt from its first flows, here as if one came a minute. Of {} benign \
             and {} attack flows {} and {} were not judged while the device was new. One capture: no interval.",
            benign[0], attacks[0], benign[3], attacks[3]
        ),
        header: ["judged by", "alarms per 10,000 benign flows", "share of attacks found"].map(str::to_owned).to_vec(),
        rows: vec![line("the weights alone", 1), line("the detector, with the device's own norm", 2)],
    }))
}
