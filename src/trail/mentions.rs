//! Events elsewhere that name a grant: exchanges of its tokens, what was done about it, refusals, alerts.

use schemars::JsonSchema;
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::key::Key;
use super::lineage::{Exchange, Lineage, Place};
use super::pasted::decode;
use super::postings::{Order, Query, Stretch, positions};
use crate::clock::Timestamp;
use crate::domain::LedgerEvent;
use crate::domain::alert::{AlertEvent, Cause};
use crate::domain::grant::{GrantEvent, TokenRef};
use crate::domain::policy::Action;
use crate::ids::GrantId;
use crate::ledger::{LedgerError, Metadata, StoredEvent};
use crate::operations::Operations;

/// The most events elsewhere that are listed as naming a grant.
pub const MAX_MENTIONS: usize = 200;
/// The most exchanges and containments that its lineage is told with.
pub const MAX_LINEAGE: usize = 10_000;
/// The events elsewhere that are part of its lineage. Whatever else names it cannot push them out: refusals come for nothing.
const OF_LINEAGE: [&str; 2] = ["TokenExchanged", "ContainmentApplied"];

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

/// Cuts a list to its limit, and says so.
pub(super) fn cut(
    list: &mut Vec<StoredEvent>,
    most: usize,
    (what, truncated): (&'static str, &mut Vec<&'static str>),
) {
    if list.len() > most {
        list.truncate(most);
        truncated.push(what);
    }
}

/// The exchanges and containments that name a grant, the newest first, and one more than are told.
pub(super) async fn descent(
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
pub(super) async fn mentioning(
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

pub(super) fn mention(event: &StoredEvent) -> Result<Mention, LedgerError> {
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
pub(super) fn exchange(
    lineage: &mut Lineage,
    event: &StoredEvent,
    grant: GrantId,
) -> Result<(), LedgerError> {
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
            issued: Place::of(event),
            direct,
        };
        let token: TokenRef = *token;
        lineage.exchanged(token, exchange);
    }
    Ok(())
}

pub(super) fn containment(event: &StoredEvent, grant: GrantId) -> Result<Option<Containment>, LedgerError> {
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
