//! One connection to one checked address, one request on it, one answer of limited length.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::{Answer, OutboundError};

/// How long one address may take to accept a connection, where there is another to try.
const CONNECT: Duration = Duration::from_secs(3);
/// What is read of an answer's head.
const MAX_HEAD_BYTES: usize = 32 * 1024;
const MAX_HEADERS: usize = 100;

/// Trusts what the system trusts (or `SSL_CERT_FILE` names); Mozilla's list where the system has none. And `own`.
pub(super) fn tls(own: Option<RootCertStore>) -> Result<TlsConnector, rustls::Error> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "some of the system's certificate authorities cannot be read");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots.extend(own.into_iter().flat_map(|own| own.roots));
    connector(roots)
}

pub(crate) fn connector(roots: RootCertStore) -> Result<TlsConnector, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The first of the addresses that accepts.
pub(super) async fn connect(addresses: &[IpAddr], port: u16) -> Result<TcpStream, OutboundError> {
    let mut last = OutboundError::Unresolved;
    for address in addresses {
        let attempt = TcpStream::connect(SocketAddr::new(*address, port));
        match tokio::time::timeout(CONNECT, attempt).await {
            Ok(Ok(stream)) => {
                // Fails only where the connection is gone already, which the request will find out.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => last = OutboundError::Connect(error.kind()),
            Err(_) => last = OutboundError::Connect(io::ErrorKind::TimedOut),
        }
    }
    Err(last)
}

/// Sends the request, over TLS where there is a name to prove.
pub(super) async fn exchange(
    stream: TcpStream,
    tls: Option<(&TlsConnector, ServerName<'static>)>,
    request: hyper::Request<Full<Bytes>>,
    max_bytes: usize,
) -> Result<Answer, OutboundError> {
    match tls {
        Some((tls, name)) => {
            let stream = tls.connect(name, stream).await.map_err(OutboundError::Tls)?;
            speak(stream, request, max_bytes).await
        }
        None => speak(stream, request, max_bytes).await,
    }
}

/// The task that moves a connection's bytes, for as long as somebody wants them.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn speak<S>(
    stream: S,
    request: hyper::Request<Full<Bytes>>,
    max_bytes: usize,
) -> Result<Answer, OutboundError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(OutboundError::Protocol)?;
    let _driver = Driver(tokio::spawn(async move {
        // The sender and the body say what went wrong.
        let _ = connection.await;
    }));
    let answer = sender
        .send_request(request)
        .await
        .map_err(OutboundError::Protocol)?;
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, max_bytes).collect().await.map_err(|error| {
        match error.downcast::<hyper::Error>() {
            Ok(error) => OutboundError::Protocol(*error),
            Err(error) => {
                debug_assert!(error.is::<LengthLimitError>());
                OutboundError::TooLarge
            }
        }
    })?;
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body: body.to_bytes(),
    })
}
