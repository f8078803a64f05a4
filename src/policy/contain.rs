//! Containment by hand: an administrator takes access away by client, user, key, address or window. What is chosen is
//! found by the index of the trail as far as that has come, and beyond on the ledger itself: nothing lags.

use std::collections::BTreeSet;
use std::net::IpAddr;

use chrono::{Datelike as _, NaiveDate};
use uuid::Uuid;

use super::PolicyError;
use super::act;
use crate::clock::Timestamp;
use crate::crypto::vault::month;
use crate::domain::LedgerEvent as _;
use crate::domain::alert::{Alert, AlertCommand, Cause, ContainmentApplied};
use crate::domain::client::{Client, ClientCommand, Standing};
use crate::domain::grant::{Grant, Reason, Revoke, Target};
use crate::domain::policy::Action;
use crate::domain::token_use::TokenUseEvent;
use crate::domain::trail::LedgerRead;
use crate::domain::value::Digest;
use crate::ids::{ClientKey, GrantId, SubjectId};
use crate::ledger::{Context, LANE, Ledger, LedgerError, network_of, positions_between};
use crate::operations::{OperationError, Operations};
use crate::trail::postings::grants_at;
use crate::trail::{Key, Order, Query, Stretch, positions};

/// The most grants that one append revokes.
const BATCH: usize = 100;
/// Positions that are found at once.
const PAGE: usize = 10_000;
/// Positions that are looked through at once for a window.
const WINDOW: i64 = 50_000;
/// The most months that addresses are compared in.
const MAX_MONTHS: usize = 120;

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
    /// Whether the client, or of a user the logins, go too.
    pub whole: bool,
    /// Why.
    pub reason: String,
}

/// What is, or was, taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contained {
    /// Grants that were not over.
    pub grants: Vec<GrantId>,
    /// The client, where it goes too and was active.
    pub client: Option<ClientKey>,
    /// The user, whose logins go too.
    pub subject: Option<SubjectId>,
    /// The records of it: one for each append.
    pub records: Vec<Uuid>,
}

impl Containment {
    /// What it would take away now.
    pub async fn find(&self, operations: &Operations) -> Result<Contained, PolicyError> {
        let ledger = &operations.ledger;
        let mut contained = Contained::default();
        for id in self.candidates(ledger).await? {
            let grant = operations.load::<Grant>(id.0).await?;
            if !self.is_of(&grant) {
                continue;
            }
            let revoke = Revoke {
                client: None,
                target: Target::Family,
                reason: Reason::Administrator,
                at: ledger.clock().now(),
            };
            if !grant.revoke(&revoke).events.is_empty() {
                contained.grants.push(id);
            }
        }
        match (&self.by, self.whole) {
            (By::Client(client), true) => {
                let known = operations.load::<Client>(client.0).await?;
                let standing = known
                    .registration
                    .as_ref()
                    .map(|registration| registration.standing);
                contained.client = (standing == Some(Standing::Active)).then_some(*client);
            }
            (By::User(subject), true) => contained.subject = Some(*subject),
            _ => {}
        }
        Ok(contained)
    }

    /// Takes it away: the client or the logins first, so that nothing new is begun meanwhile, then the grants, as many as
    /// fit into one append at a time. Done again it does what was left.
    pub async fn apply(
        &self,
        operations: &Operations,
        (context, found): (&Context, Contained),
    ) -> Result<Contained, OperationError> {
        let mut done = found.clone();
        if found.client.is_some() || found.subject.is_some() {
            let record = self
                .append(operations, context, (&[], found.client, found.subject))
                .await?;
            done.records.push(record);
        }
        for grants in found.grants.chunks(BATCH) {
            let record = self.append(operations, context, (grants, None, None)).await?;
            done.records.push(record);
        }
        Ok(done)
    }

    async fn append(
        &self,
        operations: &Operations,
        context: &Context,
        (grants, client, subject): (&[GrantId], Option<ClientKey>, Option<SubjectId>),
    ) -> Result<Uuid, OperationError> {
        let ledger = &operations.ledger;
        let id = ledger.random().uuid().map_err(LedgerError::from)?;
        let mut unit = ledger.unit_of_work(context);
        loop {
            let record = unit.create::<Alert>(id);
            let mut applied = self.applied(client, subject);
            for grant in grants {
                if act::revoke_grant(&mut unit, grant.0, Reason::Administrator).await? {
                    applied.grants.push(*grant);
                }
            }
            if let Some(client) = client {
                let reason = self.reason.clone();
                act::command_client(&mut unit, client.0, &ClientCommand::Suspend { reason }).await?;
            }
            if let Some(subject) = subject {
                act::require_fresh_login(&mut unit, subject.0, &self.reason).await?;
            }
            let decision = record.decide(&AlertCommand::Contain(applied));
            if let Some(concluded) = unit.conclude(&record, decision).await? {
                concluded.outcome?;
                return Ok(id);
            }
        }
    }

    fn applied(&self, client: Option<ClientKey>, subject: Option<SubjectId>) -> ContainmentApplied {
        let action = match (client, subject) {
            (Some(_), _) => Action::SuspendClient,
            (None, Some(_)) => Action::RequireFreshLogin,
            (None, None) => Action::RevokeGrant,
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
            clients: client.into_iter().collect(),
            subjects: subject.into_iter().collect(),
            networks: None,
        }
    }

    /// Grants that have an event of what is looked for, over or not.
    async fn candidates(&self, ledger: &Ledger) -> Result<BTreeSet<GrantId>, PolicyError> {
        let (after, upto) = positions_between(ledger.pool(), self.since, self.until).await?;
        let stretch = Stretch { after, upto };
        let query = match &self.by {
            By::Client(client) => Query::of(&Key::Client(*client)),
            By::User(subject) => Query::of(&Key::Subject(*subject)),
            By::Key(key) => Query::of(&Key::PublicKey(key.clone())),
            By::Address(address) => {
                let networks = network_digests(ledger, *address, (self.since, self.until)).await?;
                let mut grants = used_from(ledger, &networks, stretch).await?;
                let query = Query::new().and_any(networks.into_iter().map(Key::Network));
                grants.extend(concerned(ledger, &query, stretch).await?);
                return Ok(grants);
            }
            By::Window => return begun_or_used(ledger, stretch).await,
        };
        concerned(ledger, &query, stretch).await
    }

    /// Whether a grant is one of those: events of others may name their client or user.
    fn is_of(&self, grant: &Grant) -> bool {
        let family = grant.family.as_deref();
        match &self.by {
            By::Client(client) => family.is_some_and(|family| family.client == *client),
            By::User(subject) => family.is_some_and(|family| family.subject == Some(*subject)),
            By::Key(_) | By::Address(_) | By::Window => true,
        }
    }
}

/// The grants that have an event which a query asks for.
async fn concerned(
    ledger: &Ledger,
    query: &Query,
    mut stretch: Stretch,
) -> Result<BTreeSet<GrantId>, PolicyError> {
    let mut connection = ledger.pool().acquire().await?;
    let mut grants = BTreeSet::new();
    loop {
        let order = (Order::OldestFirst, PAGE);
        let found = positions(&mut connection, query, stretch, order).await?.positions;
        grants.extend(grants_at(&mut connection, &found).await?);
        match found.last() {
            Some(last) if found.len() >= PAGE => stretch.after = *last,
            _ => return Ok(grants),
        }
    }
}

/// The grants that have any event in a stretch.
async fn begun_or_used(ledger: &Ledger, stretch: Stretch) -> Result<BTreeSet<GrantId>, PolicyError> {
    let mut grants = BTreeSet::new();
    let mut after = stretch.after;
    while after < stretch.upto {
        let upto = after.saturating_add(WINDOW).min(stretch.upto);
        let ids: Vec<Uuid> = sqlx::query_scalar(
            "SELECT DISTINCT aggregate_id FROM grantlog.ledger_grant WHERE lane = $1 AND position > $2 AND position <= $3",
        )
        .bind(LANE)
        .bind(after)
        .bind(upto)
        .fetch_all(ledger.pool())
        .await?;
        grants.extend(ids.into_iter().map(GrantId));
        after = upto;
    }
    Ok(grants)
}

/// The grants whose tokens were presented from a network at this server's own endpoints, as far as that is counted.
async fn used_from(
    ledger: &Ledger,
    networks: &[Digest],
    stretch: Stretch,
) -> Result<BTreeSet<GrantId>, PolicyError> {
    let counted = Key::EventType("TokenUseCounted".to_owned());
    let query = Query::of(&counted).and_any(networks.iter().copied().map(Key::Network));
    let mut connection = ledger.pool().acquire().await?;
    let order = (Order::OldestFirst, usize::MAX);
    let found = positions(&mut connection, &query, stretch, order)
        .await?
        .positions;
    let mut grants = BTreeSet::new();
    for page in found.chunks(PAGE) {
        let rows: Vec<(String, i16, String)> = sqlx::query_as(
            "SELECT event_type, event_version, payload::text FROM grantlog.ledger_token_use \
             WHERE lane = $1 AND position = ANY ($2)",
        )
        .bind(LANE)
        .bind(page)
        .fetch_all(&mut *connection)
        .await?;
        for (event_type, version, payload) in rows {
            let TokenUseEvent::TokenUseCounted(event) =
                TokenUseEvent::decode(&event_type, version, &payload)?;
            let uses = event.uses.into_iter().filter(|uses| {
                // Who asks about a token does not hold it.
                uses.asked_by.is_none() && uses.network.is_some_and(|network| networks.contains(&network))
            });
            grants.extend(uses.map(|uses| uses.grant));
        }
    }
    Ok(grants)
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
