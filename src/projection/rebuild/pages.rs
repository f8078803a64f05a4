//! Reading the ledger in primary-key order, a page at a time: every page is a statement of its own, so no
//! snapshot stays open and the head row stays small however long a rebuild takes.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::AggregateType;
use crate::domain::event::Event;
use crate::ledger::{CopiedRows, LANE, copy_out};
use crate::projection::recorded::Source;
use crate::projection::{ProjectionError, Recorded};

/// Events per page.
const PAGE: usize = 8_192;

/// What is read: the aggregates of one type with ids in `lower .. upper`.
#[derive(Clone, Debug)]
pub(crate) struct Range {
    pub(crate) kind: AggregateType,
    /// Only events of these types; empty for all.
    pub(crate) only: &'static [&'static str],
    pub(crate) lower: Uuid,
    /// Not included; none for no bound.
    pub(crate) upper: Option<Uuid>,
    /// No event after this position.
    pub(crate) upto: i64,
    /// Whether with their sources.
    pub(crate) sources: bool,
}

/// A place in a range: the last event that was read.
#[derive(Clone, Copy, Debug)]
struct Place {
    aggregate_id: Uuid,
    sequence: i32,
}

/// Reads a range page by page.
pub(crate) struct Pages {
    range: Range,
    after: Option<Place>,
    ended: bool,
}

impl Pages {
    pub(crate) fn of(range: Range) -> Self {
        Self {
            range,
            after: None,
            ended: false,
        }
    }

    /// The next page; none at the end.
    pub(crate) async fn next(
        &mut self,
        connection: &mut PgConnection,
    ) -> Result<Option<Vec<Recorded>>, ProjectionError> {
        if self.ended {
            return Ok(None);
        }
        let bytes = copy_out(connection, &self.statement(), PAGE * 512).await?;
        let page = decode(self.range.kind, self.range.sources, &bytes)?;
        self.ended = page.len() < PAGE;
        self.after = page.last().map(|event| Place {
            aggregate_id: event.aggregate_id,
            sequence: event.sequence,
        });
        Ok(Some(page).filter(|page| !page.is_empty()))
    }

    /// Only numbers, uuids and names of ours are written into it: COPY takes no parameters.
    fn statement(&self) -> String {
        let Range {
            kind,
            only,
            lower,
            upper,
            upto,
            sources,
        } = &self.range;
        let metadata = if *sources { ", metadata" } else { "" };
        let kind = kind.name();
        let mut conditions = vec![
            format!("lane = {LANE} AND aggregate_type = '{kind}' AND position <= {upto}"),
            // The whole-id bound lets the planner leave out partitions that the pair alone would not.
            match self.after {
                None => format!("aggregate_id >= '{lower}'"),
                Some(Place {
                    aggregate_id,
                    sequence,
                }) => format!(
                    "aggregate_id >= '{aggregate_id}' AND (aggregate_id, sequence) > ('{aggregate_id}', {sequence})"
                ),
            },
        ];
        conditions.extend(upper.map(|upper| format!("aggregate_id < '{upper}'")));
        if !only.is_empty() {
            conditions.push(format!("event_type IN ('{}')", only.join("', '")));
        }
        format!(
            "COPY (SELECT aggregate_id, sequence, position, event_type, event_version, payload, recorded_at{metadata} \
             FROM grantlog.ledger_{kind} WHERE {} ORDER BY aggregate_id, sequence LIMIT {PAGE}) \
             TO STDOUT (FORMAT binary)",
            conditions.join(" AND ")
        )
    }
}

/// Takes such data apart.
fn decode(kind: AggregateType, sources: bool, bytes: &[u8]) -> Result<Vec<Recorded>, ProjectionError> {
    let mut rows = CopiedRows::begin(bytes)?;
    let mut events = Vec::with_capacity(PAGE);
    while rows.next(if sources { 8 } else { 7 })? {
        let aggregate_id = rows.uuid()?;
        let sequence = rows.bigint()?;
        let position = rows.bigint()?;
        let event_type = rows.text()?;
        let version = rows.smallint()?;
        let payload = rows.text()?;
        let recorded_at = rows.moment()?;
        let metadata = if sources { Some(rows.text()?) } else { None };
        events.push(Recorded {
            position,
            aggregate_id,
            sequence: i32::try_from(sequence).unwrap_or(i32::MAX),
            recorded_at,
            event: Event::decode(kind.name(), event_type, version, payload)?,
            source: metadata.map(|metadata| {
                Box::new(Source {
                    kind,
                    event_type: event_type.to_owned(),
                    payload: payload.to_owned(),
                    metadata: metadata.to_owned(),
                })
            }),
        });
    }
    Ok(events)
}
