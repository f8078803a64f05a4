//! `grantlog replay`: the tables as they stood at a moment, in a schema of their own.

use clap::Args;
use serde_json::json;

use super::arguments::{Connection, Json};
use super::output;
use super::session::Session;
use crate::domain::trail::LedgerRead;
use crate::projection::{self, AsOfSchema, NAMES, Progress};
use crate::trail::as_of::AsOf;

/// What to replay.
#[derive(Args)]
pub(super) struct Arguments {
    /// Up to when: a moment (RFC 3339), a day, so long ago (2h), or a position
    #[arg(long, value_name = "TIME|POSITION")]
    at: AsOf,
    /// The schema to make
    #[arg(long, value_name = "SCHEMA")]
    into: AsOfSchema,
    /// Replace the schema where an earlier replay made it
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    output: Json,
}

pub(super) async fn run(connection: &Connection, arguments: Arguments) -> anyhow::Result<()> {
    let Arguments {
        at,
        into,
        replace,
        output,
    } = arguments;
    let session = Session::open(connection).await?;
    let ledger = session.ledger();
    let position = at.position(ledger).await?;
    let reading = LedgerRead::upto(position);
    let context = session.context("replay")?;
    session.operations.record_reading(&context, reading).await?;
    let bar = output::bar(0, "replaying");
    let shown = bar.clone();
    let progress = move |progress: Progress| {
        shown.set_length(progress.total);
        shown.set_position(progress.done);
    };
    let replayed = projection::replay(
        ledger.pool(),
        ledger.vault(),
        (&into, replace),
        position,
        &progress,
    )
    .await?;
    bar.finish_and_clear();
    session.close().await;
    if output.json {
        return output::json(&json!({
            "schema": into.to_string(), "position": replayed.position, "events": replayed.events, "tables": NAMES,
        }));
    }
    output::line(&format!(
        "schema {into} shows the tables as of position {} ({} events): {}",
        replayed.position,
        replayed.events,
        NAMES.join(", ")
    ))
}
