//! Rebuilding every projection.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection};

use super::{Bench, Line, Report, append};
use crate::projection::bench::{Circumstances, fill, rebuild_benchmark};
use crate::projection::rebuild::{Phase, Progress};
use crate::projection::{NAMES, ProjectionRunner, rebuild};

#[expect(clippy::print_stdout, reason = "a report is for standard output")]
pub(super) async fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    let owner: PgConnectOptions = bench.postgres.url("postgres", "postgres").parse()?;
    let figures = rebuild_benchmark(&owner, bench.arguments.events, &|_| {}).await?;
    if let Some(peak) = figures.peak_rss_kib.filter(|_| !bench.arguments.json) {
        println!(
            "rebuild of {} events: at most {} MiB resident",
            figures.events,
            peak / 1024
        );
    }
    report.add(Line {
        name: format!("rebuild of {} events", figures.events),
        connections: 1,
        per_second: figures.events_per_second,
        against: None,
        ratio: None,
        cpu_per_thousand: None,
        cpu_ratio: None,
    });
    beside_appends(bench, report).await
}

/// Appends as fast as they come, alone and during a rebuild of the same ledger.
async fn beside_appends(bench: &Bench, report: &mut Report) -> Result<()> {
    let database = bench.database("bench_rebuild").await?;
    let mut owner = PgConnection::connect(&database.owner).await?;
    fill(&mut owner, bench.arguments.events, Circumstances::Bare).await?;
    owner.close().await?;
    let ledger = append::open(&database).await?;
    let pool = PgPoolOptions::new()
        .max_connections(4)
        .connect(&database.app)
        .await?;
    let vault = ledger.vault().clone();
    // As on a server that has run for long: the tables are up to date and follow what is appended, alone and
    // during the rebuild. Folding the whole ledger live would burden the measurement of "alone".
    rebuild(&pool, &vault, &NAMES, &|_| {}).await?;
    let runner = ProjectionRunner::start(&ledger);
    let before = append::group_commit(&ledger, bench.slice() * 4).await?;
    let done = AtomicBool::new(false);
    let phase = Mutex::new(Phase::Reading);
    let rebuilding = async {
        let seen = |progress: Progress| {
            if let Ok(mut phase) = phase.lock() {
                *phase = progress.phase;
            }
        };
        let rebuilt = rebuild(&pool, &vault, &NAMES, &seen).await;
        done.store(true, Ordering::Relaxed);
        rebuilt
    };
    let appending = async {
        let (mut rates, mut slices) = (0.0, 0.0);
        while !done.load(Ordering::Relaxed) {
            let rate = append::group_commit(&ledger, bench.slice() / 2).await?;
            let phase = phase.lock().map_or(Phase::Reading, |phase| *phase);
            eprintln!(
                "appends during {phase:?}: {rate:.0}/s, {:.2} x before",
                rate / before
            );
            rates += rate;
            slices += 1.0;
        }
        anyhow::Ok(rates / f64::max(slices, 1.0))
    };
    let (rebuilt, during) = tokio::join!(rebuilding, appending);
    rebuilt?;
    let during = during?;
    let after = append::group_commit(&ledger, bench.slice() * 4).await?;
    eprintln!("appends alone: {before:.0}/s before, {after:.0}/s after");
    let alone = f64::midpoint(before, after);
    report.add(line("appends alone", alone, None));
    report.add(line("appends during a rebuild", during, Some(during / alone)));
    runner.stop().await;
    ledger.close().await;
    Ok(())
}

fn line(name: &str, per_second: f64, ratio: Option<f64>) -> Line {
    Line {
        name: name.to_owned(),
        connections: append::CALLERS,
        per_second,
        against: ratio.map(|_| "alone".to_owned()),
        ratio,
        cpu_per_thousand: None,
        cpu_ratio: None,
    }
}
