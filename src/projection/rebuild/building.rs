//! Tables under construction beside the ones that readers see.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::bulk::Bulk;
use super::pace::Pace;
use super::pages::{Pages, Range};
use super::{Phase, Progress};
use crate::crypto::vault::Vault;
use crate::domain::AggregateType;
use crate::ledger::head_position;
use crate::projection::fold::{Target, fold_batch, fold_events};
use crate::projection::known::Resolver;
use crate::projection::recorded::OUTSIDE;
use crate::projection::schema::{Kind, Schema};
use crate::projection::{ProjectionError, install, named, prune, read};

/// Fresh tables of some projections, complete up to a position.
pub(crate) struct Building {
    /// Holds the lock that keeps other rebuilds and verifications away, and folds what comes after the bulk.
    pub(crate) connection: PgConnection,
    pub(crate) resolver: Resolver,
    pub(crate) targets: Vec<Target>,
    /// All events up to here are in.
    pub(crate) position: i64,
    options: PgConnectOptions,
    pace: Pace,
    /// Events read by the bulk build.
    read: Arc<AtomicU64>,
}

impl Building {
    /// Takes the lock, sweeps up after one that died, and creates empty tables.
    pub(crate) async fn begin(pool: &PgPool, vault: &Vault, names: &[&str]) -> Result<Self, ProjectionError> {
        let options = read::folding(&pool.connect_options());
        let mut connection = options.connect().await?;
        install::lock_session(&mut connection).await?;
        install::install(&mut connection).await?;
        let schemas = chosen(names)?;
        install::drop_leftovers(&mut connection, &schemas).await?;
        let pace = Pace::start(&mut connection).await?;
        let mut targets = Vec::new();
        for schema in schemas {
            let table = install::create_table(&mut connection, schema).await?;
            let projection = named(schema.name)
                .ok_or_else(|| ProjectionError::NoSuchProjection(schema.name.to_owned()))?;
            targets.push(Target::new(projection, table));
        }
        Ok(Self {
            connection,
            resolver: Resolver::new(vault.clone()),
            targets,
            position: 0,
            options,
            pace,
            read: Arc::default(),
        })
    }

    pub(crate) fn schemas(&self) -> Vec<&'static Schema> {
        self.targets
            .iter()
            .map(|target| target.projection.schema())
            .collect()
    }

    /// The ledger's last position.
    pub(crate) async fn head(&mut self) -> Result<i64, ProjectionError> {
        Ok(head_position(&mut self.connection).await?)
    }

    /// Fills the tables with everything up to a position: in bulk, then the indexes, then what events of other
    /// aggregates changed.
    pub(crate) async fn fill(
        &mut self,
        upto: i64,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<(), ProjectionError> {
        self.bulk(upto).await?;
        let total = u64::try_from(upto).unwrap_or_default();
        let tell = |phase| {
            progress(Progress {
                phase,
                done: total,
                total,
            });
        };
        tell(Phase::Indexing);
        self.index().await?;
        tell(Phase::CatchingUp);
        self.outside(upto).await?;
        for target in &mut self.targets {
            prune::up_to(&mut self.connection, target, upto).await?;
        }
        self.position = upto;
        Ok(())
    }

    /// As [`Self::fill`], and tells how many events are read five times a second.
    pub(crate) async fn fill_telling(
        &mut self,
        upto: i64,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<(), ProjectionError> {
        let read = Arc::clone(&self.read);
        let total = u64::try_from(upto).unwrap_or_default();
        let tell = async {
            loop {
                progress(Progress {
                    phase: Phase::Reading,
                    done: read.load(Ordering::Relaxed).min(total),
                    total,
                });
                tokio::time::sleep(Duration::from_millis(200)).await;
                if read.load(Ordering::Relaxed) >= total {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            filled = self.fill(upto, progress) => filled,
            () = tell => Ok(()),
        }
    }

    /// Events read by the bulk build.
    pub(crate) fn events(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Grants are read once for all tables that are made of them.
    async fn bulk(&self, upto: i64) -> Result<(), ProjectionError> {
        for kind in AggregateType::ALL {
            let tables: Vec<(&'static str, String)> = self
                .targets
                .iter()
                .filter(|target| {
                    let projection = &target.projection;
                    projection.takes_all() || projection.whole().unwrap_or(AggregateType::Grant) == kind
                })
                .map(|target| (target.projection.schema().name, target.table.clone()))
                .collect();
            if tables.is_empty() {
                continue;
            }
            let bulk = Bulk {
                options: self.options.clone(),
                resolver: self.resolver.clone(),
                tables,
                kind,
                upto,
                read: Arc::clone(&self.read),
            };
            bulk.run().await?;
        }
        Ok(())
    }

    /// Builds the indexes, as many at once as there are processors, or one after the other while somebody
    /// appends, then the keys.
    async fn index(&mut self) -> Result<(), ProjectionError> {
        let workers = if self.pace.is_busy(&mut self.connection).await? {
            1
        } else {
            super::workers()
        };
        let indexes: VecDeque<String> = self.statements(Kind::Index).into();
        let queue = Arc::new(Mutex::new(indexes));
        let options = self.options.clone().options([
            ("maintenance_work_mem", "128MB"),
            // The statements themselves run side by side.
            ("max_parallel_maintenance_workers", "0"),
        ]);
        let mut tasks = JoinSet::new();
        for _ in 0..workers {
            let (queue, options) = (Arc::clone(&queue), options.clone());
            tasks.spawn(async move {
                let mut connection = options.connect().await?;
                loop {
                    let Some(statement) = queue.lock().await.pop_front() else {
                        return Ok(());
                    };
                    install::execute(&mut connection, &statement).await?;
                }
            });
        }
        super::join(tasks).await?;
        for statement in self.statements(Kind::Key) {
            install::execute(&mut self.connection, &statement).await?;
        }
        Ok(())
    }

    fn statements(&self, kind: Kind) -> Vec<String> {
        self.targets
            .iter()
            .flat_map(|target| target.projection.schema().statements(kind, &target.table))
            .collect()
    }

    /// What events of users, consents and clients ended among the tokens of grants.
    async fn outside(&mut self, upto: i64) -> Result<(), ProjectionError> {
        let mut reader = self.options.connect().await?;
        for (kind, only) in OUTSIDE {
            let mut pages = Pages::of(Range {
                kind,
                only,
                lower: Uuid::nil(),
                upper: None,
                upto,
                sources: false,
            });
            while let Some(page) = pages.next(&mut reader).await? {
                let known = self.resolver.resolve(&mut self.connection, &page).await?;
                for target in self
                    .targets
                    .iter_mut()
                    .filter(|target| target.projection.whole().is_none() && !target.projection.takes_all())
                {
                    let mut transaction = self.connection.begin().await?;
                    fold_events(&mut transaction, &page, &known, target).await?;
                    transaction.commit().await?;
                }
            }
        }
        Ok(())
    }

    /// Folds on by position, a batch per transaction.
    pub(crate) async fn catch_up(&mut self, upto: i64) -> Result<(), ProjectionError> {
        while self.position < upto {
            let mut transaction = self.connection.begin().await?;
            let after = self.position;
            let folded = fold_batch(&mut transaction, &self.resolver, (after, upto), &mut self.targets)
                .await
                .map_err(|failed| failed.error)?;
            transaction.commit().await?;
            self.position = if folded.events == 0 { upto } else { folded.last };
        }
        Ok(())
    }

    /// Drops what was built for these projections and is seen by nobody.
    pub(crate) async fn discard(mut self, schemas: &[&'static Schema]) -> Result<(), ProjectionError> {
        install::drop_leftovers(&mut self.connection, schemas).await?;
        self.end().await
    }

    /// Lets the next one in.
    pub(crate) async fn end(mut self) -> Result<(), ProjectionError> {
        install::unlock_session(&mut self.connection).await?;
        self.connection.close().await?;
        Ok(())
    }
}

/// The schemas of these projections, each once.
fn chosen(names: &[&str]) -> Result<Vec<&'static Schema>, ProjectionError> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .map(|name| {
            named(name)
                .map(|projection| projection.schema())
                .ok_or_else(|| ProjectionError::NoSuchProjection(name.to_owned()))
        })
        .collect()
}
