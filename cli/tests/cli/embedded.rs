//! A patient's, a practitioner's and an insurer's day as separate processes, against the chain and store inside `pulsegate up`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::{Running, eventually, free_port, json, pulsegate, refused, texts};
use pulsegate_device_agent::{Agent, AgentConfig, Measurement, read_key_file};
use pulsegate_reading::{LoincCode, Unit};
use serde_json::Value;

/// Readings of the last half hour.
const LIVE: u64 = 30;
/// Readings of yesterday, which the agent sends late.
const LATE: u64 = 5;
const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 86_400_000;

pub(crate) fn up(folder: &Path) -> (Running, Value) {
    up_logging(folder, "warn")
}

fn up_logging(folder: &Path, filter: &str) -> (Running, Value) {
    let log = std::fs::File::create(folder.join("up.log")).unwrap();
    let said = folder.join("up.json");
    let stdout = std::fs::File::create(&said).unwrap();
    let mut command = pulsegate(folder);
    command.env("RUST_LOG", filter).args(["up", "--json"]).stdout(stdout).stderr(log);
    let mut running = Running(command.spawn().unwrap());
    let ready = eventually("pulsegate up says where it listens", || {
        if let Some(status) = running.0.try_wait().unwrap() {
            panic!("pulsegate up ended with {status}: {}", std::fs::read_to_string(folder.join("up.log")).unwrap());
        }
        serde_json::from_slice(&std::fs::read(&said).unwrap()).ok()
    });
    (running, ready)
}

fn keystore(name: &str) -> String {
    format!("{name}.keystore.json")
}

/// Sends readings with the agent's library, as the device would.
fn send(folder: &Path, url: &str, patient: &Value, deployment: &Value) {
    let key = read_key_file(&folder.join("device.key")).unwrap();
    let principal = |value: &Value| value.as_str().unwrap().parse::<pulsegate_rules::Principal>().unwrap();
    let audience =
        pulsegate_reading::audience(&principal(&deployment["genesis"]).0, &principal(&deployment["records"]));
    let now_ms = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let clock = std::sync::Arc::new(move || now_ms);
    let agent =
        Agent::open(&folder.join("agent"), key, AgentConfig::new(url, principal(patient), audience), clock).unwrap();
    let yesterday = (0..LATE).map(|minute| now_ms - DAY_MS - (LATE - minute) * MINUTE_MS);
    let today = (0..LIVE).map(|minute| now_ms - (LIVE - minute) * MINUTE_MS);
    for (index, at_ms) in yesterday.chain(today).enumerate() {
        let beats = 60.0 + f64::from(u32::try_from(index).unwrap() % 7);
        agent.enqueue(Measurement::quantity(at_ms, LoincCode::HeartRate, beats, Unit::PerMinute)).unwrap();
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let progress = runtime.block_on(agent.drain()).unwrap();
    assert_eq!((progress.accepted, progress.rejected), (LIVE + LATE, 0));
}

fn rsa_key(path: &Path) {
    std::fs::write(path, &**pulsegate_ipfs::wrapping::generate_rsa_pkcs8().unwrap()).unwrap();
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
fn a_day_of_separate_processes() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let port = free_port().to_string();
    std::fs::write(folder.join("pulsegate.toml"), include_str!("../../examples/embedded.toml").replace("7400", &port))
        .unwrap();
    let (running, ready) = up(folder);
    let url = ready["address"].as_str().unwrap();
    assert_eq!(url, format!("http://127.0.0.1:{port}"));

    // Nothing is anchored yet, and a sponsor who is not there leaves no keystore behind.
    let (said, _) = texts(&pulsegate(folder).arg("verify").output().unwrap());
    assert!(said.contains("nothing is anchored yet"), "{said}");
    let sponsored = ["enrol", "--role", "patient", "--sponsor", "dev:nobody", "--keystore", &keystore("patient")];
    refused(folder, &sponsored, 1, "UNKNOWN_DEV_ACCOUNT");
    assert!(!folder.join(keystore("patient")).exists());

    // Everybody enrols; the insurer with RSA keys of its own. Enrolling again changes nothing.
    let patient = json(folder, &["enrol", "--role", "patient", "--keystore", &keystore("patient")]);
    json(folder, &["enrol", "--role", "practitioner", "--keystore", &keystore("practitioner")]);
    rsa_key(&folder.join("wrap.der"));
    rsa_key(&folder.join("sign.der"));
    let insurer = [
        "enrol",
        "--role",
        "insurer",
        "--rsa",
        "wrap.der",
        "--rsa-signing",
        "sign.der",
        "--keystore",
        &keystore("insurer"),
    ];
    assert_eq!(json(folder, &insurer)["encryption"], "RSA-OAEP");
    let again = json(folder, &["enrol", "--role", "patient", "--keystore", &keystore("patient")]);
    assert_eq!(again["account"], patient["account"]);
    refused(folder, &["enrol", "--role", "insurer", "--keystore", &keystore("patient")], 1, "KEYSTORE_EXISTS");
    let account = patient["account"].as_str().unwrap();
    let me = json(folder, &["whoami", "--keystore", &keystore("patient")]);
    assert_eq!(me["account"], patient["account"]);

    // A device, and its readings.
    let as_patient = |arguments: &[&str]| json(folder, &[arguments, &["--keystore", "patient.keystore.json"]].concat());
    let device = as_patient(&["device", "add", "--category", "vital-signs", "--key-file", "device.key"]);
    assert_eq!(
        as_patient(&["device", "add", "--category", "vital-signs", "--key-file", "device.key"])["device"],
        device["device"]
    );
    let again = ["device", "add", "--category", "vital-signs", "--key-file", "device.key", "--keystore"];
    let (said, _) = texts(&pulsegate(folder).args(again).arg(keystore("patient")).output().unwrap());
    let audience = device["audience"].as_str().unwrap();
    let agent = format!("--key device.key --dir queue --oracle {url} --patient {account} --audience {audience} csv");
    assert!(said.contains(&format!("pulsegate-agent run {agent}")), "{said}");
    send(folder, url, &patient["account"], &ready["deployment"]);
    eventually("everything is anchored", || {
        let report = json(folder, &["verify"]);
        (report["records"] == LIVE + LATE && report["devices"][0]["pending"] == 0).then_some(())
    });

    // A grant, and what it opens.
    let granted = as_patient(&[
        "grant",
        "--to",
        &keystore("practitioner"),
        "--category",
        "vital-signs",
        "--purpose",
        "TREAT",
        "--from",
        "-2h",
        "--until",
        "+1d",
    ]);
    let listed = as_patient(&["grants", "--patient", account]);
    assert_eq!(listed["grants"][0]["request"]["wrapped_keys"], granted["wrapped_keys"]);
    let reading = |who: &str, more: &[&str]| -> Vec<String> {
        let arguments = ["open", "--keystore", &keystore(who), "--patient", account, "--category", "vital-signs"];
        arguments.iter().chain(more).map(ToString::to_string).collect()
    };
    let open = |who: &str, more: &[&str]| {
        let arguments = reading(who, more);
        json(folder, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let cannot_open = |who: &str, more: &[&str], code: &str| {
        let arguments = reading(who, more);
        refused(folder, &arguments.iter().map(String::as_str).collect::<Vec<_>>(), 3, code);
    };
    let opened = open("practitioner", &["--purpose", "TREAT", "--from", "-2h"]);
    assert_eq!(opened["readings"].as_array().unwrap().len() as u64, LIVE);
    assert_eq!(opened["readings"][0]["observation"]["resourceType"], "Observation");
    let record = opened["readings"][0]["record"].as_str().unwrap();
    assert_eq!(json(folder, &["verify", "--record", record])["record"], record);
    let bundle = open("practitioner", &["--purpose", "TREAT", "--from", "-2h", "--format", "fhir"]);
    assert_eq!(
        (bundle["resourceType"].as_str(), bundle["entry"].as_array().unwrap().len() as u64),
        (Some("Bundle"), LIVE)
    );
    let arguments = reading("practitioner", &["--purpose", "TREAT", "--from", "-2h", "--format", "csv"]);
    let (csv, _) = texts(&pulsegate(folder).args(&arguments).output().unwrap());
    assert_eq!(csv.lines().count() as u64, LIVE + 1);

    // What is outside of it.
    cannot_open("practitioner", &["--purpose", "TREAT", "--from", "-26h", "--until", "-23h"], "OUTSIDE_WINDOW");
    cannot_open("practitioner", &["--purpose", "HRESCH", "--from", "-2h"], "PURPOSE_NOT_COVERED");
    cannot_open("insurer", &["--purpose", "HPAYMT", "--from", "-2h"], "NO_GRANT");
    let explained = json(
        folder,
        &[
            "explain",
            "--patient",
            account,
            "--reader",
            &keystore("practitioner"),
            "--category",
            "vital-signs",
            "--purpose",
            "HRESCH",
        ],
    );
    assert!(explained["grants"][0]["says"].as_str().unwrap().contains("TREAT"));

    // The patient's wallet grants to the insurer, and the practitioner's account submits it.
    as_patient(&["wallet", "link"]);
    let relayed = as_patient(&[
        "grant",
        "--to",
        &keystore("insurer"),
        "--category",
        "vital-signs",
        "--purpose",
        "HPAYMT",
        "--from",
        "-2d",
        "--until",
        "+1d",
        "--signed-by-wallet",
        "--relayer",
        &keystore("practitioner"),
    ]);
    assert_eq!(relayed["signed_by_wallet"], true);
    let opened = open("insurer", &["--purpose", "HPAYMT", "--from", "-2d"]);
    assert_eq!(opened["readings"].as_array().unwrap().len() as u64, LIVE + LATE);

    // Revocation, rotation, receipts.
    let anchored = |reader: &str, count: usize| {
        eventually("receipts are anchored", || {
            let receipts = as_patient(&["receipts", "--reader", &keystore(reader)]);
            (receipts["receipts"].as_array().unwrap().len() == count).then_some(())
        });
    };
    anchored("practitioner", 5);
    let revoked = as_patient(&["revoke", &granted["grant"].to_string()]);
    assert!(!revoked["released"].as_array().unwrap().is_empty());
    cannot_open("practitioner", &["--purpose", "TREAT", "--from", "-2h"], "REVOKED");
    let rotated = as_patient(&["rotate"]);
    assert_eq!(rotated["generation"], 1);
    assert_eq!(rotated["rewrapped"].as_array().unwrap().len(), 1);
    assert_eq!(as_patient(&["grants", "--standing"])["grants"].as_array().unwrap().len(), 1);
    let opened = open("insurer", &["--purpose", "HPAYMT", "--from", "-2d"]);
    assert_eq!(
        opened["readings"].as_array().unwrap().len() as u64,
        LIVE + LATE,
        "the re-wrapped grant still opens the old records"
    );
    let own = as_patient(&["open", "--category", "vital-signs", "--from", "-2d"]);
    assert_eq!(own["readings"].as_array().unwrap().len() as u64, LIVE + LATE);
    anchored("practitioner", 6);
    anchored("insurer", 3);

    // Signatures of wallets: a deadline that is over, and an Ethereum keystore file.
    let late = [
        "--to",
        &keystore("practitioner"),
        "--category",
        "ecg",
        "--purpose",
        "TREAT",
        "--from",
        "now",
        "--until",
        "+1d",
    ];
    let late =
        [&["grant", "--signed-by-wallet", "--deadline", "-1m", "--keystore", "patient.keystore.json"], &late[..]]
            .concat();
    refused(folder, &late, 1, "CONSENT_EXPIRED");
    by_a_wallet_elsewhere(folder);
    #[cfg(feature = "wallet")]
    by_ethereum_keystore(folder);

    // Devices.
    let id = device["device"].as_str().unwrap();
    as_patient(&["device", "quarantine", id]);
    assert_eq!(as_patient(&["device", "list"])["devices"][0]["status"], "quarantined");
    as_patient(&["device", "restore", id]);
    as_patient(&["device", "revoke", id]);
    refused(folder, &["device", "restore", id, "--keystore", &keystore("patient")], 1, "REGISTRY_DEVICE_REVOKED");

    // The end and a second start: nothing is lost.
    assert!(running.interrupt().success());
    let (running, again) = up(folder);
    assert_eq!(again["deployment"], ready["deployment"]);
    let report = as_patient(&["verify", "--decrypt"]);
    assert_eq!((report["records"].as_u64(), report["opened"].as_u64()), (Some(LIVE + LATE), Some(LIVE + LATE)));
    assert!(running.interrupt().success());

    // Blocks that are gone show.
    std::fs::rename(folder.join("pulsegate-data/blocks"), folder.join("pulsegate-data/lost")).unwrap();
    let (running, _) = up(folder);
    refused(folder, &["verify"], 4, "NOT_VERIFIED");
    assert!(running.interrupt().success());
    let log = std::fs::read_to_string(folder.join("up.log")).unwrap();
    assert!(!log.contains(account.trim_start_matches("0x")), "the log names nobody: {log}");
}

/// A wallet that sees nothing but the printed message grants and revokes; the practitioner's account submits both.
fn by_a_wallet_elsewhere(folder: &Path) {
    use ethers_core::types::transaction::eip712::{Eip712, TypedData};
    let key = k256::ecdsa::SigningKey::from_slice(&[9; 32]).unwrap();
    let address = format!("{:?}", ethers_core::utils::secret_key_to_address(&key));
    let as_patient = |arguments: &[&str]| json(folder, &[arguments, &["--keystore", "patient.keystore.json"]].concat());
    let sign = |message: &Value| {
        // ethers wants the salt as a list of numbers.
        let mut listed = message.clone();
        let salt: pulsegate_rules::Principal = message["domain"]["salt"].as_str().unwrap().parse().unwrap();
        listed["domain"]["salt"] = salt.0.to_vec().into();
        let data: TypedData = serde_json::from_value(listed).unwrap();
        let (signature, recovery) = key.sign_prehash_recoverable(&data.encode_eip712().unwrap()).unwrap();
        std::fs::write(folder.join("message.json"), message.to_string()).unwrap();
        format!("0x{}{:02x}", hex::encode(signature.to_bytes()), 27 + recovery.to_byte())
    };
    let relay = |signature: &str| -> Vec<String> {
        let arguments = ["relay", "--typed-data", "message.json", "--signature", signature, "--keystore"];
        arguments.iter().chain(&["practitioner.keystore.json"]).map(ToString::to_string).collect()
    };
    let to = ["grant", "--to", "practitioner.keystore.json", "--category", "ecg", "--purpose", "TREAT"];
    let when = ["--from", "now", "--until", "+1d", "--print-typed-data", "--deadline", "+1d"];
    as_patient(&["wallet", "link", "--address", &address]);
    let message = as_patient(&[&to[..], &when].concat());
    let arguments = relay(&sign(&message));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let granted = json(folder, &arguments);
    assert_eq!(granted["patient"], message["message"]["patient"]);
    refused(folder, &arguments, 1, "CONSENT_INVALID_NONCE");
    let message = as_patient(&["revoke", &granted["grant"].to_string(), "--print-typed-data", "--deadline", "+1d"]);
    let arguments = relay(&sign(&message));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    assert_eq!(json(folder, &arguments)["grant"], granted["grant"]);
    let mut elsewhere = message;
    elsewhere["domain"]["chainId"] = 1.into();
    let arguments = relay(&sign(&elsewhere));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    refused(folder, &arguments, 1, "TYPED_DATA_OF_ANOTHER_CONTRACT");
}

/// A wallet out of an Ethereum keystore file grants and revokes, relayed by the practitioner's account.
#[cfg(feature = "wallet")]
fn by_ethereum_keystore(folder: &Path) {
    use ethers_signers::{LocalWallet, Signer};
    let mut rng = rand::rngs::OsRng;
    let (wallet, _) =
        LocalWallet::new_keystore(folder, &mut rng, crate::support::PASSPHRASE, Some("ethereum.json")).unwrap();
    let as_patient = |arguments: &[&str]| json(folder, &[arguments, &["--keystore", "patient.keystore.json"]].concat());
    let by_wallet = ["--wallet", "ethereum.json", "--relayer", "practitioner.keystore.json"];
    let grant = [
        "grant",
        "--to",
        "practitioner.keystore.json",
        "--category",
        "ecg",
        "--purpose",
        "TREAT",
        "--from",
        "now",
        "--until",
        "+1d",
    ];
    let grant = [&grant[..], &by_wallet[..]].concat();
    refused(folder, &[&grant[..], &["--keystore", "patient.keystore.json"]].concat(), 1, "CONSENT_INVALID_SIGNATURE");
    as_patient(&["wallet", "link", "--address", &format!("{:?}", wallet.address())]);
    let granted = as_patient(&grant);
    as_patient(&[&["revoke", &granted["grant"].to_string()][..], &by_wallet[..]].concat());
}

#[test]
fn a_second_up_on_the_same_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let example = include_str!("../../examples/embedded.toml");
    std::fs::write(folder.join("pulsegate.toml"), example.replace("7400", &free_port().to_string())).unwrap();
    std::fs::write(folder.join("other.toml"), example.replace("7400", &free_port().to_string())).unwrap();
    let (running, _) = up_logging(folder, "trace");
    let second: Command = {
        let mut command = pulsegate(folder);
        command.args(["up", "--json", "--config", "other.toml"]).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let mut second = second;
    assert_eq!(second.status().unwrap().code(), Some(1));
    assert!(running.interrupt().success());
    // Libraries, which could print what they carry, tell nothing below `info`.
    let log = std::fs::read_to_string(folder.join("up.log")).unwrap();
    let chatty = |line: &&str| (line.contains("DEBUG") || line.contains("TRACE")) && !line.contains(" pulsegate");
    assert_eq!(log.lines().find(chatty), None);
}

#[test]
fn an_address_beyond_loopback_is_refused_for_embedded_parts() {
    let folder = tempfile::tempdir().unwrap();
    let example = include_str!("../../examples/embedded.toml")
        .replace("listen = \"127.0.0.1:7400\"", "listen = \"0.0.0.0:7400\"");
    std::fs::write(folder.path().join("pulsegate.toml"), example).unwrap();
    refused(folder.path(), &["up"], 1, "TLS_REQUIRED");
}
