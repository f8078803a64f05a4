//! Where streams stand, for operators.

use sqlx::{PgExecutor, PgPool, Row as _};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::ledger::LANE;

/// Where a stream stands.
#[derive(Clone, Debug)]
pub struct StreamStatus {
    /// Which one.
    pub stream: Uuid,
    /// Its name.
    pub name: String,
    /// Everything up to here is dealt with.
    pub position: i64,
    /// The ledger's last position.
    pub head: i64,
    /// How long ago the first event was recorded that is not dealt with, in seconds; 0 where all are.
    pub lag_seconds: f64,
    /// Events that were acknowledged, repeated ones too.
    pub events: i64,
    /// Deliveries that failed.
    pub failures: i64,
    /// Failures in a row.
    pub attempts: i32,
    /// Since when.
    pub failing_since: Option<Timestamp>,
    /// What happened at last; none where all is well.
    pub error: Option<String>,
    /// When it is tried again, where it failed.
    pub due_at: Timestamp,
    /// Positions that were given up on.
    pub dead_letters: i64,
    /// The size of the last checkpoint that was delivered.
    pub checkpoint: i64,
    /// Whether a node holds it at this moment.
    pub held: bool,
}

impl<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow> for StreamStatus {
    fn from_row(row: &'r sqlx::postgres::PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            stream: row.try_get("stream")?,
            name: row.try_get("name")?,
            position: row.try_get("position")?,
            head: row.try_get("head")?,
            lag_seconds: row.try_get("lag_seconds")?,
            events: row.try_get("events")?,
            failures: row.try_get("failures")?,
            attempts: row.try_get("attempts")?,
            failing_since: row.try_get("failing_since")?,
            error: row.try_get("error")?,
            due_at: row.try_get("due_at")?,
            dead_letters: row.try_get("dead_letters")?,
            checkpoint: row.try_get("checkpoint")?,
            held: row.try_get("held")?,
        })
    }
}

impl StreamStatus {
    /// Events of the ledger that are not dealt with.
    #[must_use]
    pub fn lag(&self) -> i64 {
        (self.head - self.position).max(0)
    }
}

/// Where all streams stand that a server has begun with.
pub async fn status(executor: impl PgExecutor<'_>) -> Result<Vec<StreamStatus>, sqlx::Error> {
    sqlx::query_as(
        "SELECT c.stream, c.name, c.position, h.position AS head, \
                greatest(coalesce(extract(epoch FROM clock_timestamp() - \
                    (SELECT l.recorded_at FROM grantlog.ledger AS l \
                     WHERE l.lane = $1 AND l.position > c.position ORDER BY l.position LIMIT 1)), 0), 0) \
                    ::double precision AS lag_seconds, \
                c.events, c.failures, c.attempts, c.failing_since, c.error, c.due_at, \
                (SELECT count(*) FROM grantlog.stream_dead_letters AS d WHERE d.stream = c.stream) AS dead_letters, \
                c.checkpoint, c.leased_until > clock_timestamp() AS held \
         FROM grantlog.stream_cursors AS c, grantlog.head AS h WHERE h.lane = $1 ORDER BY c.name",
    )
    .bind(LANE)
    .fetch_all(executor)
    .await
}

/// Sets the gauges.
pub async fn measure(pool: &PgPool) -> Result<(), sqlx::Error> {
    let number = |number: i64| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    for stream in status(pool).await? {
        let set = |gauge: metrics::Gauge, value: f64| gauge.set(value);
        let name = || stream.name.clone();
        set(
            metrics::gauge!("grantlog_stream_lag_events", "stream" => name()),
            number(stream.lag()),
        );
        set(
            metrics::gauge!("grantlog_stream_lag_seconds", "stream" => name()),
            stream.lag_seconds,
        );
        set(
            metrics::gauge!("grantlog_stream_failing", "stream" => name()),
            f64::from(u8::from(stream.error.is_some())),
        );
        set(
            metrics::gauge!("grantlog_stream_dead_letters", "stream" => name()),
            number(stream.dead_letters),
        );
    }
    Ok(())
}
