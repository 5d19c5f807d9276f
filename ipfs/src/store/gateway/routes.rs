//! The server side of the gateway: routes over any block store.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};

use super::{BLOCK_PATH, BLOCK_TYPE, BLOCKS_PATH, CAR_TYPE, ErrorBody, HEALTH_PATH};
use crate::block::cid_from_text;
use crate::car::{self, CAR_BYTES_MAX};
use crate::store::BlockStore;
use crate::{SealError, StoreError};

type Store = Arc<dyn BlockStore>;

/// The routes over a store. Mount them on a loopback address.
pub fn router(store: Arc<dyn BlockStore>) -> Router {
    Router::new()
        .route(BLOCKS_PATH, post(put_blocks))
        .route(BLOCK_PATH, get(get_block).head(has_block))
        .route(HEALTH_PATH, get(health))
        .layer(DefaultBodyLimit::max(CAR_BYTES_MAX))
        .with_state(store)
}

async fn put_blocks(State(store): State<Store>, headers: HeaderMap, body: Bytes) -> Result<StatusCode, Refusal> {
    // A page in a browser cannot send this type to another origin without asking first, and nobody answers that question here.
    if headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind != CAR_TYPE) {
        return Err(SealError::MalformedCar { reason: "its content type is not application/vnd.ipld.car" }.into());
    }
    let (roots, blocks) = car::read(&body, car::Limits::default())?;
    store.put(&blocks, &roots).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn get_block(State(store): State<Store>, Path(cid): Path<String>) -> Result<Response, Refusal> {
    let block = store.get(&cid_from_text(&cid)?).await?;
    Ok(([(header::CONTENT_TYPE, BLOCK_TYPE)], block.bytes).into_response())
}

async fn has_block(State(store): State<Store>, Path(cid): Path<String>) -> Result<StatusCode, Refusal> {
    let found = store.has(&cid_from_text(&cid)?).await?;
    Ok(if found { StatusCode::OK } else { StatusCode::NOT_FOUND })
}

async fn health(State(store): State<Store>) -> Result<StatusCode, Refusal> {
    store.health().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A store's error as an HTTP answer.
struct Refusal(StoreError);

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self(error)
    }
}

impl From<SealError> for Refusal {
    fn from(error: SealError) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let error = self.0;
        let status = match &error {
            StoreError::NotFound { .. } => StatusCode::NOT_FOUND,
            StoreError::MissingLink { .. } => StatusCode::CONFLICT,
            StoreError::Object(_) => StatusCode::BAD_REQUEST,
            StoreError::Unavailable { .. } | StoreError::TimedOut { .. } => StatusCode::SERVICE_UNAVAILABLE,
            StoreError::Corrupt { .. }
            | StoreError::InUse { .. }
            | StoreError::Refused { .. }
            | StoreError::Disk { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        // Every message ends with what to do next, after its last colon.
        let text = error.to_string();
        let (message, next) = text.rsplit_once(": ").unwrap_or((&text, ""));
        let mut body = ErrorBody {
            code: error.code().to_owned(),
            message: message.to_owned(),
            next: next.to_owned(),
            root: None,
            missing: None,
            computed: None,
        };
        match &error {
            StoreError::MissingLink { root, missing } => {
                body.root = Some(root.to_string());
                body.missing = Some(missing.to_string());
            }
            StoreError::Corrupt { computed, .. } => body.computed = Some(computed.to_string()),
            _ => {}
        }
        (status, Json(body)).into_response()
    }
}
