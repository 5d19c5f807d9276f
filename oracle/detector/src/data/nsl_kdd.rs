//! NSL-KDD: the traffic of 1998, with an official test part in which a third of the kinds of attack are new.
//!
//! Source: Tavallaee, Bagheri, Lu, Ghorbani, "A Detailed Analysis of the KDD CUP 99 Data Set", IEEE CISDA 2009. Training and test part are
//! two files and stay apart; nothing is grouped. Two classes, because the test part's attacks have no class in the training part; which
//! attack it was is kept beside, to tell how many of the new ones are found.
//!
//! Never loaded: `difficulty` (made from other classifiers' answers) and `num_outbound_cmds` (always zero).
//!
//! As flows: `flag` is Zeek's state already (the set was made with its ancestor), bytes are payload. Duration is in whole seconds, so zero
//! says only "less than a second" and is missing; packets are not told. `count`, `srv_count` and `dst_host_*` count over hosts of the
//! testbed, not over a device's flows, and map to nothing. No start, no order and no devices, so history is missing.

use std::path::Path;

use super::table::{Column, Table, TableError};
use super::traffic_set::{Columns, Order, TrafficSet, count, file_in};
use crate::traffic::{ConnectionState, Flow, Protocol, Service};

/// The training part, the official fifth of it.
pub const TRAIN_FILE: &str = "KDDTrain+_20Percent.csv.gz";
/// The official test part, as far as it is at hand.
pub const TEST_FILE: &str = "KDDTest+_dev.csv.gz";
/// The classes, benign first.
pub const CLASSES: [&str; 2] = ["normal", "attack"];

const PROTOCOLS: [&str; 3] = ["tcp", "udp", "icmp"];
const FLAGS: [&str; 11] = ["SF", "S0", "REJ", "RSTR", "RSTO", "S1", "SH", "RSTOS0", "S2", "S3", "OTH"];
/// The services of KDD Cup 99.
const SERVICES: [&str; 70] = [
    "aol",
    "auth",
    "bgp",
    "courier",
    "csnet_ns",
    "ctf",
    "daytime",
    "discard",
    "domain",
    "domain_u",
    "echo",
    "eco_i",
    "ecr_i",
    "efs",
    "exec",
    "finger",
    "ftp",
    "ftp_data",
    "gopher",
    "harvest",
    "hostnames",
    "http",
    "http_2784",
    "http_443",
    "http_8001",
    "imap4",
    "IRC",
    "iso_tsap",
    "klogin",
    "kshell",
    "ldap",
    "link",
    "login",
    "mtp",
    "name",
    "netbios_dgm",
    "netbios_ns",
    "netbios_ssn",
    "netstat",
    "nnsp",
    "nntp",
    "ntp_u",
    "other",
    "pm_dump",
    "pop_2",
    "pop_3",
    "printer",
    "private",
    "red_i",
    "remote_job",
    "rje",
    "shell",
    "smtp",
    "sql_net",
    "ssh",
    "sunrpc",
    "supdup",
    "systat",
    "telnet",
    "tftp_u",
    "tim_i",
    "time",
    "urh_i",
    "urp_i",
    "uucp",
    "uucp_path",
    "vmnet",
    "whois",
    "X11",
    "Z39_50",
];
const NUMBERS: [&str; 37] = [
    "duration",
    "src_bytes",
    "dst_bytes",
    "land",
    "wrong_fragment",
    "urgent",
    "hot",
    "num_failed_logins",
    "logged_in",
    "num_compromised",
    "root_shell",
    "su_attempted",
    "num_root",
    "num_file_creations",
    "num_shells",
    "num_access_files",
    "is_host_login",
    "is_guest_login",
    "count",
    "srv_count",
    "serror_rate",
    "srv_serror_rate",
    "rerror_rate",
    "srv_rerror_rate",
    "same_srv_rate",
    "diff_srv_rate",
    "srv_diff_host_rate",
    "dst_host_count",
    "dst_host_srv_count",
    "dst_host_same_srv_rate",
    "dst_host_diff_srv_rate",
    "dst_host_same_src_port_rate",
    "dst_host_srv_diff_host_rate",
    "dst_host_serror_rate",
    "dst_host_srv_serror_rate",
    "dst_host_rerror_rate",
    "dst_host_srv_rerror_rate",
];
const LABEL: &str = "attack";
const BENIGN: &str = "normal";

/// Which part of the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// [`TRAIN_FILE`].
    Train,
    /// [`TEST_FILE`].
    Test,
}

/// The columns that a file must have; others are not looked at.
pub fn columns() -> impl Iterator<Item = &'static str> {
    ["protocol_type", "service", "flag"].into_iter().chain(NUMBERS).chain([LABEL])
}

/// Reads a part of the set from its folder, or any file with the same columns.
///
/// # Errors
/// [`TableError`].
pub fn load(path: &Path, part: Part) -> Result<TrafficSet, TableError> {
    let words = ["protocol_type", "service", "flag"].map(Column::text);
    let numbers = NUMBERS.iter().map(|name| Column::number(name));
    let declared: Vec<Column> = words.into_iter().chain(numbers).chain([Column::text(LABEL).apart()]).collect();
    let usual = match part {
        Part::Train => TRAIN_FILE,
        Part::Test => TEST_FILE,
    };
    let table = Table::read(&file_in(path, usual), &declared)?;
    let mut columns = Columns::of(&table);
    columns.category("protocol_type", &PROTOCOLS)?;
    columns.category("service", &SERVICES)?;
    columns.category("flag", &FLAGS)?;
    for name in NUMBERS {
        columns.number(name, |value| value)?;
    }
    let (features, columns) = columns.finish();
    let attack = table.text(LABEL)?;
    Ok(TrafficSet {
        features,
        columns,
        flows: flows(&table)?,
        order: Order::None,
        classes: CLASSES.map(str::to_owned).to_vec(),
        truth: attack.iter().map(|name| usize::from(name != BENIGN)).collect(),
        benign: 0,
        groups: (0..table.rows() as u64).collect(),
        attack: Some(attack.clone()),
        source: table.source().clone(),
    })
}

fn flows(table: &Table) -> Result<Vec<Flow>, TableError> {
    let (protocols, services, flags) = (table.text("protocol_type")?, table.text("service")?, table.text("flag")?);
    let (duration_s, sent) = (table.number("duration")?, table.number("src_bytes")?);
    let received = table.number("dst_bytes")?;
    let flow = |row: usize| Flow {
        started_at_ms: 0,
        duration_ms: (duration_s[row] > 0.0).then_some(duration_s[row] * 1_000.0),
        protocol: Protocol::from_name(protocols.get(row)),
        service: service(services.get(row)),
        state: ConnectionState::from_zeek(flags.get(row)),
        bytes_sent: count(sent[row]),
        bytes_received: count(received[row]),
        packets_sent: None,
        packets_received: None,
    };
    Ok((0..table.rows()).map(flow).collect())
}

/// The service; `private`, `other` and the kinds of ICMP message (`…_i`) name none.
fn service(name: &str) -> Service {
    match name {
        "private" | "other" | "eco_i" | "ecr_i" | "red_i" | "tim_i" | "urh_i" | "urp_i" => Service::Unknown,
        "IRC" => Service::Irc,
        "X11" => Service::Rdp,
        name => Service::from_name(name),
    }
}
