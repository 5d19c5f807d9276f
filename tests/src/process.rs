//! A server as a process of its own: started with its output in a file, killed as a power cut would, always ended by its own id.

use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// Longest wait for one answer; the servers are debug builds on busy machines.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// The first port that scenarios take.
const FIRST_PORT: u16 = 10_000;
/// How many ports scenarios choose from.
const PORTS: u16 = 20_000;

/// A running server. Dropping it kills exactly this process.
pub struct Server {
    name: &'static str,
    child: Child,
    log: PathBuf,
    has_children: bool,
}

impl Server {
    /// Starts the command with standard output and error appended to `log`.
    ///
    /// # Panics
    /// When the program cannot be started or the log not be written.
    #[must_use]
    pub fn start(name: &'static str, command: &mut Command, log: &Path) -> Self {
        let output: File =
            OpenOptions::new().create(true).append(true).open(log).expect("the log of a server can be written");
        let errors = output.try_clone().expect("the log of a server can be written twice");
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self { name, child, log: log.to_path_buf(), has_children: false }
    }

    /// Starts a script that starts a server of its own: it is asked to end, never killed, so that it ends its server too.
    #[must_use]
    pub fn start_script(name: &'static str, command: &mut Command, log: &Path) -> Self {
        let mut server = Self::start(name, command, log);
        server.has_children = true;
        server
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything that the server printed so far.
    #[must_use]
    pub fn output(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The exit status, once the process has ended.
    ///
    /// # Panics
    /// When the system cannot say.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the system knows our own child")
    }

    /// Ends the process as `kill -9` does: nothing that it had not written down survives.
    ///
    /// # Panics
    /// When the system refuses to end our own child.
    pub fn kill(mut self) {
        self.end();
    }

    /// Asks the process to end (`SIGTERM`) and waits for it.
    ///
    /// # Panics
    /// When there is no `kill` program, or the process cannot be waited for.
    pub fn terminate(mut self) -> ExitStatus {
        self.ask_to_end();
        self.child.wait().expect("the system knows our own child")
    }

    fn ask_to_end(&self) {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status().expect("there is a kill program");
        assert!(asked.success(), "{} (process {}) could not be asked to end", self.name, self.child.id());
    }

    fn end(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            if self.has_children {
                self.ask_to_end();
            } else {
                self.child.kill().expect("our own child can be killed");
            }
        }
        let _status = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            let output = self.output();
            let tail: Vec<&str> = output.lines().rev().take(40).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            println!("---- the end of what {} printed ----\n{}", self.name, tail.join("\n"));
        }
    }
}

/// A client for HTTP requests to the servers of a scenario.
///
/// # Panics
/// When the TLS library cannot start.
#[must_use]
pub fn http() -> reqwest::Client {
    // The client insists on a TLS provider even where every request is plain HTTP; another test may have installed it already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder().timeout(ANSWER_WITHIN).build().expect("a client without options can be built")
}

/// A loopback port that is free, below the range from which the system takes ports for connections: those come and go by the
/// thousand while scenarios run, and one of them could take a port between this call and the server's start.
///
/// # Panics
/// When none is free.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test programs that run side by side begin at different places.
    let begin = u16::try_from(std::process::id() * 37 % u32::from(PORTS)).expect("a remainder of a u16 is one");
    (0..PORTS)
        .map(|_| FIRST_PORT + begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a loopback port is free")
}
