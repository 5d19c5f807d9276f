//! The oracle's HTTP interface, as a reader and an operator use it.
//!
//! Guarantees: every request ends by its deadline, answers are limited in size, and a refusal comes back with the oracle's
//! own code and advice. Redirects are not followed, and requests to this machine itself take no proxy. Must not: hold a key.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use pulsegate_oracle::http::DeviceHeadAnswer;
use pulsegate_rules::registry::DetectorKind;
use pulsegate_rules::{DeviceId, ModelId};
use serde::Deserialize;

use crate::failure::{Failure, Outcome};

/// How long the oracle may take over one request.
const DEADLINE: Duration = Duration::from_secs(30);
/// Longest answer that is read, bytes: shares of a full request to an RSA key fit many times.
const ANSWER_BYTES_MAX: usize = 1_024 * 1_024;

/// Whether a URL's host is this machine itself.
pub(crate) fn is_loopback(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// A client of one oracle.
#[derive(Clone, Debug)]
pub(crate) struct OracleClient {
    http: reqwest::Client,
    url: String,
}

/// How an active model stands with the oracle.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct OracleModel {
    /// What it judges.
    pub(crate) detector: DetectorKind,
    /// Its id.
    pub(crate) model: ModelId,
    /// `in-use` or `unavailable`.
    pub(crate) state: String,
    /// Why it cannot be used.
    #[serde(default)]
    pub(crate) code: Option<String>,
}

#[derive(Deserialize)]
struct Refusal {
    code: String,
    message: String,
    #[serde(default)]
    next: Option<String>,
}

impl OracleClient {
    /// A client of the oracle at a base URL.
    pub(crate) fn new(url: &str, certificate_authority: Option<&Path>) -> Outcome<Self> {
        let mut builder = reqwest::Client::builder().timeout(DEADLINE).redirect(reqwest::redirect::Policy::none());
        if is_loopback(url) {
            builder = builder.no_proxy();
        }
        if let Some(path) = certificate_authority {
            let wrong = |why: String| {
                Failure::new("CERTIFICATE_UNREADABLE", format!("cannot use the certificate {}: {why}", path.display()))
                    .next("set `oracle.certificate_authority` to a PEM file")
            };
            let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
            builder = builder
                .add_root_certificate(reqwest::Certificate::from_pem(&pem).map_err(|error| wrong(error.to_string()))?);
        }
        let http = builder.build().map_err(|error| {
            Failure::new("ORACLE_UNAVAILABLE", format!("the TLS of this machine cannot be set up: {error}"))
                .next("check `oracle.certificate_authority`")
        })?;
        Ok(Self { http, url: url.trim_end_matches('/').to_owned() })
    }

    /// The oracle's base URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Where a device stands.
    pub(crate) async fn device(&self, device: &DeviceId) -> Outcome<DeviceHeadAnswer> {
        self.json(self.http.get(format!("{}/v1/devices/{device}", self.url))).await
    }

    /// The detector models that the chain names active, and how each stands with the oracle.
    pub(crate) async fn models(&self) -> Outcome<Vec<OracleModel>> {
        self.json(self.http.get(format!("{}/v1/models", self.url))).await
    }

    /// Sends a signed release request; returns the answer's bytes.
    pub(crate) async fn release(&self, body: Vec<u8>) -> Outcome<Vec<u8>> {
        let request = self.http.post(format!("{}/v1/release", self.url)).header("content-type", "application/cbor");
        self.answer(request.body(body)).await
    }

    async fn json<T: for<'de> Deserialize<'de>>(&self, request: reqwest::RequestBuilder) -> Outcome<T> {
        let body = self.answer(request).await?;
        serde_json::from_slice(&body).map_err(|error| {
            Failure::new("ORACLE_ANSWER_MALFORMED", format!("the oracle's answer does not decode: {error}"))
                .next("check `oracle.url`, and that oracle and program are of the same version")
        })
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Outcome<Vec<u8>> {
        let lost = |error: reqwest::Error| {
            Failure::new("ORACLE_UNAVAILABLE", format!("the oracle at {} does not answer: {error}", self.url))
                .next("check that `pulsegate up` runs and that `oracle.url` is right, then try again")
        };
        let mut response = request.send().await.map_err(lost)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(Failure::new("ORACLE_ANSWER_MALFORMED", "the oracle's answer is too long")
                    .next("check `oracle.url`, and that oracle and program are of the same version"));
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return Ok(body);
        }
        Err(match serde_json::from_slice::<Refusal>(&body) {
            Ok(refusal) => Failure { next: refusal.next, ..Failure::new(refusal.code, refusal.message) },
            Err(_) => Failure::new("ORACLE_UNAVAILABLE", format!("the oracle at {} answered {status}", self.url))
                .next("check `oracle.url`"),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn loopback_is_told_by_the_host() {
        for url in ["http://127.0.0.1:7400", "http://[::1]:7400", "http://localhost/", "https://127.9.9.9"] {
            assert!(is_loopback(url), "{url}");
        }
        for url in
            ["http://oracle.example", "http://10.0.0.1", "http://localhost.example", "http://127.0.0.1@evil.example"]
        {
            assert!(!is_loopback(url), "{url}");
        }
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
        elsewhere.set_nonblocking(true).unwrap();
        let oracle = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", oracle.local_addr().unwrap());
        let location = elsewhere.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = oracle.accept().unwrap();
            let _ = stream.read(&mut [0; 4_096]).unwrap();
            let head = "HTTP/1.1 307 Temporary Redirect\r\nContent-Length: 0\r\nConnection: close\r\n";
            write!(stream, "{head}Location: http://{location}/\r\n\r\n").unwrap();
        });
        let failure = OracleClient::new(&url, None).unwrap().release(vec![0]).await.unwrap_err();
        server.join().unwrap();
        assert_eq!(failure.code, "ORACLE_UNAVAILABLE");
        assert!(failure.message.contains("307"), "{}", failure.message);
        assert!(elsewhere.accept().is_err(), "nobody came where the redirect pointed");
    }
}
