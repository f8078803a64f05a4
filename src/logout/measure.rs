//! What is still to be done, for operators.

use sqlx::PgPool;

/// Sets the gauges: tasks by kind, and how long the oldest client waits.
pub async fn measure(pool: &PgPool) -> Result<(), sqlx::Error> {
    let waiting: Vec<(String, i64, f64)> = sqlx::query_as(
        "SELECT k.kind, count(t.kind), \
                coalesce(extract(epoch FROM clock_timestamp() - min(t.since)), 0)::double precision \
         FROM unnest(ARRAY['end', 'revoke', 'tell']) AS k (kind) LEFT JOIN grantlog.logout_tasks AS t USING (kind) \
         GROUP BY k.kind",
    )
    .fetch_all(pool)
    .await?;
    for (kind, tasks, oldest) in waiting {
        let tasks = u32::try_from(tasks).unwrap_or(u32::MAX);
        metrics::gauge!("grantlog_logout_tasks", "kind" => kind.clone()).set(f64::from(tasks));
        metrics::gauge!("grantlog_logout_oldest_task_seconds", "kind" => kind).set(oldest);
    }
    let lag: i64 = sqlx::query_scalar(
        "SELECT h.position - c.position FROM grantlog.head AS h, grantlog.logout_cursor AS c WHERE h.lane = $1",
    )
    .bind(crate::ledger::LANE)
    .fetch_one(pool)
    .await?;
    metrics::gauge!("grantlog_logout_lag_events").set(f64::from(u32::try_from(lag).unwrap_or_default()));
    Ok(())
}
