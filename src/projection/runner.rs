//! The live fold: a task per node that follows the ledger. Of several nodes the one that holds a cursor's row
//! folds; the others pass by it (`SKIP LOCKED`), so a node that dies is succeeded by whoever comes next.
//!
//! Rows and cursors move in one transaction: each event is folded exactly once, whatever dies when.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::error::ProjectionError;
use super::fold::{self, FoldError, Target, fold_batch};
use super::known::Resolver;
use super::status::{self, ProjectionStatus};
use super::{Schema, install, named, read};
use crate::ledger::Ledger;

/// How often the head is looked at where no local commit announces itself: other nodes append too.
const POLL: Duration = Duration::from_millis(40);
/// The pause after a batch of many events, so that the next is worth its statements.
const BUSY: Duration = Duration::from_millis(50);
/// The pause after a batch of few.
const CALM: Duration = Duration::from_millis(5);
/// From how many events on a batch is one of many.
const MANY: usize = 32;
/// How long to wait before a projection that failed, or a database that is gone, is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(15));

/// The handle to the task that folds. It stops when all handles are dropped.
#[derive(Clone)]
pub struct ProjectionRunner {
    shared: Arc<Shared>,
}

struct Shared {
    pool: PgPool,
    stop: watch::Sender<bool>,
    reached: watch::Receiver<Reached>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// What everybody has seen of the ledger.
#[derive(Clone, Debug, Default)]
struct Reached {
    position: i64,
    stuck: Option<(String, String)>,
}

impl ProjectionRunner {
    /// Starts the task. On the first start it creates the tables, the views and the cursors.
    #[must_use]
    pub fn start(ledger: &Ledger) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (reach, reached) = watch::channel(Reached::default());
        let worker = Worker {
            options: read::folding(&ledger.pool().connect_options()),
            connection: None,
            resolver: Resolver::new(ledger.vault().clone()),
            targets: HashMap::new(),
            resting: HashMap::new(),
            head: ledger.head(),
            stopped,
            reach,
        };
        let task = tokio::spawn(worker.run());
        Self {
            shared: Arc::new(Shared {
                pool: ledger.pool().clone(),
                stop,
                reached,
                task: Mutex::new(Some(task)),
            }),
        }
    }

    /// Waits until every projection shows the events up to a position. Fails where one of them stands still.
    pub async fn wait_for(&self, position: i64) -> Result<(), ProjectionError> {
        let mut reached = self.shared.reached.clone();
        loop {
            let arrived = reached
                .wait_for(|reached| reached.position >= position || reached.stuck.is_some())
                .await
                .map_err(|_| ProjectionError::Stopped)?
                .position
                >= position;
            if arrived {
                return Ok(());
            }
            // What the task saw may be over: a rebuild mends what stands still.
            if let Some((name, why)) = stuck(&self.status().await?) {
                return Err(ProjectionError::StandsStill(name, why));
            }
            reached.changed().await.map_err(|_| ProjectionError::Stopped)?;
        }
    }

    /// Where each projection stands.
    pub async fn status(&self) -> Result<Vec<ProjectionStatus>, ProjectionError> {
        status::status(&self.shared.pool).await
    }

    /// Ends the task after the batch that it is in.
    pub async fn stop(&self) {
        self.shared.stop.send_replace(true);
        if let Some(task) = self.shared.task.lock().await.take() {
            let _ = task.await;
        }
    }
}

struct Worker {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
    resolver: Resolver,
    /// The folds, kept between batches.
    targets: HashMap<&'static str, Target>,
    /// Projections that failed: until when they rest, and for how long the next time.
    resting: HashMap<&'static str, (Instant, Duration)>,
    head: watch::Receiver<i64>,
    stopped: watch::Receiver<bool>,
    reach: watch::Sender<Reached>,
}

/// A cursor that is behind the head and may be moved by this build.
struct Due {
    schema: &'static Schema,
    position: i64,
}

impl Worker {
    async fn run(mut self) {
        let mut pause = RETRY.0;
        loop {
            let wait = match self.round().await {
                Ok(folded) => {
                    pause = RETRY.0;
                    folded.map(|events| if events < MANY { CALM } else { BUSY })
                }
                Err(error) => {
                    tracing::warn!(%error, "projections cannot be folded, trying again");
                    self.connection = None;
                    pause = (pause * 2).min(RETRY.1);
                    Some(pause)
                }
            };
            if self.rest(wait).await {
                return;
            }
        }
    }

    /// Waits for the time given, or for something to do; true when it is time to end.
    async fn rest(&mut self, wait: Option<Duration>) -> bool {
        let Self { head, stopped, .. } = self;
        tokio::select! {
            ended = stopped.changed() => ended.is_err() || *stopped.borrow(),
            // A ledger that is closed announces nothing any more: the timer goes on.
            Ok(()) = head.changed(), if wait.is_none() => false,
            () = tokio::time::sleep(wait.unwrap_or(POLL)) => false,
        }
    }

    /// Folds one batch for each group of projections that stand at the same position. Returns how many events
    /// the longest had; none where there was nothing to do.
    async fn round(&mut self) -> Result<Option<usize>, ProjectionError> {
        let mut connection = self.connect().await?;
        let seen = status::read(&mut connection).await?;
        self.announce(&seen);
        let due = self.due(&seen);
        let mut groups: BTreeMap<i64, Vec<&'static Schema>> = BTreeMap::new();
        for due in due {
            groups.entry(due.position).or_default().push(due.schema);
        }
        let mut most = None;
        let positions: Vec<i64> = groups.keys().copied().skip(1).chain([i64::MAX]).collect();
        for ((position, group), upto) in groups.into_iter().zip(positions) {
            match self.fold_group(&mut connection, &group, (position, upto)).await {
                Ok(events) => most = most.max(events),
                Err(failed) if failed.error.is_passing() => return Err(failed.error),
                Err(failed) => self.set_aside(&mut connection, &group, position, failed).await?,
            }
        }
        self.connection = Some(connection);
        Ok(most)
    }

    async fn connect(&mut self) -> Result<PgConnection, ProjectionError> {
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        let mut connection = self.options.connect().await?;
        install::install(&mut connection).await?;
        Ok(connection)
    }

    fn due(&self, seen: &[ProjectionStatus]) -> Vec<Due> {
        let now = Instant::now();
        seen.iter()
            .filter(|status| status.current && status.lag > 0)
            .filter_map(|status| {
                let schema = named(&status.name)?.schema();
                // Not where a rebuild has mended it meanwhile.
                let rests = status.error.is_some()
                    && self
                        .resting
                        .get(schema.name)
                        .is_some_and(|(until, _)| now < *until);
                (!rests).then_some(Due {
                    schema,
                    position: status.position,
                })
            })
            .collect()
    }

    fn announce(&self, seen: &[ProjectionStatus]) {
        for status in seen {
            metrics::gauge!("grantlog_projection_lag_events", "projection" => status.name.clone())
                .set(f64::from(u32::try_from(status.lag).unwrap_or(u32::MAX)));
        }
        let position = seen.iter().map(|status| status.position).min().unwrap_or(0);
        let stuck = stuck(seen);
        self.reach.send_if_modified(|reached| {
            let changed = reached.position != position || reached.stuck != stuck;
            *reached = Reached { position, stuck };
            changed
        });
    }

    /// One batch in one transaction, for those of the group whose cursors no other node holds.
    async fn fold_group(
        &mut self,
        connection: &mut PgConnection,
        group: &[&'static Schema],
        (position, upto): (i64, i64),
    ) -> Result<Option<usize>, FoldError> {
        let mut transaction = connection.begin().await?;
        let held = hold(&mut transaction, group, position).await?;
        let mut targets: Vec<Target> = held
            .into_iter()
            .filter_map(|(name, table)| self.target(&name, table))
            .collect();
        if targets.is_empty() {
            return Ok(None);
        }
        let folded = fold_batch(&mut transaction, &self.resolver, (position, upto), &mut targets).await?;
        let names: Vec<&str> = targets
            .iter()
            .map(|target| target.projection.schema().name)
            .collect();
        move_cursors(&mut transaction, &names, folded.last).await?;
        transaction.commit().await?;
        for target in targets {
            let name = target.projection.schema().name;
            self.resting.remove(name);
            self.targets.insert(name, target);
        }
        metrics::counter!("grantlog_projection_events_total")
            .increment(u64::try_from(folded.events).unwrap_or_default());
        let full = i64::try_from(folded.events).is_ok_and(|events| events >= fold::BATCH);
        // A full batch means that more waits: no pause.
        Ok(Some(if full { 0 } else { folded.events }))
    }

    /// The fold of that name. One whose batch failed half-way is not used again.
    fn target(&mut self, name: &str, table: String) -> Option<Target> {
        match self.targets.remove(name) {
            Some(target) => Some(Target { table, ..target }),
            None => Some(Target::new(named(name)?, table)),
        }
    }

    /// A fold failed for reasons of its own: it stands still, says why, and is tried again later. The others
    /// of its group go on in the next round.
    async fn set_aside(
        &mut self,
        connection: &mut PgConnection,
        group: &[&'static Schema],
        position: i64,
        failed: FoldError,
    ) -> Result<(), ProjectionError> {
        for schema in group {
            if failed.culprit.is_some_and(|culprit| culprit != schema.name) {
                continue;
            }
            let (_, pause) = self
                .resting
                .get(schema.name)
                .copied()
                .unwrap_or((Instant::now(), RETRY.0));
            let pause = (pause * 2).min(RETRY.1);
            self.resting.insert(schema.name, (Instant::now() + pause, pause));
            tracing::error!(projection = schema.name, error = %failed.error, "a projection stands still");
            sqlx::query(
                "UPDATE grantlog.cursors SET failed_at = clock_timestamp(), error = $2 \
                 WHERE reader = $1 AND position = $3",
            )
            .bind(schema.name)
            .bind(failed.error.to_string())
            .bind(position)
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
    }
}

/// The first projection that stands still, and why.
fn stuck(seen: &[ProjectionStatus]) -> Option<(String, String)> {
    seen.iter().find_map(|status| match &status.error {
        Some(error) => Some((status.name.clone(), error.clone())),
        None if status.current => None,
        None => Some((
            status.name.clone(),
            "its table is of another version: rebuild it".to_owned(),
        )),
    })
}

/// Locks the cursors of a group that still stand at the position, and returns their tables.
async fn hold(
    connection: &mut PgConnection,
    group: &[&'static Schema],
    position: i64,
) -> Result<Vec<(String, String)>, sqlx::Error> {
    let names: Vec<&str> = group.iter().map(|schema| schema.name).collect();
    let versions: Vec<String> = group.iter().map(|schema| schema.version()).collect();
    sqlx::query_as(
        "SELECT c.reader, c.table_name FROM grantlog.cursors AS c \
         JOIN unnest($1::text[], $2::text[]) AS mine (reader, version) USING (reader, version) \
         WHERE c.position = $3 ORDER BY c.reader FOR UPDATE OF c SKIP LOCKED",
    )
    .bind(names)
    .bind(versions)
    .bind(position)
    .fetch_all(connection)
    .await
}

/// Moves cursors to a position.
pub(super) async fn move_cursors(
    connection: &mut PgConnection,
    names: &[&str],
    position: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE grantlog.cursors SET position = $2, moved_at = clock_timestamp(), failed_at = NULL, error = NULL \
         WHERE reader = ANY ($1)",
    )
    .bind(names)
    .bind(position)
    .execute(connection)
    .await
    .map(|_| ())
}
