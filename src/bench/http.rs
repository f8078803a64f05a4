//! Token requests against their floors, introspection, memory.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::driver::{Connection, Throughput, drive, member};
use super::server::{REDIRECT_URI, Subject, VERIFIER};
use super::{Bench, Line, Report, cpu};

/// A kind of token request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scenario {
    ClientCredentials,
    Refresh,
    Code,
}

impl Scenario {
    fn name(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::Refresh => "refresh rotation",
            Self::Code => "code + PKCE redemption",
        }
    }
}

/// What one measurement used and did.
#[derive(Default)]
struct Sum {
    operations: f64,
    seconds: f64,
    cpu: f64,
}

impl Sum {
    fn rate(&self) -> f64 {
        self.operations / self.seconds
    }

    fn cpu_per_thousand(&self) -> f64 {
        self.cpu / self.operations * 1000.0
    }
}

pub(super) async fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    let subject = Subject::start(bench, "bench_http").await?;
    for connections in bench.arguments.connections.clone() {
        for scenario in [Scenario::ClientCredentials, Scenario::Refresh, Scenario::Code] {
            let (mut floor, mut real) = (Sum::default(), Sum::default());
            for _ in 0..bench.arguments.rounds {
                slice(bench, &subject, (scenario, "/floor"), connections, &mut floor).await?;
                slice(
                    bench,
                    &subject,
                    (scenario, "/oauth/token"),
                    connections,
                    &mut real,
                )
                .await?;
            }
            report.add(line(
                &format!("floor of {}", scenario.name()),
                connections,
                &floor,
                None,
            ));
            report.add(line(scenario.name(), connections, &real, Some(("floor", &floor))));
        }
    }
    subject.stop().await
}

fn line(name: &str, connections: usize, sum: &Sum, against: Option<(&str, &Sum)>) -> Line {
    let has_cpu = sum.cpu > 0.0;
    Line {
        name: name.to_owned(),
        connections,
        per_second: sum.rate(),
        against: against.map(|(name, _)| name.to_owned()),
        ratio: against.map(|(_, other)| sum.rate() / other.rate()),
        cpu_per_thousand: has_cpu.then(|| sum.cpu_per_thousand()),
        cpu_ratio: against
            .filter(|_| has_cpu)
            .map(|(_, other)| sum.cpu_per_thousand() / other.cpu_per_thousand()),
    }
}

async fn slice(
    bench: &Bench,
    subject: &Subject,
    what: (Scenario, &'static str),
    connections: usize,
    sum: &mut Sum,
) -> Result<()> {
    let (scenario, path) = what;
    let codes = match scenario {
        Scenario::ClientCredentials => Vec::new(),
        Scenario::Refresh => subject.codes(connections).await?,
        Scenario::Code => subject.codes(codes_needed(bench, connections)).await?,
    };
    let before = cpu_seconds(bench, subject);
    let Throughput { operations, seconds } = match scenario {
        Scenario::ClientCredentials => issue(subject, path, connections, bench.slice()).await?,
        Scenario::Refresh => refresh(subject, path, codes, bench.slice()).await?,
        Scenario::Code => redeem(subject, path, connections, (codes, bench.slice())).await?,
    };
    #[expect(
        clippy::cast_precision_loss,
        reason = "a count of operations is far below 2^52"
    )]
    let operations = operations as f64;
    sum.operations += operations;
    sum.seconds += seconds;
    sum.cpu += cpu_seconds(bench, subject)
        .zip(before)
        .map_or(0.0, |(after, before)| after - before);
    Ok(())
}

/// Well below what the server's cache keeps of aggregates that came last (half of 20,000): codes are redeemed in the
/// order of their issuance, so a cache that had lost the oldest few would miss every one. A slice ends early where
/// they are used up.
fn codes_needed(bench: &Bench, connections: usize) -> usize {
    let per_second: usize = if connections == 1 { 2_000 } else { 6_000 };
    let tenths = usize::try_from(bench.slice().as_millis() / 100).unwrap_or(1);
    (per_second * tenths / 10).min(8_000)
}

fn cpu_seconds(bench: &Bench, subject: &Subject) -> Option<f64> {
    Some(cpu::seconds(subject.pid())? + cpu::seconds(bench.postgres.pid()?)?)
}

async fn issue(
    subject: &Subject,
    path: &'static str,
    connections: usize,
    slice: Duration,
) -> Result<Throughput> {
    let (address, authorization) = (subject.address, subject.authorization.clone());
    drive(connections, slice, move |_, done, until| {
        let authorization = authorization.clone();
        async move {
            let mut connection = Connection::open(address).await?;
            while tokio::time::Instant::now() < until {
                let body = "grant_type=client_credentials&scope=server-operations";
                connection.post(path, &authorization, body).await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        }
    })
    .await
}

/// Each connection has a grant of its own and follows its generations.
async fn refresh(
    subject: &Subject,
    path: &'static str,
    codes: Vec<String>,
    slice: Duration,
) -> Result<Throughput> {
    let (address, authorization) = (subject.address, subject.authorization.clone());
    let mut chains = Vec::new();
    for code in codes {
        let mut connection = Connection::open(address).await?;
        let answer = connection
            .post("/oauth/token", &authorization, &redemption(&code))
            .await?;
        let token = member(answer, "refresh_token")
            .context("no refresh token")?
            .to_owned();
        chains.push(Mutex::new(Some((connection, token))));
    }
    let connections = chains.len();
    let chains = Arc::new(chains);
    drive(connections, slice, move |number, done, until| {
        let (chains, authorization) = (Arc::clone(&chains), authorization.clone());
        async move {
            let chain = chains.get(number).and_then(|chain| chain.lock().ok()?.take());
            let (mut connection, mut token) = chain.context("no chain")?;
            while tokio::time::Instant::now() < until {
                let body = format!("grant_type=refresh_token&refresh_token={token}");
                let answer = connection.post(path, &authorization, &body).await?;
                token = member(answer, "refresh_token")
                    .context("no refresh token")?
                    .to_owned();
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        }
    })
    .await
}

async fn redeem(
    subject: &Subject,
    path: &'static str,
    connections: usize,
    work: (Vec<String>, Duration),
) -> Result<Throughput> {
    let (codes, slice) = work;
    let (address, authorization) = (subject.address, subject.authorization.clone());
    let codes = Arc::new(Mutex::new(VecDeque::from(codes)));
    drive(connections, slice, move |_, done, until| {
        let (codes, authorization) = (Arc::clone(&codes), authorization.clone());
        async move {
            let mut connection = Connection::open(address).await?;
            while tokio::time::Instant::now() < until {
                let code = codes.lock().ok().and_then(|mut codes| codes.pop_front());
                let Some(code) = code else { return Ok(()) };
                connection.post(path, &authorization, &redemption(&code)).await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        }
    })
    .await
}

pub(super) fn redemption(code: &str) -> String {
    let redirect_uri: String = url::form_urlencoded::byte_serialize(REDIRECT_URI.as_bytes()).collect();
    format!("grant_type=authorization_code&code={code}&redirect_uri={redirect_uri}&code_verifier={VERIFIER}")
}

/// Introspection of user tokens: five aggregates are compared with the database each time.
pub(super) async fn introspection(bench: &Bench, report: &mut Report) -> Result<()> {
    let subject = Subject::start(bench, "bench_introspection").await?;
    let mut tokens = Vec::new();
    for code in subject.codes(64).await? {
        let mut connection = Connection::open(subject.address).await?;
        let answer = connection
            .post("/oauth/token", &subject.authorization, &redemption(&code))
            .await?;
        tokens.push(
            member(answer, "access_token")
                .context("no access token")?
                .to_owned(),
        );
    }
    let tokens = Arc::new(tokens);
    for connections in bench.arguments.connections.clone() {
        let (address, authorization) = (subject.address, subject.authorization.clone());
        let tokens = Arc::clone(&tokens);
        let before = cpu_seconds(bench, &subject);
        let throughput = drive(connections, bench.slice(), move |number, done, until| {
            let (tokens, authorization) = (Arc::clone(&tokens), authorization.clone());
            async move {
                let token = tokens.get(number % tokens.len().max(1)).context("no token")?;
                let body = format!("token={token}");
                let mut connection = Connection::open(address).await?;
                while tokio::time::Instant::now() < until {
                    let answer = connection
                        .post("/oauth/introspect", &authorization, &body)
                        .await?;
                    anyhow::ensure!(answer.contains("\"active\":true"), "the token is not active");
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            }
        })
        .await?;
        let mut sum = Sum::default();
        #[expect(
            clippy::cast_precision_loss,
            reason = "a count of operations is far below 2^52"
        )]
        let operations = throughput.operations as f64;
        sum.operations = operations;
        sum.seconds = throughput.seconds;
        sum.cpu = cpu_seconds(bench, &subject)
            .zip(before)
            .map_or(0.0, |(after, before)| after - before);
        report.add(line("introspection", connections, &sum, None));
    }
    subject.stop().await
}

/// The server's resident memory after a number of tokens.
#[expect(clippy::print_stdout, reason = "a report is for standard output")]
pub(super) async fn memory(bench: &Bench, report: &mut Report) -> Result<()> {
    let subject = Subject::start(bench, "bench_memory").await?;
    let at_start = cpu::resident_mib(subject.pid());
    let mut issued = 0;
    let mut seconds = 0.0;
    while issued < bench.arguments.tokens {
        let slice = issue(&subject, "/oauth/token", 64, Duration::from_secs(5)).await?;
        issued += slice.operations;
        seconds += slice.seconds;
        eprintln!(
            "{issued} tokens, resident {:.1} MiB",
            cpu::resident_mib(subject.pid()).unwrap_or_default()
        );
    }
    let after = cpu::resident_mib(subject.pid());
    if let Some((before, after)) = at_start.zip(after).filter(|_| !bench.arguments.json) {
        println!(
            "resident memory of the server: {before:.1} MiB at start, {after:.1} MiB after {issued} tokens"
        );
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "a count of operations is far below 2^52"
    )]
    let per_second = issued as f64 / seconds;
    report.add(Line {
        name: format!("client_credentials, {issued} tokens"),
        connections: 64,
        per_second,
        against: after.map(|_| "MiB resident after".to_owned()),
        ratio: after,
        cpu_per_thousand: None,
        cpu_ratio: None,
    });
    subject.stop().await
}
