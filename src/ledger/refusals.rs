//! Recording refused requests, within a budget: a flood of bad requests must not become a flood of events.

use std::collections::HashMap;
use std::sync::Mutex;

use chrono::TimeDelta;
use uuid::Uuid;

use super::Ledger;
use super::appender::Priority;
use super::command::{Command, Expectation, NewEvent};
use super::metadata::Context;
use super::unit::LedgerError;
use crate::clock::Timestamp;
use crate::domain::refusal::{RefusalEvent, RefusalReason, RefusalsSuppressed, RequestRefused};
use crate::domain::{AggregateType, LedgerEvent};
use crate::ids::{ClientKey, GrantId, SubjectId};

/// The most sources that are counted at once; beyond it they share one budget.
const MAX_SOURCES: usize = 10_000;

/// What is known of a refused request.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The error code that the caller is given.
    pub error: &'static str,
    /// The precise reason.
    pub reason: RefusalReason,
    /// The client, claimed or authenticated.
    pub client: Option<ClientKey>,
    /// The user.
    pub subject: Option<SubjectId>,
    /// The grant, where a credential's digest matched.
    pub grant: Option<GrantId>,
}

/// Counts refusals per source (network and client) and minute.
#[derive(Debug)]
pub struct RefusalBudget {
    per_minute: u32,
    windows: Mutex<HashMap<Uuid, Window>>,
}

#[derive(Debug)]
struct Window {
    since: Timestamp,
    recorded: u32,
    suppressed: u64,
}

/// What to do with a refusal.
enum Verdict {
    Record,
    Suppress,
}

impl RefusalBudget {
    pub(super) fn new(per_minute: u32) -> Self {
        Self {
            per_minute,
            windows: Mutex::default(),
        }
    }

    fn spend(&self, source: Uuid, at: Timestamp) -> Verdict {
        let Ok(mut windows) = self.windows.lock() else {
            return Verdict::Record;
        };
        let full = windows.len() >= MAX_SOURCES && !windows.contains_key(&source);
        let source = if full { Uuid::nil() } else { source };
        let window = windows.entry(source).or_insert(Window {
            since: at,
            recorded: 0,
            suppressed: 0,
        });
        if window.recorded < self.per_minute {
            window.recorded += 1;
            return Verdict::Record;
        }
        window.suppressed += 1;
        Verdict::Suppress
    }

    /// Ends the windows that are over; what they suppressed, if anything.
    fn close(&self, at: Timestamp) -> Vec<RefusalsSuppressed> {
        let Ok(mut windows) = self.windows.lock() else {
            return Vec::new();
        };
        let over = |window: &Window| at >= window.since + TimeDelta::minutes(1);
        let ended: Vec<_> = windows
            .values()
            .filter(|window| over(window) && window.suppressed > 0)
            .map(|window| RefusalsSuppressed {
                count: window.suppressed,
                since: window.since,
                until: at,
            })
            .collect();
        windows.retain(|_, window| !over(window));
        ended
    }
}

impl Ledger {
    /// Records a refused request, at low priority and within the source's budget. Failing to record does not
    /// fail the request: it is refused anyway.
    pub async fn record_refusal(&self, context: &Context, refused: Refused) {
        metrics::counter!("grantlog_refusals_total", "endpoint" => context.endpoint, "error" => refused.error)
            .increment(1);
        let now = self.clock().now();
        let source = source_of(context, &refused);
        if matches!(self.inner.refusals.spend(source, now), Verdict::Suppress) {
            metrics::counter!("grantlog_refusals_suppressed_total").increment(1);
            return;
        }
        let Refused {
            error,
            reason,
            client,
            subject,
            grant,
        } = refused;
        let event = RequestRefused {
            endpoint: context.endpoint.to_owned(),
            error: error.to_owned(),
            reason: reason.name().to_owned(),
            client,
            subject,
            grant,
        };
        if let Err(error) = self.append_refusal(context, event.into()).await {
            tracing::warn!(%error, "a refusal was not recorded");
        }
    }

    /// Records how many refusals went unrecorded in the windows that are over.
    pub async fn record_suppressed(&self, context: &Context) {
        for event in self.inner.refusals.close(self.clock().now()) {
            if let Err(error) = self.append_refusal(context, event.into()).await {
                tracing::warn!(%error, "a count of suppressed refusals was not recorded");
            }
        }
    }

    async fn append_refusal(&self, context: &Context, event: RefusalEvent) -> Result<(), LedgerError> {
        let at = self.clock().now();
        let id = self.random().uuid_at(at)?;
        let seals = context.seals(self.vault(), context.subject, at).await?;
        let kind = AggregateType::Refusal;
        let metadata = context.metadata(self.vault(), &seals, (kind, id, event.name()), at)?;
        let (event_type, version, payload) = (event.name(), event.version(), event.payload()?);
        let command = Command {
            id: self.random().uuid()?,
            expectations: vec![Expectation {
                kind,
                id,
                sequence: 0,
            }],
            events: vec![NewEvent {
                kind,
                id,
                sequence: 1,
                event_type,
                version,
                payload,
                metadata,
            }],
            names: Vec::new(),
        };
        self.append(command, Priority::Low)
            .await
            .map(|_| ())
            .map_err(|_| LedgerError::Unavailable)
    }
}

/// The source that a budget belongs to: the caller's network and the client that it names.
fn source_of(context: &Context, refused: &Refused) -> Uuid {
    let network = context
        .address
        .map(super::metadata::network_of)
        .unwrap_or_default();
    let client = refused.client.map_or(Uuid::nil(), |client| client.0);
    let digest = crate::domain::value::Digest::of(format!("{network} {client}").as_bytes());
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest.0).for_each(|(to, from)| *to = from);
    Uuid::from_bytes(bytes)
}
