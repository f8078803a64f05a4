//! Containment by hand: an administrator takes access away by client, user, key, address or window. What is chosen is
//! found by the index of the trail as far as that has come, and beyond on the ledger itself: nothing lags.

mod candidates;

use std::collections::BTreeSet;
use std::net::IpAddr;

use chrono::{Datelike as _, NaiveDate};
use uuid::Uuid;

use super::act;
use crate::clock::Timestamp;
use crate::crypto::vault::month;
use crate::domain::alert::{Alert, AlertCommand, Cause, ContainmentApplied};
use crate::domain::client::{Client, ClientCommand};
use crate::domain::grant::{Family, Grant, Reason};
use crate::domain::policy::Action;
use crate::domain::session::Session;
use crate::domain::trail::LedgerRead;
use crate::domain::value::Digest;
use crate::ids::{ClientKey, GrantId, SessionId, SubjectId};
use crate::ledger::{Context, LANE, Ledger, LedgerError, network_of, positions_between};
use crate::operations::{OperationError, Operations};
use crate::trail::Stretch;
use crate::trail::missing::{Missing, missing};

/// The most grants, clients or logins that one append ends.
const BATCH: usize = 100;
/// The most months that addresses are compared in.
const MAX_MONTHS: usize = 120;
/// How often what begins meanwhile is looked for, at the most: somebody who can still log in does not keep it going.
const MAX_ROUNDS: usize = 5;

/// By what grants are chosen.
#[derive(Clone, Debug)]
pub enum By {
    /// Those of a client.
    Client(ClientKey),
    /// Those of a user.
    User(SubjectId),
    /// Those whose tokens are bound to a key, or whose client authenticated with one: a thumbprint or `kid`.
    Key(String),
    /// Those that were begun or used from the network (/24 or /48) of an address.
    Address(IpAddr),
    /// All within the window.
    Window,
}

impl By {
    /// By what, in a word.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Client(_) => "client",
            Self::User(_) => "user",
            Self::Key(_) => "key",
            Self::Address(_) => "address",
            Self::Window => "window",
        }
    }

    /// A reading, narrowed to what it chooses.
    #[must_use]
    pub fn reading(&self, mut reading: LedgerRead) -> LedgerRead {
        reading.filters = vec![self.name().to_owned()];
        match self {
            Self::Client(client) => reading.client = Some(*client),
            Self::User(subject) => reading.subject = Some(*subject),
            Self::Key(_) | Self::Address(_) | Self::Window => {}
        }
        reading
    }

    /// What is recorded of it: no address.
    fn value(&self) -> Option<String> {
        match self {
            Self::Client(client) => Some(client.to_string()),
            Self::User(subject) => Some(subject.to_string()),
            Self::Key(key) => Some(key.clone()),
            Self::Address(_) | Self::Window => None,
        }
    }
}

/// What to take away.
#[derive(Clone, Debug)]
pub struct Containment {
    /// By what.
    pub by: By,
    /// From when on it was issued or used; none means from the beginning.
    pub since: Option<Timestamp>,
    /// Until when; none means until now.
    pub until: Option<Timestamp>,
    /// Whether what new grants would come from goes too: the client, the user's logins, the clients that authenticated with
    /// the key, or the logins that were begun or used from the network or within the window, with all their grants.
    pub whole: bool,
    /// Why.
    pub reason: String,
}

/// What is, or was, taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contained {
    /// Grants that were not over.
    pub grants: Vec<GrantId>,
    /// Clients that go too and were active.
    pub clients: Vec<ClientKey>,
    /// Clients that would go too, and that whoever contains may not stop.
    pub spared: Vec<ClientKey>,
    /// The user, whose logins go too.
    pub subject: Option<SubjectId>,
    /// Logins that go too and were not over.
    pub sessions: Vec<SessionId>,
    /// What could not be looked at: it has left the ledger.
    pub missing: Vec<Missing>,
    /// The records of it: one for each append.
    pub records: Vec<Uuid>,
}

/// What one append takes away.
#[derive(Clone, Copy, Debug, Default)]
struct Part<'a> {
    grants: &'a [GrantId],
    clients: &'a [ClientKey],
    subject: Option<SubjectId>,
    sessions: &'a [SessionId],
}

impl Containment {
    /// What it would take away now.
    pub async fn find(&self, operations: &Operations) -> Result<Contained, LedgerError> {
        let ledger = &operations.ledger;
        let now = ledger.clock().now();
        let (after, upto) = positions_between(ledger.pool(), self.since, self.until).await?;
        let stretch = Stretch { after, upto };
        let candidates = self.candidates(ledger, stretch).await?;
        let mut contained = Contained {
            missing: missing(ledger.pool(), stretch).await?,
            ..Contained::default()
        };
        for id in candidates.grants {
            let grant = operations.load::<Grant>(id.0).await?;
            let family = grant.family.as_deref();
            let is_live = |family: &Family| family.revoked.is_none() && now < family.expires_at;
            if family.is_some_and(|family| is_live(family) && self.is_of(family)) {
                contained.grants.push(id);
            }
        }
        for id in candidates.clients {
            if operations.load::<Client>(id.0).await?.active().is_some() {
                contained.clients.push(id);
            }
        }
        for id in candidates.sessions {
            let session = operations.load::<Session>(id.0).await?;
            if session.login.as_ref().is_some_and(|login| now < login.expires_at) {
                contained.sessions.push(id);
            }
        }
        contained.subject = match (&self.by, self.whole) {
            (By::User(subject), true) => Some(*subject),
            _ => None,
        };
        Ok(contained)
    }

    /// Takes it away: clients and logins first, so that nothing new is begun, then the grants, with those that were begun
    /// until then; as much as fits into one append at a time. Done again it does what was left. Each round stops only those
    /// of the clients that it finds which whoever contains `may_stop`.
    pub async fn apply<F: Future<Output = Result<bool, LedgerError>>>(
        &self,
        operations: &Operations,
        (context, found): (&Context, Contained),
        may_stop: impl Fn(ClientKey) -> F,
    ) -> Result<Contained, OperationError> {
        let (mut done, mut wave) = (Contained::default(), found);
        for _ in 0..MAX_ROUNDS {
            for client in std::mem::take(&mut wave.clients) {
                if may_stop(client).await? {
                    wave.clients.push(client);
                } else {
                    wave.spared.push(client);
                }
            }
            let records = self.stop(operations, context, &wave).await?;
            let stopped = !records.is_empty();
            done.add(&wave, records);
            if !stopped {
                break;
            }
            // Whatever was begun before they were stopped is on the ledger by now.
            wave = self.find(operations).await?;
            wave.subject = None;
        }
        merge(&mut done.grants, &wave.grants);
        for grants in done.grants.clone().chunks(BATCH) {
            let part = Part {
                grants,
                ..Part::default()
            };
            done.records.push(self.append(operations, context, part).await?);
        }
        Ok(done)
    }

    /// Stops what new grants would come from; the records of that.
    async fn stop(
        &self,
        operations: &Operations,
        context: &Context,
        found: &Contained,
    ) -> Result<Vec<Uuid>, OperationError> {
        let clients = found.clients.chunks(BATCH).map(|clients| Part {
            clients,
            ..Part::default()
        });
        let subject = found.subject.iter().map(|subject| Part {
            subject: Some(*subject),
            ..Part::default()
        });
        let sessions = found.sessions.chunks(BATCH).map(|sessions| Part {
            sessions,
            ..Part::default()
        });
        let mut records = Vec::new();
        for part in clients.chain(subject).chain(sessions) {
            records.push(self.append(operations, context, part).await?);
        }
        Ok(records)
    }

    async fn append(
        &self,
        operations: &Operations,
        context: &Context,
        part: Part<'_>,
    ) -> Result<Uuid, OperationError> {
        let ledger = &operations.ledger;
        let id = ledger.random().uuid().map_err(LedgerError::from)?;
        let mut unit = ledger.unit_of_work(context);
        loop {
            let record = unit.create::<Alert>(id);
            let mut applied = self.applied(part);
            for grant in part.grants {
                if act::revoke_grant(&mut unit, grant.0, Reason::Administrator).await? {
                    applied.grants.push(*grant);
                }
            }
            for client in part.clients {
                let reason = self.reason.clone();
                act::command_client(&mut unit, client.0, &ClientCommand::Suspend { reason }).await?;
            }
            if let Some(subject) = part.subject {
                act::require_fresh_login(&mut unit, subject.0, &self.reason).await?;
            }
            for session in part.sessions {
                act::end_session(&mut unit, session.0).await?;
            }
            let decision = record.decide(&AlertCommand::Contain(applied));
            if let Some(concluded) = unit.conclude(&record, decision).await? {
                concluded.outcome?;
                return Ok(id);
            }
        }
    }

    fn applied(&self, part: Part<'_>) -> ContainmentApplied {
        let action = if !part.clients.is_empty() {
            Action::SuspendClient
        } else if part.subject.is_some() || !part.sessions.is_empty() {
            Action::RequireFreshLogin
        } else {
            Action::RevokeGrant
        };
        ContainmentApplied {
            action,
            cause: Cause::Administrator {
                by: self.by.name().to_owned(),
                value: self.by.value(),
                since: self.since,
                until: self.until,
                reason: self.reason.clone(),
            },
            grants: Vec::new(),
            clients: part.clients.to_vec(),
            subjects: part.subject.into_iter().collect(),
            sessions: (!part.sessions.is_empty()).then(|| part.sessions.to_vec()),
            networks: None,
        }
    }

    /// Whether a grant is one of those: events of others may name their client or user.
    fn is_of(&self, family: &Family) -> bool {
        match &self.by {
            By::Client(client) => family.client == *client,
            By::User(subject) => family.subject == Some(*subject),
            By::Key(_) | By::Address(_) | By::Window => true,
        }
    }
}

impl Contained {
    /// The client that a containment by client takes away as a whole.
    #[must_use]
    pub fn client(&self, by: &By) -> Option<ClientKey> {
        match by {
            By::Client(client) => self.clients.contains(client).then_some(*client),
            By::User(_) | By::Key(_) | By::Address(_) | By::Window => None,
        }
    }

    /// What was done with what was found once more.
    fn add(&mut self, wave: &Self, records: Vec<Uuid>) {
        merge(&mut self.grants, &wave.grants);
        merge(&mut self.clients, &wave.clients);
        merge(&mut self.spared, &wave.spared);
        merge(&mut self.sessions, &wave.sessions);
        self.subject = self.subject.or(wave.subject);
        if self.missing.is_empty() {
            self.missing.clone_from(&wave.missing);
        }
        self.records.extend(records);
    }
}

fn merge<T: Ord + Copy>(into: &mut Vec<T>, more: &[T]) {
    into.extend_from_slice(more);
    into.sort_unstable();
    into.dedup();
}

/// The digests of an address's network, in each month between two moments: none means since the first grant, and now.
pub(crate) async fn network_digests(
    ledger: &Ledger,
    address: IpAddr,
    (since, until): (Option<Timestamp>, Option<Timestamp>),
) -> Result<Vec<Digest>, sqlx::Error> {
    let first: Option<Timestamp> = match since {
        Some(since) => Some(since),
        None => {
            sqlx::query_scalar(
                "SELECT recorded_at FROM grantlog.ledger WHERE lane = $1 ORDER BY position LIMIT 1",
            )
            .bind(LANE)
            .fetch_optional(ledger.pool())
            .await?
        }
    };
    let last = until.unwrap_or_else(|| ledger.clock().now());
    let months = first.map(|first| months(first, last)).unwrap_or_default();
    let network = network_of(address);
    let master = ledger.vault().master();
    Ok(months
        .iter()
        .map(|month| master.network_digest(month, &network))
        .collect())
}

/// The months from one moment to another. An event is sealed a little before it is recorded, so the month before the
/// first is one of them.
pub(crate) fn months(first: Timestamp, last: Timestamp) -> BTreeSet<String> {
    let mut months = BTreeSet::from([month(last), month(first - chrono::TimeDelta::hours(1))]);
    let mut begins = NaiveDate::from_ymd_opt(first.year(), first.month(), 1);
    while let Some(day) = begins.filter(|day| *day <= last.date_naive() && months.len() < MAX_MONTHS) {
        months.insert(day.format("%Y-%m").to_string());
        begins = day.checked_add_months(chrono::Months::new(1));
    }
    months
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_month_between_two_moments_is_looked_at() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let found = months(at("2025-11-30T10:00:00Z"), at("2026-02-01T00:00:00Z"));
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            ["2025-11", "2025-12", "2026-01", "2026-02"]
        );
    }
}
