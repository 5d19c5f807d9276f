//! `kill -9` of the agent, again and again, at random moments, with an oracle that fails now and then: no gap and no double.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking and prints its seed")]

mod common;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use common::{AUDIENCE, Fault, Oracle, PATIENT};
use pulsegate_device_agent::sources::{CsvSource, Source};
use pulsegate_device_agent::{Measurement, create_key_file};
use pulsegate_reading::DeviceKey;
use pulsegate_rules::Principal;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// How many readings the source has.
const READINGS: u64 = 3_000;
/// Most runs of the agent until all must have arrived.
const RUNS_MAX: u32 = 200;

fn write_key(path: &Path) -> DeviceKey {
    create_key_file(path).unwrap();
    std::fs::write(path, format!("{}\n", hex::encode([7; 32]))).unwrap();
    common::key()
}

fn write_csv(path: &Path) -> Vec<Measurement> {
    let mut text = "measured_at,code,value,unit\n".to_owned();
    for number in 0..READINGS {
        let value = if number % 50 == 7 { 0 } else { 60 + number % 100 };
        text.push_str(&format!("{},8867-4,{value},/min\n", 1_700_000_000_000 + number * 1_000));
    }
    std::fs::write(path, text).unwrap();
    CsvSource::open(path).unwrap().read(usize::MAX).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_moments_the_agent_leaves_no_gap_and_no_double() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let (dir, oracle) = (tempfile::tempdir().unwrap(), Oracle::start().await);
    let (key, csv, queue) = (dir.path().join("device.key"), dir.path().join("readings.csv"), dir.path().join("queue"));
    write_key(&key);
    let expected = write_csv(&csv);
    assert_eq!(expected.len() as u64, READINGS - READINGS / 50);
    let start = || {
        tokio::process::Command::new(env!("CARGO_BIN_EXE_pulsegate-agent"))
            .arg("run")
            .args(["--key", key.to_str().unwrap(), "--dir", queue.to_str().unwrap(), "--oracle", &oracle.url()])
            .args(["--patient", &PATIENT.to_string(), "--audience", &Principal(AUDIENCE).to_string()])
            .args(["csv", csv.to_str().unwrap()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    };
    let mut kills = 0;
    loop {
        if rng.gen_bool(0.5) {
            oracle.fail([Fault::TakeAndBreak]);
        }
        let mut child = start();
        let patience = if kills < 25 { Duration::from_millis(rng.gen_range(5..400)) } else { Duration::from_secs(120) };
        match tokio::time::timeout(patience, child.wait()).await {
            Ok(status) => {
                let output = child.wait_with_output().await.unwrap();
                assert!(status.unwrap().success(), "{}", String::from_utf8_lossy(&output.stderr));
                break;
            }
            Err(_) => {
                // SIGKILL: nothing in the agent runs after it.
                child.kill().await.unwrap();
                kills += 1;
            }
        }
        assert!(kills < RUNS_MAX);
    }
    println!("{kills} kills, {} requests", oracle.book.lock().unwrap().requests);
    assert!(kills > 0, "the agent was never killed");
    oracle.book.lock().unwrap().holds(&expected);
    // Once more: everything is there, so nothing is sent.
    let requests = oracle.book.lock().unwrap().requests;
    let output = start().wait_with_output().await.unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("0 readings accepted"));
    assert_eq!(oracle.book.lock().unwrap().requests, requests);
}

#[test]
fn help_teaches_and_no_option_takes_a_secret() {
    let run = |arguments: &[&str]| {
        let output =
            std::process::Command::new(env!("CARGO_BIN_EXE_pulsegate-agent")).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let help = run(&["--help"]);
    assert!(help.contains("Examples:") && help.contains("kill -9"), "{help}");
    let run_help = run(&["run", "--help"]);
    assert!(
        run_help.contains("--oracle") && run_help.contains("physionet") && run_help.contains("mitbih"),
        "{run_help}"
    );
    assert!(!run_help.to_lowercase().contains("seed hex") && !run_help.contains("--secret"));
}

#[test]
fn the_key_command_makes_a_key_once_and_shows_its_public_part() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("device.key");
    let run = || {
        let command = std::process::Command::new(env!("CARGO_BIN_EXE_pulsegate-agent")).arg("key").arg(&file).output();
        String::from_utf8(command.unwrap().stdout).unwrap()
    };
    let first = run();
    assert_eq!(first, run());
    let secret = std::fs::read_to_string(&file).unwrap();
    assert!(first.starts_with("device 0x") && !first.contains(secret.trim()));
}
