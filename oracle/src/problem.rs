//! What the service answers when it does not do what was asked: status, stable code, message, next step.
//!
//! Every refusal of the HTTP interface is made here, so that the list of codes is in one place. Messages name limits and what was
//! wrong; they never repeat a value, a key or somebody's identity back into a log.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// A refusal: `{"code","message","next"}` and, when waiting helps, `Retry-After`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{code}: {message} {next}")]
pub struct Problem {
    /// HTTP status.
    #[serde(skip)]
    pub status: u16,
    /// Stable name for programs.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do next.
    pub next: &'static str,
    /// After how many seconds to try again, when waiting helps; absent when sending the same again does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u32>,
}

impl Problem {
    /// The request is at fault; sending it again does not help.
    pub(crate) fn bad(code: &'static str, message: impl Into<String>, next: &'static str) -> Self {
        Self { status: 400, code, message: message.into(), next, retry_after_s: None }
    }

    /// As [`Problem::bad`] with another status.
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status.as_u16();
        self
    }

    /// The sender is too fast: 429.
    pub(crate) fn slow_down(code: &'static str, message: impl Into<String>, retry_after_s: u32) -> Self {
        Self {
            status: 429,
            code,
            message: message.into(),
            next: "Wait as long as Retry-After says, then send again.",
            retry_after_s: Some(retry_after_s),
        }
    }

    /// The service cannot serve now: 503.
    pub(crate) fn unavailable(code: &'static str, message: impl Into<String>, retry_after_s: u32) -> Self {
        Self {
            status: 503,
            code,
            message: message.into(),
            next: "Nothing was accepted; keep what you have and send again after Retry-After.",
            retry_after_s: Some(retry_after_s),
        }
    }

    /// The chain could not be asked.
    pub(crate) fn ledger(error: &pulsegate_ledger::LedgerError) -> Self {
        Self::unavailable("LEDGER_UNAVAILABLE", format!("The chain could not be asked ({}).", error.code()), 2)
    }

    /// The oracle's own disk failed.
    pub(crate) fn storage() -> Self {
        Self::unavailable("LOG_UNAVAILABLE", "The durable log could not be read or written.", 5)
    }

    /// The body took too long to come: 408.
    pub(crate) fn body_too_slow(ms_max: u64) -> Self {
        Self {
            status: 408,
            code: "BODY_TOO_SLOW",
            message: format!("The body did not come within {ms_max} ms."),
            next: "Send a shorter batch, or send again over a better connection.",
            retry_after_s: Some(1),
        }
    }

    /// The body is longer than allowed.
    pub(crate) fn too_large(bytes_max: usize) -> Self {
        Self::bad(
            "BODY_TOO_LARGE",
            format!("The body has more than {bytes_max} bytes."),
            "Send one reading per message, or a shorter batch.",
        )
        .with_status(StatusCode::PAYLOAD_TOO_LARGE)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after_s = self.retry_after_s;
        let mut response = (status, axum::Json(self)).into_response();
        if let Some(seconds) = retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
