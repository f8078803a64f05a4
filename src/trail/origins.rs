//! What an aggregate's first events hand on to the later ones: a revocation does not name the client, but the grant's
//! first event does.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use quick_cache::sync::Cache;
use sqlx::PgConnection;
use uuid::Uuid;

use super::concerns::{self, Columns, Concerns};
use super::key::Tag;
use crate::domain::AggregateType;
use crate::ledger::LANE;

/// How many of an aggregate's events hand something on: a device's grant has its user from the second on.
const FIRST: usize = 2;
/// Aggregates whose first events are remembered.
const REMEMBERED: usize = 50_000;

/// What the first events of an aggregate hand on, by sequence from 1.
type HandedOn = [Option<Vec<Tag>>; FIRST];

/// An event as it is indexed.
#[derive(Clone, Copy, Debug)]
pub struct Indexed<'a> {
    /// Its place in the aggregate, from 1.
    pub sequence: i64,
    /// What it says.
    pub columns: Columns<'a>,
}

/// What was handed on to the events of one batch.
#[derive(Debug, Default)]
pub struct Origins(HashMap<Uuid, Arc<HandedOn>>);

impl Origins {
    /// Everything that an event concerns: what it names, and what was handed on to it.
    #[must_use]
    pub fn concerns(&self, event: &Indexed<'_>) -> Vec<Tag> {
        let Concerns { mut tags, .. } = concerns::of(&event.columns);
        if hands_on(event.columns.kind)
            && let Some(first) = self.0.get(&event.columns.aggregate_id)
        {
            let before = first.iter().take(place(event.sequence)).flatten().flatten();
            tags.extend(before);
            tags.sort_unstable();
            tags.dedup();
        }
        tags
    }
}

/// How many events come before it.
fn place(sequence: i64) -> usize {
    usize::try_from(sequence - 1).unwrap_or_default()
}

/// Clients and users are named by each of their events; what else has no parties has nothing to hand on.
fn hands_on(kind: AggregateType) -> bool {
    matches!(
        kind,
        AggregateType::Grant
            | AggregateType::Session
            | AggregateType::Consent
            | AggregateType::Alert
            | AggregateType::SigningKey
    )
}

/// Finds first events, and remembers them.
#[derive(Clone)]
pub struct OriginReader {
    remembered: Arc<Cache<Uuid, Arc<HandedOn>>>,
}

impl Default for OriginReader {
    fn default() -> Self {
        Self {
            remembered: Arc::new(Cache::new(REMEMBERED)),
        }
    }
}

impl OriginReader {
    /// What is handed on to these events, from among themselves and from the ledger.
    pub async fn read<'a>(
        &self,
        connection: &mut PgConnection,
        events: impl IntoIterator<Item = Indexed<'a>>,
    ) -> Result<Origins, sqlx::Error> {
        let mut found: HashMap<Uuid, HandedOn> = HashMap::new();
        let mut last: HashMap<Uuid, (AggregateType, usize)> = HashMap::new();
        for event in events.into_iter().filter(|event| hands_on(event.columns.kind)) {
            let Columns {
                kind, aggregate_id, ..
            } = event.columns;
            let before = place(event.sequence);
            let needed = last.entry(aggregate_id).or_insert((kind, 0));
            needed.1 = needed.1.max(before.min(FIRST));
            if let Some(slot) = found.entry(aggregate_id).or_default().get_mut(before) {
                *slot = Some(concerns::of(&event.columns).handed_on);
            }
        }
        let mut origins = Origins::default();
        let mut missing: HashMap<AggregateType, HashSet<Uuid>> = HashMap::new();
        for (id, (kind, needed)) in &last {
            let known = found
                .get(id)
                .is_some_and(|first| first.iter().take(*needed).all(Option::is_some));
            if known {
                continue;
            }
            match self.remembered.get(id) {
                Some(first) => {
                    found.remove(id);
                    origins.0.insert(*id, first);
                }
                None => {
                    missing.entry(*kind).or_default().insert(*id);
                }
            }
        }
        for (kind, ids) in missing {
            read_first(connection, (kind, ids), &mut found).await?;
        }
        for (id, first) in found {
            let complete = first.iter().all(Option::is_some);
            let first = Arc::new(first);
            if complete {
                self.remembered.insert(id, Arc::clone(&first));
            }
            origins.0.insert(id, first);
        }
        Ok(origins)
    }
}

async fn read_first(
    connection: &mut PgConnection,
    (kind, ids): (AggregateType, HashSet<Uuid>),
    found: &mut HashMap<Uuid, HandedOn>,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "SELECT aggregate_id, sequence, event_type, payload::text FROM grantlog.ledger_{kind} \
         WHERE lane = $1 AND aggregate_type = '{kind}' AND aggregate_id = ANY ($2) AND sequence <= $3",
        kind = kind.name()
    );
    let ids: Vec<Uuid> = ids.into_iter().collect();
    let rows: Vec<(Uuid, i64, String, String)> = sqlx::query_as(&sql)
        .bind(LANE)
        .bind(ids)
        .bind(i64::try_from(FIRST).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await?;
    for (aggregate_id, sequence, event_type, payload) in rows {
        let columns = Columns {
            kind,
            aggregate_id,
            event_type: &event_type,
            payload: &payload,
            // What the caller was is not handed on.
            metadata: "{}",
        };
        if let Some(slot) = found.entry(aggregate_id).or_default().get_mut(place(sequence)) {
            *slot = Some(concerns::of(&columns).handed_on);
        }
    }
    Ok(())
}
