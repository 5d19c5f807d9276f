//! A Kubo node in a temporary folder, on free loopback ports, without a network; ended by its process id.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a node may take to answer after its start.
const START_MAX: Duration = Duration::from_secs(60);

/// A running node; killed when dropped.
pub(crate) struct KuboNode {
    repository: tempfile::TempDir,
    daemon: Child,
}

/// Starts a node, or says that there is no `ipfs`.
pub(crate) fn start() -> Option<KuboNode> {
    if Command::new("ipfs").arg("version").stdout(Stdio::null()).status().is_err() {
        eprintln!("SKIPPED: no `ipfs` on the PATH, so nothing was run against Kubo");
        return None;
    }
    let repository = tempfile::tempdir().expect("a temporary folder");
    // The profile `test` puts every address on a free loopback port and leaves the network alone.
    ipfs(repository.path(), &["init", "--profile=test"]);
    let daemon = daemon(repository.path());
    Some(KuboNode { repository, daemon })
}

impl KuboNode {
    /// The address of the node's RPC.
    pub(crate) fn api_url(&self) -> String {
        let address = std::fs::read_to_string(self.repository.path().join("api")).expect("a running node's api file");
        let port = address.trim().rsplit('/').next().expect("an address ends with its port");
        format!("http://127.0.0.1:{port}")
    }

    /// Ends the node as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.daemon.kill().expect("the node's own process can be killed");
        self.daemon.wait().expect("a killed process ends");
    }

    /// Starts a killed node again on its repository.
    pub(crate) fn restart(&mut self) {
        let _ = std::fs::remove_file(self.repository.path().join("api"));
        self.daemon = daemon(self.repository.path());
    }

    /// Drops what nothing pins.
    pub(crate) fn collect_garbage(&self) {
        self.command(&["repo", "gc", "--quiet"]);
    }

    /// Runs `ipfs` against the node.
    pub(crate) fn command(&self, arguments: &[&str]) -> String {
        ipfs(self.repository.path(), arguments)
    }
}

impl Drop for KuboNode {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn ipfs(repository: &Path, arguments: &[&str]) -> String {
    let output = Command::new("ipfs").env("IPFS_PATH", repository).args(arguments).output().expect("ipfs starts");
    assert!(output.status.success(), "ipfs {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn daemon(repository: &Path) -> Child {
    let mut child = Command::new("ipfs")
        .env("IPFS_PATH", repository)
        .args(["daemon", "--offline"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("ipfs starts");
    let started = Instant::now();
    loop {
        let api = std::fs::read_to_string(repository.join("api")).unwrap_or_default();
        let port = api.trim().rsplit('/').next().and_then(|port| port.parse::<u16>().ok());
        if port.is_some_and(|port| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()) {
            return child;
        }
        assert!(child.try_wait().expect("the node's own process").is_none(), "the node ended at its start");
        assert!(started.elapsed() < START_MAX, "the node does not answer");
        std::thread::sleep(Duration::from_millis(20));
    }
}
