//! `grantlog signal`: the event streams of shared signals.

use clap::Subcommand;
use uuid::Uuid;

use super::arguments::{Connection, Json, Page};
use super::session::Session;
use super::{client, output};
use crate::domain::ssf_stream::StreamStatus;

/// What to do.
#[derive(Subcommand)]
pub(super) enum Command {
    /// List the event streams, and what waits for their receivers
    List {
        /// Of this client only
        #[arg(long, value_name = "CLIENT")]
        client: Option<String>,
        #[command(flatten)]
        page: Page,
        #[command(flatten)]
        output: Json,
    },
    /// Show one event stream
    Show {
        /// Its `stream_id`
        stream: Uuid,
        #[command(flatten)]
        output: Json,
    },
    /// Hold a receiver's signals; it is told, and cannot undo it
    Pause(Change),
    /// Send a receiver no signals and drop what waits; it is told, and cannot undo it
    Disable(Change),
    /// Let an event stream be delivered again
    Enable(Change),
}

/// Which event stream, and why.
#[derive(clap::Args)]
pub(super) struct Change {
    /// Its `stream_id`
    stream: Uuid,
    /// Why; it is recorded, and not told to the receiver
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    output: Json,
}

pub(super) async fn run(connection: &Connection, command: Command) -> anyhow::Result<()> {
    let session = Session::open(connection).await?;
    let done = match command {
        Command::List { client, page, output } => list(&session, client.as_deref(), (page, output)).await,
        Command::Show { stream, output } => show(&session, stream, output).await,
        Command::Pause(change) => change.run(&session, ("signal pause", StreamStatus::Paused)).await,
        Command::Disable(change) => {
            change
                .run(&session, ("signal disable", StreamStatus::Disabled))
                .await
        }
        Command::Enable(change) => {
            change
                .run(&session, ("signal enable", StreamStatus::Enabled))
                .await
        }
    };
    session.close().await;
    done
}

impl Change {
    async fn run(
        self,
        session: &Session,
        (command, status): (&'static str, StreamStatus),
    ) -> anyhow::Result<()> {
        let context = session.context_with(command, Some(&self.reason))?;
        let operations = &session.operations;
        operations
            .set_signal_stream(&context, self.stream, status)
            .await?;
        show(session, self.stream, self.output).await
    }
}

async fn list(session: &Session, client: Option<&str>, (page, output): (Page, Json)) -> anyhow::Result<()> {
    let client = match client {
        Some(client) => Some(client::find(session, client).await?),
        None => None,
    };
    let operations = &session.operations;
    let streams = operations
        .shown_signal_streams(client, (page.after, page.limit))
        .await?;
    if output.json {
        return output::json(&streams);
    }
    let rows: Vec<_> = streams
        .iter()
        .map(|stream| {
            let held = if stream.held { " (held)" } else { "" };
            [
                stream.stream_id.to_string(),
                stream.client_id.clone(),
                format!("{}{held}", stream.status.name()),
                stream.waiting.to_string(),
                format!("{:.0}", stream.waiting_seconds),
                stream.failures_in_a_row.to_string(),
                stream.endpoint_url.clone().unwrap_or_else(|| "polled".to_owned()),
            ]
        })
        .collect();
    output::table(
        ["STREAM", "CLIENT", "STATUS", "WAIT", "SECONDS", "FAILED", "TO"],
        &rows,
    )
}

async fn show(session: &Session, stream: Uuid, output: Json) -> anyhow::Result<()> {
    let stream = session.operations.shown_signal_stream(stream).await?;
    if output.json {
        return output::json(&stream);
    }
    for (name, value) in serde_json::to_value(&stream)?.as_object().into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        output::line(&format!("{name:<18} {}", output::visible(&text)))?;
    }
    Ok(())
}
