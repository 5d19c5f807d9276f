//! Learned detectors in the running oracle: the chain says which model judges, other files are refused, a failing model costs no reading,
//! and what the listener measures reaches the detector of the device that it belongs to, and of no other.
//!
//! The models are made for these tests: a file's text says what its detector does.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use common::{Device, HOUR_MS, START_MS, World, admin, epoch_at, eventually, oracle_keys};
use pulsegate_detector::runtime::{Detector, model_set};
use pulsegate_detector::traffic::{ConnectionState, Flow, Service};
use pulsegate_detector::{
    Arrival, Assessment, DetectorError, InputsDigest, Judged, Measured, News2, NotAssessed, PhysiologyClass,
    PhysiologyDetector, PhysiologyFinding, RequestRate, TrafficClass, TrafficDetector, TrafficFinding, Verdict,
    VerdictClass,
};
use pulsegate_ledger::Contracts;
use pulsegate_oracle::detectors::{ModelLoader, ModelState};
use pulsegate_reading::Reading;
use pulsegate_rules::records::BatchKind;
use pulsegate_rules::registry::DetectorKind;
use pulsegate_rules::{Categories, DeviceId, ModelId};
use sha2::{Digest, Sha256};

/// A model whose file says what it does.
struct Told {
    model: ModelId,
    does: String,
    /// How many arrivals of each device it saw.
    seen: HashMap<DeviceId, u32>,
}

impl Told {
    fn act(&self, value: f64) -> Result<(), DetectorError> {
        match self.does.as_str() {
            "panics" => panic!("a model's panic may hold {value}"),
            "panics at 99" if (value - 99.0).abs() < 0.5 => panic!("a model's panic may hold {value}"),
            "fails" => Err(DetectorError::Failed { reason: "told to" }),
            _ => Ok(()),
        }
    }
}

impl TrafficDetector for Told {
    fn model(&self) -> ModelId {
        self.model
    }

    fn screen(&mut self, arrival: &Arrival) -> Result<Assessment<TrafficFinding>, DetectorError> {
        self.act(0.0)?;
        let seen = self.seen.entry(arrival.device).or_default();
        *seen += 1;
        let class = if self.does == "suspects" { TrafficClass::Compromised } else { TrafficClass::Normal };
        let confidence = Some(if self.does == "says nonsense" { f64::NAN } else { 0.75 });
        let flow = arrival.flow.map(|flow| serde_json::to_string(&Brief::from(flow)).unwrap());
        Ok(Assessment::Assessed(TrafficFinding {
            model: self.model,
            class,
            confidence,
            label: flow.or_else(|| Some(format!("arrival {seen}"))),
            inputs: InputsDigest([0; 32]),
            missing: Vec::new(),
            rate: None,
        }))
    }
}

impl PhysiologyDetector for Told {
    fn model(&self) -> ModelId {
        self.model
    }

    fn assess(&mut self, measured: &Measured<'_>) -> Result<Assessment<PhysiologyFinding>, DetectorError> {
        let pulsegate_reading::Value::Quantity(quantity) = &measured.reading.value else { return self.not_mine() };
        self.act(quantity.value)?;
        let seen = self.seen.entry(measured.reading.device).or_default();
        *seen += 1;
        Ok(Assessment::Assessed(PhysiologyFinding {
            model: self.model,
            class: PhysiologyClass::Unremarkable,
            confidence: Some(0.5),
            label: Some(format!("reading {seen}")),
            inputs: InputsDigest([0; 32]),
            missing: vec!["temperature".into()],
            news2: None,
            beats: None,
        }))
    }
}

impl Told {
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "it stands for the detector's answer")]
    fn not_mine(&self) -> Result<Assessment<PhysiologyFinding>, DetectorError> {
        Ok(Assessment::NotAssessed(NotAssessed::NotApplicable))
    }
}

/// What a test looks at of a flow; short enough for a label.
#[derive(serde::Serialize, serde::Deserialize)]
struct Brief(u64, u64, ConnectionState, Service);

impl From<Flow> for Brief {
    fn from(flow: Flow) -> Self {
        Self(flow.bytes_sent.unwrap(), flow.bytes_received.unwrap(), flow.state, flow.service)
    }
}

fn loader() -> ModelLoader {
    Arc::new(|kind, bytes| {
        let (model, does) = (id_of(bytes), String::from_utf8(bytes.to_vec()).unwrap());
        let told = Box::new(Told { model, does, seen: HashMap::new() });
        Ok(match kind {
            DetectorKind::Traffic | DetectorKind::TrafficUnsupervised => Detector::Traffic(told),
            _ => Detector::Physiology(told),
        })
    })
}

fn id_of(bytes: &[u8]) -> ModelId {
    ModelId(Sha256::digest(bytes).into())
}

/// Puts a model's file where the oracle looks.
fn put(folder: &Path, does: &str) -> ModelId {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join(format!("{}.safetensors", does.replace(' ', "-"))), does).unwrap();
    id_of(does.as_bytes())
}

async fn approve(contracts: &Contracts, kind: DetectorKind, id: ModelId) {
    contracts.registry.approve_model(&admin(), id, kind, &[1; 32], &[2; 32]).await.unwrap();
}

async fn activate(contracts: &Contracts, kind: DetectorKind, id: ModelId) {
    approve(contracts, kind, id).await;
    contracts.registry.activate_model(&admin(), id).await.unwrap();
}

/// A world whose oracle looks for models in a folder of its own, with one file in it that no test activates.
async fn world() -> World {
    World::with_detectors(
        |config| {
            let folder = config.data_dir.with_file_name("models");
            put(&folder, "nobody asks for this one");
            config.models_dir = Some(folder);
        },
        loader(),
    )
    .await
}

fn folder(world: &World) -> std::path::PathBuf {
    world.config.models_dir.clone().unwrap()
}

async fn until_in_use(world: &World, kind: DetectorKind, id: ModelId) {
    eventually("the model is in use", async || {
        let models = world.running().models();
        models.iter().any(|at| (at.detector, at.model, at.state) == (kind, id, ModelState::InUse)).then_some(())
    })
    .await;
}

/// Sends a heart rate and opens what was sealed of it.
async fn verdict_of(world: &mut World, value: f64) -> Verdict {
    world.heart_rate(value).await;
    world.settle().await;
    world.payloads(epoch_at(START_MS)).await.pop().unwrap().verdict
}

fn by<T>(judged: &[Judged<T>], model: ModelId) -> Option<&Assessment<T>> {
    judged.iter().find(|judged| judged.model == model).map(|judged| &judged.assessment)
}

fn rules() -> [(DetectorKind, ModelId); 2] {
    let (rate, news2) = (RequestRate::default(), News2::default());
    [(DetectorKind::RequestRate, rate.model()), (DetectorKind::VitalSigns, news2.model())]
}

/// The set of models that each anchored batch names, in order.
async fn model_sets(world: &World) -> Vec<ModelId> {
    let batches = world.parts.batches(oracle_keys().principal(), BatchKind::Records).await;
    batches.into_iter().map(|(header, _)| header.model).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_active_model_judges_beside_the_rules_and_a_roll_back_brings_the_one_before_back() {
    let mut world = world().await;
    let (first, second) = (put(&folder(&world), "trusts"), put(&folder(&world), "suspects"));
    let contracts = world.parts.contracts.clone();
    let nobody = verdict_of(&mut world, 61.0).await;
    assert_eq!(
        nobody.models().collect::<Vec<_>>(),
        [rules()[1], rules()[0]],
        "without an active model the rules judge alone"
    );

    activate(&contracts, DetectorKind::Traffic, first).await;
    until_in_use(&world, DetectorKind::Traffic, first).await;
    let trusted = verdict_of(&mut world, 62.0).await;
    assert!(by(&trusted.traffic, first).unwrap().finding().is_some());
    assert_eq!((trusted.traffic.len(), trusted.class), (2, VerdictClass::Neither));

    activate(&contracts, DetectorKind::Traffic, second).await;
    until_in_use(&world, DetectorKind::Traffic, second).await;
    let suspected = verdict_of(&mut world, 63.0).await;
    assert_eq!(suspected.class, VerdictClass::Compromised);
    assert_eq!(by(&suspected.traffic, second).unwrap().finding().unwrap().confidence, Some(0.75));
    assert_eq!(by(&suspected.traffic, first), None);

    contracts.registry.roll_back_model(&admin(), DetectorKind::Traffic).await.unwrap();
    until_in_use(&world, DetectorKind::Traffic, first).await;
    let again = verdict_of(&mut world, 64.0).await;
    assert_eq!(again.class, VerdictClass::Neither);
    assert!(by(&again.traffic, first).is_some());

    let set = |model| {
        let mut models = rules().to_vec();
        models.push((DetectorKind::Traffic, model));
        model_set(&models)
    };
    assert_eq!(model_sets(&world).await, [model_set(&rules()), set(first), set(second), set(first)]);
    world.stop().await;
    // The chain is asked before the first reading, so a restart forgets no model.
    world.start().await;
    assert_eq!(world.running().models()[0].model, first);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_the_chain_does_not_name_is_refused_and_readings_are_stored_as_not_assessed() {
    let mut world = world().await;
    let approved = id_of(b"the approved weights");
    // The file has the right name and other content.
    std::fs::write(folder(&world).join("the-approved-weights.safetensors"), "other weights").unwrap();
    activate(&world.parts.contracts.clone(), DetectorKind::Traffic, approved).await;
    eventually("the model is missed", async || {
        let state = world.running().models().first().map(|model| model.state);
        (state == Some(ModelState::Unavailable { code: "MODEL_NOT_AT_HAND" })).then_some(())
    })
    .await;
    let verdict = verdict_of(&mut world, 61.0).await;
    assert_eq!(by(&verdict.traffic, approved), Some(&Assessment::NotAssessed(NotAssessed::Unavailable)));
    assert_eq!((verdict.traffic.len(), verdict.class), (2, VerdictClass::Neither), "the rules went on");
    assert_eq!(model_sets(&world).await, [model_set(&rules())]);
    let health = world.running().health();
    assert!(health.parts.values().any(|part| part.code == Some("MODEL_NOT_AT_HAND")));
    let metrics = world.http.get(world.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(
        metrics.contains(r#"pulsegate_model_changes_total{detector="traffic",code="MODEL_NOT_AT_HAND"} 1"#),
        "{metrics}"
    );
    let listed: serde_json::Value = world.http.get(world.url("/v1/models")).send().await.unwrap().json().await.unwrap();
    assert_eq!((&listed[0]["state"], &listed[0]["code"]), (&"unavailable".into(), &"MODEL_NOT_AT_HAND".into()));
    // The right file is found without a restart.
    put(&folder(&world), "the approved weights");
    until_in_use(&world, DetectorKind::Traffic, approved).await;
    assert!(by(&verdict_of(&mut world, 62.0).await.traffic, approved).unwrap().finding().is_some());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_fails_panics_or_says_what_cannot_be_costs_its_own_judgement_alone() {
    let mut world = world().await;
    let contracts = world.parts.contracts.clone();
    let ecg_of_nobody = put(&folder(&world), "trusts");
    activate(&contracts, DetectorKind::EcgBeats, ecg_of_nobody).await;
    let mut count = 0;
    for (does, code) in
        [("fails", "DETECTOR_FAILED"), ("panics", "DETECTOR_PANICKED"), ("says nonsense", "DETECTOR_UNSOUND")]
    {
        let bad = put(&folder(&world), does);
        activate(&contracts, DetectorKind::Traffic, bad).await;
        until_in_use(&world, DetectorKind::Traffic, bad).await;
        let verdict = verdict_of(&mut world, 61.0).await;
        count += 1;
        assert_eq!(by(&verdict.traffic, bad), Some(&Assessment::NotAssessed(NotAssessed::Failed)), "{does}");
        assert!(verdict.news2().is_some(), "{does}: the other side is judged");
        assert_eq!(verdict.physiology.len(), 1, "an ECG model has no say in a heart rate");
        let metrics = world.http.get(world.url("/metrics")).send().await.unwrap().text().await.unwrap();
        let line = format!(r#"pulsegate_detector_failures_total{{detector="traffic",code="{code}"}} 1"#);
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
    assert_eq!(world.payloads(epoch_at(START_MS)).await.len(), count, "every reading is stored");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_that_breaks_the_model_leaves_other_devices_states_alone() {
    let mut world = world().await;
    let model = put(&folder(&world), "panics at 99");
    activate(&world.parts.contracts.clone(), DetectorKind::VitalSigns, model).await;
    until_in_use(&world, DetectorKind::VitalSigns, model).await;
    let mut other = Device::new(0xD2, world.patient.principal(), world.device.audience);
    other.register(&world.parts.contracts, &world.patient.signer, Categories::ALL).await;
    let label = |verdict: &Verdict| match by(&verdict.physiology, model).unwrap() {
        Assessment::Assessed(finding) => finding.label.clone(),
        Assessment::NotAssessed(_) => None,
    };
    assert_eq!(label(&verdict_of(&mut world, 61.0).await).as_deref(), Some("reading 1"));
    let poison = other.heart_rate(START_MS, 99.0);
    world.accept(poison).await;
    world.settle().await;
    let poisoned = world.payloads(epoch_at(START_MS)).await.pop().unwrap().verdict;
    assert_eq!(by(&poisoned.physiology, model), Some(&Assessment::NotAssessed(NotAssessed::Failed)));
    assert_eq!(label(&verdict_of(&mut world, 62.0).await).as_deref(), Some("reading 2"), "as if nothing had been");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_reading_reaches_no_learned_model_and_raises_nothing() {
    let mut world = world().await;
    let model = put(&folder(&world), "suspects");
    activate(&world.parts.contracts.clone(), DetectorKind::Traffic, model).await;
    until_in_use(&world, DetectorKind::Traffic, model).await;
    let late: Reading = world.device.draft(START_MS - HOUR_MS, 180.0);
    let body = world.device.commit(&late);
    world.accept(body).await;
    world.settle().await;
    let verdict = world.payloads(epoch_at(START_MS - HOUR_MS)).await.pop().unwrap().verdict;
    assert_eq!(by(&verdict.traffic, model), Some(&Assessment::NotAssessed(NotAssessed::Late)));
    assert_eq!((verdict.class, verdict.late), (VerdictClass::NotAssessed, true));
    assert!(world.leaves(BatchKind::Critical).await.is_empty());
    let live = verdict_of(&mut world, 61.0).await;
    let label = by(&live.traffic, model).unwrap().finding().unwrap().label.clone().unwrap();
    assert!(!label.starts_with("arrival 2"), "the late one was not seen: {label}");
    world.stop().await;
}

/// The flow that a verdict's detector was shown, if it was shown one.
fn flow_of(verdict: &Verdict, model: ModelId) -> Option<Brief> {
    let label = by(&verdict.traffic, model)?.finding()?.label.clone()?;
    serde_json::from_str(&label).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_listener_measured_goes_with_the_devices_next_reading() {
    let mut world = world().await;
    let model = put(&folder(&world), "trusts");
    activate(&world.parts.contracts.clone(), DetectorKind::Traffic, model).await;
    until_in_use(&world, DetectorKind::Traffic, model).await;
    let first = verdict_of(&mut world, 61.0).await;
    assert!(flow_of(&first, model).is_none(), "nothing has ended yet");
    let Brief(sent, received, state, service) = eventually("the exchange has ended", async || {
        let verdict = verdict_of(&mut world, 62.0).await;
        flow_of(&verdict, model)
    })
    .await;
    let body = world.device.clone().heart_rate(START_MS, 63.0).len() as u64;
    assert!(sent > body && sent < body + 1_000, "the body of {body} bytes with its headers, not {sent}");
    assert!((50..2_000).contains(&received), "a short answer, not {received}");
    assert_eq!((state, service), (ConnectionState::SF, Service::Http));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_charges_a_flow_to_somebody_elses_device() {
    let mut world = world().await;
    let model = put(&folder(&world), "trusts");
    activate(&world.parts.contracts.clone(), DetectorKind::Traffic, model).await;
    until_in_use(&world, DetectorKind::Traffic, model).await;
    // The device sends one reading and keeps its connection to itself.
    let newest = world.device.heart_rate(START_MS, 61.0);
    world.accept(newest.clone()).await;
    // Somebody else replays it, forges the next one, and breaks off in the middle, each time from connections of their own.
    let stranger = common::client();
    for _ in 0..5 {
        let replayed = stranger.post(world.url("/v1/readings")).body(newest.clone()).send().await.unwrap();
        assert_eq!(replayed.status().as_u16(), 202, "a duplicate");
        let mut forged = world.device.clone().heart_rate(START_MS, 62.0);
        *forged.last_mut().unwrap() ^= 1;
        let forged = stranger.post(world.url("/v1/readings")).body(forged).send().await.unwrap();
        assert_eq!(forged.status().as_u16(), 403);
        let mut cut = tokio::net::TcpStream::connect(world.running().local_addr()).await.unwrap();
        let head = format!("POST /v1/readings HTTP/1.1\r\nhost: oracle\r\nx-not-all: {}", "of it ".repeat(20));
        tokio::io::AsyncWriteExt::write_all(&mut cut, head.as_bytes()).await.unwrap();
    }
    drop(stranger);
    let metrics = eventually("all of it is counted", async || {
        let text = world.http.get(world.url("/metrics")).send().await.unwrap().text().await.unwrap();
        text.contains(r#"pulsegate_peer_failures_total{failure="disconnected"} 5"#).then_some(text)
    })
    .await;
    assert!(metrics.contains(r#"pulsegate_peer_failures_total{failure="refused"}"#), "{metrics}");
    // Of all that, the device's next readings carry its own one exchange.
    let mut carried = 0;
    for value in [62.0, 63.0, 64.0] {
        let own = common::client();
        let body = world.device.heart_rate(START_MS, value);
        let answer = own.post(world.url("/v1/readings")).body(body).send().await.unwrap();
        assert_eq!(answer.json::<serde_json::Value>().await.unwrap()["status"], "accepted");
    }
    world.settle().await;
    for payload in world.payloads(epoch_at(START_MS)).await {
        carried += usize::from(flow_of(&payload.verdict, model).is_some());
    }
    assert!(carried <= 3, "at most one flow per accepted reading, {carried} were carried");
    world.stop().await;
}
