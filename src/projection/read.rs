//! Reading events from the ledger for projections.

use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;
use uuid::Uuid;

use super::error::ProjectionError;
use super::recorded::{Recorded, Source};
use crate::clock::Timestamp;
use crate::domain::AggregateType;
use crate::domain::event::Event;
use crate::ledger::LANE;

/// The last column is the metadata, where it was asked for.
type Row = (
    i64,
    String,
    Uuid,
    i64,
    String,
    i16,
    String,
    Timestamp,
    Option<String>,
);

fn decode(row: Row) -> Result<Recorded, ProjectionError> {
    let (
        position,
        aggregate_type,
        aggregate_id,
        sequence,
        event_type,
        version,
        payload,
        recorded_at,
        metadata,
    ) = row;
    let event = Event::decode(&aggregate_type, &event_type, version, &payload)?;
    let source = metadata.zip(AggregateType::parse(&aggregate_type));
    Ok(Recorded {
        position,
        aggregate_id,
        sequence: i32::try_from(sequence).unwrap_or(i32::MAX),
        recorded_at,
        event,
        source: source.map(|(metadata, kind)| {
            Box::new(Source {
                kind,
                event_type,
                payload,
                metadata,
            })
        }),
    })
}

/// The next events after a position, up to another, with their sources. None beyond the head: an event there was never
/// appended, and whoever folded it would skip all that is to come before it.
pub(super) async fn by_position(
    connection: &mut PgConnection,
    after: i64,
    upto: i64,
    limit: i64,
) -> Result<Vec<Recorded>, ProjectionError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload::text, \
                recorded_at, metadata::text \
         FROM grantlog.ledger WHERE lane = $1 AND position > $2 \
           AND position <= least($3, (SELECT h.position FROM grantlog.head AS h WHERE h.lane = $1)) \
         ORDER BY position LIMIT $4",
    )
    .bind(LANE)
    .bind(after)
    .bind(upto)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(decode).collect()
}

/// Every event up to a position of some aggregates, each aggregate's together and in order.
pub(super) async fn histories(
    connection: &mut PgConnection,
    kind: AggregateType,
    ids: &[Uuid],
    upto: i64,
) -> Result<Vec<Recorded>, ProjectionError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload::text, \
                recorded_at, NULL \
         FROM grantlog.ledger_{kind} WHERE lane = $1 AND aggregate_type = '{kind}' AND aggregate_id = ANY ($2) \
           AND position <= $3 ORDER BY aggregate_id, sequence",
        kind = kind.name()
    );
    let rows: Vec<Row> = sqlx::query_as(&sql)
        .bind(LANE)
        .bind(ids)
        .bind(upto)
        .fetch_all(connection)
        .await?;
    rows.into_iter().map(decode).collect()
}

/// A connection's options for folding: everything is an index probe whatever the planner believes of tables
/// that it has not analysed, and a commit need not wait for the disk, since what a crash takes from a table it
/// takes from the cursor too.
pub(super) fn folding(options: &PgConnectOptions) -> PgConnectOptions {
    options.clone().application_name("grantlog projections").options([
        ("plan_cache_mode", "force_generic_plan"),
        ("synchronous_commit", "off"),
        ("enable_seqscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
        ("jit", "off"),
    ])
}
