//! Recording refused requests, within a budget: a flood of bad requests must not become a flood of events.

use std::collections::HashMap;
use std::sync::Mutex;

use chrono::TimeDelta;

use super::Ledger;
use super::appender::Priority;
use super::command::{Command, Expectation, NewEvent};
use super::metadata::{Context, network_of};
use super::unit::LedgerError;
use crate::clock::Timestamp;
use crate::crypto::vault::month;
use crate::domain::client::AuthMethod;
use crate::domain::refusal::{RefusalClass, RefusalEvent, RefusalReason, RefusalsSuppressed, RequestRefused};
use crate::domain::value::Digest;
use crate::domain::{AggregateType, LedgerEvent};
use crate::ids::{ClientKey, GrantId, SubjectId};

/// The most sources that are counted at once; beyond it they share one budget for each class.
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

/// Whose budget a refusal is of. What anybody can make up (a client's name, a scope) must not use up the budget of what
/// they would hide with it, so what they may have been tries at, and what was proven, are parts of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Source {
    /// The caller's network, as a digest keyed per month.
    network: Option<Digest>,
    /// The client that the caller names.
    client: Option<ClientKey>,
    class: RefusalClass,
    /// Whether the client had proven who it is.
    authenticated: bool,
    /// The user, where it is known: whoever guesses at one has no budget for others.
    subject: Option<SubjectId>,
    /// Whether a credential was authentic.
    grant: bool,
}

/// Counts refusals per source and minute.
#[derive(Debug)]
pub struct RefusalBudget {
    per_minute: u32,
    windows: Mutex<HashMap<Source, Window>>,
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

    fn spend(&self, source: Source, at: Timestamp) -> Verdict {
        let Ok(mut windows) = self.windows.lock() else {
            return Verdict::Record;
        };
        let full = windows.len() >= MAX_SOURCES && !windows.contains_key(&source);
        let shared = Source {
            class: source.class,
            ..Source::default()
        };
        let source = if full { shared } else { source };
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

    /// Ends the windows that are over, or all of them; what they suppressed, if anything.
    fn close(&self, at: Timestamp, all: bool) -> Vec<RefusalsSuppressed> {
        let Ok(mut windows) = self.windows.lock() else {
            return Vec::new();
        };
        let over = |window: &Window| all || at >= window.since + TimeDelta::minutes(1);
        let ended: Vec<_> = windows
            .iter()
            .filter(|(_, window)| over(window) && window.suppressed > 0)
            .map(|(source, window)| RefusalsSuppressed {
                count: window.suppressed,
                since: window.since,
                until: at,
                network: source.network,
                client: source.client,
                class: Some(source.class),
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
        let source = self.source_of(context, &refused, now);
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

    /// Records how many refusals went unrecorded in the windows that are over; in all of them where the server ends.
    pub async fn record_suppressed(&self, context: &Context, all: bool) {
        for event in self.inner.refusals.close(self.clock().now(), all) {
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

    fn source_of(&self, context: &Context, refused: &Refused, at: Timestamp) -> Source {
        let master = self.vault().master();
        let digest = |address| master.network_digest(&month(at), &network_of(address));
        let authentication = context.authentication.get();
        Source {
            network: context.address.map(digest),
            client: refused.client,
            class: RefusalClass::of(
                (context.endpoint, refused.error),
                Some(refused.reason),
                refused.subject.is_some(),
            ),
            authenticated: authentication.is_some_and(|how| how.method != AuthMethod::None.name()),
            subject: refused.subject,
            grant: refused.grant.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn recorded(budget: &RefusalBudget, source: Source, times: usize) -> usize {
        let at = Timestamp::UNIX_EPOCH;
        (0..times)
            .filter(|_| matches!(budget.spend(source, at), Verdict::Record))
            .count()
    }

    #[test]
    fn junk_uses_up_no_budget_but_its_own_however_many_sources_there_are() {
        let budget = RefusalBudget::new(3);
        let client = Some(ClientKey(Uuid::from_u128(1)));
        let junk = Source {
            client,
            ..Source::default()
        };
        let guess = Source {
            class: RefusalClass::Password,
            ..junk
        };
        assert_eq!(recorded(&budget, junk, 100), 3);
        assert_eq!(recorded(&budget, guess, 2), 2);
        // Whoever names very many clients makes all further sources share a budget, for each class.
        for number in 0..MAX_SOURCES {
            let client = Some(ClientKey(Uuid::from_u128(number as u128)));
            recorded(
                &budget,
                Source {
                    client,
                    ..Source::default()
                },
                1,
            );
        }
        let named = |class| Source {
            client: Some(ClientKey(Uuid::from_u128(u128::MAX))),
            class,
            ..Source::default()
        };
        assert_eq!(recorded(&budget, named(RefusalClass::Other), 100), 2);
        assert_eq!(recorded(&budget, named(RefusalClass::ClientCredential), 2), 2);
        let ended = budget.close(Timestamp::UNIX_EPOCH + TimeDelta::minutes(1), false);
        assert!(
            ended
                .iter()
                .any(|event| event.client == client && event.count == 98)
        );
        assert!(
            ended
                .iter()
                .all(|event| matches!(event.class, Some(RefusalClass::Other | RefusalClass::Password)))
        );
    }

    #[test]
    fn guesses_at_one_user_hide_none_at_another_and_the_end_counts_what_is_open() {
        let (budget, at) = (RefusalBudget::new(3), Timestamp::UNIX_EPOCH);
        for user in 1..=2 {
            let guess = Source {
                subject: Some(SubjectId(Uuid::from_u128(user))),
                class: RefusalClass::Password,
                ..Source::default()
            };
            assert_eq!(recorded(&budget, guess, 9), 3);
        }
        assert!(budget.close(at, false).is_empty());
        let counts: Vec<u64> = budget.close(at, true).iter().map(|event| event.count).collect();
        assert_eq!(counts, [6, 6]);
        assert!(budget.close(at, true).is_empty());
    }
}
