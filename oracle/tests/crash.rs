//! The oracle dies at every named point and at random moments; nothing acknowledged is lost and nothing is anchored twice.
//!
//! The oracle with its embedded chain and store runs in a child process: this test binary, started again for the one test `child`.
//! Afterwards the chain and the manifests are read, and hold every acknowledged reading exactly once, in order and linked.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use common::{Device, PATIENCE, Parts, Person, START_MS, clock, epoch_at, oracle_keys};
use pulsegate_ipfs::block::cid_bytes;
use pulsegate_ipfs::directory::EpochKeyDirectory;
use pulsegate_ipfs::key_tree::GenerationSecret;
use pulsegate_ipfs::manifest::Leaf;
use pulsegate_ipfs::store::BlockStore;
use pulsegate_ledger::Ledger;
use pulsegate_oracle::release::protocol::{ReleaseAnswer, ReleaseRequest, SignedReceipt};
use pulsegate_oracle::{OracleService, Ports, fault};
use pulsegate_rules::records::BatchKind;
use pulsegate_rules::registry::Role;
use pulsegate_rules::{Categories, Category, Generation, Purpose};
use rand::{Rng, SeedableRng};
use serde_json::Value as Json;

/// How many readings the device sends, in requests of three.
const READINGS: u64 = 18;
const DIR: &str = "PULSEGATE_TEST_DIR";

/// Not a test: the process that dies.
#[test]
#[ignore = "the crash tests start it as their child"]
fn child() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    // The child ends when its parent does.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let clock = clock(&Arc::new(AtomicU64::new(START_MS)));
        let parts = Parts::open(&dir, Arc::clone(&clock)).await;
        let ports = Ports {
            ledger: Arc::clone(&parts.ledger) as Arc<dyn Ledger>,
            contracts: parts.contracts.clone(),
            blocks: Arc::clone(&parts.blocks) as Arc<dyn BlockStore>,
            clock,
        };
        let config = pulsegate_oracle::OracleConfig {
            batch_count_max: 4,
            batch_age_ms: 20,
            receipt_age_ms: 20,
            ..common::config(&dir)
        };
        let running = OracleService::start(config, ports, oracle_keys(), None).await.unwrap();
        std::fs::write(dir.join("address.partial"), running.local_addr().to_string()).unwrap();
        std::fs::rename(dir.join("address.partial"), dir.join("address")).unwrap();
        std::future::pending::<()>().await;
    });
}

/// The child process and what was acknowledged by it.
struct Scenario {
    dir: tempfile::TempDir,
    child: Child,
    url: String,
    http: reqwest::Client,
    patient: Person,
    crashes: u32,
    answered: Vec<SignedReceipt>,
    nonce: u8,
    audience: [u8; 32],
}

fn spawn(dir: &Path, crash_at: Option<&str>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["child", "--exact", "--ignored", "--nocapture"]).env(DIR, dir).stdin(Stdio::piped());
    command.stdout(Stdio::null()).stderr(Stdio::null()).env_remove("PULSEGATE_CRASH_AT");
    if let Some(point) = crash_at {
        command.env("PULSEGATE_CRASH_AT", point);
    }
    command.spawn().unwrap()
}

impl Scenario {
    async fn new(crash_at: Option<&str>) -> (Self, Device) {
        let dir = tempfile::tempdir().unwrap();
        let clock = clock(&Arc::new(AtomicU64::new(START_MS)));
        Parts::install(dir.path(), Arc::clone(&clock), &oracle_keys()).await;
        let patient = Person::new(1);
        let parts = Parts::open(dir.path(), clock).await;
        patient.register(&parts.contracts, Role::Patient).await;
        let genesis = parts.ledger.identity().await.unwrap().genesis;
        let audience = pulsegate_reading::audience(&genesis, &parts.contracts.records.account());
        let device = Device::new(0xD1, patient.principal(), audience);
        device.register(&parts.contracts, &patient.signer, Categories::ALL).await;
        let secret = GenerationSecret::from_bytes([9; 32]);
        let categories = [Category::VitalSigns];
        let first = epoch_at(START_MS);
        let directory = EpochKeyDirectory::build(&secret, patient.principal(), Generation(0), &categories, first, 2);
        let block = directory.unwrap().sign(&patient.signing()).unwrap();
        let cid = block.cid;
        parts.blocks.put(&[block], &[cid]).await.unwrap();
        let pointer = cid_bytes(&cid).unwrap();
        parts.contracts.consent.publish_directory(&patient.signer, pointer).await.unwrap();
        drop(parts);
        let child = spawn(dir.path(), crash_at);
        let (http, url) = (common::client(), String::new());
        let mut scenario =
            Self { dir, child, url, http, patient, crashes: 0, answered: Vec::new(), nonce: 0, audience };
        scenario.find().await;
        (scenario, device)
    }

    /// Waits until the child listens; starts it again, without a crash, when it died before.
    async fn find(&mut self) {
        let until = std::time::Instant::now() + PATIENCE;
        let file = self.dir.path().join("address");
        while !file.exists() {
            assert!(std::time::Instant::now() < until, "the child does not listen");
            if self.child.try_wait().unwrap().is_some() {
                self.crashes += 1;
                self.child = spawn(self.dir.path(), None);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.url = format!("http://{}", std::fs::read_to_string(&file).unwrap());
    }

    /// The child does not answer: it must be dead. Starts it again.
    async fn restart(&mut self) {
        let child = &mut self.child;
        let status = tokio::task::block_in_place(|| child.wait().unwrap());
        assert!(!status.success(), "the child ended by itself");
        std::fs::remove_file(self.dir.path().join("address")).unwrap();
        self.crashes += 1;
        self.child = spawn(self.dir.path(), None);
        self.find().await;
    }

    /// Sends readings until all are acknowledged, whatever dies.
    async fn send(&mut self, bodies: &[Vec<u8>]) {
        let items: Vec<_> = bodies.iter().map(|body| serde_bytes::Bytes::new(body)).collect();
        let mut body = Vec::new();
        ciborium::into_writer(&items, &mut body).unwrap();
        loop {
            let request = self.http.post(format!("{}/v1/readings/batch", self.url)).body(body.clone());
            match request.send().await {
                Ok(answer) => {
                    let answers: Json = answer.json().await.unwrap();
                    let done = |answer: &Json| ["accepted", "duplicate"].contains(&answer["status"].as_str().unwrap());
                    assert!(answers.as_array().is_some_and(|answers| answers.iter().all(done)), "{answers}");
                    return;
                }
                Err(_) => self.restart().await,
            }
        }
    }

    /// Asks for the patient's own shares until there is an answer.
    async fn release(&mut self) {
        loop {
            self.nonce += 1;
            let request = ReleaseRequest {
                reader: self.patient.principal(),
                patient: self.patient.principal(),
                category: Category::VitalSigns,
                purpose: Purpose::PatientRequest,
                generation: Generation(0),
                epochs: vec![epoch_at(START_MS)],
                nonce: [self.nonce; 16],
                requested_at_ms: START_MS,
                audience: self.audience,
            };
            let body = request.sign(&self.patient.signing()).unwrap();
            match self.http.post(format!("{}/v1/release", self.url)).body(body).send().await {
                Ok(answer) => {
                    assert_eq!(answer.status(), 200);
                    let answer = ReleaseAnswer::decode(&answer.bytes().await.unwrap()).unwrap();
                    self.answered.push(answer.receipt);
                    return;
                }
                Err(_) => self.restart().await,
            }
        }
    }

    /// Waits until nothing waits in the log.
    async fn settle(&mut self) {
        let until = std::time::Instant::now() + PATIENCE;
        loop {
            assert!(std::time::Instant::now() < until, "the log does not become empty");
            match self.http.get(format!("{}/healthz", self.url)).send().await {
                Ok(answer) => {
                    let health: Json = answer.json().await.unwrap();
                    let waiting = health["waiting"].as_object().unwrap();
                    if waiting.values().all(|count| count == 0) {
                        return;
                    }
                }
                Err(_) => self.restart().await,
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Kills the child and reads what is on chain and in the store.
    async fn check(mut self, device: &Device) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let parts = Parts::open(self.dir.path(), clock(&Arc::new(AtomicU64::new(START_MS)))).await;
        let oracle = oracle_keys().principal();
        let mut previous = [0; 32];
        let mut leaves: Vec<_> = parts.leaves(oracle, BatchKind::Records).await;
        leaves.sort_by_key(|leaf| if let Leaf::Record(leaf) = leaf { leaf.sequence } else { 0 });
        assert_eq!(leaves.len() as u64, READINGS, "every acknowledged reading is anchored once");
        for (leaf, sequence) in leaves.iter().zip(1..) {
            let Leaf::Record(leaf) = leaf else { panic!("a records batch holds records") };
            assert_eq!((leaf.device, leaf.sequence, leaf.previous), (device.id(), sequence, previous));
            previous = leaf.link;
            parts.blocks.get(&leaf.record).await.unwrap();
        }
        assert_eq!(previous, device.previous, "the last acknowledged reading is the last anchored one");
        let receipts = parts.leaves(oracle, BatchKind::Receipts).await;
        for (leaf, sequence) in receipts.iter().zip(1..) {
            let Leaf::Receipt(leaf) = leaf else { panic!("a receipts batch holds receipts") };
            assert_eq!(leaf.sequence, sequence, "receipts are numbered without a gap");
        }
        for answered in &self.answered {
            let digest = answered.digest();
            let found = receipts.iter().filter(|leaf| matches!(leaf, Leaf::Receipt(leaf) if leaf.digest == digest));
            assert_eq!(found.count(), 1, "every answer has its receipt on chain");
        }
    }
}

/// Sends all readings and asks for releases while the child dies at a point; then checks everything.
async fn survives(crash_at: Option<&str>, mut disturb: impl FnMut(&mut Scenario)) {
    let (mut scenario, mut device) = Scenario::new(crash_at).await;
    let mut bodies = Vec::new();
    for rate in 0..READINGS {
        let rate = 60.0 + f64::from(u32::try_from(rate).unwrap());
        bodies.push(device.heart_rate(START_MS, rate));
    }
    for chunk in bodies.chunks(3) {
        scenario.send(chunk).await;
        disturb(&mut scenario);
        scenario.release().await;
    }
    scenario.settle().await;
    assert!(scenario.crashes > 0, "the child died at {crash_at:?}");
    scenario.check(&device).await;
}

macro_rules! crash_points {
    ($($name:ident at $point:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                survives(Some(fault::$point), |_| {}).await;
                // Once more later, when batches are in flight and the log is not new.
                survives(Some(&format!("{}#3", fault::$point)), |_| {}).await;
            }
        )+

        #[test]
        fn every_point_has_its_test() {
            assert_eq!([$(fault::$point),+], fault::POINTS);
        }
    };
}

crash_points! {
    a_crash_before_the_log_commits_loses_nothing at LOG_BEFORE_COMMIT,
    a_crash_before_the_acknowledgement_loses_nothing at LOG_AFTER_COMMIT,
    a_crash_before_sealing_commits_loses_nothing at SEAL_BEFORE_COMMIT,
    a_crash_after_sealing_commits_loses_nothing at SEAL_AFTER_COMMIT,
    a_crash_with_a_composed_batch_anchors_it_once at BATCH_COMPOSED,
    a_crash_with_a_stored_batch_anchors_it_once at STORE_AFTER_PUT,
    a_crash_with_a_signed_batch_anchors_it_once at ANCHOR_SIGNED,
    a_crash_with_a_submitted_batch_anchors_it_once at ANCHOR_AFTER_SUBMIT,
    a_crash_after_anchoring_anchors_nothing_again at ANCHOR_RECORDED,
    a_crash_before_a_receipt_answers_nobody at RELEASE_BEFORE_RECEIPT,
    a_crash_after_a_receipt_keeps_it at RELEASE_AFTER_RECEIPT,
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_random_moments_lose_nothing() {
    let seed: u64 = rand::random();
    eprintln!("seed {seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    survives(None, move |scenario| {
        std::thread::sleep(Duration::from_millis(random.gen_range(0..40)));
        scenario.child.kill().unwrap();
    })
    .await;
}
