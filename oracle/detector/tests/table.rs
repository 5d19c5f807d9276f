//! A table gives its declared columns, and nothing else; what is wrong with it is told by name and line.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::path::Path;

use pulsegate_detector::data::table::{Column, Table, TableError};

const COLUMNS: [Column; 3] = [Column::number("dur"), Column::text("proto"), Column::text("label").apart()];

fn read(name: &str, bytes: &[u8]) -> Result<Table, TableError> {
    Table::from_reader(Path::new(name), bytes, &COLUMNS)
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn plain_and_gzip_give_the_same_columns_in_any_order() {
    let plain =
        read("a.csv", b"\xef\xbb\xbflabel,src_ip,dur , proto\nx,10.0.0.1, 1.5 ,tcp\ny,10.0.0.2,-0,udp\n").unwrap();
    let packed = read("a.csv.gz", &gzip("dur,proto,label\n1.5,tcp,x\n0,udp,y\n")).unwrap();
    for table in [&plain, &packed] {
        assert_eq!(table.number("dur").unwrap(), [1.5, 0.0]);
        assert_eq!(table.text("proto").unwrap().iter().collect::<Vec<_>>(), ["tcp", "udp"]);
        assert_eq!(table.text("label").unwrap().get(1), "y");
        assert_eq!((table.rows(), table.source().rows), (2, 2));
    }
    assert_eq!(plain.identities(), packed.identities());
    assert_eq!(packed.source().file_name, "a.csv.gz");
}

#[test]
fn the_source_names_the_hash_of_the_file_as_it_lies() {
    let table = read("a.csv", b"dur,proto,label\n1,tcp,x\n").unwrap();
    assert_eq!(table.source().sha256, "2edcd27ee1c1f954a79457ab4c425f3ea3a0e233214b0dc3783ea942ff6ba060");
}

#[test]
fn a_column_that_is_not_declared_cannot_be_reached() {
    let table = read("a.csv", b"dur,proto,label,src_ip\n1,tcp,x,10.0.0.1\n").unwrap();
    assert_eq!(table.text("src_ip").unwrap_err().code(), "DETECTOR_TABLE_UNDECLARED_COLUMN");
    assert_eq!(table.number("src_ip").unwrap_err().code(), "DETECTOR_TABLE_UNDECLARED_COLUMN");
}

#[test]
fn rows_are_the_same_when_their_identifying_columns_are() {
    let table = read("a.csv", b"dur,proto,label\n1,tcp,x\n1.0,tcp,y\n1,udp,x\n").unwrap();
    let identities = table.identities();
    assert_eq!(identities[0], identities[1], "the label does not count, nor does the spelling of a number");
    assert_ne!(identities[0], identities[2]);
}

#[test]
fn faults_are_told_by_name_and_line() {
    let long = format!("dur,proto,label\n{},tcp,x\n", "9".repeat(400));
    let mut truncated = gzip(&format!("dur,proto,label\n{}", "1,tcp,x\n".repeat(5_000)));
    truncated.truncate(truncated.len() - 9);
    for (name, bytes, code, told) in [
        ("a.csv", b"".as_slice(), "DETECTOR_DATA_EMPTY", "header line"),
        ("a.csv", b"dur,proto,label\n", "DETECTOR_DATA_EMPTY", "a.csv"),
        ("a.csv", b"dur,label\n1,x\n", "DETECTOR_WRONG_COLUMNS", r#"["proto"]"#),
        ("a.csv", b"dur,dur,proto,label\n1,1,tcp,x\n", "DETECTOR_TABLE_REPEATED_COLUMN", "dur"),
        ("a.csv", b"dur,proto,label\n1,tcp,x\nNaN,tcp,x\n", "DETECTOR_BAD_CELL", r#"line 3, column "dur": "NaN""#),
        ("a.csv", b"dur,proto,label\ninf,tcp,x\n", "DETECTOR_BAD_CELL", "line 2"),
        ("a.csv", b"dur,proto,label\n,tcp,x\n", "DETECTOR_BAD_CELL", "is not a number"),
        ("a.csv", long.as_bytes(), "DETECTOR_BAD_CELL", "is not a finite number"),
        ("a.csv", b"dur,proto,label\n1,tcp\n", "DETECTOR_TABLE_RAGGED_LINE", "2 fields where the header has 3"),
        ("a.csv", b"dur,proto,label\n1,\xff\xfe,x\n", "DETECTOR_TABLE_DAMAGED", "UTF-8"),
        ("a.csv.gz", b"dur,proto,label\n1,tcp,x\n", "DETECTOR_TABLE_NOT_GZIP", "rename"),
        ("a.csv.gz", &truncated, "DETECTOR_TABLE_DAMAGED", "SHA-256"),
    ] {
        let error = read(name, bytes).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(told), "{error}");
        assert!(error.to_string().len() < 300, "{error}");
    }
    let absent = Table::read(Path::new("/nonexistent/a.csv"), &COLUMNS).unwrap_err();
    assert_eq!(absent.code(), "DETECTOR_FILE_UNREADABLE");
}
