//! `grantlog doctor`: what is wrong with an installation, and what to do about it.

mod database;
mod evidence;
mod keys;
mod ledger;
mod policies;
mod replication;
mod request;
mod retention;
mod settings;
mod shared_signals;
mod streams;

use anyhow::bail;
use clap::{Args, Subcommand};
use serde::Serialize;
use sqlx::PgConnection;

use super::arguments::{Connection, Json};
use super::output;
use crate::config::Settings;

/// Options of `doctor`.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(flatten)]
    output: Json,
    #[command(subcommand)]
    about: Option<About>,
}

/// What else than the installation to look into.
#[derive(Subcommand)]
enum About {
    /// Say why one request was refused, and what to do about it
    Request(request::Arguments),
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// One check.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<&'static str>,
}

/// What was checked so far.
#[derive(Debug, Default)]
struct Findings(Vec<Check>);

impl Findings {
    fn ok(&mut self, name: &'static str, found: impl Into<String>) {
        self.push(name, Verdict::Ok, found.into(), None);
    }

    fn warn(&mut self, name: &'static str, found: impl Into<String>, advice: &'static str) {
        self.push(name, Verdict::Warn, found.into(), Some(advice));
    }

    fn fail(&mut self, name: &'static str, found: impl Into<String>, advice: &'static str) {
        self.push(name, Verdict::Fail, found.into(), Some(advice));
    }

    /// A check that could not be made is a failure: nothing is known of what it asks.
    fn unless_broken(&mut self, name: &'static str, result: Result<(), sqlx::Error>) {
        if let Err(error) = result {
            self.fail(
                name,
                format!("it could not be checked: {error}"),
                "mend what the error says, then run doctor again",
            );
        }
    }

    fn push(&mut self, name: &'static str, verdict: Verdict, found: String, advice: Option<&'static str>) {
        self.0.push(Check {
            name,
            verdict,
            found,
            advice,
        });
    }
}

pub(super) async fn run(connection: &Connection, arguments: Arguments) -> anyhow::Result<()> {
    if let Some(About::Request(arguments)) = arguments.about {
        return request::run(connection, arguments).await;
    }
    let settings = connection.settings()?;
    let mut findings = Findings::default();
    let spinner = output::spinner("checking");
    settings::check(&settings, &mut findings);
    check_database(&settings, &mut findings).await;
    spinner.finish_and_clear();
    print(&findings, arguments.output)?;
    let failed = findings
        .0
        .iter()
        .filter(|check| check.verdict == Verdict::Fail)
        .count();
    if failed > 0 {
        bail!("{failed} checks failed");
    }
    Ok(())
}

async fn check_database(settings: &Settings, findings: &mut Findings) {
    let Some(mut connection) = database::connect(settings, findings).await else {
        return;
    };
    if !database::check(&mut connection, findings).await {
        return;
    }
    checks(&mut connection, settings, findings).await;
}

async fn checks(connection: &mut PgConnection, settings: &Settings, findings: &mut Findings) {
    let result = ledger::rights(connection, findings).await;
    findings.unless_broken("rights", result);
    let result = ledger::triggers(connection, findings).await;
    findings.unless_broken("triggers", result);
    let result = ledger::partitions(connection, findings).await;
    findings.unless_broken("partitions", result);
    let result = ledger::positions(connection, findings).await;
    findings.unless_broken("positions", result);
    let result = ledger::cursors(connection, findings).await;
    findings.unless_broken("cursors", result);
    evidence::check(connection, findings).await;
    let result = replication::standbys(connection, settings, findings).await;
    findings.unless_broken("standby", result);
    let result = database::snapshots(settings, connection, findings).await;
    findings.unless_broken("open transactions", result);
    let result = policies::engine(connection, findings).await;
    findings.unless_broken("policies", result);
    let result = streams::streams(connection, findings).await;
    findings.unless_broken("streams", result);
    let result = shared_signals::check(connection, settings, findings).await;
    findings.unless_broken("shared signals", result);
    keys::check(settings, findings).await;
}

fn print(findings: &Findings, output: Json) -> anyhow::Result<()> {
    if output.json {
        return output::json(&findings.0);
    }
    for check in &findings.0 {
        let verdict = match check.verdict {
            Verdict::Ok => "ok  ",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        output::line(&format!(
            "{verdict}  {:<18} {}",
            check.name,
            output::visible(&check.found)
        ))?;
        if let Some(advice) = check.advice {
            output::line(&format!("{:25}→ {advice}", ""))?;
        }
    }
    Ok(())
}
