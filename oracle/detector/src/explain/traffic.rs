//! Why the deployed traffic model judged a flow as it did.
//!
//! Every column is hidden in the flow and in the device's flows before it alike, as the model reads them as one window; what the flows before
//! add as a whole is shown by judging as if the device were new ([`FLOWS_BEFORE`]). Hidden means missing where missing occurred in training. A
//! quantity that was always known becomes the typical one, a category that was always known one that the model never saw. Guarantees:
//! log-odds are those of the flow as [`DeepTraffic::screen`](crate::TrafficDetector::screen) would judge it next; the device's state stays as
//! it is. Must not: be called per flow on the live path, it judges the window some twenty times.

use pulsegate_rules::DeviceId;

use super::{Contribution, Explanation, Group, Measure, Told, occlude};
use crate::traffic::Flow;
use crate::traffic::detector::DeepTraffic;
use crate::traffic::encoding::Column;
use crate::traffic::model::TrafficModel;

/// Name of the group of the device's flows before the one that is explained; its value is how many of them the model read.
const FLOWS_BEFORE: &str = "flows_before";

/// Names of the codes of a protocol, in order, as [`crate::traffic::Protocol`] is written.
const PROTOCOLS: [&str; 4] = ["tcp", "udp", "icmp", "other"];
/// Names of the codes of a service, in order, as [`crate::traffic::Service`] is written.
const SERVICES: [&str; 27] = [
    "unknown",
    "other",
    "http",
    "tls",
    "dns",
    "ssh",
    "ftp",
    "ftp-data",
    "smtp",
    "pop3",
    "imap",
    "dhcp",
    "ntp",
    "snmp",
    "radius",
    "irc",
    "smb",
    "rdp",
    "kerberos",
    "ldap",
    "mqtt",
    "industrial",
    "sip",
    "database",
    "telnet",
    "syslog",
    "clinical",
];
/// Names of the codes of a state, in order, as [`crate::traffic::ConnectionState`] is written.
const STATES: [&str; 14] =
    ["unknown", "S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR", "OTH"];

/// A value of a column of the serving schema; none for a missing one.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a code, and looked up with a bound")]
pub(crate) fn told(column: &str, value: f32) -> Option<Told> {
    let names: &[&str] = match column {
        "protocol" => &PROTOCOLS,
        "service" => &SERVICES,
        "state" => &STATES,
        _ => &[],
    };
    let name = names.get(value as usize).copied();
    (!value.is_nan()).then(|| name.map_or(Told::Number(value), Told::Name))
}

impl DeepTraffic {
    /// Why the flow, were it the device's next, would be judged as it would; none when [`Flow::check`] refuses it.
    #[must_use]
    pub fn explain(&self, device: &DeviceId, flow: &Flow) -> Option<Explanation> {
        flow.check().ok()?;
        let (model, rows) = (self.traffic_model(), self.window_with(device, flow));
        let decided = {
            let mut outputs = logits(model, &rows);
            model.settings.judgement.calibrate(&mut outputs);
            model.settings.judgement.decide(&outputs)
        };
        let groups = groups(model, &rows);
        let occluded = occlude(&rows, &groups, |rows| log_odds(model, &logits(model, rows), decided));
        let columns = &model.settings.columns;
        let newest = &rows[rows.len() - columns.len()..];
        let contribution = |(group, contribution): (usize, f32)| {
            let input = groups[group].name.clone();
            let (value, typical) = match columns.get(group) {
                Some(column) => {
                    let typical = model.inference.encoding().typical(group).unwrap_or(f32::NAN);
                    (told(&column.name, newest[group]), told(&column.name, typical))
                }
                None => (Some(Told::Number(count(rows.len() / columns.len() - 1))), None),
            };
            Contribution { input, value, typical, contribution }
        };
        Some(Explanation {
            model: self.id(),
            class: model.classes[decided].clone(),
            measure: Measure::LogOdds,
            score: f64::from(occluded.score),
            inputs: occluded.contributions.into_iter().map(contribution).collect(),
        })
    }
}

/// A group per column over the whole window, and then the flows before the last.
fn groups(model: &TrafficModel, rows: &[f32]) -> Vec<Group> {
    let (columns, encoding) = (&model.settings.columns, model.inference.encoding());
    let flows = rows.len() / columns.len();
    let mut groups: Vec<Group> = Vec::with_capacity(columns.len() + 1);
    for (at, column) in columns.iter().enumerate() {
        let hidden = match column.holds {
            Column::Number if !encoding.knows_missing(at) => encoding.typical(at).unwrap_or(f32::NAN),
            _ => f32::NAN,
        };
        // What is missing already stays as it is.
        let places = (0..flows).map(|flow| flow * columns.len() + at).filter(|place| !rows[*place].is_nan());
        groups.push(Group { name: column.name.clone(), hidden: places.map(|place| (place, hidden)).collect() });
    }
    let newest = &rows[(flows - 1) * columns.len()..];
    let before = (0..(flows - 1) * columns.len()).map(|place| (place, newest[place % columns.len()]));
    groups.push(Group { name: FLOWS_BEFORE.to_owned(), hidden: before.collect() });
    groups
}

/// Logits of the last of some flows of one device, oldest first.
fn logits(model: &TrafficModel, rows: &[f32]) -> Vec<f32> {
    let mut memory = [model.inference.memory()];
    let mut scratch = model.inference.scratch(1);
    let mut out = vec![0.0; model.classes.len()];
    for row in rows.chunks_exact(model.settings.columns.len()) {
        model.inference.judge(row, &mut memory, &[0], &mut scratch, &mut out);
    }
    out
}

/// Calibrated log-odds of a class against all others, in double precision.
#[expect(clippy::cast_possible_truncation, reason = "log-odds need no more than 24 bits")]
fn log_odds(model: &TrafficModel, logits: &[f32], class: usize) -> f32 {
    let scaled = |at: usize| f64::from(logits[at]) / f64::from(model.settings.judgement.temperature);
    let others = || (0..logits.len()).filter(|at| *at != class).map(scaled);
    let highest = others().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = others().map(|other| (other - highest).exp()).sum();
    (scaled(class) - highest - sum.ln()) as f32
}

#[expect(clippy::cast_precision_loss, reason = "a window is short")]
const fn count(flows: usize) -> f32 {
    flows as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::{ConnectionState, Protocol, Service};

    #[test]
    fn every_code_has_the_name_that_it_is_written_with() {
        let place = |names: &[&str], name: &str| names.iter().position(|known| *known == name);
        for name in PROTOCOLS {
            let protocol: Protocol = serde_json::from_value(name.into()).unwrap();
            assert_eq!(place(&PROTOCOLS, name), Some(usize::from(protocol.code())));
        }
        for name in SERVICES {
            let service: Service = serde_json::from_value(name.into()).unwrap();
            assert_eq!(place(&SERVICES, name), Some(usize::from(service.code())));
        }
        for name in STATES {
            let state: ConnectionState = serde_json::from_value(name.into()).unwrap();
            assert_eq!(place(&STATES, name), Some(usize::from(state.code())));
        }
        let counts = (PROTOCOLS.len(), SERVICES.len(), STATES.len());
        assert_eq!(counts, (Protocol::COUNT, Service::COUNT, ConnectionState::COUNT));
        assert_eq!(told("state", 1.0), Some(Told::Name("S0")));
        assert_eq!((told("sent_bytes", 1.0), told("state", f32::NAN)), (Some(Told::Number(1.0)), None));
    }
}
