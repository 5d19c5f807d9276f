//! WUSTL-EHMS-2020: flows of one bedside monitor with the patient's vital signs, and a man in the middle who spoofs or alters them.
//!
//! Source: Hady, Ghubaish, Salman, Unal, Jain, "Intrusion Detection System for Healthcare Systems Using Medical and Network Data", IEEE
//! Access 8 (2020) 106576, doi:10.1109/ACCESS.2020.3000421. The rows are one capture in time order. Groups are the `episode`s (a run of
//! normal flows and the burst of attack after it), which are derived from the labels and so only ever split rows.
//!
//! Never loaded: addresses and hardware addresses (the attacker has its own: the label itself), `Sport` and `Packet_num` (time order),
//! constant columns. A zero among the vital signs is a reading that failed and becomes missing.
//!
//! As flows: Argus counts frames with their headers. Packets each way follow exactly from Argus's own definition of load, `8 · bytes ·
//! (n − 1) / n / duration`; payload is what remains after the least frame per packet (66 bytes for the one that opens, 60 for the others),
//! which is right to within 6 bytes. State, service and start are not in the table. The protocol is not either; frames, handshake and
//! retransmissions are those of TCP.

use std::path::Path;

use super::table::{Column, Table, TableError};
use super::traffic_set::{Columns, Order, TrafficSet, classes, count, file_in};
use crate::traffic::{ConnectionState, Flow, Protocol, Service};

/// The usual file of the set.
pub const FILE: &str = "wustl_ehms_2020_dev.csv.gz";
/// The classes, benign first.
pub const CLASSES: [&str; 3] = ["normal", "Spoofing", "Data Alteration"];

/// Argus's flags as they occur: encapsulation seen, several paths at the link layer, retransmissions by source, destination, both, resets.
const FLAGS: [&str; 7] = ["e", "M", "eR", "e s", "M *", "M d", "MR"];
const FLOW_COLUMNS: [&str; 21] = [
    "SrcBytes",
    "DstBytes",
    "SrcLoad",
    "DstLoad",
    "SIntPkt",
    "DIntPkt",
    "SIntPktAct",
    "SrcJitter",
    "DstJitter",
    "sMaxPktSz",
    "dMaxPktSz",
    "sMinPktSz",
    "Dur",
    "TotPkts",
    "TotBytes",
    "Load",
    "Loss",
    "pLoss",
    "pSrcLoss",
    "pDstLoss",
    "Rate",
];
/// Vital signs where zero means that the reading failed.
const VITAL_SIGNS: [&str; 6] = ["SpO2", "Pulse_Rate", "SYS", "DIA", "Heart_rate", "Resp_Rate"];
/// Vital signs that may be zero or close to it.
const SIGNED_VITAL_SIGNS: [&str; 2] = ["Temp", "ST"];
const LABEL: &str = "Attack Category";
/// Least frame of the packet that opens a direction, and of the others, bytes.
const FRAME_BYTES: [f64; 2] = [66.0, 60.0];

/// Which columns a model may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The eight vital signs too.
    pub biometrics: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { biometrics: true }
    }
}

/// The columns that a file must have; others are not looked at.
pub fn columns() -> impl Iterator<Item = &'static str> {
    ["Flgs", "episode", LABEL].into_iter().chain(FLOW_COLUMNS).chain(SIGNED_VITAL_SIGNS).chain(VITAL_SIGNS)
}

/// Reads the set from its folder or from a file with the same columns.
///
/// # Errors
/// [`TableError`].
pub fn load(path: &Path, options: Options) -> Result<TrafficSet, TableError> {
    let vital_signs = VITAL_SIGNS.iter().chain(&SIGNED_VITAL_SIGNS).filter(|_| options.biometrics);
    let numbers = FLOW_COLUMNS.iter().chain(vital_signs).map(|name| Column::number(name));
    let apart = [Column::text("Flgs"), Column::number("episode").apart(), Column::text(LABEL).apart()];
    let declared: Vec<Column> = numbers.chain(apart).collect();
    let table = Table::read(&file_in(path, FILE), &declared)?;
    let mut columns = Columns::of(&table);
    columns.category("Flgs", &FLAGS)?;
    for name in FLOW_COLUMNS {
        columns.number(name, |value| value)?;
    }
    if options.biometrics {
        for name in SIGNED_VITAL_SIGNS {
            columns.number(name, |value| value)?;
        }
        for name in VITAL_SIGNS {
            columns.number(name, |value| if value == 0.0 { f64::NAN } else { value })?;
        }
    }
    let (features, columns) = columns.finish();
    Ok(TrafficSet {
        features,
        columns,
        flows: flows(&table)?,
        order: Order::Capture,
        classes: CLASSES.map(str::to_owned).to_vec(),
        truth: classes(&table, LABEL, &CLASSES)?,
        benign: 0,
        groups: table.number("episode")?.iter().map(|episode| episode.to_bits()).collect(),
        attack: None,
        source: table.source().clone(),
    })
}

fn flows(table: &Table) -> Result<Vec<Flow>, TableError> {
    let duration_s = table.number("Dur")?;
    let sides = |bytes: &'static str, load: &'static str| -> Result<Vec<Side>, TableError> {
        let rows = table.number(bytes)?.iter().zip(table.number(load)?).zip(duration_s);
        Ok(rows.map(|((bytes, load), duration_s)| side(*bytes, *load, *duration_s)).collect())
    };
    let (sent, received) = (sides("SrcBytes", "SrcLoad")?, sides("DstBytes", "DstLoad")?);
    let flow = |((duration_s, sent), received): ((&f64, &Side), &Side)| Flow {
        started_at_ms: 0,
        duration_ms: Some(duration_s * 1_000.0),
        protocol: Protocol::Tcp,
        service: Service::Unknown,
        state: ConnectionState::Unknown,
        bytes_sent: sent.payload_bytes,
        bytes_received: received.payload_bytes,
        packets_sent: sent.packets,
        packets_received: received.packets,
    };
    Ok(duration_s.iter().zip(&sent).zip(&received).map(flow).collect())
}

struct Side {
    payload_bytes: Option<u64>,
    packets: Option<u64>,
}

/// Solves `load = 8 · bytes · (n − 1) / n / duration` for n. A load of zero is one packet, or none when there are no bytes either.
fn side(bytes: f64, load_bits_s: f64, duration_s: f64) -> Side {
    if bytes <= 0.0 {
        return Side { payload_bytes: Some(0), packets: Some(0) };
    }
    let rest = 1.0 - load_bits_s * duration_s / (8.0 * bytes);
    let packets = if rest > 0.0 { count(1.0 / rest) } else { None };
    let headers = packets.map(|_| FRAME_BYTES[0] + ((1.0 / rest).round() - 1.0) * FRAME_BYTES[1]);
    Side { payload_bytes: headers.and_then(|headers| count((bytes - headers).max(0.0))), packets }
}
