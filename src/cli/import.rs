//! `grantlog import`.
#![expect(
    clippy::doc_markdown,
    reason = "these comments are the help texts, where backticks would stand"
)]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, anyhow, bail};
use chrono::FixedOffset;
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use serde_json::json;

use super::arguments::{Connection, Json};
use super::output;
use super::session::Session;
use crate::crypto::defuse::Secret;
use crate::domain::value::ScopeSet;
use crate::import::{self, Files, Groups, ImportError, Kind, Options, Progress, Report, SecretForm};

/// What to import.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Clients, users and live refresh tokens of Laravel Passport
    Passport {
        #[command(flatten)]
        import: Import,
        /// A file with the key that Passport encrypts refresh tokens with: Laravel's APP_KEY (base64:…, or its .env
        /// file), or a serialised Defuse key (def00000…). It is stored, wrapped by the master key
        #[arg(long, value_name = "FILE")]
        passport_key_file: Option<PathBuf>,
    },
    /// Clients, users and live refresh tokens of the tables users, clients, client_access_tokens,
    /// client_refresh_tokens
    Tables {
        #[command(flatten)]
        import: Import,
    },
    /// Delete the stored Passport key: old tokens are refused from then on
    ForgetKey {
        #[command(flatten)]
        output: Json,
    },
}

/// How to import.
#[derive(Args)]
pub(super) struct Import {
    /// CSV files named after their tables (oauth_clients.csv), SQL dumps, or directories with such files
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Read and check everything, change nothing, print the same report
    #[arg(long)]
    dry_run: bool,
    /// The import's name. Ids here are derived from it: give each server that you import its own, always the same
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Scopes that every client may ask for besides those that its tokens have; also what the scope * means
    #[arg(long, value_name = "SCOPES")]
    scope: Option<String>,
    /// The offset of dates that have none, such as +08:00
    #[arg(
        long,
        value_name = "OFFSET",
        default_value = "+00:00",
        allow_hyphen_values = true
    )]
    utc_offset: String,
    /// How client secrets are stored [default: auto for Passport, plain for tables]
    #[arg(long, value_enum, value_name = "FORM")]
    client_secrets: Option<SecretForm>,
    /// Passwords that are neither bcrypt nor argon2 are in clear: hash them. Without this such users have no password
    #[arg(long)]
    plain_passwords: bool,
    /// Write every skipped row to FILE, a line of JSON each
    #[arg(long, value_name = "FILE")]
    skipped: Option<PathBuf>,
    #[command(flatten)]
    output: Json,
}

pub(super) async fn run(connection: &Connection, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Passport {
            import,
            passport_key_file,
        } => {
            let secret = passport_key_file.as_deref().map(read_key).transpose()?;
            bring(connection, Kind::Passport, import, secret).await
        }
        Command::Tables { import } => bring(connection, Kind::Tables, import, None).await,
        Command::ForgetKey { output } => {
            let session = Session::open(connection).await?;
            let context = session.context("import forget-key")?;
            let deleted = import::key::forget(&session.operations, &context).await?;
            session.close().await;
            if output.json {
                return output::json(&json!({ "deleted": deleted }));
            }
            output::line(if deleted {
                "the Passport key is deleted"
            } else {
                "there is no Passport key"
            })
        }
    }
}

fn read_key(path: &Path) -> anyhow::Result<Secret> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Secret::parse(&zeroize::Zeroizing::new(text)).map_err(|error| anyhow!("{}: {error}", path.display()))
}

async fn bring(
    connection: &Connection,
    kind: Kind,
    arguments: Import,
    secret: Option<Secret>,
) -> anyhow::Result<()> {
    let settings = connection.settings()?;
    let files = Files::find(&arguments.paths)?;
    let (name, command) = match kind {
        Kind::Passport => ("passport", "import passport"),
        Kind::Tables => ("tables", "import tables"),
    };
    let options = Options {
        kind,
        source: source(arguments.source.as_deref().unwrap_or(name))?,
        dry_run: arguments.dry_run,
        scope: match arguments.scope.as_deref() {
            None | Some("") => ScopeSet::default(),
            Some(text) => ScopeSet::parse(text).context("--scope")?,
        },
        utc_offset: offset(&arguments.utc_offset)?,
        client_secrets: arguments.client_secrets,
        plain_passwords: arguments.plain_passwords,
        issuer: settings.issuer.clone(),
        grant_lifetime_days: settings.grant_lifetime_days,
        skipped_file: arguments.skipped,
    };
    let session = Session::open(connection).await?;
    let context = session.context(command)?;
    let is_dry = options.dry_run;
    let key_stored = match &secret {
        Some(secret) if !options.dry_run => import::key::store(&session.operations, &context, secret).await?,
        Some(_) | None => false,
    };
    let bar = Arc::new(Mutex::new(("", output::bar(0, "importing"))));
    let shown = Arc::clone(&bar);
    let tell = Arc::new(move |progress: Progress| show(&shown, progress));
    let imported = import::import(&session.operations, &context, files, options, tell).await;
    if let Ok(bar) = bar.lock() {
        bar.1.finish_and_clear();
    }
    session.close().await;
    let report = imported.map_err(|error| stopped(error, is_dry))?;
    if arguments.output.json {
        return output::json(&document(&report, key_stored));
    }
    print(&report, key_stored)
}

/// An error with what became of the rest.
fn stopped(error: ImportError, is_dry: bool) -> anyhow::Error {
    if matches!(error, ImportError::Busy) {
        return anyhow!(error);
    }
    anyhow!(error).context(if is_dry {
        "the dry run stopped; nothing was changed"
    } else {
        "the import stopped; what was imported stays, run it again to go on"
    })
}

fn show(bar: &Mutex<(&'static str, ProgressBar)>, progress: Progress) {
    if let Ok(mut bar) = bar.lock() {
        if bar.0 != progress.stage {
            bar.1.finish_and_clear();
            *bar = (progress.stage, output::bar(progress.total, progress.stage));
        }
        bar.1.set_length(progress.total);
        bar.1.set_position(progress.done);
    }
}

fn source(name: &str) -> anyhow::Result<String> {
    let fits = (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if !fits {
        bail!("--source: 1 to 64 letters, digits, points, dashes or underscores");
    }
    Ok(name.to_owned())
}

fn offset(text: &str) -> anyhow::Result<FixedOffset> {
    text.parse()
        .map_err(|_| anyhow!("--utc-offset: {text} is not an offset such as +08:00"))
}

fn document(report: &Report, key_stored: bool) -> serde_json::Value {
    let groups = |groups: &Groups| -> Vec<_> {
        groups
            .iter()
            .flat_map(|(table, reasons)| {
                reasons.iter().map(move |(reason, group)| {
                    let first: Vec<_> = group
                        .first
                        .iter()
                        .map(|(row, id)| json!({"row": row, "id": id}))
                        .collect();
                    json!({"table": table, "reason": reason, "rows": group.rows, "first": first})
                })
            })
            .collect()
    };
    json!({
        "source": report.source,
        "dry_run": report.dry_run,
        "changed": !report.dry_run && (report.changes_something() || key_stored),
        "passport_key_stored": key_stored,
        "scopes_defined": report.scopes,
        "tables": report.tables,
        "skipped": groups(&report.skipped),
        "noted": groups(&report.noted),
    })
}

fn print(report: &Report, key_stored: bool) -> anyhow::Result<()> {
    let rows: Vec<_> = report
        .tables
        .iter()
        .map(|(table, counts)| {
            [
                (*table).to_owned(),
                counts.read.to_string(),
                counts.imported.to_string(),
                counts.already_there.to_string(),
                counts.skipped.to_string(),
            ]
        })
        .collect();
    output::table(["TABLE", "READ", "IMPORTED", "ALREADY HERE", "SKIPPED"], &rows)?;
    groups("skipped", &report.skipped)?;
    groups("imported", &report.noted)?;
    if !report.scopes.is_empty() {
        output::line(&format!(
            "scopes defined: {} (describe them with `grantlog scope define`: users read that)",
            report.scopes.join(" ")
        ))?;
    }
    if key_stored {
        output::line("the Passport key is stored: old refresh tokens are accepted, once each")?;
    }
    output::line(match (report.dry_run, report.changes_something() || key_stored) {
        (true, true) => "a dry run: nothing was changed; without --dry-run this would be imported",
        (true, false) => "a dry run: there is nothing to import",
        (false, true) => "done",
        (false, false) => "nothing was changed: what can be imported is here already",
    })
}

fn groups(verb: &str, groups: &Groups) -> anyhow::Result<()> {
    for (table, reasons) in groups {
        for (reason, group) in reasons {
            let first: Vec<_> = group
                .first
                .iter()
                .take(5)
                .map(|(row, id)| format!("row {row} (id {})", output::visible(id)))
                .collect();
            let more = if group.rows > 5 { ", …" } else { "" };
            output::line(&format!(
                "{table}: {} {verb}: {}: {}{more}",
                group.rows,
                output::visible(reason),
                first.join(", ")
            ))?;
        }
    }
    Ok(())
}
