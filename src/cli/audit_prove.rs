//! `grantlog audit prove`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use super::arguments::{Connection, Json};
use super::audit_export::record_reading;
use super::audit_verify::read;
use super::output;
use super::session::Session;
use crate::evidence::checkpoint::Checkpoint;
use crate::evidence::note::{MAX_NOTE, SignedNote};
use crate::evidence::{prove, store};

/// Options of `prove`.
#[derive(Args)]
pub(super) struct Prove {
    /// A position, an aggregate's id (a grant: all of its events), or ID/SEQUENCE for one of them
    #[arg(required_unless_present = "from", conflicts_with = "from")]
    event: Option<String>,
    /// Prove instead that the log begins with the events of an older checkpoint: its file, or how many they are
    #[arg(long, value_name = "FILE|SIZE")]
    from: Option<String>,
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
    let event = match (arguments.event, arguments.from) {
        (Some(event), _) => event,
        (None, Some(from)) => return write_consistency(pool, &from, arguments.out.as_deref()).await,
        (None, None) => bail!("give an event, or --from"),
    };
    let positions = positions(pool, &event).await?;
    let (Some(first), Some(last)) = (positions.first(), positions.last()) else {
        bail!("the ledger has no such event");
    };
    // A proof holds its event, and who reads events is on the trail before.
    record_reading(session, "audit prove", (first.saturating_sub(1), *last)).await?;
    if let ([position], None) = (positions.as_slice(), &arguments.out) {
        let text = proof(pool, *position).await?;
        return output::line(text.trim_end());
    }
    let default = || PathBuf::from(format!("proofs-{}", event.replace('/', "-")));
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

async fn write_consistency(pool: &PgPool, from: &str, out: Option<&Path>) -> anyhow::Result<()> {
    let (size, old) = if let Ok(size) = from.parse::<u64>() {
        (size, None)
    } else {
        let note: SignedNote = read(Path::new(from), MAX_NOTE)?.parse()?;
        let old: Checkpoint = note.text.parse().context("this is no checkpoint")?;
        (old.size, Some(old))
    };
    let log = store::read(pool).await?;
    let proof = prove::consistency(pool, &log, size).await?;
    let proof = proof.with_context(|| format!("the log has {} events, and not {size}", log.size))?;
    if let Some(old) = old {
        // Whoever makes it is told at once where it proves nothing.
        proof.verify(&old, &store::verifier_keys(pool).await?)?;
    }
    match out {
        None => output::line(proof.to_string().trim_end()),
        Some(file) => {
            std::fs::write(file, proof.to_string())
                .with_context(|| format!("{} cannot be written", file.display()))?;
            output::line(&format!("the proof is in {}", file.display()))
        }
    }
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
