//! The client side of the gateway: a block store in another process.

use std::time::Duration;

use async_trait::async_trait;
use cid::Cid;
use reqwest::{Method, StatusCode, header};

use super::{BLOCKS_PATH, CAR_TYPE, ErrorBody, HEALTH_PATH};
use crate::block::{BLOCK_BYTES_MAX, Block, check_supported, cid_from_text};
use crate::store::BlockStore;
use crate::{StoreError, car};

/// Largest error body that is read, in bytes.
const ERROR_BYTES_MAX: usize = 16 * 1024;

/// The block store of another process.
#[derive(Clone)]
pub struct GatewayBlockStore {
    http: reqwest::Client,
    base: String,
    deadline: Duration,
}

impl GatewayBlockStore {
    /// Names the other process, such as `http://127.0.0.1:8080`, and the deadline of every request. Does not connect;
    /// [`health`](BlockStore::health) does.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when the address is not an http or https URL.
    pub fn connect(url: &str, deadline: Duration) -> Result<Self, StoreError> {
        let base = url.trim_end_matches('/').to_owned();
        let refused = |detail: String| StoreError::Refused { endpoint: base.clone(), detail };
        let parsed = reqwest::Url::parse(&base).map_err(|error| refused(error.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(refused("the address of a gateway starts with http:// or https://".to_owned()));
        }
        let http = crate::store::http_client(deadline).map_err(refused)?;
        Ok(Self { http, base, deadline })
    }

    fn block_url(&self, cid: &Cid) -> String {
        format!("{}{BLOCKS_PATH}/{cid}", self.base)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response, StoreError> {
        let sent = request.send().await;
        sent.map_err(|error| crate::store::transport_error(&error, &self.base, self.deadline))
    }

    async fn read(&self, response: reqwest::Response, bytes_max: usize) -> Result<Vec<u8>, StoreError> {
        crate::store::read_body(response, bytes_max, &self.base, self.deadline).await
    }

    /// Gives the answer if it is a success, and the store's own error if not. `cid` is what was asked for, if one thing was.
    async fn expect_success(
        &self,
        response: reqwest::Response,
        cid: Option<&Cid>,
    ) -> Result<reqwest::Response, StoreError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let endpoint = self.base.clone();
        let bytes = self.read(response, ERROR_BYTES_MAX).await?;
        let Ok(body) = serde_json::from_slice::<ErrorBody>(&bytes) else {
            return Err(StoreError::Refused { endpoint, detail: format!("status {status}") });
        };
        let parse = |text: &Option<String>| text.as_deref().and_then(|text| cid_from_text(text).ok()).map(Box::new);
        Err(match (body.code.as_str(), cid, parse(&body.root), parse(&body.missing), parse(&body.computed)) {
            ("NOT_FOUND", Some(cid), ..) => StoreError::NotFound { cid: *cid },
            ("MISSING_LINK", _, Some(root), Some(missing), _) => StoreError::MissingLink { root, missing },
            ("BLOCK_CORRUPT", Some(cid), _, _, Some(computed)) => StoreError::Corrupt { cid: Box::new(*cid), computed },
            _ if status == StatusCode::SERVICE_UNAVAILABLE => {
                StoreError::Unavailable { endpoint, detail: format!("{}: {}", body.code, body.message) }
            }
            _ => StoreError::Refused { endpoint, detail: format!("{}: {}: {}", body.code, body.message, body.next) },
        })
    }
}

#[async_trait]
impl BlockStore for GatewayBlockStore {
    async fn put(&self, blocks: &[Block], roots: &[Cid]) -> Result<(), StoreError> {
        crate::store::check_put(blocks)?;
        let car = car::write(roots, blocks)?;
        let url = format!("{}{BLOCKS_PATH}", self.base);
        let request = self.http.post(url).header(header::CONTENT_TYPE, CAR_TYPE).body(car);
        let response = self.send(request).await?;
        self.expect_success(response, None).await.map(drop)
    }

    async fn get(&self, cid: &Cid) -> Result<Block, StoreError> {
        check_supported(cid)?;
        let response = self.send(self.http.get(self.block_url(cid))).await?;
        let response = self.expect_success(response, Some(cid)).await?;
        crate::store::verify_read(*cid, self.read(response, BLOCK_BYTES_MAX).await?)
    }

    async fn has(&self, cid: &Cid) -> Result<bool, StoreError> {
        check_supported(cid)?;
        let response = self.send(self.http.request(Method::HEAD, self.block_url(cid))).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        self.expect_success(response, Some(cid)).await.map(|_| true)
    }

    /// Always refused: whoever may unpin holds the store itself.
    async fn unpin(&self, root: &Cid) -> Result<(), StoreError> {
        check_supported(root)?;
        let detail = "a gateway's client may not unpin; unpin in the process that has the store open".to_owned();
        Err(StoreError::Refused { endpoint: self.base.clone(), detail })
    }

    async fn health(&self) -> Result<(), StoreError> {
        let response = self.send(self.http.get(format!("{}{HEALTH_PATH}", self.base))).await?;
        self.expect_success(response, None).await.map(drop)
    }
}
