//! Block stores: one suite on every adapter, then what only some can show (a killed process, a tampered file, a silent node).
//!
//! Kubo's part runs when `ipfs` is on the `PATH`, and says so when it is not.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod crash;
mod faults;
mod kubo_node;
mod suite;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pulsegate_ipfs::store::{BlockStore, EmbeddedBlockStore, GatewayBlockStore, KuboBlockStore, gateway};

/// Generous, so that a busy machine does not fail a test; tests of the deadline itself set their own.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Runs a test on a runtime of its own.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(test)
}

/// Serves a store's gateway routes on a free loopback port for as long as the runtime lives.
pub(crate) async fn serve(store: Arc<dyn BlockStore>) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, gateway::router(store)).await });
    address
}

#[test]
fn embedded_store_passes_the_suite() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedBlockStore::open(dir.path()).unwrap();
    run(suite::all(&store, &|| ()));
}

#[test]
fn gateway_store_passes_the_suite() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let address = serve(Arc::new(EmbeddedBlockStore::open(dir.path()).unwrap())).await;
        let store = GatewayBlockStore::connect(&format!("http://{address}"), DEADLINE).unwrap();
        suite::all_but_unpinning(&store).await;
    });
}

#[test]
fn kubo_store_passes_the_suite() {
    let Some(node) = kubo_node::start() else { return };
    let store = KuboBlockStore::connect(&node.api_url(), DEADLINE).unwrap();
    run(suite::all(&store, &|| node.collect_garbage()));
}

#[test]
fn kubo_behind_a_gateway_passes_the_suite() {
    let Some(node) = kubo_node::start() else { return };
    run(async {
        let kubo = KuboBlockStore::connect(&node.api_url(), DEADLINE).unwrap();
        let address = serve(Arc::new(kubo)).await;
        let store = GatewayBlockStore::connect(&format!("http://{address}"), DEADLINE).unwrap();
        suite::all_but_unpinning(&store).await;
    });
}
