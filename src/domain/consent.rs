//! The `consent` aggregate: what one resource owner allowed one client.

use std::collections::{BTreeMap, BTreeSet};

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
            /// For which resources alone (RFC 8707), where the request named some.
            resources: Option<BTreeSet<String>>,
            /// Returning to where, of a client that nobody vouches for: a host or a scheme.
            returns_to: Option<String>,
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
    /// Those of them that are allowed for named resources alone, and for which.
    #[serde(default)]
    pub only_for: BTreeMap<String, BTreeSet<String>>,
    /// Where the user has agreed to return to, of a client that nobody vouches for.
    #[serde(default)]
    pub returns_to: BTreeSet<String>,
    /// The claims of the user that are allowed one by one.
    #[serde(default)]
    pub claims: BTreeSet<Claim>,
    /// The authorization details that are remembered as allowed, the latest last: lists, each sealed as it was given.
    #[serde(default)]
    pub authorization_details: Vec<Sealed>,
    /// How often it was withdrawn; a grant remembers the number that it was given under.
    pub withdrawals: u32,
}

/// What a page asks a user to allow, besides authorization details.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// The scopes.
    pub scope: ScopeSet,
    /// The claims, one by one.
    pub claims: BTreeSet<Claim>,
    /// The resources that the request names: it is for those alone. None named: for all that the client has.
    pub resources: BTreeSet<String>,
    /// Where the user returns to, host or scheme, where nobody vouches for the client and so the page names it.
    pub returns_to: Option<String>,
}

/// Commands on a consent.
#[derive(Clone, Debug)]
pub enum ConsentCommand {
    /// Allow what was asked to `client`.
    Give {
        /// Who consents.
        subject: SubjectId,
        /// To whom.
        client: ClientKey,
        /// To what.
        terms: Terms,
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

    /// Whether this was allowed before: the scope for these resources, the claims one by one or by a scope that opens them,
    /// and to return there.
    #[must_use]
    pub fn allows(&self, asked: &Terms) -> bool {
        let scope = |name: &str| {
            let only = self.only_for.get(name);
            let covers =
                |only: &BTreeSet<String>| !asked.resources.is_empty() && asked.resources.is_subset(only);
            self.scope.contains(name) && only.is_none_or(covers)
        };
        let claim = |claim: &Claim| self.claims.contains(claim) || self.scope.contains(claim.scope());
        let returns = |to: &String| self.returns_to.contains(to);
        asked.scope.iter().all(scope)
            && asked.claims.iter().all(claim)
            && asked.returns_to.iter().all(returns)
    }

    /// A scope that is allowed for all resources once is not held to named ones by a later act.
    fn extend(&mut self, scope: &ScopeSet, resources: Option<&BTreeSet<String>>) {
        for name in scope.iter() {
            match (resources, self.only_for.get_mut(name)) {
                (None, _) => {
                    self.only_for.remove(name);
                }
                (Some(resources), Some(only)) => only.extend(resources.iter().cloned()),
                (Some(resources), None) if !self.scope.contains(name) => {
                    self.only_for.insert(name.to_owned(), resources.clone());
                }
                (Some(_), None) => {}
            }
        }
        self.scope = self.scope.union(scope);
    }

    /// Decides a command.
    #[must_use]
    pub fn decide(&self, command: &ConsentCommand) -> Decision<ConsentEvent, (), ConsentRefusal> {
        match command {
            ConsentCommand::Give {
                subject,
                client,
                terms,
                authorization_details,
                at,
            } => {
                let Terms {
                    scope,
                    claims,
                    resources,
                    returns_to,
                } = terms.clone();
                let event = ConsentGiven {
                    subject: *subject,
                    client: *client,
                    scope,
                    claims: (!claims.is_empty()).then_some(claims),
                    resources: (!resources.is_empty()).then_some(resources),
                    returns_to,
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
                self.extend(&given.scope, given.resources.as_ref());
                self.returns_to.extend(given.returns_to);
                self.claims.extend(given.claims.into_iter().flatten());
                self.authorization_details.extend(given.authorization_details);
                let forgotten = self.authorization_details.len().saturating_sub(REMEMBERED);
                self.authorization_details.drain(..forgotten);
            }
            ConsentEvent::ConsentWithdrawn(_) => {
                self.scope = ScopeSet::default();
                self.only_for.clear();
                self.returns_to.clear();
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn given(state: &mut Consent, terms: &Terms) {
        let command = ConsentCommand::Give {
            subject: SubjectId(Uuid::nil()),
            client: ClientKey(Uuid::nil()),
            terms: terms.clone(),
            authorization_details: None,
            at: Timestamp::default(),
        };
        let decision = state.decide(&command);
        decision.events.into_iter().for_each(|event| state.evolve(event));
    }

    fn some_of(names: &'static [&'static str]) -> impl Strategy<Value = BTreeSet<String>> {
        proptest::sample::subsequence(names, 0..=names.len())
            .prop_map(|some| some.into_iter().map(str::to_owned).collect())
    }

    fn terms() -> impl Strategy<Value = Terms> {
        let parts = (some_of(&["a", "b"]), some_of(&["x", "y"]), 0..3_usize);
        parts.prop_map(|(scope, resources, returns)| Terms {
            scope: scope.into_iter().collect(),
            claims: BTreeSet::new(),
            resources,
            returns_to: [None, Some("one"), Some("other")][returns].map(str::to_owned),
        })
    }

    proptest! {
        /// Each scope must have been allowed for each of the resources, or for all; and the way back at some time.
        #[test]
        fn no_more_is_allowed_than_was_asked_at_some_time(
            acts in proptest::collection::vec(terms(), 0..5),
            asked in terms(),
        ) {
            let mut consent = Consent::default();
            for act in &acts {
                given(&mut consent, act);
            }
            let was_allowed = |scope: &str, resource: Option<&String>| acts.iter().any(|act| {
                let anywhere = act.resources.is_empty();
                act.scope.contains(scope) && (anywhere || resource.is_some_and(|one| act.resources.contains(one)))
            });
            let covers = |scope: &str| {
                let anywhere = asked.resources.is_empty() && was_allowed(scope, None);
                let mut each = asked.resources.iter();
                anywhere || (each.len() > 0 && each.all(|one| was_allowed(scope, Some(one))))
            };
            let returned = |to: &String| acts.iter().any(|act| act.returns_to.as_ref() == Some(to));
            let expected = asked.scope.iter().all(covers) && asked.returns_to.iter().all(returned);
            prop_assert_eq!(consent.allows(&asked), expected);
            consent.evolve(ConsentWithdrawn { at: Timestamp::default() }.into());
            let nothing = asked.scope.is_empty() && asked.returns_to.is_none();
            prop_assert_eq!(consent.allows(&asked), nothing, "withdrawn");
        }
    }
}
