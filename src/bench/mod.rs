//! `grantlog bench`: what the ledger and the endpoints do per second, always as a ratio to something measured
//! in the same run on the same machine.

mod append;
mod cpu;
mod driver;
mod evidence;
mod floor;
mod generations;
mod http;
mod import;
mod ledger_rows;
mod policy;
mod rebuild;
mod server;
mod trail;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::postgres::{Options, Postgres};

/// Measure.
#[derive(Args, Debug, Clone)]
pub struct Arguments {
    /// What to measure; everything unless named.
    #[arg(value_enum)]
    pub what: Vec<What>,
    /// Seconds of each measurement of a pair; pairs are repeated and alternate.
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
    /// How often each pair is measured.
    #[arg(long, default_value_t = 3)]
    pub rounds: u32,
    /// Connections that send requests at once.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64])]
    pub connections: Vec<usize>,
    /// Tokens that are issued before the server's memory is read, or that are imported (access and refresh tokens).
    #[arg(long, default_value_t = 1_000_000)]
    pub tokens: u64,
    /// Users that are imported.
    #[arg(long, default_value_t = 100_000)]
    pub users: u64,
    /// Events of the ledger that is rebuilt.
    #[arg(long, default_value_t = 1_000_000)]
    pub events: u64,
    /// Events of the ledger that is searched, and folded as of a moment.
    #[arg(long, default_value_t = 5_000_000)]
    pub trail_events: u64,
    /// Where the benchmark's own Postgres lives; a temporary directory unless given.
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
    /// Machine-readable results on standard output.
    #[arg(long)]
    pub json: bool,
    /// Serve for a benchmark (used by the benchmark itself).
    #[arg(long, hide = true)]
    pub child: Option<String>,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// Appending to the ledger, against one INSERT per transaction and against postgres-es.
    Append,
    /// Token requests, against a bare handler that appends the same events.
    Http,
    /// Introspection.
    Introspection,
    /// A refresh at generation 1,000 against one at generation 2.
    Generations,
    /// Rebuilding every projection from a ledger of many events.
    Rebuild,
    /// Running policies' rules over a ledger of many events.
    Policy,
    /// The server's memory after many tokens.
    Memory,
    /// Importing another server's users and tokens.
    Import,
    /// Verifying an export of the evidence log.
    Evidence,
    /// Searching a large ledger by its index, and folding its tables as of a moment.
    Trail,
}

impl What {
    const ALL: [Self; 10] = [
        Self::Append,
        Self::Http,
        Self::Introspection,
        Self::Generations,
        Self::Rebuild,
        Self::Policy,
        Self::Memory,
        Self::Import,
        Self::Evidence,
        Self::Trail,
    ];
}

/// One line of the report.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// What was measured.
    pub name: String,
    /// How many connections or callers.
    pub connections: usize,
    /// Operations per second.
    pub per_second: f64,
    /// Against what.
    pub against: Option<String>,
    /// This one's rate divided by that one's.
    pub ratio: Option<f64>,
    /// CPU seconds of server and database per 1,000 operations.
    pub cpu_per_thousand: Option<f64>,
    /// That divided by the other's.
    pub cpu_ratio: Option<f64>,
}

/// Collects lines; prints each as it comes.
pub struct Report {
    lines: Vec<Line>,
    json: bool,
}

impl Report {
    #[expect(clippy::print_stdout, reason = "a report is for standard output")]
    fn add(&mut self, line: Line) {
        if !self.json {
            let ratio = line.ratio.zip(line.against.as_ref());
            let ratio = ratio.map_or_else(String::new, |(ratio, against)| {
                format!("  {ratio:5.2} x {against}")
            });
            let cpu = line
                .cpu_per_thousand
                .map_or_else(String::new, |cpu| format!("  cpu {cpu:.3} s/1000"));
            let cpu_ratio = line
                .cpu_ratio
                .map_or_else(String::new, |ratio| format!(" ({ratio:.2} x)"));
            println!(
                "{:34} {:4}  {:>9.0}/s{ratio}{cpu}{cpu_ratio}",
                line.name, line.connections, line.per_second
            );
        }
        self.lines.push(line);
    }
}

/// Runs the measurements that were asked for.
#[expect(clippy::print_stdout, reason = "a report is for standard output")]
pub async fn run(arguments: Arguments) -> Result<()> {
    if let Some(child) = &arguments.child {
        return server::serve(child).await;
    }
    let what = if arguments.what.is_empty() {
        What::ALL.to_vec()
    } else {
        arguments.what.clone()
    };
    let directory = match &arguments.data_dir {
        Some(directory) => directory.clone(),
        None => std::env::temp_dir().join(format!("grantlog-bench-{}", std::process::id())),
    };
    let mut options = Options::new(&directory);
    options.settings.push(("max_connections".into(), "200".into()));
    let postgres = Postgres::start(options, |line| eprintln!("{line}"))
        .await
        .context("starting Postgres")?;
    let bench = Bench { arguments, postgres };
    let mut report = Report {
        lines: Vec::new(),
        json: bench.arguments.json,
    };
    let result = bench.measure(&what, &mut report).await;
    let Bench { arguments, postgres } = bench;
    postgres.stop().await?;
    if arguments.data_dir.is_none() {
        let _ = std::fs::remove_dir_all(&directory);
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report.lines)?);
    }
    result
}

struct Bench {
    arguments: Arguments,
    postgres: Postgres,
}

impl Bench {
    async fn measure(&self, what: &[What], report: &mut Report) -> Result<()> {
        for what in what {
            match what {
                What::Append => append::measure(self, report).await?,
                What::Http => http::measure(self, report).await?,
                What::Introspection => http::introspection(self, report).await?,
                What::Generations => generations::measure(self, report).await?,
                What::Rebuild => rebuild::measure(self, report).await?,
                What::Policy => policy::measure(self, report).await?,
                What::Import => import::measure(self, report).await?,
                What::Evidence => evidence::measure(self, report).await?,
                What::Trail => trail::measure(self, report).await?,
                What::Memory => http::memory(self, report).await?,
            }
        }
        Ok(())
    }

    fn slice(&self) -> Duration {
        Duration::from_secs_f64(self.arguments.seconds)
    }

    /// A fresh, migrated database.
    async fn database(&self, name: &str) -> Result<Database> {
        use sqlx::{Connection, Executor};
        let mut admin = sqlx::PgConnection::connect(&self.postgres.url("postgres", "postgres")).await?;
        admin
            .execute(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)").as_str())
            .await?;
        admin.execute(format!("CREATE DATABASE {name}").as_str()).await?;
        let owner = self.postgres.url("postgres", name);
        crate::ledger::migrate::run(&owner).await?;
        Ok(Database {
            app: self.postgres.url("grantlog_app", name),
            owner,
        })
    }
}

struct Database {
    owner: String,
    app: String,
}
