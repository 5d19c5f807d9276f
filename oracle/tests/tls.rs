//! TLS: served with the configured certificate, and nothing but loopback without one.
//!
//! `tests/tls` holds a certificate for 127.0.0.1, its key, and the authority that signed it; the authority's key was thrown away.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::{World, config};
use pulsegate_oracle::{OracleService, TlsFiles};

fn files() -> TlsFiles {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls");
    TlsFiles { certificate: dir.join("oracle.pem"), key: dir.join("oracle-key.pem") }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configured_certificate_is_served_and_plain_http_is_not() {
    let mut world = World::with(|config| config.tls = Some(files())).await;
    let authority = std::fs::read(files().certificate.with_file_name("authority.pem")).unwrap();
    let authority = reqwest::Certificate::from_pem(&authority).unwrap();
    let trusting = reqwest::Client::builder().add_root_certificate(authority).build().unwrap();
    let url = format!("https://{}/v1/oracle", world.running().local_addr());
    let info: serde_json::Value = trusting.get(&url).send().await.unwrap().json().await.unwrap();
    assert_eq!(info["epoch_seconds"], 3_600);
    // Whoever does not know the authority, or speaks plainly, gets nothing.
    assert!(world.http.get(&url).send().await.is_err());
    assert!(world.http.get(url.replace("https", "http")).send().await.is_err());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_usable_certificate_nothing_but_loopback_is_bound() {
    let mut world = World::new().await;
    world.stop().await;
    let ports = pulsegate_oracle::Ports {
        ledger: std::sync::Arc::clone(&world.chain) as _,
        contracts: world.parts.contracts.clone(),
        blocks: std::sync::Arc::clone(&world.store) as _,
        clock: common::clock(&world.now_ms),
    };
    let mut open = config(world.dir.path());
    open.listen = "0.0.0.0:0".parse().unwrap();
    let mut unusable = open.clone();
    unusable.tls = Some(TlsFiles { key: files().certificate, ..files() });
    for (config, code) in [(open, "TLS_REQUIRED"), (unusable, "TLS_FILES")] {
        let started = OracleService::start(config, ports.clone(), common::oracle_keys(), None).await;
        assert_eq!(started.err().map(|error| error.code()), Some(code));
    }
}
