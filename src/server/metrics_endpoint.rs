//! `/metrics` for Prometheus, on a listener of its own: what it says is for operators.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::task::JoinHandle;

use super::ServeError;
use crate::app::App;
use crate::ledger::head_position;
use crate::projection::{self, ProjectionError};

/// How long the database may take over what is asked of it at a scrape.
const TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Clone)]
struct Scraped {
    app: App,
    recorded: PrometheusHandle,
}

/// Serves it, where the configuration says so.
pub(super) async fn start(app: &App) -> Result<Option<JoinHandle<()>>, ServeError> {
    let Some(address) = app.settings.metrics_listen else {
        return Ok(None);
    };
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(|source| ServeError::Listen { address, source })?;
    let scraped = Scraped {
        app: app.clone(),
        recorded: crate::telemetry::start_metrics()?,
    };
    tracing::info!(address = %listener.local_addr()?, "metrics");
    let router = Router::new().route("/metrics", get(render)).with_state(scraped);
    Ok(Some(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "metrics are no longer served");
        }
    })))
}

async fn render(State(scraped): State<Scraped>) -> String {
    let asked = tokio::time::timeout(TIMEOUT, ask(&scraped.app)).await;
    let reachable = matches!(asked, Ok(Ok(())));
    metrics::gauge!("grantlog_database_up").set(f64::from(u8::from(reachable)));
    scraped.recorded.run_upkeep();
    scraped.recorded.render()
}

/// What stands in the database rather than in this process.
async fn ask(app: &App) -> Result<(), ProjectionError> {
    let pool = app.ledger.pool();
    let head = head_position(pool).await?;
    metrics::gauge!("grantlog_ledger_head_position").set(number(head));
    for status in projection::status(pool).await? {
        let stuck = f64::from(u8::from(status.error.is_some()));
        metrics::gauge!("grantlog_projection_stands_still", "projection" => status.name.clone()).set(stuck);
        metrics::gauge!("grantlog_projection_lag_events", "projection" => status.name)
            .set(number(status.lag));
    }
    crate::logout::measure(pool).await?;
    crate::policy::measure(pool).await?;
    if app.settings.shared_signals {
        crate::ssf::measure(pool).await?;
    }
    crate::stream::measure(pool).await?;
    app.event_streams.measure(head);
    Ok(())
}

/// Prometheus knows floating-point numbers only; positions stay exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "a gauge")]
fn number(value: i64) -> f64 {
    value as f64
}
