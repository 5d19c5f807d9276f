//! What a watcher says of connections: alarms and the summary.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::Path;

use pulsegate_rules::DeviceId;
use serde::Serialize;

use super::{CommandError, Console};
use crate::seam::{Arrival, TrafficDetector};
use crate::traffic::zeek::{Connection, ZeekError};
use crate::verdict::{Assessment, InputsDigest, NotAssessed, TrafficClass};

/// Most devices whose alarms are counted apart.
const DEVICES_MAX: usize = 65_536;
/// Devices that the summary lists.
const LISTED_MAX: usize = 10;

/// An alarm.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Watched {
    /// When the connection ended, Unix milliseconds.
    pub(crate) at_ms: u64,
    /// The originator.
    pub(crate) device: IpAddr,
    /// What the model calls it.
    pub(crate) label: String,
    /// Calibrated probability.
    pub(crate) confidence: Option<f64>,
    /// Name of the model.
    pub(crate) model: String,
    /// SHA-256 of the model's file.
    pub(crate) model_id: String,
    /// Digest of what was judged.
    pub(crate) inputs: String,
    /// Zeek's name of the connection.
    pub(crate) uid: String,
}

impl std::fmt::Display for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let confidence = self.confidence.map_or_else(|| "–".to_owned(), |confidence| format!("{confidence:.3}"));
        let (at, device) = (utc(self.at_ms), self.device.to_string());
        write!(f, "{at}  {device:<15}  {:<24}  {confidence:<5}  {:<20}  {}", self.label, self.model, self.uid)
    }
}

impl Watched {
    /// Headings over the lines of alarms.
    pub(crate) fn headings() -> String {
        let [at, device, label, confidence] = ["ended at (UTC)", "device", "what", "p"];
        format!("{at:<20}  {device:<15}  {label:<24}  {confidence:<5}  {:<20}  connection", "model")
    }
}

/// Detectors with their names.
pub(crate) type Detectors = Vec<(String, Box<dyn TrafficDetector>)>;

/// Judges connections and counts.
pub(crate) struct Watcher {
    detectors: Detectors,
    connections: u64,
    alarms: Vec<u64>,
    not_assessed: Vec<BTreeMap<&'static str, u64>>,
    /// Connections and alarms per device.
    devices: HashMap<IpAddr, (u64, u64)>,
    bad_lines: u64,
    first_bad_line: Option<ZeekError>,
}

#[derive(Serialize)]
struct Summary<'a> {
    connections: u64,
    devices: usize,
    bad_lines: u64,
    first_bad_line: Option<String>,
    models: Vec<ModelSummary<'a>>,
    most_alarms: Vec<DeviceSummary>,
}

#[derive(Serialize)]
struct ModelSummary<'a> {
    model: &'a str,
    model_id: String,
    alarms: u64,
    not_assessed: &'a BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
struct DeviceSummary {
    device: IpAddr,
    connections: u64,
    alarms: u64,
}

impl Watcher {
    /// Has seen nothing.
    pub(crate) fn new(detectors: Detectors) -> Self {
        Self {
            connections: 0,
            alarms: vec![0; detectors.len()],
            not_assessed: vec![BTreeMap::new(); detectors.len()],
            devices: HashMap::new(),
            bad_lines: 0,
            first_bad_line: None,
            detectors,
        }
    }

    /// Counts a line that could not be used.
    pub(crate) fn bad_line(&mut self, error: ZeekError) {
        self.bad_lines += 1;
        self.first_bad_line.get_or_insert(error);
    }

    /// Judges a connection by every model; `tell` gets the alarms.
    pub(crate) fn judge(&mut self, connection: &Connection, mut tell: impl FnMut(&Watched)) {
        self.connections += 1;
        let arrival = arrival(connection);
        let mut alarms = 0;
        for (place, (name, detector)) in self.detectors.iter_mut().enumerate() {
            let reason = match detector.screen(&arrival) {
                Ok(Assessment::Assessed(finding)) if finding.class == TrafficClass::Compromised => {
                    self.alarms[place] += 1;
                    alarms += 1;
                    tell(&Watched {
                        at_ms: arrival.received_at_ms,
                        device: connection.device,
                        label: finding.label.unwrap_or_else(|| "compromised".to_owned()),
                        confidence: finding.confidence,
                        model: name.clone(),
                        model_id: finding.model.to_string(),
                        inputs: finding.inputs.to_string(),
                        uid: connection.uid.clone(),
                    });
                    continue;
                }
                Ok(Assessment::Assessed(_)) => continue,
                Ok(Assessment::NotAssessed(reason)) => reason,
                Err(_) => NotAssessed::Failed,
            };
            *self.not_assessed[place].entry(in_words(reason)).or_default() += 1;
        }
        let has_room = self.devices.len() < DEVICES_MAX || self.devices.contains_key(&connection.device);
        if has_room {
            let (connections, counted) = self.devices.entry(connection.device).or_default();
            *connections += 1;
            *counted += alarms;
        }
    }

    /// The summary. A log of which no line could be used is an error.
    pub(crate) fn end(mut self, path: &Path, console: &mut Console<'_>) -> Result<(), CommandError> {
        if self.connections == 0 {
            let path = path.to_owned();
            return Err(match self.first_bad_line.take() {
                Some(source) => CommandError::Zeek { path, source },
                None => CommandError::NoConnections { path },
            });
        }
        let summary = self.summary();
        if console.json {
            console.json_line(&summary);
            return Ok(());
        }
        let alarms: u64 = summary.models.iter().map(|model| model.alarms).sum();
        console
            .say(format_args!("{} connections of {} devices, {alarms} alarms", summary.connections, summary.devices));
        for model in &summary.models {
            let not_assessed: Vec<String> =
                model.not_assessed.iter().map(|(reason, count)| format!("{count} not assessed ({reason})")).collect();
            let rest = if not_assessed.is_empty() { String::new() } else { format!(", {}", not_assessed.join(", ")) };
            console.say(format_args!("  {:<20} {} alarms{rest}", model.model, model.alarms));
        }
        for device in summary.most_alarms.iter().filter(|device| device.alarms > 0) {
            console.say(format_args!(
                "  {:<20} {} alarms in {} connections",
                device.device, device.alarms, device.connections
            ));
        }
        if let Some(first) = &summary.first_bad_line {
            console.say(format_args!("  {} lines were left out; the first: {first}", summary.bad_lines));
        }
        Ok(())
    }

    fn summary(&self) -> Summary<'_> {
        let models = self.detectors.iter().enumerate().map(|(place, (name, detector))| ModelSummary {
            model: name,
            model_id: detector.model().to_string(),
            alarms: self.alarms[place],
            not_assessed: &self.not_assessed[place],
        });
        let device = |(device, (connections, alarms)): (&IpAddr, &(u64, u64))| DeviceSummary {
            device: *device,
            connections: *connections,
            alarms: *alarms,
        };
        let mut most_alarms: Vec<DeviceSummary> = self.devices.iter().map(device).collect();
        most_alarms.sort_by_key(|device| (std::cmp::Reverse(device.alarms), device.device));
        most_alarms.truncate(LISTED_MAX);
        Summary {
            connections: self.connections,
            devices: self.devices.len(),
            bad_lines: self.bad_lines,
            first_bad_line: self.first_bad_line.as_ref().map(ToString::to_string),
            models: models.collect(),
            most_alarms,
        }
    }
}

/// The connection as a detector takes it: it arrives when it ends.
pub(super) fn arrival(connection: &Connection) -> Arrival {
    let flow = connection.flow;
    let duration_ms = flow.duration_ms.unwrap_or(0.0).max(0.0) as u64;
    let ended_at_ms = flow.started_at_ms.saturating_add(duration_ms);
    let address = connection.device.to_string();
    Arrival {
        device: DeviceId(InputsDigest::of(&[b"pulsegate/zeek-originator/v1", address.as_bytes()]).0),
        received_at_ms: ended_at_ms,
        measured_at_ms: ended_at_ms,
        bytes: usize::try_from(flow.bytes_sent.unwrap_or(0)).unwrap_or(usize::MAX),
        flow: Some(flow),
    }
}

const fn in_words(reason: NotAssessed) -> &'static str {
    match reason {
        NotAssessed::Learning => "too little seen of the device",
        NotAssessed::Late => "late",
        NotAssessed::NotApplicable => "not the model's kind of input",
        NotAssessed::NoFlow => "no new flow",
        NotAssessed::NoRoom => "no room for another device",
        _ => "the model failed",
    }
}

/// Unix milliseconds as `2026-11-21T14:19:40Z`, by the civil calendar of Hinnant's "chrono-compatible low-level date algorithms".
fn utc(at_ms: u64) -> String {
    let seconds = at_ms / 1_000;
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3_600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use pulsegate_rules::ModelId;

    use super::*;
    use crate::DetectorError;
    use crate::progress::Silent;
    use crate::traffic::zeek::Lines;
    use crate::verdict::TrafficFinding;

    /// Alarms when a device sends more than a thousand bytes, fails at exactly 666.
    struct Threshold;

    impl TrafficDetector for Threshold {
        fn model(&self) -> ModelId {
            ModelId([7; 32])
        }

        fn screen(&mut self, arrival: &Arrival) -> Result<Assessment<TrafficFinding>, DetectorError> {
            let class = match arrival.bytes {
                666 => return Err(DetectorError::Failed { reason: "as told" }),
                0 => return Ok(Assessment::NotAssessed(NotAssessed::Learning)),
                1..=1_000 => TrafficClass::Normal,
                _ => TrafficClass::Compromised,
            };
            Ok(Assessment::Assessed(TrafficFinding {
                model: self.model(),
                class,
                confidence: Some(0.875),
                label: Some("flood".to_owned()),
                inputs: InputsDigest([1; 32]),
                missing: Vec::new(),
                rate: None,
            }))
        }
    }

    fn connection(device: &str, bytes: u64) -> Connection {
        let line = format!(
            r#"{{"ts":1763734780.5,"uid":"C1","id.orig_h":"{device}","id.orig_p":1,"id.resp_h":"10.0.0.1","id.resp_p":2,"proto":"tcp","duration":1.5,"orig_bytes":{bytes},"resp_bytes":0,"conn_state":"SF","orig_pkts":3,"resp_pkts":2}}"#
        );
        Lines::new().parse(line.as_bytes()).unwrap().unwrap()
    }

    fn watched(json: bool) -> (String, Result<(), CommandError>) {
        let mut watcher = Watcher::new(vec![("threshold".to_owned(), Box::new(Threshold))]);
        let mut out = Vec::new();
        let mut console = Console { out: &mut out, json, progress: &Silent, lines: 0, closed: false };
        for (device, bytes) in [("10.0.0.7", 5_000), ("10.0.0.8", 10), ("10.0.0.8", 666), ("10.0.0.9", 0)] {
            watcher.judge(
                &connection(device, bytes),
                |alarm| if json { console.json_line(alarm) } else { console.say(alarm) },
            );
        }
        watcher.bad_line(ZeekError::NoHeader { line: 5 });
        let outcome = watcher.end(Path::new("conn.log"), &mut console);
        (String::from_utf8(out).unwrap(), outcome)
    }

    #[test]
    fn an_alarm_is_one_line_and_the_summary_counts_everything() {
        let (out, outcome) = watched(false);
        outcome.unwrap();
        let lines: Vec<&str> = out.lines().collect();
        assert!(lines[0].starts_with("2025-11-21T14:19:42Z  10.0.0.7 ") && lines[0].contains("flood"), "{out}");
        assert!(lines[0].contains("0.875") && lines[0].ends_with("C1"), "{out}");
        assert_eq!(lines[1], "4 connections of 3 devices, 1 alarms");
        assert!(
            out.contains("1 not assessed (the model failed)") && out.contains("1 not assessed (too little"),
            "{out}"
        );
        assert!(out.contains("10.0.0.7") && out.contains("1 lines were left out; the first: line 5"), "{out}");
    }

    #[test]
    fn with_json_every_line_is_an_object() {
        let (out, _) = watched(true);
        let lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(
            (lines[0]["device"].as_str(), lines[0]["at_ms"].as_u64()),
            (Some("10.0.0.7"), Some(1_763_734_782_000))
        );
        assert_eq!((lines[1]["connections"].as_u64(), lines[1]["models"][0]["alarms"].as_u64()), (Some(4), Some(1)));
    }

    #[test]
    fn a_log_without_a_usable_line_is_an_error() {
        let mut out = Vec::new();
        let mut console = Console { out: &mut out, json: false, progress: &Silent, lines: 0, closed: false };
        let error = Watcher::new(Vec::new()).end(Path::new("conn.log"), &mut console).unwrap_err();
        assert_eq!(error.code(), "DETECTOR_NO_CONNECTIONS");
        let mut watcher = Watcher::new(Vec::new());
        watcher.bad_line(ZeekError::NoHeader { line: 1 });
        watcher.bad_line(ZeekError::NotUtf8 { line: 2 });
        let error = watcher.end(Path::new("conn.log"), &mut console).unwrap_err();
        assert_eq!(error.code(), "ZEEK_HEADER_MISSING");
        assert!(error.to_string().contains("conn.log") && out.is_empty());
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_399_000), "2000-02-28T23:59:59Z");
        assert_eq!(utc(951_782_400_000), "2000-02-29T00:00:00Z");
        assert_eq!(utc(4_102_444_800_000), "2100-01-01T00:00:00Z");
    }
}
