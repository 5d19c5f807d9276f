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

/// Who is in the story.
struct Cast {
    patient: Person,
    practitioner: Person,
    insurer: Person,
    device: Device,
}

impl Cast {
    /// Everybody enrols; the insurer's keys are RSA, so that the second algorithm goes the whole way too.
    fn enrolled(installation: &Installation) -> Self {
        let patient = installation.enrol("patient", "patient");
        let practitioner = installation.enrol("practitioner", "practitioner");
        let [decryption, signing] = ["insurer.decryption.der", "insurer.signing.der"].map(|name| {
            let file = installation.folder().join(name);
            let key = generate_rsa_pkcs8().expect("an RSA key can be made");
            std::fs::write(&file, key.as_slice()).expect("the key is written");
            file.to_str().expect("scenarios use plain file names").to_owned()
        });
        let insurer = installation.enrol_with("insurer", "insurer", &["--rsa", &decryption, "--rsa-signing", &signing]);
        let device = Device::added(installation, &patient, &["vital-signs", "ecg"]);
        Self { patient, practitioner, insurer, device }
    }

    /// The patient grants, or with `--deny` among the options forbids, the vital signs from three hours ago on; the grant's number.
    fn grant(&self, to: &Person, purpose: &str, options: &str) -> String {
        let window = "--category vital-signs --from -3h --until +1h";
        let granted =
            self.patient.types(&format!("grant --to {} --purpose {purpose} {window} {options}", to.account()));
        granted.json["grant"].as_u64().expect("a grant has a number").to_string()
    }
}

async fn the_whole_story(installation: &Installation) {
    let mut cast = Cast::enrolled(installation);
    // Two readings before the window that will be granted, three inside it.
    for hours_ago in [6, 5, 2, 1, 0] {
        cast.device.measure_at(now_ms() - hours_ago * HOUR_MS);
    }
    cast.device.send_all().await;
    assert_eq!(cast.device.acknowledged().len(), 5);
    verified(&cast.patient, 5).await;

    let account = cast.patient.account().to_string();
    let ever = Wish { patient: &account, category: "vital-signs", purpose: "TREAT", from: "-8h", until: "+1h" };
    let inside = Wish { from: "-3h", ..ever };
    ever.is_refused(&cast.practitioner, "NO_GRANT");
    let grant = cast.grant(&cast.practitioner, "TREAT", "");
    exactly_the_window_opens(&mut cast, &ever, &inside).await;

    // A denial wins over the permit, and taking the denial back restores it.
    let denial = cast.grant(&cast.practitioner, "TREAT", "--deny");
    inside.is_refused(&cast.practitioner, "DENIED_BY_PATIENT");
    cast.patient.does(&["revoke", &denial]);
    inside.opens(&cast.practitioner, 3).await;

    // The insurer keeps a grant over the rotation, the practitioner loses theirs.
    cast.grant(&cast.insurer, "HPAYMT", "");
    let revoked = cast.patient.does(&["revoke", &grant]);
    assert!(!revoked.json["released"].as_array().expect("the revocation lists what was released").is_empty());
    inside.is_refused(&cast.practitioner, "REVOKED");
    assert_eq!(cast.patient.does(&["rotate"]).json["generation"], json!(1));
    cast.device.measure(2);
    cast.device.send_all().await;
    Wish { purpose: "HPAYMT", ..inside }.opens(&cast.insurer, 5).await;
    inside.is_refused(&cast.practitioner, "REVOKED");

    let reader = cast.practitioner.account().to_string();
    receipts_tell_everything(&cast.patient, &reader).await;
    let grants = cast.patient.does(&["grants"]).json;
    assert!(grants.to_string().contains(&reader), "{grants}");
    let question = format!("explain --patient {account} --reader {reader} --category vital-signs --purpose TREAT");
    let explained = cast.practitioner.types(&question).json;
    assert!(explained.to_string().contains("revoked"), "{explained}");
    // The first five, the ECG one and the two after the rotation.
    verified(&cast.patient, 8).await;
}

/// The grantee opens what was granted, in every format, and nothing else; each refusal says why.
async fn exactly_the_window_opens(cast: &mut Cast, ever: &Wish<'_>, inside: &Wish<'_>) {
    let practitioner = &cast.practitioner;
    let opened = inside.opens(practitioner, 3).await;
    assert!(opened.iter().all(|reading| reading.to_string().contains("8867-4")), "{opened:?}");
    let fhir = practitioner.prints(&[&inside.arguments()[..], &["--format", "fhir"]].concat()).output;
    let fhir: Value = serde_json::from_str(&fhir).expect("a FHIR Bundle is JSON");
    assert_eq!((&fhir["resourceType"], fhir["entry"].as_array().map(Vec::len)), (&json!("Bundle"), Some(3)));
    let csv = practitioner.prints(&[&inside.arguments()[..], &["--format", "csv"]].concat()).output;
    assert_eq!(csv.lines().count(), 1 + 3, "a heading and a row for each reading: {csv}");

    Wish { until: "-4h", ..*ever }.is_refused(practitioner, "OUTSIDE_WINDOW");
    Wish { purpose: "HRESCH", ..*inside }.is_refused(practitioner, "PURPOSE_NOT_COVERED");
    inside.is_refused(&cast.insurer, "NO_GRANT");
    // What is outside is refused also when something inside is opened with it.
    let mixed = practitioner.tries(&ever.arguments());
    assert!(mixed.json.to_string().contains("OUTSIDE_WINDOW"), "{}", mixed.json);
    the_other_category_is_refused(&mut cast.device, &cast.patient, practitioner, inside).await;
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
