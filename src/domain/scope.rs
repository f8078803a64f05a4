//! The `scope` aggregate: scopes are data, not code.

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::value::{hides, is_plain_text, is_visible_text};
use super::{Decision, aggregate};

events! {
    /// Events of one scope.
    pub enum ScopeEvent of "scope" {
        /// A scope exists from now on.
        ScopeDefined 1 {
            /// The scope token (RFC 6749 §3.3).
            name: String,
            /// What it allows, in the words of the consent page.
            description: String,
            /// Whether each client needs an administrator's approval to use it.
            restricted: bool,
        },
        /// Its description or restriction changed.
        ScopeChanged 1 {
            /// The new description.
            description: String,
            /// The new restriction.
            restricted: bool,
        },
        /// It may no longer be granted.
        ScopeRetired 1 {},
    }
}

/// A scope's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// None where the scope was never defined.
    pub definition: Option<Definition>,
}

/// What a defined scope is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// The scope token.
    pub name: String,
    /// What it allows, in words.
    pub description: String,
    /// Whether a client needs approval for it.
    pub restricted: bool,
    /// Whether it may no longer be granted.
    pub retired: bool,
}

/// Commands on a scope.
#[derive(Clone, Debug)]
pub enum ScopeCommand {
    /// Create it, or change it where it exists.
    Define {
        /// The scope token.
        name: String,
        /// What it allows, in words.
        description: String,
        /// Whether a client needs approval for it.
        restricted: bool,
    },
    /// Change what is named, where it exists.
    Change {
        /// What it allows, in words.
        description: Option<String>,
        /// Whether a client needs approval for it.
        restricted: Option<bool>,
    },
    /// Let nobody be granted it any more.
    Retire,
}

/// The most bytes of a description.
pub const MAX_DESCRIPTION: usize = 500;

/// Why a scope command was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScopeRefusal {
    /// The scope was never defined, or is retired.
    #[error("there is no such scope")]
    Unknown,
    /// The name is not an RFC 6749 scope token.
    #[error("a scope's name is printable ASCII without space, quote or backslash")]
    MalformedName,
    /// The description cannot be shown on a consent page.
    #[error(
        "a scope's description has 1 to 500 bytes, something that can be seen, and no character that is invisible or controls the text's direction or the terminal"
    )]
    MalformedDescription,
}

impl Scope {
    /// The aggregate id of the scope with that name.
    #[must_use]
    pub fn id(name: &str) -> Uuid {
        let digest = digest(&SHA256, format!("grantlog scope {name}").as_bytes());
        let mut bytes = [0; 16];
        bytes
            .iter_mut()
            .zip(digest.as_ref())
            .for_each(|(to, from)| *to = *from);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }

    /// The definition, where the scope may be granted.
    #[must_use]
    pub fn grantable(&self) -> Option<&Definition> {
        self.definition.as_ref().filter(|definition| !definition.retired)
    }

    /// Decides a command.
    #[must_use]
    pub fn decide(&self, command: &ScopeCommand) -> Decision<ScopeEvent, (), ScopeRefusal> {
        match command {
            ScopeCommand::Define { name, .. } if !super::value::is_scope_token(name) => {
                Decision::refuse(ScopeRefusal::MalformedName)
            }
            ScopeCommand::Define {
                name,
                description,
                restricted,
            } => match self.grantable() {
                Some(now) => now.change(description, *restricted),
                None if !is_description(description) => Decision::refuse(ScopeRefusal::MalformedDescription),
                None => {
                    let event = ScopeDefined {
                        name: name.clone(),
                        description: description.clone(),
                        restricted: *restricted,
                    };
                    Decision::accept(vec![event.into()], ())
                }
            },
            ScopeCommand::Change {
                description,
                restricted,
            } => match self.grantable() {
                Some(now) => now.change(
                    description.as_ref().unwrap_or(&now.description),
                    restricted.unwrap_or(now.restricted),
                ),
                None => Decision::refuse(ScopeRefusal::Unknown),
            },
            ScopeCommand::Retire if self.grantable().is_none() => Decision::refuse(ScopeRefusal::Unknown),
            ScopeCommand::Retire => Decision::accept(vec![ScopeRetired {}.into()], ()),
        }
    }

    fn evolve(&mut self, event: ScopeEvent) {
        match event {
            ScopeEvent::ScopeDefined(ScopeDefined {
                name,
                description,
                restricted,
            }) => {
                self.definition = Some(Definition {
                    name,
                    description,
                    restricted,
                    retired: false,
                });
            }
            ScopeEvent::ScopeChanged(ScopeChanged {
                description,
                restricted,
            }) => {
                if let Some(definition) = &mut self.definition {
                    definition.description = description;
                    definition.restricted = restricted;
                }
            }
            ScopeEvent::ScopeRetired(ScopeRetired {}) => {
                if let Some(definition) = &mut self.definition {
                    definition.retired = true;
                }
            }
        }
    }
}

impl Definition {
    /// The change to this description and restriction; nothing where that is what they are.
    fn change(&self, description: &str, restricted: bool) -> Decision<ScopeEvent, (), ScopeRefusal> {
        if self.description == description && self.restricted == restricted {
            return Decision::accept(Vec::new(), ());
        }
        if !is_description(description) {
            return Decision::refuse(ScopeRefusal::MalformedDescription);
        }
        let event = ScopeChanged {
            description: description.to_owned(),
            restricted,
        };
        Decision::accept(vec![event.into()], ())
    }
}

fn is_description(text: &str) -> bool {
    let visible = is_visible_text(text) && !text.chars().any(hides);
    visible && text.len() <= MAX_DESCRIPTION && is_plain_text(text)
}

aggregate!(Scope, Scope, "scope", ScopeCommand, ScopeEvent, ScopeRefusal);

#[cfg(test)]
mod tests {
    use cqrs_es::Aggregate;
    use proptest::prelude::*;

    use super::*;

    fn command() -> impl Strategy<Value = ScopeCommand> {
        let description = "[a-c]{0,2}";
        prop_oneof![
            (description, any::<bool>()).prop_map(|(description, restricted)| ScopeCommand::Define {
                name: "s".to_owned(),
                description,
                restricted,
            }),
            (
                proptest::option::of(description),
                proptest::option::of(any::<bool>())
            )
                .prop_map(|(description, restricted)| ScopeCommand::Change {
                    description,
                    restricted,
                }),
            Just(ScopeCommand::Retire),
        ]
    }

    proptest! {
        #[test]
        fn a_scope_is_what_was_last_said_of_it(commands in proptest::collection::vec(command(), 0..20)) {
            let mut scope = Scope::default();
            for command in commands {
                let before = scope.clone();
                let decision = scope.decide(&command);
                let events = decision.events.len();
                decision.events.into_iter().for_each(|event| scope.apply(event));
                if decision.outcome.is_err() {
                    prop_assert_eq!(&scope, &before);
                    continue;
                }
                match command {
                    ScopeCommand::Define { description, restricted, .. } => {
                        let now = scope.grantable().unwrap();
                        prop_assert_eq!((&now.description, now.restricted), (&description, restricted));
                    }
                    ScopeCommand::Change { description, restricted } => {
                        let (was, now) = (before.grantable().unwrap(), scope.grantable().unwrap());
                        prop_assert_eq!(&now.description, &description.unwrap_or(was.description.clone()));
                        prop_assert_eq!(now.restricted, restricted.unwrap_or(was.restricted));
                    }
                    ScopeCommand::Retire => prop_assert!(scope.grantable().is_none()),
                }
                prop_assert_eq!(events == 0, scope == before, "nothing new appends nothing");
            }
        }
    }
}
