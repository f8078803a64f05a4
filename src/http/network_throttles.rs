//! Networks that policies throttled: nodes answer them few logins, device codes, pushed requests and requests for tokens a
//! minute. Each node reads them from the ledger about once a second, so that a request costs no read of its own.

use std::collections::{BTreeSet, HashMap};
use std::sync::RwLock;

use chrono::TimeDelta;

use super::error::{Rejection, TokenError};
use super::limits::{Counted, TooMany};
use crate::app::App;
use crate::clock::Timestamp;
use crate::crypto::vault::month;
use crate::domain::LedgerEvent;
use crate::domain::network::NetworkEvent;
use crate::domain::refusal::RefusalReason;
use crate::domain::value::Digest;
use crate::ledger::{Context, LANE, Ledger, LedgerError, network_of, position_at};
use crate::policy::THROTTLED_FOR;

/// Events read at once.
const PAGE: i64 = 1_000;

/// A throttle that holds.
#[derive(Clone, Copy, Debug)]
struct Throttle {
    since: Timestamp,
    until: Timestamp,
    per_minute: u32,
}

#[derive(Debug, Default)]
struct Known {
    /// Up to where the ledger was read; none before the first time.
    position: Option<i64>,
    throttles: HashMap<Digest, Throttle>,
}

/// What this node knows of throttled networks.
#[derive(Debug, Default)]
pub struct NetworkThrottles(RwLock<Known>);

type Row = (i64, String, i16, String, Timestamp);

impl NetworkThrottles {
    /// Reads what was appended since the last time, and forgets what is over.
    pub async fn follow(&self, ledger: &Ledger) -> Result<(), LedgerError> {
        let now = ledger.clock().now();
        let known = self.0.read().ok().and_then(|known| known.position);
        let mut position = match known {
            Some(position) => position,
            // Older ones are over. A node's clock may be some way off the database's.
            None => position_at(ledger.pool(), now - THROTTLED_FOR - TimeDelta::hours(1)).await?,
        };
        loop {
            let rows: Vec<Row> = sqlx::query_as(
                "SELECT position, event_type, event_version, payload::text, recorded_at FROM grantlog.ledger_network \
                 WHERE lane = $1 AND position > $2 ORDER BY position LIMIT $3",
            )
            .bind(LANE)
            .bind(position)
            .bind(PAGE)
            .fetch_all(ledger.pool())
            .await?;
            let mut read = Vec::with_capacity(rows.len());
            for (at, event_type, version, payload, since) in rows {
                position = at;
                read.push(match NetworkEvent::decode(&event_type, version, &payload)? {
                    NetworkEvent::NetworkThrottled(event) => {
                        let throttle = Throttle {
                            since,
                            until: event.until,
                            per_minute: event.per_minute,
                        };
                        (event.network, Some(throttle))
                    }
                    NetworkEvent::NetworkThrottleLifted(event) => (event.network, None),
                });
            }
            let more = i64::try_from(read.len()) == Ok(PAGE);
            if let Ok(mut known) = self.0.write() {
                known.position = Some(position);
                for (network, throttle) in read {
                    match throttle {
                        Some(throttle) => known.throttles.insert(network, throttle),
                        None => known.throttles.remove(&network),
                    };
                }
                known.throttles.retain(|_, throttle| throttle.until > now);
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// The throttle of a caller's network, if it has one: the digest that it is counted under, and its measure.
    fn of(&self, app: &App, context: &Context, now: Timestamp) -> Option<(Digest, u32)> {
        let known = self.0.read().ok()?;
        if known.throttles.is_empty() {
            return None;
        }
        let network = network_of(context.address?);
        // Digests are keyed per month: what began in the last one holds on.
        let months: BTreeSet<String> = known
            .throttles
            .values()
            .map(|throttle| month(throttle.since))
            .chain([month(now)])
            .collect();
        let master = app.ledger.vault().master();
        months
            .iter()
            .map(|month| master.network_digest(month, &network))
            .find_map(|digest| {
                let throttle = known
                    .throttles
                    .get(&digest)
                    .filter(|throttle| throttle.until > now)?;
                Some((digest, throttle.per_minute))
            })
    }
}

/// As [`check`], in the words of the endpoints that clients call.
pub(super) fn check_client(app: &App, context: &Context) -> Result<(), Rejection<TokenError>> {
    check(app, context).map_err(|wait| {
        let error = TokenError::TooMany(wait.retry_after);
        Rejection::new(error, RefusalReason::NetworkThrottled)
    })
}

/// Counts a request of a throttled network. Fails where it has had as many within a minute as it gets, on this node.
pub(super) fn check(app: &App, context: &Context) -> Result<(), TooMany> {
    let now = app.ledger.clock().now();
    match app.throttles.of(app, context, now) {
        None => Ok(()),
        Some((network, per_minute)) => {
            let counted = [Counted::ThrottledNetwork(network)];
            app.limits.check_and_count(&counted, per_minute, now)
        }
    }
}
