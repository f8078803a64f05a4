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
use super::lineage::{Lineage, Place};
use super::mentions::{containment, cut, descent, exchange, mention, mentioning};
use super::pasted::{Pasted, Recognised, decode};
use crate::clock::Timestamp;
use crate::domain::client::ClientEvent;
use crate::domain::consent::Consent;
use crate::domain::grant::{Family, Grant, GrantEvent};
use crate::domain::{AggregateType, LedgerEvent};
use crate::ids::GrantId;
use crate::ledger::{AggregatesAt, LANE, Ledger, LedgerError, StoredEvent};
use crate::operations::Operations;
use crate::operations::token_use::GrantUses;
use crate::standing::GrantStanding;

pub use super::mentions::{Containment, MAX_LINEAGE, MAX_MENTIONS, Mention};

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
            decoded.push((Place::of(event), read));
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
