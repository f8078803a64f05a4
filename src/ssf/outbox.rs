//! Tokens that wait for their receivers.

use serde_json::{Map, json};
use sqlx::{PgConnection, PgExecutor, PgPool};
use uuid::Uuid;

use super::{MAX_AGE_DAYS, MAX_WAITING};
use crate::clock::Timestamp;
use crate::domain::ssf_stream::SsfStreamStatusChanged;

/// SSF §8.1.4.1.
pub(super) const VERIFICATION: &str = "https://schemas.openid.net/secevent/ssf/event-type/verification";
/// SSF §8.1.5.
pub(super) const STREAM_UPDATED: &str = "https://schemas.openid.net/secevent/ssf/event-type/stream-updated";

/// How often it is said that a transmitter is there, in seconds …
const SAID_EVERY: f64 = 30.0;
/// … and after how many there was none.
const ABSENT: f64 = 300.0;

/// One of them.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Its `jti`.
    pub jti: Uuid,
    /// The event type's URI.
    pub event_type: String,
    /// The user that it is about; none where it is about the stream.
    pub subject: Option<Uuid>,
    /// The login that it is about.
    pub session: Option<Uuid>,
    /// The request that caused it.
    pub request: Option<Uuid>,
    /// What stands under the event type, JSON.
    pub body: String,
    /// When that happened which it tells of.
    pub made_at: Timestamp,
}

type Row = (
    Uuid,
    String,
    Option<Uuid>,
    Option<Uuid>,
    Option<Uuid>,
    String,
    Timestamp,
);

/// The next ones of a stream, the oldest first; of one that is not enabled those about itself.
pub async fn next(
    executor: impl PgExecutor<'_>,
    stream: Uuid,
    limit: i64,
) -> Result<Vec<Waiting>, sqlx::Error> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT t.jti, t.event_type, t.subject, t.session, t.request, t.body, t.made_at \
         FROM grantlog.ssf_sets AS t JOIN grantlog.ssf_streams AS s USING (stream_id) \
         WHERE t.stream_id = $1 AND (s.status = 'enabled' OR t.event_type = $3) ORDER BY t.number LIMIT $2",
    )
    .bind(stream)
    .bind(limit)
    .bind(STREAM_UPDATED)
    .fetch_all(executor)
    .await?;
    let waiting = |(jti, event_type, subject, session, request, body, made_at)| Waiting {
        jti,
        event_type,
        subject,
        session,
        request,
        body,
        made_at,
    };
    Ok(rows.into_iter().map(waiting).collect())
}

/// The receiver has them, or will not take them: they wait no longer. Returns how many there were.
pub async fn settle(executor: impl PgExecutor<'_>, stream: Uuid, jtis: &[Uuid]) -> Result<u64, sqlx::Error> {
    let settled = sqlx::query("DELETE FROM grantlog.ssf_sets WHERE stream_id = $1 AND jti = ANY ($2)")
        .bind(stream)
        .bind(jtis)
        .execute(executor)
        .await?;
    Ok(settled.rows_affected())
}

/// Puts a verification in line (SSF §8.1.4.2). False: the last one is too near.
pub async fn verify(
    pool: &PgPool,
    stream: Uuid,
    state: Option<&str>,
    at: Timestamp,
) -> Result<bool, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let asked = sqlx::query(
        "INSERT INTO grantlog.ssf_verifications (stream_id, at) VALUES ($1, $2) \
         ON CONFLICT (stream_id) DO UPDATE SET at = excluded.at \
         WHERE ssf_verifications.at <= excluded.at - make_interval(secs => $3)",
    )
    .bind(stream)
    .bind(at)
    .bind(f64::from(
        i32::try_from(super::VERIFICATION_SECONDS).unwrap_or(i32::MAX),
    ))
    .execute(&mut *transaction)
    .await?;
    if asked.rows_affected() == 0 {
        return Ok(false);
    }
    let body = state.map_or_else(|| json!({}), |state| json!({ "state": state }));
    about_stream(&mut transaction, stream, (VERIFICATION, &body), at).await?;
    transaction.commit().await?;
    Ok(true)
}

/// Tells the receiver that this server changed the stream's status (SSF §8.1.5).
pub(super) async fn tell_status(
    db: &mut PgConnection,
    stream: Uuid,
    event: &SsfStreamStatusChanged,
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    let mut body = Map::new();
    body.insert("status".to_owned(), event.status.name().into());
    if let Some(reason) = &event.reason {
        body.insert("reason".to_owned(), reason.as_str().into());
    }
    about_stream(db, stream, (STREAM_UPDATED, &body.into()), at).await
}

async fn about_stream(
    db: &mut PgConnection,
    stream: Uuid,
    (event_type, body): (&str, &serde_json::Value),
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO grantlog.ssf_sets (stream_id, event_type, control, body, made_at) \
         VALUES ($1, $2, true, $3, $4)",
    )
    .bind(stream)
    .bind(event_type)
    .bind(body.to_string())
    .bind(at)
    .execute(db)
    .await
    .map(|_| ())
}

/// Streams that are not off and whose receivers have left too much lying, or for too long.
pub(super) async fn neglected(pool: &PgPool, at: Timestamp) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT s.stream_id FROM grantlog.ssf_streams AS s WHERE s.status <> 'disabled' AND ( \
             EXISTS (SELECT FROM grantlog.ssf_sets AS t \
                     WHERE t.stream_id = s.stream_id AND t.waits_since < $1 - make_interval(days => $2)) \
             OR (SELECT count(*) FROM (SELECT FROM grantlog.ssf_sets AS t \
                     WHERE t.stream_id = s.stream_id LIMIT $3 + 1) AS few) > $3)",
    )
    .bind(at)
    .bind(i32::try_from(MAX_AGE_DAYS).unwrap_or(i32::MAX))
    .bind(MAX_WAITING)
    .fetch_all(pool)
    .await
}

/// Says that a transmitter is there. Where none was for a while, what waits has waited in vain for that time: it is not the
/// receivers' neglect.
pub(super) async fn tend(pool: &PgPool) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let absent: f64 = sqlx::query_scalar(
        "SELECT extract(epoch FROM clock_timestamp() - at)::double precision FROM grantlog.ssf_tending FOR UPDATE",
    )
    .fetch_one(&mut *transaction)
    .await?;
    if absent < SAID_EVERY {
        return Ok(());
    }
    if absent > ABSENT {
        sqlx::query(
            "UPDATE grantlog.ssf_sets AS s SET waits_since = s.waits_since + make_interval(secs => $1) \
             FROM grantlog.ssf_tending AS t WHERE s.waits_since < t.at + make_interval(secs => $2)",
        )
        .bind(absent)
        .bind(ABSENT)
        .execute(&mut *transaction)
        .await?;
    }
    sqlx::query("UPDATE grantlog.ssf_tending SET at = clock_timestamp()")
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}
