//! The listener: TLS by rustls when a certificate is configured, plain HTTP on loopback otherwise, and nothing else.
//!
//! Guarantees: at most [`CONNECTIONS_MAX`] connections are open, further ones are closed at once; a slow sender of headers is cut off
//! after [`HEADER_MS_MAX`]; shutting down lets running requests end within [`DRAIN_MS_MAX`]; every byte that passes is measured.
//! Must not: bind anything but loopback without TLS (the configuration is checked before this is called, and here once more).

use std::future::{Ready, ready};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::accept::Accept;
use axum_server::tls_rustls::RustlsConfig;
use hyper_util::rt::TokioTimer;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::{ConfigError, TlsFiles};
use crate::exchanges::{Exchanges, Measured, PeerFailure};
use crate::service::StartError;

/// Longest time to send a request's headers, milliseconds.
pub const HEADER_MS_MAX: u64 = 10_000;
/// Longest header section, bytes.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;
/// How long running requests get to end when the service stops, milliseconds.
pub const DRAIN_MS_MAX: u64 = 5_000;
/// Most connections open at the same time.
pub const CONNECTIONS_MAX: usize = 512;

/// A bound listener that serves in the background.
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) local_addr: SocketAddr,
    handle: Handle<SocketAddr>,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Server {
    /// Binds and serves; what passes is measured in `exchanges`.
    pub(crate) fn start(
        listen: SocketAddr,
        tls: Option<&TlsFiles>,
        router: Router,
        exchanges: Arc<Exchanges>,
    ) -> Result<Self, StartError> {
        if tls.is_none() && !listen.ip().is_loopback() {
            return Err(ConfigError::TlsRequired { listen }.into());
        }
        let tls = tls.map(tls_config).transpose()?;
        let unbound = |reason: std::io::Error| StartError::Bind { listen, reason: reason.to_string() };
        let listener = TcpListener::bind(listen).map_err(unbound)?;
        listener.set_nonblocking(true).map_err(unbound)?;
        let local_addr = listener.local_addr().map_err(unbound)?;
        let handle = Handle::new();
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let mut plain = axum_server::from_tcp(listener).map_err(unbound)?.handle(handle.clone()).http1_only();
        plain
            .http_builder()
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_millis(HEADER_MS_MAX))
            .max_buf_size(HEADER_BYTES_MAX);
        let bounded = Bounded { free: Arc::new(Semaphore::new(CONNECTIONS_MAX)), exchanges };
        let task = match tls {
            None => tokio::spawn(plain.acceptor(bounded).serve(service)),
            Some(tls) => {
                let acceptor = axum_server::tls_rustls::RustlsAcceptor::new(tls).acceptor(bounded);
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

/// Takes a connection when there is room for it; one without room is closed before anything is read from it.
#[derive(Clone)]
struct Bounded {
    free: Arc<Semaphore>,
    exchanges: Arc<Exchanges>,
}

impl<S> Accept<TcpStream, S> for Bounded {
    type Stream = Connection;
    type Service = S;
    type Future = Ready<io::Result<(Connection, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let permit = Arc::clone(&self.free).try_acquire_owned();
        ready(stream.peer_addr().and_then(|peer| match permit {
            Ok(permit) => Ok((Connection { stream, measured: self.exchanges.open(peer), _permit: permit }, service)),
            Err(_) => {
                self.exchanges.failed(peer.ip(), PeerFailure::NoRoom);
                Err(io::ErrorKind::ConnectionRefused.into())
            }
        }))
    }
}

/// A connection, measured, and its place among the open ones.
struct Connection {
    stream: TcpStream,
    measured: Measured,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    fn sent(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = polled {
            self.measured.sent(bytes);
        }
        polled
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.measured.received(buf.filled().len() - before);
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.sent(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.sent(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum_server::accept::Accept;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::Semaphore;

    use super::{Bounded, Exchanges};
    use crate::metrics::Metrics;

    #[tokio::test]
    async fn a_connection_above_the_limit_is_refused_until_another_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let exchanges = Exchanges::new(Arc::new(|| 0), Metrics::new(), false);
        let bounded = Bounded { free: Arc::new(Semaphore::new(1)), exchanges };
        let connect = async || TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let first = bounded.accept(connect().await, ()).await.unwrap();
        assert!(bounded.accept(connect().await, ()).await.is_err());
        drop(first);
        assert!(bounded.accept(connect().await, ()).await.is_ok());
    }
}
