//! Logs and metrics. A line per request: which endpoint, which status, how long; never a query string, header,
//! body, name or address. What happened in detail stands in the ledger, under the same request id.

mod writer;

use std::io::IsTerminal;
use std::time::Duration;

use axum::extract::{MatchedPath, Request};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub use writer::LogWriter;

use crate::clock::monotonic;
use crate::config::LogFormat;
use crate::http::context::REQUEST_ID;

/// Upper bounds of the buckets that durations are counted in, in seconds.
const SECONDS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];
/// Upper bounds of the buckets that batch sizes are counted in.
const SIZES: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Logs go to standard error from now on. The guard writes what still waits when it is dropped.
pub fn start_logs(format: LogFormat, filter: &str) -> LogGuard {
    let writer = LogWriter::start();
    let guard = LogGuard(writer.clone());
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    // An error says that logs were started before, by a test in the same process.
    let _ = match format {
        LogFormat::Text => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .with_ansi(std::io::stderr().is_terminal())
                    .with_writer(writer),
            )
            .try_init(),
        LogFormat::Json => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_writer(writer),
            )
            .try_init(),
    };
    guard
}

/// Keeps the logs going.
#[must_use]
pub struct LogGuard(LogWriter);

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.0.finish(Duration::from_secs(1));
    }
}

/// Counts from now on, for [`PrometheusHandle::render`]. Without this, counting costs next to nothing.
pub fn start_metrics() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_commands".to_owned()), &SIZES)?
        .install_recorder()
}

/// Logs and counts a request once it is answered. The outermost layer, so that it sees the whole time.
pub async fn observe(request: Request, next: Next) -> Response {
    let began = monotonic();
    let method = method_name(request.method());
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let elapsed = began.elapsed();
    // The path as registered: what was really asked for may hold anything.
    let path = matched.as_ref().map_or("unmatched", MatchedPath::as_str);
    let status = response.status();
    let labels = [
        ("path", path.to_owned()),
        ("method", method.to_owned()),
        ("status", status.as_u16().to_string()),
    ];
    metrics::counter!("grantlog_http_requests_total", &labels).increment(1);
    metrics::histogram!("grantlog_http_request_duration_seconds", &labels).record(elapsed.as_secs_f64());
    log(path, method, &response, elapsed);
    response
}

fn log(path: &str, method: &'static str, response: &Response, elapsed: Duration) {
    let request_id = response
        .headers()
        .get(REQUEST_ID)
        .and_then(|id| id.to_str().ok())
        .unwrap_or_default();
    let status = response.status();
    let (code, ms) = (status.as_u16(), elapsed.as_secs_f64() * 1000.0);
    // Probes come every few seconds and say nothing.
    let is_probe = matches!(path, "/healthz" | "/readyz") && status == StatusCode::OK;
    if status.is_server_error() {
        tracing::warn!(request_id, method, path, status = code, ms, "request");
    } else if is_probe {
        tracing::debug!(request_id, method, path, status = code, ms, "request");
    } else {
        tracing::info!(request_id, method, path, status = code, ms, "request");
    }
}

/// The registered methods; a client may send any word, which must become neither a label nor a log line.
fn method_name(method: &axum::http::Method) -> &'static str {
    ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
        .into_iter()
        .find(|known| *known == method.as_str())
        .unwrap_or("OTHER")
}
