//! The ledger: every event, once, in one durable, totally ordered, gapless sequence of positions.
//!
//! Commands come in through [`UnitOfWork`]; an appender task per node takes what waits and writes it with one
//! call of one database function ([`appender`]). Optimistic concurrency is the security boundary: what a
//! command writes, and what it relied on, must still be at the sequence that it saw.

mod aggregates;
mod append_call;
mod appender;
mod cache;
mod command;
mod copy_out;
mod freshness;
mod gather;
mod load;
mod metadata;
pub mod migrate;
mod moment;
mod refusals;
mod unit;

pub use aggregates::{Aggregates, AggregatesAt};
pub use appender::{AppendError, Appended, Priority};
pub use command::{Command, Expectation, NameChange, NewEvent};
pub(crate) use copy_out::{CopiedRows, Misshapen, POSTGRES_EPOCH_MICROS, copy_out};
pub(crate) use load::retrying;
pub use load::{Loaded, StoredEvent, recorded_event};
pub use metadata::{Actor, Caller, ClientAuthentication, Context, Metadata, Operator, network_of};
pub use moment::{head_position, position_at, positions_between, recorded_at};
pub use refusals::{RefusalBudget, Refused};
pub use unit::{Concluded, LedgerError, UnitOfWork};

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::sync::watch;

use crate::clock::{Clock, Randomness};
use crate::crypto::vault::Vault;
use crate::domain::AggregateType;

/// The lane that is in use. More lanes come with more than one Postgres.
pub const LANE: i16 = 0;

/// The most bytes of payload and metadata together.
pub const MAX_EVENT_BYTES: usize = 60 * 1024;

/// The ledger as this node uses it. Cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

struct Inner {
    pool: PgPool,
    appender: appender::Appender,
    freshness: gather::Gathered<freshness::Moved>,
    reader: gather::Gathered<load::EventsAfter>,
    cache: cache::AggregateCache,
    vault: Vault,
    clock: Clock,
    random: Randomness,
    refusals: RefusalBudget,
    head: watch::Sender<i64>,
}

/// How to open the ledger.
#[derive(Clone, Debug)]
pub struct LedgerOptions {
    /// The database, as the application's role.
    pub database: PgConnectOptions,
    /// Connections for reading.
    pub max_connections: u32,
    /// Hot aggregates kept in memory.
    pub cached_aggregates: usize,
    /// Refusals per source and minute that are recorded one by one.
    pub refusals_per_minute: u32,
}

/// A pool whose connections are not pinged before use, and plan what is not one of the ledger's own functions
/// for its parameters, so that partitions are pruned before they are locked.
#[must_use]
pub fn reading_pool(options: &LedgerOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(options.max_connections)
        .test_before_acquire(false)
        .acquire_timeout(std::time::Duration::from_secs(5))
        .connect_lazy_with(
            options
                .database
                .clone()
                .options([("plan_cache_mode", "force_custom_plan")]),
        )
}

impl Ledger {
    /// Opens the ledger: learns the epoch and the database's clock, and starts the appender.
    pub async fn open(
        options: &LedgerOptions,
        pool: PgPool,
        vault: Vault,
        clock: Clock,
        random: Randomness,
    ) -> Result<Self, sqlx::Error> {
        let before = crate::clock::machine_now();
        let (position, epoch, now): (i64, i64, crate::clock::Timestamp) =
            sqlx::query_as("SELECT position, epoch, clock_timestamp() FROM grantlog.head WHERE lane = $1")
                .bind(LANE)
                .fetch_one(&pool)
                .await?;
        clock.follow(before, now);
        let (head, _) = watch::channel(position);
        let appender =
            appender::Appender::start(options.database.clone(), epoch, clock.clone(), head.clone());
        Ok(Self {
            inner: Arc::new(Inner {
                freshness: gather::Gathered::start(&freshness::Moved(pool.clone())),
                reader: gather::Gathered::start(&load::EventsAfter(pool.clone())),
                cache: cache::AggregateCache::new(options.cached_aggregates),
                refusals: RefusalBudget::new(options.refusals_per_minute),
                appender,
                pool,
                vault,
                clock,
                random,
                head,
            }),
        })
    }

    /// Connections for reading.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.inner.pool
    }

    /// The ledger's clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// The source of ids and credentials.
    #[must_use]
    pub fn random(&self) -> &Randomness {
        &self.inner.random
    }

    /// The data keys.
    #[must_use]
    pub fn vault(&self) -> &Vault {
        &self.inner.vault
    }

    /// The last position that this node knows to be committed; changes wake local readers.
    #[must_use]
    pub fn head(&self) -> watch::Receiver<i64> {
        self.inner.head.subscribe()
    }

    /// Appends a command as it is. [`UnitOfWork`] is the way to make one.
    pub async fn append(&self, command: Command, priority: Priority) -> Result<Appended, AppendError> {
        self.inner.appender.append(command, priority).await
    }

    /// Whether none of these aggregates has an event after the sequence that the caller knows, asked of the
    /// database now (together with what other requests ask).
    pub async fn is_current(&self, expectations: Vec<Expectation>) -> Result<bool, LedgerError> {
        self.inner.freshness.ask(expectations).await.map(|moved| !moved)
    }

    /// Which aggregate has this name.
    pub async fn find_name(&self, kind: &'static str, name: &str) -> Result<Option<uuid::Uuid>, LedgerError> {
        let digest = self.vault().master().name_digest(kind, name);
        Ok(retrying(|| async {
            sqlx::query_scalar(
                "SELECT aggregate_id FROM grantlog.names WHERE kind = $1 AND keyed_digest = $2",
            )
            .bind(kind)
            .bind(digest.as_slice())
            .fetch_optional(self.pool())
            .await
        })
        .await?)
    }

    /// Which aggregates have these names, of several kinds, in one read.
    pub async fn find_names(
        &self,
        names: &[(&'static str, String)],
    ) -> Result<HashMap<(&'static str, String), uuid::Uuid>, LedgerError> {
        if names.is_empty() {
            return Ok(HashMap::new());
        }
        let master = self.vault().master();
        let kinds: Vec<&str> = names.iter().map(|(kind, _)| *kind).collect();
        let digests: Vec<Vec<u8>> = names
            .iter()
            .map(|(kind, name)| master.name_digest(kind, name).to_vec())
            .collect();
        let found: Vec<(i64, uuid::Uuid)> = retrying(|| async {
            sqlx::query_as(
                "SELECT asked.place, n.aggregate_id \
                 FROM unnest($1, $2) WITH ORDINALITY AS asked (kind, digest, place) \
                 JOIN grantlog.names n ON n.kind = asked.kind AND n.keyed_digest = asked.digest",
            )
            .bind(&kinds)
            .bind(&digests)
            .fetch_all(self.pool())
            .await
        })
        .await?;
        Ok(found
            .into_iter()
            .filter_map(|(place, owner)| {
                let place = usize::try_from(place).ok()?.checked_sub(1)?;
                Some((names.get(place)?.clone(), owner))
            })
            .collect())
    }

    /// Which of these aggregates have any event, in one read.
    pub async fn existing(
        &self,
        kind: AggregateType,
        ids: &[uuid::Uuid],
    ) -> Result<HashSet<uuid::Uuid>, LedgerError> {
        if ids.is_empty() {
            return Ok(HashSet::new());
        }
        let found: Vec<uuid::Uuid> = retrying(|| async {
            sqlx::query_scalar(
                "SELECT aggregate_id FROM grantlog.ledger \
                 WHERE lane = $1 AND aggregate_type = $2 AND aggregate_id = ANY ($3) AND sequence = 1",
            )
            .bind(LANE)
            .bind(kind.name())
            .bind(ids)
            .fetch_all(self.pool())
            .await
        })
        .await?;
        Ok(found.into_iter().collect())
    }

    /// Starts a unit of work.
    #[must_use]
    pub fn unit_of_work<'a>(&'a self, context: &'a Context) -> UnitOfWork<'a> {
        UnitOfWork::new(self, context)
    }

    /// Stops taking commands and waits until those taken are answered.
    pub async fn close(&self) {
        self.inner.appender.close().await;
        self.inner.pool.close().await;
    }
}
