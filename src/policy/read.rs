//! Reading the ledger for rules.

use sqlx::{PgConnection, Row as _};

use super::PolicyError;
use super::observed::{Columns, Kinds, Observed};
use crate::clock::Timestamp;
use crate::ledger::{LANE, head_position};

/// The events of these kinds after a position, up to another, in order.
pub(super) async fn between(
    connection: &mut PgConnection,
    (after, upto): (i64, i64),
    wants: Kinds,
) -> Result<Vec<Observed>, PolicyError> {
    let query = format!(
        "SELECT position, recorded_at, aggregate_type, aggregate_id, event_type, payload::text, metadata::text \
         FROM grantlog.ledger WHERE lane = $1 AND position > $2 AND position <= $3 {} ORDER BY position",
        if wants.all {
            ""
        } else {
            "AND event_type = ANY ($4)"
        }
    );
    let mut asked = sqlx::query(&query).bind(LANE).bind(after).bind(upto);
    if let Some(names) = wants.names() {
        asked = asked.bind(names);
    }
    let rows = asked.fetch_all(connection).await?;
    let mut events = Vec::with_capacity(rows.len());
    for row in rows {
        let columns = Columns {
            position: row.try_get(0)?,
            at: row.try_get(1)?,
            aggregate_type: row.try_get(2)?,
            aggregate: row.try_get(3)?,
            event_type: row.try_get(4)?,
            payload: row.try_get(5)?,
            metadata: row.try_get(6)?,
        };
        events.push(Observed::read(&columns, wants.all));
    }
    Ok(events)
}

/// Where the ledger ends.
pub(super) async fn head(connection: &mut PgConnection) -> Result<i64, PolicyError> {
    Ok(head_position(connection).await?)
}

/// When the event at a position was recorded; none where there is no such event.
pub(super) async fn recorded_at(
    connection: &mut PgConnection,
    position: i64,
) -> Result<Option<Timestamp>, PolicyError> {
    Ok(
        sqlx::query_scalar("SELECT recorded_at FROM grantlog.ledger WHERE lane = $1 AND position = $2")
            .bind(LANE)
            .bind(position)
            .fetch_optional(connection)
            .await?,
    )
}

/// The last position up to `upto` that was recorded before `at`; 0 where there is none. Time does not run backwards in
/// the order of positions, so halving finds it.
pub(super) async fn before(
    connection: &mut PgConnection,
    at: Timestamp,
    upto: i64,
) -> Result<i64, PolicyError> {
    let (mut low, mut high) = (0, upto);
    while low < high {
        let middle = low + (high - low + 1) / 2;
        let recorded: Option<(i64, Timestamp)> = sqlx::query_as(
            "SELECT position, recorded_at FROM grantlog.ledger \
             WHERE lane = $1 AND position >= $2 AND position <= $3 ORDER BY position LIMIT 1",
        )
        .bind(LANE)
        .bind(middle)
        .bind(high)
        .fetch_optional(&mut *connection)
        .await?;
        match recorded {
            Some((position, recorded)) if recorded < at => low = position,
            // Detached ranges have no events here.
            Some(_) | None => high = middle - 1,
        }
    }
    Ok(low)
}
