//! A small world for the tests: the embedded chain, the embedded block store, the oracle, a patient with a device, and a reader.
//!
//! Nothing is imitated: the parts that fail on demand pass every call on to the real ones. Time stands still unless a test moves it.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "every test binary uses another part of it, and no other crate any"
)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

pub mod faulty;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pulsegate_detector::vitals::Setting;
use pulsegate_ipfs::block::{cid_bytes, cid_from_bytes};
use pulsegate_ipfs::directory::EpochKeyDirectory;
use pulsegate_ipfs::grant_keys::GrantKeys;
use pulsegate_ipfs::key_tree::GenerationSecret;
use pulsegate_ipfs::manifest::{Leaf, Manifest};
use pulsegate_ipfs::record;
use pulsegate_ipfs::signing::SigningKey;
use pulsegate_ipfs::store::{BlockStore, EmbeddedBlockStore};
use pulsegate_ipfs::wrapping::DecryptionKey;
use pulsegate_ledger::embedded::EmbeddedLedger;
use pulsegate_ledger::{Bundles, Clock, Contracts, Deployment, Ledger, Signer};
use pulsegate_oracle::detectors::{ModelLoader, served};
use pulsegate_oracle::payload::Payload;
use pulsegate_oracle::release::protocol::{ReleaseAnswer, ReleaseRequest};
use pulsegate_oracle::{OracleConfig, OracleKeys, OracleService, Ports, Running};
use pulsegate_reading::{DeviceKey, Reading, SignedReading};
use pulsegate_rules::consent::{Effect, GrantRequest};
use pulsegate_rules::records::{BatchHeader, BatchKind};
use pulsegate_rules::registry::{KeyUse, Role};
use pulsegate_rules::{Categories, Category, DeviceId, Epoch, Generation, GrantId, Principal, Purpose, Purposes};
use serde_json::Value as Json;

/// When the world begins: 5 January 2026, noon UTC, a whole epoch. Unix milliseconds.
pub const START_MS: u64 = 1_767_614_400_000;
/// One epoch, milliseconds.
pub const HOUR_MS: u64 = 3_600_000;
/// Longest real time that a test waits for something.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The epoch of a moment.
pub fn epoch_at(unix_ms: u64) -> Epoch {
    Epoch::at(unix_ms / 1_000).expect("the tests stay in this century")
}

/// A participant with all keys.
pub struct Person {
    pub signer: Signer,
    pub signing_seed: [u8; 32],
    pub decryption: DecryptionKey,
}

impl Person {
    pub fn new(number: u8) -> Self {
        let signer = Signer::from_seed(&[number; 32]);
        let decryption = DecryptionKey::x25519_from_seed(&[number ^ 0x55; 32]);
        Self { signer, signing_seed: [number ^ 0xAA; 32], decryption }
    }

    pub fn principal(&self) -> Principal {
        self.signer.principal()
    }

    pub fn signing(&self) -> SigningKey {
        SigningKey::ed25519_from_seed(&self.signing_seed)
    }

    pub async fn register(&self, contracts: &Contracts, role: Role) {
        let registry = &contracts.registry;
        registry.register_participant(&self.signer, role).await.unwrap();
        registry.set_key(&self.signer, KeyUse::Signing, &self.signing().public_key().unwrap()).await.unwrap();
        registry.set_key(&self.signer, KeyUse::Encryption, &self.decryption.public_key().unwrap()).await.unwrap();
    }
}

/// A device that signs and links readings.
#[derive(Clone)]
pub struct Device {
    pub seed: [u8; 32],
    pub patient: Principal,
    pub audience: [u8; 32],
    pub sequence: u64,
    pub previous: [u8; 32],
}

impl Device {
    pub fn new(number: u8, patient: Principal, audience: [u8; 32]) -> Self {
        Self { seed: [number; 32], patient, audience, sequence: 0, previous: [0; 32] }
    }

    pub fn key(&self) -> DeviceKey {
        DeviceKey::from_seed(&self.seed)
    }

    pub fn id(&self) -> DeviceId {
        self.key().device_id()
    }

    pub async fn register(&self, contracts: &Contracts, owner: &Signer, categories: Categories) {
        contracts.registry.register_device(owner, &self.key().public_key(), categories).await.unwrap();
    }

    /// The reading that would come next, not signed yet.
    pub fn draft(&self, measured_at_ms: u64, heart_rate: f64) -> Reading {
        readings::heart_rate(self, measured_at_ms, heart_rate)
    }

    /// Signs a reading and takes it as the newest of the chain.
    pub fn commit(&mut self, reading: &Reading) -> Vec<u8> {
        let signed = self.sign(reading);
        self.sequence = reading.sequence;
        self.previous = signed.hash();
        signed.bytes().to_vec()
    }

    pub fn sign(&self, reading: &Reading) -> SignedReading {
        reading.sign(&self.key()).unwrap()
    }

    /// The next heart rate, signed and linked.
    pub fn heart_rate(&mut self, measured_at_ms: u64, heart_rate: f64) -> Vec<u8> {
        let reading = self.draft(measured_at_ms, heart_rate);
        self.commit(&reading)
    }
}

/// Readings of every shape that the tests need.
pub mod readings {
    use super::{Category, Device, Reading};
    use pulsegate_reading::{LoincCode, Unit, Value};

    pub fn quantity(device: &Device, measured_at_ms: u64, code: LoincCode, value: f64, unit: Unit) -> Reading {
        Reading {
            device: device.id(),
            patient: device.patient,
            audience: device.audience,
            sequence: device.sequence + 1,
            previous: device.previous,
            measured_at_ms,
            code,
            value: Value::quantity(value, unit),
        }
    }

    pub fn heart_rate(device: &Device, measured_at_ms: u64, value: f64) -> Reading {
        let reading = quantity(device, measured_at_ms, LoincCode::HeartRate, value, Unit::PerMinute);
        assert_eq!(reading.category(), Category::VitalSigns);
        reading
    }
}

/// Waits until a condition holds, checking often; panics after [`PATIENCE`].
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < until, "did not happen in {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The parts on disk, without the oracle.
pub struct Parts {
    pub ledger: Arc<EmbeddedLedger>,
    pub blocks: Arc<EmbeddedBlockStore>,
    pub contracts: Contracts,
}

impl Parts {
    /// Opens the parts of a folder, which [`Parts::install`] made.
    pub async fn open(dir: &Path, clock: Clock) -> Self {
        let ledger = Arc::new(EmbeddedLedger::open(dir, clock).unwrap());
        let blocks = Arc::new(EmbeddedBlockStore::open(dir).unwrap());
        let deployment = Deployment::load(&dir.join("deployment.json")).unwrap();
        let contracts = Contracts::open(Arc::clone(&ledger) as Arc<dyn Ledger>, deployment).await.unwrap();
        Self { ledger, blocks, contracts }
    }

    /// Makes chain, contracts and block store in a folder; the oracle's key becomes the only member of the oracle set.
    pub async fn install(dir: &Path, clock: Clock, oracle: &OracleKeys) {
        let ledger = Arc::new(EmbeddedLedger::open(dir, clock).unwrap());
        let bundles = Bundles::from_dir(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts/artifacts")).unwrap();
        let deployment = Deployment::install(&*ledger, &admin(), &bundles).await.unwrap();
        deployment.save(&dir.join("deployment.json")).unwrap();
        let contracts = Contracts::open(ledger as Arc<dyn Ledger>, deployment).await.unwrap();
        contracts.registry.set_oracles(&admin(), 1, &[oracle.oracle_key()]).await.unwrap();
    }

    /// Every anchored batch of a kind of one oracle, in order, with its manifest, both checked against each other.
    pub async fn batches(&self, oracle: Principal, kind: BatchKind) -> Vec<(BatchHeader, Manifest)> {
        let head = self.contracts.records.head(oracle, kind).await.unwrap();
        let mut batches = Vec::new();
        let mut previous = [0; 32];
        for sequence in 1..=head.sequence {
            let anchored = self.contracts.records.batch(oracle, kind, sequence).await.unwrap().unwrap();
            assert_eq!(anchored.header.previous, previous, "the batches are chained");
            previous = anchored.header.digest();
            let block = self.blocks.get(&cid_from_bytes(&anchored.header.manifest).unwrap()).await.unwrap();
            let manifest = Manifest::from_block(&block).unwrap();
            manifest.check_against(&anchored.header).unwrap();
            batches.push((anchored.header, manifest));
        }
        assert_eq!(previous, head.digest);
        batches
    }

    /// Every anchored leaf of a kind of one oracle.
    pub async fn leaves(&self, oracle: Principal, kind: BatchKind) -> Vec<Leaf> {
        self.batches(oracle, kind).await.into_iter().flat_map(|(_, manifest)| manifest.leaves).collect()
    }
}

/// The registry's admin.
pub fn admin() -> Signer {
    Signer::from_seed(&[0xAD; 32])
}

/// The oracle's keys.
pub fn oracle_keys() -> OracleKeys {
    OracleKeys::from_seed(&[0x0C; 32])
}

/// Settings for tests: a free port, batches that close soon.
pub fn config(dir: &Path) -> OracleConfig {
    OracleConfig {
        data_dir: dir.join("oracle"),
        listen: "127.0.0.1:0".parse().unwrap(),
        batch_age_ms: 50,
        receipt_age_ms: 50,
        releases_per_minute_max: 10_000,
        ..OracleConfig::default()
    }
}

/// An HTTP client.
pub fn client() -> reqwest::Client {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder().timeout(Duration::from_secs(30)).build().unwrap()
}

/// Everything.
pub struct World {
    pub dir: tempfile::TempDir,
    pub now_ms: Arc<AtomicU64>,
    pub parts: Parts,
    pub chain: Arc<faulty::FaultyLedger>,
    pub store: Arc<faulty::FaultyStore>,
    pub patient: Person,
    pub reader: Person,
    pub secret: GenerationSecret,
    pub device: Device,
    pub config: OracleConfig,
    pub http: reqwest::Client,
    pub running: Option<Running>,
    pub loader: ModelLoader,
    nonce: u8,
}

impl World {
    /// A world with default settings, a patient whose vital signs have keys for two days around now, and a reader without a grant.
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// As [`World::new`] with other settings.
    pub async fn with(change: impl FnOnce(&mut OracleConfig)) -> Self {
        Self::with_detectors(change, served(Setting::default())).await
    }

    /// As [`World::with`], with detectors that the loader makes of model files.
    pub async fn with_detectors(change: impl FnOnce(&mut OracleConfig), loader: ModelLoader) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let now_ms = Arc::new(AtomicU64::new(START_MS));
        Parts::install(dir.path(), clock(&now_ms), &oracle_keys()).await;
        let parts = Parts::open(dir.path(), clock(&now_ms)).await;
        let (patient, reader) = (Person::new(1), Person::new(2));
        patient.register(&parts.contracts, Role::Patient).await;
        reader.register(&parts.contracts, Role::Practitioner).await;
        let mut config = config(dir.path());
        change(&mut config);
        let chain = Arc::new(faulty::FaultyLedger::new(Arc::clone(&parts.ledger) as Arc<dyn Ledger>));
        let store = Arc::new(faulty::FaultyStore::new(Arc::clone(&parts.blocks) as Arc<dyn BlockStore>));
        let mut world = Self {
            device: Device::new(0xD1, patient.principal(), [0; 32]),
            secret: GenerationSecret::from_bytes([9; 32]),
            http: client(),
            running: None,
            loader,
            nonce: 0,
            dir,
            now_ms,
            parts,
            chain,
            store,
            patient,
            reader,
            config,
        };
        world.start().await;
        world.device.audience = world.running().audience();
        world.device.register(&world.parts.contracts, &world.patient.signer, Categories::ALL).await;
        world.publish(Generation(0), &[Category::VitalSigns], epoch_at(START_MS - 24 * HOUR_MS), 48).await;
        world
    }

    /// Starts the oracle.
    pub async fn start(&mut self) {
        let ledger = Arc::clone(&self.chain) as Arc<dyn Ledger>;
        let deployment = self.parts.contracts.deployment.clone();
        let ports = Ports {
            contracts: Contracts::open(Arc::clone(&ledger), deployment).await.unwrap(),
            ledger,
            blocks: Arc::clone(&self.store) as Arc<dyn BlockStore>,
            clock: clock(&self.now_ms),
        };
        let loader = Arc::clone(&self.loader);
        let running = OracleService::start_with(self.config.clone(), ports, oracle_keys(), None, loader).await.unwrap();
        self.running = Some(running);
    }

    /// Stops the oracle as an operator does.
    pub async fn stop(&mut self) {
        self.running.take().unwrap().shutdown().await;
    }

    pub fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    pub fn now(&self) -> u64 {
        self.now_ms.load(Ordering::SeqCst)
    }

    pub fn pass(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::SeqCst);
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.running().local_addr())
    }

    /// Publishes the patient's epoch public keys of the current secret; rotates when the generation is a new one.
    pub async fn publish(&self, generation: Generation, categories: &[Category], first: Epoch, count: u32) {
        let patient = &self.patient;
        let directory =
            EpochKeyDirectory::build(&self.secret, patient.principal(), generation, categories, first, count).unwrap();
        let block = directory.sign(&patient.signing()).unwrap();
        let cid = block.cid;
        self.parts.blocks.put(&[block], &[cid]).await.unwrap();
        let consent = &self.parts.contracts.consent;
        let cid = cid_bytes(&cid).unwrap();
        if consent.generation(patient.principal()).await.unwrap() == generation {
            consent.publish_directory(&patient.signer, cid).await.unwrap();
        } else {
            consent.rotate(&patient.signer, generation, cid).await.unwrap();
        }
    }

    /// Grants (or forbids) the reader `hours` from `from`.
    pub async fn grant(
        &self,
        effect: Effect,
        category: Category,
        purpose: Purpose,
        from: Epoch,
        hours: u32,
    ) -> GrantId {
        let generation = self.parts.contracts.consent.generation(self.patient.principal()).await.unwrap();
        let wrapped_keys = if effect == Effect::Permit {
            let (patient, reader) = (self.patient.principal(), self.reader.principal());
            let secrets = [(generation, &self.secret)];
            let until = Epoch(from.0 + hours);
            let keys = GrantKeys::collect(patient, reader, &secrets, [category], from, until).unwrap();
            let block = keys.wrap_for(&self.reader.decryption.public_key().unwrap()).unwrap();
            let cid = block.cid;
            self.parts.blocks.put(&[block], &[cid]).await.unwrap();
            Some(cid_bytes(&cid).unwrap())
        } else {
            None
        };
        let request = GrantRequest {
            grantee: self.reader.principal(),
            effect,
            categories: Categories::of(&[category]),
            purposes: Purposes::of(&[purpose]),
            from_s: from.start_s(),
            until_s: Epoch(from.0 + hours).start_s(),
            wrapped_keys,
            generation,
        };
        self.parts.contracts.consent.grant(&self.patient.signer, &request).await.unwrap().value
    }

    /// Posts one reading; status and JSON body.
    pub async fn post(&self, body: Vec<u8>) -> (u16, Json) {
        let request = self.http.post(self.url("/v1/readings")).header("content-type", "application/cose").body(body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Posts one reading and expects that it is accepted.
    pub async fn accept(&self, body: Vec<u8>) {
        let (status, answer) = self.post(body).await;
        assert_eq!((status, answer["status"].as_str()), (202, Some("accepted")), "{answer}");
    }

    /// Sends a heart rate measured now.
    pub async fn heart_rate(&mut self, value: f64) {
        let body = self.device.heart_rate(self.now(), value);
        self.accept(body).await;
    }

    /// Waits until everything is anchored.
    pub async fn settle(&self) -> pulsegate_oracle::Progress {
        let progress = self.running().settle(PATIENCE).await.unwrap();
        assert!(progress.is_settled(), "{progress:?}, {:?}", self.running().health());
        progress
    }

    /// A request of the reader for vital signs for treatment, with a fresh nonce.
    pub fn request(&mut self, epochs: &[Epoch]) -> ReleaseRequest {
        self.nonce += 1;
        ReleaseRequest {
            reader: self.reader.principal(),
            patient: self.patient.principal(),
            category: Category::VitalSigns,
            purpose: Purpose::Treatment,
            generation: Generation(0),
            epochs: epochs.to_vec(),
            nonce: [self.nonce; 16],
            requested_at_ms: self.now(),
            audience: self.running().audience(),
        }
    }

    /// Posts a release request's body; the answer, or status and JSON of the error.
    pub async fn post_release(&self, body: &[u8]) -> Result<ReleaseAnswer, (u16, Json)> {
        let answer = self.http.post(self.url("/v1/release")).body(body.to_vec()).send().await.unwrap();
        let status = answer.status().as_u16();
        if status != 200 {
            return Err((status, answer.json().await.unwrap()));
        }
        Ok(ReleaseAnswer::decode(&answer.bytes().await.unwrap()).unwrap())
    }

    /// Signs and posts a release request; returns the body too.
    pub async fn release(&self, request: &ReleaseRequest) -> (Vec<u8>, ReleaseAnswer) {
        let body = request.sign(&self.reader.signing()).unwrap();
        let answer = self.post_release(&body).await.unwrap();
        (body, answer)
    }

    /// Opens every anchored record of an hour, as the patient, who has the whole tree and needs no grant.
    pub async fn payloads(&mut self, epoch: Epoch) -> Vec<Payload> {
        let request = self.request(&[epoch]);
        let request = ReleaseRequest { reader: self.patient.principal(), ..request };
        let body = request.sign(&self.patient.signing()).unwrap();
        let answer = self.post_release(&body).await.unwrap();
        let (_, share) = answer.open_shares(&self.patient.decryption, &body).unwrap().remove(0);
        let seed = self.secret.stream_root(Category::VitalSigns).leaf(epoch).unwrap();
        let mut payloads = Vec::new();
        for leaf in self.leaves(BatchKind::Records).await {
            let block = self.parts.blocks.get(leaf.cid()).await.unwrap();
            let opened = record::open(&block, &seed, &share);
            // Records of other hours are under other keys.
            if let Ok((_, plaintext)) = opened {
                payloads.push(Payload::decode(&plaintext).unwrap());
            }
        }
        payloads
    }

    /// Every anchored leaf of a kind.
    pub async fn leaves(&self, kind: BatchKind) -> Vec<Leaf> {
        self.parts.leaves(oracle_keys().principal(), kind).await
    }
}

/// The world's clock.
pub fn clock(now_ms: &Arc<AtomicU64>) -> Clock {
    let now_ms = Arc::clone(now_ms);
    Arc::new(move || now_ms.load(Ordering::SeqCst))
}
