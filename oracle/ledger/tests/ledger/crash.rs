//! `kill -9` of a process in the middle of its transactions.
//!
//! The child is this same test binary, told by an environment variable to write until it is killed.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pulsegate_ledger::embedded::EmbeddedLedger;
use pulsegate_ledger::{Contracts, Deployment, Ledger, Signer};
use pulsegate_rules::registry::Role;
use rand::{Rng, SeedableRng};

use crate::suite::{bundles, clock};

const DIR: &str = "PULSEGATE_LEDGER_CRASH_DIR";
const ROUNDS: u32 = 6;

/// The account of the n-th transaction.
fn account(number: u64) -> Signer {
    let mut seed = [0xC4; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    Signer::from_seed(&seed)
}

/// What the child does: one new participant after another, each acknowledged on its standard output.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the child of the test below"]
async fn child_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let ledger = EmbeddedLedger::open(dir.as_ref(), clock()).unwrap();
    let deployment = Deployment::load(&std::path::Path::new(&dir).join("deployment.json")).unwrap();
    let contracts = Contracts::open(Arc::new(ledger.clone()), deployment).await.unwrap();
    let mut number = first_free(&ledger);
    loop {
        let committed = contracts.registry.register_participant(&account(number), Role::Patient).await.unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "acknowledged {number} {}", committed.transaction.block.number).unwrap();
        out.flush().unwrap();
        number += 1;
    }
}

fn first_free(ledger: &EmbeddedLedger) -> u64 {
    (0..).find(|number| ledger.nonce(&account(*number).principal()) == 0).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_chain_reopens_with_all_that_was_acknowledged_and_no_half() {
    let seed: u64 = rand::random();
    eprintln!("seed {seed}");
    let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    let deployment = {
        let ledger = EmbeddedLedger::open(dir.path(), clock()).unwrap();
        let deployment = Deployment::install(&ledger, &Signer::dev("Alice"), &bundles()).await.unwrap();
        deployment.save(&dir.path().join("deployment.json")).unwrap();
        deployment
    };
    for round in 0..ROUNDS {
        let (last, last_block) = kill_after(dir.path(), rng.gen_range(1..40), rng.gen_range(0..4_000));
        // Opening compares the state on disk with the newest header's root.
        let ledger = EmbeddedLedger::open(dir.path(), clock()).unwrap();
        let head = ledger.finalised().await.unwrap();
        assert!(
            head.number >= last_block,
            "round {round}: block {last_block} was acknowledged, the chain has {}",
            head.number
        );
        let contracts = Contracts::open(Arc::new(ledger.clone()), deployment.clone()).await.unwrap();
        let free = first_free(&ledger);
        assert!(free > last, "round {round}: transaction {last} was acknowledged");
        // Three blocks installed the contracts; every other one registered one participant.
        assert_eq!(head.number, 3 + free, "round {round}: a block for each transaction");
        for number in 0..=free {
            let who = account(number).principal();
            let registered = contracts.registry.participant(who).await.unwrap().is_some();
            assert_eq!(registered, ledger.nonce(&who) == 1, "round {round}: transaction {number} is half applied");
        }
        let events = ledger.events(0, usize::MAX).await.unwrap();
        let registered = events.iter().filter(|event| event.block > 3).count();
        assert_eq!(registered as u64, free.min(1_000 - (events.len() - registered) as u64), "round {round}: events");
    }
}

/// Starts the child, waits for some acknowledgements and a little longer, kills it; the last acknowledged number and block.
fn kill_after(dir: &std::path::Path, acknowledgements: usize, extra_us: u64) -> (u64, u64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child_writes_until_it_is_killed", "--ignored", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = Vec::new();
    while seen.len() < acknowledgements {
        seen.extend(acknowledgement(&lines.next().expect("the child ended by itself").unwrap()));
    }
    let until = Instant::now() + Duration::from_micros(extra_us);
    while Instant::now() < until {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What it said between the last line read and its end counts too; a torn last line does not.
    seen.extend(lines.map_while(Result::ok).filter_map(|line| acknowledgement(&line)));
    *seen.last().unwrap()
}

fn acknowledgement(line: &str) -> Option<(u64, u64)> {
    let (_, rest) = line.split_once("acknowledged ")?;
    let (number, block) = rest.split_once(' ')?;
    Some((number.parse().ok()?, block.parse().ok()?))
}
