//! Everything about one grant: its lineage, its events with their circumstances, and what each decision rested on.
//!
//! What a decision rested on is not written down beside it: it follows from the order of the ledger. An append passes only
//! if nothing that it relied on has moved (preconditions), so the client, user, consent and login that a token rests on are
//! those that stood just before the token's position.

use std::collections::BTreeMap;

use cqrs_es::Aggregate as _;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::document;
use super::key::Key;
use super::lineage::{Exchange, Lineage, Place};
use super::pasted::{Pasted, Recognised, decode};
use super::postings::{Order, Query, Stretch, positions};
use crate::clock::Timestamp;
use crate::domain::alert::{AlertEvent, Cause};
use crate::domain::client::ClientEvent;
use crate::domain::consent::Consent;
use crate::domain::grant::{Family, Grant, GrantEvent, TokenRef};
use crate::domain::policy::Action;
use crate::domain::{AggregateType, LedgerEvent};
use crate::ids::GrantId;
use crate::ledger::{AggregatesAt, LANE, Ledger, LedgerError, Metadata, StoredEvent};
use crate::operations::Operations;
use crate::operations::token_use::GrantUses;
use crate::standing::GrantStanding;

/// The most events elsewhere that are listed as naming a grant.
pub const MAX_MENTIONS: usize = 200;
/// The most exchanges and containments that its lineage is told with.
pub const MAX_LINEAGE: usize = 10_000;
/// The events elsewhere that are part of its lineage. Whatever else names it cannot push them out: refusals come for nothing.
const OF_LINEAGE: [&str; 2] = ["TokenExchanged", "ContainmentApplied"];

/// What is known of a grant.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct History {
    /// The grant.
    pub grant: GrantId,
    /// The credential that it was found by.
    pub credential: Option<Recognised>,
    /// What it is.
    #[schemars(with = "Option<serde_json::Map<String, Value>>")]
    pub state: Option<Box<Family>>,
    /// How it stands, with all that it rests on; none where it never came about.
    pub standing: Option<GrantStanding>,
    /// How it came about and what came of it.
    pub lineage: Lineage,
    /// What each of its decisions rested on, by sequence.
    pub rested_on: BTreeMap<i64, RestedOn>,
    /// What policies or administrators did about it.
    pub contained: Vec<Containment>,
    /// Events elsewhere that name it, the newest first: refusals, exchanges, alerts. At most [`MAX_MENTIONS`].
    pub mentions: Vec<Mention>,
    /// Of what there is more: `mentions`, `lineage` (more than [`MAX_LINEAGE`] exchanges and containments). The newest are
    /// listed.
    pub truncated: Vec<&'static str>,
    /// How its tokens were used at this server's own endpoints.
    pub uses: Vec<GrantUses>,
    /// Its events.
    #[serde(skip)]
    pub events: Vec<StoredEvent>,
}

/// What a decision rested on: the version of each is the sequence of its last event then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RestedOn {
    /// The client, as it was registered then.
    pub client: Option<Version>,
    /// The user's account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Version>,
    /// The consent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consent: Option<Version>,
    /// The login.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Version>,
    /// The trust in an issuer of assertions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<Version>,
    /// The approvals of scopes of it that the client had then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<Approval>,
}

/// A version of an aggregate: its last event at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Version {
    /// That event's place in the aggregate.
    pub version: i64,
    /// Its place in the ledger.
    pub position: i64,
    /// Its name.
    pub event_type: String,
    /// When it was recorded.
    pub at: Timestamp,
}

/// The approval of a scope for the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Approval {
    /// The scope.
    pub scope: String,
    /// Where it was approved.
    pub position: i64,
    /// When.
    pub at: Timestamp,
}

/// What was done about a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Containment {
    /// The alert, or the record of a containment by hand.
    pub alert: Uuid,
    /// Where it is recorded.
    pub position: i64,
    /// What was done.
    pub action: Action,
    /// Why: the rule and its version, or by what an administrator chose it.
    pub cause: Cause,
}

/// An event elsewhere that names a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Mention {
    /// Its place in the ledger.
    pub position: i64,
    /// When it was recorded.
    pub at: Timestamp,
    /// Its name.
    pub event_type: String,
    /// Its aggregate's type.
    pub aggregate_type: String,
    /// Its aggregate.
    pub aggregate_id: Uuid,
    /// The request that caused it.
    pub request_id: Uuid,
}

impl History {
    /// The history of a grant up to a position, and how it stood at a moment from then on; none where it has no event by
    /// then. That it is read is recorded by the caller, before.
    pub async fn read(
        operations: &Operations,
        (pasted, events): (&Pasted, Vec<StoredEvent>),
        (upto, at): (i64, Timestamp),
    ) -> Result<Option<Self>, LedgerError> {
        if events.is_empty() {
            return Ok(None);
        }
        let (mut grant, mut decoded) = (Grant::default(), Vec::with_capacity(events.len()));
        for event in &events {
            let read = decode(event)?;
            grant.apply(read.clone());
            decoded.push((place(event), read));
        }
        let mut lineage = Lineage::of(decoded.iter().map(|(place, event)| (*place, event)));
        let mut connection = operations.ledger.pool().acquire().await?;
        let mut truncated = Vec::new();
        let mut mentioning = mentioning(operations, &mut connection, (pasted.grant, upto)).await?;
        cut(&mut mentioning, MAX_MENTIONS, ("mentions", &mut truncated));
        let mut descent = descent(operations, &mut connection, (pasted.grant, upto)).await?;
        cut(&mut descent, MAX_LINEAGE, ("lineage", &mut truncated));
        let mut contained = Vec::new();
        for event in &descent {
            exchange(&mut lineage, event, pasted.grant)?;
            contained.extend(containment(event, pasted.grant)?);
        }
        let circumstances = match &grant.family {
            Some(family) => Circumstances::read(&mut connection, family, &lineage).await?,
            None => Circumstances::default(),
        };
        let rested_on = decoded
            .iter()
            .filter(|(_, event)| decides(event))
            .map(|(place, event)| (place.sequence, circumstances.before(place.position, event)))
            .collect();
        drop(connection);
        let mut seen = AggregatesAt::new(operations.ledger.pool().clone(), upto, at);
        let standing = match grant.family.as_deref() {
            Some(family) => Some(GrantStanding::of(&mut seen, family).await?),
            None => None,
        };
        let uses = operations.uses_of_grant(pasted.grant, upto).await?;
        let mentions = mentioning.iter().map(mention).collect::<Result<_, _>>()?;
        Ok(Some(Self {
            grant: pasted.grant,
            credential: pasted.recognise(&events, &grant, &mut seen).await?,
            state: grant.family,
            standing,
            lineage,
            rested_on,
            contained,
            mentions,
            truncated,
            uses,
            events,
        }))
    }

    /// All of it as JSON, with its events, and their callers where those are to be revealed.
    pub async fn document(&self, ledger: &Ledger, revealing: bool) -> Result<Value, LedgerError> {
        let mut events = Vec::with_capacity(self.events.len());
        for event in &self.events {
            events.push(document::with_people(ledger, event, revealing).await?);
        }
        let mut document = serde_json::to_value(self)
            .map_err(|error| LedgerError::Read(sqlx::Error::Decode(error.into())))?;
        if let Some(members) = document.as_object_mut() {
            members.insert("events".to_owned(), Value::Array(events));
        }
        Ok(document)
    }
}

fn place(event: &StoredEvent) -> Place {
    Place {
        position: event.position,
        sequence: event.sequence,
        at: event.recorded_at,
    }
}

/// Cuts a list to its limit, and says so.
fn cut(list: &mut Vec<StoredEvent>, most: usize, (what, truncated): (&'static str, &mut Vec<&'static str>)) {
    if list.len() > most {
        list.truncate(most);
        truncated.push(what);
    }
}

/// The exchanges and containments that name a grant, the newest first, and one more than are told.
async fn descent(
    operations: &Operations,
    connection: &mut PgConnection,
    (grant, upto): (GrantId, i64),
) -> Result<Vec<StoredEvent>, LedgerError> {
    let types = OF_LINEAGE.map(|name| Key::EventType(name.to_owned()));
    let query = Query::of(&Key::Grant(grant)).and_any(types);
    let order = (Order::NewestFirst, MAX_LINEAGE + 1);
    let found = positions(connection, &query, Stretch { after: 0, upto }, order).await?;
    let mut events = operations.events_at(&found.positions).await?;
    events.reverse();
    Ok(events)
}

/// The events elsewhere that name a grant, and one more than are listed. That somebody looked at it is left out, and so is what is counted.
async fn mentioning(
    operations: &Operations,
    connection: &mut PgConnection,
    (grant, upto): (GrantId, i64),
) -> Result<Vec<StoredEvent>, LedgerError> {
    let query = Query::of(&Key::Grant(grant));
    let (mut found, mut stretch) = (Vec::new(), Stretch { after: 0, upto });
    while found.len() <= MAX_MENTIONS {
        let page = positions(connection, &query, stretch, (Order::NewestFirst, MAX_MENTIONS)).await?;
        let mut events = operations.events_at(&page.positions).await?;
        events.reverse();
        let elsewhere = events
            .into_iter()
            .filter(|event| event.aggregate_id != grant.0)
            .filter(|event| !matches!(event.event_type.as_str(), "LedgerRead" | "TokenUseCounted"));
        found.extend(elsewhere);
        match page.positions.last() {
            Some(last) if page.positions.len() == MAX_MENTIONS => stretch.upto = last - 1,
            Some(_) | None => break,
        }
    }
    Ok(found)
}

fn mention(event: &StoredEvent) -> Result<Mention, LedgerError> {
    Ok(Mention {
        position: event.position,
        at: event.recorded_at,
        event_type: event.event_type.clone(),
        aggregate_type: event.aggregate_type.clone(),
        aggregate_id: event.aggregate_id,
        request_id: Metadata::read(&event.metadata)?.request_id.0,
    })
}

/// An exchange of one of the grant's tokens, or of one that came of it.
fn exchange(lineage: &mut Lineage, event: &StoredEvent, grant: GrantId) -> Result<(), LedgerError> {
    if event.event_type != "TokenExchanged" {
        return Ok(());
    }
    let GrantEvent::TokenExchanged(exchanged) = decode(event)? else {
        return Ok(());
    };
    let direct = std::iter::once(&exchanged.subject_token).chain(&exchanged.actor_token);
    let earlier = exchanged.earlier_subjects.iter().chain(&exchanged.earlier_actors);
    let tokens = direct
        .map(|token| (token, true))
        .chain(earlier.map(|token| (token, false)));
    for (token, direct) in tokens.filter(|(token, _)| token.grant == grant) {
        let exchange = Exchange {
            grant: GrantId(event.aggregate_id),
            client: exchanged.client,
            issued: place(event),
            direct,
        };
        let token: TokenRef = *token;
        lineage.exchanged(token, exchange);
    }
    Ok(())
}

fn containment(event: &StoredEvent, grant: GrantId) -> Result<Option<Containment>, LedgerError> {
    if event.event_type != "ContainmentApplied" {
        return Ok(None);
    }
    let read = AlertEvent::decode(&event.event_type, event.event_version, &event.payload)?;
    Ok(match read {
        AlertEvent::ContainmentApplied(applied) if applied.grants.contains(&grant) => Some(Containment {
            alert: event.aggregate_id,
            position: event.position,
            action: applied.action,
            cause: applied.cause,
        }),
        AlertEvent::ContainmentApplied(_) | AlertEvent::AlertRaised(_) | AlertEvent::AlertAcknowledged(_) => {
            None
        }
    })
}

/// Whether an event gives something: then it rests on somebody's leave.
fn decides(event: &GrantEvent) -> bool {
    matches!(
        event,
        GrantEvent::CodeIssued(_)
            | GrantEvent::CodeRedeemed(_)
            | GrantEvent::DeviceAuthorizationRequested(_)
            | GrantEvent::DeviceAuthorizationApproved(_)
            | GrantEvent::DeviceCodeRedeemed(_)
            | GrantEvent::TokenIssued(_)
            | GrantEvent::TokenExchanged(_)
            | GrantEvent::AssertionAccepted(_)
            | GrantEvent::RefreshRotated(_)
            | GrantEvent::RefreshRetried(_)
            | GrantEvent::AccessTokenRefreshed(_)
    )
}

/// The versions of what a grant's decisions rested on.
#[derive(Default)]
struct Circumstances {
    client: Vec<Version>,
    user: Vec<Version>,
    consent: Vec<Version>,
    session: Vec<Version>,
    issuer: Vec<Version>,
    /// Approvals, and ends of approvals, of scopes: where, which, whether.
    approvals: Vec<(Approval, bool)>,
    scope: Vec<String>,
}

impl Circumstances {
    async fn read(
        connection: &mut PgConnection,
        family: &Family,
        lineage: &Lineage,
    ) -> Result<Self, LedgerError> {
        let consent = family.subject.map(|subject| Consent::id(subject, family.client));
        let mut versions = Vec::new();
        for (kind, id) in [
            (AggregateType::Client, Some(family.client.0)),
            (AggregateType::User, family.subject.map(Uuid::from)),
            (AggregateType::Consent, consent),
            (AggregateType::Session, lineage.session.map(Uuid::from)),
            (AggregateType::TrustedIssuer, lineage.issuer.map(Uuid::from)),
        ] {
            versions.push(match id {
                Some(id) => read_versions(connection, kind, id).await?,
                None => Vec::new(),
            });
        }
        let mut versions = versions.into_iter();
        let mut next = || versions.next().unwrap_or_default();
        Ok(Self {
            client: next(),
            user: next(),
            consent: next(),
            session: next(),
            issuer: next(),
            approvals: approvals(connection, family.client.0).await?,
            scope: family.scope.iter().map(str::to_owned).collect(),
        })
    }

    /// As they stood before a position.
    fn before(&self, position: i64, event: &GrantEvent) -> RestedOn {
        let last = |versions: &[Version]| {
            versions
                .iter()
                .rfind(|version| version.position < position)
                .cloned()
        };
        let user_known = !matches!(event, GrantEvent::DeviceAuthorizationRequested(_));
        let approved = |scope: &String| {
            let mut steps = self.approvals.iter().filter(|(step, _)| step.scope == *scope);
            let last = steps.rfind(|(step, _)| step.position < position);
            last.filter(|(_, approved)| *approved)
                .map(|(step, _)| step.clone())
        };
        RestedOn {
            client: last(&self.client),
            user: last(&self.user).filter(|_| user_known),
            consent: last(&self.consent).filter(|_| user_known),
            session: last(&self.session).filter(|_| user_known),
            issuer: last(&self.issuer),
            approvals: self.scope.iter().filter_map(approved).collect(),
        }
    }
}

async fn read_versions(
    connection: &mut PgConnection,
    kind: AggregateType,
    id: Uuid,
) -> Result<Vec<Version>, LedgerError> {
    let rows: Vec<(i64, i64, String, Timestamp)> = sqlx::query_as(
        "SELECT sequence, position, event_type, recorded_at FROM grantlog.ledger \
         WHERE lane = $1 AND aggregate_type = $2 AND aggregate_id = $3 ORDER BY sequence",
    )
    .bind(LANE)
    .bind(kind.name())
    .bind(id)
    .fetch_all(connection)
    .await?;
    let version = |(version, position, event_type, at)| Version {
        version,
        position,
        event_type,
        at,
    };
    Ok(rows.into_iter().map(version).collect())
}

/// Each step of a client's approvals, and whether the scope is approved from then on.
async fn approvals(
    connection: &mut PgConnection,
    client: Uuid,
) -> Result<Vec<(Approval, bool)>, LedgerError> {
    let rows: Vec<(i64, Timestamp, String, i16, String)> = sqlx::query_as(
        "SELECT position, recorded_at, event_type, event_version, payload::text FROM grantlog.ledger_client \
         WHERE lane = $1 AND aggregate_type = 'client' AND aggregate_id = $2 \
           AND event_type IN ('ScopeApproved', 'ScopeApprovalWithdrawn') ORDER BY sequence",
    )
    .bind(LANE)
    .bind(client)
    .fetch_all(connection)
    .await?;
    let mut steps = Vec::with_capacity(rows.len());
    for (position, at, event_type, version, payload) in rows {
        let step = |scope| Approval { scope, position, at };
        let event = ClientEvent::decode(&event_type, version, &payload)?;
        if let ClientEvent::ScopeApproved(event) = event {
            steps.push((step(event.scope), true));
        } else if let ClientEvent::ScopeApprovalWithdrawn(event) = event {
            steps.push((step(event.scope), false));
        }
    }
    Ok(steps)
}
