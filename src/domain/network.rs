//! The `network` aggregate: a network (/24 of IPv4, /48 of IPv6) that somebody guesses from. It is known by a digest that
//! is keyed per month, never by its addresses.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::policy::derived_id;
use super::value::Digest;
use super::{Decision, aggregate};
use crate::clock::Timestamp;

events! {
    /// Events of one network.
    pub enum NetworkEvent of "network" {
        /// Nodes answer few logins, device codes and requests for tokens of it a minute for a while.
        NetworkThrottled 1 {
            /// The digest that its callers' metadata has.
            network: Digest,
            /// How many such requests a node answers it within a minute.
            per_minute: u32,
            /// Until when.
            until: Timestamp,
            /// Why.
            reason: String,
        },
        /// An administrator ended the throttle before its time.
        NetworkThrottleLifted 1 {
            /// The digest that the throttle has.
            network: Digest,
            /// Why.
            reason: String,
        },
    }
}

/// A network's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Until when it is throttled.
    pub throttled_until: Option<Timestamp>,
}

/// Commands on a network.
#[derive(Clone, Debug)]
pub enum NetworkCommand {
    /// Throttle it.
    Throttle(NetworkThrottled),
    /// End the throttle.
    Lift {
        /// Which, and why.
        lifted: NetworkThrottleLifted,
        /// Now.
        at: Timestamp,
    },
}

/// Why a command on a network is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NetworkRefusal {
    /// There is nothing to lift.
    #[error("this network is not throttled")]
    NotThrottled,
}

impl Network {
    /// The aggregate of a network, by its digest.
    #[must_use]
    pub fn id(network: &Digest) -> Uuid {
        derived_id(&["grantlog network", &network.to_string()])
    }

    /// Decides a command. A throttle that ends no later than the one before changes nothing.
    #[must_use]
    pub fn decide(&self, command: &NetworkCommand) -> Decision<NetworkEvent, (), NetworkRefusal> {
        match command {
            NetworkCommand::Throttle(throttle) => {
                if self.throttled_until.is_some_and(|until| until >= throttle.until) {
                    return Decision::accept(Vec::new(), ());
                }
                Decision::accept(vec![throttle.clone().into()], ())
            }
            NetworkCommand::Lift { lifted, at } => {
                if self.throttled_until.is_none_or(|until| until <= *at) {
                    return Decision::refuse(NetworkRefusal::NotThrottled);
                }
                Decision::accept(vec![lifted.clone().into()], ())
            }
        }
    }

    fn evolve(&mut self, event: NetworkEvent) {
        self.throttled_until = match event {
            NetworkEvent::NetworkThrottled(event) => Some(event.until),
            NetworkEvent::NetworkThrottleLifted(_) => None,
        };
    }
}

aggregate!(
    Network,
    Network,
    "network",
    NetworkCommand,
    NetworkEvent,
    NetworkRefusal
);

#[cfg(test)]
mod tests {
    use cqrs_es::Aggregate;

    use super::*;

    #[test]
    fn a_throttle_is_prolonged_and_never_cut_short() {
        let throttle = |until: &str| {
            NetworkCommand::Throttle(NetworkThrottled {
                network: Digest::of(b"n"),
                per_minute: 5,
                until: until.parse().unwrap(),
                reason: "alert".to_owned(),
            })
        };
        let mut network = Network::default();
        let mut appended = Vec::new();
        for until in [
            "2026-11-22T11:00:00Z",
            "2026-11-22T10:59:00Z",
            "2026-11-22T11:30:00Z",
        ] {
            for event in network.decide(&throttle(until)).events {
                appended.push(until);
                network.apply(event);
            }
        }
        assert_eq!(appended, ["2026-11-22T11:00:00Z", "2026-11-22T11:30:00Z"]);
        // What is lifted can be lifted once, and is throttled anew by the next finding.
        let lift = |at: &str| NetworkCommand::Lift {
            lifted: NetworkThrottleLifted {
                network: Digest::of(b"n"),
                reason: "a school".to_owned(),
            },
            at: at.parse().unwrap(),
        };
        let over = network.decide(&lift("2026-11-22T11:30:00Z"));
        assert_eq!(over.outcome, Err(NetworkRefusal::NotThrottled));
        for event in network.decide(&lift("2026-11-22T11:29:59Z")).events {
            network.apply(event);
        }
        assert_eq!(network.throttled_until, None);
        let again = network.decide(&lift("2026-11-22T11:29:59Z"));
        assert_eq!(again.outcome, Err(NetworkRefusal::NotThrottled));
        assert_eq!(network.decide(&throttle("2026-11-22T11:20:00Z")).events.len(), 1);
    }
}
