//! The listener: TLS by rustls when a certificate is configured, plain HTTP on loopback otherwise, and nothing else.
//!
//! Guarantees: a slow sender of headers is cut off after [`HEADER_MS_MAX`]; shutting down lets running requests end within [`DRAIN_MS_MAX`].
//! Must not: bind anything but loopback without TLS (the configuration is checked before this is called, and here once more).

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use hyper_util::rt::TokioTimer;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::{ConfigError, TlsFiles};
use crate::service::StartError;

/// Longest time to send a request's headers, milliseconds.
pub const HEADER_MS_MAX: u64 = 10_000;
/// Longest header section, bytes.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;
/// How long running requests get to end when the service stops, milliseconds.
pub const DRAIN_MS_MAX: u64 = 5_000;

/// A bound listener that serves in the background.
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) local_addr: SocketAddr,
    handle: Handle<SocketAddr>,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Server {
    /// Binds and serves.
    pub(crate) fn start(listen: SocketAddr, tls: Option<&TlsFiles>, router: Router) -> Result<Self, StartError> {
        if tls.is_none() && !listen.ip().is_loopback() {
            return Err(ConfigError::TlsRequired { listen }.into());
        }
        let tls = tls.map(tls_config).transpose()?;
        let unbound = |reason: std::io::Error| StartError::Bind { listen, reason: reason.to_string() };
        let listener = TcpListener::bind(listen).map_err(unbound)?;
        listener.set_nonblocking(true).map_err(unbound)?;
        let local_addr = listener.local_addr().map_err(unbound)?;
        let handle = Handle::new();
        let service = router.into_make_service();
        let mut plain = axum_server::from_tcp(listener).map_err(unbound)?.handle(handle.clone()).http1_only();
        plain
            .http_builder()
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_millis(HEADER_MS_MAX))
            .max_buf_size(HEADER_BYTES_MAX);
        let task = match tls {
            None => tokio::spawn(plain.serve(service)),
            Some(tls) => {
                let acceptor = axum_server::tls_rustls::RustlsAcceptor::new(tls);
                tokio::spawn(plain.acceptor(acceptor).serve(service))
            }
        };
        Ok(Self { local_addr, handle, task })
    }

    /// Stops listening, lets running requests end, and returns when it is over.
    pub(crate) async fn stop(self) {
        self.handle.graceful_shutdown(Some(Duration::from_millis(DRAIN_MS_MAX)));
        match self.task.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(reason = %error, "the listener ended with an error"),
            Err(error) => tracing::warn!(panicked = error.is_panic(), "the listener's task ended early"),
        }
    }
}

fn tls_config(files: &TlsFiles) -> Result<RustlsConfig, StartError> {
    let unusable = |path: &std::path::Path, reason: String| StartError::Tls { path: path.to_owned(), reason };
    let certificates = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(&files.certificate, error.to_string()))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unusable(&files.key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key))
        .map_err(|error| unusable(&files.certificate, error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(RustlsConfig::from_config(Arc::new(config)))
}
