//! What is wrong with an installation, and what to do about it.

mod database;
mod evidence;
mod keys;
mod ledger;
mod policies;
mod replication;
mod retention;
mod settings;
mod shared_signals;
mod streams;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use sqlx::PgConnection;

use crate::app::{App, open_operations};
use crate::clock::Clock;
use crate::config::Settings;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// As it should be.
    Ok,
    /// Worth a look.
    Warn,
    /// Wrong.
    Fail,
}

/// One check.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Check {
    /// What was looked at.
    pub(crate) name: &'static str,
    /// How it came out.
    pub(crate) verdict: Verdict,
    /// What was found, in words.
    pub(crate) found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) advice: Option<&'static str>,
}

/// What was checked so far.
#[derive(Debug, Default)]
pub(crate) struct Findings(pub(crate) Vec<Check>);

impl Findings {
    /// An installation that these settings describe, from outside of its servers.
    pub(crate) async fn of_installation(settings: &Settings) -> Self {
        let mut findings = Self::default();
        settings::check(settings, &mut findings);
        if let Some(mut connection) = database::connect(settings, &mut findings).await
            && database::check(&mut connection, &mut findings).await
        {
            standing(&mut connection, settings, &mut findings).await;
            let result = ledger::positions(&mut connection, &mut findings).await;
            findings.unless_broken("positions", result);
            findings.opened(settings).await;
        }
        findings
    }

    /// A server that runs, by itself. The positions are not counted: that reads the whole ledger.
    pub(crate) async fn of_server(app: &App) -> Result<Self, sqlx::Error> {
        let mut findings = Self::default();
        settings::check(&app.settings, &mut findings);
        let mut connection = app.ledger.pool().acquire().await?;
        findings.ok("database", "reachable");
        if database::check(&mut connection, &mut findings).await {
            standing(&mut connection, &app.settings, &mut findings).await;
            drop(connection);
            keys::check(&app.operations, &mut findings).await;
        }
        Ok(findings)
    }

    /// What the master key opens.
    async fn opened(&mut self, settings: &Settings) {
        let Ok(master) = settings.master_key() else { return };
        match open_operations(settings, Arc::new(master), Clock::default()).await {
            Ok(operations) => {
                keys::check(&operations, self).await;
                operations.ledger.close().await;
            }
            Err(error) => self.fail(
                "ledger",
                format!("it does not open: {error}"),
                "mend what the error says",
            ),
        }
    }

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

/// How the ledger stands, and what reads it.
async fn standing(connection: &mut PgConnection, settings: &Settings, findings: &mut Findings) {
    let result = ledger::rights(connection, findings).await;
    findings.unless_broken("rights", result);
    let result = ledger::triggers(connection, findings).await;
    findings.unless_broken("triggers", result);
    let result = ledger::partitions(connection, findings).await;
    findings.unless_broken("partitions", result);
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
}
