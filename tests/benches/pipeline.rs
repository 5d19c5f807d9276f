//! The embedded pipeline measured end to end, and what the chain pays per reading.
//!
//! Readings per second from the HTTP body to the anchored batch (verify, durable log, screen, assess, seal, store, anchor), as a ratio
//! to bare Ed25519 verification of the same messages on one thread in the same run: a ratio travels between machines, a number does not.
//! What each stage takes for one reading comes from the service's metrics, with every committed detector model at work.
//! Chain weight is what the real contract costs on the real pallet's weights, per anchored batch, divided by its readings.
//! `cargo bench -p pulsegate-tests --bench pipeline` measures; any other run (`cargo test --benches`) only shows that it works.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ciborium::Value as Cbor;
use ed25519_dalek::{Signer as _, SigningKey as DeviceVerify, Verifier as _};
use k256::ecdsa::SigningKey as OracleSigning;
use pulsegate_detector::model_file::ModelFile;
use pulsegate_detector::runtime;
use pulsegate_ipfs::block::{Block, cid_bytes};
use pulsegate_ipfs::directory::EpochKeyDirectory;
use pulsegate_ipfs::key_tree::GenerationSecret;
use pulsegate_ipfs::signing::SigningKey;
use pulsegate_ipfs::store::{BlockStore, EmbeddedBlockStore};
use pulsegate_ledger::embedded::EmbeddedLedger;
use pulsegate_ledger::{Bundles, Clock, Contracts, Deployment, Ledger, Signer, Weight};
use pulsegate_oracle::{OracleConfig, OracleKeys, OracleService, Ports, Running};
use pulsegate_reading::{DeviceKey, LoincCode, Reading, SignedReading, Unit, Value};
use pulsegate_rules::records::{BatchHeader, BatchKind};
use pulsegate_rules::registry::{KeyUse, Role};
use pulsegate_rules::{Categories, Category, Epoch, Generation, ModelId, OracleKey, Principal};
use pulsegate_tests::device::now_ms;
use pulsegate_tests::parts::repository;
use pulsegate_tests::process::http;

/// Readings of a measuring run; each device keeps its order, so several devices send side by side.
const DEVICES: u8 = 8;
const READINGS_PER_DEVICE: usize = 2_048;
/// Readings of a run that only shows that the benchmark works.
const TRIAL_READINGS_PER_DEVICE: usize = 8;
/// Readings of one request.
const REQUEST_READINGS: usize = 256;
/// Records of one batch.
const BATCH_COUNT_MAX: u32 = 1_024;
/// Records of one batch when the stages are compared.
const STAGES_BATCH_COUNT: u32 = 64;
/// Batch sizes whose chain weight is shown.
const BATCH_SIZES: [u32; 3] = [1, 64, 1_024];
/// Longest wait for the last batch.
const SETTLED_WITHIN: Duration = Duration::from_secs(600);
/// What one second of computation is, picoseconds.
const PS_PER_S: f64 = 1e12;

/// Everything in this process.
struct World {
    contracts: Contracts,
    admin: Signer,
    running: Running,
    patient: Principal,
    devices: Vec<DeviceKey>,
    _folder: tempfile::TempDir,
}

impl World {
    /// With the detector models that come with the program active, and batches of this many records.
    async fn start(batch_count_max: u32) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let clock: Clock = Arc::new(now_ms);
        let ledger: Arc<dyn Ledger> = Arc::new(EmbeddedLedger::open(&folder.path().join("chain"), Arc::clone(&clock))?);
        let blocks: Arc<dyn BlockStore> = Arc::new(EmbeddedBlockStore::open(&folder.path().join("blocks"))?);
        let admin = Signer::from_seed(&[1; 32]);
        let bundles = Bundles::from_dir(&repository().join("contracts/artifacts"))?;
        let deployment = Deployment::install(ledger.as_ref(), &admin, &bundles).await?;
        let contracts = Contracts::open(Arc::clone(&ledger), deployment).await?;
        let keys = OracleKeys::from_seed(&[2; 32]);
        contracts.registry.set_oracles(&admin, 1, &[keys.oracle_key()]).await?;
        for (name, bytes) in runtime::committed() {
            let model = ModelFile::read(bytes).with_context(|| format!("the committed model {name}"))?;
            let (id, kind) = (model.id(), model.metadata.kind);
            contracts.registry.approve_model(&admin, id, kind, &model.data_hash(), &id.0).await?;
            contracts.registry.activate_model(&admin, id).await?;
        }
        let (patient, devices) = enrol(&contracts, blocks.as_ref()).await?;
        let config = OracleConfig {
            data_dir: folder.path().join("oracle"),
            listen: "127.0.0.1:0".parse()?,
            batch_count_max,
            ..OracleConfig::default()
        };
        let ports = Ports { ledger, contracts: contracts.clone(), blocks, clock };
        let running = OracleService::start(config, ports, keys, None).await?;
        Ok(Self { contracts, admin, running, patient, devices, _folder: folder })
    }

    /// Signs every device's readings, in requests.
    fn requests(&self, per_device: usize) -> Result<Vec<Vec<Vec<SignedReading>>>> {
        let measured_at_ms = now_ms();
        let signed = self.devices.iter().map(|key| {
            let mut previous = [0; 32];
            let readings = (1..=per_device).map(|sequence| {
                let reading = Reading {
                    device: key.device_id(),
                    patient: self.patient,
                    audience: self.running.audience(),
                    sequence: sequence as u64,
                    previous,
                    measured_at_ms,
                    code: LoincCode::HeartRate,
                    value: Value::quantity(60.0 + (sequence % 40) as f64, Unit::PerMinute),
                };
                let signed = reading.sign(key)?;
                previous = signed.hash();
                Ok(signed)
            });
            let readings = readings.collect::<Result<Vec<SignedReading>>>()?;
            Ok(readings.chunks(REQUEST_READINGS).map(<[SignedReading]>::to_vec).collect())
        });
        signed.collect()
    }
}

/// Registers a patient with devices and publishes the keys of the present hours.
async fn enrol(contracts: &Contracts, blocks: &dyn BlockStore) -> Result<(Principal, Vec<DeviceKey>)> {
    let (account, signing) = (Signer::from_seed(&[3; 32]), SigningKey::ed25519_from_seed(&[4; 32]));
    let registry = &contracts.registry;
    registry.register_participant(&account, Role::Patient).await?;
    registry.set_key(&account, KeyUse::Signing, &signing.public_key()?).await?;
    let devices: Vec<DeviceKey> = (0..DEVICES).map(|number| DeviceKey::from_seed(&[100 + number; 32])).collect();
    for device in &devices {
        registry.register_device(&account, &device.public_key(), Categories::of(&[Category::VitalSigns])).await?;
    }
    let first = Epoch(Epoch::at(now_ms() / 1_000).context("the clock is past the last epoch")?.0 - 1);
    let secret = GenerationSecret::random();
    let directory =
        EpochKeyDirectory::build(&secret, account.principal(), Generation(0), &[Category::VitalSigns], first, 4)?;
    let block = directory.sign(&signing)?;
    blocks.put(std::slice::from_ref(&block), &[block.cid]).await?;
    contracts.consent.publish_directory(&account, cid_bytes(&block.cid)?).await?;
    Ok((account.principal(), devices))
}

/// Sends everything, the devices side by side, and waits until the last batch is anchored. Readings per second.
async fn pipeline(world: &World, requests: &[Vec<Vec<SignedReading>>]) -> Result<f64> {
    let url = format!("http://{}/v1/readings/batch", world.running.local_addr());
    let client = http();
    let total: usize = requests.iter().flatten().map(Vec::len).sum();
    let began = Instant::now();
    let devices = requests.iter().map(|device| {
        let (client, url) = (client.clone(), url.clone());
        let bodies: Vec<Vec<u8>> = device.iter().map(|readings| body(readings)).collect();
        tokio::spawn(async move {
            for body in bodies {
                let sent = client.post(&url).header("content-type", "application/cbor").body(body).send().await?;
                let outcomes: Vec<serde_json::Value> = sent.error_for_status()?.json().await?;
                let refused = outcomes.iter().find(|outcome| outcome["status"] != "accepted");
                ensure!(refused.is_none(), "a reading was not accepted: {refused:?}");
            }
            Ok(())
        })
    });
    for device in devices.collect::<Vec<_>>() {
        device.await??;
    }
    let progress = world.running.settle(SETTLED_WITHIN).await?;
    let elapsed_s = began.elapsed().as_secs_f64();
    ensure!(
        progress.is_settled() && progress.records_anchored == total as u64,
        "not everything is anchored: {progress:?}"
    );
    Ok(total as f64 / elapsed_s)
}

fn body(readings: &[SignedReading]) -> Vec<u8> {
    let readings = readings.iter().map(|signed| Cbor::Bytes(signed.bytes().to_vec())).collect();
    let mut body = Vec::new();
    ciborium::into_writer(&Cbor::Array(readings), &mut body).expect("byte strings always encode");
    body
}

/// Bare Ed25519 verification, one thread, messages of the length of a reading. Verifications per second.
fn bare_verification(requests: &[Vec<Vec<SignedReading>>]) -> Result<f64> {
    let key = DeviceVerify::from_bytes(&[9; 32]);
    let signed: Vec<(&[u8], _)> =
        requests.iter().flatten().flatten().map(|reading| (reading.bytes(), key.sign(reading.bytes()))).collect();
    let public = key.verifying_key();
    let began = Instant::now();
    for (message, signature) in &signed {
        public.verify(message, signature)?;
    }
    Ok(signed.len() as f64 / began.elapsed().as_secs_f64())
}

/// The weight of anchoring one batch, by number of readings. The header's size does not depend on it; the contract's work does not either.
async fn anchor_weights(world: &World) -> Result<Vec<(u32, Weight)>> {
    let key = OracleSigning::from_slice(&[7; 32])?;
    let point = key.verifying_key().to_encoded_point(true);
    world.contracts.registry.set_oracles(&world.admin, 1, &[OracleKey(point.as_bytes().try_into()?)]).await?;
    let set = world.contracts.registry.oracles().await?;
    let records = &world.contracts.records;
    let relayer = Signer::from_seed(&[8; 32]);
    let manifest = cid_bytes(&Block::dag_cbor(&"a manifest")?.cid)?;
    let mut weights = Vec::new();
    // The first batch of a chain of batches writes more new storage than every later one: it is anchored, and not counted.
    for count in [&[1], &BATCH_SIZES[..]].concat() {
        let head = records.head(relayer.principal(), BatchKind::Records).await?;
        let header = BatchHeader {
            kind: BatchKind::Records,
            oracle: relayer.principal(),
            sequence: head.sequence + 1,
            previous: head.digest,
            merkle_root: [1; 32],
            manifest,
            count,
            model: ModelId([0; 32]),
            oracle_set: set.version,
            closed_at_ms: now_ms(),
        };
        let digest = header.signing_digest(records.chain_id().await?, &records.account());
        let (signature, recovery) = key.sign_prehash_recoverable(&digest)?;
        let mut bytes = [0; 65];
        bytes[..64].copy_from_slice(&signature.to_bytes());
        bytes[64] = recovery.to_byte();
        let committed = records.anchor(&relayer, &header, &[bytes]).await?;
        weights.push((count, committed.transaction.weight));
    }
    Ok(weights.split_off(1))
}

/// How long each stage took for one reading, by the service's own metrics: stage and microseconds.
async fn stages(world: &World) -> Result<Vec<(&'static str, f64)>> {
    let url = format!("http://{}/metrics", world.running.local_addr());
    let text = http().get(url).send().await?.text().await?;
    let number = |name: &str, stage: &str| {
        let line = format!("{name}{{stage=\"{stage}\"}} ");
        let found = text.lines().find_map(|text| text.strip_prefix(&line)?.parse::<f64>().ok());
        found.with_context(|| format!("the metrics have no {line}"))
    };
    ["verify", "log", "screen", "assess", "seal", "store", "anchor"]
        .into_iter()
        .map(|stage| {
            let seconds = number("pulsegate_stage_seconds_sum", stage)?;
            Ok((stage, seconds / number("pulsegate_stage_readings_total", stage)? * 1e6))
        })
        .collect()
}

/// Shows what each stage takes with batches of [`STAGES_BATCH_COUNT`] records and all committed detectors at work.
async fn compare_stages(per_device: usize) -> Result<()> {
    let world = World::start(STAGES_BATCH_COUNT).await?;
    let requests = world.requests(per_device)?;
    let through = pipeline(&world, &requests).await?;
    println!(
        "\nstages, batches of {STAGES_BATCH_COUNT}, {} learned detectors, {through:.0} readings per second",
        world.running.models().len()
    );
    for (stage, microseconds) in stages(&world).await? {
        println!("  {stage:<8} {microseconds:>10.1} µs a reading");
    }
    world.running.shutdown().await;
    Ok(())
}

fn folder_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[tokio::main]
async fn main() -> Result<()> {
    let measuring = std::env::args().any(|argument| argument == "--bench");
    let per_device = if measuring { READINGS_PER_DEVICE } else { TRIAL_READINGS_PER_DEVICE };
    let world = World::start(BATCH_COUNT_MAX).await?;
    let requests = world.requests(per_device)?;
    let bare = bare_verification(&requests)?;
    let through = pipeline(&world, &requests).await?;
    let profile =
        std::env::current_exe().ok().and_then(|path| path.ancestors().nth(2).map(folder_of)).unwrap_or_default();
    println!(
        "\n{} readings of {DEVICES} devices, {REQUEST_READINGS} per request, profile {profile}",
        per_device * usize::from(DEVICES)
    );
    println!("  bare Ed25519 verification, one thread   {bare:>10.0} per second");
    println!("  the whole embedded pipeline             {through:>10.0} per second");
    println!("  ratio                                   {:>10.3}", through / bare);
    println!("\nchain weight of anchoring, per reading");
    println!(
        "  {:>10}  {:>16}  {:>14}  {:>22}",
        "batch size", "ref time (ns)", "proof (bytes)", "readings per chain-s"
    );
    for (count, weight) in anchor_weights(&world).await? {
        let (ref_time_ps, proof_bytes) =
            (weight.ref_time_ps as f64 / f64::from(count), weight.proof_bytes as f64 / f64::from(count));
        println!("  {count:>10}  {:>16.0}  {proof_bytes:>14.0}  {:>22.0}", ref_time_ps / 1e3, PS_PER_S / ref_time_ps);
    }
    world.running.shutdown().await;
    compare_stages(per_device).await
}
