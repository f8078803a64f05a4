//! What it did: events on the ledger, and uses of tokens at this server's own endpoints.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::concern::{Concern, OneToken, found};
use super::{BlastRadiusError, Window};
use crate::clock::Timestamp;
use crate::domain::LedgerEvent;
use crate::domain::grant::GrantEvent;
use crate::ids::GrantId;
use crate::ledger::{LedgerError, Metadata, StoredEvent};
use crate::operations::Operations;
use crate::operations::token_use::{Used, UsesOf};
use crate::trail::Stretch;

/// The most positions that are named of facts of one kind; the first and the last are always told.
const NAMED: usize = 100;

/// What it did.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Did {
    /// Events, those that are alike together.
    pub events: Vec<Fact>,
    /// Grants of tokens that were exchanged for its own.
    pub exchanged: BTreeSet<GrantId>,
    /// Uses of tokens: of its own, those that it asked about as a client, or those from its network.
    #[serde(flatten)]
    pub used: Used,
    /// Where they were written down: the first hundred positions.
    pub uses_positions: Vec<i64>,
}

/// Events of one type at one endpoint, from one network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Fact {
    /// The aggregate's type.
    pub aggregate_type: String,
    /// The event's name.
    pub event_type: String,
    /// The endpoint or command.
    pub endpoint: String,
    /// The caller's network, as a digest keyed per month.
    pub network: Option<String>,
    /// How many.
    pub count: u64,
    /// When the first was recorded.
    pub first_at: Timestamp,
    /// When the last was recorded.
    pub last_at: Timestamp,
    /// Where the last one is.
    pub last_position: i64,
    /// Where they are: the first hundred.
    pub positions: Vec<i64>,
}

/// Finds what it did in the window.
pub(super) async fn did(
    operations: &Operations,
    concern: &Concern,
    window: &Window,
    truncated: &mut BTreeSet<&'static str>,
) -> Result<Did, BlastRadiusError> {
    let mut stretch = window.stretch;
    if let Some(token) = concern.token {
        // Nothing came of it before it was there.
        stretch = Stretch {
            after: stretch.after.max(token.position - 1),
            ..stretch
        };
    }
    let found = found(operations, &concern.query(), stretch).await?;
    if found.truncated {
        truncated.insert("events");
    }
    let mut facts = Facts::default();
    for event in &found.events {
        if event.event_type == "LedgerRead" && !concern.acted(event)? {
            // Somebody looked at it, which it did not do.
            continue;
        }
        if concern
            .token
            .is_none_or(|token| is_of(event, token).unwrap_or(true))
        {
            facts.add(event)?;
        }
    }
    let (used, uses_positions) = uses(operations, concern, window).await?;
    Ok(Did {
        events: facts.0.into_values().collect(),
        exchanged: concern.exchanged.clone(),
        used,
        uses_positions,
    })
}

/// Whether an event that names a token's grant is about the token: an access token has no part in what its grant does
/// besides. None: every event is.
fn is_of(event: &StoredEvent, token: OneToken) -> Option<bool> {
    if !token.access {
        return None;
    }
    let own = event.aggregate_type == "grant" && event.aggregate_id == token.grant.0;
    if own {
        // It was issued, or ended.
        return Some(event.position == token.position || event.event_type == "TokenRevoked");
    }
    let decoded = GrantEvent::decode(&event.event_type, event.event_version, &event.payload).ok()?;
    let GrantEvent::TokenExchanged(exchange) = decoded else {
        return None;
    };
    let mut tokens = exchange.rests_on();
    Some(tokens.any(|one| one.grant == token.grant && one.sequence == token.sequence))
}

/// Facts by what they have in common.
#[derive(Default)]
struct Facts(BTreeMap<(String, String, String, Option<String>), Fact>);

impl Facts {
    fn add(&mut self, event: &StoredEvent) -> Result<(), LedgerError> {
        // Its counts are told one by one.
        if event.aggregate_type == "token_use" {
            return Ok(());
        }
        let metadata = Metadata::read(&event.metadata)?;
        let network = metadata.network.map(|network| network.to_string());
        let key = (
            event.aggregate_type.clone(),
            event.event_type.clone(),
            metadata.endpoint.clone(),
            network.clone(),
        );
        let fact = self.0.entry(key).or_insert_with(|| Fact {
            aggregate_type: event.aggregate_type.clone(),
            event_type: event.event_type.clone(),
            endpoint: metadata.endpoint,
            network,
            count: 0,
            first_at: event.recorded_at,
            last_at: event.recorded_at,
            last_position: event.position,
            positions: Vec::new(),
        });
        fact.count += 1;
        fact.last_at = event.recorded_at;
        fact.last_position = event.position;
        if fact.positions.len() < NAMED {
            fact.positions.push(event.position);
        }
        Ok(())
    }
}

/// Its uses, and where they were written down.
async fn uses(
    operations: &Operations,
    concern: &Concern,
    window: &Window,
) -> Result<(Used, Vec<i64>), BlastRadiusError> {
    let grants = concern.grants.iter().chain(&concern.exchanged);
    let wanted = UsesOf {
        clients: concern.clients.iter().map(|client| client.0).collect(),
        subjects: concern.subjects.iter().map(|subject| subject.0).collect(),
        grants: grants.map(|grant| grant.0).collect(),
        asked_by: concern.acts_as.iter().map(|client| client.0).collect(),
        networks: concern.networks.clone(),
    };
    let between = (window.begins(), window.until);
    let used = operations.uses(&wanted, between).await?;
    let positions = operations.uses_positions(&wanted, between, NAMED).await?;
    Ok((used, positions))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::value::Digest;

    fn event(position: i64, event_type: &str, network: Option<&str>) -> StoredEvent {
        let network = network.map(|network| Digest::of(network.as_bytes()));
        let metadata = serde_json::json!({
            "actor": "anonymous", "endpoint": "/oauth/token", "request_id": Uuid::nil(), "network": network,
            "caller": null, "trace_id": null,
        });
        StoredEvent {
            position,
            aggregate_type: "grant".to_owned(),
            aggregate_id: Uuid::from_u128(1),
            sequence: position,
            event_type: event_type.to_owned(),
            event_version: 1,
            payload: "{}".to_owned(),
            metadata: metadata.to_string(),
            recorded_at: chrono::DateTime::from_timestamp(position, 0).unwrap(),
        }
    }

    #[test]
    fn events_that_are_alike_are_one_fact_with_its_positions() {
        let mut facts = Facts::default();
        for position in 1..=150 {
            facts.add(&event(position, "RefreshRotated", Some("a"))).unwrap();
        }
        facts.add(&event(151, "RefreshRotated", Some("b"))).unwrap();
        facts.add(&event(152, "RefreshRotated", None)).unwrap();
        let facts: Vec<Fact> = facts.0.into_values().collect();
        let mut counts: Vec<_> = facts
            .iter()
            .map(|fact| (fact.count, fact.last_position))
            .collect();
        counts.sort_unstable();
        assert_eq!(counts, [(1, 151), (1, 152), (150, 150)]);
        let many = facts.iter().find(|fact| fact.count == 150).unwrap();
        assert_eq!(many.positions, (1..=100).collect::<Vec<_>>());
        assert_eq!(many.first_at.timestamp(), 1);
    }

    #[test]
    fn an_access_token_has_no_part_in_what_its_grant_does_besides() {
        let token = OneToken {
            grant: GrantId(Uuid::from_u128(1)),
            sequence: 3,
            access: true,
            position: 3,
        };
        assert_eq!(is_of(&event(3, "TokenIssued", None), token), Some(true));
        assert_eq!(is_of(&event(4, "RefreshRotated", None), token), Some(false));
        assert_eq!(is_of(&event(5, "TokenRevoked", None), token), Some(true));
        let refresh = OneToken {
            access: false,
            ..token
        };
        assert_eq!(is_of(&event(4, "RefreshRotated", None), refresh), None);
        assert!(refresh.led_to(4) && !refresh.led_to(2) && !token.led_to(4) && token.led_to(3));
    }
}
