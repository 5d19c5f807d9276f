//! The oracle's HTTP interface as the agent uses it: send a batch, ask for the head, ask who the oracle is.
//!
//! Guarantees: an answer is either per reading and complete, or one of "try again" and "refused as a whole"; answers are read up to a
//! limit; redirects are not followed; plain http is used on loopback alone. Must not: decide what happens to a reading, see `agent`.

use std::net::IpAddr;
use std::time::Duration;

use pulsegate_rules::{DeviceId, Principal};
use serde::Deserialize;

use crate::error::AgentError;
use crate::queue::Head;

/// Most readings in one request.
pub const BATCH_READINGS_MAX: usize = 256;
/// Longest request body, bytes; the agent stays a little below for the framing.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longest answer that is read, bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// The oracle's answer to one reading.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Answer {
    /// `accepted`, `duplicate` or `rejected`.
    pub status: String,
    /// The place in the oracle's log.
    #[serde(default)]
    pub position: Option<u64>,
    /// The code of the refusal.
    #[serde(default)]
    pub code: Option<String>,
    /// The text of the refusal.
    #[serde(default)]
    pub message: Option<String>,
    /// After how many seconds to try again, when waiting helps.
    #[serde(default)]
    pub retry_after_s: Option<u64>,
}

/// Who the oracle is and for which deployment it works; `GET /v1/oracle`. Fields that the agent does not use are left alone.
#[derive(Clone, Debug, Deserialize)]
pub struct OracleInfo {
    /// The audience of readings, hex.
    pub audience: String,
}

impl OracleInfo {
    /// The audience as bytes.
    ///
    /// # Errors
    /// [`AgentError::Protocol`].
    pub fn audience(&self) -> Result<[u8; 32], AgentError> {
        let audience = self.audience.parse::<Principal>();
        audience
            .map(|bytes| bytes.0)
            .map_err(|_| AgentError::Protocol { reason: "the audience is not 32 bytes of hex" })
    }
}

/// Asks an oracle who it is.
///
/// # Errors
/// [`AgentError::BadUrl`], [`AgentError::Unavailable`], [`AgentError::Protocol`].
pub async fn fetch_oracle_info(oracle_url: &str, timeout_ms: u64) -> Result<OracleInfo, AgentError> {
    let client = Client::new(oracle_url, timeout_ms)?;
    match client.get("/v1/oracle").await {
        Ok((200, body)) => parse(&body),
        Ok(_) => Err(AgentError::Protocol { reason: "the oracle does not say who it is" }),
        Err(failure) => Err(AgentError::Unavailable { attempts: 1, last: failure.reason }),
    }
}

/// Why a request has no answer per reading.
pub(crate) enum Failure {
    /// Waiting helps.
    TryAgain(TryAgain),
    /// The request is too large.
    TooLarge,
    /// Waiting does not help.
    Refused(AgentError),
}

/// Waiting helps.
pub(crate) struct TryAgain {
    pub(crate) reason: String,
    pub(crate) retry_after_s: Option<u64>,
}

/// One oracle.
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
}

#[derive(Deserialize)]
struct Problem {
    code: String,
    message: String,
}

#[derive(Deserialize)]
struct DeviceHead {
    last_sequence: u64,
    last_hash: String,
}

impl Client {
    pub(crate) fn new(oracle_url: &str, timeout_ms: u64) -> Result<Self, AgentError> {
        let bad = |reason| AgentError::BadUrl { url: oracle_url.to_owned(), reason };
        let url = reqwest::Url::parse(oracle_url).map_err(|_| bad("it is not a URL"))?;
        let host = url.host_str().ok_or_else(|| bad("it names no host"))?;
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let loopback = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
        match url.scheme() {
            "https" => {}
            "http" if loopback => {}
            "http" => return Err(bad("plain http leaves this machine")),
            _ => return Err(bad("it is neither http nor https")),
        }
        // Another part of the process may have installed it already; both are the same provider.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let builder = reqwest::Client::builder()
            .timeout(Duration::from_millis(timeout_ms))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("pulsegate-agent/", env!("CARGO_PKG_VERSION")));
        let builder = if loopback { builder.no_proxy() } else { builder };
        let http = builder.build().map_err(|_| bad("the TLS of this machine cannot be set up"))?;
        Ok(Self { http, base: oracle_url.trim_end_matches('/').to_owned() })
    }

    /// Sends readings; the answers are in their order, one each.
    pub(crate) async fn send(&self, readings: &[(u64, Vec<u8>)]) -> Result<Vec<Answer>, Failure> {
        let body: Vec<&serde_bytes::Bytes> = readings.iter().map(|(_, bytes)| serde_bytes::Bytes::new(bytes)).collect();
        let mut encoded = Vec::new();
        ciborium::into_writer(&body, &mut encoded).expect("byte strings always encode, and a vector takes them");
        let request = self.http.post(format!("{}/v1/readings/batch", self.base));
        let request = request.header(reqwest::header::CONTENT_TYPE, "application/cbor").body(encoded);
        let (status, retry_after_s, body) = exchange(request).await.map_err(Failure::TryAgain)?;
        match status {
            200 => {
                let answers: Vec<Answer> = parse(&body).map_err(Failure::Refused)?;
                if answers.len() != readings.len() {
                    return Err(Failure::Refused(AgentError::Protocol { reason: "not one answer for each reading" }));
                }
                Ok(answers)
            }
            413 => Err(Failure::TooLarge),
            408 | 425 | 429 | 500.. => Err(Failure::TryAgain(TryAgain { reason: told(status, &body), retry_after_s })),
            _ => Err(Failure::Refused(refused(status, &body))),
        }
    }

    /// The last reading of a device that the oracle accepted.
    pub(crate) async fn head(&self, device: &DeviceId) -> Result<Head, Failure> {
        let (status, body) = self.get(&format!("/v1/devices/{device}")).await.map_err(Failure::TryAgain)?;
        match status {
            200 => {
                let head: DeviceHead = parse(&body).map_err(Failure::Refused)?;
                let reason = "the head's hash is not 32 bytes of hex";
                let hash = head.last_hash.parse::<Principal>();
                let hash = hash.map_err(|_| Failure::Refused(AgentError::Protocol { reason }))?;
                Ok(Head { sequence: head.last_sequence, hash: hash.0 })
            }
            404 => Ok(Head::NONE),
            408 | 425 | 429 | 500.. => {
                Err(Failure::TryAgain(TryAgain { reason: told(status, &body), retry_after_s: None }))
            }
            _ => Err(Failure::Refused(refused(status, &body))),
        }
    }

    async fn get(&self, path: &str) -> Result<(u16, Vec<u8>), TryAgain> {
        let request = self.http.get(format!("{}{path}", self.base));
        exchange(request).await.map(|(status, _, body)| (status, body))
    }
}

/// Sends a request; gives status, Retry-After in seconds (a date there counts as absent) and the body up to its limit.
async fn exchange(request: reqwest::RequestBuilder) -> Result<(u16, Option<u64>, Vec<u8>), TryAgain> {
    let failed = |error: reqwest::Error| {
        let reason = if error.is_timeout() {
            "no answer in time"
        } else if error.is_connect() {
            "no connection"
        } else {
            "the connection broke"
        };
        TryAgain { reason: reason.to_owned(), retry_after_s: None }
    };
    let mut response = request.send().await.map_err(failed)?;
    let retry_after = response.headers().get(reqwest::header::RETRY_AFTER);
    let retry_after_s = retry_after.and_then(|value| value.to_str().ok()).and_then(|text| text.trim().parse().ok());
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(TryAgain { reason: "the answer is too long".to_owned(), retry_after_s });
        }
        body.extend_from_slice(&chunk);
    }
    Ok((status, retry_after_s, body))
}

fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, AgentError> {
    serde_json::from_slice(body).map_err(|_| AgentError::Protocol { reason: "it is not the JSON that was expected" })
}

fn told(status: u16, body: &[u8]) -> String {
    serde_json::from_slice::<Problem>(body).map_or_else(|_| format!("status {status}"), |problem| problem.code)
}

fn refused(status: u16, body: &[u8]) -> AgentError {
    match serde_json::from_slice::<Problem>(body) {
        Ok(Problem { code, message }) => AgentError::Refused { code, message },
        Err(_) => {
            AgentError::Refused { code: format!("HTTP_{status}"), message: "The oracle gave no reason.".to_owned() }
        }
    }
}
