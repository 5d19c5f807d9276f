//! The router beside the embedded chain.
//!
//! Guarantees: bodies are limited before they are read; the chain checks every transaction. Must not: sign.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use parity_scale_codec::{DecodeAll, Encode};
use pulsegate_rules::Principal;
use serde::Deserialize;

use super::wire::{BODY_BYTES_MAX, Failure, PREFIX};
use crate::embedded::{EmbeddedLedger, SignedCall};
use crate::{Call, Ledger, LedgerError};

type Chain = State<Arc<EmbeddedLedger>>;
type Answer = Result<Response, Failed>;

/// Routes under `/gateway/ledger/` that give other processes the embedded chain.
pub fn router(ledger: Arc<EmbeddedLedger>) -> Router {
    let routes = Router::new()
        .route("/identity", get(identity))
        .route("/finalised", get(finalised))
        .route("/nonce/{account}", get(nonce))
        .route("/events", get(events))
        .route("/dry-run", post(dry_run))
        .route("/transaction", post(transaction))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(ledger);
    Router::new().nest(PREFIX, routes)
}

#[derive(Deserialize)]
struct Page {
    from: u64,
    limit: usize,
}

async fn identity(State(ledger): Chain) -> Answer {
    Ok(scale(&ledger.identity().await?))
}

async fn finalised(State(ledger): Chain) -> Answer {
    Ok(scale(&ledger.finalised().await?))
}

async fn nonce(State(ledger): Chain, Path(account): Path<String>) -> Answer {
    let account: Principal = account.parse().map_err(|error| malformed("an account", &error))?;
    Ok(scale(&ledger.nonce(&account)))
}

async fn events(State(ledger): Chain, Query(page): Query<Page>) -> Answer {
    Ok(scale(&ledger.events(page.from, page.limit).await?))
}

async fn dry_run(State(ledger): Chain, body: Bytes) -> Answer {
    let (caller, contract, data) = <(Principal, Principal, Vec<u8>)>::decode_all(&mut &body[..])
        .map_err(|error| malformed("a dry run", &error))?;
    Ok(scale(&ledger.dry_run(&caller, &Call { contract, message: "", data }).await?))
}

async fn transaction(State(ledger): Chain, body: Bytes) -> Answer {
    let call = SignedCall::decode_all(&mut &body[..]).map_err(|error| malformed("a transaction", &error))?;
    Ok(scale(&ledger.apply_async(call).await?))
}

fn scale(answer: &impl Encode) -> Response {
    ([(header::CONTENT_TYPE, "application/octet-stream")], answer.encode()).into_response()
}

fn malformed(what: &str, reason: &dyn core::fmt::Display) -> Failed {
    Failed(LedgerError::MalformedRequest { request: what.to_owned(), reason: reason.to_string() })
}

/// An error on its way out.
struct Failed(LedgerError);

impl From<LedgerError> for Failed {
    fn from(error: LedgerError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let status = match &self.0 {
            LedgerError::MalformedRequest { .. } | LedgerError::TooLarge { .. } => StatusCode::BAD_REQUEST,
            LedgerError::InvalidSignature { .. } => StatusCode::UNAUTHORIZED,
            LedgerError::NoContract { .. } => StatusCode::NOT_FOUND,
            LedgerError::StaleNonce { .. } => StatusCode::CONFLICT,
            LedgerError::Storage { .. } | LedgerError::Corrupt { .. } => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        let failure = Failure { code: self.0.code().to_owned(), message: self.0.to_string(), error: self.0 };
        (status, Json(failure)).into_response()
    }
}
