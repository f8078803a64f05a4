//! What a containment may concern, found by the index of the trail: over or not.

use std::collections::BTreeSet;

use sqlx::PgConnection;
use uuid::Uuid;

use super::{By, Containment, network_digests};
use crate::clock::Timestamp;
use crate::domain::LedgerEvent as _;
use crate::domain::token_use::TokenUseEvent;
use crate::domain::value::Digest;
use crate::ids::{ClientKey, GrantId, SessionId};
use crate::ledger::{LANE, Ledger, LedgerError};
use crate::trail::postings::grants_at;
use crate::trail::{Key, Order, Query, Stretch, positions};

/// Positions that are found at once.
const PAGE: usize = 10_000;
/// Positions that are looked through at once for a window.
const WINDOW: i64 = 50_000;
/// Logins whose grants are asked for at once.
const SESSIONS: usize = 500;
/// The events by which a login is begun or renewed, and those by which a grant is given in one.
const OF_SESSIONS: [&str; 4] = [
    "SessionStarted",
    "SessionReauthenticated",
    "CodeIssued",
    "DeviceAuthorizationApproved",
];

/// What may be taken away.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    pub(super) grants: BTreeSet<GrantId>,
    pub(super) clients: BTreeSet<ClientKey>,
    pub(super) sessions: BTreeSet<SessionId>,
}

impl Containment {
    /// What has an event of what is looked for, and has not expired.
    pub(super) async fn candidates(
        &self,
        ledger: &Ledger,
        stretch: Stretch,
    ) -> Result<Candidates, LedgerError> {
        let search = Search {
            ledger,
            stretch,
            now: ledger.clock().now(),
        };
        let mut found = Candidates::default();
        let sessions = Query::new().and_any(OF_SESSIONS.map(|name| Key::EventType(name.to_owned())));
        let sessions = match &self.by {
            By::Client(client) => {
                found.grants = search.concerned(&Query::of(&Key::Client(*client))).await?;
                found.clients.extend(self.whole.then_some(*client));
                None
            }
            By::User(subject) => {
                found.grants = search.concerned(&Query::of(&Key::Subject(*subject))).await?;
                None
            }
            By::Key(key) => {
                found.grants = search.concerned(&Query::of(&Key::PublicKey(key.clone()))).await?;
                if self.whole {
                    found.clients = search.authenticated_with(key).await?;
                }
                None
            }
            By::Address(address) => {
                let networks = network_digests(ledger, *address, (self.since, self.until)).await?;
                let from_there = |query: Query| query.and_any(networks.iter().copied().map(Key::Network));
                found.grants = search.concerned(&from_there(Query::new())).await?;
                found.grants.extend(search.used_from(&networks).await?);
                Some(from_there(sessions))
            }
            By::Window => {
                found.grants = search.begun_or_used().await?;
                Some(sessions)
            }
        };
        if let Some(query) = sessions.filter(|_| self.whole) {
            found.sessions = search.sessions(&query).await?;
            found.grants.extend(search.given_in(&found.sessions).await?);
        }
        Ok(found)
    }
}

/// A stretch of the ledger that is searched, at a moment.
struct Search<'a> {
    ledger: &'a Ledger,
    stretch: Stretch,
    now: Timestamp,
}

impl Search<'_> {
    /// The positions that a query asks for, a page of them from `stretch` on; where the next page begins.
    async fn page(
        &self,
        connection: &mut PgConnection,
        (query, stretch): (&Query, Stretch),
    ) -> Result<(Vec<i64>, Option<Stretch>), LedgerError> {
        let order = (Order::OldestFirst, PAGE);
        let found = positions(connection, query, stretch, order).await?.positions;
        let last = found.last().copied().filter(|_| found.len() >= PAGE);
        let next = last.map(|after| Stretch { after, ..stretch });
        Ok((found, next))
    }

    /// The grants that have an event which a query asks for.
    async fn concerned(&self, query: &Query) -> Result<BTreeSet<GrantId>, LedgerError> {
        self.concerned_within(query, self.stretch).await
    }

    async fn concerned_within(
        &self,
        query: &Query,
        stretch: Stretch,
    ) -> Result<BTreeSet<GrantId>, LedgerError> {
        let mut connection = self.ledger.pool().acquire().await?;
        let mut grants = BTreeSet::new();
        let mut left = Some(stretch);
        while let Some(stretch) = left {
            let (found, next) = self.page(&mut connection, (query, stretch)).await?;
            let ids = grants_at(&mut connection, &found).await?;
            grants.extend(self.unexpired(&mut connection, ids).await?);
            left = next;
        }
        Ok(grants)
    }

    /// Those of these grants whose time is not over: one client can have millions that are. A grant's first event says when.
    async fn unexpired(
        &self,
        connection: &mut PgConnection,
        grants: impl IntoIterator<Item = GrantId>,
    ) -> Result<Vec<GrantId>, sqlx::Error> {
        let ids: Vec<Uuid> = grants.into_iter().map(|grant| grant.0).collect();
        let ids: Vec<Uuid> = sqlx::query_scalar(
            "SELECT aggregate_id FROM grantlog.ledger_grant \
             WHERE lane = $1 AND aggregate_type = 'grant' AND aggregate_id = ANY ($2) AND sequence = 1 \
               AND (payload->>'grant_expires_at')::timestamptz > $3",
        )
        .bind(LANE)
        .bind(ids)
        .bind(self.now)
        .fetch_all(connection)
        .await?;
        Ok(ids.into_iter().map(GrantId).collect())
    }

    /// The grants that have any event in the stretch.
    async fn begun_or_used(&self) -> Result<BTreeSet<GrantId>, LedgerError> {
        let mut connection = self.ledger.pool().acquire().await?;
        let mut grants = BTreeSet::new();
        let mut after = self.stretch.after;
        while after < self.stretch.upto {
            let upto = after.saturating_add(WINDOW).min(self.stretch.upto);
            let ids: Vec<Uuid> = sqlx::query_scalar(
                "SELECT DISTINCT aggregate_id FROM grantlog.ledger_grant \
                 WHERE lane = $1 AND position > $2 AND position <= $3",
            )
            .bind(LANE)
            .bind(after)
            .bind(upto)
            .fetch_all(&mut *connection)
            .await?;
            let ids = ids.into_iter().map(GrantId);
            grants.extend(self.unexpired(&mut connection, ids).await?);
            after = upto;
        }
        Ok(grants)
    }

    /// The grants whose tokens were presented from a network at this server's own endpoints, as far as that is counted.
    async fn used_from(&self, networks: &[Digest]) -> Result<BTreeSet<GrantId>, LedgerError> {
        let counted = Key::EventType("TokenUseCounted".to_owned());
        let query = Query::of(&counted).and_any(networks.iter().copied().map(Key::Network));
        let mut connection = self.ledger.pool().acquire().await?;
        let mut grants = BTreeSet::new();
        let mut left = Some(self.stretch);
        while let Some(stretch) = left {
            let (found, next) = self.page(&mut connection, (&query, stretch)).await?;
            let rows: Vec<(String, i16, String)> = sqlx::query_as(
                "SELECT event_type, event_version, payload::text FROM grantlog.ledger_token_use \
                 WHERE lane = $1 AND position = ANY ($2)",
            )
            .bind(LANE)
            .bind(found)
            .fetch_all(&mut *connection)
            .await?;
            let mut holders = BTreeSet::new();
            for (event_type, version, payload) in rows {
                let TokenUseEvent::TokenUseCounted(event) =
                    TokenUseEvent::decode(&event_type, version, &payload)?;
                let uses = event.uses.into_iter().filter(|uses| {
                    // Who asks about a token does not hold it.
                    uses.asked_by.is_none() && uses.network.is_some_and(|network| networks.contains(&network))
                });
                holders.extend(uses.map(|uses| uses.grant));
            }
            grants.extend(self.unexpired(&mut connection, holders).await?);
            left = next;
        }
        Ok(grants)
    }

    /// The logins that were begun, renewed or used for a grant by an event that a query asks for.
    async fn sessions(&self, query: &Query) -> Result<BTreeSet<SessionId>, LedgerError> {
        let mut connection = self.ledger.pool().acquire().await?;
        let mut sessions = BTreeSet::new();
        let mut left = Some(self.stretch);
        while let Some(stretch) = left {
            let (found, next) = self.page(&mut connection, (query, stretch)).await?;
            let ids: Vec<Uuid> = sqlx::query_scalar(
                "SELECT aggregate_id FROM grantlog.ledger_session WHERE lane = $1 AND position = ANY ($2) \
                 UNION SELECT (payload->>'session')::uuid FROM grantlog.ledger_grant \
                       WHERE lane = $1 AND position = ANY ($2) AND payload->>'session' IS NOT NULL",
            )
            .bind(LANE)
            .bind(found)
            .fetch_all(&mut *connection)
            .await?;
            sessions.extend(ids.into_iter().map(SessionId));
            left = next;
        }
        Ok(sessions)
    }

    /// All grants that were given in these logins, whenever and from wherever.
    async fn given_in(&self, sessions: &BTreeSet<SessionId>) -> Result<BTreeSet<GrantId>, LedgerError> {
        let sessions: Vec<Key> = sessions.iter().copied().map(Key::Session).collect();
        let mut grants = BTreeSet::new();
        for some in sessions.chunks(SESSIONS) {
            let query = Query::new().and_any(some.iter().cloned());
            grants.extend(self.concerned_within(&query, Stretch::ALL).await?);
        }
        Ok(grants)
    }

    /// The clients that authenticated with a key or certificate.
    async fn authenticated_with(&self, key: &str) -> Result<BTreeSet<ClientKey>, LedgerError> {
        let query = Query::of(&Key::PublicKey(key.to_owned()));
        let mut connection = self.ledger.pool().acquire().await?;
        let mut clients = BTreeSet::new();
        let mut left = Some(self.stretch);
        while let Some(stretch) = left {
            let (found, next) = self.page(&mut connection, (&query, stretch)).await?;
            let ids: Vec<Uuid> = sqlx::query_scalar(
                "SELECT DISTINCT substr(metadata->>'actor', 8)::uuid FROM grantlog.ledger \
                 WHERE lane = $1 AND position = ANY ($2) AND metadata->>'actor' LIKE 'client:%' \
                   AND $3 IN (metadata->'authentication'->>'kid', metadata->'authentication'->>'certificate')",
            )
            .bind(LANE)
            .bind(found)
            .bind(key)
            .fetch_all(&mut *connection)
            .await?;
            clients.extend(ids.into_iter().map(ClientKey));
            left = next;
        }
        Ok(clients)
    }
}
