//! Gauges of shared signals.

use sqlx::PgPool;
use uuid::Uuid;

use crate::ledger::LANE;

/// Up to how many streams each has gauges of its own: more would be a burden to whoever keeps them.
const MOST_MEASURED: i64 = 100;

/// Sets them: how much waits and how far the reader is behind; and how each stream's receiver does.
pub async fn measure(pool: &PgPool) -> Result<(), sqlx::Error> {
    let (waiting, lag): (i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM grantlog.ssf_sets), h.position - c.position \
         FROM grantlog.ssf_cursor AS c, grantlog.head AS h WHERE h.lane = $1",
    )
    .bind(LANE)
    .fetch_one(pool)
    .await?;
    metrics::gauge!("grantlog_ssf_waiting_sets").set(number(waiting));
    metrics::gauge!("grantlog_ssf_lag_positions").set(number(lag.max(0)));
    let streams: Vec<(Uuid, i64, f64, i32)> = sqlx::query_as(
        "SELECT s.stream_id, count(t.number), \
                greatest(coalesce(extract(epoch FROM clock_timestamp() - min(t.waits_since)), 0), 0)::double precision, \
                s.attempts \
         FROM (SELECT stream_id, attempts FROM grantlog.ssf_streams LIMIT $1 + 1) AS s \
         LEFT JOIN grantlog.ssf_sets AS t USING (stream_id) GROUP BY s.stream_id, s.attempts",
    )
    .bind(MOST_MEASURED)
    .fetch_all(pool)
    .await?;
    if i64::try_from(streams.len()).is_ok_and(|streams| streams <= MOST_MEASURED) {
        for (stream, waiting, seconds, failures) in streams {
            let stream = stream.to_string();
            metrics::gauge!("grantlog_ssf_stream_waiting_sets", "stream" => stream.clone())
                .set(number(waiting));
            metrics::gauge!("grantlog_ssf_stream_lag_seconds", "stream" => stream.clone()).set(seconds);
            metrics::gauge!("grantlog_ssf_stream_failures", "stream" => stream).set(f64::from(failures));
        }
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
fn number(value: i64) -> f64 {
    value as f64
}
