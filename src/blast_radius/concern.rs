//! Whom and what a blast radius is about: found once, and asked of the tables and of the trail.

use std::collections::BTreeSet;

use cqrs_es::Aggregate;

use super::{BlastRadiusError, MOST, Of, Window, follow};
use crate::domain::LedgerEvent;
use crate::domain::client::{Client, ClientEvent, Registration};
use crate::domain::grant::{GrantEvent, TokenRef};
use crate::ids::{ClientKey, GrantId, IssuerKey, SessionId, SubjectId};
use crate::ledger::{Actor, LANE, LedgerError, Metadata, StoredEvent};
use crate::operations::Operations;
use crate::policy::contain::network_digests;
use crate::trail::{Key, Order, Query, Stretch, positions};

/// Events that are read at once.
const CHUNK: usize = 1_000;

/// What to look for.
#[derive(Clone, Debug, Default)]
pub(super) struct Concern {
    /// Events that concern one of these are what it did.
    pub(super) keys: Vec<Key>,
    /// Clients that it could act as.
    pub(super) acts_as: BTreeSet<ClientKey>,
    /// Clients all of whose tokens are its own.
    pub(super) clients: BTreeSet<ClientKey>,
    /// Users all of whose tokens are its own.
    pub(super) subjects: BTreeSet<SubjectId>,
    /// Grants all of whose tokens are its own.
    pub(super) grants: BTreeSet<GrantId>,
    /// Grants of tokens that were exchanged for its own.
    pub(super) exchanged: BTreeSet<GrantId>,
    /// Browser logins that are its own.
    pub(super) sessions: BTreeSet<SessionId>,
    /// Trusts in issuers: what their assertions were accepted for is its own.
    pub(super) issuers: BTreeSet<IssuerKey>,
    /// Initial access tokens: clients that were registered with them are its own.
    pub(super) registrations: BTreeSet<uuid::Uuid>,
    /// Networks whose uses of tokens are its own.
    pub(super) networks: Vec<String>,
    /// Where it is one token.
    pub(super) token: Option<OneToken>,
    /// What there was more of than was looked at.
    pub(super) truncated: BTreeSet<&'static str>,
}

/// One token of a grant.
#[derive(Clone, Copy, Debug)]
pub(super) struct OneToken {
    pub(super) grant: GrantId,
    pub(super) sequence: u32,
    pub(super) access: bool,
    /// Where it was issued.
    pub(super) position: i64,
}

impl OneToken {
    /// Whether a token of its grant came of it, or is it.
    pub(super) fn led_to(&self, sequence: i32) -> bool {
        let own = i32::try_from(self.sequence).unwrap_or(i32::MAX);
        if self.access {
            sequence == own
        } else {
            sequence >= own
        }
    }
}

/// Finds out what to look for, and from when on: the window of an act begins with it.
pub(super) async fn resolve(
    operations: &Operations,
    of: &Of,
    window: &mut Window,
) -> Result<Concern, BlastRadiusError> {
    let mut concern = Concern::default();
    match of {
        Of::Client(client) => {
            concern.keys.push(Key::Client(*client));
            concern.acts_as.insert(*client);
            concern.clients.insert(*client);
        }
        Of::User(subject) => {
            concern.keys.push(Key::Subject(*subject));
            concern.subjects.insert(*subject);
        }
        Of::Token {
            grant,
            sequence,
            access,
        } => {
            let token = token(operations, (*grant, *sequence), *access).await?;
            concern.token = Some(token);
            concern.keys.push(Key::Grant(*grant));
            concern.grants.insert(*grant);
        }
        Of::Secret { client, number } => {
            concern.acts_as.insert(*client);
            let known = operations.load::<Client>(client.0).await?;
            let added = known.registration.as_ref().map_or(0, |known| known.secrets_added);
            let numbers = number.map_or(1..=added, |number| number..=number);
            concern.keys = numbers.map(|number| Key::Secret(*client, number)).collect();
        }
        Of::Key(key) => concern.keys.push(Key::PublicKey(key.clone())),
        Of::Address(address) => {
            let bounds = (window.since, Some(window.until));
            let digests = network_digests(&operations.ledger, *address, bounds).await?;
            concern.networks = digests.iter().map(ToString::to_string).collect();
            concern.keys = digests.into_iter().map(Key::Network).collect();
        }
        Of::Request(request) => {
            concern.keys.push(Key::Request(*request));
            follow::act(operations, &mut concern, (*request, &mut *window)).await?;
        }
    }
    match of {
        // What they opened is theirs: the grants that were begun or renewed with them.
        Of::Secret { .. } | Of::Key(_) | Of::Address(_) => {
            follow::opened(operations, &mut concern, window).await?;
        }
        Of::User(subject) => follow::logins(operations, &mut concern, (*subject, &*window)).await?,
        Of::Token { .. } | Of::Client(_) | Of::Request(_) => {}
    }
    follow::given_in_sessions(operations, &mut concern, window).await?;
    follow::exchanged(operations, &mut concern, window).await?;
    Ok(concern)
}

impl Concern {
    pub(super) fn add(&mut self, key: Key) {
        if !self.keys.contains(&key) {
            self.keys.push(key);
        }
    }

    /// The events that it is about.
    pub(super) fn query(&self) -> Query {
        Query::new().and_any(self.keys.iter().cloned())
    }

    /// Whether an event was caused by it, rather than being about it.
    pub(super) fn acted(&self, event: &StoredEvent) -> Result<bool, LedgerError> {
        let metadata = Metadata::read(&event.metadata)?;
        let is_key = |key: &Key| match key {
            Key::Client(client) => metadata.actor == Actor::Client(*client).to_string(),
            Key::Request(request) => metadata.request_id == *request,
            // Found by what metadata says of whoever called.
            Key::Secret(..) | Key::PublicKey(_) | Key::Network(_) => true,
            Key::Subject(_)
            | Key::Session(_)
            | Key::Grant(_)
            | Key::Actor(_)
            | Key::EventType(_)
            | Key::Word(_)
            | Key::Operator => false,
        };
        Ok(self.keys.iter().any(is_key))
    }

    /// Whether an exchanged token rests on one of its own.
    pub(super) fn is_behind(&self, event: &GrantEvent) -> bool {
        let GrantEvent::TokenExchanged(event) = event else {
            return false;
        };
        let own = |token: &TokenRef| match self.token {
            Some(one) => {
                token.grant == one.grant && one.led_to(i32::try_from(token.sequence).unwrap_or(i32::MAX))
            }
            None => self.grants.contains(&token.grant) || self.clients.contains(&token.client),
        };
        event.rests_on().any(own)
    }
}

async fn token(
    operations: &Operations,
    (grant, sequence): (GrantId, u32),
    access: bool,
) -> Result<OneToken, BlastRadiusError> {
    let events = operations.grant_events(grant).await?;
    let issued = events.iter().find(|event| event.sequence == i64::from(sequence));
    Ok(OneToken {
        grant,
        sequence,
        access,
        position: issued.ok_or(BlastRadiusError::UnknownToken(grant))?.position,
    })
}

/// What was found of events.
pub(super) struct FoundEvents {
    pub(super) events: Vec<StoredEvent>,
    /// There was more than [`MOST`].
    pub(super) truncated: bool,
}

/// The events that a query asks for, in order.
pub(super) async fn found(
    operations: &Operations,
    query: &Query,
    stretch: Stretch,
) -> Result<FoundEvents, BlastRadiusError> {
    let pool = operations.ledger.pool();
    let mut connection = pool.acquire().await?;
    let order = (Order::OldestFirst, MOST + 1);
    let mut places = positions(&mut connection, query, stretch, order).await?.positions;
    let truncated = places.len() > MOST;
    places.truncate(MOST);
    let mut events = Vec::with_capacity(places.len());
    for chunk in places.chunks(CHUNK) {
        events.extend(operations.events_at(chunk).await?);
    }
    Ok(FoundEvents { events, truncated })
}

/// As [`found`]; where there was more, that is noted under a name.
pub(super) async fn found_noting(
    operations: &Operations,
    (query, stretch): (&Query, Stretch),
    (truncated, name): (&mut BTreeSet<&'static str>, &'static str),
) -> Result<Vec<StoredEvent>, BlastRadiusError> {
    let found = found(operations, query, stretch).await?;
    if found.truncated {
        truncated.insert(name);
    }
    Ok(found.events)
}

/// A client as it was at a position; none where it was not registered then.
pub(super) async fn client_at(
    operations: &Operations,
    client: ClientKey,
    upto: i64,
) -> Result<Option<Registration>, BlastRadiusError> {
    let rows: Vec<(String, i16, String)> = sqlx::query_as(
        "SELECT event_type, event_version, payload::text FROM grantlog.ledger_client \
         WHERE lane = $1 AND aggregate_type = 'client' AND aggregate_id = $2 AND position <= $3 ORDER BY sequence",
    )
    .bind(LANE)
    .bind(client.0)
    .bind(upto)
    .fetch_all(operations.ledger.pool())
    .await?;
    let mut state = Client::default();
    for (event_type, version, payload) in rows {
        state.apply(ClientEvent::decode(&event_type, version, &payload).map_err(LedgerError::from)?);
    }
    Ok(state.registration.as_deref().cloned())
}
