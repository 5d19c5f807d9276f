//! Runs the built `pulsegate` as a person or a script would, and reads what it says.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest wait for a process to be ready.
const READY_MAX: Duration = Duration::from_secs(60);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);
/// The passphrase of all keystores of the tests.
pub(crate) const PASSPHRASE: &str = "correct horse battery";

/// A command that sees nothing of the environment's own configuration.
pub(crate) fn pulsegate(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pulsegate"));
    command.current_dir(folder).stdin(Stdio::null()).env("HOME", folder).env("RUST_LOG", "warn");
    for variable in ["PULSEGATE_CONFIG", "PULSEGATE_KEYSTORE", "XDG_CONFIG_HOME"] {
        command.env_remove(variable);
    }
    command.env("PULSEGATE_PASSPHRASE", PASSPHRASE);
    command
}

/// Runs to the end with `--json`; the process succeeded and wrote one JSON document.
pub(crate) fn json(folder: &Path, arguments: &[&str]) -> Value {
    let output = pulsegate(folder).args(arguments).arg("--json").output().unwrap();
    let (stdout, stderr) = texts(&output);
    assert!(output.status.success(), "pulsegate {arguments:?} ended with {}: {stdout}\n{stderr}", output.status);
    serde_json::from_str(&stdout)
        .unwrap_or_else(|error| panic!("pulsegate {arguments:?} wrote no JSON ({error}): {stdout}"))
}

/// Runs to the end with `--json`; the process failed with this exit code and error code.
pub(crate) fn refused(folder: &Path, arguments: &[&str], exit: i32, code: &str) -> Value {
    let output = pulsegate(folder).args(arguments).arg("--json").output().unwrap();
    let (stdout, stderr) = texts(&output);
    assert_eq!(output.status.code(), Some(exit), "pulsegate {arguments:?}: {stdout}\n{stderr}");
    let start = stderr.find("{\n").unwrap_or_else(|| panic!("no JSON error in {stderr}"));
    let error: Value = serde_json::from_str(&stderr[start..]).unwrap();
    assert_eq!(error["error"]["code"], code, "{stderr}");
    assert!(!error["error"]["message"].as_str().unwrap().is_empty());
    error
}

/// What a process wrote.
pub(crate) fn texts(output: &Output) -> (String, String) {
    (String::from_utf8(output.stdout.clone()).unwrap(), String::from_utf8(output.stderr.clone()).unwrap())
}

/// Looks until something is there.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < READY_MAX, "{what} did not happen within {READY_MAX:?}");
        std::thread::sleep(PAUSE);
    }
}

/// A loopback port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A process that is ended with the test.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// Asks the process to end, as Ctrl-C does, and waits for it.
    pub(crate) fn interrupt(mut self) -> std::process::ExitStatus {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        self.0.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
