//! Reading the ledger in primary-key order, a page at a time: every page is a statement of its own, so no
//! snapshot stays open and the head row stays small however long a rebuild takes.

use std::future::poll_fn;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::domain::AggregateType;
use crate::domain::event::Event;
use crate::ledger::LANE;
use crate::projection::cell::POSTGRES_EPOCH_MICROS;
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
        let bytes = copy_out(connection, &self.statement()).await?;
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

async fn copy_out(connection: &mut PgConnection, statement: &str) -> Result<Vec<u8>, ProjectionError> {
    let mut stream = connection.copy_out_raw(statement).await?;
    let mut bytes = Vec::with_capacity(PAGE * 512);
    while let Some(chunk) = poll_fn(|context| stream.as_mut().poll_next(context)).await {
        bytes.extend_from_slice(&chunk?);
    }
    Ok(bytes)
}

/// Takes binary COPY data apart (PostgreSQL manual, "COPY", binary format).
fn decode(kind: AggregateType, sources: bool, bytes: &[u8]) -> Result<Vec<Recorded>, ProjectionError> {
    let mut bytes = Bytes(bytes);
    bytes.take(b"PGCOPY\n\xff\r\n\0".len() + 4)?;
    let extension = bytes.int4()?;
    bytes.take(usize::try_from(extension).map_err(|_| ProjectionError::Copy)?)?;
    let mut events = Vec::with_capacity(PAGE);
    // A row's number of fields, or -1 at the end.
    let fields = if sources { 8 } else { 7 };
    while bytes.int2()? == fields {
        let aggregate_id = Uuid::from_bytes(bytes.array()?);
        let sequence = i64::from_be_bytes(bytes.array()?);
        let position = i64::from_be_bytes(bytes.array()?);
        let event_type = bytes.text()?;
        let version = i16::from_be_bytes(bytes.array()?);
        let payload = bytes.text()?;
        let micros = i64::from_be_bytes(bytes.array()?);
        let metadata = if sources { Some(bytes.text()?) } else { None };
        events.push(Recorded {
            position,
            aggregate_id,
            sequence: i32::try_from(sequence).unwrap_or(i32::MAX),
            recorded_at: Timestamp::from_timestamp_micros(micros.saturating_add(POSTGRES_EPOCH_MICROS))
                .ok_or(ProjectionError::Copy)?,
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

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], ProjectionError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(ProjectionError::Copy)?;
        self.0 = rest;
        Ok(taken)
    }

    fn int2(&mut self) -> Result<i16, ProjectionError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(ProjectionError::Copy)?;
        self.0 = rest;
        Ok(i16::from_be_bytes(*taken))
    }

    fn int4(&mut self) -> Result<i32, ProjectionError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(ProjectionError::Copy)?;
        self.0 = rest;
        Ok(i32::from_be_bytes(*taken))
    }

    /// A field of any length. None of ours is null.
    fn field(&mut self) -> Result<&'a [u8], ProjectionError> {
        let len = usize::try_from(self.int4()?).map_err(|_| ProjectionError::Copy)?;
        self.take(len)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProjectionError> {
        self.field()?.try_into().map_err(|_| ProjectionError::Copy)
    }

    fn text(&mut self) -> Result<&'a str, ProjectionError> {
        std::str::from_utf8(self.field()?).map_err(|_| ProjectionError::Copy)
    }
}
