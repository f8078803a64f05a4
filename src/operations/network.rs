//! Networks that policies throttle, as an administrator sees them and lets go of them.

use std::net::IpAddr;

use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::Serialize;

use super::{OperationError, Operations, run};
use crate::clock::Timestamp;
use crate::domain::LedgerEvent;
use crate::domain::network::{Network, NetworkCommand, NetworkEvent, NetworkThrottleLifted};
use crate::domain::value::Digest;
use crate::ledger::{Context, LANE, LedgerError};
use crate::policy::THROTTLED_FOR;
use crate::policy::contain::network_digests;

/// The most characters of a reason.
const MAX_REASON: usize = 500;

/// A network that nodes answer few requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ThrottledNetwork {
    /// Its digest, keyed per month.
    pub network: Digest,
    /// Since when.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// How many logins, user codes and token requests a minute a node answers it.
    pub per_minute: u32,
    /// Why.
    pub reason: String,
}

impl Operations {
    /// The networks that are throttled now, the longest first.
    pub async fn throttled_networks(&self) -> Result<Vec<ThrottledNetwork>, LedgerError> {
        type Row = (String, i16, String, Timestamp);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT DISTINCT ON (aggregate_id) event_type, event_version, payload::text, recorded_at \
             FROM grantlog.ledger_network WHERE lane = $1 AND aggregate_type = 'network' \
             ORDER BY aggregate_id, sequence DESC",
        )
        .bind(LANE)
        .fetch_all(self.ledger.pool())
        .await?;
        let now = self.ledger.clock().now();
        let mut throttled = Vec::new();
        for (event_type, version, payload, since) in rows {
            match NetworkEvent::decode(&event_type, version, &payload)? {
                NetworkEvent::NetworkThrottled(event) if event.until > now => {
                    throttled.push(ThrottledNetwork {
                        network: event.network,
                        since,
                        until: event.until,
                        per_minute: event.per_minute,
                        reason: event.reason,
                    });
                }
                NetworkEvent::NetworkThrottled(_) | NetworkEvent::NetworkThrottleLifted(_) => {}
            }
        }
        throttled.sort_by_key(|throttle| throttle.since);
        Ok(throttled)
    }

    /// Those of the throttled networks that an address is in (/24 of IPv4, /48 of IPv6).
    pub async fn throttled_networks_of(&self, address: IpAddr) -> Result<Vec<Digest>, LedgerError> {
        // Digests are keyed per month: the throttle may have begun in the last one.
        let since = self.ledger.clock().now() - THROTTLED_FOR - TimeDelta::hours(1);
        let named = network_digests(&self.ledger, address, (Some(since), None)).await?;
        let throttled = self.throttled_networks().await?.into_iter();
        let networks = throttled.map(|throttle| throttle.network);
        Ok(networks.filter(|network| named.contains(network)).collect())
    }

    /// Ends a network's throttle before its time. Nodes know of it within about a second.
    pub async fn release_network(
        &self,
        context: &Context,
        network: Digest,
        reason: &str,
    ) -> Result<(), OperationError> {
        let reason = reason.trim();
        if reason.is_empty() || reason.chars().count() > MAX_REASON {
            return Err(OperationError::invalid(
                "reason",
                format!("say why, in at most {MAX_REASON} characters"),
            ));
        }
        let lifted = NetworkThrottleLifted {
            network,
            reason: reason.to_owned(),
        };
        let command = NetworkCommand::Lift {
            lifted,
            at: self.ledger.clock().now(),
        };
        Ok(run!(self, context, Network, Network::id(&network), &command).outcome?)
    }
}
