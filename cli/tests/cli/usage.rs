//! How the program teaches and how it fails, without a chain or an oracle.

use crate::support::{PASSPHRASE, pulsegate, refused, texts};

const COMMANDS: &[&[&str]] = &[
    &["demo"],
    &["up"],
    &["enrol"],
    &["whoami"],
    &["device"],
    &["device", "add"],
    &["grant"],
    &["revoke"],
    &["relay"],
    &["rotate"],
    &["publish"],
    &["grants"],
    &["open"],
    &["explain"],
    &["receipts"],
    &["verify"],
    &["wallet"],
    &["oracle"],
];

#[test]
fn every_command_teaches_with_examples() {
    let folder = tempfile::tempdir().unwrap();
    for command in COMMANDS {
        let output = pulsegate(folder.path()).args(*command).arg("--help").output().unwrap();
        let (help, _) = texts(&output);
        assert!(output.status.success(), "{command:?}");
        assert!(help.contains("Usage: pulsegate"), "{command:?}: {help}");
        assert!(help.contains("--json"), "{command:?} takes --json");
        assert!(help.contains("pulsegate ") && help.contains("xample"), "{command:?} has examples: {help}");
        assert!(!help.contains(PASSPHRASE), "help prints no passphrase");
    }
}

#[test]
fn wrong_usage_ends_with_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["frobnicate"][..],
        &["revoke", "not-a-number"],
        &["open", "--category", "genome"],
        &["grant", "--to", "nobody", "--category", "ecg", "--purpose", "TREAT", "--from", "now", "--until", "+1d"],
        &["demo", "--hours", "1"],
        &["relay", "--typed-data", "-", "--signature", "0x1b"],
        &["revoke", "1", "--print-typed-data", "--signed-by-wallet"],
    ] {
        let output = pulsegate(folder.path()).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn failures_have_a_code_and_a_next_step() {
    let folder = tempfile::tempdir().unwrap();
    let error = refused(folder.path(), &["grants"], 1, "CONFIG_UNREADABLE");
    assert!(error["error"]["next"].as_str().unwrap().contains("--config"));
    refused(folder.path(), &["whoami"], 1, "KEYSTORE_NOT_FOUND");
    std::fs::write(folder.path().join("pulsegate.toml"), "[oracle]\nulr = \"http://127.0.0.1:1\"\n").unwrap();
    let error = refused(folder.path(), &["verify"], 1, "CONFIG_INVALID");
    assert!(error["error"]["message"].as_str().unwrap().contains("ulr"));
    std::fs::write(folder.path().join("mail.json"), "{\"primaryType\": \"Mail\"}").unwrap();
    let signature = format!("0x{}", "1b".repeat(65));
    let relay = ["relay", "--typed-data", "mail.json", "--signature", &signature];
    let error = refused(folder.path(), &relay, 1, "TYPED_DATA_MALFORMED");
    assert!(error["error"]["next"].as_str().unwrap().contains("--print-typed-data"));
}

#[test]
fn an_oracle_that_does_not_run_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let example =
        include_str!("../../examples/embedded.toml").replace("7400", &crate::support::free_port().to_string());
    std::fs::write(folder.path().join("pulsegate.toml"), example).unwrap();
    let error = refused(folder.path(), &["verify"], 1, "LEDGER_UNAVAILABLE");
    assert!(error["error"]["next"].as_str().unwrap().contains("pulsegate up"));
}

#[cfg(not(feature = "real-parts"))]
#[test]
fn an_adapter_that_is_not_built_is_not_replaced_by_another() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pulsegate.toml"), include_str!("../../examples/real-parts.toml")).unwrap();
    let error = refused(folder.path(), &["grants"], 1, "ADAPTER_NOT_BUILT");
    assert!(error["error"]["next"].as_str().unwrap().contains("real-parts"));
}

#[test]
fn an_oracle_keystore_is_made_once_and_opens_with_its_passphrase_only() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pulsegate.toml"), include_str!("../../examples/real-parts.toml")).unwrap();
    let made = crate::support::json(folder.path(), &["oracle", "create"]);
    assert_eq!(crate::support::json(folder.path(), &["oracle", "create"]), made);
    let output = pulsegate(folder.path())
        .args(["oracle", "create", "--json"])
        .env("PULSEGATE_PASSPHRASE", "another one")
        .output()
        .unwrap();
    assert!(texts(&output).1.contains("WRONG_PASSPHRASE"));
    let output = pulsegate(folder.path())
        .args(["oracle", "create", "--json"])
        .env_remove("PULSEGATE_PASSPHRASE")
        .output()
        .unwrap();
    assert!(texts(&output).1.contains("PASSPHRASE_MISSING"));
}
