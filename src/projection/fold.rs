//! One batch: events by position, folded by any number of projections and written, within the caller's
//! transaction.

use std::collections::BTreeSet;

use sqlx::PgConnection;
use uuid::Uuid;

use super::Projection;
use super::cell::Columns;
use super::error::ProjectionError;
use super::known::{Known, Resolver};
use super::recorded::Recorded;
use super::{prune, read};
use crate::clock::Timestamp;
use crate::domain::AggregateType;
use crate::domain::event::Event;

/// The most events in one batch; each has 60 KiB at the most.
pub(super) const BATCH: i64 = 2_000;

/// A projection and the physical table it is folded into.
pub(super) struct Target {
    pub(super) projection: Box<dyn Projection>,
    pub(super) table: String,
    /// What expired before this is pruned ([`super::prune`]); none where that is not known.
    pub(super) pruned: Option<Timestamp>,
}

impl Target {
    pub(super) fn new(projection: Box<dyn Projection>, table: String) -> Self {
        Self {
            projection,
            table,
            pruned: None,
        }
    }
}

/// How far a batch came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Folded {
    /// The last position that was folded.
    pub(super) last: i64,
    /// How many events there were.
    pub(super) events: usize,
}

/// Why a batch failed, and whose fault it was; none where no projection could have gone on.
#[derive(Debug)]
pub(super) struct FoldError {
    pub(super) culprit: Option<&'static str>,
    pub(super) error: ProjectionError,
}

impl<E: Into<ProjectionError>> From<E> for FoldError {
    fn from(error: E) -> Self {
        Self {
            culprit: None,
            error: error.into(),
        }
    }
}

/// Folds the events after a position, at most [`BATCH`] of them and none after `upto`.
pub(super) async fn fold_batch(
    connection: &mut PgConnection,
    resolver: &Resolver,
    (after, upto): (i64, i64),
    targets: &mut [Target],
) -> Result<Folded, FoldError> {
    let events = read::by_position(connection, after, upto, BATCH).await?;
    let Some((last, folded_to)) = events.last().map(|event| (event.position, event.recorded_at)) else {
        return Ok(Folded {
            last: after,
            events: 0,
        });
    };
    let mut known = resolver.resolve(connection, &events).await?;
    if targets.iter().any(|target| target.projection.takes_all()) {
        resolver.add_origins(connection, &mut known, &events).await?;
    }
    for target in targets.iter_mut() {
        let folded = match target.projection.whole() {
            None => fold_events(connection, &events, &known, target).await,
            Some(kind) => {
                let ids = of_kind(&events, kind);
                fold_whole(connection, resolver, (kind, &ids, last), target).await
            }
        };
        let folded = match folded {
            Ok(()) => prune::after_batch(connection, target, (after, folded_to))
                .await
                .map_err(ProjectionError::from),
            failed @ Err(_) => failed,
        };
        folded.map_err(|error| FoldError {
            culprit: Some(target.projection.schema().name),
            error,
        })?;
    }
    Ok(Folded {
        last,
        events: events.len(),
    })
}

/// Rows first, then what the events change in them and in older ones.
pub(super) async fn fold_events(
    connection: &mut PgConnection,
    events: &[Recorded],
    known: &Known,
    target: &mut Target,
) -> Result<(), ProjectionError> {
    for event in events {
        target.projection.fold(event, known);
    }
    write(connection, target).await
}

/// Folds aggregates anew from their first event, and replaces their rows.
async fn fold_whole(
    connection: &mut PgConnection,
    resolver: &Resolver,
    (kind, ids, upto): (AggregateType, &[Uuid], i64),
    target: &mut Target,
) -> Result<(), ProjectionError> {
    if ids.is_empty() {
        return Ok(());
    }
    let events = read::histories(connection, kind, ids, upto).await?;
    let mut known = Known::default();
    if kind == AggregateType::User {
        resolver.add_keys(&mut known, ids).await?;
    }
    fold_events(connection, &events, &known, target).await
}

async fn write(connection: &mut PgConnection, target: &mut Target) -> Result<(), ProjectionError> {
    let Target {
        projection, table, ..
    } = target;
    let mut rows = Columns::default();
    projection.rows(&mut rows)?;
    rows.upsert(connection, projection.schema(), table).await?;
    for change in projection.changes()? {
        change.apply(connection, table).await?;
    }
    Ok(())
}

/// The aggregates of one type that have an event here.
fn of_kind(events: &[Recorded], kind: AggregateType) -> Vec<Uuid> {
    let ids: BTreeSet<Uuid> = events
        .iter()
        .filter(|event| kind_of(&event.event) == kind)
        .map(|event| event.aggregate_id)
        .collect();
    ids.into_iter().collect()
}

fn kind_of(event: &Event) -> AggregateType {
    match event {
        Event::Client(_) => AggregateType::Client,
        Event::Scope(_) => AggregateType::Scope,
        Event::User(_) => AggregateType::User,
        Event::Session(_) => AggregateType::Session,
        Event::Consent(_) => AggregateType::Consent,
        Event::Grant(_) => AggregateType::Grant,
        Event::Refusal(_) => AggregateType::Refusal,
        Event::SigningKey(_) => AggregateType::SigningKey,
        Event::Trail(_) => AggregateType::Trail,
        Event::InitialAccessToken(_) => AggregateType::InitialAccessToken,
        Event::TrustedIssuer(_) => AggregateType::TrustedIssuer,
        Event::SsfStream(_) => AggregateType::SsfStream,
        Event::Policy(_) => AggregateType::Policy,
        Event::Alert(_) => AggregateType::Alert,
        Event::AuthorizationDetailType(_) => AggregateType::AuthorizationDetailType,
        Event::Stream(_) => AggregateType::Stream,
        Event::Network(_) => AggregateType::Network,
        Event::TokenUse(_) => AggregateType::TokenUse,
    }
}
