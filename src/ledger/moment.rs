//! Moments and positions: time never runs backwards in position order, so each moment has one last position.

use sqlx::{PgExecutor, PgPool};

use super::LANE;
use crate::clock::Timestamp;

/// The last position of the ledger.
pub async fn head_position(executor: impl PgExecutor<'_>) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT position FROM grantlog.head WHERE lane = $1")
        .bind(LANE)
        .fetch_one(executor)
        .await
}

/// The stretch of the ledger that was recorded from one moment on and before another: it begins after the first position
/// and ends with the second. None means from the beginning, and up to now.
pub async fn positions_between(
    pool: &PgPool,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
) -> Result<(i64, i64), sqlx::Error> {
    // The database keeps microseconds.
    let just_before = |at: Timestamp| at - chrono::TimeDelta::microseconds(1);
    let after = match since {
        Some(since) => position_at(pool, just_before(since)).await?,
        None => 0,
    };
    let upto = match until {
        Some(until) => position_at(pool, just_before(until)).await?,
        None => head_position(pool).await?,
    };
    Ok((after, upto.max(after)))
}

/// When the first event from a position on was recorded: a detached partition leaves a gap. None where there is none.
pub async fn recorded_at(pool: &PgPool, position: i64) -> Result<Option<Timestamp>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT recorded_at FROM grantlog.ledger WHERE lane = $1 AND position >= $2 ORDER BY position LIMIT 1",
    )
    .bind(LANE)
    .bind(position)
    .fetch_optional(pool)
    .await
}

/// The last position whose event was recorded by a moment; 0 where none was. About as many index probes as the head
/// has binary digits.
pub async fn position_at(pool: &PgPool, at: Timestamp) -> Result<i64, sqlx::Error> {
    let head = head_position(pool).await?;
    // Everything up to `low` was recorded by then, nothing from `high` on.
    let (mut low, mut high) = (0, head + 1);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        // The first event from there on: a detached partition leaves a gap.
        let found: Option<(i64, Timestamp)> = sqlx::query_as(
            "SELECT position, recorded_at FROM grantlog.ledger \
             WHERE lane = $1 AND position >= $2 AND position < $3 ORDER BY position LIMIT 1",
        )
        .bind(LANE)
        .bind(middle)
        .bind(high)
        .fetch_optional(pool)
        .await?;
        match found {
            Some((position, recorded_at)) if recorded_at <= at => low = position,
            _ => high = middle,
        }
    }
    Ok(low)
}
