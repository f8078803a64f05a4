//! Bounded tables: rows of what ended long ago are pruned, by the time of the events that are folded and not by any
//! clock. So at each position a table holds the same rows, whether it was folded live, in batches of any size, or built
//! anew.

use chrono::{DurationRound, TimeDelta};
use sqlx::PgConnection;

use super::error::ProjectionError;
use super::fold::Target;
use crate::clock::Timestamp;
use crate::domain::AggregateType;
use crate::ledger::LANE;

/// Days that a row stays after what it shows has expired.
pub const KEPT_DAYS: i64 = 90;

/// Days that a count of uses stays after the last of them: a leak is looked into long after the tokens have expired.
pub const USES_KEPT_DAYS: i64 = 400;

/// The tables whose rows expire, the columns that say when, and the days that rows stay after that.
const EXPIRING: [(&str, &str, i64); 5] = [
    ("client_access_tokens", "expired_at", KEPT_DAYS),
    ("client_authorization_codes", "expired_at", KEPT_DAYS),
    ("client_refresh_tokens", "expired_at", KEPT_DAYS),
    ("sessions", "expires_at", KEPT_DAYS),
    ("token_uses", "last_at", USES_KEPT_DAYS),
];

/// What expired before this is in no table that shows the ledger up to an event of that time. Whole hours: most batches
/// have nothing to look for.
pub(crate) fn bound(folded_to: Timestamp, days: i64) -> Timestamp {
    let bound = folded_to - TimeDelta::days(days);
    bound.duration_trunc(TimeDelta::hours(1)).unwrap_or(bound)
}

/// Prunes a table after a batch whose rows have ids from `first` on, and whose last event is of this time.
pub(super) async fn after_batch(
    connection: &mut PgConnection,
    target: &mut Target,
    (first, folded_to): (i64, Timestamp),
) -> Result<(), sqlx::Error> {
    if target.projection.takes_all() {
        return depart(connection, target).await;
    }
    if target.projection.whole() == Some(AggregateType::TokenUse) {
        forget_uses(connection, &target.table).await?;
    }
    let Some((column, days)) = expiry(target) else {
        return Ok(());
    };
    let bound = bound(folded_to, days);
    // Whole aggregates come back with each of their events, under their old ids.
    let everything = target.pruned != Some(bound) || target.projection.whole().is_some();
    let first = if everything { 0 } else { first };
    sqlx::query(&format!(
        "DELETE FROM public.{} WHERE {column} < $1 AND id >= $2",
        target.table
    ))
    .bind(bound)
    .bind(first)
    .execute(connection)
    .await?;
    target.pruned = Some(bound);
    Ok(())
}

/// Removes the rows of detached events from a table that has one for every event: a rebuilt one has none.
async fn depart(connection: &mut PgConnection, target: &mut Target) -> Result<(), sqlx::Error> {
    let newest: Option<i64> =
        sqlx::query_scalar("SELECT max(event_position) FROM grantlog.detached_partitions")
            .fetch_one(&mut *connection)
            .await?;
    let Some(newest) = newest.filter(|newest| *newest > target.departed) else {
        return Ok(());
    };
    sqlx::query(&format!(
        "DELETE FROM public.{} AS t USING grantlog.detached_ranges AS r \
         JOIN grantlog.detached_partitions AS p USING (partition) \
         WHERE p.event_position > $1 AND t.id BETWEEN r.first AND r.last",
        target.table
    ))
    .bind(target.departed)
    .execute(connection)
    .await?;
    target.departed = newest;
    Ok(())
}

/// Removes the uses of grants that left the ledger with their quarter. Whatever was counted of them: nothing is left that
/// says what they were.
async fn forget_uses(connection: &mut PgConnection, table: &str) -> Result<(), sqlx::Error> {
    sqlx::query(&format!(
        "DELETE FROM public.{table} AS t USING grantlog.detached_partitions AS p \
         WHERE p.class = 'grant' AND t.grant_id >= p.lower AND t.grant_id < p.upper"
    ))
    .execute(connection)
    .await
    .map(|_| ())
}

/// Prunes a table that shows the ledger up to a position.
pub(super) async fn up_to(
    connection: &mut PgConnection,
    target: &mut Target,
    position: i64,
) -> Result<(), ProjectionError> {
    let folded_to: Option<Timestamp> = sqlx::query_scalar(
        "SELECT recorded_at FROM grantlog.ledger WHERE lane = $1 AND position <= $2 ORDER BY position DESC LIMIT 1",
    )
    .bind(LANE)
    .bind(position)
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(folded_to) = folded_to {
        target.pruned = None;
        after_batch(connection, target, (0, folded_to)).await?;
    }
    Ok(())
}

fn expiry(target: &Target) -> Option<(&'static str, i64)> {
    let name = target.projection.schema().name;
    let found = EXPIRING.iter().find(|(table, ..)| *table == name);
    found.map(|(_, column, days)| (*column, *days))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_that_expire_have_the_columns() {
        for (table, column, _) in EXPIRING {
            let projection = crate::projection::named(table).unwrap();
            assert!(projection.schema().columns.contains(&column), "{table}");
        }
    }

    #[test]
    fn the_bound_moves_by_whole_hours_of_event_time() {
        let at: Timestamp = "2026-11-22T10:59:59.999999Z".parse().unwrap();
        let bound_of = |at| bound(at, KEPT_DAYS).to_rfc3339();
        assert_eq!(bound_of(at), "2026-08-24T10:00:00+00:00");
        assert_eq!(
            bound_of(at + TimeDelta::microseconds(1)),
            "2026-08-24T11:00:00+00:00"
        );
    }
}
