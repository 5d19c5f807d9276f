//! The whole story, once on embedded parts and once on real ones, by the same code: readings, grant, open, refusals, revoke,
//! rotate, receipts, verification.

use std::time::Duration;

use pulsegate_ipfs::wrapping::generate_rsa_pkcs8;
use pulsegate_tests::device::{Device, now_ms};
use pulsegate_tests::eventually::eventually;
use pulsegate_tests::installation::Installation;
use pulsegate_tests::parts;
use pulsegate_tests::person::{EXIT_REFUSED, Person};
use serde_json::{Value, json};

/// Longest wait for what was acknowledged to be on chain.
const ANCHORED_WITHIN: Duration = Duration::from_secs(120);
/// An hour, milliseconds.
const HOUR_MS: u64 = 3_600_000;

/// What a reader asks for.
struct Wish<'a> {
    patient: &'a str,
    category: &'a str,
    purpose: &'a str,
    from: &'a str,
    until: &'a str,
}

impl Wish<'_> {
    fn arguments(&self) -> [&str; 11] {
        let Wish { patient, category, purpose, from, until } = self;
        ["open", "--patient", patient, "--category", category, "--purpose", purpose, "--from", from, "--until", until]
    }

    /// The values that the reader sees, once as many are there as should be.
    async fn opens(&self, reader: &Person, expected: usize) -> Vec<Value> {
        eventually("the reader opens what is granted", ANCHORED_WITHIN, || async {
            let answer = reader.tries(&self.arguments());
            let readings = answer.json["readings"].as_array().cloned().unwrap_or_default();
            if readings.len() == expected {
                Ok(readings)
            } else {
                Err(format!("{} readings; {} {}", readings.len(), answer.json, answer.errors))
            }
        })
        .await
    }

    /// The reader is refused, with this reason.
    fn is_refused(&self, reader: &Person, reason: &str) {
        let answer = reader.tries(&self.arguments());
        assert_eq!(answer.code, EXIT_REFUSED, "{reason}: {} {}", answer.json, answer.errors);
        assert!(
            format!("{}{}", answer.json, answer.errors).contains(reason),
            "{reason}: {} {}",
            answer.json,
            answer.errors
        );
    }
}

async fn the_whole_story(installation: &Installation) {
    let patient = installation.enrol("patient", "patient");
    let practitioner = installation.enrol("practitioner", "practitioner");
    // The insurer's keys are RSA, so that the second algorithm goes the whole way too.
    let [decryption, signing] = ["insurer.decryption.der", "insurer.signing.der"].map(|name| {
        let file = installation.folder().join(name);
        std::fs::write(&file, generate_rsa_pkcs8().expect("an RSA key can be made").as_slice())
            .expect("the key is written");
        file.to_str().expect("scenarios use plain file names").to_owned()
    });
    let insurer = installation.enrol_with("insurer", "insurer", &["--rsa", &decryption, "--rsa-signing", &signing]);
    let mut device = Device::added(installation, &patient, &["vital-signs", "ecg"]);
    let account = patient.account().to_string();

    // Two readings before the window that will be granted, three inside it.
    for hours_ago in [6, 5, 2, 1, 0] {
        device.measure_at(now_ms() - hours_ago * HOUR_MS);
    }
    device.send_all().await;
    assert_eq!(device.acknowledged().len(), 5);
    verified(&patient, 5).await;

    let treatment = Wish { patient: &account, category: "vital-signs", purpose: "TREAT", from: "-8h", until: "+1h" };
    treatment.is_refused(&practitioner, "NO_GRANT");
    let to = practitioner.account().to_string();
    let granted = patient.does(&[
        "grant",
        "--to",
        &to,
        "--category",
        "vital-signs",
        "--purpose",
        "TREAT",
        "--from",
        "-3h",
        "--until",
        "+1h",
    ]);
    let grant = granted.json["grant"].as_u64().expect("a grant has a number").to_string();

    let inside = Wish { from: "-3h", ..treatment };
    let opened = inside.opens(&practitioner, 3).await;
    assert!(opened.iter().all(|reading| reading.to_string().contains("8867-4")), "{opened:?}");
    let fhir = practitioner.prints(&[&inside.arguments()[..], &["--format", "fhir"]].concat()).output;
    let fhir: Value = serde_json::from_str(&fhir).expect("a FHIR Bundle is JSON");
    assert_eq!((&fhir["resourceType"], fhir["entry"].as_array().map(Vec::len)), (&json!("Bundle"), Some(3)));
    let csv = practitioner.prints(&[&inside.arguments()[..], &["--format", "csv"]].concat()).output;
    assert_eq!(csv.lines().count(), 1 + 3, "a heading and a row for each reading: {csv}");
    // What is outside is refused with the reason that fits, also when something inside is opened with it.
    Wish { from: "-8h", until: "-4h", ..treatment }.is_refused(&practitioner, "OUTSIDE_WINDOW");
    Wish { purpose: "HRESCH", ..inside }.is_refused(&practitioner, "PURPOSE_NOT_COVERED");
    inside.is_refused(&insurer, "NO_GRANT");
    let mixed = practitioner.tries(&treatment.arguments());
    assert!(mixed.json.to_string().contains("OUTSIDE_WINDOW"), "{}", mixed.json);
    the_other_category_is_refused(&mut device, &patient, &practitioner, &inside).await;

    // A denial wins over the permit, and taking the denial back restores it.
    let denied = patient.does(&[
        "grant",
        "--deny",
        "--to",
        &to,
        "--category",
        "vital-signs",
        "--purpose",
        "TREAT",
        "--from",
        "-3h",
        "--until",
        "+1h",
    ]);
    inside.is_refused(&practitioner, "DENIED_BY_PATIENT");
    patient.does(&["revoke", &denied.json["grant"].to_string()]);
    inside.opens(&practitioner, 3).await;

    // The insurer keeps a grant over the rotation, the practitioner loses theirs.
    let insurer_account = insurer.account().to_string();
    patient.does(&[
        "grant",
        "--to",
        &insurer_account,
        "--category",
        "vital-signs",
        "--purpose",
        "HPAYMT",
        "--from",
        "-3h",
        "--until",
        "+1h",
    ]);
    let revoked = patient.does(&["revoke", &grant]);
    assert!(!revoked.json["released"].as_array().expect("the revocation lists what was released").is_empty());
    inside.is_refused(&practitioner, "REVOKED");
    let rotated = patient.does(&["rotate"]);
    assert_eq!(rotated.json["generation"], json!(1));
    device.measure(2);
    device.send_all().await;
    Wish { purpose: "HPAYMT", ..inside }.opens(&insurer, 5).await;
    inside.is_refused(&practitioner, "REVOKED");

    receipts_tell_everything(&patient, &to).await;
    let grants = patient.does(&["grants"]).json;
    assert!(grants.to_string().contains(&to), "{grants}");
    let explained = practitioner.does(&[
        "explain",
        "--patient",
        &account,
        "--reader",
        &to,
        "--category",
        "vital-signs",
        "--purpose",
        "TREAT",
    ]);
    assert!(explained.json.to_string().contains("revoked"), "{}", explained.json);
    // Three readings more than the device's own count: the ECG one and the two after the rotation.
    verified(&patient, 8).await;
}

/// An ECG reading is there, but only vital signs were granted.
async fn the_other_category_is_refused(device: &mut Device, patient: &Person, reader: &Person, wish: &Wish<'_>) {
    device.measure_ecg();
    device.send_all().await;
    verified(patient, 6).await;
    Wish { category: "ecg", ..*wish }.is_refused(reader, "CATEGORY_NOT_COVERED");
}

/// Everything acknowledged is anchored, in order and without a gap, and the patient can open all of it.
async fn verified(patient: &Person, records: u64) {
    eventually("everything is anchored and verifies", ANCHORED_WITHIN, || async {
        let answer = patient.tries(&["verify", "--decrypt"]);
        let report = &answer.json;
        let complete = report["records"] == json!(records) && report["opened"] == json!(records);
        if answer.code == 0 && complete { Ok(()) } else { Err(format!("{report} {}", answer.errors)) }
    })
    .await;
}

/// Every release and every refusal has a receipt, readable by the patient, with the reader and the reason.
async fn receipts_tell_everything(patient: &Person, reader: &str) {
    let wanted =
        ["NO_GRANT", "OUTSIDE_WINDOW", "PURPOSE_NOT_COVERED", "CATEGORY_NOT_COVERED", "DENIED_BY_PATIENT", "REVOKED"];
    eventually("the receipts are anchored", ANCHORED_WITHIN, || async {
        let answer = patient.tries(&["receipts"]);
        let of_reader: Vec<Value> = answer.json["receipts"]
            .as_array()
            .cloned()
            .unwrap_or_default()
            .into_iter()
            .filter(|receipt| receipt["reader"] == json!(reader))
            .collect();
        let text = json!(of_reader).to_string();
        let missing: Vec<&str> = wanted.into_iter().filter(|reason| !text.contains(reason)).collect();
        let released = of_reader.iter().any(|receipt| !receipt["released"].as_array().is_none_or(Vec::is_empty));
        if missing.is_empty() && released && answer.code == 0 {
            Ok(())
        } else {
            Err(format!("missing {missing:?}; {}", answer.errors))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_story_on_embedded_parts() {
    let mut installation = Installation::embedded().await;
    the_whole_story(&installation).await;
    installation.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_story_on_a_contracts_node_and_kubo() {
    const SCENARIO: &str = "the whole story on a contracts node and Kubo";
    if !parts::all_found(SCENARIO, &["substrate-contracts-node", "ipfs"]) {
        return;
    }
    let mut installation = Installation::real().await;
    the_whole_story(&installation).await;
    installation.stop();
    parts::ran(SCENARIO);
}
