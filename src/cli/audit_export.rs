//! `grantlog audit export` and `grantlog audit checkpoint`.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::Args;
use serde_json::json;
use sqlx::PgPool;

use super::arguments::{Connection, Json};
use super::output;
use super::session::Session;
use crate::domain::trail::LedgerRead;
use crate::evidence::export::{self, ExportError, Exported};
use crate::evidence::store;

/// Options of `export`.
#[derive(Args)]
pub(super) struct Export {
    /// Where to write it; an export that is there is carried on
    directory: PathBuf,
    /// Leave out the entries up to this position (their hashes are written all the same)
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    since: u64,
    #[command(flatten)]
    output: Json,
}

/// Options of `checkpoint`.
#[derive(Args)]
pub(super) struct Checkpoint {
    /// The newest that a witness has cosigned
    #[arg(long)]
    witnessed: bool,
    /// Write it to a file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// The database of the settings, without the master key: auditors have none.
pub(super) async fn database(connection: &Connection) -> anyhow::Result<PgPool> {
    let settings = connection.settings()?;
    PgPool::connect(&settings.database_url)
        .await
        .context("the database cannot be reached")
}

pub(super) async fn run(connection: &Connection, arguments: Export) -> anyhow::Result<()> {
    let session = Session::open(connection).await?;
    let exported = write(&session, &arguments).await;
    session.close().await;
    let exported = exported?;
    if arguments.output.json {
        return output::json(&json!({
            "directory": arguments.directory, "size": exported.size, "written": exported.written, "kept": exported.kept,
            "left_out": exported.left_out,
        }));
    }
    if exported.left_out > 0 {
        output::note(&format!(
            "{} bundles are left out: events in them were detached; carry on the export that was made then to have all",
            exported.left_out
        ));
    }
    output::line(&format!(
        "{} events in {}: {} tiles written, {} were there",
        exported.size,
        arguments.directory.display(),
        exported.written,
        exported.kept
    ))
}

/// Entries are events, and who reads those is on the trail before.
async fn write(session: &Session, arguments: &Export) -> anyhow::Result<Exported> {
    let pool = session.ledger().pool();
    let size = store::read(pool).await?.size;
    if arguments.since < size {
        record_reading(session, "audit export", (arguments.since, size)).await?;
    }
    let bar = output::bar(0, "events");
    let mut progress = |done, of| {
        bar.set_length(of);
        bar.set_position(done);
    };
    let exported = export::export(pool, &arguments.directory, arguments.since, &mut progress).await;
    bar.finish_and_clear();
    Ok(exported?)
}

/// Records that events are about to be read, after one position and up to another.
pub(super) async fn record_reading(
    session: &Session,
    command: &'static str,
    (after, upto): (u64, u64),
) -> anyhow::Result<()> {
    let reading = LedgerRead::stretch(i64::try_from(after)?, i64::try_from(upto)?);
    let context = session.context(command)?;
    Ok(session.operations.record_reading(&context, reading).await?)
}

pub(super) async fn checkpoint(connection: &Connection, arguments: Checkpoint) -> anyhow::Result<()> {
    let pool = database(connection).await?;
    let note = if arguments.witnessed {
        let note = store::witnessed(&pool).await?;
        ensure!(note.is_some(), "no witness has cosigned a checkpoint yet");
        note
    } else {
        store::published(&pool, &store::read(&pool).await?).await?
    };
    let note = note.ok_or(ExportError::NoCheckpoint)?.to_string();
    match arguments.out {
        Some(file) => {
            std::fs::write(&file, note).with_context(|| format!("{} cannot be written", file.display()))
        }
        None => output::line(note.trim_end()),
    }
}
