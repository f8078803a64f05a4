//! Back-tests over a ledger of many events.

use anyhow::{Context as _, Result};
use sqlx::{Connection, PgConnection};

use super::{Bench, Line, Report, append};
use crate::clock::monotonic;
use crate::domain::policy::PolicySettings;
use crate::policy::backtest::{self, Stretch};
use crate::policy::rules;
use crate::projection::bench::{Circumstances, fill};

/// Rules that look at what is rare.
const RARE: [&str; 3] = ["refresh-replay", "code-replay", "code-mismatch"];
/// Rules that look at every token.
const DENSE: [&str; 3] = ["issuance-rate", "grant-new-networks", "dormant-client"];

pub(super) async fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    let database = bench.database("bench_policy").await?;
    let mut owner = PgConnection::connect(&database.owner).await?;
    fill(&mut owner, bench.arguments.events, Circumstances::Full).await?;
    owner.close().await?;
    let ledger = append::open(&database).await?;
    let all: Vec<String> = rules::ALL.iter().map(|rule| rule.definition().id).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    for (name, rules) in [
        ("back-test, 3 rules on rare events", &RARE[..]),
        ("back-test, 3 rules on every token", &DENSE[..]),
        ("back-test, all rules", &all[..]),
    ] {
        let rules: Vec<_> = rules
            .iter()
            .map(|rule| ((*rule).to_owned(), PolicySettings::default()))
            .collect();
        let mut best: f64 = 0.0;
        for _ in 0..bench.arguments.rounds {
            let started = monotonic();
            let reports = backtest::run(&ledger, &rules, (Stretch::default(), None), &|_, _| {}).await?;
            let first = reports.first().context("there is a report for each rule")?;
            let events = f64::from(u32::try_from(first.last_position).unwrap_or(u32::MAX));
            best = best.max(events / started.elapsed().as_secs_f64());
        }
        report.add(Line {
            name: name.to_owned(),
            connections: 1,
            per_second: best,
            against: None,
            ratio: None,
            cpu_per_thousand: None,
            cpu_ratio: None,
        });
    }
    ledger.close().await;
    Ok(())
}
