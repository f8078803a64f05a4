//! `grantlog user erase`, `hold` and `release`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use chrono::TimeDelta;
use clap::Args;
use serde_json::json;

use super::arguments::{Confirmation, Connection, Json};
use super::session::Session;
use super::user::{self, find};
use super::{output, prompt};
use crate::clock::Timestamp;
use crate::domain::user::UserRefusal;
use crate::ids::SubjectId;
use crate::operations::OperationError;
use crate::operations::erasure::Inventory;
use crate::operations::erasure_export::erased_in_export;
use crate::projection::ProjectionRunner;
use crate::projection::replay::NotBlanked;

/// How long the tables are waited for.
const TABLES_WITHIN: Duration = Duration::from_secs(20);

/// Whom to erase.
#[derive(Args)]
pub(super) struct Erase {
    /// The login name or the subject's id
    #[arg(required_unless_present = "again", conflicts_with = "again")]
    user: Option<String>,
    /// Say what would be destroyed, blanked and ended, and what stays; change nothing
    #[arg(long, conflicts_with = "again")]
    dry_run: bool,
    /// Repeat all erasures that the ledger knows: after the table of data keys came back from a backup
    #[arg(long)]
    again: bool,
    /// Repeat those of an export too: after the ledger itself came back from an older backup
    #[arg(long, value_name = "DIR", requires = "again")]
    export: Option<PathBuf>,
    /// Why, without naming the user: it is recorded in clear
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    confirmation: Confirmation,
    #[command(flatten)]
    output: Json,
}

/// Whose data must be kept.
#[derive(Args)]
pub(super) struct Hold {
    /// The login name or the subject's id
    user: String,
    /// Why; it is recorded, encrypted like the user's data
    #[arg(long)]
    reason: String,
    /// When the hold ends by itself (RFC 3339, or a date) [default: when it is released]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    #[command(flatten)]
    output: Json,
}

/// Whose data need not be kept any more.
#[derive(Args)]
pub(super) struct Release {
    /// The login name or the subject's id
    user: String,
    /// Why; it is recorded, encrypted like the user's data
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    output: Json,
}

fn moment(text: &str) -> Result<Timestamp, String> {
    let day = || chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
    let midnight = || day()?.and_hms_opt(0, 0, 0).map(|at| at.and_utc());
    text.parse()
        .ok()
        .or_else(midnight)
        .ok_or_else(|| "a moment is spelled 2027-03-31T12:00:00Z, or 2027-03-31".to_owned())
}

impl Hold {
    pub(super) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let subject = find(session, &self.user).await?;
        let context = session.context("user hold")?;
        let operations = &session.operations;
        operations
            .place_hold(&context, subject, &self.reason, self.until)
            .await?;
        user::show(session, subject, self.output).await
    }
}

impl Release {
    pub(super) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let subject = find(session, &self.user).await?;
        let context = session.context("user release")?;
        session
            .operations
            .lift_hold(&context, subject, &self.reason)
            .await?;
        user::show(session, subject, self.output).await
    }
}

impl Erase {
    pub(super) async fn run(self, session: &Session, connection: &Connection) -> anyhow::Result<()> {
        let Some(user) = &self.user else {
            return self.repeat(session).await;
        };
        let subject = find(session, user).await?;
        let backups_until = connection
            .settings()?
            .key_backup_days
            .map(|days| session.ledger().clock().now() + TimeDelta::days(days.into()));
        let hold = session.operations.standing_hold(subject).await?;
        if let (Some(hold), false) = (&hold, self.dry_run) {
            let until = hold
                .until
                .map_or_else(String::new, |at| format!(" until {}", output::moment(at)));
            bail!(
                "{}; it holds{until}: {}",
                UserRefusal::LegalHold,
                output::visible(&hold.reason)
            );
        }
        let operations = &session.operations;
        let reason = self.reason.as_deref();
        let inventory = operations.erasure_inventory(subject, reason).await?;
        if self.dry_run {
            let mut document = document(&inventory, backups_until, false)?;
            if let (Some(hold), Some(members)) = (hold, document.as_object_mut()) {
                members.insert("legal_hold".to_owned(), json!(hold));
            }
            return self.print(&document);
        }
        let question = format!("Erase {} for good?", output::visible(user));
        prompt::confirm(self.confirmation, &question)?;
        let context = session.context_with("user erase", self.reason.as_deref())?;
        let erased = session.operations.erase_user(&context, subject).await?;
        let folded = fold_tables(session).await;
        self.print(&document(&inventory, backups_until, true)?)?;
        complain(&erased.not_blanked)?;
        folded
    }

    /// Whatever the ledger, or an export of it, says was erased.
    async fn repeat(&self, session: &Session) -> anyhow::Result<()> {
        let operations = &session.operations;
        let mut refused = Vec::new();
        let mut erased: Vec<SubjectId> = Vec::new();
        let mut unread = 0;
        if let Some(directory) = &self.export {
            prompt::confirm(self.confirmation, "Erase whom this export says was erased?")?;
            let export = erased_in_export(session.ledger().pool(), directory).await?;
            unread = export.unread;
            for subject in export.subjects {
                let state = operations.load::<crate::domain::user::User>(subject.0).await?;
                if state.account.is_none() {
                    continue;
                }
                let context = session.context_with("user erase --again", self.reason.as_deref())?;
                match operations.erase_user(&context, subject).await {
                    Ok(_) => erased.push(subject),
                    Err(OperationError::User(UserRefusal::LegalHold)) => refused.push(subject),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let repeated = operations.repeat_erasures(0).await?;
        let keys_destroyed = repeated.subjects;
        fold_tables(session).await?;
        if self.output.json {
            output::json(&json!({
                "erased": erased, "keys_destroyed": keys_destroyed, "held": refused, "unread_events": unread,
                "not_blanked": repeated.not_blanked,
            }))?;
        } else {
            output::line(&format!(
                "{} users were erased that this ledger did not know to be, and the keys of {} others destroyed",
                erased.len(),
                keys_destroyed.len()
            ))?;
        }
        if unread > 0 {
            output::note(&format!(
                "of {unread} events the export has the hashes only: whether they were erasures is not known"
            ));
        }
        if let Some(held) = refused.first() {
            bail!("a legal hold keeps {held}, who is erased in the export: release it, and repeat this");
        }
        complain(&repeated.not_blanked)
    }

    fn print(&self, document: &serde_json::Value) -> anyhow::Result<()> {
        if self.output.json {
            return output::json(document);
        }
        for (name, value) in document.as_object().into_iter().flatten() {
            output::line(&format!("{:<16} {}", name.replace('_', " "), plain(value)))?;
        }
        Ok(())
    }
}

/// The keys are destroyed, and somebody is shown in clear all the same.
fn complain(not_blanked: &[NotBlanked]) -> anyhow::Result<()> {
    if not_blanked.is_empty() {
        return Ok(());
    }
    let schemas: Vec<String> = not_blanked
        .iter()
        .map(|NotBlanked { schema, why }| format!("{schema} ({why})"))
        .collect();
    bail!(
        "the keys are destroyed, but replayed tables still show who was erased: {}; drop these schemas as their owner",
        schemas.join(", ")
    )
}

/// The tables are blanked where a server runs; here too, so that it is done when this command says so.
async fn fold_tables(session: &Session) -> anyhow::Result<()> {
    let runner = ProjectionRunner::start(session.ledger());
    let head = *session.ledger().head().borrow();
    let folded = tokio::time::timeout(TABLES_WITHIN, runner.wait_for(head)).await;
    runner.stop().await;
    if let Ok(folded) = folded {
        return folded.context("the keys are destroyed, but a table is not blanked yet");
    }
    output::note("the tables are behind the ledger: a running server blanks them when it gets there");
    Ok(())
}

fn document(
    inventory: &Inventory,
    backups_until: Option<Timestamp>,
    done: bool,
) -> anyhow::Result<serde_json::Value> {
    let mut document = serde_json::to_value(inventory)?;
    if let Some(members) = document.as_object_mut() {
        let state = if done { "erased" } else { "would be erased" };
        members.insert("state".to_owned(), json!(state));
        members.insert("dry_run".to_owned(), json!(!done));
        let backups = match backups_until {
            Some(until) => json!({"hold_keys_until": until}),
            None => json!("the setting key_backup_days does not say how long backups of the keys are kept"),
        };
        members.insert("backups".to_owned(), backups);
    }
    Ok(document)
}

/// A value for a person: no quotes, no braces.
fn plain(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => output::visible(text),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| format!("{} {}", name.replace('_', " "), plain(value)))
            .collect::<Vec<_>>()
            .join("; "),
    }
}
