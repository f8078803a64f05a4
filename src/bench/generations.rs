//! A refresh costs the same however old its grant is.

use anyhow::{Context as _, Result};

use super::driver::{Connection, member};
use super::http::redemption;
use super::server::Subject;
use super::{Bench, Line, Report};
use crate::clock::monotonic;

/// Refreshes that are timed at each age.
const TIMED: u32 = 300;

pub(super) async fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    let subject = Subject::start(bench, "bench_generations").await?;
    let codes = subject.codes(2).await?;
    let [old, young] = codes.as_slice() else {
        anyhow::bail!("two codes")
    };
    let mut connection = Connection::open(subject.address).await?;
    let mut old = redeem(&mut connection, &subject, old).await?;
    for _ in 1..1000 {
        old = refresh(&mut connection, &subject, &old).await?;
    }
    let mut young_seconds = 0.0;
    let mut old_seconds = 0.0;
    let mut young = redeem(&mut connection, &subject, young).await?;
    // Alternating, so that both meet the same weather. The young one never gets a third as old as the other.
    for _ in 0..TIMED {
        let started = monotonic();
        young = refresh(&mut connection, &subject, &young).await?;
        young_seconds += started.elapsed().as_secs_f64();
        let started = monotonic();
        old = refresh(&mut connection, &subject, &old).await?;
        old_seconds += started.elapsed().as_secs_f64();
    }
    let timed = f64::from(TIMED);
    let line = |name: &str, seconds: f64, ratio: Option<f64>| Line {
        name: name.to_owned(),
        connections: 1,
        per_second: timed / seconds,
        against: ratio.map(|_| "young".to_owned()),
        ratio,
        cpu_per_thousand: None,
        cpu_ratio: None,
    };
    report.add(line("refresh from generation 1", young_seconds, None));
    report.add(line(
        "refresh from generation 1,000",
        old_seconds,
        Some(young_seconds / old_seconds),
    ));
    subject.stop().await
}

async fn redeem(connection: &mut Connection, subject: &Subject, code: &str) -> Result<String> {
    let answer = connection
        .post("/oauth/token", &subject.authorization, &redemption(code))
        .await?;
    Ok(member(answer, "refresh_token")
        .context("no refresh token")?
        .to_owned())
}

async fn refresh(connection: &mut Connection, subject: &Subject, token: &str) -> Result<String> {
    let body = format!("grant_type=refresh_token&refresh_token={token}");
    let answer = connection
        .post("/oauth/token", &subject.authorization, &body)
        .await?;
    Ok(member(answer, "refresh_token")
        .context("no refresh token")?
        .to_owned())
}
