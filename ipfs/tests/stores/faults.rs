//! Stores that lie, are silent, or are not there.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::any;
use pulsegate_ipfs::block::CODEC_RAW;
use pulsegate_ipfs::store::{BlockStore, EmbeddedBlockStore, GatewayBlockStore, KuboBlockStore};
use pulsegate_ipfs::{Block, StoreError, car};

use crate::suite::Batch;
use crate::{DEADLINE, kubo_node, run, serve};

async fn listen(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

fn adapters(url: &str, deadline: Duration) -> [Box<dyn BlockStore>; 2] {
    [
        Box::new(GatewayBlockStore::connect(url, deadline).unwrap()),
        Box::new(KuboBlockStore::connect(url, deadline).unwrap()),
    ]
}

/// The codes of every call on a store but unpinning, which a gateway's client refuses by itself.
async fn codes(store: &dyn BlockStore) -> Vec<&'static str> {
    let batch = Batch::new("faults", 2);
    let code = |error: StoreError| error.code();
    vec![
        store.put(&batch.blocks(), &[batch.root.cid]).await.map_err(code).unwrap_err(),
        store.get(&batch.root.cid).await.map_err(code).unwrap_err(),
        store.has(&batch.root.cid).await.map_err(code).unwrap_err(),
        store.health().await.map_err(code).unwrap_err(),
    ]
}

fn overwrite(file: &Path, find: &[u8], replace: &[u8]) {
    let mut bytes = std::fs::read(file).unwrap();
    let mut found = 0;
    for place in 0..=bytes.len() - find.len() {
        if &bytes[place..place + find.len()] == find {
            bytes[place..place + find.len()].copy_from_slice(replace);
            found += 1;
        }
    }
    assert!(found > 0, "the block is not in the file");
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn a_tampered_file_is_noticed_at_the_read() {
    let dir = tempfile::tempdir().unwrap();
    let block = Block::from_bytes(CODEC_RAW, &b"the reading of a heart at rest"[..]).unwrap();
    let other = Block::from_bytes(CODEC_RAW, &b"untouched"[..]).unwrap();
    let blocks = [block.clone(), other.clone()];
    let store = EmbeddedBlockStore::open(dir.path()).unwrap();
    run(store.put(&blocks, &[block.cid, other.cid])).unwrap();
    drop(store);
    overwrite(&dir.path().join("blocks.redb"), b"heart at rest", b"heart at work");
    let store = EmbeddedBlockStore::open(dir.path()).unwrap();
    run(async {
        let computed = Block::from_bytes(CODEC_RAW, &b"the reading of a heart at work"[..]).unwrap().cid;
        let corrupt = StoreError::Corrupt { cid: Box::new(block.cid), computed: Box::new(computed) };
        assert_eq!(store.get(&block.cid).await.unwrap_err(), corrupt);
        assert_eq!(store.get(&other.cid).await.unwrap(), other);
        // Through a gateway it is the same error.
        let url = format!("http://{}", serve(Arc::new(store)).await);
        let gateway = GatewayBlockStore::connect(&url, DEADLINE).unwrap();
        assert_eq!(gateway.get(&block.cid).await.unwrap_err(), corrupt);
    });
}

#[test]
fn a_node_that_lies_about_content_is_caught() {
    run(async {
        let url = listen(Router::new().fallback(any(async || "something else"))).await;
        let cid = Batch::new("lies", 1).root.cid;
        for store in adapters(&url, DEADLINE) {
            assert_eq!(store.get(&cid).await.unwrap_err().code(), "BLOCK_CORRUPT");
        }
        let url = listen(Router::new().fallback(any(async || vec![0; 3 << 20]))).await;
        for store in adapters(&url, DEADLINE) {
            let code = store.get(&cid).await.unwrap_err().code();
            assert!(["STORE_REFUSED", "BLOCK_TOO_LARGE"].contains(&code), "{code}");
        }
    });
}

#[test]
fn a_node_that_does_not_confirm_the_pin_has_stored_nothing() {
    run(async {
        let url = listen(Router::new().fallback(any(async || "{\"Stats\":{\"BlockCount\":3}}\n"))).await;
        let store = KuboBlockStore::connect(&url, DEADLINE).unwrap();
        let batch = Batch::new("not confirmed", 2);
        let error = store.put(&batch.blocks(), &[batch.root.cid]).await.unwrap_err();
        assert_eq!(error.code(), "STORE_REFUSED");
        let answer =
            format!("{{\"Root\":{{\"Cid\":{{\"/\":\"{}\"}},\"PinErrorMsg\":\"disk full\"}}}}\n", batch.root.cid);
        let url = listen(Router::new().fallback(any(async || answer))).await;
        let store = KuboBlockStore::connect(&url, DEADLINE).unwrap();
        let error = store.put(&batch.blocks(), &[batch.root.cid]).await.unwrap_err();
        assert!(error.to_string().contains("disk full"));
    });
}

#[test]
fn a_silent_node_is_given_up_at_the_deadline() {
    run(async {
        let url = listen(Router::new().fallback(any(std::future::pending::<StatusCode>))).await;
        let started = Instant::now();
        for store in adapters(&url, Duration::from_millis(200)) {
            assert_eq!(codes(store.as_ref()).await, ["STORE_TIMED_OUT"; 4]);
        }
        assert!(started.elapsed() < Duration::from_secs(30));
    });
}

#[test]
fn a_node_that_is_not_there_is_unavailable() {
    run(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        for store in adapters(&url, DEADLINE) {
            assert_eq!(codes(store.as_ref()).await, ["STORE_UNAVAILABLE"; 4]);
        }
    });
}

#[test]
fn a_node_that_refuses_is_quoted() {
    run(async {
        let answer =
            (StatusCode::INTERNAL_SERVER_ERROR, "{\"Message\":\"no more pins\",\"Code\":0,\"Type\":\"error\"}");
        let url = listen(Router::new().fallback(any(async move || answer))).await;
        let store = KuboBlockStore::connect(&url, DEADLINE).unwrap();
        assert_eq!(codes(&store).await, ["STORE_REFUSED"; 4]);
        let error = store.has(&Batch::new("refused", 1).root.cid).await.unwrap_err();
        assert!(error.to_string().contains("no more pins"));
    });
}

#[test]
fn a_wrong_address_is_refused_before_anything_is_sent() {
    for url in ["", "127.0.0.1:5001", "https://127.0.0.1:5001", "http://", "http://host/path", "http://a b:1"] {
        assert_eq!(
            KuboBlockStore::connect(url, DEADLINE).err().map(|error| error.code()),
            Some("STORE_REFUSED"),
            "{url}"
        );
    }
    for url in ["", "127.0.0.1:5001", "file:///etc/passwd", "http://"] {
        assert_eq!(
            GatewayBlockStore::connect(url, DEADLINE).err().map(|error| error.code()),
            Some("STORE_REFUSED"),
            "{url}"
        );
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_a_disk_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    assert_eq!(EmbeddedBlockStore::open(file.path()).err().unwrap().code(), "STORE_DISK");
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("blocks.redb"), b"not a database").unwrap();
    assert_eq!(EmbeddedBlockStore::open(dir.path()).err().unwrap().code(), "STORE_DISK");
}

#[test]
fn the_gateway_refuses_what_is_not_a_car() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let url = format!("http://{}", serve(Arc::new(EmbeddedBlockStore::open(dir.path()).unwrap())).await);
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let valid = car::write(&[], &Batch::new("of another type", 1).leaves).unwrap();
        for (kind, body) in [("application/vnd.ipld.car", b"not a CAR".to_vec()), ("text/plain", valid)] {
            let request = http.post(format!("{url}/gateway/blocks")).header("content-type", kind).body(body);
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 400);
            let body: serde_json::Value = answer.json().await.unwrap();
            assert_eq!(body["code"], "MALFORMED_CAR");
        }
        let answer = http.get(format!("{url}/gateway/blocks/not-a-cid")).send().await.unwrap();
        let body: serde_json::Value = answer.json().await.unwrap();
        assert_eq!((body["code"].as_str(), body["next"].is_string()), (Some("MALFORMED_CID"), true));
    });
}

#[test]
fn nobody_unpins_through_the_gateway() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let store = Arc::new(EmbeddedBlockStore::open(dir.path()).unwrap());
        let batch = Batch::new("not to be unpinned", 1);
        store.put(&batch.blocks(), &[batch.root.cid]).await.unwrap();
        let url = format!("http://{}", serve(Arc::clone(&store) as Arc<dyn BlockStore>).await);
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = http.delete(format!("{url}/gateway/blocks/{}", batch.root.cid)).send().await.unwrap();
        assert_eq!(answer.status(), 405);
        let client = GatewayBlockStore::connect(&url, DEADLINE).unwrap();
        let error = client.unpin(&batch.root.cid).await.unwrap_err();
        assert_eq!((error.code(), error.to_string().contains("may not unpin")), ("STORE_REFUSED", true));
        assert!(store.has(&batch.root.cid).await.unwrap());
        assert!(store.has(&batch.leaves[0].cid).await.unwrap());
    });
}

#[test]
fn kubo_does_not_wait_for_ever_for_a_block_it_lacks() {
    let Some(node) = kubo_node::start() else { return };
    run(async {
        let store = KuboBlockStore::connect(&node.api_url(), Duration::from_secs(5)).unwrap();
        let started = Instant::now();
        // A block put without a pin is there, what it links to is not: only Kubo itself finds that out.
        let inner = Batch::new("inner", 1);
        store.put(std::slice::from_ref(&inner.root), &[]).await.unwrap();
        let outer = Batch::over("outer", vec![inner.root.clone()]);
        let error = store.put(std::slice::from_ref(&outer.root), &[outer.root.cid]).await.unwrap_err();
        assert!(["STORE_REFUSED", "STORE_TIMED_OUT"].contains(&error.code()), "{error}");
        assert!(started.elapsed() < Duration::from_secs(20));
    });
}
