//! Event streams of shared signals, as administrators see and stop them.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::list::Listed;
use super::{OperationError, Operations, run};
use crate::clock::Timestamp;
use crate::domain::client::Client;
use crate::domain::ssf_stream::{
    OpenStream, SignalType, SsfStream, SsfStreamCommand, SsfStreamStatusChanged, StreamDelivery, StreamStatus,
};
use crate::ids::ClientKey;
use crate::ledger::{Context, LedgerError};

/// An event stream.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ShownSignalStream {
    /// Its id.
    pub stream_id: Uuid,
    /// The receiver's client id.
    pub client_id: String,
    /// Whether it is delivered.
    pub status: StreamStatus,
    /// Why, as the receiver is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether an administrator paused or disabled it: the receiver cannot undo that.
    pub held: bool,
    /// Where signals are pushed to; null where the receiver polls.
    pub endpoint_url: Option<String>,
    /// The event types that it delivers.
    pub events: Vec<&'static str>,
    /// What it is for, in the receiver's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// The position of its creation; the next page begins after it.
    pub position: i64,
    /// Signals that the receiver has not acknowledged.
    pub waiting: i64,
    /// For how long the first of them could have been had, in seconds; 0 where none waits.
    pub waiting_seconds: f64,
    /// How often the next one was pushed in vain.
    pub failures_in_a_row: i32,
    /// When it is pushed again, where it was in vain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Timestamp>,
}

/// What the transmitter's tables say of a stream.
#[derive(Clone, Copy, Debug, Default)]
struct Outbox {
    waiting: i64,
    seconds: f64,
    attempts: i32,
    due_at: Timestamp,
}

impl Operations {
    /// The event streams that were created after a position, oldest first; of one client, or of all.
    pub async fn shown_signal_streams(
        &self,
        client: Option<ClientKey>,
        (mut after, limit): (i64, u32),
    ) -> Result<Vec<ShownSignalStream>, LedgerError> {
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut open = Vec::new();
        loop {
            let listed = self.list::<SsfStream>(after, limit).await?;
            let last = listed.len() < most;
            after = listed.last().map_or(after, |listed| listed.position);
            open.extend(listed.into_iter().filter(|one| {
                let stream = one.loaded.open.as_ref();
                stream.is_some_and(|stream| client.is_none_or(|client| stream.client == client))
            }));
            if last || open.len() >= most {
                break;
            }
        }
        open.truncate(most);
        self.show(open).await
    }

    /// An event stream.
    pub async fn shown_signal_stream(&self, id: Uuid) -> Result<ShownSignalStream, OperationError> {
        let created: Option<(i64, Timestamp)> = sqlx::query_as(
            "SELECT position, recorded_at FROM grantlog.ledger_ssf_stream \
             WHERE lane = 0 AND aggregate_id = $1 AND sequence = 1",
        )
        .bind(id)
        .fetch_optional(self.ledger.pool())
        .await
        .map_err(LedgerError::from)?;
        let Some((position, created_at)) = created else {
            return Err(unknown());
        };
        let loaded = self.load::<SsfStream>(id).await?;
        let shown = self.show(vec![Listed {
            position,
            created_at,
            loaded,
        }]);
        shown.await?.pop().ok_or_else(unknown)
    }

    /// Enables, pauses or disables an event stream. The receiver is told that it was, not in the administrator's words,
    /// and cannot undo it.
    pub async fn set_signal_stream(
        &self,
        context: &Context,
        id: Uuid,
        status: StreamStatus,
    ) -> Result<(), OperationError> {
        let command = SsfStreamCommand::ChangeStatus(SsfStreamStatusChanged {
            status,
            reason: Some(words(status).to_owned()),
            by_transmitter: false,
            by_operator: Some(true),
        });
        Ok(run!(self, context, SsfStream, id, &command).outcome?)
    }

    async fn show(&self, listed: Vec<Listed<SsfStream>>) -> Result<Vec<ShownSignalStream>, LedgerError> {
        let ids: Vec<Uuid> = listed.iter().map(|one| one.loaded.id).collect();
        let outboxes = self.outboxes(&ids).await?;
        let mut shown = Vec::with_capacity(listed.len());
        for one in &listed {
            if let Some(open) = &one.loaded.open {
                let client = self.load::<Client>(open.client.0).await?;
                let known = client.registration.as_ref();
                let client_id =
                    known.map_or_else(|| open.client.to_string(), |known| known.client_id.clone());
                // The transmitter has not read of it yet.
                let outbox = outboxes.get(&one.loaded.id).copied().unwrap_or_default();
                shown.push(ShownSignalStream::new(one, (open, client_id), outbox));
            }
        }
        Ok(shown)
    }

    async fn outboxes(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, Outbox>, sqlx::Error> {
        let rows: Vec<(Uuid, i64, f64, i32, Timestamp)> = sqlx::query_as(
            "SELECT s.stream_id, count(t.number), \
                    greatest(coalesce(extract(epoch FROM clock_timestamp() - min(t.waits_since)), 0), 0) \
                        ::double precision, s.attempts, s.due_at \
             FROM grantlog.ssf_streams AS s LEFT JOIN grantlog.ssf_sets AS t USING (stream_id) \
             WHERE s.stream_id = ANY ($1) GROUP BY s.stream_id",
        )
        .bind(ids)
        .fetch_all(self.ledger.pool())
        .await?;
        let outbox = |(id, waiting, seconds, attempts, due_at)| {
            let outbox = Outbox {
                waiting,
                seconds,
                attempts,
                due_at,
            };
            (id, outbox)
        };
        Ok(rows.into_iter().map(outbox).collect())
    }
}

fn unknown() -> OperationError {
    crate::domain::ssf_stream::SsfStreamRefusal::Unknown.into()
}

/// What the receiver is told.
fn words(status: StreamStatus) -> &'static str {
    match status {
        StreamStatus::Enabled => "an administrator of the transmitter enabled it",
        StreamStatus::Paused => "an administrator of the transmitter paused it",
        StreamStatus::Disabled => "an administrator of the transmitter disabled it",
    }
}

impl ShownSignalStream {
    fn new(listed: &Listed<SsfStream>, (open, client_id): (&OpenStream, String), outbox: Outbox) -> Self {
        let endpoint_url = match &open.settings.delivery {
            StreamDelivery::Push { endpoint_url, .. } => Some(endpoint_url.clone()),
            StreamDelivery::Poll => None,
        };
        let delivered = open.settings.delivered();
        Self {
            stream_id: listed.loaded.id,
            client_id,
            status: open.status,
            reason: open.reason.clone(),
            held: open.held,
            endpoint_url,
            events: delivered.into_iter().map(SignalType::uri).collect(),
            description: open.settings.description.clone(),
            created_at: listed.created_at,
            position: listed.position,
            waiting: outbox.waiting,
            waiting_seconds: outbox.seconds,
            failures_in_a_row: outbox.attempts,
            next_attempt_at: (outbox.attempts > 0).then_some(outbox.due_at),
        }
    }
}
