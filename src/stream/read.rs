//! Reading what comes next, as far as it passes a filter.

use sqlx::{PgExecutor, Postgres, QueryBuilder};

use super::course::Window;
use super::envelope::{Checkpoint, Envelope};
use crate::domain::stream::StreamFilter;
use crate::evidence::leaf::{COLUMNS, Row};
use crate::evidence::{EvidenceError, store as evidence};
use crate::ledger::LANE;

/// How many positions are looked at at once.
pub const WINDOW: i64 = 5_000;

/// The events after a position that pass the filter, at most `limit`, from the next [`WINDOW`] positions up to the
/// ledger's last; and up to where none is missing.
pub async fn next(
    executor: impl PgExecutor<'_>,
    filter: &StreamFilter,
    (after, head): (i64, i64),
    limit: u32,
) -> Result<(Vec<Envelope>, Window), sqlx::Error> {
    let upto = head.min(after + WINDOW);
    let mut query = QueryBuilder::<Postgres>::new(format!("SELECT {COLUMNS} FROM grantlog.ledger AS l"));
    query.push(" WHERE l.lane = ").push_bind(LANE);
    query.push(" AND l.position > ").push_bind(after);
    query.push(" AND l.position <= ").push_bind(upto);
    narrow(&mut query, filter);
    query
        .push(" ORDER BY l.position LIMIT ")
        .push_bind(i64::from(limit));
    let rows: Vec<Row> = query.build_query_as().fetch_all(executor).await?;
    let events: Vec<Envelope> = rows.into_iter().map(|row| Envelope { row }).collect();
    let positions: Vec<i64> = events.iter().map(Envelope::position).collect();
    // A full page ends with its last event; there may be more behind it.
    let full = positions.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let upto = match positions.last() {
        Some(last) if full => *last,
        Some(_) | None => upto.max(after),
    };
    Ok((events, Window { positions, upto }))
}

fn narrow(query: &mut QueryBuilder<'_, Postgres>, filter: &StreamFilter) {
    if !filter.types.is_empty() {
        query
            .push(" AND l.event_type = ANY (")
            .push_bind(filter.types.clone())
            .push(")");
    }
    if !filter.aggregates.is_empty() {
        query
            .push(" AND l.aggregate_type = ANY (")
            .push_bind(filter.aggregates.clone())
            .push(")");
    }
    if filter.clients.is_empty() {
        return;
    }
    let ids: Vec<uuid::Uuid> = filter.clients.iter().map(|client| client.0).collect();
    let names: Vec<String> = filter.clients.iter().map(ToString::to_string).collect();
    let actors: Vec<String> = names.iter().map(|name| format!("client:{name}")).collect();
    query
        .push(" AND ((l.aggregate_type = 'client' AND l.aggregate_id = ANY (")
        .push_bind(ids)
        .push(")) OR l.payload->>'client' = ANY (")
        .push_bind(names.clone())
        .push(") OR l.metadata->>'actor' = ANY (")
        .push_bind(actors)
        // Only a grant's first event names its client.
        .push(
            ") OR (l.aggregate_type = 'grant' AND EXISTS (SELECT FROM grantlog.ledger_grant AS f \
             WHERE f.lane = l.lane AND f.aggregate_type = 'grant' AND f.aggregate_id = l.aggregate_id \
             AND f.sequence = 1 AND f.payload->>'client' = ANY (",
        )
        .push_bind(names)
        .push("))))");
}

/// The event at a position; none where there is none any more.
pub async fn at(executor: impl PgExecutor<'_>, position: i64) -> Result<Option<Envelope>, sqlx::Error> {
    let query = format!("SELECT {COLUMNS} FROM grantlog.ledger WHERE lane = $1 AND position = $2");
    let row: Option<Row> = sqlx::query_as(&query)
        .bind(LANE)
        .bind(position)
        .fetch_optional(executor)
        .await?;
    Ok(row.map(|row| Envelope { row }))
}

/// The last signed checkpoint; none before the first.
pub async fn checkpoint(executor: impl PgExecutor<'_>) -> Result<Option<Checkpoint>, EvidenceError> {
    let log = evidence::read(executor).await?;
    let size = i64::try_from(log.size).unwrap_or(i64::MAX);
    Ok((!log.note.is_empty()).then_some(Checkpoint { size, note: log.note }))
}
