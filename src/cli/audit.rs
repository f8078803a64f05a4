//! `grantlog audit`: the ledger's events, in order; and the evidence of them.

use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use uuid::Uuid;

use super::arguments::{Connection, Json};
use super::client_approval::who;
use super::grant::event_json;
use super::session::Session;
use super::{audit_export, audit_key, audit_prove, audit_verify, output};
use crate::crypto::vault::{KeyOwner, Place};
use crate::domain::trail::LedgerRead;
use crate::ids::SubjectId;
use crate::ledger::{Caller, LANE, Ledger, Metadata, Operator, StoredEvent, head_position};

/// How often the ledger is looked at for more.
const POLL: Duration = Duration::from_millis(250);
/// Events read at once.
const PAGE: u32 = 500;

/// What to do.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Print events with their circumstances; without --from the last ones
    Tail(Tail),
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
        grant: None,
        after: after.max(0),
        upto: head,
        filters: Vec::new(),
        revealed: tail.reveal,
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
            print_event(session.ledger(), event, tail).await?;
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

async fn print_event(ledger: &Ledger, event: &StoredEvent, tail: &Tail) -> anyhow::Result<()> {
    let caller = if tail.reveal {
        reveal(ledger, event).await?
    } else {
        None
    };
    let metadata = metadata(event)?;
    let operator = operator(ledger, event, &metadata).await?;
    if tail.output.json {
        let mut document = event_json(event)?;
        if let Some(members) = document.as_object_mut() {
            members.extend(caller.map(|caller| ("caller".to_owned(), json!(caller))));
            members.extend(operator.map(|operator| ("operator".to_owned(), json!(operator))));
        }
        return output::json_line(&document);
    }
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
    let place = (
        event.aggregate_type.as_str(),
        event.aggregate_id,
        event.event_type.as_str(),
    );
    Ok(metadata
        .operator(ledger.vault(), place, event.recorded_at)
        .await?)
}

/// The caller's address and agent; none where there is none, or the key to it is destroyed.
async fn reveal(ledger: &Ledger, event: &StoredEvent) -> anyhow::Result<Option<Caller>> {
    let metadata = metadata(event)?;
    let Some(sealed) = &metadata.caller else {
        return Ok(None);
    };
    let place = Place {
        aggregate_type: &event.aggregate_type,
        aggregate_id: event.aggregate_id,
        event_type: &event.event_type,
        field: "metadata.caller",
    };
    for subject in subjects(ledger, event, &metadata).await? {
        let owner = KeyOwner::network(subject, event.recorded_at);
        let Some(key) = ledger.vault().find(&owner).await? else {
            continue;
        };
        // Under another subject's key it does not open, which is how the right one is found.
        if let Ok(plain) = key.open(&place, sealed) {
            return Ok(serde_json::from_str(&plain).ok());
        }
    }
    Ok(None)
}

/// Whose network data it may be: the actor's, the one that the event or its grant names, or nobody's.
async fn subjects(
    ledger: &Ledger,
    event: &StoredEvent,
    metadata: &Metadata,
) -> anyhow::Result<Vec<Option<SubjectId>>> {
    let parse = |text: &str| Uuid::try_parse(text).ok().map(SubjectId);
    let mut subjects = vec![None];
    subjects.extend(metadata.actor.strip_prefix("user:").map(parse));
    let payload: Value = serde_json::from_str(&event.payload)?;
    subjects.extend(payload.get("subject").and_then(Value::as_str).map(parse));
    match event.aggregate_type.as_str() {
        "user" => subjects.push(Some(SubjectId(event.aggregate_id))),
        "grant" | "session" => {
            // Only their first event names the user.
            let first: Option<String> = sqlx::query_scalar(
                "SELECT payload->>'subject' FROM grantlog.ledger \
                 WHERE lane = $1 AND aggregate_type = $2 AND aggregate_id = $3 AND sequence = 1",
            )
            .bind(LANE)
            .bind(&event.aggregate_type)
            .bind(event.aggregate_id)
            .fetch_optional(ledger.pool())
            .await?
            .flatten();
            subjects.extend(first.as_deref().map(parse));
        }
        _ => {}
    }
    Ok(subjects)
}
