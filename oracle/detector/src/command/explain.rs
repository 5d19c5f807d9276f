//! `explain`: why a model judged a connection of a Zeek `conn.log`, a beat of a record, or a stay at an hour, as it did.
//!
//! A connection is judged after all that come before it in the log, as `watch` does; without `--uid` it is the one that most looks like an
//! attack. Guarantees: a bad line costs that line only; what is printed is what [`crate::explain`] says, strongest inputs first. Must not:
//! print who a device talked to; the connection's `uid` finds that in the sensor's own logs.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use pulsegate_rules::DeviceId;
use pulsegate_rules::registry::DetectorKind;
use serde::Serialize;

use super::choice::read_named;
use super::explain_beat::{self, OfBeat};
use super::watched::arrival;
use super::{CommandError, Console};
use crate::data::physionet2012::{Cohort, Stay, Wanted};
use crate::explain::{Contribution, ExplainError, Explanation, Measure, STRONGEST, Told, explain_stay};
use crate::model_file::ModelFile;
use crate::seam::TrafficDetector;
use crate::traffic::Flow;
use crate::traffic::detector::{DeepTraffic, TRAFFIC_DEVICES_MAX};
use crate::traffic::zeek::{ConnLog, Connection};
use crate::unsupervised::{UNSUPERVISED_DEVICES_MAX, UnsupervisedTraffic};
use crate::verdict::{Assessment, TrafficClass, TrafficFinding};
use crate::vitals::HOURS;

/// Arguments of `explain`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Name of a model, or a model file.
    #[arg(long, value_name = "NAME|FILE")]
    pub model: String,
    /// For a traffic model: Zeek's conn.log, tab-separated or JSON.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data", "record"], required_unless_present_any = ["data", "record"])]
    pub zeek: Option<PathBuf>,
    /// Which connection of the log [default: the one that most looks like an attack].
    #[arg(long, value_name = "UID", requires = "zeek")]
    pub uid: Option<String>,
    /// For vital-signs: folder of the data set.
    #[arg(long, value_name = "FOLDER", requires = "patient", requires = "hour")]
    pub data: Option<PathBuf>,
    /// Which patient of the set, by RecordID.
    #[arg(long, value_name = "RECORD", requires = "data")]
    pub patient: Option<u64>,
    /// At the end of which hour of the stay, 1 to 48.
    #[arg(long, value_name = "H", requires = "data")]
    pub hour: Option<usize>,
    /// For ecg-beats: header file (.hea) of a WFDB record with a lead MLII.
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    pub record: Option<PathBuf>,
    /// The beat nearest to this second of the record [default: the one that is least likely normal].
    #[arg(long, value_name = "S", requires = "record")]
    pub second: Option<f64>,
    /// How many inputs, the strongest first.
    #[arg(long, value_name = "N", default_value_t = STRONGEST)]
    pub top: usize,
}

/// What was explained.
#[derive(Serialize)]
struct Explained {
    model: String,
    /// The connection's uid, the beat's time in its record, or the patient and the hour.
    of: String,
    /// What was judged, in words.
    verdict: String,
    /// Calibrated probability of the verdict.
    confidence: Option<f64>,
    /// What of it was missing.
    missing: Vec<String>,
    explanation: Explanation,
}

/// Explains.
pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> Result<(), CommandError> {
    let file = read_named(&args.model)?;
    let unusable = |source| CommandError::ModelFile { path: PathBuf::from(&args.model), source };
    let mut explained = match file.metadata.kind {
        DetectorKind::Traffic => {
            let new = || DeepTraffic::new(&file, TRAFFIC_DEVICES_MAX).map_err(unusable);
            let (connection, finding, explanation) =
                in_log(args, &file, new, |detector, device, flow| detector.explain(device, flow))?;
            of_flow(&file, connection, finding, explanation)
        }
        DetectorKind::TrafficUnsupervised => {
            let new = || Ok(UnsupervisedTraffic::new(&file, UNSUPERVISED_DEVICES_MAX)?);
            let (connection, finding, explanation) =
                in_log(args, &file, new, |detector, device, flow| detector.explain(device, flow))?;
            of_flow(&file, connection, finding, explanation)
        }
        DetectorKind::VitalSigns => of_stay(args, &file)?,
        DetectorKind::EcgBeats => of_beat(args, &file)?,
        DetectorKind::RequestRate => return Err(ExplainError::Model { model: file.metadata.name.clone() }.into()),
    };
    explained.explanation.inputs.truncate(args.top);
    print(&explained, console);
    console.result(&explained);
    Ok(())
}

/// Judges the log up to the connection that was asked for, or twice when the most suspicious one has to be found first.
fn in_log<D: TrafficDetector>(
    args: &Args,
    file: &ModelFile,
    new: impl Fn() -> Result<D, CommandError>,
    explain: impl Fn(&mut D, &DeviceId, &Flow) -> Option<Explanation>,
) -> Result<(Connection, TrafficFinding, Explanation), CommandError> {
    let path = args.zeek.as_deref().ok_or_else(|| {
        let judges = "the connections of a log";
        ExplainError::Wants { model: file.metadata.name.clone(), judges, option: "--zeek FILE" }
    })?;
    let (mut at, mut highest) = (None, f64::NEG_INFINITY);
    let mut detector = new()?;
    for_each(path, |place, connection| {
        let finding = judged(&mut detector, &connection);
        let attack = finding.map_or(f64::NEG_INFINITY, |finding| attack_probability(&finding));
        let wanted = match &args.uid {
            Some(uid) => connection.uid == *uid && attack > f64::NEG_INFINITY,
            None => attack > highest,
        };
        if wanted {
            (at, highest) = (Some(place), attack);
        }
        args.uid.is_none() || !wanted
    })?;
    let mut found = None;
    let mut detector = new()?;
    for_each(path, |place, connection| {
        let is_it = Some(place) == at;
        let explanation = is_it.then(|| explain(&mut detector, &arrival(&connection).device, &connection.flow));
        let finding = judged(&mut detector, &connection);
        if let (Some(Some(explanation)), Some(finding)) = (explanation, finding) {
            found = Some((connection, finding, explanation));
        }
        at.is_some() && !is_it
    })?;
    let path = path.to_owned();
    let none = match &args.uid {
        Some(uid) => ExplainError::UnknownFlow { path, uid: uid.clone() },
        None => ExplainError::NoFlow { path },
    };
    found.ok_or_else(|| none.into())
}

/// Every usable connection of a log with its place, until `go_on` says no. A log of which no line could be used is an error.
fn for_each(path: &Path, mut go_on: impl FnMut(usize, Connection) -> bool) -> Result<(), CommandError> {
    let file = File::open(path).map_err(CommandError::file(path))?;
    let (mut places, mut first_error) = (0..usize::MAX, None);
    let mut any = false;
    for connection in ConnLog::new(BufReader::new(file)) {
        match (connection, places.next()) {
            (Ok(connection), Some(place)) => {
                any = true;
                if !go_on(place, connection) {
                    return Ok(());
                }
            }
            (Err(error), _) => first_error = first_error.or(Some(error)),
            (Ok(_), None) => break,
        }
    }
    let path = path.to_owned();
    match first_error {
        _ if any => Ok(()),
        Some(source) => Err(CommandError::Zeek { path, source }),
        None => Err(CommandError::NoConnections { path }),
    }
}

fn judged(detector: &mut impl TrafficDetector, connection: &Connection) -> Option<TrafficFinding> {
    match detector.screen(&arrival(connection)) {
        Ok(Assessment::Assessed(finding)) => Some(finding),
        Ok(Assessment::NotAssessed(_)) | Err(_) => None,
    }
}

fn attack_probability(finding: &TrafficFinding) -> f64 {
    let confidence = finding.confidence.unwrap_or(0.0);
    if finding.class == TrafficClass::Compromised { confidence } else { 1.0 - confidence }
}

fn of_flow(file: &ModelFile, connection: Connection, finding: TrafficFinding, explanation: Explanation) -> Explained {
    let class = match finding.class {
        TrafficClass::Compromised => "compromised",
        TrafficClass::Normal => "normal",
    };
    let label = finding.label.map(|label| format!(" ({label})")).unwrap_or_default();
    Explained {
        model: file.metadata.name.clone(),
        of: connection.uid,
        verdict: format!("{class}{label}"),
        confidence: finding.confidence,
        missing: finding.missing.into_iter().map(String::from).collect(),
        explanation,
    }
}

fn of_stay(args: &Args, file: &ModelFile) -> Result<Explained, CommandError> {
    let (Some(data), Some(record), Some(hour)) = (&args.data, args.patient, args.hour) else {
        let (judges, option) = ("the hours of a stay", "--data FOLDER --patient RECORD --hour H");
        return Err(ExplainError::Wants { model: file.metadata.name.clone(), judges, option }.into());
    };
    if !(1..=HOURS).contains(&hour) {
        return Err(ExplainError::Hour { hour }.into());
    }
    let stay = stay_of(data, record)?;
    let explanation = explain_stay(file, &stay.hours[..hour], &stay.demographics)?;
    let risk = 1.0 / (1.0 + (-explanation.score).exp());
    let missing = explanation.inputs.iter().filter(|input| input.value.is_none());
    Ok(Explained {
        model: file.metadata.name.clone(),
        of: format!("patient {record}, hour {hour}"),
        verdict: "risk of death in hospital".to_owned(),
        confidence: Some(risk),
        missing: missing.map(|input| input.input.clone()).collect(),
        explanation,
    })
}

fn of_beat(args: &Args, file: &ModelFile) -> Result<Explained, CommandError> {
    let Some(header) = &args.record else {
        let (judges, option) = ("the beats of a record", "--record FILE");
        return Err(ExplainError::Wants { model: file.metadata.name.clone(), judges, option }.into());
    };
    let OfBeat { at_s, probability, explanation } = explain_beat::of_record(file, header, args.second)?;
    let record = header.file_stem().unwrap_or_default().display();
    Ok(Explained {
        model: file.metadata.name.clone(),
        of: format!("record {record}, {at_s:.2} s"),
        verdict: format!("beat of class {}", explanation.class),
        confidence: Some(probability),
        missing: Vec::new(),
        explanation,
    })
}

/// The stay, from whichever set of the folder holds it.
fn stay_of(data: &Path, record: u64) -> Result<Stay, CommandError> {
    for wanted in [Wanted::Testing, Wanted::Training] {
        let cohort = Cohort::read(data, wanted)?;
        if let Some(stay) = cohort.stays.into_iter().find(|stay| stay.record == record) {
            return Ok(stay);
        }
    }
    Err(ExplainError::UnknownPatient { path: data.to_owned(), record }.into())
}

fn print(explained: &Explained, console: &mut Console<'_>) {
    let explanation = &explained.explanation;
    let confidence = explained.confidence.map(|confidence| format!(", {confidence:.4}")).unwrap_or_default();
    console.say(format_args!("{}: {}{confidence} ({})", explained.of, explained.verdict, explained.model));
    let heading = explanation.measure.heading();
    let why = match explanation.measure {
        Measure::LogOdds => {
            format!(
                "why {:?}: what its log-odds lose when an input is hidden, which does not add up",
                explanation.class
            )
        }
        Measure::ShareOfDistance => "what sets it apart from the nearest kind of benign flow".to_owned(),
    };
    console.say(why);
    console.say(format_args!("  {:<28} {:>14} {:>14}  {heading}", "input", "value", "typical"));
    for Contribution { input, value, typical, contribution } in &explanation.inputs {
        let told = |value: &Option<_>| value.map_or_else(|| "–".to_owned(), |told: Told| told.to_string());
        console.say(format_args!("  {input:<28} {:>14} {:>14}  {contribution:+.3}", told(value), told(typical)));
    }
    if !explained.missing.is_empty() {
        console.say(format_args!("  missing: {}", explained.missing.join(", ")));
    }
}
