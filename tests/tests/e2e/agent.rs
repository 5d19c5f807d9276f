//! The device agent as a program against the oracle as a program, each killed while it works: no gap, no double.

use std::process::Command;
use std::time::Duration;

use pulsegate_tests::device::now_ms;
use pulsegate_tests::eventually::eventually;
use pulsegate_tests::installation::Installation;
use pulsegate_tests::parts::{READY_WITHIN, agent};
use pulsegate_tests::process::Server;
use pulsegate_tests::seed::seeded;
use rand::Rng;

/// Rounds of measurements that the generated patient gives.
const ROUNDS: u64 = 400;
/// Milliseconds of the patient's life between two rounds.
const EVERY_MS: u64 = 20_000;
/// Longest life of the agent between two power cuts, milliseconds.
const LIFE_MS_MAX: u64 = 700;
/// Longest wait until everything is anchored.
const ANCHORED_WITHIN: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread")]
async fn agent_and_oracle_killed_in_turn_deliver_every_measurement_once() {
    let mut random = seeded("agent_and_oracle_killed_in_turn_deliver_every_measurement_once");
    let mut installation = Installation::embedded().await;
    let patient = installation.enrol("patient", "patient");
    let key = installation.folder().join("device.key");
    let key = key.to_str().expect("scenarios use plain file names");
    patient.does(&["device", "add", "--category", "vital-signs", "--category", "ecg", "--key-file", key]);

    let mut command = Command::new(agent());
    command.args(["run", "--key", key, "--oracle", &installation.url(), "--patient", &patient.account().to_string()]);
    command.arg("--dir").arg(installation.folder().join("queue"));
    let start = (now_ms() - ROUNDS * EVERY_MS).to_string();
    let (every, rounds) = (EVERY_MS.to_string(), ROUNDS.to_string());
    command.args(["generate", "--seed", "7", "--start", &start, "--every-ms", &every, "--rounds", &rounds]);
    let log = installation.folder().join("agent.log");
    for _ in 0..4 {
        let running = Server::start("the agent", &mut command, &log);
        let life = Duration::from_millis(random.gen_range(1..=LIFE_MS_MAX));
        // Cut off in the middle of whatever it is doing.
        let _cut = tokio::time::timeout(life, std::future::pending::<()>()).await;
        running.kill();
        installation.kill();
        installation.start().await;
    }
    let mut last = Server::start("the agent", &mut command, &log);
    eventually("the agent delivers what is left and ends", READY_WITHIN, || {
        let ended = last.ended();
        async move { ended.ok_or("it is running") }
    })
    .await;

    eventually("everything is anchored and verifies", ANCHORED_WITHIN, || async {
        let answer = patient.tries(&["verify", "--decrypt"]);
        let (records, opened) = (answer.json["records"].as_u64(), answer.json["opened"].as_u64());
        let device = &answer.json["devices"][0];
        let whole = device["anchored"] == device["last_sequence"] && device["pending"] == 0;
        // A round gives at least one measurement of each vital sign; verification itself refuses gaps and doubles.
        if answer.code == 0 && whole && records >= Some(ROUNDS) && records == opened {
            Ok(())
        } else {
            Err(format!("{} {}", answer.json, answer.errors))
        }
    })
    .await;
}
