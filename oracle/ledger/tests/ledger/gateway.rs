//! The suite through the gateway: client, router, embedded chain; and what the wire may do to it.

use std::sync::Arc;
use std::time::Duration;

use pulsegate_ledger::embedded::EmbeddedLedger;
use pulsegate_ledger::gateway::{GatewayLedger, router};
use pulsegate_ledger::{Ledger, Signer};

use crate::suite::{World, clock, run};

const DEADLINE: Duration = Duration::from_secs(30);

/// Serves an embedded chain on a free port; its address.
async fn serve(dir: &std::path::Path) -> String {
    let ledger = EmbeddedLedger::open(dir, clock()).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router(Arc::new(ledger))).await.unwrap() });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn suite_passes_through_the_gateway() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = GatewayLedger::connect(&serve(dir.path()).await, DEADLINE).await.unwrap();
    run(&World::install(Arc::new(ledger), Signer::dev("Alice")).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_at_the_address_is_unavailable_and_silence_times_out() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let silent = GatewayLedger::connect(&url, Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(silent.code(), "LEDGER_TIMED_OUT");
    assert!(silent.is_transient());
    drop(listener);
    let gone = GatewayLedger::connect(&url, DEADLINE).await.unwrap_err();
    assert_eq!(gone.code(), "LEDGER_UNAVAILABLE", "{gone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_are_answered_with_a_code() {
    let dir = tempfile::tempdir().unwrap();
    let url = serve(dir.path()).await;
    let ledger = GatewayLedger::connect(&url, DEADLINE).await.unwrap();
    let http = reqwest::Client::new();
    for path in ["dry-run", "transaction"] {
        let answer = http.post(format!("{url}/gateway/ledger/{path}")).body("nonsense").send().await.unwrap();
        assert_eq!(answer.status(), 400);
        let body: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!(body["code"], "MALFORMED_REQUEST");
    }
    let body = vec![0; 2 * 1024 * 1024];
    let answer = http.post(format!("{url}/gateway/ledger/transaction")).body(body).send().await.unwrap();
    assert_eq!(answer.status(), 413);
    assert_eq!(ledger.finalised().await.unwrap().number, 0);
}
