//! Rebuilding every projection.

use anyhow::Result;
use sqlx::postgres::PgConnectOptions;

use super::{Bench, Line, Report};
use crate::projection::bench::rebuild_benchmark;

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
    Ok(())
}
