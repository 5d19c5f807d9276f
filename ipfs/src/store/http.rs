//! What the adapters that speak HTTP share: the client, its errors, and reading a body up to a limit.

use std::time::Duration;

use crate::StoreError;

/// A client whose every request ends by the deadline. It uses no proxy and follows no redirect: stores are named by their own address.
pub(super) fn http_client(deadline: Duration) -> Result<reqwest::Client, String> {
    // The TLS back end is built without a default provider of cryptography; whoever comes first installs it, a second time is no harm.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder()
        .timeout(deadline)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| error.to_string())
}

/// A failed exchange as a store's error.
pub(super) fn transport_error(error: &reqwest::Error, endpoint: &str, deadline: Duration) -> StoreError {
    let endpoint = endpoint.to_owned();
    if error.is_timeout() {
        let deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        return StoreError::TimedOut { endpoint, deadline_ms };
    }
    // The cause says more than the outermost layer ("connection refused" rather than "error sending request").
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    StoreError::Unavailable { endpoint, detail: cause.to_string() }
}

/// Reads a body, and no more than `bytes_max` of it.
pub(super) async fn read_body(
    mut response: reqwest::Response,
    bytes_max: usize,
    endpoint: &str,
    deadline: Duration,
) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| transport_error(&error, endpoint, deadline))? {
        if bytes.len() + chunk.len() > bytes_max {
            let detail = format!("the answer is longer than {bytes_max} bytes");
            return Err(StoreError::Refused { endpoint: endpoint.to_owned(), detail });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
