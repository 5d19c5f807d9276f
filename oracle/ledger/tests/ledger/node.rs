//! The suite on a real contracts node, and a node that is killed and comes back.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use pulsegate_ledger::node::NodeLedger;
use pulsegate_ledger::{Ledger, Signer};
use pulsegate_rules::registry::Role;
use rand::{Rng, SeedableRng};

use crate::suite::{World, run};

const PROGRAM: &str = "substrate-contracts-node";
/// A node may take half a minute to start on a busy machine.
const DEADLINE: Duration = Duration::from_secs(90);

/// How often the node is killed.
const KILLS: u32 = 4;
/// A write takes a little longer than this, from dry run to finality.
const WRITE_MS: u64 = 1_500;

/// A running node; dropping it kills it.
struct Node {
    child: Child,
}

impl Node {
    fn start(base: &Path, port: u16) -> Self {
        let child = Command::new(PROGRAM)
            .args(["--dev", "--no-prometheus", "--no-telemetry", "--state-pruning", "archive", "--port", "0"])
            .arg("--rpc-port")
            .arg(port.to_string())
            .arg("--base-path")
            .arg(base)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child }
    }

    /// SIGKILL, as by `kill -9`.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn installed() -> bool {
    let found = Command::new(PROGRAM).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        // Past the test runner's capture, so that a passing run says it too.
        #[expect(clippy::explicit_write, reason = "the test runner captures what `eprintln!` prints")]
        writeln!(std::io::stderr(), "skipped: {PROGRAM} is not on the PATH").unwrap();
    }
    found
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread")]
async fn suite_passes_on_a_node() {
    if !installed() {
        return;
    }
    let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
    let _node = Node::start(dir.path(), port);
    let ledger = NodeLedger::connect(&format!("ws://127.0.0.1:{port}"), DEADLINE).await.unwrap();
    run(&World::install(Arc::new(ledger), Signer::dev("Alice")).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_node_is_found_again_and_no_write_is_lost_or_doubled() {
    if !installed() {
        return;
    }
    let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
    let mut node = Node::start(dir.path(), port);
    let ledger: Arc<dyn Ledger> =
        Arc::new(NodeLedger::connect(&format!("ws://127.0.0.1:{port}"), DEADLINE).await.unwrap());
    let world = World::install(Arc::clone(&ledger), Signer::dev("Alice")).await;
    let registry = world.contracts.registry.clone();
    let (one, mut other) = (world.account().await, world.account().await);
    registry.register_participant(&one, Role::Patient).await.unwrap();

    // Writes on their way when the node dies at a random moment of them, and a read asked for while it is gone.
    let seed: u64 = rand::random();
    eprintln!("seed {seed}");
    let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
    for round in 0..KILLS {
        let delay = Duration::from_millis(rng.gen_range(0..WRITE_MS));
        eprintln!("round {round}: killed after {delay:?}");
        let writer = world.account().await;
        let write = tokio::spawn({
            let (registry, writer) = (registry.clone(), writer.clone());
            async move { registry.register_participant(&writer, Role::Patient).await }
        });
        tokio::time::sleep(delay).await;
        node.kill();
        let read = tokio::spawn({
            let (registry, one) = (registry.clone(), one.principal());
            async move { registry.participant(one).await }
        });
        node = Node::start(dir.path(), port);
        assert!(read.await.unwrap().unwrap().is_some());
        let written = write.await.unwrap().unwrap();
        let events = ledger.events(1, 1_000).await.unwrap();
        let of_write: Vec<_> = events.iter().filter(|event| event.data == written.transaction.events[0].data).collect();
        assert_eq!(of_write.len(), 1, "round {round}: the write happened once");
        other = writer;
    }
    let before = ledger.finalised().await.unwrap();
    let again = registry.register_participant(&other, Role::Patient).await.unwrap_err();
    assert_eq!(again.code(), "REGISTRY_ALREADY_EXISTS");
    assert_eq!(ledger.finalised().await.unwrap().number, before.number);
    registry.register_participant(&world.account().await, Role::Insurer).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_at_the_address_is_unavailable() {
    let error = NodeLedger::connect("ws://127.0.0.1:1", Duration::from_millis(500)).await.err().unwrap();
    assert_eq!(error.code(), "LEDGER_UNAVAILABLE");
    let plain = NodeLedger::connect("ws://example.org:9944", Duration::from_millis(500)).await.err().unwrap();
    assert_eq!(plain.code(), "LEDGER_UNAVAILABLE");
    assert!(plain.to_string().contains("nsecure"), "{plain}");
}
