//! Serving: the listeners, what runs beside them, and the way down.
//!
//! On SIGTERM or SIGINT the listener closes, connections are read for another moment (a request that is on its
//! way was accepted), then idle ones are closed and busy ones are given their time; last, the ledger.

mod background;
mod listener;
mod metrics_endpoint;
mod start;
mod tls;

use std::net::SocketAddr;
use std::time::Duration;

use axum_server::Handle;
use hyper_util::rt::TokioTimer;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

pub use start::{NotReady, check_database, wait_for_database};

use crate::app::App;
use crate::http::context::MAX_HEAD_BYTES;
use listener::{Gate, Peer};

/// How long connections are still read after the listener has closed.
const LAST_CALL: Duration = Duration::from_millis(250);
/// How long a client may take over a request's head, and how long a connection may be idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// What is read of a request's head: twice what is accepted. Beyond it hyper answers 431 without a body.
const MAX_HEADER_BYTES: usize = 2 * MAX_HEAD_BYTES;
const MAX_HEADERS: usize = 2 * crate::http::context::MAX_HEADERS;
const MAX_STREAMS: u32 = 200;

/// Why serving ended, other than because it was told to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address cannot be listened at.
    #[error("{address} cannot be listened at")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error("the TLS certificate {certificate} with the key {key} cannot be used: {source}")]
    Tls {
        /// The certificate's file.
        certificate: String,
        /// The key's file.
        key: String,
        /// Why.
        source: std::io::Error,
    },
    /// Counting does not work.
    #[error("metrics cannot be collected: {0}")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    /// The operating system failed us.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Listens, without accepting yet: port 0 has become a real one.
pub fn listen(address: SocketAddr) -> Result<std::net::TcpListener, ServeError> {
    let listen = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().map_err(|source| ServeError::Listen { address, source })
}

/// Becomes true when SIGTERM or SIGINT comes. A second one ends the process at once.
pub fn stop_signal() -> Result<watch::Receiver<bool>, std::io::Error> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if sender.send_replace(true) {
                std::process::exit(130);
            }
        }
    });
    Ok(receiver)
}

/// Waits until the process is told to stop.
pub async fn told(stop: &mut watch::Receiver<bool>) {
    // An error says that nobody can tell us any more, which is no reason to stop.
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Serves until told to stop, and returns once everything that was accepted is answered (or its time is up)
/// and durable.
pub async fn serve(
    app: App,
    listener: std::net::TcpListener,
    stop: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    let router = crate::http::router(app.clone());
    serve_router(app, router, listener, stop).await
}

/// [`serve`], with other routes than the product's: the benchmark adds its floor.
pub(crate) async fn serve_router(
    app: App,
    router: axum::Router,
    listener: std::net::TcpListener,
    stop: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    let tls = tls::load(&app.settings).await?;
    let metrics = metrics_endpoint::start(&app).await?;
    let background = background::start(&app);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let handle = Handle::new();
    let grace = Duration::from_secs(app.settings.shutdown_seconds.into());
    let gate = Gate::new(tokio::net::TcpListener::from_std(listener)?, stop.clone());
    let closing = tokio::spawn(close_on(app.clone(), stop, handle.clone(), grace));
    let mut server = axum_server::Server::<Peer>::from_listener(gate).handle(handle);
    configure(&mut server);
    let outcome = match tls {
        Some(config) => {
            tls::reload_on_hangup(config.clone(), &app.settings)?;
            let acceptor = tls::WithPeerCertificate(axum_server::tls_rustls::RustlsAcceptor::new(config));
            server.acceptor(acceptor).serve(service).await
        }
        None => server.serve(service).await,
    };
    closing.abort();
    if let Err(error) = app.uses.write_down(&app.ledger).await {
        tracing::warn!(%error, "the last uses of tokens were not written down");
    }
    background.stop().await;
    if let Some(metrics) = metrics {
        metrics.abort();
    }
    app.ledger.close().await;
    tracing::info!("stopped");
    Ok(outcome?)
}

async fn close_on(app: App, mut stop: watch::Receiver<bool>, handle: Handle<Peer>, grace: Duration) {
    told(&mut stop).await;
    tracing::info!(connections = handle.connection_count(), "stopping");
    // Their connections are never idle by themselves.
    app.event_streams.close();
    tokio::time::sleep(LAST_CALL).await;
    handle.graceful_shutdown(Some(grace));
}

fn configure<A>(server: &mut axum_server::Server<Peer, A>) {
    let builder = server.http_builder();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        .max_headers(MAX_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(MAX_HEADER_BYTES).unwrap_or(u32::MAX))
        .max_concurrent_streams(MAX_STREAMS)
        .keep_alive_interval(HEADER_TIMEOUT)
        .keep_alive_timeout(HEADER_TIMEOUT);
}
