//! The `consent` aggregate: what one resource owner allowed one client.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::openid::Claim;
use super::value::{ScopeSet, Sealed};
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
            /// To which claims of the user, one by one (OpenID Connect Core §5.5.1).
            claims: Option<BTreeSet<Claim>>,
            /// To which authorization details (RFC 9396), as JSON.
            authorization_details: Option<Sealed>,
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
    /// All scopes that are allowed now.
    pub scope: ScopeSet,
    /// The claims of the user that are allowed one by one.
    #[serde(default)]
    pub claims: BTreeSet<Claim>,
    /// The authorization details that are remembered as allowed, the latest last: lists, each sealed as it was given.
    #[serde(default)]
    pub authorization_details: Vec<Sealed>,
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
        /// To which claims, one by one.
        claims: BTreeSet<Claim>,
        /// To which authorization details, sealed for the subject.
        authorization_details: Option<Sealed>,
        /// When.
        at: Timestamp,
    },
    /// Take everything back.
    Withdraw {
        /// When.
        at: Timestamp,
    },
}

/// How many acts of consent to authorization details are remembered: they are asked anew after that.
const REMEMBERED: usize = 50;

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

    /// Whether nothing is allowed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.scope.is_empty() && self.claims.is_empty() && self.authorization_details.is_empty()
    }

    /// Whether this scope is allowed, and these claims: one by one, or by a scope that opens them.
    #[must_use]
    pub fn allows(&self, scope: &ScopeSet, claims: &BTreeSet<Claim>) -> bool {
        let allowed = |claim: &Claim| self.claims.contains(claim) || self.scope.contains(claim.scope());
        scope.is_subset(&self.scope) && claims.iter().all(allowed)
    }

    /// Decides a command.
    #[must_use]
    pub fn decide(&self, command: &ConsentCommand) -> Decision<ConsentEvent, (), ConsentRefusal> {
        match command {
            ConsentCommand::Give {
                subject,
                client,
                scope,
                claims,
                authorization_details,
                at,
            } => {
                let event = ConsentGiven {
                    subject: *subject,
                    client: *client,
                    scope: scope.clone(),
                    claims: (!claims.is_empty()).then(|| claims.clone()),
                    authorization_details: authorization_details.clone(),
                    at: *at,
                };
                Decision::accept(vec![event.into()], ())
            }
            ConsentCommand::Withdraw { .. } if self.is_empty() => Decision::refuse(ConsentRefusal::NotGiven),
            ConsentCommand::Withdraw { at } => {
                Decision::accept(vec![ConsentWithdrawn { at: *at }.into()], ())
            }
        }
    }

    fn evolve(&mut self, event: ConsentEvent) {
        match event {
            ConsentEvent::ConsentGiven(given) => {
                self.scope = self.scope.union(&given.scope);
                self.claims.extend(given.claims.into_iter().flatten());
                self.authorization_details.extend(given.authorization_details);
                let forgotten = self.authorization_details.len().saturating_sub(REMEMBERED);
                self.authorization_details.drain(..forgotten);
            }
            ConsentEvent::ConsentWithdrawn(_) => {
                self.scope = ScopeSet::default();
                self.claims.clear();
                self.authorization_details.clear();
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
