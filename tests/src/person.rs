//! Somebody at a terminal: runs the `pulsegate` program with their own keystore and reads its JSON, as a script would.

use std::path::PathBuf;
use std::process::Command;

use pulsegate_rules::Principal;
use serde_json::Value;

use crate::parts::pulsegate;

/// The passphrase of every keystore of a scenario. Logs are searched for it.
pub const PASSPHRASE: &str = "correct horse battery staple of the scenario";
/// The exit code of a refusal by consent.
pub const EXIT_REFUSED: i32 = 3;
/// The exit code of a check against the chain that found a fault.
pub const EXIT_NOT_VERIFIED: i32 = 4;

/// A person or service with a keystore.
#[derive(Clone, Debug)]
pub struct Person {
    config: PathBuf,
    keystore: PathBuf,
}

/// What a run of the program gave.
#[derive(Debug)]
pub struct Answer {
    /// The exit code.
    pub code: i32,
    /// Standard output as JSON; null when there was none.
    pub json: Value,
    /// Standard output as it was.
    pub output: String,
    /// Standard error.
    pub errors: String,
}

impl Person {
    /// Somebody whose keystore is, or will be, this file.
    #[must_use]
    pub fn new(config: PathBuf, keystore: PathBuf) -> Self {
        Self { config, keystore }
    }

    /// The keystore file.
    #[must_use]
    pub fn keystore(&self) -> &str {
        self.keystore.to_str().expect("scenarios use plain file names")
    }

    /// The account, read from the public part of the keystore.
    ///
    /// # Panics
    /// When there is no keystore yet.
    #[must_use]
    pub fn account(&self) -> Principal {
        self.does(&["whoami"]).json["account"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .expect("whoami names the account")
    }

    /// Runs a command with `--json` and lets it end as it will.
    ///
    /// # Panics
    /// When the program cannot be run, or prints something other than one JSON document.
    #[must_use]
    pub fn tries(&self, arguments: &[&str]) -> Answer {
        let mut answer = self.prints(&[arguments, &["--json"]].concat());
        if !answer.output.trim().is_empty() {
            answer.json = serde_json::from_str(&answer.output)
                .unwrap_or_else(|error| panic!("pulsegate {arguments:?} printed no JSON ({error}): {}", answer.output));
        }
        answer
    }

    /// Runs a command with `--json` that must succeed.
    ///
    /// # Panics
    /// When it does not.
    pub fn does(&self, arguments: &[&str]) -> Answer {
        let answer = self.tries(arguments);
        assert_eq!(answer.code, 0, "pulsegate {arguments:?}: {}", answer.errors);
        answer
    }

    /// As [`Person::does`], from a line whose words are parted by spaces.
    ///
    /// # Panics
    /// When the command does not succeed.
    pub fn types(&self, line: &str) -> Answer {
        self.does(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// Runs a command as people do, without `--json`.
    ///
    /// # Panics
    /// When the program cannot be run.
    #[must_use]
    pub fn prints(&self, arguments: &[&str]) -> Answer {
        let output = Command::new(pulsegate())
            .args(arguments)
            .env("PULSEGATE_CONFIG", &self.config)
            .env("PULSEGATE_KEYSTORE", &self.keystore)
            .env("PULSEGATE_PASSPHRASE", PASSPHRASE)
            .output()
            .expect("the pulsegate program runs");
        Answer {
            code: output.status.code().unwrap_or(-1),
            json: Value::Null,
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Answer {
    /// The stable code of the failure that was printed; empty when there was none.
    #[must_use]
    pub fn failure(&self) -> String {
        let begin = self.errors.find('{').unwrap_or(self.errors.len());
        let error: Value = serde_json::from_str(&self.errors[begin..]).unwrap_or_default();
        error["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}
