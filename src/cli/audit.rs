//! `grantlog audit`: the ledger's events, in order; and the evidence of them.

use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::arguments::{Connection, Json};
use super::client_approval::who;
use super::session::Session;
use super::{audit_export, audit_key, audit_prove, audit_search, audit_verify, output};
use crate::domain::trail::LedgerRead;
use crate::ledger::{Caller, Ledger, Metadata, Operator, StoredEvent, head_position};
use crate::trail::document;

/// How often the ledger is looked at for more.
const POLL: Duration = Duration::from_millis(250);
/// Events read at once.
const PAGE: u32 = 500;

/// What to do.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Print events with their circumstances; without --from the last ones
    Tail(Tail),
    /// Find events by whom and what they concern; without filters the last ones
    Search(Box<audit_search::Search>),
    /// Print the evidence log's last signed checkpoint: keep it where nobody can change it
    Checkpoint(audit_export::Checkpoint),
    /// Write the evidence log to files that can be verified without this server
    Export(audit_export::Export),
    /// Verify an export, the database or a proof against checkpoints, and name the first bad position
    Verify(audit_verify::Verify),
    /// Write the proof that an event is in the log
    Prove(audit_prove::Prove),
    /// Manage the keys that sign the evidence log
    #[command(subcommand)]
    Key(audit_key::Key),
}

/// Options of `tail`.
#[derive(Args)]
pub(super) struct Tail {
    /// Go on with what is appended
    #[arg(long, short)]
    follow: bool,
    /// Begin with this position
    #[arg(long, value_name = "POSITION")]
    from: Option<i64>,
    /// How many of the last events
    #[arg(long, default_value_t = 20, conflicts_with = "from")]
    lines: i64,
    /// Decrypt the callers' addresses and user agents
    #[arg(long)]
    reveal: bool,
    #[command(flatten)]
    output: Json,
}

pub(super) async fn run(connection: &Connection, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Tail(options) => tail(connection, options).await,
        Command::Search(options) => audit_search::run(connection, *options).await,
        Command::Checkpoint(options) => audit_export::checkpoint(connection, options).await,
        Command::Export(options) => audit_export::run(connection, options).await,
        Command::Verify(options) => audit_verify::run(connection, options).await,
        Command::Prove(options) => audit_prove::run(connection, options).await,
        Command::Key(command) => audit_key::run(connection, command).await,
    }
}

async fn tail(connection: &Connection, tail: Tail) -> anyhow::Result<()> {
    let session = Session::open(connection).await?;
    let printed = print(&session, &tail).await;
    session.close().await;
    printed
}

async fn print(session: &Session, tail: &Tail) -> anyhow::Result<()> {
    let head = head_position(session.ledger().pool()).await?;
    let mut after = match tail.from {
        Some(from) => from.saturating_sub(1),
        None => head - tail.lines.max(0),
    };
    let reading = LedgerRead {
        revealed: tail.reveal,
        ..LedgerRead::stretch(after.max(0), head)
    };
    let command = if tail.follow {
        "audit tail --follow"
    } else {
        "audit tail"
    };
    let context = session.context(command)?;
    session.operations.record_reading(&context, reading).await?;
    loop {
        let events = session.operations.events_after(after, PAGE).await?;
        for event in &events {
            // This reading itself is for those who follow.
            if !tail.follow && event.position > head {
                return Ok(());
            }
            print_event(session.ledger(), event, (tail.reveal, tail.output)).await?;
            after = event.position;
        }
        if events.is_empty() {
            if !tail.follow {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// Prints an event on a line.
pub(super) async fn print_event(
    ledger: &Ledger,
    event: &StoredEvent,
    (revealing, output): (bool, Json),
) -> anyhow::Result<()> {
    if output.json {
        return output::json_line(&document::with_people(ledger, event, revealing).await?);
    }
    let caller = if revealing {
        document::caller(ledger, event).await?
    } else {
        None
    };
    let metadata = metadata(event)?;
    let operator = operator(ledger, event, &metadata).await?;
    let mut text = format!(
        "{:>8}  {}  {:<24} {} {}/{}  {}  {}  {}",
        event.position,
        output::moment(event.recorded_at),
        event.event_type,
        event.aggregate_type,
        event.aggregate_id,
        event.sequence,
        output::visible(&who(&metadata.who(), operator.as_ref())),
        metadata.endpoint,
        metadata.request_id,
    );
    // What a person looks for first: why something was refused or revoked, in the payload's own words.
    let payload: Value = serde_json::from_str(&event.payload)?;
    for member in ["error", "reason"] {
        if let Some(word) = payload.get(member).and_then(Value::as_str) {
            text = format!("{text}  {member}={}", output::visible(word));
        }
    }
    if let Some(note) = &metadata.note {
        text = format!("{text}  \"{}\"", output::visible(note));
    }
    if let Some(Caller { address, agent }) = caller {
        let address = address.map(|address| address.to_string());
        let agent = output::visible(&agent.unwrap_or_default());
        let address = address.unwrap_or_default();
        text = format!("{text}  from {address} {agent}");
    }
    output::line(&text)
}

fn metadata(event: &StoredEvent) -> anyhow::Result<Metadata> {
    serde_json::from_str(&event.metadata).context("an event's metadata cannot be read")
}

/// The person at the command line.
pub(super) async fn operator(
    ledger: &Ledger,
    event: &StoredEvent,
    metadata: &Metadata,
) -> anyhow::Result<Option<Operator>> {
    Ok(document::operator(ledger, event, metadata).await?)
}
