//! The `token_use` aggregate: how often tokens were used at this server's own endpoints. Each time that a node writes its
//! counts down is an aggregate of its own.

use serde::{Deserialize, Serialize};

use super::{Decision, aggregate};
use crate::clock::Timestamp;
use crate::domain::value::Digest;
use crate::ids::{ClientKey, GrantId, SubjectId};

/// The most counts of one event: they fit into [`crate::ledger::MAX_EVENT_BYTES`] with room to spare.
pub const MAX_USES: usize = 100;

events! {
    /// Events of one writing down of counts.
    pub enum TokenUseEvent of "token_use" {
        /// Tokens were used within an hour: one count for each grant, endpoint and network. A node writes its counts every
        /// so often, so there are several such events for an hour; their counts add up.
        TokenUseCounted 1 {
            /// When the hour began.
            hour: Timestamp,
            /// The counts.
            uses: Vec<TokenUses>,
        },
    }
}

/// How often tokens of one grant were used at one endpoint from one network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenUses {
    /// The grant that the tokens are of.
    pub grant: GrantId,
    /// The client that they were issued to.
    pub client: ClientKey,
    /// The user that they stand for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<SubjectId>,
    /// The client that asked about them (RFC 7662); none where they were presented themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<ClientKey>,
    /// The network that the requests came from, as a digest keyed per month: of an introspection, the resource server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Digest>,
    /// The endpoint's path.
    pub endpoint: String,
    /// How often, since the counts were written down before.
    pub count: u64,
    /// The first time.
    pub first: Timestamp,
    /// The last time.
    pub last: Timestamp,
}

/// What was written down.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TokenUse {
    /// How many counts.
    pub counts: usize,
}

/// Commands on counts.
#[derive(Clone, Debug)]
pub enum TokenUseCommand {
    /// Write these down, each hour's together.
    Count(Vec<TokenUseCounted>),
}

/// Why counts were not written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenUseRefusal {
    /// The id is in use.
    #[error("these counts were written down already")]
    Exists,
    /// An event would be larger than the ledger takes.
    #[error("an event holds at most 100 counts")]
    TooMany,
}

impl TokenUse {
    /// Decides a command. Counts are never written into an aggregate that has some: a command that is sent twice counts once.
    #[must_use]
    pub fn decide(&self, command: &TokenUseCommand) -> Decision<TokenUseEvent, (), TokenUseRefusal> {
        let TokenUseCommand::Count(events) = command;
        if self.counts > 0 {
            return Decision::refuse(TokenUseRefusal::Exists);
        }
        if events.iter().any(|event| event.uses.len() > MAX_USES) {
            return Decision::refuse(TokenUseRefusal::TooMany);
        }
        let events = events.iter().filter(|event| !event.uses.is_empty());
        Decision::accept(events.cloned().map(TokenUseEvent::from).collect(), ())
    }

    fn evolve(&mut self, event: TokenUseEvent) {
        let TokenUseEvent::TokenUseCounted(event) = event;
        self.counts += event.uses.len();
    }
}

aggregate!(
    TokenUse,
    TokenUse,
    "token_use",
    TokenUseCommand,
    TokenUseEvent,
    TokenUseRefusal
);

#[cfg(test)]
mod tests {
    use cqrs_es::Aggregate;
    use uuid::Uuid;

    use super::*;
    use crate::domain::LedgerEvent;

    fn uses(count: usize) -> TokenUseCounted {
        let at = "2026-11-22T10:59:59.999999Z".parse().unwrap();
        let one = TokenUses {
            grant: GrantId(Uuid::max()),
            client: ClientKey(Uuid::max()),
            subject: Some(SubjectId(Uuid::max())),
            asked_by: Some(ClientKey(Uuid::max())),
            network: Some(Digest::of(b"network")),
            endpoint: "/api/users/{id}/details".to_owned(),
            count: (1 << 53) - 1,
            first: at,
            last: at,
        };
        TokenUseCounted {
            hour: "2026-11-22T10:00:00Z".parse().unwrap(),
            uses: vec![one; count],
        }
    }

    #[test]
    fn the_largest_event_fits_and_a_larger_one_is_refused() {
        let mut counts = TokenUse::default();
        let too_many = TokenUseCommand::Count(vec![uses(MAX_USES + 1)]);
        assert_eq!(counts.decide(&too_many).outcome, Err(TokenUseRefusal::TooMany));
        let command = TokenUseCommand::Count(vec![uses(MAX_USES), uses(0), uses(1)]);
        let decision = counts.decide(&command);
        assert_eq!(decision.events.len(), 2, "nothing is said of nothing");
        for event in decision.events {
            // Metadata of the server itself is far below the rest.
            assert!(event.payload().unwrap().len() < crate::ledger::MAX_EVENT_BYTES - 8 * 1024);
            counts.apply(event);
        }
        assert_eq!(counts.counts, MAX_USES + 1);
        assert_eq!(counts.decide(&command).outcome, Err(TokenUseRefusal::Exists));
    }
}
