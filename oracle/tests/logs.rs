//! The logs and metrics of a whole run, with successes, refusals and failures, name nobody and show no value.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::Write;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use common::{START_MS, World, epoch_at, eventually, oracle_keys};
use pulsegate_rules::consent::Effect;
use pulsegate_rules::{Category, Epoch, Purpose, StreamId};
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// A run with everything that is worth a log line.
async fn run() -> (World, String) {
    let mut world = World::new().await;
    let epoch = epoch_at(START_MS);
    for rate in [61.25, 187.5, 188.5] {
        world.heart_rate(rate).await;
    }
    for body in [b"nonsense".to_vec(), world.device.clone().heart_rate(START_MS + 1_000_000, 62.0)] {
        world.post(body).await;
    }
    world.settle().await;
    world.grant(Effect::Permit, Category::VitalSigns, Purpose::Treatment, epoch, 1).await;
    for epochs in [epoch, Epoch(epoch.0 + 1)] {
        let request = world.request(&[epochs]);
        world.release(&request).await;
    }
    let forged = world.request(&[epoch]).sign(&common::Person::new(3).signing()).unwrap();
    world.post_release(&forged).await.unwrap_err();
    world.chain.down.store(true, Ordering::SeqCst);
    world.store.down.store(true, Ordering::SeqCst);
    eventually("the failure is noticed", async || (world.running().health().status == "degraded").then_some(())).await;
    let body = world.device.clone().heart_rate(START_MS, 63.0);
    eventually("a reading is refused", async || (world.post(body.clone()).await.0 == 503).then_some(())).await;
    world.chain.down.store(false, Ordering::SeqCst);
    world.store.down.store(false, Ordering::SeqCst);
    eventually("all is well again", async || (world.running().health().status == "ok").then_some(())).await;
    world.settle().await;
    let text = world.http.get(world.url("/metrics")).send().await.unwrap().text().await.unwrap();
    let health = world.http.get(world.url("/healthz")).send().await.unwrap().text().await.unwrap();
    (world, text + &health)
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_metrics_and_health_of_a_run_name_nobody_and_show_no_value() {
    let captured = Captured::default();
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(captured.clone()).init();
    let (mut world, public) = run().await;
    world.stop().await;
    let logs = String::from_utf8_lossy(&captured.0.lock().unwrap()).into_owned();
    // Our own lines; the HTTP client of this test shares the process and its log.
    let own: Vec<&str> = logs.lines().filter(|line| line.contains("pulsegate_")).collect();
    assert!(own.iter().any(|line| line.contains("works again")), "the run did log: {own:#?}");
    let (patient, reader) = (world.patient.principal(), world.reader.principal());
    let secrets = [
        ("patient", patient.0.to_vec()),
        ("reader", reader.0.to_vec()),
        ("device", world.device.id().0.to_vec()),
        ("device key", world.device.key().public_key().to_vec()),
        ("stream", StreamId::of(&patient, Category::VitalSigns).0.to_vec()),
        ("generation secret", world.secret.expose().to_vec()),
        ("oracle seed", vec![0x0C; 32]),
        ("device seed", world.device.seed.to_vec()),
        ("hash of a reading", world.device.previous.to_vec()),
        ("oracle account", oracle_keys().principal().0.to_vec()),
    ];
    for (what, bytes) in secrets {
        let short = hex::encode(&bytes[..6]);
        for text in own.iter().copied().chain([public.as_str()]) {
            assert!(!text.to_lowercase().contains(&short), "{what} shows in: {text}");
        }
    }
    for value in ["61.25", "187.5", "188.5", "8867-4", "/min", "bafy"] {
        for text in own.iter().copied().chain([public.as_str()]) {
            assert!(!text.contains(value), "{value} shows in: {text}");
        }
    }
}
