//! Searching the trail: filters that are combined, answered from the index, a page at a time.

use std::net::IpAddr;

use uuid::Uuid;

use super::key::{Key, words};
use super::postings::{Order, Query, Stretch, positions};
use crate::clock::Timestamp;
use crate::domain::trail::LedgerRead;
use crate::domain::value::Digest;
use crate::ids::{ClientKey, GrantId, RequestId, SessionId, SubjectId};
use crate::ledger::{LANE, Ledger, LedgerError, Metadata, Operator, StoredEvent, network_of, recorded_at};
use crate::operations::Operations;
use crate::policy::contain::months;

/// Positions that are asked for at once, where events are sorted out afterwards.
const BATCH: usize = 1_000;

/// What events are asked for: those that every filter takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// Who acted, as metadata spells it.
    pub actor: Option<String>,
    /// The person who acted: at the command line, or through a client of the administration API.
    pub operator: Option<String>,
    /// A client.
    pub client: Option<ClientKey>,
    /// A user.
    pub subject: Option<SubjectId>,
    /// A browser login.
    pub session: Option<SessionId>,
    /// A grant.
    pub grant: Option<GrantId>,
    /// An address, for its network (/24 or /48).
    pub address: Option<IpAddr>,
    /// A network, as metadata has it.
    pub network: Option<Digest>,
    /// A public key or certificate: `kid` or thumbprint.
    pub public_key: Option<String>,
    /// Events of one of these names; empty for all.
    pub events: Vec<String>,
    /// A request.
    pub request: Option<RequestId>,
    /// Words of a reason, an error code or a note.
    pub reason: Option<String>,
}

impl Filters {
    /// The names of the filters that are set: what is recorded of a search.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let set = [
            ("actor", self.actor.is_some()),
            ("operator", self.operator.is_some()),
            ("client", self.client.is_some()),
            ("user", self.subject.is_some()),
            ("session", self.session.is_some()),
            ("grant", self.grant.is_some()),
            ("address", self.address.is_some()),
            ("network", self.network.is_some()),
            ("key", self.public_key.is_some()),
            ("event", !self.events.is_empty()),
            ("request", self.request.is_some()),
            ("reason", self.reason.is_some()),
        ];
        let set = set.into_iter().filter(|(_, is_set)| *is_set);
        set.map(|(name, _)| name.to_owned()).collect()
    }

    /// What is recorded of a search of a stretch, before anything that it finds is shown.
    #[must_use]
    pub fn reading(&self, stretch: Stretch, revealed: bool) -> LedgerRead {
        // What somebody did is about that one, too.
        let actor = self.actor.as_deref().and_then(|actor| actor.split_once(':'));
        let acted = |kind: &str| {
            let (_, id) = actor.filter(|(named, _)| *named == kind)?;
            Uuid::try_parse(id).ok()
        };
        let session = self.session.map(|session| session.0.to_string());
        LedgerRead {
            grant: self.grant,
            filters: self.names(),
            revealed,
            subject: self.subject.or_else(|| acted("user").map(SubjectId)),
            client: self.client.or_else(|| acted("client").map(ClientKey)),
            resource: self.request.map(|request| request.to_string()).or(session),
            ..LedgerRead::stretch(stretch.after, stretch.upto.max(0))
        }
    }

    /// What the index is asked. `networks` are those of the address, in each month that may hold an event.
    #[must_use]
    pub fn query(&self, networks: Vec<Digest>) -> Query {
        let keys = [
            self.actor.clone().map(Key::Actor),
            self.client.map(Key::Client),
            self.subject.map(Key::Subject),
            self.session.map(Key::Session),
            self.grant.map(Key::Grant),
            self.network.map(Key::Network),
            self.public_key.clone().map(Key::PublicKey),
            self.request.map(Key::Request),
        ];
        let words = self.reason.iter().flat_map(|text| words(text)).map(Key::Word);
        let mut query = Query::new();
        for key in keys.into_iter().flatten().chain(words) {
            query = query.and(&key);
        }
        if !self.events.is_empty() {
            query = query.and_any(self.events.iter().cloned().map(Key::EventType));
        }
        if self.operator.is_some() {
            // Names are sealed: they are compared one by one, among what was done in anybody's name.
            query = query.and_any([Key::Actor("command_line".to_owned()), Key::Operator]);
        }
        if self.address.is_some() {
            query = query.and_any(networks.into_iter().map(Key::Network));
        }
        query
    }
}

/// A search under way.
#[derive(Debug)]
pub struct Search {
    query: Query,
    operator: Option<String>,
    order: Order,
    left: Stretch,
}

impl Search {
    /// Begins a search of a stretch of the ledger.
    pub async fn begin(
        ledger: &Ledger,
        filters: &Filters,
        (stretch, order): (Stretch, Order),
    ) -> Result<Self, LedgerError> {
        let networks = match filters.address {
            Some(address) => networks(ledger, address, stretch).await?,
            None => Vec::new(),
        };
        Ok(Self {
            query: filters.query(networks),
            operator: filters.operator.clone(),
            order,
            left: stretch,
        })
    }

    /// The next events, at most `limit`; fewer at the end.
    pub async fn next(
        &mut self,
        operations: &Operations,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, LedgerError> {
        let mut page = Vec::new();
        while page.len() < limit {
            let wanted = if self.operator.is_some() {
                BATCH
            } else {
                limit - page.len()
            };
            let mut connection = operations.ledger.pool().acquire().await?;
            let order = (self.order, wanted.min(BATCH));
            let found = positions(&mut connection, &self.query, self.left, order).await?;
            drop(connection);
            let mut events = operations.events_at(&found.positions).await?;
            if self.order == Order::NewestFirst {
                events.reverse();
            }
            for event in events {
                self.pass(event.position);
                if self.takes(operations, &event).await? {
                    page.push(event);
                }
                if page.len() == limit {
                    return Ok(page);
                }
            }
            let Some(last) = found
                .positions
                .last()
                .filter(|_| found.positions.len() == order.1)
            else {
                break;
            };
            self.pass(*last);
        }
        Ok(page)
    }

    /// Where the rest of the stretch is.
    #[must_use]
    pub fn left(&self) -> Stretch {
        self.left
    }

    /// What comes next is beyond this position.
    fn pass(&mut self, position: i64) {
        match self.order {
            Order::OldestFirst => self.left.after = position,
            Order::NewestFirst => self.left.upto = position - 1,
        }
    }

    async fn takes(&self, operations: &Operations, event: &StoredEvent) -> Result<bool, LedgerError> {
        let Some(wanted) = &self.operator else {
            return Ok(true);
        };
        let metadata = Metadata::read(&event.metadata)?;
        let place = (
            event.aggregate_type.as_str(),
            event.aggregate_id,
            event.event_type.as_str(),
        );
        let vault = operations.ledger.vault();
        let operator = metadata.operator(vault, place, event.recorded_at).await?;
        Ok(operator == Some(Operator::Name(wanted.clone())))
    }
}

/// The digests of an address's network in each month of a stretch.
async fn networks(ledger: &Ledger, address: IpAddr, stretch: Stretch) -> Result<Vec<Digest>, LedgerError> {
    let first = recorded_at(ledger.pool(), stretch.after + 1).await?;
    let Some(first) = first else {
        return Ok(Vec::new());
    };
    let last: Option<Timestamp> = sqlx::query_scalar(
        "SELECT recorded_at FROM grantlog.ledger WHERE lane = $1 AND position <= $2 ORDER BY position DESC LIMIT 1",
    )
    .bind(LANE)
    .bind(stretch.upto)
    .fetch_optional(ledger.pool())
    .await?;
    let last = last.unwrap_or_else(|| ledger.clock().now());
    let network = network_of(address);
    let master = ledger.vault().master();
    let months = months(first, last);
    Ok(months
        .iter()
        .map(|month| master.network_digest(month, &network))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_is_recorded_by_the_names_of_its_filters() {
        let filters = Filters {
            address: Some(IpAddr::from([192, 0, 2, 1])),
            events: vec!["CodeIssued".to_owned()],
            reason: Some("leaked".to_owned()),
            ..Filters::default()
        };
        assert_eq!(filters.names(), ["address", "event", "reason"]);
        assert!(Filters::default().names().is_empty());
    }
}
