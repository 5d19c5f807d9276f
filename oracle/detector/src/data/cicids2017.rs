//! CICIDS-2017 as relabelled by Engelen, Liu and others: a sample of flows per class, benign and fifteen attacks.
//!
//! Sources: Sharafaldin, Lashkari, Ghorbani, ICISSP 2018; Engelen, Rimmer, Joosen, IEEE SPW 2021; Liu, Engelen, Lynar, Essam, Joosen, IEEE
//! CNS 2022. Flows were drawn at random per class, so neither the order of the rows nor the shares of the classes mean anything. Groups
//! are rows with identical features, the destination port among them whether or not a model sees it.
//!
//! Never loaded: `id`, `Flow ID`, addresses, `Src Port`, `Timestamp`, `Attempted Category`, and two constant columns.
//!
//! As flows: CICFlowMeter counts payload as Zeek does and packets each way; a flow of a single packet has no duration; flows longer than
//! 120 s are cut there, which Zeek would not do. The state follows Zeek's rules (`base/protocols/conn/main.zeek`) as far as counts of flags
//! tell: see `state` below. The service is what usually listens at the destination port, and only where payload went both ways, for a sensor
//! that recognises a protocol needs to see it; it can be left out. The sample has no start, no order and no devices, so history is missing.

use std::path::Path;

use super::table::{Column, Table, TableError};
use super::traffic_set::{Columns, Order, TrafficSet, classes, count, file_in};
use crate::traffic::{ConnectionState, Flow, Protocol, Service};

/// The usual file of the set.
pub const FILE: &str = "cicids2017_improved_dev.csv.gz";
/// The classes, benign first.
pub const CLASSES: [&str; 16] = [
    "BENIGN",
    "DoS Hulk",
    "Portscan",
    "DDoS",
    "Infiltration - Portscan",
    "DoS GoldenEye",
    "FTP-Patator",
    "DoS Slowloris",
    "SSH-Patator",
    "DoS Slowhttptest",
    "Botnet",
    "Web Attack - Brute Force",
    "Infiltration",
    "Web Attack - XSS",
    "Web Attack - SQL Injection",
    "Heartbleed",
];
const PORT_SCAN: usize = 2;
const INFILTRATION_PORT_SCAN: usize = 4;

const PORT: &str = "Dst Port";
const PROTOCOL: &str = "Protocol";
const NUMBERS: [&str; 79] = [
    "Flow Duration",
    "Total Fwd Packet",
    "Total Bwd packets",
    "Total Length of Fwd Packet",
    "Total Length of Bwd Packet",
    "Fwd Packet Length Max",
    "Fwd Packet Length Min",
    "Fwd Packet Length Mean",
    "Fwd Packet Length Std",
    "Bwd Packet Length Max",
    "Bwd Packet Length Min",
    "Bwd Packet Length Mean",
    "Bwd Packet Length Std",
    "Flow Bytes/s",
    "Flow Packets/s",
    "Flow IAT Mean",
    "Flow IAT Std",
    "Flow IAT Max",
    "Flow IAT Min",
    "Fwd IAT Total",
    "Fwd IAT Mean",
    "Fwd IAT Std",
    "Fwd IAT Max",
    "Fwd IAT Min",
    "Bwd IAT Total",
    "Bwd IAT Mean",
    "Bwd IAT Std",
    "Bwd IAT Max",
    "Bwd IAT Min",
    "Fwd PSH Flags",
    "Bwd PSH Flags",
    "Fwd URG Flags",
    "Fwd RST Flags",
    "Bwd RST Flags",
    "Fwd Header Length",
    "Bwd Header Length",
    "Fwd Packets/s",
    "Bwd Packets/s",
    "Packet Length Min",
    "Packet Length Max",
    "Packet Length Mean",
    "Packet Length Std",
    "Packet Length Variance",
    "FIN Flag Count",
    "SYN Flag Count",
    "RST Flag Count",
    "PSH Flag Count",
    "ACK Flag Count",
    "URG Flag Count",
    "CWR Flag Count",
    "ECE Flag Count",
    "Down/Up Ratio",
    "Average Packet Size",
    "Fwd Segment Size Avg",
    "Bwd Segment Size Avg",
    "Fwd Bytes/Bulk Avg",
    "Fwd Packet/Bulk Avg",
    "Fwd Bulk Rate Avg",
    "Bwd Bytes/Bulk Avg",
    "Bwd Packet/Bulk Avg",
    "Bwd Bulk Rate Avg",
    "Subflow Fwd Packets",
    "Subflow Fwd Bytes",
    "Subflow Bwd Bytes",
    "FWD Init Win Bytes",
    "Bwd Init Win Bytes",
    "Fwd Act Data Pkts",
    "Fwd Seg Size Min",
    "Active Mean",
    "Active Std",
    "Active Max",
    "Active Min",
    "Idle Mean",
    "Idle Std",
    "Idle Max",
    "Idle Min",
    "ICMP Code",
    "ICMP Type",
    "Total TCP Flow Time",
];
const LABEL: &str = "Label";

/// Which columns a model may see, and which classes it tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The destination port as a feature; a strong shortcut in this testbed.
    pub destination_port: bool,
    /// One class for the two port scans, which these features cannot tell apart.
    pub merge_port_scans: bool,
    /// Services of flows from the destination port.
    pub service_from_port: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { destination_port: true, merge_port_scans: false, service_from_port: true }
    }
}

/// The columns that a file must have; others are not looked at.
pub fn columns() -> impl Iterator<Item = &'static str> {
    NUMBERS.iter().chain(&[PORT, PROTOCOL, LABEL]).copied()
}

/// Reads the set from its folder or from a file with the same columns.
///
/// # Errors
/// [`TableError`].
pub fn load(path: &Path, options: Options) -> Result<TrafficSet, TableError> {
    let all = NUMBERS.iter().chain(&[PORT, PROTOCOL]).map(|name| Column::number(name));
    let declared: Vec<Column> = all.chain([Column::text(LABEL).apart()]).collect();
    let table = Table::read(&file_in(path, FILE), &declared)?;
    let mut columns = Columns::of(&table);
    let protocols: Vec<Protocol> = table.number(PROTOCOL)?.iter().map(|number| protocol(*number)).collect();
    columns.codes(PROTOCOL, Protocol::COUNT, protocols.iter().map(|protocol| usize::from(protocol.code())));
    if options.destination_port {
        columns.number(PORT, |value| value)?;
    }
    for name in NUMBERS {
        columns.number(name, |value| value)?;
    }
    let (features, columns) = columns.finish();
    let mut truth = classes(&table, LABEL, &CLASSES)?;
    let mut names = CLASSES.to_vec();
    if options.merge_port_scans {
        names.remove(INFILTRATION_PORT_SCAN);
        for class in &mut truth {
            *class = match *class {
                INFILTRATION_PORT_SCAN => PORT_SCAN,
                class if class > INFILTRATION_PORT_SCAN => class - 1,
                class => class,
            };
        }
    }
    Ok(TrafficSet {
        features,
        columns,
        flows: flows(&table, &protocols, options)?,
        order: Order::None,
        classes: names.into_iter().map(str::to_owned).collect(),
        truth,
        benign: 0,
        groups: table.identities().to_vec(),
        attack: Some(table.text(LABEL)?.clone()),
        source: table.source().clone(),
    })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be a number of 8 bits")]
fn protocol(number: f64) -> Protocol {
    if (0.0..=255.0).contains(&number) { Protocol::from_ip_number(number as u8) } else { Protocol::Other }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be a number of 16 bits")]
fn service(port: f64) -> Service {
    if (0.0..=65_535.0).contains(&port) { Service::from_port(port as u16) } else { Service::Unknown }
}

fn flows(table: &Table, protocols: &[Protocol], options: Options) -> Result<Vec<Flow>, TableError> {
    let column = |name| table.number(name);
    let (duration_us, port) = (column("Flow Duration")?, column(PORT)?);
    let (sent, received) = (column("Total Length of Fwd Packet")?, column("Total Length of Bwd Packet")?);
    let (packets_sent, packets_received) = (column("Total Fwd Packet")?, column("Total Bwd packets")?);
    let (syn, fin) = (column("SYN Flag Count")?, column("FIN Flag Count")?);
    let (reset_sent, reset_received) = (column("Fwd RST Flags")?, column("Bwd RST Flags")?);
    let flow = |row: usize| {
        let talked = sent[row] > 0.0 && received[row] > 0.0;
        let known = options.service_from_port && talked;
        let flags = Flags {
            syn: syn[row],
            fin: fin[row],
            reset_sent: reset_sent[row],
            reset_received: reset_received[row],
            packets_received: packets_received[row],
        };
        Flow {
            started_at_ms: 0,
            duration_ms: (packets_sent[row] + packets_received[row] > 1.0).then_some(duration_us[row] / 1_000.0),
            protocol: protocols[row],
            service: if known { service(port[row]) } else { Service::Unknown },
            state: state(protocols[row], &flags),
            bytes_sent: count(sent[row]),
            bytes_received: count(received[row]),
            packets_sent: count(packets_sent[row]),
            packets_received: count(packets_received[row]),
        }
    };
    Ok((0..table.rows()).map(flow).collect())
}

/// How often a flag was seen in a flow.
struct Flags {
    syn: f64,
    fin: f64,
    reset_sent: f64,
    reset_received: f64,
    packets_received: f64,
}

/// Zeek's state from counts of flags.
///
/// UDP: answered is SF, unanswered S0. Other protocols: OTH, as Zeek does. TCP without SYN: OTH. No answer: RSTOS0, SH or S0 by what the
/// originator sent. Answered by resets alone: REJ. One SYN with an answer that holds no SYN-ACK: as no answer. Otherwise established:
/// RSTR or RSTO by who sent a reset (the responder's counts first, as in Zeek); two FINs SF; no FIN S1. A single FIN is S2 or S3, and the
/// counts do not tell which: unknown.
fn state(protocol: Protocol, flags: &Flags) -> ConnectionState {
    let answered = flags.packets_received > 0.0;
    match protocol {
        Protocol::Udp if answered => return ConnectionState::SF,
        Protocol::Udp => return ConnectionState::S0,
        Protocol::Icmp | Protocol::Other => return ConnectionState::Oth,
        Protocol::Tcp => {}
    }
    if flags.syn == 0.0 {
        ConnectionState::Oth
    } else if answered && flags.reset_received >= flags.packets_received {
        ConnectionState::Rej
    } else if !answered || flags.syn == 1.0 {
        match (flags.reset_sent > 0.0, flags.fin > 0.0) {
            (true, _) => ConnectionState::Rstos0,
            (false, true) => ConnectionState::Sh,
            (false, false) => ConnectionState::S0,
        }
    } else if flags.reset_received > 0.0 {
        ConnectionState::Rstr
    } else if flags.reset_sent > 0.0 {
        ConnectionState::Rsto
    } else if flags.fin >= 2.0 {
        ConnectionState::SF
    } else if flags.fin > 0.0 {
        ConnectionState::Unknown
    } else {
        ConnectionState::S1
    }
}
