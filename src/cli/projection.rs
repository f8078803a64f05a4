//! `grantlog projection`.

use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde_json::json;

use super::arguments::{Connection, Json};
use super::output;
use super::session::Session;
use crate::projection::verify::Wrong;
use crate::projection::{self, NAMES, Progress, Verification};

/// What to do.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Show how far each projection has come
    List {
        #[command(flatten)]
        output: Json,
    },
    /// Build a projection again from the ledger, beside the old one, and swap; no downtime
    Rebuild {
        /// Which; without a name all of them, from one reading of the ledger
        name: Option<String>,
        #[command(flatten)]
        output: Json,
    },
    /// Compare projections row by row with what the ledger says
    Verify {
        /// Which; without a name all of them
        name: Option<String>,
        #[command(flatten)]
        output: Json,
    },
}

pub(super) async fn run(connection: &Connection, command: Command) -> anyhow::Result<()> {
    let session = Session::open(connection).await?;
    match command {
        Command::List { output } => list(&session, output).await?,
        Command::Rebuild { name, output } => rebuild(&session, name.as_deref(), output).await?,
        Command::Verify { name, output } => verify(&session, name.as_deref(), output).await?,
    }
    session.close().await;
    Ok(())
}

fn names(name: Option<&str>) -> anyhow::Result<Vec<&'static str>> {
    let Some(name) = name else {
        return Ok(NAMES.to_vec());
    };
    let known = NAMES.into_iter().find(|known| *known == name);
    Ok(vec![known.with_context(|| {
        format!("there is no projection {name}; there are {}", NAMES.join(", "))
    })?])
}

async fn list(session: &Session, output: Json) -> anyhow::Result<()> {
    let statuses = projection::status(session.ledger().pool()).await?;
    if output.json {
        return output::json(&statuses);
    }
    let rows: Vec<_> = statuses
        .into_iter()
        .map(|status| {
            let state = match (&status.error, status.current) {
                (Some(error), _) => format!("stands still: {error}"),
                (None, false) => "another version: rebuild it".to_owned(),
                (None, true) => "follows".to_owned(),
            };
            [
                status.name,
                status.position.to_string(),
                status.lag.to_string(),
                output::moment(status.moved_at),
                state,
            ]
        })
        .collect();
    output::table(["PROJECTION", "POSITION", "LAG", "MOVED", "STATE"], &rows)
}

async fn rebuild(session: &Session, name: Option<&str>, output: Json) -> anyhow::Result<()> {
    let names = names(name)?;
    let bar = output::bar(0, "rebuilding");
    let shown = bar.clone();
    let progress = move |progress: Progress| {
        shown.set_length(progress.total);
        shown.set_position(progress.done);
    };
    let (pool, vault) = (session.ledger().pool(), session.ledger().vault());
    let rebuilt = projection::rebuild(pool, vault, &names, &progress).await?;
    bar.finish_and_clear();
    let seconds = rebuilt.took.as_secs_f64();
    if output.json {
        return output::json(&json!({
            "projections": names, "position": rebuilt.position, "events": rebuilt.events, "seconds": seconds,
        }));
    }
    output::line(&format!(
        "{} rebuilt from {} events in {seconds:.1} s, up to position {}",
        names.join(", "),
        rebuilt.events,
        rebuilt.position
    ))
}

async fn verify(session: &Session, name: Option<&str>, output: Json) -> anyhow::Result<()> {
    let names = names(name)?;
    let bar = output::bar(0, "verifying");
    let shown = bar.clone();
    let progress = move |progress: Progress| {
        shown.set_length(progress.total);
        shown.set_position(progress.done);
    };
    let (pool, vault) = (session.ledger().pool(), session.ledger().vault());
    let found = projection::verify::verify(pool, vault, &names, &progress).await?;
    bar.finish_and_clear();
    print(&names, &found, output)?;
    if found.differences.is_empty() {
        return Ok(());
    }
    bail!(
        "{} rows are not what the ledger says; `grantlog projection rebuild` mends that",
        found.differences.len()
    )
}

fn print(names: &[&str], found: &Verification, output: Json) -> anyhow::Result<()> {
    let described = |wrong: &Wrong| match wrong {
        Wrong::Missing => "missing".to_owned(),
        Wrong::Extra => "not in the ledger".to_owned(),
        Wrong::Changed(columns) => format!("changed: {}", columns.join(", ")),
    };
    if output.json {
        let differences: Vec<_> = found
            .differences
            .iter()
            .map(|row| json!({"projection": row.table, "id": row.id, "wrong": described(&row.wrong)}))
            .collect();
        return output::json(&json!({
            "projections": names, "position": found.position, "rows": found.rows, "differences": differences,
        }));
    }
    for row in &found.differences {
        output::line(&format!("{} {}: {}", row.table, row.id, described(&row.wrong)))?;
    }
    output::line(&format!(
        "{} rows compared with the ledger up to position {}: {} differ",
        found.rows,
        found.position,
        found.differences.len()
    ))
}
