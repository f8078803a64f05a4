//! The bulk build: several readers walk ranges of the ledger, each feeding a fold, each feeding a writer that
//! copies into tables without indexes. The three work at the same time, and every statement is its own short
//! transaction.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::pace::Pace;
use super::pages::{Pages, Range};
use crate::domain::AggregateType;
use crate::ledger::LANE;
use crate::projection::cell::CopyBuffer;
use crate::projection::fold::Target;
use crate::projection::known::Resolver;
use crate::projection::{ProjectionError, Recorded, named};

/// How many bytes of rows are gathered for one COPY.
const CHUNK: usize = 2 * 1024 * 1024;
/// Ranges per worker: some are longer than others.
const RANGES: u32 = 8;
/// A ledger of fewer events is read as one range.
const SMALL: i64 = 20_000;

/// What a bulk build works on.
#[derive(Clone)]
pub(super) struct Bulk {
    pub(super) options: PgConnectOptions,
    pub(super) resolver: Resolver,
    /// The projection and its physical table.
    pub(super) tables: Vec<(&'static str, String)>,
    /// The aggregates that they are folded from.
    pub(super) kind: AggregateType,
    pub(super) upto: i64,
    pub(super) read: Arc<AtomicU64>,
}

type Queue = Arc<Mutex<VecDeque<Range>>>;
/// The place of a table in [`Bulk::tables`], and COPY data for it.
type Chunk = (usize, Vec<u8>);

impl Bulk {
    /// Reads everything and writes all rows.
    pub(super) async fn run(self) -> Result<(), ProjectionError> {
        let workers = super::workers();
        let mut connection = self.options.connect().await?;
        let ranges = self.ranges(&mut connection, workers * RANGES).await?;
        let queue: Queue = Arc::new(Mutex::new(ranges.into()));
        let mut tasks = JoinSet::new();
        for _ in 0..workers {
            let (pages, to_fold) = mpsc::channel(1);
            let (chunks, to_write) = mpsc::channel(2);
            tasks.spawn(self.clone().read(Arc::clone(&queue), pages));
            tasks.spawn(self.clone().fold(to_fold, chunks));
            tasks.spawn(self.clone().write(to_write));
        }
        super::join(tasks).await
    }

    async fn read(self, queue: Queue, pages: mpsc::Sender<Vec<Recorded>>) -> Result<(), ProjectionError> {
        let mut connection = self.options.connect().await?;
        let mut pace = Pace::start(&mut connection).await?;
        loop {
            let Some(range) = queue.lock().await.pop_front() else {
                return Ok(());
            };
            let mut range = Pages::of(range);
            while let Some(page) = range.next(&mut connection).await? {
                pace.rest(&mut connection).await?;
                self.read
                    .fetch_add(u64::try_from(page.len()).unwrap_or_default(), Ordering::Relaxed);
                // Closed: the fold failed and says why.
                if pages.send(page).await.is_err() {
                    return Ok(());
                }
            }
        }
    }

    async fn fold(
        self,
        mut pages: mpsc::Receiver<Vec<Recorded>>,
        chunks: mpsc::Sender<Chunk>,
    ) -> Result<(), ProjectionError> {
        let mut connection = self.options.connect().await?;
        let mut folds = self.folds();
        let mut last = None;
        while let Some(page) = pages.recv().await {
            let mut known = self.resolver.resolve(&mut connection, &page).await?;
            if self.kind == AggregateType::User {
                let mut ids: Vec<Uuid> = page.iter().map(|event| event.aggregate_id).collect();
                ids.dedup();
                self.resolver.add_keys(&mut known, &ids).await?;
            }
            if self.takes_all() {
                self.resolver
                    .add_origins(&mut connection, &mut known, &page)
                    .await?;
            }
            for event in &page {
                if last.replace(event.aggregate_id) != Some(event.aggregate_id) {
                    finish(&mut folds)?;
                }
                for (target, _) in &mut folds {
                    target.projection.fold(event, &known);
                }
            }
            if !pass_on(&mut folds, &chunks, CHUNK).await {
                return Ok(());
            }
        }
        finish(&mut folds)?;
        pass_on(&mut folds, &chunks, 1).await;
        Ok(())
    }

    /// Whether one of its tables is made of every event.
    fn takes_all(&self) -> bool {
        let mut names = self.tables.iter().map(|(name, _)| named(name));
        names.any(|projection| projection.is_some_and(|projection| projection.takes_all()))
    }

    fn folds(&self) -> Vec<(Target, CopyBuffer)> {
        self.tables
            .iter()
            .filter_map(|(name, table)| {
                let target = Target::new(named(name)?, table.clone());
                Some((target, CopyBuffer::default()))
            })
            .collect()
    }

    async fn write(self, mut chunks: mpsc::Receiver<Chunk>) -> Result<(), ProjectionError> {
        let mut connection = self.options.connect().await?;
        let statements: Vec<String> = self
            .tables
            .iter()
            .filter_map(|(name, table)| {
                let columns = named(name)?.schema().column_list();
                Some(format!(
                    "COPY public.{table} ({columns}) FROM STDIN (FORMAT binary)"
                ))
            })
            .collect();
        while let Some((place, bytes)) = chunks.recv().await {
            let Some(statement) = statements.get(place) else {
                return Err(ProjectionError::Interrupted);
            };
            let mut copy = connection.copy_in_raw(statement).await?;
            copy.send(bytes).await?;
            copy.finish().await?;
        }
        Ok(())
    }

    /// The aggregates cut into ranges of about the same number of events.
    async fn ranges(&self, connection: &mut PgConnection, count: u32) -> Result<Vec<Range>, ProjectionError> {
        let mut bounds = if self.upto < SMALL {
            Vec::new()
        } else if self.kind == AggregateType::Grant {
            sampled(connection, self.upto, count).await?
        } else {
            even(count)
        };
        bounds.sort_unstable();
        bounds.dedup();
        let lowers = std::iter::once(Uuid::nil()).chain(bounds.iter().copied());
        let uppers = bounds.iter().copied().map(Some).chain([None]);
        Ok(lowers
            .zip(uppers)
            .map(|(lower, upper)| Range {
                kind: self.kind,
                only: &[],
                lower,
                upper,
                upto: self.upto,
                sources: self.takes_all(),
            })
            .collect())
    }
}

/// Grants' ids begin with their birth: those that were busy at evenly spaced positions are good bounds.
async fn sampled(connection: &mut PgConnection, upto: i64, count: u32) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT (SELECT aggregate_id FROM grantlog.ledger_grant \
                 WHERE lane = $1 AND position > $2 * part / $3 AND aggregate_type = 'grant' \
                 ORDER BY position LIMIT 1) \
         FROM generate_series(1, $3 - 1) AS part",
    )
    .bind(LANE)
    .bind(upto)
    .bind(i64::from(count))
    .fetch_all(connection)
    .await
    .map(|bounds: Vec<Option<Uuid>>| bounds.into_iter().flatten().collect())
}

/// Random ids are spread evenly.
fn even(count: u32) -> Vec<Uuid> {
    (1..u128::from(count))
        .map(|part| Uuid::from_u128(u128::MAX / u128::from(count) * part))
        .collect()
}

/// The aggregate before is complete: its rows are final.
fn finish(folds: &mut [(Target, CopyBuffer)]) -> Result<(), ProjectionError> {
    for (target, buffer) in folds {
        target.projection.settle();
        target.projection.rows(buffer)?;
    }
    Ok(())
}

/// Hands chunks of at least that size to the writer; false where it is gone.
async fn pass_on(folds: &mut [(Target, CopyBuffer)], chunks: &mpsc::Sender<Chunk>, size: usize) -> bool {
    for (place, (_, buffer)) in folds.iter_mut().enumerate() {
        if buffer.len() >= size
            && let Some(bytes) = buffer.take()
            && chunks.send((place, bytes)).await.is_err()
        {
            return false;
        }
    }
    true
}
