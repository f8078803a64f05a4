//! `/healthz`: this process lives. `/readyz`: it can serve.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use crate::app::App;
use crate::ledger::migrate::{self, Schema};
use crate::projection::{self, ProjectionError};

/// How long the database may take before this node calls itself not ready.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Both endpoints.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
}

#[derive(Serialize)]
struct Alive {
    status: &'static str,
}

/// What `/readyz` says.
#[derive(Debug, Serialize)]
struct Readiness {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    projections: Option<Vec<Reader>>,
}

/// How far a projection has come. One that stands still does not make the node unfit: no credential is checked
/// against a projection.
#[derive(Debug, Serialize)]
struct Reader {
    name: String,
    position: i64,
    lag: i64,
    stands_still: bool,
}

/// Asks nothing: an orchestrator that restarts every node when the database is away makes matters worse.
async fn alive() -> Json<Alive> {
    Json(Alive { status: "ok" })
}

async fn ready(State(app): State<App>) -> (StatusCode, Json<Readiness>) {
    let checked = tokio::time::timeout(TIMEOUT, check(&app)).await;
    let (reason, projections) = match checked {
        Ok(Ok((Schema::Current, readers))) => {
            let fault = app.evidence.fault().map(|_| "ledger_not_the_signed_one");
            (fault, Some(readers))
        }
        Ok(Ok((Schema::Behind(_), readers))) => (Some("migrations_missing"), Some(readers)),
        Ok(Ok((Schema::Ahead(_), readers))) => (Some("migrations_newer"), Some(readers)),
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready");
            (Some("database_unavailable"), None)
        }
        Err(_) => (Some("database_slow"), None),
    };
    let (code, status) = match reason {
        None => (StatusCode::OK, "ready"),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
    };
    let body = Readiness {
        status,
        reason,
        projections,
    };
    (code, Json(body))
}

async fn check(app: &App) -> Result<(Schema, Vec<Reader>), ProjectionError> {
    let pool = app.ledger.pool();
    let mut connection = pool.acquire().await?;
    let schema = migrate::schema(&mut connection).await?;
    drop(connection);
    let readers = projection::status(pool).await?.into_iter().map(|status| Reader {
        stands_still: status.error.is_some() || !status.current,
        name: status.name,
        position: status.position,
        lag: status.lag,
    });
    Ok((schema, readers.collect()))
}
