//! The four traffic sets: on small tables made here always, on the real ones when `PULSEGATE_DATA` names their folder.
//!
//! The counts are those of the sets' own provenance notes.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking and says what it left out")]

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use pulsegate_detector::data::folds::grouped_stratified_folds;
use pulsegate_detector::data::traffic_set::{FeatureKind, Order, TrafficSet};
use pulsegate_detector::data::{cicids2017, nsl_kdd, unsw_nb15, wustl_ehms};
use pulsegate_detector::traffic::serving::SERVING_FLOW_FEATURES;
use pulsegate_detector::traffic::{ConnectionState, Protocol, Service};

/// Columns that leak the label or identify somebody, over all sets.
const FORBIDDEN: [&str; 24] = [
    "SrcMac",
    "DstMac",
    "SrcAddr",
    "DstAddr",
    "Sport",
    "Dport",
    "Packet_num",
    "Attack Category",
    "Label",
    "episode",
    "id",
    "Flow ID",
    "Src IP",
    "Dst IP",
    "Src Port",
    "Timestamp",
    "Attempted Category",
    "attack_cat",
    "label",
    "attack",
    "difficulty",
    "Dir",
    "Subflow Bwd Packets",
    "Bwd URG Flags",
];

fn data(set: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("PULSEGATE_DATA").map(|root| PathBuf::from(root).join(set));
    if folder.is_none() {
        println!("PULSEGATE_DATA is not set: {set} itself is left out");
    }
    folder
}

/// A table in a file: a line per row, each a list of (column, cell), over columns that are all zero otherwise.
fn table(columns: &[&str], rows: &[&[(&str, &str)]]) -> tempfile::NamedTempFile {
    let mut writer = csv::Writer::from_writer(tempfile::NamedTempFile::new().unwrap());
    writer.write_record(columns).unwrap();
    for row in rows {
        let cell = |column: &&str| row.iter().find(|(name, _)| name == column).map_or("0", |(_, cell)| *cell);
        writer.write_record(columns.iter().map(cell)).unwrap();
    }
    writer.into_inner().unwrap()
}

fn fits(set: &TrafficSet, counts: &[(&str, usize)]) {
    let rows = set.len();
    assert_eq!(set.features.dim(), (rows, set.columns.len()));
    assert_eq!((set.flows.len(), set.groups.len(), set.source.rows as usize), (rows, rows, rows));
    assert_eq!(set.source.sha256.len(), 64);
    assert!(set.columns.iter().all(|column| !FORBIDDEN.contains(&column.name.as_str())), "{:?}", set.columns);
    assert!(set.features.iter().all(|value| !value.is_infinite()));
    for (place, column) in set.columns.iter().enumerate() {
        if let FeatureKind::Categorical { codes } = column.kind {
            let valid = |value: &f32| value.fract() == 0.0 && *value >= 0.0 && (*value as usize) < codes;
            assert!(set.features.column(place).iter().all(valid), "{}", column.name);
        }
    }
    for flow in &set.flows {
        flow.check().unwrap();
        assert_eq!(flow.started_at_ms, 0);
    }
    let (serving, columns) = set.serving();
    assert_eq!(serving.dim(), (rows, columns.len()));
    let mut history = serving.rows().into_iter().flat_map(|row| row.to_vec().split_off(SERVING_FLOW_FEATURES));
    assert!(set.order == Order::Capture || history.all(f32::is_nan), "history is not invented");
    for (class, name) in set.classes.iter().enumerate() {
        let expected = counts.iter().find(|(known, _)| known == name).unwrap().1;
        assert_eq!(set.truth.iter().filter(|truth| **truth == class).count(), expected, "{name}");
    }
}

/// Every class is in every fold where it has enough groups, and no group is split.
fn folds_hold(set: &TrafficSet) {
    let folds = grouped_stratified_folds(&set.truth, &set.groups, 5, 1).unwrap();
    let pairs: HashSet<(u64, u8)> = set.groups.iter().copied().zip(folds.iter().copied()).collect();
    assert_eq!(pairs.len(), set.groups.iter().collect::<HashSet<_>>().len(), "a group is split");
    for class in 0..set.classes.len() {
        let of = |fold| set.truth.iter().zip(&folds).filter(|(t, f)| **t == class && **f == fold).count();
        let counts: Vec<usize> = (0..5).map(of).collect();
        println!("{}: {counts:?}", set.classes[class]);
        assert!(counts.iter().all(|count| *count > 0), "{} {counts:?}", set.classes[class]);
    }
}

fn column(set: &TrafficSet, name: &str) -> Vec<f32> {
    let place = set.columns.iter().position(|column| column.name == name).unwrap();
    set.features.column(place).to_vec()
}

const WUSTL: [&str; 46] = [
    "episode",
    "Dir",
    "Flgs",
    "SrcAddr",
    "DstAddr",
    "Sport",
    "Dport",
    "SrcBytes",
    "DstBytes",
    "SrcLoad",
    "DstLoad",
    "SrcGap",
    "DstGap",
    "SIntPkt",
    "DIntPkt",
    "SIntPktAct",
    "DIntPktAct",
    "SrcJitter",
    "DstJitter",
    "sMaxPktSz",
    "dMaxPktSz",
    "sMinPktSz",
    "dMinPktSz",
    "Dur",
    "Trans",
    "TotPkts",
    "TotBytes",
    "Load",
    "Loss",
    "pLoss",
    "pSrcLoss",
    "pDstLoss",
    "Rate",
    "SrcMac",
    "DstMac",
    "Packet_num",
    "Temp",
    "SpO2",
    "Pulse_Rate",
    "SYS",
    "DIA",
    "Heart_rate",
    "Resp_Rate",
    "ST",
    "Attack Category",
    "Label",
];

#[test]
fn wustl_gives_payload_packets_and_missing_vital_signs() {
    let usual = [
        ("episode", "1"),
        ("Flgs", "e"),
        ("SrcBytes", "496"),
        ("DstBytes", "186"),
        ("SrcLoad", "261764"),
        ("DstLoad", "87255"),
        ("Dur", "0.011369"),
        ("TotPkts", "7"),
        ("SYS", "138"),
        ("SrcMac", "84:3a:4b:0f:5b:94"),
        ("Attack Category", "normal"),
    ];
    let attack = [("episode", "1"), ("Flgs", "Q"), ("SrcBytes", "310"), ("Attack Category", "Spoofing"), ("Dur", "1")];
    let file = table(&WUSTL, &[&usual, &attack]);
    let set = wustl_ehms::load(file.path(), wustl_ehms::Options::default()).unwrap();
    fits(&set, &[("normal", 1), ("Spoofing", 1), ("Data Alteration", 0)]);
    assert_eq!(set.order, Order::Capture);
    assert_eq!(set.groups[0], set.groups[1]);
    let flow = set.flows[0];
    assert_eq!((flow.packets_sent, flow.packets_received), (Some(4), Some(3)));
    assert_eq!((flow.bytes_sent, flow.bytes_received), (Some(250), Some(0)));
    assert_eq!((flow.duration_ms, flow.protocol), (Some(11.369), Protocol::Tcp));
    assert_eq!((set.flows[1].packets_sent, set.flows[1].packets_received), (Some(1), Some(0)));
    assert_eq!(column(&set, "SYS")[0], 138.0);
    assert!(column(&set, "SYS")[1].is_nan() && column(&set, "Resp_Rate")[0].is_nan());
    assert_eq!(column(&set, "Flgs"), [0.0, 7.0], "an unknown word is the last code");
    let bare = wustl_ehms::load(file.path(), wustl_ehms::Options { biometrics: false }).unwrap();
    assert_eq!(bare.columns.len() + 8, set.columns.len());

    let (wide, names) = set.with_preceding(2).unwrap();
    let width = set.columns.len();
    assert_eq!((wide.dim(), names.len()), ((2, width * 3), width * 3));
    assert_eq!(names[width].name, "Flgs -1");
    assert!(wide.row(0).iter().skip(width).all(|value| value.is_nan()));
    assert_eq!(wide[[1, width]], 0.0, "the flow before the second is the first");
    assert!(wide[[1, 2 * width]].is_nan());
}

#[test]
fn an_unknown_class_is_told_with_its_line() {
    let file = table(&WUSTL, &[&[("Attack Category", "normal")], &[("Attack Category", "Ransomware")]]);
    let error = wustl_ehms::load(file.path(), wustl_ehms::Options::default()).unwrap_err();
    assert_eq!(error.code(), "DETECTOR_BAD_CELL");
    assert!(error.to_string().contains(r#"line 3, column "Attack Category": "Ransomware""#), "{error}");
}

#[test]
fn a_folder_without_the_set_says_which_file_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let error = unsw_nb15::load(folder.path(), unsw_nb15::Options::default()).unwrap_err();
    assert_eq!(error.code(), "DETECTOR_FILE_UNREADABLE");
    assert!(error.to_string().contains(unsw_nb15::FILE), "{error}");
}

#[test]
fn wustl_itself_is_as_its_provenance_says() {
    let Some(folder) = data("wustl_ehms_2020") else { return };
    let set = wustl_ehms::load(&folder, wustl_ehms::Options::default()).unwrap();
    fits(&set, &[("normal", 11_502), ("Spoofing", 914), ("Data Alteration", 756)]);
    let total = column(&set, "TotPkts");
    for (flow, total) in set.flows.iter().zip(&total) {
        assert_eq!((flow.packets_sent.unwrap() + flow.packets_received.unwrap()) as f32, *total);
    }
    folds_hold(&set);
}

/// Reads the header of a real file, so that a small table can be made with the same columns.
fn header(path: &Path) -> Vec<String> {
    let file = flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap());
    csv::Reader::from_reader(file).headers().unwrap().iter().map(str::to_owned).collect()
}

#[test]
fn cicids_itself_is_as_its_provenance_says() {
    let Some(folder) = data("cicids2017_improved") else { return };
    let set = cicids2017::load(&folder, cicids2017::Options::default()).unwrap();
    let counts = [
        ("BENIGN", 5_994),
        ("DoS Hulk", 5_932),
        ("Portscan", 5_928),
        ("DDoS", 5_890),
        ("Infiltration - Portscan", 5_864),
        ("DoS GoldenEye", 4_679),
        ("FTP-Patator", 3_178),
        ("DoS Slowloris", 3_087),
        ("SSH-Patator", 2_369),
        ("DoS Slowhttptest", 1_392),
        ("Botnet", 589),
        ("Web Attack - Brute Force", 58),
        ("Infiltration", 29),
        ("Web Attack - XSS", 14),
        ("Web Attack - SQL Injection", 10),
        ("Heartbleed", 9),
    ];
    fits(&set, &counts);
    assert_eq!(set.groups.iter().collect::<HashSet<_>>().len(), 43_959);
    assert!(set.columns.iter().any(|column| column.name == "Dst Port"));
    folds_hold(&set);
    assert_eq!(set.source.sha256, "cade1880f56adc14feff93dcd3586bad4fdcdbf0aa8b847488dcdc2efe16028a");

    let options = cicids2017::Options { destination_port: false, merge_port_scans: true, service_from_port: false };
    let merged = cicids2017::load(&folder, options).unwrap();
    assert_eq!((merged.classes.len(), merged.columns.len() + 1), (15, set.columns.len()));
    assert!(merged.columns.iter().all(|column| column.name != "Dst Port"));
    let scans = merged.truth.iter().filter(|class| merged.classes[**class] == "Portscan").count();
    assert_eq!(scans, 5_928 + 5_864);
    for (class, before) in merged.truth.iter().zip(&set.truth) {
        let name = set.classes[*before].replace("Infiltration - Portscan", "Portscan");
        assert_eq!(merged.classes[*class], name);
    }
    assert!(merged.flows.iter().all(|flow| flow.service == Service::Unknown));
    assert!(header(&folder.join(cicids2017::FILE)).contains(&"Src IP".to_owned()), "and yet nothing of it was loaded");
}

#[test]
fn cicids_states_follow_the_flags() {
    let numbers: Vec<&str> = cicids2017::columns().collect();
    let tcp = [("Protocol", "6"), ("Label", "BENIGN")];
    let with = |cells: &[(&'static str, &'static str)]| -> Vec<(&str, &str)> { [&tcp[..], cells].concat() };
    let (syn, fin, sent, got) = ("SYN Flag Count", "FIN Flag Count", "Fwd RST Flags", "Bwd RST Flags");
    let (packets, back) = ("Total Fwd Packet", "Total Bwd packets");
    let (bytes, bytes_back) = ("Total Length of Fwd Packet", "Total Length of Bwd Packet");
    let cases = [
        (with(&[(packets, "1"), (syn, "1")]), ConnectionState::S0),
        (with(&[(packets, "2"), (syn, "1"), (sent, "1")]), ConnectionState::Rstos0),
        (with(&[(packets, "2"), (syn, "1"), (fin, "1")]), ConnectionState::Sh),
        (with(&[(packets, "1"), (syn, "1"), (got, "1"), (back, "1")]), ConnectionState::Rej),
        (with(&[(packets, "2"), (syn, "2"), (got, "2"), (back, "2")]), ConnectionState::Rej),
        (with(&[(packets, "5"), (syn, "2"), (fin, "2"), (back, "4")]), ConnectionState::SF),
        (with(&[(packets, "5"), (syn, "2"), (fin, "1"), (sent, "1"), (back, "4")]), ConnectionState::Rsto),
        (with(&[(packets, "5"), (syn, "2"), (fin, "1"), (got, "1"), (back, "4")]), ConnectionState::Rstr),
        (with(&[(packets, "5"), (syn, "2"), (back, "4")]), ConnectionState::S1),
        (with(&[(packets, "5"), (syn, "2"), (fin, "1"), (back, "4")]), ConnectionState::Unknown),
        (with(&[(packets, "5"), (back, "4")]), ConnectionState::Oth),
        (
            vec![
                ("Protocol", "17"),
                ("Label", "DDoS"),
                (packets, "1"),
                (back, "1"),
                ("Dst Port", "53"),
                (bytes, "30"),
                (bytes_back, "90"),
                ("Flow Duration", "284"),
            ],
            ConnectionState::SF,
        ),
        (
            vec![("Protocol", "17"), ("Label", "DDoS"), (packets, "1"), ("Dst Port", "53"), (bytes, "30")],
            ConnectionState::S0,
        ),
        (vec![("Protocol", "0"), ("Label", "DDoS"), (packets, "1")], ConnectionState::Oth),
    ];
    let rows: Vec<&[(&str, &str)]> = cases.iter().map(|(cells, _)| cells.as_slice()).collect();
    let file = table(&numbers, &rows);
    let set = cicids2017::load(file.path(), cicids2017::Options::default()).unwrap();
    let states: Vec<ConnectionState> = set.flows.iter().map(|flow| flow.state).collect();
    assert_eq!(states, cases.iter().map(|(_, state)| *state).collect::<Vec<_>>());
    assert_eq!(
        (set.flows[11].service, set.flows[12].service),
        (Service::Dns, Service::Unknown),
        "only when both talked"
    );
    assert_eq!((set.flows[11].duration_ms, set.flows[12].duration_ms), (Some(0.284), None));
}

#[test]
fn unsw_itself_is_as_its_provenance_says() {
    let Some(folder) = data("unsw_nb15_82k") else { return };
    let set = unsw_nb15::load(&folder, unsw_nb15::Options::default()).unwrap();
    let counts = [
        ("Normal", 29_600),
        ("Generic", 15_097),
        ("Exploits", 8_840),
        ("Fuzzers", 4_878),
        ("DoS", 3_280),
        ("Reconnaissance", 2_791),
        ("Analysis", 554),
        ("Backdoor", 488),
        ("Shellcode", 303),
        ("Worms", 35),
    ];
    fits(&set, &counts);
    assert_eq!(set.groups.iter().collect::<HashSet<_>>().len(), 43_043);
    folds_hold(&set);
    let other = column(&set, "proto").iter().filter(|code| **code >= 131.0).count();
    assert_eq!(other, 0, "the vocabulary covers this half");
    assert!(column(&set, "state").iter().chain(&column(&set, "service")).all(|code| *code < 13.0));
    let bare = unsw_nb15::load(&folder, unsw_nb15::Options { time_to_live: false }).unwrap();
    assert_eq!(bare.columns.len() + 2, set.columns.len());
    assert!(bare.columns.iter().all(|column| column.name != "sttl" && column.name != "ct_state_ttl"));
    assert_eq!(bare.groups, set.groups);
}

#[test]
fn unsw_states_are_zeeks() {
    let columns: Vec<&str> = unsw_nb15::columns().collect();
    let row = |proto: &'static str, state: &'static str, back: &'static str| {
        [
            ("proto", proto),
            ("service", "-"),
            ("state", state),
            ("attack_cat", "Normal"),
            ("spkts", "2"),
            ("dpkts", back),
            ("sbytes", "90"),
            ("dbytes", "1000"),
            ("dur", "0.5"),
        ]
    };
    let cases = [
        (row("tcp", "REQ", "0"), ConnectionState::S0),
        (row("tcp", "FIN", "4"), ConnectionState::SF),
        (row("tcp", "FIN", "0"), ConnectionState::Sh),
        (row("tcp", "CON", "4"), ConnectionState::S1),
        (row("tcp", "ACC", "1"), ConnectionState::Oth),
        (row("tcp", "RST", "1"), ConnectionState::Unknown),
        (row("udp", "INT", "0"), ConnectionState::S0),
        (row("udp", "CON", "1"), ConnectionState::SF),
        (row("ospf", "INT", "0"), ConnectionState::Oth),
    ];
    let rows: Vec<&[(&str, &str)]> = cases.iter().map(|(cells, _)| cells.as_slice()).collect();
    let file = table(&columns, &rows);
    let set = unsw_nb15::load(file.path(), unsw_nb15::Options::default()).unwrap();
    let states: Vec<ConnectionState> = set.flows.iter().map(|flow| flow.state).collect();
    assert_eq!(states, cases.iter().map(|(_, state)| *state).collect::<Vec<_>>());
    assert_eq!((set.flows[0].bytes_sent, set.flows[1].bytes_received), (Some(2), Some(1_000 - 4 * 44)));
    assert_eq!(set.flows[0].duration_ms, Some(500.0));
}

#[test]
fn nsl_itself_is_as_its_provenance_says() {
    let Some(folder) = data("nsl_kdd") else { return };
    let train = nsl_kdd::load(&folder, nsl_kdd::Part::Train).unwrap();
    let test = nsl_kdd::load(&folder, nsl_kdd::Part::Test).unwrap();
    fits(&train, &[("normal", 13_449), ("attack", 25_192 - 13_449)]);
    fits(&test, &[("normal", 7_769), ("attack", 18_038 - 7_769)]);
    assert_eq!(train.columns, test.columns);
    let kinds = |set: &TrafficSet| set.attack.as_ref().unwrap().iter().map(str::to_owned).collect::<HashSet<_>>();
    assert_eq!(kinds(&test).difference(&kinds(&train)).count(), 18);
    for set in [&train, &test] {
        assert!(
            column(set, "service").iter().all(|code| *code < 70.0)
                && column(set, "flag").iter().all(|code| *code < 11.0)
        );
        assert!(set.flows.iter().all(|flow| flow.packets_sent.is_none() && flow.state != ConnectionState::Unknown));
    }
    let direct = nsl_kdd::load(&folder.join(nsl_kdd::TEST_FILE), nsl_kdd::Part::Train).unwrap();
    assert_eq!(direct.truth, test.truth, "a file is read as it is named");
}

#[test]
fn nsl_flags_are_zeeks_states() {
    let columns: Vec<&str> = nsl_kdd::columns().collect();
    let row = |service: &'static str, flag: &'static str, attack: &'static str, duration: &'static str| {
        [("protocol_type", "tcp"), ("service", service), ("flag", flag), ("attack", attack), ("duration", duration)]
    };
    let rows = [
        row("http", "SF", "normal", "2"),
        row("private", "RSTOS0", "satan", "0"),
        row("domain_u", "S0", "mscan", "0"),
        row("made_up", "SF", "mscan", "0"),
    ];
    let rows: Vec<&[(&str, &str)]> = rows.iter().map(|row| row.as_slice()).collect();
    let file = table(&columns, &rows);
    let set = nsl_kdd::load(file.path(), nsl_kdd::Part::Test).unwrap();
    fits(&set, &[("normal", 1), ("attack", 3)]);
    let told: Vec<_> = set.flows.iter().map(|flow| (flow.service, flow.state, flow.duration_ms)).collect();
    let expected = [
        (Service::Http, ConnectionState::SF, Some(2_000.0)),
        (Service::Unknown, ConnectionState::Rstos0, None),
        (Service::Dns, ConnectionState::S0, None),
        (Service::Other, ConnectionState::SF, None),
    ];
    assert_eq!(told, expected);
    assert_eq!(column(&set, "service")[3], 70.0, "any other service is the last code");
    assert!(set.with_preceding(5).unwrap_err().to_string().contains("no order"));
}
