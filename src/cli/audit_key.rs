//! `grantlog audit key`: the keys that sign the evidence log.

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::json;

use super::arguments::{Confirmation, Connection, Json};
use super::session::Session;
use super::{output, prompt};
use crate::operations::log_key::LogKeyRow;

/// What to do.
#[derive(Subcommand)]
pub(super) enum Key {
    /// List the keys that sign the evidence log, and those that have, oldest first
    List {
        #[command(flatten)]
        output: Json,
    },
    /// Make a new key, which signs beside the old ones until they are retired
    Rotate {
        /// Why; it is recorded
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        output: Json,
    },
    /// Let a key sign no more; what it signed stays verifiable
    Retire {
        /// The verifier key, or the eight digits that it is known by
        key: String,
        /// Why; it is recorded
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        confirmation: Confirmation,
        #[command(flatten)]
        output: Json,
    },
}

pub(super) async fn run(connection: &Connection, command: Key) -> anyhow::Result<()> {
    let session = Session::open(connection).await?;
    let done = act(connection, &session, command).await;
    session.close().await;
    done
}

async fn act(connection: &Connection, session: &Session, command: Key) -> anyhow::Result<()> {
    match command {
        Key::List { output } => list(session, output).await,
        Key::Rotate { reason, output } => {
            let origin = connection.settings()?.evidence_origin();
            let context = session.context_with("audit key rotate", reason.as_deref())?;
            session.operations.rotate_log_key(&context, &origin).await?;
            output::note(
                "both keys sign from the next checkpoint on; give the new one to whoever verifies, then retire the old one",
            );
            list(session, output).await
        }
        Key::Retire {
            key,
            reason,
            confirmation,
            output,
        } => {
            let keys = session.operations.log_keys().await?;
            let found = keys
                .iter()
                .find(|row| row.verifier_key == key || short(row) == key);
            let found = found.with_context(|| format!("there is no key {key}"))?;
            prompt::confirm(confirmation, "Sign no checkpoint with this key any more?")?;
            let context = session.context_with("audit key retire", Some(&reason))?;
            session
                .operations
                .retire_log_key(&context, &found.verifier_key)
                .await?;
            list(session, output).await
        }
    }
}

/// The hash in a verifier key.
fn short(key: &LogKeyRow) -> &str {
    key.verifier_key.split('+').nth(1).unwrap_or_default()
}

async fn list(session: &Session, output: Json) -> anyhow::Result<()> {
    let keys = session.operations.log_keys().await?;
    if output.json {
        let documents = keys.iter().map(|key| {
            json!({
                "verifier_key": key.verifier_key, "state": key.state(), "generated_at": key.generated_at,
                "retired_at": key.retired_at,
            })
        });
        return output::json(&documents.collect::<Vec<_>>());
    }
    let rows: Vec<_> = keys
        .iter()
        .map(|key| {
            [
                key.state().to_owned(),
                output::moment(key.generated_at),
                key.verifier_key.clone(),
            ]
        })
        .collect();
    output::table(["STATE", "GENERATED", "VERIFIER KEY"], &rows)
}
