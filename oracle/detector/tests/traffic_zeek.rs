//! A hospital's sensor: the same connections as tab-separated and JSON give the same flows, and a bad line costs that line only.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking and prints its seed")]

use std::io::{BufReader, Read, Write};

use pulsegate_detector::traffic::zeek::{ConnLog, Connection, ZEEK_LINE_BYTES_MAX, ZeekError};
use pulsegate_detector::traffic::{ConnectionState, Flow, Protocol, Service};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const TSV: &str = include_str!("data/zeek_conn.log");
const JSON: &str = include_str!("data/zeek_conn.json");

fn all(text: &str) -> Vec<Connection> {
    ConnLog::new(text.as_bytes()).map(Result::unwrap).collect()
}

fn first_error(text: &str) -> ZeekError {
    ConnLog::new(text.as_bytes()).find_map(Result::err).unwrap()
}

#[test]
fn both_formats_give_the_same_flows() {
    let connections = all(TSV);
    assert_eq!(connections.len(), 7);
    assert_eq!(connections, all(JSON));
    let first = &connections[0];
    assert_eq!((first.uid.as_str(), first.device.to_string().as_str()), ("CPulse1aaaaaaaaaaa", "192.0.2.10"));
    let expected = Flow {
        started_at_ms: 1_790_000_000_000,
        duration_ms: Some(412.5),
        protocol: Protocol::Tcp,
        service: Service::Tls,
        state: ConnectionState::SF,
        bytes_sent: Some(1_840),
        bytes_received: Some(5_210),
        packets_sent: Some(12),
        packets_received: Some(11),
    };
    assert_eq!(first.flow, expected);
    let told: Vec<_> = connections[1..].iter().map(|c| (c.flow.protocol, c.flow.service, c.flow.state)).collect();
    let expected = [
        (Protocol::Tcp, Service::Unknown, ConnectionState::S0),
        (Protocol::Tcp, Service::Unknown, ConnectionState::Rej),
        (Protocol::Udp, Service::Dns, ConnectionState::SF),
        (Protocol::Icmp, Service::Unknown, ConnectionState::Oth),
        (Protocol::Tcp, Service::Smb, ConnectionState::Rsto),
        (Protocol::Tcp, Service::Unknown, ConnectionState::S1),
    ];
    assert_eq!(told, expected);
    assert_eq!((connections[1].flow.duration_ms, connections[1].flow.bytes_sent), (None, None), "unset is missing");
    assert_eq!((connections[2].flow.bytes_sent, connections[2].flow.packets_received), (Some(0), Some(1)));
}

#[test]
fn fields_may_stand_in_any_order_under_any_separator() {
    let log = "#separator \\x2c\n#unset_field,?\n#path,conn\n#fields,proto,vlan,conn_state,id.orig_h,uid,ts\n\
               #types,enum,int,string,addr,string,time\nudp,7,?,192.0.2.9,C1,1790000000.5\n";
    let connections = all(log);
    assert_eq!(connections[0].flow.started_at_ms, 1_790_000_000_500);
    assert_eq!(connections[0].flow.protocol, Protocol::Udp);
    assert_eq!((connections[0].flow.state, connections[0].flow.packets_sent), (ConnectionState::Unknown, None));
}

#[test]
fn json_times_may_be_milliseconds_or_iso_8601() {
    let line =
        |ts: &str| format!(r#"{{"ts":{ts},"uid":"C1","id.orig_h":"192.0.2.9","proto":"tcp","extra":[1,{{"a":2}}]}}"#);
    for ts in ["1790000000.5", "1790000000500", r#""2026-09-21T14:13:20.500000Z""#] {
        assert_eq!(all(&line(ts))[0].flow.started_at_ms, 1_790_000_000_500, "{ts}");
    }
}

#[test]
fn a_bad_line_is_told_by_line_and_field_and_costs_that_line_only() {
    for (from, to, code, told) in [
        ("0.412500", "soon", "ZEEK_BAD_FIELD", r#"line 9, field "duration": "soon""#),
        ("0.412500", "NaN", "ZEEK_BAD_FIELD", "is not a number of seconds"),
        ("0.412500", "-1", "DETECTOR_FLOW_OUT_OF_RANGE", "duration_ms"),
        ("\t1840\t", "\t-5\t", "ZEEK_BAD_FIELD", r#"field "orig_bytes": "-5" is not a count"#),
        ("\t1840\t", "\t9999999999999999999\t", "DETECTOR_FLOW_OUT_OF_RANGE", "bytes_sent"),
        ("\tSF\tT\tF\t0\tSh", "\tXX\tT\tF\t0\tSh", "ZEEK_BAD_FIELD", r#"field "conn_state": "XX""#),
        ("\t192.0.2.10\t49152", "\tpump-7\t49152", "ZEEK_BAD_FIELD", r#"field "id.orig_h": "pump-7""#),
        ("1790000000.000000", "-", "ZEEK_BAD_FIELD", "is unset"),
        ("1790000000.000000", "-3.5", "ZEEK_BAD_FIELD", "before 1970"),
        ("1790000000.000000", "1e15", "DETECTOR_FLOW_OUT_OF_RANGE", "started_at_ms"),
        ("CPulse1aaaaaaaaaaa\t", "", "ZEEK_FIELD_COUNT", "20 fields where the header has 21"),
    ] {
        let log = TSV.replacen(from, to, 1);
        let error = first_error(&log);
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains("line 9") && error.to_string().contains(told), "{error}");
        assert_eq!(ConnLog::new(log.as_bytes()).filter(Result::is_ok).count(), 6);
    }
    for (from, to, told) in [
        (r#""orig_bytes":1840"#, r#""orig_bytes":"1840""#, r#"line 1, field "orig_bytes""#),
        (r#""proto":"tcp""#, r#""proto":6"#, r#"field "proto": "6" is not a string"#),
        (r#""uid":"CPulse1aaaaaaaaaaa","#, "", r#"field "uid""#),
        (r#""duration":0.4125"#, r#""duration":[]"#, r#"field "duration""#),
        (r#""service":"ssl","#, r#""service":"ssl"#, "not JSON"),
    ] {
        let log = JSON.replacen(from, to, 1);
        assert_ne!(log, JSON, "{from}");
        assert!(first_error(&log).to_string().contains(told), "{}", first_error(&log));
        assert_eq!(ConnLog::new(log.as_bytes()).filter(Result::is_ok).count(), 6);
    }
}

#[test]
fn a_log_that_cannot_be_used_says_what_to_give_instead() {
    for (log, code, told) in [
        (TSV.replacen("\tconn\n", "\tdns\n", 1), "ZEEK_NOT_CONN_LOG", r#""dns""#),
        (TSV.replacen("\tproto\t", "\ttransport\t", 1), "ZEEK_FIELDS_MISSING", r#"["proto"]"#),
        (TSV.replacen("\tinterval\t", "\tstring\t", 1), "ZEEK_FIELD_TYPE", r#"field "duration""#),
        (TSV.lines().skip(8).collect::<Vec<_>>().join("\n"), "ZEEK_HEADER_MISSING", "line 1"),
        ("1,2,3\n".to_owned(), "ZEEK_HEADER_MISSING", "#fields"),
    ] {
        let error = first_error(&log);
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(told), "{error}");
    }
}

#[test]
fn a_line_without_end_is_not_kept() {
    let mut log = TSV.as_bytes().to_vec();
    log.extend(std::iter::repeat_n(b'x', 5 * ZEEK_LINE_BYTES_MAX));
    log.extend(b"\n\xff\xfe\n");
    log.extend(JSON.as_bytes());
    let (good, bad): (Vec<_>, Vec<_>) = ConnLog::new(log.as_slice()).partition(Result::is_ok);
    assert_eq!(good.len(), 14);
    let codes: Vec<_> = bad.into_iter().map(|error| error.unwrap_err().code()).collect();
    assert_eq!(codes, ["ZEEK_LINE_TOO_LONG", "ZEEK_LINE_NOT_UTF8"]);
}

#[test]
fn an_error_of_reading_ends_the_log() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is gone"))
        }
    }
    let mut log = ConnLog::new(BufReader::new(TSV.as_bytes().chain(Broken)));
    assert_eq!(log.by_ref().filter(Result::is_ok).count(), 7);
    assert!(log.next().is_none());
}

#[test]
fn a_log_that_is_still_written_is_followed_line_by_line() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let mut log = ConnLog::following(BufReader::new(file.reopen().unwrap()));
    let (before, after) = TSV.split_at(TSV.find("CPulse3").unwrap());
    file.write_all(before.as_bytes()).unwrap();
    assert_eq!(log.by_ref().map(Result::unwrap).count(), 2);
    assert!(log.next().is_none(), "half a line is no connection");
    file.write_all(after.as_bytes()).unwrap();
    assert_eq!(log.by_ref().map(Result::unwrap).map(|c| c.uid).next().unwrap(), "CPulse3ccccccccccc");
    assert_eq!(log.map(Result::unwrap).count(), 4);
}

#[test]
fn no_bytes_make_the_reader_fail() {
    let seed = 20_261_121;
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    for round in 0..2_000 {
        let mut log = if round % 2 == 0 { TSV } else { JSON }.as_bytes().to_vec();
        for _ in 0..rng.gen_range(1..20) {
            let at = rng.gen_range(0..log.len());
            match rng.gen_range(0..3) {
                0 => log[at] = rng.r#gen(),
                1 => _ = log.remove(at),
                _ => log.insert(at, *b"\t\n#{-,\\x".get(rng.gen_range(0..8)).unwrap()),
            }
        }
        for connection in ConnLog::new(log.as_slice()).flatten() {
            connection.flow.check().unwrap();
        }
    }
}
