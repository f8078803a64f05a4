//! `/healthz`: this process lives. `/readyz`: it can serve.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use crate::app::App;
use crate::ledger::migrate::{self, Schema};
use crate::ledger::{LANE, LedgerError};

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
    head: Option<i64>,
    projections: Vec<Reader>,
}

/// How far a reader of the ledger has come.
#[derive(Clone, Debug, Serialize)]
pub struct Reader {
    /// Its name.
    pub name: String,
    /// The last position that it has folded.
    pub position: i64,
    /// How many positions it is behind.
    pub lag: i64,
}

/// Asks nothing: an orchestrator that restarts every node when the database is away makes matters worse.
async fn alive() -> Json<Alive> {
    Json(Alive { status: "ok" })
}

async fn ready(State(app): State<App>) -> (StatusCode, Json<Readiness>) {
    let checked = tokio::time::timeout(TIMEOUT, check(&app)).await;
    let (reason, head, projections) = match checked {
        Ok(Ok((Schema::Current, head, readers))) => (None, Some(head), readers),
        Ok(Ok((Schema::Behind(_), head, readers))) => (Some("migrations_missing"), Some(head), readers),
        Ok(Ok((Schema::Ahead(_), head, readers))) => (Some("migrations_newer"), Some(head), readers),
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready");
            (Some("database_unavailable"), None, Vec::new())
        }
        Err(_) => (Some("database_slow"), None, Vec::new()),
    };
    let (code, status) = match reason {
        None => (StatusCode::OK, "ready"),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
    };
    let body = Readiness {
        status,
        reason,
        head,
        projections,
    };
    (code, Json(body))
}

async fn check(app: &App) -> Result<(Schema, i64, Vec<Reader>), LedgerError> {
    let pool = app.ledger.pool();
    let mut connection = pool.acquire().await?;
    let schema = migrate::schema(&mut connection).await?;
    drop(connection);
    let (head, readers) = lags(pool).await?;
    Ok((schema, head, readers))
}

/// The ledger's head, and how far each reader has come.
pub async fn lags(pool: &sqlx::PgPool) -> Result<(i64, Vec<Reader>), sqlx::Error> {
    let head: i64 = sqlx::query_scalar("SELECT position FROM grantlog.head WHERE lane = $1")
        .bind(LANE)
        .fetch_one(pool)
        .await?;
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT reader, position FROM grantlog.cursors ORDER BY reader")
            .fetch_all(pool)
            .await?;
    let readers = rows.into_iter().map(|(name, position)| Reader {
        name,
        position,
        // It may have moved on since the head was read.
        lag: (head - position).max(0),
    });
    Ok((head, readers.collect()))
}
