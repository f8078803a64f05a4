//! The append: group commit against one INSERT per transaction (what `pgbench` would do) and against
//! postgres-es as shipped, all with the same 32 callers on the same server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use cqrs_es::CqrsFramework;
use postgres_es::PostgresEventRepository;
use sqlx::{Connection, Executor, PgConnection, PgPool};

use super::ledger_rows;
use super::{Bench, Database, Line, Report};
use crate::clock::{Clock, Randomness, monotonic};
use crate::crypto::master::MasterKey;
use crate::crypto::vault::Vault;
use crate::domain::NoServices;
use crate::domain::scope::{Scope, ScopeCommand};
use crate::domain::value::Digest;
use crate::ids::ClientKey;
use crate::ledger::{Ledger, LedgerOptions, Priority, reading_pool};

/// The callers that the design's baseline was measured with.
pub(super) const CALLERS: usize = 32;
const METADATA: &str = r#"{"actor":"client:00000000-0000-4000-8000-000000000000","endpoint":"/oauth/token","request_id":"00000000-0000-4000-8000-000000000000"}"#;

pub(super) async fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    let database = bench.database("bench_append").await?;
    let ledger = open(&database).await?;
    prepare(&database).await?;
    let (mut inserts, mut postgres_es, mut appends) = (0.0, 0.0, 0.0);
    for _ in 0..bench.arguments.rounds {
        inserts += single_inserts(&database, bench.slice()).await?;
        postgres_es += with_postgres_es(&database, bench.slice()).await?;
        appends += group_commit(&ledger, bench.slice()).await?;
    }
    let rounds = f64::from(bench.arguments.rounds);
    let line = |name: &str, total: f64, against: Option<(&str, f64)>| Line {
        name: name.to_owned(),
        connections: CALLERS,
        per_second: total / rounds,
        against: against.map(|(name, _)| name.to_owned()),
        ratio: against.map(|(_, other)| total / other),
        cpu_per_thousand: None,
        cpu_ratio: None,
    };
    report.add(line("one INSERT per transaction", inserts, None));
    report.add(line(
        "postgres-es as shipped",
        postgres_es,
        Some(("INSERT", inserts)),
    ));
    report.add(line("grantlog append", appends, Some(("INSERT", inserts))));
    ledger.close().await;
    Ok(())
}

pub(super) async fn open(database: &Database) -> Result<Ledger> {
    let options = LedgerOptions {
        database: database.app.parse()?,
        max_connections: 8,
        cached_aggregates: 1000,
        refusals_per_minute: 60,
    };
    let pool = reading_pool(&options);
    let random = Randomness::default();
    let vault = Vault::new(
        Arc::new(MasterKey::from_bytes([1; 32])),
        random.clone(),
        pool.clone(),
    );
    Ok(Ledger::open(&options, pool, vault, Clock::default(), random).await?)
}

/// The table of the INSERT baseline has the ledger's columns and key; postgres-es gets its own, as shipped.
async fn prepare(database: &Database) -> Result<()> {
    let mut owner = PgConnection::connect(&database.owner).await?;
    owner
        .execute(
            "CREATE TABLE plain (aggregate_type text, aggregate_id uuid, sequence bigint, position bigserial, \
                event_type text, payload json, metadata json, recorded_at timestamptz DEFAULT now(), \
                PRIMARY KEY (aggregate_type, aggregate_id, sequence)); \
             CREATE TABLE events (aggregate_type text NOT NULL, aggregate_id text NOT NULL, \
                sequence bigint CHECK (sequence >= 0) NOT NULL, event_type text NOT NULL, \
                event_version text NOT NULL, payload json NOT NULL, metadata json NOT NULL, \
                PRIMARY KEY (aggregate_type, aggregate_id, sequence))",
        )
        .await?;
    Ok(())
}

/// Runs `CALLERS` loops for a while; what they complete per second.
async fn rate<F, R>(slice: Duration, make: F) -> Result<f64>
where
    F: Fn(usize, Arc<AtomicU64>, tokio::time::Instant) -> R,
    R: Future<Output = Result<()>> + Send + 'static,
{
    let done = Arc::new(AtomicU64::new(0));
    let started = monotonic();
    let until = tokio::time::Instant::now() + slice;
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| tokio::spawn(make(caller, Arc::clone(&done), until)))
        .collect();
    for caller in callers {
        caller.await??;
    }
    let seconds = started.elapsed().as_secs_f64();
    Ok(as_f64(done.load(Ordering::Relaxed)) / seconds)
}

async fn single_inserts(database: &Database, slice: Duration) -> Result<f64> {
    let url = database.owner.clone();
    rate(slice, move |_, done, until| {
        let url = url.clone();
        async move {
            let mut connection = PgConnection::connect(&url).await?;
            let random = Randomness::default();
            while tokio::time::Instant::now() < until {
                let (id, payload) = payload(&random)?;
                sqlx::query(
                    "INSERT INTO plain (aggregate_type, aggregate_id, sequence, event_type, payload, metadata) \
                     VALUES ('grant', $1, 1, 'TokenIssued', $2::json, $3::json)",
                )
                .bind(id)
                .bind(payload)
                .bind(METADATA)
                .execute(&mut connection)
                .await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        }
    })
    .await
}

fn payload(random: &Randomness) -> Result<(uuid::Uuid, String)> {
    use crate::domain::LedgerEvent;
    let at = crate::clock::machine_now();
    let client = ClientKey(random.uuid()?);
    let digest = Digest(random.bytes()?);
    let event = ledger_rows::token_issued(client, "http://127.0.0.1", digest, at);
    Ok((random.uuid_at(at)?, event.payload()?))
}

async fn with_postgres_es(database: &Database, slice: Duration) -> Result<f64> {
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(u32::try_from(CALLERS).unwrap_or(u32::MAX))
        .connect(&database.owner)
        .await?;
    let framework = Arc::new(framework(pool.clone()));
    let result = rate(slice, move |_, done, until| {
        let framework = Arc::clone(&framework);
        async move {
            let random = Randomness::default();
            while tokio::time::Instant::now() < until {
                let id = random.uuid()?.to_string();
                let command = ScopeCommand::Define {
                    name: id.clone(),
                    description: "x".repeat(300),
                    restricted: false,
                };
                framework.execute(&id, command).await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        }
    })
    .await;
    pool.close().await;
    result
}

type EsFramework =
    CqrsFramework<Scope, cqrs_es::persist::PersistedEventStore<PostgresEventRepository, Scope>>;

fn framework(pool: PgPool) -> EsFramework {
    let repository = PostgresEventRepository::new(pool);
    let store = cqrs_es::persist::PersistedEventStore::new_event_store(repository);
    CqrsFramework::new(store, Vec::new(), NoServices)
}

pub(super) async fn group_commit(ledger: &Ledger, slice: Duration) -> Result<f64> {
    let ledger = ledger.clone();
    rate(slice, move |_, done, until| {
        let ledger = ledger.clone();
        async move {
            while tokio::time::Instant::now() < until {
                let at = ledger.clock().now();
                let client = ClientKey(ledger.random().uuid()?);
                let digest = Digest(ledger.random().bytes()?);
                let event = ledger_rows::token_issued(client, "http://127.0.0.1", digest, at);
                let id = ledger.random().uuid_at(at)?;
                let command = ledger_rows::command(&ledger, id, 0, &[event], METADATA)?;
                ledger.append(command, Priority::Normal).await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        }
    })
    .await
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a count of operations is far below 2^52"
)]
fn as_f64(count: u64) -> f64 {
    count as f64
}
