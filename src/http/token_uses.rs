//! Counts of uses of tokens at this server's own endpoints, so that "last used" and the reach of a leak rest on facts
//! without an event for each call. They gather in memory and are written down every so often, many in one append: what a
//! node that dies had not written down is lost.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Mutex;

use tokio::sync::Notify;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::crypto::vault::month;
use crate::domain::token_use::{MAX_USES, TokenUse, TokenUseCommand, TokenUseCounted, TokenUses};
use crate::ids::{ClientKey, GrantId, SubjectId};
use crate::ledger::{Actor, Context, Ledger, LedgerError, network_of};

/// How many counts gather before they are written down ahead of time.
const FULL: usize = 10_000;
/// How many gather at most, while they cannot be written down. New ones are lost beyond.
const MOST: usize = 2 * FULL;
/// Events that one append writes down.
const EVENTS: usize = 8;
/// Appends that wait at most, while they cannot be made.
const WAITING: usize = 2 * MOST / (EVENTS * MAX_USES);

/// Whose token was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// Its grant.
    pub grant: GrantId,
    /// The client that it was issued to.
    pub client: ClientKey,
    /// The user that it stands for.
    pub subject: Option<SubjectId>,
    /// The client that asked about it; none where it was presented itself.
    pub asked_by: Option<ClientKey>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    /// Seconds since 1970.
    hour: i64,
    grant: GrantId,
    client: ClientKey,
    asked_by: Option<ClientKey>,
    network: Option<IpAddr>,
    endpoint: &'static str,
}

struct Tally {
    subject: Option<SubjectId>,
    count: u64,
    first: Timestamp,
    last: Timestamp,
}

/// What one append writes down. Its id is that of its aggregate, so that it counts once however often it is tried.
struct Batch {
    id: Uuid,
    events: Vec<TokenUseCounted>,
}

/// The counts of this node.
pub struct TokenUseCounter {
    is_on: bool,
    tallies: Mutex<HashMap<Key, Tally>>,
    waiting: tokio::sync::Mutex<VecDeque<Batch>>,
    full: Notify,
}

impl TokenUseCounter {
    pub(crate) fn new(is_on: bool) -> Self {
        Self {
            is_on,
            tallies: Mutex::default(),
            waiting: tokio::sync::Mutex::default(),
            full: Notify::new(),
        }
    }

    /// Counts a use by the request of this context.
    pub fn count(&self, used: Used, context: &Context, at: Timestamp) {
        if !self.is_on {
            return;
        }
        let key = Key {
            hour: at.timestamp().div_euclid(3600) * 3600,
            grant: used.grant,
            client: used.client,
            asked_by: used.asked_by,
            network: context.address.map(network),
            endpoint: context.endpoint,
        };
        let Ok(mut tallies) = self.tallies.lock() else {
            return;
        };
        let before = tallies.len();
        if before >= MOST && !tallies.contains_key(&key) {
            drop(tallies);
            return lost(1);
        }
        let tally = tallies.entry(key).or_insert(Tally {
            subject: used.subject,
            count: 0,
            first: at,
            last: at,
        });
        tally.count += 1;
        tally.first = tally.first.min(at);
        tally.last = tally.last.max(at);
        if before + 1 == FULL && tallies.len() == FULL {
            self.full.notify_one();
        }
    }

    /// Comes when so much has gathered that it should be written down.
    pub async fn filled(&self) {
        self.full.notified().await;
    }

    /// Writes down what has gathered. What fails is kept for the next time, as far as there is room.
    pub async fn write_down(&self, ledger: &Ledger) -> Result<(), LedgerError> {
        let mut waiting = self.waiting.lock().await;
        let gathered = self
            .tallies
            .lock()
            .map(|mut tallies| std::mem::take(&mut *tallies));
        let mut events = events(ledger, gathered.unwrap_or_default())
            .into_iter()
            .peekable();
        while events.peek().is_some() {
            let id = ledger.random().uuid()?;
            let batch = Batch {
                id,
                events: events.by_ref().take(EVENTS).collect(),
            };
            if waiting.len() < WAITING {
                waiting.push_back(batch);
            } else {
                lost(
                    batch
                        .events
                        .iter()
                        .flat_map(|event| &event.uses)
                        .map(|uses| uses.count)
                        .sum(),
                );
            }
        }
        while let Some(batch) = waiting.pop_front() {
            if let Err(error) = append(ledger, &batch).await {
                waiting.push_front(batch);
                return Err(error);
            }
        }
        Ok(())
    }
}

fn lost(uses: u64) {
    metrics::counter!("grantlog_token_uses_lost_total").increment(uses);
}

async fn append(ledger: &Ledger, batch: &Batch) -> Result<(), LedgerError> {
    let context = Context::local(ledger.random().uuid()?, Actor::System, "token_uses");
    let command = TokenUseCommand::Count(batch.events.clone());
    let mut unit = ledger.unit_of_work(&context);
    loop {
        let counts = unit.load::<TokenUse>(batch.id).await?;
        // Refused where an earlier try had come through after all.
        if unit.conclude(&counts, counts.decide(&command)).await?.is_some() {
            return Ok(());
        }
    }
}

/// The counts as events, each hour's together, in an order of their own.
fn events(ledger: &Ledger, tallies: HashMap<Key, Tally>) -> Vec<TokenUseCounted> {
    let mut counted: Vec<(Key, Tally)> = tallies.into_iter().collect();
    counted.sort_unstable_by_key(|(key, _)| (key.hour, key.grant, key.client, key.endpoint, key.network));
    let master = ledger.vault().master();
    let mut events: Vec<TokenUseCounted> = Vec::new();
    for (key, tally) in counted {
        let Some(hour) = Timestamp::from_timestamp(key.hour, 0) else {
            continue;
        };
        let network = key
            .network
            .map(|network| master.network_digest(&month(hour), &network_of(network)));
        let uses = TokenUses {
            grant: key.grant,
            client: key.client,
            subject: tally.subject,
            asked_by: key.asked_by,
            network,
            endpoint: key.endpoint.to_owned(),
            count: tally.count,
            first: tally.first,
            last: tally.last,
        };
        match events.last_mut() {
            Some(event) if event.hour == hour && event.uses.len() < MAX_USES => event.uses.push(uses),
            _ => events.push(TokenUseCounted {
                hour,
                uses: vec![uses],
            }),
        }
    }
    events
}

/// An address without what tells one host of its network from another, as [`network_of`] has it.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            Ipv4Addr::new(a, b, c, 0).into()
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(address: &str) -> Context {
        Context {
            address: Some(address.parse().unwrap()),
            ..Context::local(Uuid::nil(), Actor::Anonymous, "/api/user")
        }
    }

    fn used(grant: u128) -> Used {
        Used {
            grant: GrantId(Uuid::from_u128(grant)),
            client: ClientKey(Uuid::nil()),
            subject: None,
            asked_by: None,
        }
    }

    #[test]
    fn what_is_alike_is_counted_together_within_its_hour() {
        let counter = TokenUseCounter::new(true);
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (early, late) = (at("2026-11-22T10:00:00Z"), at("2026-11-22T10:59:59Z"));
        counter.count(used(1), &context("192.0.2.7"), late);
        counter.count(used(1), &context("192.0.2.99"), early);
        counter.count(used(1), &context("::ffff:192.0.2.1"), late);
        counter.count(used(1), &context("198.51.100.1"), late);
        counter.count(used(2), &context("192.0.2.7"), late);
        counter.count(used(1), &context("192.0.2.7"), at("2026-11-22T11:00:00Z"));
        TokenUseCounter::new(false).count(used(1), &context("192.0.2.7"), late);
        let tallies = counter.tallies.lock().unwrap();
        let mut counts: Vec<_> = tallies
            .values()
            .map(|tally| (tally.count, tally.first, tally.last))
            .collect();
        counts.sort_unstable();
        let eleven = at("2026-11-22T11:00:00Z");
        assert_eq!(
            counts,
            [
                (1, late, late),
                (1, late, late),
                (1, eleven, eleven),
                (3, early, late)
            ]
        );
    }

    #[test]
    fn a_full_table_is_written_down_early_and_one_that_cannot_be_stays_bounded() {
        let counter = TokenUseCounter::new(true);
        let (context, at) = (context("192.0.2.7"), chrono::DateTime::UNIX_EPOCH);
        let mut filled = comes(&counter);
        for grant in 0..FULL as u128 - 1 {
            counter.count(used(grant), &context, at);
        }
        assert!(!filled());
        for grant in FULL as u128 - 1..MOST as u128 + 10 {
            counter.count(used(grant), &context, at);
        }
        assert!(filled());
        assert_eq!(counter.tallies.lock().unwrap().len(), MOST);
    }

    /// Whether [`TokenUseCounter::filled`] has come.
    fn comes(counter: &TokenUseCounter) -> impl FnMut() -> bool + '_ {
        let mut filled = Box::pin(counter.filled());
        move || {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            filled.as_mut().poll(&mut context).is_ready()
        }
    }

    #[test]
    fn a_network_is_what_its_digest_is_made_of() {
        for address in ["192.0.2.7", "::ffff:192.0.2.7", "2001:db8:1:2::3"] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(network_of(network(address)), network_of(address));
        }
    }
}
