//! UNSW-NB15, the half of 82,332 rows: generated normal traffic and nine families of attacks.
//!
//! Source: Moustafa, Slay, "UNSW-NB15: a comprehensive data set for network intrusion detection systems", MilCIS 2015. Only this half is at
//! hand, so there is no official test part; rows repeat a lot, and groups are rows with identical features (all of them, whether or not a
//! model sees them). The order of the rows means nothing.
//!
//! Never loaded: `id` (the order of the file tells the class) and `label` (told by `attack_cat`).
//!
//! As flows: a flow of a single packet has no duration. Argus counts bytes with headers; payload is what remains after the least header per
//! packet as it shows in flows without payload (TCP 44, UDP 28, others 20 bytes), so it is an estimate. Argus's states map to Zeek's as
//! `state` below says. The service is what the set's authors found in the payload. `ct_*` count over the last hundred flows of the whole
//! testbed, not of a device, and map to nothing. No start, no order and no devices, so history is missing.

use std::path::Path;

use super::table::{Column, Table, TableError};
use super::traffic_set::{Columns, Order, TrafficSet, classes, count, file_in};
use crate::traffic::{ConnectionState, Flow, Protocol, Service};

/// The usual file of the set.
pub const FILE: &str = "unsw_nb15_82k_dev.csv.gz";
/// The classes, benign first.
pub const CLASSES: [&str; 10] =
    ["Normal", "Generic", "Exploits", "Fuzzers", "DoS", "Reconnaissance", "Analysis", "Backdoor", "Shellcode", "Worms"];

/// Protocols by name; IP protocols and a few below IP, as Argus spells them.
const PROTOCOLS: [&str; 131] = [
    "tcp",
    "udp",
    "unas",
    "arp",
    "ospf",
    "sctp",
    "any",
    "gre",
    "rsvp",
    "ipv6",
    "sep",
    "swipe",
    "pim",
    "mobile",
    "sun-nd",
    "xns-idp",
    "leaf-1",
    "bbn-rcc",
    "ggp",
    "ip",
    "st2",
    "egp",
    "nvp",
    "pup",
    "mux",
    "trunk-1",
    "trunk-2",
    "irtp",
    "netblt",
    "cbt",
    "igp",
    "mfe-nsp",
    "merit-inp",
    "3pc",
    "idpr",
    "ddp",
    "sdrp",
    "ipv6-frag",
    "ipv6-route",
    "idrp",
    "mhrp",
    "i-nlsp",
    "rvd",
    "narp",
    "ipv6-opts",
    "sat-expak",
    "kryptolan",
    "pvp",
    "wb-mon",
    "dgp",
    "eigrp",
    "tcf",
    "ax.25",
    "aes-sp3-d",
    "pri-enc",
    "gmtp",
    "ifmp",
    "qnx",
    "bna",
    "visa",
    "ipcv",
    "cphb",
    "wb-expak",
    "secure-vmtp",
    "fc",
    "iso-ip",
    "etherip",
    "aris",
    "a/n",
    "ipcomp",
    "pgm",
    "ddx",
    "iatp",
    "srp",
    "uti",
    "isis",
    "ptp",
    "fire",
    "crtp",
    "crudp",
    "sccopmce",
    "pipe",
    "sps",
    "vmtp",
    "snp",
    "igmp",
    "ipnip",
    "argus",
    "chaos",
    "hmp",
    "leaf-2",
    "tp++",
    "sat-mon",
    "wsn",
    "ttp",
    "sprite-rpc",
    "ipip",
    "compaq-peer",
    "l2tp",
    "smp",
    "iplt",
    "skip",
    "cftp",
    "dcn",
    "br-sat-mon",
    "rdp",
    "ippc",
    "larp",
    "micp",
    "iso-tp4",
    "xnet",
    "encap",
    "pnni",
    "scps",
    "stp",
    "sm",
    "ipx-n-ip",
    "vrrp",
    "ipv6-no",
    "ib",
    "vines",
    "nsfnet-igp",
    "cpnx",
    "emcon",
    "zero",
    "xtp",
    "prm",
    "icmp",
    "rtp",
    "bbn-rcc-mon",
    "crt",
];
const SERVICES: [&str; 13] =
    ["-", "dns", "http", "smtp", "ftp", "ftp-data", "pop3", "ssh", "ssl", "snmp", "dhcp", "radius", "irc"];
/// Argus's states; the last five occur in the other half.
const STATES: [&str; 12] = ["FIN", "INT", "CON", "REQ", "ACC", "RST", "CLO", "ECO", "PAR", "URN", "no", "TXD"];
const NUMBERS: [&str; 39] = [
    "dur",
    "spkts",
    "dpkts",
    "sbytes",
    "dbytes",
    "rate",
    "sttl",
    "dttl",
    "sload",
    "dload",
    "sloss",
    "dloss",
    "sinpkt",
    "dinpkt",
    "sjit",
    "djit",
    "swin",
    "stcpb",
    "dtcpb",
    "dwin",
    "tcprtt",
    "synack",
    "ackdat",
    "smean",
    "dmean",
    "trans_depth",
    "response_body_len",
    "ct_srv_src",
    "ct_state_ttl",
    "ct_dst_ltm",
    "ct_src_dport_ltm",
    "ct_dst_sport_ltm",
    "ct_dst_src_ltm",
    "is_ftp_login",
    "ct_ftp_cmd",
    "ct_flw_http_mthd",
    "ct_src_ltm",
    "ct_srv_dst",
    "is_sm_ips_ports",
];
/// Shortcuts of the testbed: the attackers' machines have their own time to live.
const TIME_TO_LIVE: [&str; 2] = ["sttl", "ct_state_ttl"];
const LABEL: &str = "attack_cat";
/// Least header per packet, bytes.
const HEADER_BYTES: [f64; 3] = [44.0, 28.0, 20.0];

/// Which columns a model may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// `sttl` and `ct_state_ttl` too, the known shortcuts of the testbed.
    pub time_to_live: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { time_to_live: true }
    }
}

/// The columns that a file must have; others are not looked at.
pub fn columns() -> impl Iterator<Item = &'static str> {
    ["proto", "service", "state"].into_iter().chain(NUMBERS).chain([LABEL])
}

/// Reads the set from its folder or from a file with the same columns.
///
/// # Errors
/// [`TableError`].
pub fn load(path: &Path, options: Options) -> Result<TrafficSet, TableError> {
    let words = ["proto", "service", "state"].map(Column::text);
    let numbers = NUMBERS.iter().map(|name| Column::number(name));
    let declared: Vec<Column> = words.into_iter().chain(numbers).chain([Column::text(LABEL).apart()]).collect();
    let table = Table::read(&file_in(path, FILE), &declared)?;
    let mut columns = Columns::of(&table);
    columns.category("proto", &PROTOCOLS)?;
    columns.category("service", &SERVICES)?;
    columns.category("state", &STATES)?;
    for name in NUMBERS.into_iter().filter(|name| options.time_to_live || !TIME_TO_LIVE.contains(name)) {
        columns.number(name, |value| value)?;
    }
    let (features, columns) = columns.finish();
    Ok(TrafficSet {
        features,
        columns,
        flows: flows(&table)?,
        order: Order::None,
        classes: CLASSES.map(str::to_owned).to_vec(),
        truth: classes(&table, LABEL, &CLASSES)?,
        benign: 0,
        groups: table.identities().to_vec(),
        attack: None,
        source: table.source().clone(),
    })
}

fn flows(table: &Table) -> Result<Vec<Flow>, TableError> {
    let (protocols, services, states) = (table.text("proto")?, table.text("service")?, table.text("state")?);
    let duration_s = table.number("dur")?;
    let (sent, received) = (table.number("sbytes")?, table.number("dbytes")?);
    let (packets_sent, packets_received) = (table.number("spkts")?, table.number("dpkts")?);
    let flow = |row: usize| {
        let protocol = Protocol::from_name(protocols.get(row));
        let payload = |bytes: f64, packets: f64| {
            let header = match protocol {
                Protocol::Tcp => HEADER_BYTES[0],
                Protocol::Udp => HEADER_BYTES[1],
                Protocol::Icmp | Protocol::Other => HEADER_BYTES[2],
            };
            count((bytes - packets * header).max(0.0))
        };
        let service = services.get(row);
        Flow {
            started_at_ms: 0,
            duration_ms: (packets_sent[row] + packets_received[row] > 1.0).then_some(duration_s[row] * 1_000.0),
            protocol,
            service: Service::from_zeek(service),
            state: state(protocol, states.get(row), packets_received[row] > 0.0),
            bytes_sent: payload(sent[row], packets_sent[row]),
            bytes_received: payload(received[row], packets_received[row]),
            packets_sent: count(packets_sent[row]),
            packets_received: count(packets_received[row]),
        }
    };
    Ok((0..table.rows()).map(flow).collect())
}

/// Zeek's state from Argus's (`ra(1)`, field `state`).
///
/// TCP: REQ (asked to open) is S0; ACC (accepted, not confirmed) OTH, as Zeek gives a handshake that stops there; CON (connected) S1; FIN
/// (closing was seen) SF when answered, else SH; CLO (closed) SF; RST does not say who reset and is unknown when answered, else RSTOS0.
/// UDP: answered is SF, unanswered S0. Other protocols: OTH, as Zeek gives them.
fn state(protocol: Protocol, argus: &str, answered: bool) -> ConnectionState {
    match (protocol, argus, answered) {
        (Protocol::Icmp | Protocol::Other, _, _) | (Protocol::Tcp, "ACC", _) => ConnectionState::Oth,
        (Protocol::Tcp, "REQ", _) | (Protocol::Udp, _, false) => ConnectionState::S0,
        (Protocol::Tcp, "CON", _) => ConnectionState::S1,
        (Protocol::Tcp, "FIN" | "CLO", true) | (Protocol::Udp, _, true) => ConnectionState::SF,
        (Protocol::Tcp, "FIN" | "CLO", false) => ConnectionState::Sh,
        (Protocol::Tcp, "RST", false) => ConnectionState::Rstos0,
        (Protocol::Tcp, _, _) => ConnectionState::Unknown,
    }
}
