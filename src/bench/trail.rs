//! The trail of a large ledger: finding events by the index against a reading of the whole ledger, and folding the tables
//! as of a moment.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection, PgPool};
use uuid::Uuid;

use super::{Bench, Line, Report, append};
use crate::clock::monotonic;
use crate::ids::{ClientKey, RequestId, SubjectId};
use crate::ledger::Ledger;
use crate::projection::bench::{Circumstances, fill, peak_rss_kib, reset_peak_rss};
use crate::projection::{NAMES, Progress, rebuild, replay};
use crate::trail::postings::{by_lists, plan};
use crate::trail::{Key, Order, Query, Stretch, positions};

/// Rows of a page.
const PAGE: usize = 100;
/// How often each search is repeated; the fastest counts.
const REPEATED: u32 = 5;

pub(super) async fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    let database = bench.database("bench_trail").await?;
    let mut owner = PgConnection::connect(&database.owner).await?;
    let events = fill(&mut owner, bench.arguments.trail_events, Circumstances::Bare).await?;
    let ledger = append::open(&database).await?;
    let pool = PgPoolOptions::new()
        .max_connections(4)
        .connect(&database.app)
        .await?;
    index(&ledger, &pool, report).await?;
    sizes(&mut owner, events).await?;
    search(&mut owner, &pool, report).await?;
    as_of(&ledger, &pool, (events / 2, report)).await?;
    owner.close().await?;
    ledger.close().await;
    Ok(())
}

/// Builds the index.
async fn index(ledger: &Ledger, pool: &PgPool, report: &mut Report) -> Result<()> {
    let rebuilt = rebuild(pool, ledger.vault(), &["event_postings"], &|_| {}).await?;
    let rate = rate(rebuilt.events, rebuilt.took);
    report.add(line("rebuild of the trail's index", rate, None));
    Ok(())
}

fn rate(events: u64, took: Duration) -> f64 {
    f64::from(u32::try_from(events).unwrap_or(u32::MAX)) / took.as_secs_f64().max(f64::EPSILON)
}

async fn sizes(owner: &mut PgConnection, events: i64) -> Result<()> {
    let (ledger, rows, lists): (i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT sum(pg_total_relation_size(inhrelid))::bigint FROM pg_inherits \
                 WHERE inhparent = 'grantlog.ledger_grant'::regclass), \
                pg_table_size(table_name::regclass), pg_indexes_size(table_name::regclass) \
         FROM grantlog.cursors WHERE reader = 'event_postings'",
    )
    .fetch_one(owner)
    .await?;
    let each = |bytes: i64| bytes / events.max(1);
    eprintln!(
        "bytes per event: {} in the ledger, {} in the index's rows, {} in its lists",
        each(ledger),
        each(rows),
        each(lists)
    );
    Ok(())
}

/// What is looked for: a name, the question, and the condition that a reading of the whole ledger answers it by.
async fn questions(owner: &mut PgConnection) -> Result<Vec<(&'static str, Query, String)>> {
    // Of the middle of the ledger: neither the newest nor the oldest.
    let middle = "position > (SELECT position / 2 FROM grantlog.head)";
    let (client, subject, request): (Uuid, Uuid, Uuid) = sqlx::query_as(&format!(
        "SELECT (payload->>'client')::uuid, (payload->>'subject')::uuid, (metadata->>'request_id')::uuid \
         FROM grantlog.ledger WHERE event_type = 'CodeIssued' AND {middle} ORDER BY position LIMIT 1"
    ))
    .fetch_one(owner)
    .await?;
    let client_key = Key::Client(ClientKey(client));
    let subject_key = Key::Subject(SubjectId(subject));
    let event = "event_type IN ('RefreshRotated', 'TokenRevoked')";
    let revoked = ["RefreshRotated", "TokenRevoked"].map(|name| Key::EventType(name.to_owned()));
    Ok(vec![
        (
            "a client's newest events",
            Query::of(&client_key),
            format!("payload->>'client' = '{client}'"),
        ),
        (
            "a user's events",
            Query::of(&subject_key),
            format!("payload->>'subject' = '{subject}'"),
        ),
        (
            "a user's events of two kinds",
            Query::of(&subject_key).and_any(revoked),
            format!("payload->>'subject' = '{subject}' AND {event}"),
        ),
        (
            "what a request caused",
            Query::of(&Key::Request(RequestId(request))),
            format!("metadata->>'request_id' = '{request}'"),
        ),
    ])
}

async fn search(owner: &mut PgConnection, pool: &PgPool, report: &mut Report) -> Result<()> {
    let mut connection = pool.acquire().await?;
    for (name, query, condition) in questions(owner).await? {
        let (mut best, mut rows) = (Duration::MAX, 0);
        for _ in 0..REPEATED {
            let started = monotonic();
            let order = (Order::NewestFirst, PAGE);
            let found = positions(&mut connection, &query, Stretch::ALL, order).await?;
            best = best.min(started.elapsed());
            rows = found.positions.len();
        }
        ensure!(rows > 0, "the index does not find {name}");
        let started = monotonic();
        by_lists(&mut connection, &query, (Order::NewestFirst, PAGE)).await?;
        let lists = started.elapsed();
        let plan = plan(&mut connection, &query, (Stretch::ALL, Order::NewestFirst, PAGE)).await?;
        let by = plan
            .iter()
            .find(|line| line.contains("event_postings") && line.contains("Index"))
            .with_context(|| format!("no index is used: {plan:?}"))?;
        let started = monotonic();
        let scanned: i64 = sqlx::query_scalar(&format!(
            "SELECT count(*) FROM (SELECT position FROM grantlog.ledger WHERE {condition} \
             ORDER BY position DESC OFFSET 0) AS found"
        ))
        .fetch_one(&mut *owner)
        .await?;
        let scan = started.elapsed();
        eprintln!(
            "{name}: {rows} rows in {:.2} ms, by lists alone in {:.2} ms, a reading of the whole ledger finds {scanned} \
             in {:.0} ms ({})",
            best.as_secs_f64() * 1e3,
            lists.as_secs_f64() * 1e3,
            scan.as_secs_f64() * 1e3,
            by.trim_start_matches([' ', '-', '>']).trim(),
        );
        let ratio = scan.as_secs_f64() / best.as_secs_f64().max(f64::EPSILON);
        report.add(line(name, 1.0 / best.as_secs_f64(), Some(("a scan", ratio))));
    }
    Ok(())
}

/// Folds all tables as they stood at a position.
async fn as_of(ledger: &Ledger, pool: &PgPool, (position, report): (i64, &mut Report)) -> Result<()> {
    reset_peak_rss();
    let told = AtomicU64::new(0);
    let progress = |progress: Progress| {
        told.fetch_max(progress.done, Ordering::Relaxed);
    };
    let into = "bench_as_of".parse()?;
    let started = monotonic();
    let replayed = replay(pool, ledger.vault(), (&into, false), position, &progress).await?;
    let took = started.elapsed();
    eprintln!(
        "replay as of position {position}: {} tables, {} events read in {:.1} s, progress told up to {}{}",
        NAMES.len(),
        replayed.events,
        took.as_secs_f64(),
        told.load(Ordering::Relaxed),
        peak_rss_kib().map_or_else(String::new, |peak| format!(
            ", at most {} MiB resident",
            peak / 1024
        )),
    );
    report.add(line("replay as of the middle", rate(replayed.events, took), None));
    Ok(())
}

fn line(name: &str, per_second: f64, against: Option<(&str, f64)>) -> Line {
    Line {
        name: name.to_owned(),
        connections: 1,
        per_second,
        against: against.map(|(name, _)| name.to_owned()),
        ratio: against.map(|(_, ratio)| ratio),
        cpu_per_thousand: None,
        cpu_ratio: None,
    }
}
