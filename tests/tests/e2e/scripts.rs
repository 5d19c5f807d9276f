//! A patient's day by the shell scripts, for real: node, Kubo, deployment with cargo-contract, grant, list, revoke.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pulsegate_tests::device::Device;
use pulsegate_tests::eventually::eventually;
use pulsegate_tests::installation::{Installation, Parts};
use pulsegate_tests::parts::{self, READY_WITHIN, pulsegate, repository};
use pulsegate_tests::person::{EXIT_REFUSED, PASSPHRASE, Person};
use pulsegate_tests::process::{Server, free_port};

/// A script started in the background, ready when it has said so.
async fn started(name: &'static str, script: &str, arguments: &str, log: &Path) -> Server {
    let mut command = Command::new(repository().join("scripts").join(script));
    command.args(arguments.split_whitespace());
    let server = Server::start_script(name, &mut command, log);
    eventually("the script says that its server is ready", READY_WITHIN, || {
        let output = server.output();
        async move { if output.contains("ready:") { Ok(()) } else { Err(output) } }
    })
    .await;
    server
}

/// Runs a script as somebody.
fn script(person: &Person, installation: &Installation, name: &str, arguments: &str) -> String {
    let output: Output = Command::new(repository().join("scripts").join(name))
        .args(arguments.split_whitespace())
        .env("PULSEGATE_BIN", pulsegate())
        .env("PULSEGATE_CONFIG", installation.config())
        .env("PULSEGATE_KEYSTORE", person.keystore())
        .env("PULSEGATE_PASSPHRASE", PASSPHRASE)
        .output()
        .expect("the script runs");
    let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name} {arguments}: {printed}{errors}");
    printed.into_owned()
}

/// The process that a script wrote down has ended with it.
async fn gone(pid_file: &Path) {
    let pid = std::fs::read_to_string(pid_file).expect("the script wrote the process id");
    eventually("the server has ended with its script", READY_WITHIN, || {
        let alive = Command::new("kill").args(["-0", pid.trim()]).output().expect("there is a kill program");
        async move { if alive.status.success() { Err("alive") } else { Ok(()) } }
    })
    .await;
}

/// Both servers, started by their scripts.
struct Servers {
    node: Server,
    kubo: Server,
    rpc: u16,
    api: u16,
    pid_files: [PathBuf; 2],
}

impl Servers {
    async fn started(folder: &Path) -> Self {
        let (rpc, api, gateway) = (free_port(), free_port(), free_port());
        let pid_files = ["node.pid", "kubo.pid"].map(|name| folder.join(name));
        let [node_pid, kubo_pid] = pid_files.each_ref().map(|file| file.display());
        let base_path = folder.join("node");
        let node = format!("--base-path {} --port {rpc} --pid-file {node_pid}", base_path.display());
        let node = started("scripts/node.sh", "node.sh", &node, &folder.join("node.log")).await;
        let repo = folder.join("kubo");
        let ports = format!("--api-port {api} --gateway-port {gateway} --pid-file {kubo_pid}");
        let kubo = format!("--offline --repo {} {ports}", repo.display());
        let kubo = started("scripts/ipfs.sh", "ipfs.sh", &kubo, &folder.join("kubo.log")).await;
        Self { node, kubo, rpc, api, pid_files }
    }

    async fn end(self) {
        for (script, pid_file) in [self.node, self.kubo].into_iter().zip(self.pid_files) {
            assert!(script.terminate().success(), "a script that is asked to end ends well");
            gone(&pid_file).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn patients_day_by_script_on_real_parts() {
    const SCENARIO: &str = "a patient's day by script: node.sh, ipfs.sh, deploy.sh, grant, list, revoke";
    if !parts::all_found(SCENARIO, &["substrate-contracts-node", "ipfs", "cargo-contract"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (servers, port) = (Servers::started(folder.path()).await, free_port());
    let (rpc, api) = (servers.rpc.to_string(), servers.api.to_string());
    let example = std::fs::read_to_string(repository().join("cli/examples/real-parts.toml")).unwrap();
    let configuration = example
        .replace(":7400", &format!(":{port}"))
        .replace(":9944", &format!(":{rpc}"))
        .replace(":5001", &format!(":{api}"));
    let (node_url, kubo_url) = (format!("ws://127.0.0.1:{rpc}"), format!("http://127.0.0.1:{api}"));
    let parts = Parts::Elsewhere { node_url: node_url.clone(), kubo_url };
    let mut installation = Installation::prepared(parts, folder, port, &configuration);
    let deployment = installation.folder().join("deployment.json");
    let deploy =
        format!("--url {node_url} --output {} --config {}", deployment.display(), installation.config().display());
    script(&installation.person("operator"), &installation, "deploy.sh", &deploy);
    installation.start().await;

    let patient = installation.enrol("patient", "patient");
    let practitioner = installation.enrol("practitioner", "practitioner");
    let mut device = Device::added(&installation, &patient, &["vital-signs"]);
    device.measure(3);
    device.send_all().await;
    let window = "--from -2h --until +1h";
    let grant = format!("--to {} --read vital-signs --for treatment {window}", practitioner.keystore());
    script(&patient, &installation, "grant-consent.sh", &grant);
    let listed = script(&patient, &installation, "list-grants.sh", "--standing --json");
    assert_eq!(grants_in(&listed), 1, "{listed}");
    let open = format!("open --patient {} --category vital-signs --purpose TREAT {window}", patient.account());
    let open: Vec<&str> = open.split_whitespace().collect();
    eventually("the practitioner reads what was granted", READY_WITHIN, || async {
        let opened = practitioner.tries(&open);
        let count = opened.json["readings"].as_array().map_or(0, Vec::len);
        if count == 3 { Ok(()) } else { Err(format!("{count} readings, {}", opened.errors)) }
    })
    .await;
    script(&patient, &installation, "revoke-consent.sh", "1");
    assert_eq!(practitioner.tries(&open).code, EXIT_REFUSED, "a revoked grant opens nothing");
    let listed = script(&patient, &installation, "list-grants.sh", "--standing --json");
    assert_eq!(grants_in(&listed), 0, "{listed}");

    installation.stop();
    servers.end().await;
    parts::ran(SCENARIO);
}

fn grants_in(listed: &str) -> usize {
    let listed: serde_json::Value = serde_json::from_str(listed).expect("--json prints JSON");
    listed.as_array().or_else(|| listed["grants"].as_array()).map_or(usize::MAX, Vec::len)
}

#[test]
fn scripts_say_what_is_missing_and_where_to_get_it() {
    // A PATH with the system's own tools but none of the real parts.
    let folder = tempfile::tempdir().unwrap();
    for tool in ["bash", "cat", "dirname", "basename", "sed", "curl", "mktemp", "mkdir", "tail", "env"] {
        if let Some(path) = parts::program(tool) {
            std::os::unix::fs::symlink(path, folder.path().join(tool)).unwrap();
        }
    }
    for (script, missing) in [("node.sh", "substrate-contracts-node"), ("ipfs.sh", "Kubo"), ("deploy.sh", "cargo")] {
        let output = Command::new("bash")
            .arg(repository().join("scripts").join(script))
            .env("PATH", folder.path())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && errors.contains(missing) && errors.contains("https://"),
            "{script}: {errors}"
        );
    }
}
