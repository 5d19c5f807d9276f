//! The real parts: which of them this machine has, how each is started, and the report of what could therefore run.
//!
//! A scenario that needs a part which is not there does not fail: it says in the report (`PULSEGATE_TEST_REPORT`, printed by
//! `scripts/test.sh`) and on standard output that it was left out, and why.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::eventually::eventually;
use crate::process::{Server, free_port, http};

/// The file to which each scenario adds a line, when the variable is set.
pub const REPORT_VARIABLE: &str = "PULSEGATE_TEST_REPORT";
/// The folder with recorded patients.
pub const DATA_VARIABLE: &str = "PULSEGATE_DATA";
/// Longest wait for a server's first answer; a debug build on two busy cores needs its time.
pub const READY_WITHIN: Duration = Duration::from_secs(120);

/// The repository's root.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie inside the repository").to_path_buf()
}

/// Finds a program on the `PATH`.
#[must_use]
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|candidate| candidate.is_file())
}

/// The folder of recorded patients, if there is one.
#[must_use]
pub fn recorded_patients() -> Option<PathBuf> {
    std::env::var_os(DATA_VARIABLE).map(PathBuf::from).filter(|folder| folder.join("physionet2012").is_dir())
}

/// The `pulsegate` program that was built together with the tests (or the one that `PULSEGATE_BIN` names).
///
/// # Panics
/// When it was not built: `scripts/test.sh` builds it with the features that the scenarios need.
#[must_use]
pub fn pulsegate() -> PathBuf {
    std::env::var_os("PULSEGATE_BIN").map_or_else(|| built("pulsegate"), PathBuf::from)
}

/// The `pulsegate-agent` program that was built together with the tests.
///
/// # Panics
/// When it was not built.
#[must_use]
pub fn agent() -> PathBuf {
    built("pulsegate-agent")
}

fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running program knows its path");
    let path = test.ancestors().nth(2).expect("tests are built in target/PROFILE/deps").join(name);
    assert!(path.is_file(), "{} is not built; run scripts/test.sh --tests-only, which builds it first", path.display());
    path
}

/// Says that a scenario which needs real parts or data ran.
pub fn ran(scenario: &str) {
    report(&format!("ran      {scenario}"));
}

/// Says that a scenario was left out, and why.
pub fn left_out(scenario: &str, reason: &str) {
    report(&format!("not run  {scenario}: {reason}"));
}

/// Says whether all named programs are on the `PATH`; when one is not, the scenario is reported as left out.
#[must_use]
pub fn all_found(scenario: &str, programs: &[&str]) -> bool {
    let missing: Vec<&str> = programs.iter().copied().filter(|name| program(name).is_none()).collect();
    if !missing.is_empty() {
        left_out(scenario, &format!("{} not on the PATH", missing.join(", ")));
    }
    missing.is_empty()
}

/// A single short line per write, so that lines of scenarios running side by side do not mix.
fn report(line: &str) {
    println!("scenario {line}");
    if let Some(path) = std::env::var_os(REPORT_VARIABLE) {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        let written = file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
        written.expect("the report can be written");
    }
}

/// A contracts node and how to start it again on the same state.
pub struct Node {
    base_path: PathBuf,
    port: u16,
    server: Option<Server>,
}

impl Node {
    /// Starts a development chain with its state under `folder`.
    pub async fn start(folder: &Path) -> Self {
        let mut node = Self { base_path: folder.join("node"), port: free_port(), server: None };
        std::fs::create_dir_all(&node.base_path).expect("the state folder can be made");
        node.restart().await;
        node
    }

    /// The WebSocket address of its RPC.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// Kills the node as a power cut would.
    pub fn kill(&mut self) {
        if let Some(server) = self.server.take() {
            server.kill();
        }
    }

    /// Starts the node on the state that is there, and waits until it answers.
    pub async fn restart(&mut self) {
        self.kill();
        let mut command = Command::new("substrate-contracts-node");
        command.args(["--dev", "--no-telemetry", "--no-prometheus", "--port", "0", "--finalize-delay-sec", "1"]);
        command.arg("--base-path").arg(&self.base_path).arg("--rpc-port").arg(self.port.to_string());
        self.server = Some(Server::start("the contracts node", &mut command, &self.base_path.join("node.log")));
        let url = format!("http://127.0.0.1:{}", self.port);
        let question = serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": "chain_getFinalizedHead", "params": []});
        answers("the contracts node answers", || http().post(&url).json(&question)).await;
    }
}

/// A Kubo node and how to start it again on the same repository.
pub struct Kubo {
    repository: PathBuf,
    api_port: u16,
    server: Option<Server>,
}

impl Kubo {
    /// Initialises a repository under `folder` and starts Kubo on it, offline.
    pub async fn start(folder: &Path) -> Self {
        let mut kubo = Self { repository: folder.join("kubo"), api_port: free_port(), server: None };
        std::fs::create_dir_all(&kubo.repository).expect("the repository folder can be made");
        kubo.ipfs(&["init", "--profile=test"]);
        kubo.ipfs(&["config", "Addresses.API", &format!("/ip4/127.0.0.1/tcp/{}", kubo.api_port)]);
        kubo.ipfs(&["config", "Addresses.Gateway", &format!("/ip4/127.0.0.1/tcp/{}", free_port())]);
        kubo.restart().await;
        kubo
    }

    /// The HTTP address of its RPC.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.api_port)
    }

    /// Kills Kubo as a power cut would.
    pub fn kill(&mut self) {
        if let Some(server) = self.server.take() {
            server.kill();
        }
    }

    /// Starts Kubo on the repository that is there, and waits until it answers.
    pub async fn restart(&mut self) {
        self.kill();
        let mut command = Command::new("ipfs");
        command.env("IPFS_PATH", &self.repository).args(["daemon", "--offline"]);
        self.server = Some(Server::start("Kubo", &mut command, &self.repository.join("kubo.log")));
        let url = format!("{}/api/v0/version", self.url());
        answers("Kubo answers", || http().post(&url)).await;
    }

    fn ipfs(&self, arguments: &[&str]) {
        let output = Command::new("ipfs").env("IPFS_PATH", &self.repository).args(arguments).output();
        let output = output.expect("ipfs is on the PATH");
        assert!(output.status.success(), "ipfs {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

async fn answers(what: &str, request: impl Fn() -> reqwest::RequestBuilder) {
    eventually(what, READY_WITHIN, || {
        let sent = request().timeout(Duration::from_secs(2)).send();
        async { sent.await?.error_for_status() }
    })
    .await;
}
