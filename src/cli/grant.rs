//! `grantlog grant`: a grant's whole life, found by its id or by any credential that came of it.

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::json;
use zeroize::Zeroizing;

use super::arguments::{Confirmation, Connection, Json};
use super::audit::operator;
use super::client_approval::who;
use super::session::Session;
use super::{grant_diff, grant_show, output, prompt};
use crate::credential::Kind;
use crate::ids::GrantId;
use crate::ledger::{Metadata, StoredEvent, head_position};
use crate::trail::as_of::AsOf;
use crate::trail::pasted::Pasted;

/// What to do.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Show how a grant came about, what came of it, and what each step rested on
    Show {
        /// The grant's id, or an authorization code, device code, refresh token or access token of it, or the old refresh token
        /// that it was imported with; - reads it from standard input, where other processes do not see it
        grant: String,
        /// As it was then: a moment (RFC 3339), a day, so long ago (2h), or a position
        #[arg(long, value_name = "TIME|POSITION")]
        at: Option<AsOf>,
        /// Decrypt the callers' addresses and user agents
        #[arg(long)]
        reveal: bool,
        #[command(flatten)]
        output: Json,
    },
    /// Show what changed in a grant between two moments, and by which events
    Diff {
        /// As for show
        grant: String,
        /// The earlier moment (RFC 3339), day, time ago (2h) or position
        #[arg(long, value_name = "TIME|POSITION")]
        from: AsOf,
        /// The later one [default: now]
        #[arg(long, value_name = "TIME|POSITION")]
        to: Option<AsOf>,
        #[command(flatten)]
        output: Json,
    },
    /// End a grant and everything that came of it
    Revoke {
        /// As for show
        grant: String,
        /// Why; it is recorded
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        confirmation: Confirmation,
        #[command(flatten)]
        output: Json,
    },
}

pub(super) async fn run(connection: &Connection, command: Command) -> anyhow::Result<()> {
    let session = Session::open(connection).await?;
    match command {
        Command::Show {
            grant,
            at,
            reveal,
            output,
        } => grant_show::run(&session, grant, (at, reveal), output).await?,
        Command::Diff {
            grant,
            from,
            to,
            output,
        } => grant_diff::run(&session, grant, (from, to), output).await?,
        Command::Revoke {
            grant,
            reason,
            confirmation,
            output,
        } => {
            let found = Found::find(&session, grant).await?;
            prompt::confirm(confirmation, "Revoke the grant and all its tokens?")?;
            let context = session.context_with("grant revoke", Some(&reason))?;
            session.operations.revoke_grant(&context, found.grant).await?;
            if output.json {
                output::json(&json!({"grant": found.grant, "state": "revoked"}))?;
            } else {
                output::line(&format!("grant {} is revoked", found.grant))?;
            }
        }
    }
    session.close().await;
    Ok(())
}

/// The grant that was named, and what was pasted. The text itself is gone.
pub(super) struct Found {
    pub(super) grant: GrantId,
    pub(super) pasted: Pasted,
}

impl Found {
    pub(super) async fn find(session: &Session, text: String) -> anyhow::Result<Self> {
        let text = Zeroizing::new(if text == "-" { prompt::first_line()? } else { text });
        let pasted = Pasted::find(&session.operations, &text).await?;
        Ok(Self {
            grant: pasted.grant,
            pasted,
        })
    }

    /// Where the pasted credential was issued, and whether it is an access token; none where the grant was named.
    pub(super) fn issued(&self) -> Option<(u32, bool)> {
        let (kind, presented) = self.pasted.credential?;
        let access = matches!(kind, Kind::Access | Kind::TokenId);
        Some((presented.address.sequence, access))
    }

    /// The grant's events up to a position. That they were read is on the trail first.
    pub(super) async fn read(
        &self,
        session: &Session,
        command: &'static str,
        (upto, revealed): (i64, bool),
    ) -> anyhow::Result<Vec<StoredEvent>> {
        let head = head_position(session.ledger().pool()).await?;
        let context = session.context(command)?;
        session
            .operations
            .record_reading_of_grant(&context, self.grant, (upto.min(head), revealed))
            .await?;
        let mut events = session.operations.grant_events(self.grant).await?;
        events.retain(|event| event.position <= upto);
        Ok(events)
    }
}

/// Prints a grant's events, a line each.
pub(super) async fn table(session: &Session, events: &[StoredEvent]) -> anyhow::Result<()> {
    let mut rows = Vec::with_capacity(events.len());
    for event in events {
        rows.push(row(session, event).await?);
    }
    output::table(
        ["POSITION", "RECORDED", "SEQ", "EVENT", "ACTOR", "REQUEST"],
        &rows,
    )
}

fn metadata(event: &StoredEvent) -> anyhow::Result<Metadata> {
    serde_json::from_str(&event.metadata).context("an event's metadata cannot be read")
}

async fn row(session: &Session, event: &StoredEvent) -> anyhow::Result<[String; 6]> {
    let metadata = metadata(event)?;
    let operator = operator(session.ledger(), event, &metadata).await?;
    Ok([
        event.position.to_string(),
        output::moment(event.recorded_at),
        event.sequence.to_string(),
        event.event_type.clone(),
        who(&metadata.who(), operator.as_ref()),
        metadata.request_id.to_string(),
    ])
}
