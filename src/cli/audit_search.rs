//! `grantlog audit search`: events by whom and what they concern.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{bail, ensure};
use clap::Args;
use uuid::Uuid;

use super::arguments::{Connection, Json};
use super::audit::print_event;
use super::audit_write::Writer;
use super::grant::Found;
use super::session::Session;
use super::{client, output, user};
use crate::domain::event::Event;
use crate::domain::value::Digest;
use crate::ids::{RequestId, SessionId};
use crate::ledger::{Actor, head_position};
use crate::trail::as_of::AsOf;
use crate::trail::key::words;
use crate::trail::missing::{Missing, missing};
use crate::trail::search::Filters;
use crate::trail::{Order, Stretch, search};

/// Events that are written to a file at once.
const CHUNK: usize = 1_000;

/// Options of `search`.
#[derive(Args)]
pub(super) struct Search {
    #[command(flatten)]
    filters: Arguments,
    /// From when on: a moment (RFC 3339), a day, so long ago (2h), or a position
    #[arg(long, value_name = "TIME|POSITION")]
    from: Option<AsOf>,
    /// Until when, that moment or position included
    #[arg(long, value_name = "TIME|POSITION")]
    to: Option<AsOf>,
    /// Go on after this position (the last one of the page before)
    #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(i64).range(0..))]
    after: Option<i64>,
    /// The most events
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000), conflicts_with = "export")]
    limit: u32,
    /// The oldest first; otherwise the newest are
    #[arg(long)]
    oldest_first: bool,
    /// Decrypt the callers' addresses and user agents
    #[arg(long)]
    reveal: bool,
    /// Write everything that is found to a new file, the oldest first: one JSON document on each line (.ndjson), or
    /// Apache Parquet
    #[arg(long, value_name = "FILE.ndjson|FILE.parquet")]
    export: Option<PathBuf>,
    #[command(flatten)]
    output: Json,
}

/// What events are looked for: all filters must agree.
#[derive(Args)]
struct Arguments {
    /// Who acted: `command_line`, system, policy, anonymous, client:ID or user:ID
    #[arg(long, value_name = "WHO")]
    actor: Option<String>,
    /// The person at the command line, by the name that was recorded. (--operator says who you are)
    #[arg(long, value_name = "NAME")]
    by_operator: Option<String>,
    /// What concerns a client: its id
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,
    /// What concerns a user: the login name or id
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// What happened in a browser login, and in the grants that were given in it
    #[arg(long, value_name = "ID")]
    session: Option<Uuid>,
    /// What concerns a grant: its id, or a credential of it; - reads it from standard input
    #[arg(long, value_name = "GRANT")]
    grant: Option<String>,
    /// What came from the network (/24 or /48) of an address
    #[arg(long, value_name = "ADDRESS")]
    address: Option<IpAddr>,
    /// What came from a network, by the digest that events and alerts name it by
    #[arg(long, value_name = "DIGEST", value_parser = digest)]
    network: Option<Digest>,
    /// What names a public key or certificate, or was authenticated by it: its kid or thumbprint
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    key: Option<String>,
    /// Events of this name; may be given more than once, for one of them
    #[arg(long, value_name = "EVENT", value_parser = event_type)]
    event: Vec<String>,
    /// What a request caused
    #[arg(long, value_name = "ID")]
    request: Option<Uuid>,
    /// Words that the reason, error code or note has, all of them
    #[arg(long, value_name = "WORDS", value_parser = some_words)]
    reason: Option<String>,
}

fn digest(text: &str) -> Result<Digest, &'static str> {
    Digest::from_hex(text).ok_or("it is not a digest of 64 hexadecimal digits, in lower case")
}

/// An event's name: a wrong one would find nothing.
fn event_type(text: &str) -> Result<String, String> {
    let schemas = Event::schemas();
    if schemas.iter().any(|schema| schema.event_type == text) {
        return Ok(text.to_owned());
    }
    let named = schemas.iter().map(|schema| schema.event_type);
    let near = named.filter(|name| name.to_lowercase().contains(&text.to_lowercase()));
    let mut near: Vec<&str> = near.collect();
    near.sort_by_key(|name| name.len());
    if near.is_empty() {
        return Err("there is no such event; docs/events.md lists them".to_owned());
    }
    Err(format!(
        "there is no such event; did you mean {}?",
        near.join(", ")
    ))
}

fn some_words(text: &str) -> Result<String, &'static str> {
    if words(text).is_empty() {
        return Err("it has no word");
    }
    Ok(text.to_owned())
}

pub(super) async fn run(connection: &Connection, search: Search) -> anyhow::Result<()> {
    let session = Session::open(connection).await?;
    let searched = search_with(&session, search).await;
    session.close().await;
    searched
}

/// An actor as metadata spells it. A client and a user may go by their names.
async fn actor_named(session: &Session, actor: String) -> anyhow::Result<String> {
    Ok(match actor.split_once(':') {
        Some(("client", client)) => Actor::Client(client::find(session, client).await?).to_string(),
        Some(("user", user)) => Actor::User(user::find(session, user).await?).to_string(),
        None if NAMELESS.iter().any(|known| known.to_string() == actor) => actor,
        Some(_) | None => {
            bail!("--actor: it is command_line, system, policy, anonymous, client:ID or user:ID")
        }
    })
}

/// The actors that have no id.
const NAMELESS: [Actor; 4] = [Actor::CommandLine, Actor::System, Actor::Policy, Actor::Anonymous];

impl Arguments {
    async fn filters(self, session: &Session) -> anyhow::Result<Filters> {
        let client = match self.client {
            Some(client) => Some(client::find(session, &client).await?),
            None => None,
        };
        let subject = match self.user {
            Some(user) => Some(user::find(session, &user).await?),
            None => None,
        };
        let grant = match self.grant {
            Some(grant) => Some(Found::find(session, grant).await?.grant),
            None => None,
        };
        let actor = match self.actor {
            Some(actor) => Some(actor_named(session, actor).await?),
            None => None,
        };
        Ok(Filters {
            actor,
            operator: self.by_operator,
            client,
            subject,
            session: self.session.map(SessionId),
            grant,
            address: self.address,
            network: self.network,
            public_key: self.key,
            events: self.event,
            request: self.request.map(RequestId),
            reason: self.reason,
        })
    }
}

impl Search {
    /// The stretch of the ledger, as it ends now, and the order.
    async fn stretch(&self, session: &Session) -> anyhow::Result<(Stretch, Order)> {
        let ledger = session.ledger();
        let mut stretch = Stretch {
            after: 0,
            upto: head_position(ledger.pool()).await?,
        };
        if let Some(from) = self.from {
            stretch.after = from.before(ledger).await?;
        }
        if let Some(to) = self.to {
            stretch.upto = to.position(ledger).await?;
        }
        ensure!(stretch.after <= stretch.upto, "--from comes after --to");
        let order = if self.oldest_first || self.export.is_some() {
            Order::OldestFirst
        } else {
            Order::NewestFirst
        };
        match (self.after, order) {
            (None, _) => {}
            (Some(after), Order::OldestFirst) => stretch.after = stretch.after.max(after.min(stretch.upto)),
            (Some(after), Order::NewestFirst) => stretch.upto = stretch.upto.min(after - 1),
        }
        Ok((stretch, order))
    }
}

async fn search_with(session: &Session, mut arguments: Search) -> anyhow::Result<()> {
    let (stretch, order) = arguments.stretch(session).await?;
    let export = arguments.export.take();
    let (reveal, output) = (arguments.reveal, arguments.output);
    let limit = usize::try_from(arguments.limit)?;
    let filters = arguments.filters.filters(session).await?;
    let writer = export.map(Writer::create).transpose()?;
    let reading = filters.reading(stretch, reveal);
    let context = session.context("audit search")?;
    session.operations.record_reading(&context, reading).await?;
    let missing = missing(session.ledger().pool(), stretch).await?;
    super::missing::note(&missing);
    let mut search = search::Search::begin(session.ledger(), &filters, (stretch, order)).await?;
    if let Some(writer) = writer {
        return write(session, &mut search, (writer, reveal, output), &missing).await;
    }
    let events = search.next(&session.operations, limit).await?;
    for event in &events {
        print_event(session.ledger(), event, (reveal, output)).await?;
    }
    if !output.json
        && let Some(last) = events.last().filter(|_| events.len() == limit)
    {
        output::note(&format!("there may be more: --after {}", last.position));
    }
    Ok(())
}

/// Writes everything that is found to a file.
async fn write(
    session: &Session,
    search: &mut search::Search,
    (mut writer, reveal, output): (Writer, bool, Json),
    missing: &[Missing],
) -> anyhow::Result<()> {
    let Stretch { after, upto } = search.left();
    let bar = output::bar(u64::try_from(upto - after).unwrap_or_default(), "positions");
    let mut written = 0_u64;
    loop {
        let events = search.next(&session.operations, CHUNK).await?;
        for event in &events {
            writer.write(session.ledger(), event, reveal).await?;
            written += 1;
        }
        bar.set_position(u64::try_from(search.left().after - after).unwrap_or_default());
        if events.len() < CHUNK {
            break;
        }
    }
    bar.finish_and_clear();
    let file = writer.finish()?;
    if output.json {
        return output::json(&serde_json::json!({"file": file, "events": written, "missing": missing}));
    }
    output::line(&format!("{written} events in {}", file.display()))
}
