//! Containment by hand: an administrator takes access away by client, user, key, address or window. What is chosen is
//! read from the ledger itself, never from a table that may lag.

use std::collections::BTreeSet;
use std::net::IpAddr;

use chrono::{Datelike as _, NaiveDate};
use uuid::Uuid;

use super::PolicyError;
use super::act;
use crate::clock::Timestamp;
use crate::crypto::vault::month;
use crate::domain::alert::{Alert, AlertCommand, Cause, ContainmentApplied};
use crate::domain::client::{Client, ClientCommand, Standing};
use crate::domain::grant::{Grant, Reason, Revoke, Target};
use crate::domain::policy::Action;
use crate::domain::value::Digest;
use crate::ids::{ClientKey, GrantId, SubjectId};
use crate::ledger::{Context, LANE, Ledger, LedgerError, network_of};
use crate::operations::{OperationError, Operations};

/// The most grants that one append revokes.
const BATCH: usize = 100;
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
    fn name(&self) -> &'static str {
        match self {
            Self::Client(_) => "client",
            Self::User(_) => "user",
            Self::Key(_) => "key",
            Self::Address(_) => "address",
            Self::Window => "window",
        }
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
            let grant = operations.load::<Grant>(id).await?;
            let revoke = Revoke {
                client: None,
                target: Target::Family,
                reason: Reason::Administrator,
                at: ledger.clock().now(),
            };
            if !grant.revoke(&revoke).events.is_empty() {
                contained.grants.push(GrantId(id));
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
        }
    }

    /// Grants that have an event of what is looked for, over or not.
    async fn candidates(&self, ledger: &Ledger) -> Result<Vec<Uuid>, PolicyError> {
        let (condition, values) = match &self.by {
            By::Client(client) => ("payload->>'client' = ANY ($4)", vec![client.to_string()]),
            By::User(subject) => ("payload->>'subject' = ANY ($4)", vec![subject.to_string()]),
            By::Key(key) => (
                "(payload->'access'->'confirmation'->>'jkt' = ANY ($4) \
                  OR payload->'access'->'confirmation'->>'x5t#S256' = ANY ($4) \
                  OR payload->'confirmation'->>'jkt' = ANY ($4) \
                  OR payload->'refresh'->'confirmation'->>'jkt' = ANY ($4) \
                  OR metadata->'authentication'->>'kid' = ANY ($4) \
                  OR metadata->'authentication'->>'certificate' = ANY ($4))",
                vec![key.clone()],
            ),
            By::Address(address) => (
                "metadata->>'network' = ANY ($4)",
                self.networks(ledger, *address).await?,
            ),
            By::Window => ("$4::text[] IS NOT NULL", Vec::new()),
        };
        let query = format!(
            "SELECT DISTINCT aggregate_id FROM grantlog.ledger_grant \
             WHERE lane = $1 AND ($2::timestamptz IS NULL OR recorded_at >= $2) \
               AND ($3::timestamptz IS NULL OR recorded_at < $3) AND {condition} ORDER BY aggregate_id"
        );
        Ok(sqlx::query_scalar(&query)
            .bind(LANE)
            .bind(self.since)
            .bind(self.until)
            .bind(values)
            .fetch_all(ledger.pool())
            .await?)
    }

    /// The digests of an address's network, in each month that it is looked for in.
    async fn networks(&self, ledger: &Ledger, address: IpAddr) -> Result<Vec<String>, PolicyError> {
        let first: Option<Timestamp> = match self.since {
            Some(since) => Some(since),
            None => {
                sqlx::query_scalar("SELECT min(recorded_at) FROM grantlog.ledger_grant WHERE lane = $1")
                    .bind(LANE)
                    .fetch_one(ledger.pool())
                    .await?
            }
        };
        let last = self.until.unwrap_or_else(|| ledger.clock().now());
        let months = first.map(|first| months(first, last)).unwrap_or_default();
        let network = network_of(address);
        let digest = |month: &String| -> Digest { ledger.vault().master().network_digest(month, &network) };
        Ok(months.iter().map(|month| digest(month).to_string()).collect())
    }
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
