//! The `consent` aggregate: what one resource owner allowed one client.

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::value::ScopeSet;
use super::{Decision, aggregate};
use crate::clock::Timestamp;
use crate::ids::{ClientKey, SubjectId};

events! {
    /// Events of one user's consent to one client.
    pub enum ConsentEvent of "consent" {
        /// The user allowed the client these scopes, besides what it had allowed before.
        ConsentGiven 1 {
            /// Who consented.
            subject: SubjectId,
            /// To whom.
            client: ClientKey,
            /// To what, in this act.
            scope: ScopeSet,
            /// When.
            at: Timestamp,
        },
        /// The user took all of it back; grants that rest on it end.
        ConsentWithdrawn 1 {
            /// When.
            at: Timestamp,
        },
    }
}

/// A consent's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// All that is allowed now; empty where nothing is.
    pub scope: ScopeSet,
    /// How often it was withdrawn; a grant remembers the number that it was given under.
    pub withdrawals: u32,
}

/// Commands on a consent.
#[derive(Clone, Debug)]
pub enum ConsentCommand {
    /// Allow `scope` to `client`.
    Give {
        /// Who consents.
        subject: SubjectId,
        /// To whom.
        client: ClientKey,
        /// To what.
        scope: ScopeSet,
        /// When.
        at: Timestamp,
    },
    /// Take everything back.
    Withdraw {
        /// When.
        at: Timestamp,
    },
}

/// Why a consent command was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConsentRefusal {
    /// Nothing is allowed.
    #[error("there is no consent to withdraw")]
    NotGiven,
}

impl Consent {
    /// The aggregate id: a digest of subject and client.
    #[must_use]
    pub fn id(subject: SubjectId, client: ClientKey) -> Uuid {
        let mut context = Context::new(&SHA256);
        context.update(b"grantlog consent ");
        context.update(subject.0.as_bytes());
        context.update(client.0.as_bytes());
        let mut bytes = [0; 16];
        bytes
            .iter_mut()
            .zip(context.finish().as_ref())
            .for_each(|(to, from)| *to = *from);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }

    /// Decides a command.
    #[must_use]
    pub fn decide(&self, command: &ConsentCommand) -> Decision<ConsentEvent, (), ConsentRefusal> {
        match command {
            ConsentCommand::Give {
                subject,
                client,
                scope,
                at,
            } => {
                let event = ConsentGiven {
                    subject: *subject,
                    client: *client,
                    scope: scope.clone(),
                    at: *at,
                };
                Decision::accept(vec![event.into()], ())
            }
            ConsentCommand::Withdraw { .. } if self.scope.is_empty() => {
                Decision::refuse(ConsentRefusal::NotGiven)
            }
            ConsentCommand::Withdraw { at } => {
                Decision::accept(vec![ConsentWithdrawn { at: *at }.into()], ())
            }
        }
    }

    fn evolve(&mut self, event: ConsentEvent) {
        match event {
            ConsentEvent::ConsentGiven(given) => self.scope = self.scope.union(&given.scope),
            ConsentEvent::ConsentWithdrawn(_) => {
                self.scope = ScopeSet::default();
                self.withdrawals += 1;
            }
        }
    }
}

aggregate!(
    Consent,
    Consent,
    "consent",
    ConsentCommand,
    ConsentEvent,
    ConsentRefusal
);
