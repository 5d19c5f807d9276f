//! Kubo adapter: blocks live in an IPFS node, reached over its RPC (`/api/v0`).
//!
//! Blocks travel as one CAR per [`put`](super::BlockStore::put) (`dag/import`), pinned recursively under their roots. Kubo writes
//! blocks and pins to its repository before it answers; what a power cut takes is a matter of the repository's `sync` setting, which
//! is on by default.
//!
//! Kubo waits for a block that it cannot find, for ever. So every request has a deadline, and links that leave the given blocks are
//! looked up locally before anything is sent. Reads recompute the CID; a node is not trusted with content.
//! `ipfs-api-backend-hyper` is used where it works with current nodes (`version`, `block/get`, `pin/rm`); it has no `dag/import` and
//! no way to ask for local blocks only, so these two go to the RPC directly.
//!
//! A node with a network looks for a missing block there until the deadline, so `get` then ends with `STORE_TIMED_OUT` and not with
//! `NOT_FOUND`; `has` always asks for local blocks only.
//!
//! Must not: be pointed at a node whose RPC others can reach. The RPC has no authentication of its own.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use cid::Cid;
use futures::TryStreamExt;
use ipfs_api_backend_hyper::{Error as ApiError, IpfsApi, IpfsClient, TryFromUri};
use serde::Deserialize;

use super::BlockStore;
use crate::block::{BLOCK_BYTES_MAX, Block};
use crate::{SealError, StoreError, car};

/// Most bytes of an answer that is not a block, such as the result lines of an import.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Most characters of a node's error text that are passed on.
const DETAIL_CHARS_MAX: usize = 300;

/// A block store in a Kubo node.
#[derive(Clone)]
pub struct KuboBlockStore {
    api: IpfsClient,
    rpc: reqwest::Client,
    base: String,
    deadline: Duration,
}

/// One line of the answer to `dag/import`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ImportLine {
    root: Option<ImportedRoot>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ImportedRoot {
    cid: CidLink,
    #[serde(default)]
    pin_error_msg: String,
}

#[derive(Deserialize)]
struct CidLink {
    #[serde(rename = "/")]
    text: String,
}

/// What the RPC says when it refuses.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RpcError {
    message: String,
}

impl KuboBlockStore {
    /// Names the node, such as `http://127.0.0.1:5001`, and the deadline of every request. Does not connect;
    /// [`health`](BlockStore::health) does.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when the address is not `http://HOST:PORT`.
    pub fn connect(api_url: &str, deadline: Duration) -> Result<Self, StoreError> {
        let url = api_url.trim_end_matches('/');
        let refused = |detail: String| StoreError::Refused { endpoint: url.to_owned(), detail };
        let wrong = "the address of a Kubo RPC is http://HOST:PORT";
        match url.strip_prefix("http://") {
            Some(host) if !host.is_empty() && !host.contains(['/', '?', '#', '@']) => {}
            _ => return Err(refused(wrong.to_owned())),
        }
        let api = <IpfsClient as TryFromUri>::from_str(url).map_err(|error| refused(format!("{wrong}: {error}")))?;
        let rpc = super::http_client(deadline).map_err(refused)?;
        Ok(Self { api, rpc, base: url.to_owned(), deadline })
    }

    async fn within<T>(&self, work: impl Future<Output = Result<T, StoreError>> + Send) -> Result<T, StoreError> {
        tokio::time::timeout(self.deadline, work).await.unwrap_or_else(|_| Err(self.timed_out()))
    }

    fn timed_out(&self) -> StoreError {
        let deadline_ms = u64::try_from(self.deadline.as_millis()).unwrap_or(u64::MAX);
        StoreError::TimedOut { endpoint: self.base.clone(), deadline_ms }
    }

    fn refused(&self, detail: &str) -> StoreError {
        let detail = detail.chars().take(DETAIL_CHARS_MAX).collect();
        StoreError::Refused { endpoint: self.base.clone(), detail }
    }

    fn transport(&self, error: &reqwest::Error) -> StoreError {
        super::transport_error(error, &self.base, self.deadline)
    }

    fn api_error(&self, error: &ApiError) -> StoreError {
        match error {
            ApiError::Client(error) => {
                StoreError::Unavailable { endpoint: self.base.clone(), detail: error.to_string() }
            }
            other => self.refused(&other.to_string()),
        }
    }

    /// Sends one command and gives its answer, or the node's own error text.
    async fn command(
        &self,
        path: &str,
        query: &[(&str, &str)],
        body: Option<reqwest::multipart::Form>,
    ) -> Result<Result<Vec<u8>, String>, StoreError> {
        let mut request = self.rpc.post(format!("{}/api/v0/{path}", self.base)).query(query);
        if let Some(form) = body {
            request = request.multipart(form);
        }
        let response = request.send().await.map_err(|error| self.transport(&error))?;
        let succeeded = response.status().is_success();
        let bytes = super::read_body(response, ANSWER_BYTES_MAX, &self.base, self.deadline).await?;
        if succeeded {
            return Ok(Ok(bytes));
        }
        let text = serde_json::from_slice::<RpcError>(&bytes)
            .map_or_else(|_| String::from_utf8_lossy(&bytes).into_owned(), |error| error.message);
        Ok(Err(text))
    }

    async fn has_locally(&self, cid: &Cid) -> Result<bool, StoreError> {
        match self.command("block/stat", &[("arg", &cid.to_string()), ("offline", "true")], None).await? {
            Ok(_) => Ok(true),
            Err(text) if is_not_found(&text) => Ok(false),
            Err(text) => Err(self.refused(&text)),
        }
    }

    /// Every link that leaves the given blocks must be there already. What lies below such a block was checked when it was pinned;
    /// should it be gone after all, the deadline ends the wait.
    async fn check_links(&self, blocks: &[Block], roots: &[Cid]) -> Result<(), StoreError> {
        let given: HashMap<Cid, &Block> = blocks.iter().map(|block| (block.cid, block)).collect();
        for root in roots {
            let mut seen = BTreeSet::from([*root]);
            let mut open = vec![*root];
            while let Some(cid) = open.pop() {
                match given.get(&cid) {
                    Some(block) => open.extend(block.links()?.into_iter().filter(|link| seen.insert(*link))),
                    None if self.has_locally(&cid).await? => {}
                    None => return Err(StoreError::MissingLink { root: Box::new(*root), missing: Box::new(cid) }),
                }
            }
        }
        Ok(())
    }

    async fn import(&self, blocks: &[Block], roots: &[Cid]) -> Result<(), StoreError> {
        // A CAR needs a root; without pinning it is only reported back.
        let first = blocks.first().map(|block| block.cid);
        let car_roots: Vec<Cid> = if roots.is_empty() { first.into_iter().collect() } else { roots.to_vec() };
        let pin = if roots.is_empty() { "false" } else { "true" };
        let part = reqwest::multipart::Part::bytes(car::write(&car_roots, blocks)?).file_name("batch.car");
        let form = reqwest::multipart::Form::new().part("file", part);
        let answer = self
            .command("dag/import", &[("pin-roots", pin), ("allow-big-block", "false")], Some(form))
            .await?
            .map_err(|text| self.refused(&text))?;
        let mut pinned = BTreeSet::new();
        for line in answer.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line: ImportLine =
                serde_json::from_slice(line).map_err(|_| self.refused("an import answered in an unknown form"))?;
            let Some(root) = line.root else { continue };
            if !root.pin_error_msg.is_empty() {
                return Err(self.refused(&root.pin_error_msg));
            }
            pinned.insert(root.cid.text);
        }
        // A node that breaks off after the status line has not confirmed the pins.
        match roots.iter().find(|root| !pinned.contains(&root.to_string())) {
            None => Ok(()),
            Some(root) => Err(self.refused(&format!("the import did not confirm the pin of {root}"))),
        }
    }
}

#[async_trait]
impl BlockStore for KuboBlockStore {
    async fn put(&self, blocks: &[Block], roots: &[Cid]) -> Result<(), StoreError> {
        super::check_put(blocks)?;
        if blocks.is_empty() && roots.is_empty() {
            return Ok(());
        }
        self.within(async {
            self.check_links(blocks, roots).await?;
            self.import(blocks, roots).await
        })
        .await
    }

    async fn get(&self, cid: &Cid) -> Result<Block, StoreError> {
        crate::block::check_supported(cid)?;
        self.within(async {
            let text = cid.to_string();
            let mut stream = self.api.block_get(&text);
            let mut bytes = Vec::new();
            loop {
                match stream.try_next().await {
                    Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                    Ok(None) => return super::verify_read(*cid, bytes),
                    Err(ApiError::Api(error)) if is_not_found(&error.to_string()) => {
                        return Err(StoreError::NotFound { cid: *cid });
                    }
                    Err(error) => return Err(self.api_error(&error)),
                }
                if bytes.len() > BLOCK_BYTES_MAX {
                    return Err(SealError::BlockTooLarge { bytes: bytes.len(), max: BLOCK_BYTES_MAX }.into());
                }
            }
        })
        .await
    }

    async fn has(&self, cid: &Cid) -> Result<bool, StoreError> {
        crate::block::check_supported(cid)?;
        self.within(self.has_locally(cid)).await
    }

    async fn unpin(&self, root: &Cid) -> Result<(), StoreError> {
        crate::block::check_supported(root)?;
        self.within(async {
            match self.api.pin_rm(&root.to_string(), true).await {
                Ok(_) => Ok(()),
                Err(ApiError::Api(error)) if error.to_string().contains("not pinned") => Ok(()),
                Err(ApiError::Api(error)) if error.to_string().contains("pinned indirectly") => Ok(()),
                Err(error) => Err(self.api_error(&error)),
            }
        })
        .await
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.within(async { self.api.version().await.map(drop).map_err(|error| self.api_error(&error)) }).await
    }
}

/// Kubo has no error code for this; these are the texts of its block services, offline and online.
fn is_not_found(text: &str) -> bool {
    text.contains("not found") || text.contains("could not find")
}
