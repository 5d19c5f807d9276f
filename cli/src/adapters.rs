//! The one place that knows which chains and block stores exist, and picks those that the configuration names.
//!
//! Guarantees: what is configured is what is used; nothing falls back from one adapter to another. The chain and the store
//! inside `pulsegate up` are reachable for others through its own loopback address alone, and only under a loopback name: a page in a
//! browser whose own name was pointed at this machine is refused.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use pulsegate_ipfs::store::{self, BlockStore, EmbeddedBlockStore, GatewayBlockStore};
use pulsegate_ledger::embedded::EmbeddedLedger;
use pulsegate_ledger::gateway::GatewayLedger;
use pulsegate_ledger::{Clock, Ledger};

use crate::config::{BlocksSection, Config, LedgerSection};
use crate::failure::{Failure, Outcome};

/// How long `pulsegate up` on this machine may take over one request.
const GATEWAY_DEADLINE: Duration = Duration::from_secs(60);

/// What the oracle's service works with.
pub(crate) struct Parts {
    /// The chain.
    pub(crate) ledger: Arc<dyn Ledger>,
    /// The block store.
    pub(crate) blocks: Arc<dyn BlockStore>,
    /// Routes that give other processes of this machine the embedded parts; `None` when there are none.
    pub(crate) routes: Option<Router>,
    /// Whether the chain is the embedded one, whose contracts this program installs itself.
    pub(crate) installs_contracts: bool,
}

/// Connects a client to what the configuration names; embedded parts are reached through the oracle's address.
pub(crate) async fn connect(config: &Config) -> Outcome<(Arc<dyn Ledger>, Arc<dyn BlockStore>)> {
    let not_running = |failure: Failure| {
        failure.next(format!("start the oracle with `pulsegate up`, or correct `oracle.url` ({})", config.oracle.url))
    };
    let ledger: Arc<dyn Ledger> = match &config.ledger {
        LedgerSection::Embedded { .. } => {
            let connected = GatewayLedger::connect(&config.oracle.url, GATEWAY_DEADLINE).await;
            Arc::new(connected.map_err(|error| not_running(error.into()))?)
        }
        LedgerSection::Node { url, deadline_ms } => node(url, Duration::from_millis(*deadline_ms)).await?,
    };
    let blocks: Arc<dyn BlockStore> = match &config.blocks {
        BlocksSection::Embedded { .. } => {
            let connected = GatewayBlockStore::connect(&config.oracle.url, GATEWAY_DEADLINE);
            Arc::new(connected.map_err(|error| not_running(error.into()))?)
        }
        BlocksSection::Kubo { api_url, deadline_ms } => kubo(api_url, Duration::from_millis(*deadline_ms))?,
    };
    Ok((ledger, blocks))
}

/// Opens what the configuration names for the oracle's own process.
pub(crate) async fn open(config: &Config, clock: Clock) -> Outcome<Parts> {
    if config.is_embedded() && !config.service.listen.ip().is_loopback() {
        let message =
            format!("the embedded parts are open to whoever reaches {}, which is not loopback", config.service.listen);
        return Err(Failure::new("EMBEDDED_NOT_LOOPBACK", message)
            .next("listen on 127.0.0.1, or use a contracts node and Kubo (adapters \"node\" and \"kubo\")"));
    }
    let mut routes: Option<Router> = None;
    let mut add = |router: Router| routes = Some(routes.take().unwrap_or_default().merge(router));
    let ledger: Arc<dyn Ledger> = match &config.ledger {
        LedgerSection::Embedded { data_dir } => {
            let ledger = Arc::new(EmbeddedLedger::open(&made(data_dir)?, clock)?);
            add(pulsegate_ledger::gateway::router(Arc::clone(&ledger)));
            ledger
        }
        LedgerSection::Node { url, deadline_ms } => node(url, Duration::from_millis(*deadline_ms)).await?,
    };
    let blocks: Arc<dyn BlockStore> = match &config.blocks {
        BlocksSection::Embedded { data_dir } => {
            let blocks = Arc::new(EmbeddedBlockStore::open(&made(data_dir)?)?);
            let blocks: Arc<dyn BlockStore> = blocks;
            add(store::gateway::router(Arc::clone(&blocks)));
            blocks
        }
        BlocksSection::Kubo { api_url, deadline_ms } => kubo(api_url, Duration::from_millis(*deadline_ms))?,
    };
    let routes = routes.map(|routes| routes.route_layer(middleware::from_fn(loopback_name_only)));
    Ok(Parts { ledger, blocks, routes, installs_contracts: matches!(config.ledger, LedgerSection::Embedded { .. }) })
}

/// Opens embedded parts in a folder, for this process alone.
pub(crate) fn open_embedded(folder: &Path, clock: Clock) -> Outcome<Parts> {
    let ledger = EmbeddedLedger::open(&made(&folder.join("chain"))?, clock)?;
    let blocks = EmbeddedBlockStore::open(&made(&folder.join("blocks"))?)?;
    Ok(Parts { ledger: Arc::new(ledger), blocks: Arc::new(blocks), routes: None, installs_contracts: true })
}

/// Refuses a request whose `Host` is not a loopback name.
async fn loopback_name_only(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    if host.is_some_and(is_loopback_name) {
        return next.run(request).await;
    }
    let body = serde_json::json!({
        "code": "HOST_NOT_LOOPBACK",
        "message": "The Host of the request is not a loopback name.",
        "next": "Reach the gateway at 127.0.0.1, [::1] or localhost.",
    });
    (StatusCode::MISDIRECTED_REQUEST, Json(body)).into_response()
}

/// Whether a `Host` header, with any port or none, is `localhost`, in 127.0.0.0/8, or `[::1]`.
fn is_loopback_name(host: &str) -> bool {
    // A URL would read shorthands such as `127.1` as well, a client of the gateway never sends them.
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port),
        _ => (host, "0"),
    };
    let is_loopback_v4 = |name: &str| name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    port.parse::<u16>().is_ok() && (name.eq_ignore_ascii_case("localhost") || name == "[::1]" || is_loopback_v4(name))
}

fn made(folder: &Path) -> Outcome<std::path::PathBuf> {
    std::fs::create_dir_all(folder).map_err(|error| {
        Failure::new("FOLDER_UNWRITABLE", format!("cannot make the folder {}: {error}", folder.display()))
            .next("name a folder that you may write to")
    })?;
    Ok(folder.to_owned())
}

#[cfg(feature = "real-parts")]
async fn node(url: &str, deadline: Duration) -> Outcome<Arc<dyn Ledger>> {
    Ok(Arc::new(pulsegate_ledger::node::NodeLedger::connect(url, deadline).await?))
}

#[cfg(feature = "real-parts")]
fn kubo(api_url: &str, deadline: Duration) -> Outcome<Arc<dyn BlockStore>> {
    Ok(Arc::new(store::KuboBlockStore::connect(api_url, deadline)?))
}

#[cfg(not(feature = "real-parts"))]
#[expect(clippy::unused_async, reason = "with the feature `real-parts` it connects")]
async fn node(_url: &str, _deadline: Duration) -> Outcome<Arc<dyn Ledger>> {
    Err(without_real_parts("ledger.adapter = \"node\""))
}

#[cfg(not(feature = "real-parts"))]
fn kubo(_api_url: &str, _deadline: Duration) -> Outcome<Arc<dyn BlockStore>> {
    Err(without_real_parts("blocks.adapter = \"kubo\""))
}

#[cfg(not(feature = "real-parts"))]
fn without_real_parts(setting: &str) -> Failure {
    Failure::new("ADAPTER_NOT_BUILT", format!("this program was built without the adapter of `{setting}`"))
        .next("install it with `cargo install --locked --path cli --features real-parts,wallet`")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Config, open};

    #[tokio::test]
    async fn the_gateway_answers_to_loopback_names_only() {
        let folder = tempfile::tempdir().unwrap();
        let text = "[oracle]\nurl = \"http://127.0.0.1:7400\"\n\
            [ledger]\nadapter = \"embedded\"\ndata_dir = \"chain\"\n\
            [blocks]\nadapter = \"embedded\"\ndata_dir = \"blocks\"\n\
            [contracts]\ndeployment = \"deployment.json\"\n";
        let file = folder.path().join("pulsegate.toml");
        std::fs::write(&file, text).unwrap();
        let config = Config::load(&file).unwrap();
        let parts = open(&config, Arc::new(|| 1_767_614_400_000)).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, parts.routes.unwrap()).await });
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let ask = async |path: &str, host: &str| {
            http.get(format!("http://{address}{path}")).header("host", host).send().await.unwrap()
        };
        for path in ["/gateway/blocks-health", "/gateway/ledger/identity"] {
            for host in ["localhost", "LOCALHOST:80", "127.0.0.1:7400", "127.8.9.1", "[::1]", "[::1]:7400"] {
                assert!(ask(path, host).await.status().is_success(), "{path} {host}");
            }
            for host in [
                "evil.example",
                "evil.example:7400",
                "127.0.0.1.evil.example",
                "localhost.evil.example",
                "10.0.0.1",
                "[::2]:7400",
                "localhost:",
                "localhost:1:2",
                "",
            ] {
                let answer = ask(path, host).await;
                assert_eq!(answer.status(), 421, "{path} {host}");
                let body: serde_json::Value = answer.json().await.unwrap();
                assert_eq!(body["code"], "HOST_NOT_LOOPBACK");
            }
        }
    }
}
