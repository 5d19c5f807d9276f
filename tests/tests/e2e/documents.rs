//! What README, ARCHITECTURE and docs claim is true of the tree: paths exist, scripts explain themselves, commands and options are known.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use pulsegate_tests::parts::{agent, pulsegate, repository};

/// Folders at the root of the repository: a text in backticks that begins with one of them is a path.
const ROOTS: &[&str] =
    &["cli/", "compat/", "contracts/", "device-agent/", "docs/", "ipfs/", "oracle/", "scripts/", "tests/"];
/// Longest `ARCHITECTURE.md`, lines.
const ARCHITECTURE_LINES_MAX: usize = 200;

fn documents() -> Vec<(PathBuf, String)> {
    let root = repository();
    let mut paths = vec![root.join("README.md"), root.join("ARCHITECTURE.md"), root.join("CHANGELOG.md")];
    for folder in [root.join("docs"), root.join("docs/adr")] {
        let entries = std::fs::read_dir(folder).expect("the documents are there");
        paths.extend(entries.map(|entry| entry.expect("a folder can be listed").path()).filter(|path| path.is_file()));
    }
    paths.into_iter().map(|path| (path.clone(), std::fs::read_to_string(&path).expect("documents are text"))).collect()
}

/// The text between single backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The lines of README code blocks for a shell.
fn readme_commands() -> Vec<String> {
    let text = std::fs::read_to_string(repository().join("README.md")).expect("there is a README");
    let blocks = text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default().to_owned());
    blocks
        .flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>())
        .filter(|line| !line.trim().is_empty())
        .collect()
}

fn help_of(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).arg("--help").output().expect("the program runs");
    assert!(
        output.status.success(),
        "{} {arguments:?} --help: {}",
        program.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The long options of a command line, without their values and without comments.
fn options(line: &str) -> BTreeSet<String> {
    let command = line.split(" #").next().unwrap_or_default();
    let words = command.split_whitespace().filter(|word| word.starts_with("--") && word.len() > 2);
    words.map(|word| word.split('=').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn every_path_that_a_document_names_exists() {
    for (document, text) in documents() {
        for path in quoted(&text).filter(|quoted| ROOTS.iter().any(|root| quoted.starts_with(root))) {
            let path = path.split_whitespace().next().unwrap_or_default();
            let path = path.trim_end_matches('/');
            // Names made at build time or with a part left open are not paths of the tree.
            if path.contains(['*', '…']) {
                continue;
            }
            assert!(repository().join(path).exists(), "{} names {path}, which is not there", document.display());
        }
    }
}

#[test]
fn architecture_is_short_enough_to_be_read() {
    let text = std::fs::read_to_string(repository().join("ARCHITECTURE.md")).expect("there is an ARCHITECTURE.md");
    let lines = text.lines().count();
    assert!(lines < ARCHITECTURE_LINES_MAX, "{lines} lines");
}

#[test]
fn every_script_explains_itself() {
    let entries = std::fs::read_dir(repository().join("scripts")).expect("there are scripts");
    for path in entries.map(|entry| entry.expect("a folder can be listed").path()) {
        if path.file_name().is_some_and(|name| name == "lib.sh") {
            continue;
        }
        let help = help_of(&path, &[]);
        assert!(help.contains("Usage:"), "{} --help does not say how it is used", path.display());
    }
}

#[test]
fn commands_in_the_readme_are_known_with_all_their_options() {
    let mut seen = 0;
    for line in readme_commands() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let help = match words.as_slice() {
            ["pulsegate", command, subcommand, ..] if *command == "device" || *command == "oracle" => {
                help_of(&pulsegate(), &[command, subcommand])
            }
            ["pulsegate", command, ..] => help_of(&pulsegate(), &[command]),
            ["pulsegate-agent", "run", ..] => help_of(&agent(), &["run"]) + &help_of(&agent(), &["run", "generate"]),
            [script, ..] if script.starts_with("scripts/") => help_of(&repository().join(script), &[]),
            _ => continue,
        };
        seen += 1;
        for option in options(&line) {
            assert!(help.contains(&option), "the README says \"{line}\", but {option} is not known");
        }
    }
    assert!(seen > 10, "the README has commands, but only {seen} were found");
}
