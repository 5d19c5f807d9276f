//! The README's first command, shortened: it ends well, a second run goes on where the first ended, and recordings can be replayed.

use std::path::Path;

use pulsegate_tests::parts::{self, recorded_patients};
use pulsegate_tests::person::{Answer, Person};

/// As fast as the machine can: the demo's clock is its own.
const SHORT: [&str; 5] = ["demo", "--hours", "2", "--speed-up", "1000000"];

fn demo(folder: &Path, more: &[&str]) -> Answer {
    let nobody = Person::new(folder.join("none.toml"), folder.join("none.json"));
    let data = folder.join("data");
    let data = data.to_str().expect("scenarios use plain file names");
    nobody.does(&[&SHORT[..], &["--data-dir", data], more].concat())
}

#[test]
fn demo_ends_well_and_a_second_run_goes_on_where_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (demo(folder.path(), &["--seed", "7"]), demo(folder.path(), &[]));
    assert_eq!((&first.json["run"], &second.json["run"]), (&1.into(), &2.into()));
    assert_eq!(first.json["deployment"], second.json["deployment"], "the second run made a chain of its own");
}

#[test]
fn demo_for_people_prints_what_happens_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = Person::new(folder.path().join("none.toml"), folder.path().join("none.json"));
    let answer = nobody.prints(&SHORT);
    assert_eq!(answer.code, 0, "{}", answer.errors);
    for wanted in
        ["grant", "OUTSIDE_WINDOW", "PURPOSE_NOT_COVERED", "CATEGORY_NOT_COVERED", "revoke", "receipt", "bafy"]
    {
        assert!(answer.output.contains(wanted), "the demo does not show {wanted}:\n{}", answer.output);
    }
}

#[test]
fn recorded_patients_are_replayed() {
    const SCENARIO: &str = "the demo on recorded patients (PhysioNet 2012, MIT-BIH)";
    let Some(data) = recorded_patients() else {
        return parts::left_out(SCENARIO, "PULSEGATE_DATA names no folder with physionet2012/ and mitdb/");
    };
    for recording in ["physionet2012/vitals_hourly_set_a_train.csv.gz", "mitdb/records/101.hea"] {
        let folder = tempfile::tempdir().unwrap();
        let path = data.join(recording);
        assert!(path.is_file(), "{} is not there", path.display());
        demo(folder.path(), &["--replay", path.to_str().unwrap()]);
    }
    parts::ran(SCENARIO);
}
