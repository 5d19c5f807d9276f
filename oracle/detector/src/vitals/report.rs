//! What the report shows beside the usual figures: the curve over the hours, alarms over a stay, subgroups, calibration by hour, and what
//! NEWS2 lacked.
//!
//! Guarantees: intervals resample patients; model and NEWS2 are measured on the same stays and hours. Must not: fit anything.

use std::fmt::Write as _;

use super::HOURS;
use crate::data::physionet2012::{CareUnit, Stay};
use crate::measure::{Interval, Ranking, Reliability, bootstrap};
use crate::news2::{News2Score, Parameter};
use crate::report::{Axis, Plot, Section, Series};

/// Resamples for an interval.
const RESAMPLES: usize = 500;
/// Hours that tables show.
const SHOWN: [usize; 6] = [1, 6, 12, 24, 36, 48];
/// Days of a stay that are judged.
const STAY_DAYS: f64 = 2.0;
/// Fewest deaths and survivals for a subgroup's figures.
const SUBGROUP_MIN: usize = 10;

/// Whether a stay belongs to a subgroup.
type Member = Box<dyn Fn(&Stay) -> bool>;

/// What was judged: stays, and risks per stay and hour.
pub(crate) struct Judged<'a> {
    pub(crate) stays: &'a [Stay],
    pub(crate) risk: &'a [f32],
    pub(crate) hidden: &'a [f32],
    pub(crate) news2: &'a [Vec<News2Score>],
    pub(crate) point: f64,
    pub(crate) seed: u64,
}

/// All extra sections.
pub(crate) fn sections(judged: &Judged<'_>) -> Vec<Section> {
    let (curve, plot) = judged.curve();
    let mut sections = vec![judged.challenge(), plot, curve, judged.alarms(), judged.subgroups(), judged.lacking()];
    sections.insert(3, judged.calibration());
    sections
}

/// The best minimum of sensitivity and precision over all thresholds, and the score at which it is reached (the challenge's first score,
/// Silva et al. 2012). NaN without deaths.
pub(crate) fn balanced(scores: &[f32], died: &[bool], weights: &[u32]) -> (f64, f32) {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let deaths: u64 = (0..scores.len()).filter(|row| died[*row]).map(|row| u64::from(weights[row])).sum();
    if deaths == 0 {
        return (f64::NAN, 0.0);
    }
    let (mut hits, mut alarms, mut best) = (0_u64, 0_u64, (0.0, f32::INFINITY));
    for (place, row) in order.iter().enumerate() {
        alarms += u64::from(weights[*row]);
        hits += if died[*row] { u64::from(weights[*row]) } else { 0 };
        let ends = order.get(place + 1).is_none_or(|next| scores[*next] < scores[*row]);
        if ends && alarms > 0 {
            let value = share(hits, deaths).min(share(hits, alarms));
            if value > best.0 {
                best = (value, scores[*row]);
            }
        }
    }
    best
}

#[expect(clippy::cast_precision_loss, reason = "counts of patients")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

fn with_interval(interval: &Interval) -> String {
    format!("{:.3} ({:.3} to {:.3})", interval.value, interval.low, interval.high)
}

impl Judged<'_> {
    fn died(&self) -> Vec<bool> {
        self.stays.iter().map(|stay| stay.died).collect()
    }

    fn records(&self) -> Vec<u64> {
        self.stays.iter().map(|stay| stay.record).collect()
    }

    /// Risks of all stays after an hour, counted from 0.
    fn at(&self, risks: &[f32], hour: usize) -> Vec<f32> {
        risks.chunks_exact(HOURS).map(|hours| hours[hour]).collect()
    }

    fn news2_at(&self, hour: usize) -> Vec<f32> {
        self.news2.iter().map(|scores| f32::from(scores[hour].aggregate)).collect()
    }

    fn challenge(&self) -> Section {
        let (died, records) = (self.died(), self.records());
        let mut rows = Vec::new();
        let scores = [
            ("vital-signs", self.at(self.risk, HOURS - 1), true),
            ("vital-signs, nothing known of the patient", self.at(self.hidden, HOURS - 1), true),
            ("NEWS2", self.news2_at(HOURS - 1), false),
        ];
        for (name, score, is_probability) in scores {
            let ranking = Ranking::new(&score, &died);
            let reliability = Reliability::new(score.clone(), died.clone());
            let figures = bootstrap(&records, RESAMPLES, self.seed, |weights| {
                let areas = ranking.areas(weights);
                let mut figures = vec![areas.roc_auc, areas.average_precision, balanced(&score, &died, weights).0];
                if is_probability {
                    figures.extend([reliability.brier(weights), reliability.calibration_error(weights)]);
                }
                figures
            });
            let mut row = vec![name.to_owned()];
            row.extend(figures.iter().map(with_interval));
            row.resize(6, "no probability".to_owned());
            rows.push(row);
        }
        let header = ["", "AUROC", "AUPRC", "min(Se, P+)", "Brier score", "Calibration error"];
        Section::Table {
            heading: "After 48 hours".to_owned(),
            caption: format!(
                "{} stays, {} deaths. min(Se, P+), the challenge's first score, is here the best over all thresholds on these very stays, for the model and for NEWS2 alike; at the operating point \
                 chosen in training it is in the table of figures. 95 % intervals by {RESAMPLES} \
                 resamples of patients.",
                died.len(),
                died.iter().filter(|died| **died).count(),
            ),
            header: header.map(str::to_owned).to_vec(),
            rows,
        }
    }

    fn curve(&self) -> (Section, Section) {
        let (died, records) = (self.died(), self.records());
        let rankings = |scores: &dyn Fn(usize) -> Vec<f32>| -> Vec<Ranking> {
            (0..HOURS).map(|hour| Ranking::new(&scores(hour), &died)).collect()
        };
        let model = rankings(&|hour| self.at(self.risk, hour));
        let news2 = rankings(&|hour| self.news2_at(hour));
        let areas = bootstrap(&records, RESAMPLES, self.seed, |weights| {
            let both = || model.iter().chain(&news2).map(|ranking| ranking.areas(weights));
            both().map(|areas| areas.roc_auc).chain(both().map(|areas| areas.average_precision)).collect()
        });
        let hours = || (1..=HOURS).map(number);
        let series = |name: &str, intervals: &[Interval]| Series {
            name: name.to_owned(),
            points: hours().zip(intervals.iter().map(|interval| interval.value)).collect(),
            band: Some(intervals.iter().map(|interval| (interval.low, interval.high)).collect()),
            marks: false,
        };
        let plot = Section::Plot(Plot {
            heading: "Discrimination over the hours".to_owned(),
            caption: "Area under the ROC curve for death in hospital from what was measured up to each hour; bands are 95 % intervals.".to_owned(),
            file_stem: "auroc-by-hour".to_owned(),
            x: Axis::new("hours since admission"),
            y: Axis { label: "AUROC".to_owned(), range: Some((0.5, 0.95)) },
            series: vec![series("vital-signs", &areas[..HOURS]), series("NEWS2", &areas[HOURS..2 * HOURS])],
            diagonal: false,
        });
        let row = |hour: usize| {
            let places = [hour - 1, HOURS + hour - 1, 2 * HOURS + hour - 1, 3 * HOURS + hour - 1];
            std::iter::once(hour.to_string()).chain(places.map(|place| with_interval(&areas[place]))).collect()
        };
        let header = ["Hour", "AUROC", "AUROC, NEWS2", "AUPRC", "AUPRC, NEWS2"];
        let table = Section::Table {
            heading: "Hours 1 to 48".to_owned(),
            caption: "Only what was measured up to the hour is used.".to_owned(),
            header: header.map(str::to_owned).to_vec(),
            rows: SHOWN.into_iter().map(row).collect(),
        };
        (table, plot)
    }

    fn calibration(&self) -> Section {
        let (died, records) = (self.died(), self.records());
        let row = |hour: usize| {
            let risk = self.at(self.risk, hour - 1);
            let mean = risk.iter().map(|risk| f64::from(*risk)).sum::<f64>() / number(risk.len());
            let reliability = Reliability::new(risk, died.clone());
            let figures = bootstrap(&records, RESAMPLES, self.seed, |weights| {
                vec![reliability.calibration_error(weights), reliability.brier(weights)]
            });
            vec![hour.to_string(), format!("{mean:.3}"), with_interval(&figures[0]), with_interval(&figures[1])]
        };
        let observed = number(died.iter().filter(|died| **died).count()) / number(died.len());
        let header = ["Hour", "Mean risk", "Calibration error", "Brier score"];
        Section::Table {
            heading: "Calibration by hour".to_owned(),
            caption: format!("{:.1} % died. The calibration was fitted on training stays.", 100.0 * observed),
            header: header.map(str::to_owned).to_vec(),
            rows: SHOWN.into_iter().map(row).collect(),
        }
    }

    fn alarms(&self) -> Section {
        let news2: Vec<f32> = (0..self.stays.len() * HOURS)
            .map(|place| f32::from(self.news2[place / HOURS][place % HOURS].aggregate))
            .collect();
        #[expect(clippy::cast_possible_truncation, reason = "a probability")]
        let point = self.point as f32;
        let mut lines: Vec<(String, &[f32], f32)> = vec![("vital-signs, operating point".to_owned(), self.risk, point)];
        for wanted in [0.5, 0.8] {
            let name = |model: &str| format!("{model}, {:.0} % of deaths alarmed", 100.0 * wanted);
            lines.push((name("vital-signs"), self.risk, self.threshold_for(self.risk, wanted)));
            lines.push((name("NEWS2"), &news2, self.threshold_for(&news2, wanted)));
        }
        lines.push(("NEWS2, urgent response (5)".to_owned(), &news2, 5.0));
        lines.push(("NEWS2, emergency response (7)".to_owned(), &news2, 7.0));
        let rows = lines.into_iter().map(|(name, scores, threshold)| self.alarm_row(name, scores, threshold)).collect();
        let header =
            ["", "Threshold", "Deaths alarmed", "Survivors alarmed", "False alarms per patient-day", "Precision"];
        Section::Table {
            heading: "Alarms over a stay".to_owned(),
            caption: "An alarm is the hour in which the score comes to the threshold from below. Deaths and survivors alarmed: at least once in 48 hours. False \
                      alarms: alarms of survivors per day of a survivor. Precision: deaths among patients alarmed at least once."
                .to_owned(),
            header: header.map(str::to_owned).to_vec(),
            rows,
        }
    }

    /// The highest threshold at which this share of the deaths is alarmed at least once.
    fn threshold_for(&self, scores: &[f32], wanted: f64) -> f32 {
        let highest = scores.chunks_exact(HOURS).zip(self.stays).filter(|(_, stay)| stay.died);
        let mut highest: Vec<f32> =
            highest.map(|(hours, _)| hours.iter().copied().fold(f32::NEG_INFINITY, f32::max)).collect();
        highest.sort_by(|a, b| b.total_cmp(a));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
        let place = (wanted * number(highest.len())).ceil().max(1.0) as usize - 1;
        highest.get(place).copied().unwrap_or(f32::INFINITY)
    }

    fn alarm_row(&self, name: String, scores: &[f32], threshold: f32) -> Vec<String> {
        let onsets = |hours: &[f32]| {
            let above = |hour: usize| hours[hour] >= threshold;
            (0..HOURS).filter(|hour| above(*hour) && (*hour == 0 || !above(hour - 1))).count() as u64
        };
        let (mut alarmed, mut patients, mut false_alarms) = ([0_u64; 2], [0_u64; 2], 0_u64);
        for (hours, stay) in scores.chunks_exact(HOURS).zip(self.stays) {
            let (side, count) = (usize::from(stay.died), onsets(hours));
            patients[side] += 1;
            alarmed[side] += u64::from(count > 0);
            false_alarms += if stay.died { 0 } else { count };
        }
        let days = share(patients[0], 1) * STAY_DAYS;
        vec![
            name,
            format!("{threshold:.3}"),
            format!("{:.3}", share(alarmed[1], patients[1])),
            format!("{:.3}", share(alarmed[0], patients[0])),
            format!("{:.3}", share(false_alarms, 1) / days),
            format!("{:.3}", share(alarmed[1], alarmed[0] + alarmed[1])),
        ]
    }

    fn subgroups(&self) -> Section {
        let age = |from: f32, to: f32| {
            move |stay: &Stay| stay.demographics.age_years.is_some_and(|age| age >= from && age < to)
        };
        let unit = |unit: CareUnit| move |stay: &Stay| stay.unit == Some(unit);
        let sex = |male: bool| move |stay: &Stay| stay.demographics.male == Some(male);
        let groups: [(&str, Member); 10] = [
            ("age under 50", Box::new(age(0.0, 50.0))),
            ("age 50 to 64", Box::new(age(50.0, 65.0))),
            ("age 65 to 79", Box::new(age(65.0, 80.0))),
            ("age 80 and over", Box::new(age(80.0, f32::INFINITY))),
            ("women", Box::new(sex(false))),
            ("men", Box::new(sex(true))),
            ("coronary care", Box::new(unit(CareUnit::Coronary))),
            ("cardiac surgery recovery", Box::new(unit(CareUnit::CardiacSurgery))),
            ("medical intensive care", Box::new(unit(CareUnit::Medical))),
            ("surgical intensive care", Box::new(unit(CareUnit::Surgical))),
        ];
        let rows = groups.iter().map(|(name, member)| self.subgroup_row(name, member.as_ref())).collect();
        let header = ["", "Stays", "Deaths", "AUROC", "AUROC, NEWS2", "Mean risk", "Died", "Calibration error"];
        Section::Table {
            heading: "Subgroups after 48 hours".to_owned(),
            caption: format!("95 % intervals by {RESAMPLES} resamples of patients. The kind of unit is not an input."),
            header: header.map(str::to_owned).to_vec(),
            rows,
        }
    }

    fn subgroup_row(&self, name: &str, member: &dyn Fn(&Stay) -> bool) -> Vec<String> {
        let places: Vec<usize> = (0..self.stays.len()).filter(|place| member(&self.stays[*place])).collect();
        let died: Vec<bool> = places.iter().map(|place| self.stays[*place].died).collect();
        let deaths = died.iter().filter(|died| **died).count();
        let mut row = vec![name.to_owned(), places.len().to_string(), deaths.to_string()];
        if deaths < SUBGROUP_MIN || places.len() - deaths < SUBGROUP_MIN {
            row.resize(8, "too few".to_owned());
            return row;
        }
        let (risk, news2) = (self.at(self.risk, HOURS - 1), self.news2_at(HOURS - 1));
        let pick = |scores: &[f32]| places.iter().map(|place| scores[*place]).collect::<Vec<f32>>();
        let (risk, news2) = (pick(&risk), pick(&news2));
        let records: Vec<u64> = places.iter().map(|place| self.stays[*place].record).collect();
        let rankings = [Ranking::new(&risk, &died), Ranking::new(&news2, &died)];
        let mean = risk.iter().map(|risk| f64::from(*risk)).sum::<f64>() / number(risk.len());
        let reliability = Reliability::new(risk, died);
        let figures = bootstrap(&records, RESAMPLES, self.seed, |weights| {
            let areas = rankings.iter().map(|ranking| ranking.areas(weights).roc_auc);
            areas.chain([reliability.calibration_error(weights)]).collect()
        });
        row.extend(figures[..2].iter().map(with_interval));
        row.extend([format!("{mean:.3}"), format!("{:.3}", number(deaths) / number(places.len()))]);
        row.push(with_interval(&figures[2]));
        row
    }

    fn lacking(&self) -> Section {
        let hours = share((self.news2.len() * HOURS) as u64, 1);
        let mut body = "NEWS2 is scored from values of the last four hours. Share of patient-hours in which a parameter was missing and scored nothing:\n\n".to_owned();
        for parameter in Parameter::ALL {
            let lacks = |score: &&News2Score| score.missing.contains(&parameter);
            let count = self.news2.iter().flatten().filter(lacks).count();
            let _ = writeln!(body, "- {parameter}: {:.1} %", 100.0 * share(count as u64, 1) / hours);
        }
        body.push_str(
            "\nAir or oxygen is missing until an inhaled share or a ventilator is charted; consciousness is a Glasgow coma score of 15 or not; saturation is that of \
             blood gases. So these NEWS2 figures are a lower bound of what a complete NEWS2 does, which was also made for wards and not for intensive care.",
        );
        Section::Text { heading: "What NEWS2 lacked".to_owned(), body }
    }
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
const fn number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::balanced;

    #[test]
    fn the_balanced_score_is_the_best_minimum_of_sensitivity_and_precision() {
        let (scores, died) = ([0.9, 0.8, 0.7, 0.2], [true, false, true, false]);
        let (value, threshold) = balanced(&scores, &died, &[1; 4]);
        assert!((value - 2.0 / 3.0).abs() < 1e-12 && (threshold - 0.7).abs() < 1e-6);
        assert!(balanced(&scores, &[false; 4], &[1; 4]).0.is_nan());
    }
}
