//! Reading the ledger for rules.

use std::collections::BTreeSet;

use sqlx::PgConnection;

use super::PolicyError;
use super::observed::{Columns, Kinds, Observed};
use crate::clock::Timestamp;
use crate::domain::event::Event;
use crate::ledger::{CopiedRows, LANE, copy_out, head_position};

/// Bytes that an event takes in a copy, about.
const EVENT_BYTES: usize = 1_024;
/// Events that room is made for at once.
const MOST: usize = 8_192;

/// The events of these kinds after a position, up to another, in order.
pub(super) async fn between(
    connection: &mut PgConnection,
    (after, upto): (i64, i64),
    wants: Kinds,
) -> Result<Vec<Observed>, PolicyError> {
    let kinds = wants.names().map(|names| {
        let schemas = Event::schemas().into_iter();
        let of_kind = schemas.filter(|schema| names.contains(&schema.event_type));
        let aggregates: BTreeSet<_> = of_kind.map(|schema| schema.aggregate).collect();
        // With the types of aggregates only their partitions are read.
        format!(
            "AND event_type IN ('{}') AND aggregate_type IN ('{}')",
            names.join("', '"),
            Vec::from_iter(aggregates).join("', '")
        )
    });
    // Only numbers and names of ours are written into it: COPY takes no parameters.
    let statement = format!(
        "COPY (SELECT position, recorded_at, aggregate_type, aggregate_id, event_type, payload, metadata \
         FROM grantlog.ledger WHERE lane = {LANE} AND position > {after} AND position <= {upto} {} ORDER BY position) \
         TO STDOUT (FORMAT binary)",
        kinds.unwrap_or_default()
    );
    let most = usize::try_from(upto - after).unwrap_or_default().min(MOST);
    let bytes = copy_out(connection, &statement, most * EVENT_BYTES).await?;
    let mut rows = CopiedRows::begin(&bytes)?;
    let mut events = Vec::with_capacity(bytes.len() / EVENT_BYTES);
    while rows.next(7)? {
        let columns = Columns {
            position: rows.bigint()?,
            at: rows.moment()?,
            aggregate_type: rows.text()?,
            aggregate: rows.uuid()?,
            event_type: rows.text()?,
            payload: rows.text()?,
            metadata: rows.text()?,
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
