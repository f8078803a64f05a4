//! What folds need besides their own events: which row a client or user is, whom a consent is between, and
//! personal-data keys. All of it is fetched per batch, so that a fold stays pure, and from the ledger, so that
//! no projection depends on another.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use quick_cache::sync::Cache;
use sqlx::PgConnection;
use uuid::Uuid;

use super::error::ProjectionError;
use super::recorded::{Parties, Recorded};
use crate::crypto::vault::{DataKey, Place, Vault};
use crate::domain::LedgerEvent;
use crate::domain::consent::ConsentEvent;
use crate::domain::value::Sealed;
use crate::ids::{ClientKey, SubjectId};
use crate::ledger::LANE;
use crate::trail::origins::{OriginReader, Origins};

/// What was fetched for one batch of events.
#[derive(Default)]
pub struct Known {
    clients: HashMap<Uuid, i64>,
    users: HashMap<Uuid, i64>,
    consents: HashMap<Uuid, (SubjectId, ClientKey)>,
    keys: HashMap<Uuid, Arc<DataKey>>,
    origins: Origins,
}

impl Known {
    /// What the first events of aggregates hand on to the batch's.
    #[must_use]
    pub fn origins(&self) -> &Origins {
        &self.origins
    }

    /// The id of the client's row (the position of its first event), if it was there `before` a position.
    #[must_use]
    pub fn client(&self, client: ClientKey, before: i64) -> Option<i64> {
        self.clients.get(&client.0).copied().filter(|id| *id < before)
    }

    /// The id of the user's row (the position of its first event), if it was there `before` a position.
    #[must_use]
    pub fn user(&self, subject: SubjectId, before: i64) -> Option<i64> {
        self.users.get(&subject.0).copied().filter(|id| *id < before)
    }

    /// The rows of the user and the client that a consent is between.
    #[must_use]
    pub fn consent(&self, consent: Uuid, before: i64) -> Option<(i64, i64)> {
        let (subject, client) = self.consents.get(&consent)?;
        Some((self.user(*subject, before)?, self.client(*client, before)?))
    }

    /// A personal datum of a user in clear; none where the subject's key is gone.
    #[must_use]
    pub fn open(&self, subject: Uuid, field: &str, sealed: &Sealed) -> Option<String> {
        let place = Place {
            aggregate_type: "user",
            aggregate_id: subject,
            event_type: "*",
            field,
        };
        self.keys.get(&subject)?.open(&place, sealed).ok()
    }
}

/// Fetches what is to be known, and remembers what never changes: births, in a bounded cache.
#[derive(Clone)]
pub(super) struct Resolver {
    vault: Vault,
    births: Arc<Cache<(Kind, Uuid), i64>>,
    origins: OriginReader,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Client,
    User,
}

impl Resolver {
    pub(super) fn new(vault: Vault) -> Self {
        Self {
            vault,
            births: Arc::new(Cache::new(200_000)),
            origins: OriginReader::default(),
        }
    }

    /// What the folds of these events may ask for.
    pub(super) async fn resolve(
        &self,
        connection: &mut PgConnection,
        events: &[Recorded],
    ) -> Result<Known, ProjectionError> {
        let (mut clients, mut users, mut consents) = (HashSet::new(), HashSet::new(), HashSet::new());
        for event in events {
            match event.parties() {
                Parties::Client(client, subject) => {
                    clients.insert(client.0);
                    users.extend(subject.map(|subject| subject.0));
                }
                Parties::User(subject) => {
                    users.insert(subject.0);
                }
                Parties::Consent => {
                    consents.insert(event.aggregate_id);
                }
                Parties::Nobody => {}
            }
        }
        let consents = consents_between(connection, consents).await?;
        for (subject, client) in consents.values() {
            users.insert(subject.0);
            clients.insert(client.0);
        }
        Ok(Known {
            clients: self.births(connection, Kind::Client, clients).await?,
            users: self.births(connection, Kind::User, users).await?,
            consents,
            keys: HashMap::new(),
            origins: Origins::default(),
        })
    }

    /// Adds what the first events of aggregates hand on to these.
    pub(super) async fn add_origins(
        &self,
        connection: &mut PgConnection,
        known: &mut Known,
        events: &[Recorded],
    ) -> Result<(), ProjectionError> {
        let events = events.iter().filter_map(Recorded::indexed);
        known.origins = self.origins.read(connection, events).await?;
        Ok(())
    }

    /// Adds the personal-data keys of these subjects.
    pub(super) async fn add_keys(&self, known: &mut Known, subjects: &[Uuid]) -> Result<(), ProjectionError> {
        if !subjects.is_empty() {
            known.keys.extend(self.vault.find_subjects(subjects).await?);
        }
        Ok(())
    }

    async fn births(
        &self,
        connection: &mut PgConnection,
        kind: Kind,
        ids: HashSet<Uuid>,
    ) -> Result<HashMap<Uuid, i64>, ProjectionError> {
        let mut births = HashMap::with_capacity(ids.len());
        let mut missing = Vec::new();
        for id in ids {
            match self.births.get(&(kind, id)) {
                Some(position) => {
                    births.insert(id, position);
                }
                None => missing.push(id),
            }
        }
        if !missing.is_empty() {
            let sql = match kind {
                Kind::Client => {
                    "SELECT aggregate_id, position FROM grantlog.ledger_client \
                     WHERE lane = $1 AND aggregate_type = 'client' AND aggregate_id = ANY ($2) AND sequence = 1"
                }
                Kind::User => {
                    "SELECT aggregate_id, position FROM grantlog.ledger_user \
                     WHERE lane = $1 AND aggregate_type = 'user' AND aggregate_id = ANY ($2) AND sequence = 1"
                }
            };
            let found: Vec<(Uuid, i64)> = sqlx::query_as(sql)
                .bind(LANE)
                .bind(missing)
                .fetch_all(connection)
                .await?;
            for (id, position) in found {
                self.births.insert((kind, id), position);
                births.insert(id, position);
            }
        }
        Ok(births)
    }
}

/// A consent's first event says whom it is between.
async fn consents_between(
    connection: &mut PgConnection,
    ids: HashSet<Uuid>,
) -> Result<HashMap<Uuid, (SubjectId, ClientKey)>, ProjectionError> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<Uuid> = ids.into_iter().collect();
    let first: Vec<(Uuid, String, i16, String)> = sqlx::query_as(
        "SELECT aggregate_id, event_type, event_version, payload::text FROM grantlog.ledger_consent \
         WHERE lane = $1 AND aggregate_type = 'consent' AND aggregate_id = ANY ($2) AND sequence = 1",
    )
    .bind(LANE)
    .bind(ids)
    .fetch_all(connection)
    .await?;
    let mut consents = HashMap::with_capacity(first.len());
    for (id, event_type, version, payload) in first {
        match ConsentEvent::decode(&event_type, version, &payload)? {
            ConsentEvent::ConsentGiven(given) => {
                consents.insert(id, (given.subject, given.client));
            }
            ConsentEvent::ConsentWithdrawn(_) => {}
        }
    }
    Ok(consents)
}
