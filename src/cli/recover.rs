//! `grantlog recover`: the ledger is older than what was signed, and what is lost is lost for good.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde_json::json;
use sqlx::PgConnection;

use super::arguments::{Confirmation, Connection, Json};
use super::session::Session;
use super::{output, prompt, retention};
use crate::evidence::checkpoint::{self, Checkpoint};
use crate::evidence::note::MAX_NOTE;
use crate::evidence::{bounded, store};
use crate::ledger::LANE;
use crate::operations::recovery::Loss;

/// Begin a new epoch of a ledger that is older than what was signed; everything that may be alive is revoked
#[derive(Args)]
pub(super) struct Arguments {
    /// Why; it is recorded
    #[arg(long)]
    reason: String,
    /// A checkpoint of before the loss [default: the one that this node keeps in a file]
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// Say what is lost and would be revoked; change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    confirmation: Confirmation,
    #[command(flatten)]
    output: Json,
}

pub(super) async fn run(connection: &Connection, arguments: Arguments) -> anyhow::Result<()> {
    ensure!(!arguments.reason.trim().is_empty(), "--reason: say why");
    let file = connection.settings()?.evidence_checkpoint_file;
    let session = Session::open(connection).await?;
    let found = loss(&session, &arguments, file.as_deref()).await;
    session.close().await;
    let loss = found?;
    let summary = format!(
        "{} events were signed; the ledger has the first {} of them for sure",
        loss.signed, loss.kept
    );
    if arguments.dry_run {
        return report(&arguments, &loss, None, &summary);
    }
    prompt::confirm(
        arguments.confirmation,
        &format!("{summary}. Give up the rest, and revoke every grant and login that may be alive?"),
    )?;
    let mut owner = retention::owner(connection).await?;
    let epoch = open_epoch(&mut owner).await?;
    // Opened anew: a ledger belongs to the epoch that it was opened in.
    let session = Session::open(connection).await?;
    let context = session.context_with("recover", Some(&arguments.reason))?;
    let ended = session
        .operations
        .begin_epoch(&context, &loss, &arguments.reason)
        .await;
    session.close().await;
    let ended = ended?;
    // Last: until it is away, this can be run again.
    if let Some(file) = file.filter(|file| file.exists()) {
        let mut aside = file.clone().into_os_string();
        aside.push(format!(".before-epoch-{epoch}"));
        std::fs::rename(&file, &aside).with_context(|| format!("{} stays", file.display()))?;
    }
    let done = json!({"epoch": epoch, "grants": ended.grants, "sessions": ended.sessions});
    report(&arguments, &loss, Some(done), &summary)
}

/// What the checkpoints say is lost.
async fn loss(session: &Session, arguments: &Arguments, file: Option<&Path>) -> anyhow::Result<Loss> {
    let mut files: Vec<&Path> = arguments.checkpoint.iter().map(PathBuf::as_path).collect();
    files.extend(file.filter(|file| file.exists()));
    ensure!(
        !files.is_empty(),
        "only a checkpoint that was kept outside of the database can say what is lost: give --checkpoint, or \
         configure evidence_checkpoint_file"
    );
    let keys = store::verifier_keys(session.ledger().pool()).await?;
    let mut checkpoints: Vec<Checkpoint> = Vec::new();
    for file in files {
        let note =
            bounded::text(file, MAX_NOTE).with_context(|| format!("{} cannot be read", file.display()))?;
        let (checkpoint, _) = checkpoint::open(&note, &keys).with_context(|| file.display().to_string())?;
        checkpoints.push(checkpoint);
    }
    let Some(loss) = session.operations.loss(&checkpoints).await? else {
        bail!("nothing is lost: the ledger is the one that was signed");
    };
    Ok(loss)
}

/// Nodes that were started in the epoch before append nothing any more.
async fn open_epoch(owner: &mut PgConnection) -> anyhow::Result<i64> {
    sqlx::query_scalar("UPDATE grantlog.head SET epoch = epoch + 1 WHERE lane = $1 RETURNING epoch")
        .bind(LANE)
        .fetch_one(owner)
        .await
        .context("the epoch was not opened")
}

fn report(
    arguments: &Arguments,
    loss: &Loss,
    done: Option<serde_json::Value>,
    summary: &str,
) -> anyhow::Result<()> {
    if arguments.output.json {
        return output::json(&json!({
            "dry_run": arguments.dry_run, "kept": loss.kept, "signed": loss.signed, "done": done,
        }));
    }
    output::line(summary)?;
    let Some(done) = done else {
        return output::line("every grant and login that may be alive would be revoked");
    };
    let count = |name: &str| done.get(name).cloned().unwrap_or_default();
    output::line(&format!(
        "epoch {} is open: {} grants and {} logins were ended",
        count("epoch"),
        count("grants"),
        count("sessions")
    ))?;
    output::note(
        "next: `grantlog key rotate --algorithm all`, and retire the keys of before (tokens of the lost events are \
         signed by them); repeat what administrators did since (erasures: `grantlog user erase --again --export DIR`); \
         remove the evidence_checkpoint_file of the other nodes; start the servers",
    );
    Ok(())
}
