//! `grantlog audit prove`.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use super::arguments::{Connection, Json};
use super::audit_export::record_reading;
use super::output;
use super::session::Session;
use crate::evidence::prove;

/// Options of `prove`.
#[derive(Args)]
pub(super) struct Prove {
    /// A position, an aggregate's id (a grant: all of its events), or ID/SEQUENCE for one of them
    event: String,
    /// The file, or for several events the directory, to write to [default: standard output, or `proofs-ID`]
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    #[command(flatten)]
    output: Json,
}

pub(super) async fn run(connection: &Connection, arguments: Prove) -> anyhow::Result<()> {
    let session = Session::open(connection).await?;
    let proven = write(&session, arguments).await;
    session.close().await;
    proven
}

async fn write(session: &Session, arguments: Prove) -> anyhow::Result<()> {
    let pool = session.ledger().pool();
    let positions = positions(pool, &arguments.event).await?;
    let (Some(first), Some(last)) = (positions.first(), positions.last()) else {
        bail!("the ledger has no such event");
    };
    // A proof holds its event, and who reads events is on the trail before.
    record_reading(session, "audit prove", (first.saturating_sub(1), *last)).await?;
    if let ([position], None) = (positions.as_slice(), &arguments.out) {
        let text = proof(pool, *position).await?;
        return output::line(text.trim_end());
    }
    let default = || PathBuf::from(format!("proofs-{}", arguments.event.replace('/', "-")));
    let out = arguments.out.unwrap_or_else(default);
    let several = positions.len() > 1;
    let mut written = Vec::new();
    for position in positions {
        let file = if several {
            out.join(format!("{position}.proof"))
        } else {
            out.clone()
        };
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let text = proof(pool, position).await?;
        std::fs::write(&file, text).with_context(|| format!("{} cannot be written", file.display()))?;
        written.push(json!({"position": position, "file": file}));
    }
    if arguments.output.json {
        return output::json(&written);
    }
    output::line(&format!("{} proofs in {}", written.len(), out.display()))
}

async fn positions(pool: &PgPool, event: &str) -> anyhow::Result<Vec<u64>> {
    if let Ok(position) = event.parse::<u64>() {
        return Ok(vec![position]);
    }
    let (id, sequence) = match event.split_once('/') {
        Some((id, sequence)) => (
            id,
            Some(sequence.parse().context("the sequence is not a number")?),
        ),
        None => (event, None),
    };
    let Ok(id) = Uuid::try_parse(id) else {
        bail!("{event} is neither a position nor an aggregate's id");
    };
    Ok(prove::positions(pool, id, sequence).await?)
}

async fn proof(pool: &PgPool, position: u64) -> anyhow::Result<String> {
    let proof = prove::inclusion(pool, position).await?;
    let proof = proof.with_context(|| {
        format!("no checkpoint covers position {position}: there is no such event, or it is not yet sealed")
    })?;
    Ok(proof.to_string())
}
