//! The `initial_access_token` aggregate: leave to register a number of clients (RFC 7591 §1.2, §3).

use serde::{Deserialize, Serialize};

use super::client::GrantType;
use super::value::{Digest, ScopeSet};
use super::{Decision, aggregate};
use crate::clock::Timestamp;
use crate::ids::ClientKey;

events! {
    /// Events of one initial access token.
    pub enum InitialAccessTokenEvent of "initial_access_token" {
        /// An administrator issued it.
        InitialAccessTokenIssued 1 {
            /// SHA-256 of the token's random part.
            digest: Digest,
            /// What it is for, in the administrator's words.
            label: String,
            /// How many clients may be registered with it.
            uses: u32,
            /// From when on it is refused.
            expires_at: Timestamp,
            /// What clients may be registered with it.
            permits: RegistrationPermit,
        },
        /// A client was registered with it.
        InitialAccessTokenUsed 1 {
            /// The client.
            client: ClientKey,
        },
        /// It is refused from now on; clients registered with it stay.
        InitialAccessTokenRevoked 1 {
            /// Why, in the administrator's words.
            reason: String,
        },
    }
}

/// What clients may be registered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistrationPermit {
    /// The scopes that they may have; none means those of the server's setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<ScopeSet>,
    /// The grant types that they may use; none means those of the server's setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant_types: Option<Vec<GrantType>>,
    /// The types of authorization details that they may ask for (RFC 9396); none means those of the server's setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization_details_types: Option<Vec<String>>,
    /// Whether they need a software statement.
    #[serde(default)]
    pub software_statement: bool,
    /// Whether confidential ones may leave PKCE out, as well as where the server's setting lets them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pkce_optional: bool,
}

/// An initial access token's state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InitialAccessToken {
    /// None where it was never issued.
    pub issued: Option<InitialAccessTokenIssued>,
    /// How many clients were registered with it.
    pub used: u32,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// Commands on an initial access token.
#[derive(Clone, Debug)]
pub enum InitialAccessTokenCommand {
    /// Issue it.
    Issue(InitialAccessTokenIssued),
    /// Register a client with it.
    Use {
        /// SHA-256 of the presented random part.
        digest: Digest,
        /// The client.
        client: ClientKey,
        /// Now.
        at: Timestamp,
    },
    /// Refuse it from now on.
    Revoke {
        /// Why.
        reason: String,
    },
}

/// Why a command on an initial access token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InitialAccessTokenRefusal {
    /// The id is in use.
    #[error("this initial access token exists already")]
    Exists,
    /// Never issued, or its random part is another.
    #[error("there is no such initial access token")]
    Unknown,
    /// Revoked.
    #[error("this initial access token is revoked")]
    Revoked,
    /// Its time is over.
    #[error("this initial access token has expired")]
    Expired,
    /// As many clients as it allows were registered with it.
    #[error("this initial access token has no uses left")]
    Spent,
}

impl InitialAccessToken {
    /// How many clients may still be registered with it, were it neither revoked nor expired.
    #[must_use]
    pub fn uses_left(&self) -> u32 {
        let uses = self.issued.as_ref().map_or(0, |issued| issued.uses);
        uses.saturating_sub(self.used)
    }

    /// What it permits, where it may be used at this moment.
    pub fn usable(
        &self,
        digest: &Digest,
        at: Timestamp,
    ) -> Result<&RegistrationPermit, InitialAccessTokenRefusal> {
        let issued = self.issued.as_ref().filter(|known| known.digest.matches(digest));
        let issued = issued.ok_or(InitialAccessTokenRefusal::Unknown)?;
        if self.revoked {
            return Err(InitialAccessTokenRefusal::Revoked);
        }
        if at >= issued.expires_at {
            return Err(InitialAccessTokenRefusal::Expired);
        }
        if self.uses_left() == 0 {
            return Err(InitialAccessTokenRefusal::Spent);
        }
        Ok(&issued.permits)
    }

    /// Decides a command.
    #[must_use]
    pub fn decide(
        &self,
        command: &InitialAccessTokenCommand,
    ) -> Decision<InitialAccessTokenEvent, (), InitialAccessTokenRefusal> {
        match command {
            InitialAccessTokenCommand::Issue(_) if self.issued.is_some() => {
                Decision::refuse(InitialAccessTokenRefusal::Exists)
            }
            InitialAccessTokenCommand::Issue(event) => Decision::accept(vec![event.clone().into()], ()),
            InitialAccessTokenCommand::Use { digest, client, at } => match self.usable(digest, *at) {
                Ok(_) => Decision::accept(vec![InitialAccessTokenUsed { client: *client }.into()], ()),
                Err(refusal) => Decision::refuse(refusal),
            },
            InitialAccessTokenCommand::Revoke { .. } if self.issued.is_none() => {
                Decision::refuse(InitialAccessTokenRefusal::Unknown)
            }
            InitialAccessTokenCommand::Revoke { .. } if self.revoked => Decision::accept(Vec::new(), ()),
            InitialAccessTokenCommand::Revoke { reason } => {
                let reason = reason.clone();
                Decision::accept(vec![InitialAccessTokenRevoked { reason }.into()], ())
            }
        }
    }

    fn evolve(&mut self, event: InitialAccessTokenEvent) {
        match event {
            InitialAccessTokenEvent::InitialAccessTokenIssued(event) => self.issued = Some(event),
            InitialAccessTokenEvent::InitialAccessTokenUsed(_) => self.used = self.used.saturating_add(1),
            InitialAccessTokenEvent::InitialAccessTokenRevoked(_) => self.revoked = true,
        }
    }
}

aggregate!(
    InitialAccessToken,
    InitialAccessToken,
    "initial_access_token",
    InitialAccessTokenCommand,
    InitialAccessTokenEvent,
    InitialAccessTokenRefusal
);

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use cqrs_es::Aggregate;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Use { right: bool, second: i64 },
        Revoke,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (prop::bool::weighted(0.8), 0..120_i64).prop_map(|(right, second)| Step::Use { right, second }),
            1 => Just(Step::Revoke),
        ]
    }

    proptest! {
        #[test]
        fn no_history_registers_more_clients_than_an_initial_access_token_allows(
            uses in 1..5_u32,
            steps in proptest::collection::vec(step(), 0..30),
        ) {
            let start = DateTime::UNIX_EPOCH;
            let (good, bad) = (Digest::of(b"good"), Digest::of(b"bad"));
            let mut token = InitialAccessToken::default();
            let issued = InitialAccessTokenIssued {
                digest: good,
                label: String::new(),
                uses,
                expires_at: start + TimeDelta::seconds(100),
                permits: RegistrationPermit::default(),
            };
            for event in token.decide(&InitialAccessTokenCommand::Issue(issued.clone())).events {
                token.apply(event);
            }
            prop_assert!(token.decide(&InitialAccessTokenCommand::Issue(issued)).outcome.is_err());
            let (mut registered, mut revoked) = (0, false);
            for step in steps {
                let command = match step {
                    Step::Use { right, second } => InitialAccessTokenCommand::Use {
                        digest: if right { good } else { bad },
                        client: ClientKey(Uuid::nil()),
                        at: start + TimeDelta::seconds(second),
                    },
                    Step::Revoke => InitialAccessTokenCommand::Revoke { reason: String::new() },
                };
                let decision = token.decide(&command);
                if let Step::Use { right, second } = step {
                    let may = right && second < 100 && !revoked && registered < uses;
                    prop_assert_eq!(decision.outcome.is_ok(), may);
                    registered += u32::from(may);
                } else {
                    revoked = true;
                }
                decision.events.into_iter().for_each(|event| token.apply(event));
            }
            prop_assert!(registered <= uses);
            prop_assert_eq!(token.uses_left(), uses - registered);
        }
    }
}
