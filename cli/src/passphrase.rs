//! Where a keystore's passphrase comes from: `--passphrase-file`, then the environment, then a prompt. Never an argument,
//! which other processes of the machine could read.

use std::io::IsTerminal;
use std::path::Path;

use zeroize::Zeroizing;

use crate::failure::{Failure, Outcome};

/// The environment variable that may hold the passphrase.
pub(crate) const PASSPHRASE_VARIABLE: &str = "PULSEGATE_PASSPHRASE";
/// Shortest passphrase for a new keystore, in characters.
pub(crate) const PASSPHRASE_CHARS_MIN: usize = 8;
/// Longest passphrase, in bytes.
const PASSPHRASE_BYTES_MAX: usize = 1_024;

/// A passphrase; wiped when dropped, never printed.
#[derive(Clone)]
pub(crate) struct Passphrase(Zeroizing<String>);

/// What the passphrase is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// To open a keystore that exists.
    Unlock,
    /// For a keystore that is about to be made: asked twice, and not too short.
    Create,
}

impl Passphrase {
    /// Takes a passphrase from a text, as the demo does with one it made up.
    pub(crate) fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// The bytes that enter the key derivation.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Finds the passphrase: the first line of `file`, else the environment, else a prompt.
    pub(crate) fn obtain(file: Option<&Path>, need: Need, keystore: &Path) -> Outcome<Self> {
        let found = match file {
            Some(file) => Self::of_file(file)?,
            None => match std::env::var(PASSPHRASE_VARIABLE) {
                Ok(text) => Self(Zeroizing::new(text)),
                Err(_) => Self::ask(need, keystore)?,
            },
        };
        if found.0.len() > PASSPHRASE_BYTES_MAX {
            return Err(Failure::new(
                "PASSPHRASE_TOO_LONG",
                format!("a passphrase has at most {PASSPHRASE_BYTES_MAX} bytes"),
            )
            .next("check that the file or variable holds your passphrase"));
        }
        if need == Need::Create && found.0.chars().count() < PASSPHRASE_CHARS_MIN {
            let message = format!("a new keystore's passphrase needs at least {PASSPHRASE_CHARS_MIN} characters");
            return Err(Failure::new("PASSPHRASE_TOO_SHORT", message)
                .next("choose a longer one, four random words for example"));
        }
        Ok(found)
    }

    fn of_file(file: &Path) -> Outcome<Self> {
        let text = std::fs::read_to_string(file).map(Zeroizing::new).map_err(|error| {
            Failure::new(
                "PASSPHRASE_FILE_UNREADABLE",
                format!("cannot read the passphrase file {}: {error}", file.display()),
            )
            .next("give a readable text file whose first line is the passphrase")
        })?;
        Ok(Self(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned())))
    }

    fn ask(need: Need, keystore: &Path) -> Outcome<Self> {
        let none = || {
            Failure::new("PASSPHRASE_MISSING", format!("no passphrase for the keystore {}", keystore.display())).next(
                format!("give --passphrase-file FILE, set {PASSPHRASE_VARIABLE}, or run on a terminal to be asked"),
            )
        };
        if !std::io::stdin().is_terminal() {
            return Err(none());
        }
        let prompt = |text: &str| rpassword::prompt_password(text).map(Zeroizing::new).map_err(|_| none());
        let first = prompt(&format!("Passphrase for {}: ", keystore.display()))?;
        if need == Need::Create && *prompt("The same again: ")? != *first {
            return Err(Failure::new("PASSPHRASES_DIFFER", "the two passphrases differ").next("run the command again"));
        }
        Ok(Self(first))
    }
}
