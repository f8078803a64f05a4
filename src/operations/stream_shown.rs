//! Streams as administrators are shown them: what they carry, and how they fare.

use schemars::JsonSchema;
use serde::Serialize;

use super::{OperationError, Operations};
use crate::clock::Timestamp;
use crate::domain::stream::{Defined, OnFailure, StreamFilter, StreamTarget};
use crate::ledger::LedgerError;
use crate::stream::{StreamStatus, status};

/// How a stream fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum StreamState {
    /// A server delivers.
    #[serde(rename = "running")]
    Running,
    /// The last delivery failed, and is tried again.
    #[serde(rename = "failing")]
    Failing,
    /// It stands still until it is resumed.
    #[serde(rename = "paused")]
    Paused,
    /// No server has it in hand.
    #[serde(rename = "waiting for a server")]
    Waiting,
}

impl StreamState {
    /// The words in lists.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Failing => "failing",
            Self::Paused => "paused",
            Self::Waiting => "waiting for a server",
        }
    }
}

/// A stream.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ShownStream {
    /// Its name.
    pub name: String,
    /// How it fares.
    pub state: StreamState,
    /// Why it stands still.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
    /// Where to.
    pub target: StreamTarget,
    /// What of the ledger.
    pub filter: StreamFilter,
    /// The most events of one delivery.
    pub batch: u32,
    /// How often an event is tried before the stream gives up on it.
    pub attempts: u32,
    /// What giving up means.
    pub on_failure: OnFailure,
    /// How many secrets it has.
    pub secrets: usize,
    /// It began after this position.
    pub after: i64,
    /// How far it has come; nothing before a server has begun with it.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub progress: Option<ShownProgress>,
    /// A new secret of a webhook, told this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// How far a stream has come.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ShownProgress {
    /// Everything up to here is dealt with.
    pub position: i64,
    /// Events of the ledger that are not dealt with.
    pub lag_events: i64,
    /// How long ago the first of those was recorded, in seconds.
    pub lag_seconds: f64,
    /// Events that were acknowledged, repeated ones too.
    pub delivered_events: i64,
    /// Deliveries that failed.
    pub failures: i64,
    /// Failures in a row.
    pub failures_in_a_row: i32,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
    /// What happened at last, where it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When it is tried again, where it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Timestamp>,
    /// Positions that were given up on.
    pub dead_letters: i64,
    /// The size of the last checkpoint that was delivered.
    pub checkpoint: i64,
}

impl From<&StreamStatus> for ShownProgress {
    fn from(status: &StreamStatus) -> Self {
        Self {
            position: status.position,
            lag_events: status.lag(),
            lag_seconds: status.lag_seconds,
            delivered_events: status.events,
            failures: status.failures,
            failures_in_a_row: status.attempts,
            failing_since: status.failing_since,
            error: status.error.clone(),
            next_attempt_at: status.error.is_some().then_some(status.due_at),
            dead_letters: status.dead_letters,
            checkpoint: status.checkpoint,
        }
    }
}

impl ShownStream {
    fn new(defined: Defined, all: &[StreamStatus]) -> Self {
        let status = all.iter().find(|status| status.name == defined.name);
        let state = match status {
            _ if defined.paused.is_some() => StreamState::Paused,
            Some(status) if status.error.is_some() => StreamState::Failing,
            Some(status) if status.held => StreamState::Running,
            Some(_) | None => StreamState::Waiting,
        };
        let definition = defined.definition;
        Self {
            name: defined.name,
            state,
            paused: defined.paused,
            target: definition.target,
            filter: definition.filter,
            batch: definition.batch,
            attempts: definition.attempts,
            on_failure: definition.on_failure,
            secrets: definition.secrets.len(),
            after: defined.after,
            progress: status.map(ShownProgress::from),
            secret: None,
        }
    }
}

impl Operations {
    /// All streams, in the order in which they were first defined.
    pub async fn shown_streams(&self) -> Result<Vec<ShownStream>, LedgerError> {
        let streams = self.streams().await?;
        let all = status(self.ledger.pool()).await?;
        let shown = streams.into_iter().map(|stream| ShownStream::new(stream, &all));
        Ok(shown.collect())
    }

    /// A stream.
    pub async fn shown_stream(&self, name: &str) -> Result<ShownStream, OperationError> {
        let stream = self.stream(name).await?;
        let all = status(self.ledger.pool()).await.map_err(LedgerError::from)?;
        Ok(ShownStream::new(stream, &all))
    }
}
