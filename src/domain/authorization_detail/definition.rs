//! The `authorization_detail_type` aggregate: types of authorization details are data, as scopes are.

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Schema, SchemaProblem, Template, TemplateProblem};
use crate::domain::value::{hides, is_plain_text};
use crate::domain::{Decision, aggregate};

/// The most bytes of a type's name.
pub const MAX_TYPE: usize = 200;
/// The most resource servers of a type.
pub const MAX_RESOURCES: usize = 20;

events! {
    /// Events of one type of authorization details (RFC 9396 §2.1).
    pub enum AuthorizationDetailTypeEvent of "authorization_detail_type" {
        /// Details of this type may be asked for from now on.
        AuthorizationDetailTypeDefined 1 {
            /// The `type`.
            name: String,
            /// The JSON Schema (2020-12) that they conform to, as text: it may have numbers and nulls that canonical JSON
            /// has not.
            schema: String,
            /// The sentence that users are shown, with places for members; none where they are shown the members.
            template: Option<String>,
            /// The resource servers that they are for; empty for any.
            resources: Vec<String>,
            /// Whether the user is asked about them each time.
            asked_each_time: Option<bool>,
        },
        /// Its schema, sentence or resource servers changed.
        AuthorizationDetailTypeChanged 1 {
            /// The new schema.
            schema: String,
            /// The new sentence.
            template: Option<String>,
            /// The new resource servers.
            resources: Vec<String>,
            /// Whether the user is asked about them each time from now on.
            asked_each_time: Option<bool>,
        },
        /// Details of this type may no longer be granted, and tokens lose those that they have.
        AuthorizationDetailTypeRetired 1 {},
    }
}

/// A type's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationDetailType {
    /// None where it was never defined.
    pub definition: Option<DetailTypeDefinition>,
}

/// What a defined type is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetailTypeDefinition {
    /// The `type`.
    pub name: String,
    /// What its details are and how they are shown.
    pub terms: DetailTypeTerms,
    /// Whether they may no longer be granted.
    pub retired: bool,
}

/// What the details of a type are, and how they are shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetailTypeTerms {
    /// The JSON Schema that they conform to.
    pub schema: String,
    /// The sentence that users are shown.
    pub template: Option<String>,
    /// The resource servers that they are for; empty for any.
    pub resources: Vec<String>,
    /// Whether the user is asked about them each time, whatever was allowed before: for what is done once.
    #[serde(default)]
    pub asked_each_time: bool,
}

/// Commands on a type.
#[derive(Clone, Debug)]
pub enum AuthorizationDetailTypeCommand {
    /// Create it, or change it where it exists.
    Define {
        /// The `type`.
        name: String,
        /// What its details are.
        terms: DetailTypeTerms,
    },
    /// Let nobody be granted it any more.
    Retire,
}

/// Why a command was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorizationDetailTypeRefusal {
    /// It was never defined, or is retired.
    #[error("there is no such type of authorization details")]
    Unknown,
    /// Its name cannot be shown as it is.
    #[error("a type's name is 1 to {MAX_TYPE} printable ASCII characters without space, quote or backslash")]
    MalformedName,
    /// Its resource servers are not acceptable.
    #[error("a type's resources are at most {MAX_RESOURCES} different texts of 1 to 2000 visible characters")]
    MalformedResources,
    /// Its schema is not acceptable.
    #[error("schema: {0}")]
    Schema(#[from] SchemaProblem),
    /// Its sentence is not acceptable.
    #[error("template: {0}")]
    Template(#[from] TemplateProblem),
}

impl DetailTypeTerms {
    fn check(&self) -> Result<(), AuthorizationDetailTypeRefusal> {
        Schema::parse(&self.schema)?;
        self.template.as_deref().map(Template::parse).transpose()?;
        let is_resource = |text: &String| {
            let printable = !text.chars().any(|c| c.is_whitespace() || hides(c)) && is_plain_text(text);
            !text.is_empty() && text.len() <= 2000 && printable
        };
        let unique =
            |(place, text): (usize, &String)| !self.resources.iter().take(place).any(|one| one == text);
        let acceptable = self.resources.len() <= MAX_RESOURCES
            && self.resources.iter().all(is_resource)
            && self.resources.iter().enumerate().all(unique);
        acceptable
            .then_some(())
            .ok_or(AuthorizationDetailTypeRefusal::MalformedResources)
    }
}

impl AuthorizationDetailType {
    /// The aggregate id of the type with that name.
    #[must_use]
    pub fn id(name: &str) -> Uuid {
        let digest = digest(
            &SHA256,
            format!("grantlog authorization detail type {name}").as_bytes(),
        );
        let mut bytes = [0; 16];
        bytes
            .iter_mut()
            .zip(digest.as_ref())
            .for_each(|(to, from)| *to = *from);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }

    /// The definition, where its details may be granted.
    #[must_use]
    pub fn grantable(&self) -> Option<&DetailTypeDefinition> {
        self.definition.as_ref().filter(|definition| !definition.retired)
    }

    /// Decides a command.
    #[must_use]
    pub fn decide(
        &self,
        command: &AuthorizationDetailTypeCommand,
    ) -> Decision<AuthorizationDetailTypeEvent, (), AuthorizationDetailTypeRefusal> {
        let (name, terms) = match command {
            AuthorizationDetailTypeCommand::Retire if self.grantable().is_none() => {
                return Decision::refuse(AuthorizationDetailTypeRefusal::Unknown);
            }
            AuthorizationDetailTypeCommand::Retire => {
                return Decision::accept(vec![AuthorizationDetailTypeRetired {}.into()], ());
            }
            AuthorizationDetailTypeCommand::Define { name, terms } => (name, terms),
        };
        if !is_type_name(name) {
            return Decision::refuse(AuthorizationDetailTypeRefusal::MalformedName);
        }
        if let Err(refusal) = terms.check() {
            return Decision::refuse(refusal);
        }
        let DetailTypeTerms {
            schema,
            template,
            resources,
            asked_each_time,
        } = terms.clone();
        let asked_each_time = asked_each_time.then_some(true);
        let events = match self.grantable() {
            Some(now) if now.terms == *terms => Vec::new(),
            Some(_) => vec![
                AuthorizationDetailTypeChanged {
                    schema,
                    template,
                    resources,
                    asked_each_time,
                }
                .into(),
            ],
            None => vec![
                AuthorizationDetailTypeDefined {
                    name: name.clone(),
                    schema,
                    template,
                    resources,
                    asked_each_time,
                }
                .into(),
            ],
        };
        Decision::accept(events, ())
    }

    fn evolve(&mut self, event: AuthorizationDetailTypeEvent) {
        match event {
            AuthorizationDetailTypeEvent::AuthorizationDetailTypeDefined(event) => {
                self.definition = Some(DetailTypeDefinition {
                    name: event.name,
                    terms: DetailTypeTerms {
                        schema: event.schema,
                        template: event.template,
                        resources: event.resources,
                        asked_each_time: event.asked_each_time.unwrap_or_default(),
                    },
                    retired: false,
                });
            }
            AuthorizationDetailTypeEvent::AuthorizationDetailTypeChanged(event) => {
                if let Some(definition) = &mut self.definition {
                    definition.terms = DetailTypeTerms {
                        schema: event.schema,
                        template: event.template,
                        resources: event.resources,
                        asked_each_time: event.asked_each_time.unwrap_or_default(),
                    };
                }
            }
            AuthorizationDetailTypeEvent::AuthorizationDetailTypeRetired(_) => {
                if let Some(definition) = &mut self.definition {
                    definition.retired = true;
                }
            }
        }
    }
}

/// RFC 9396 §2.1 lets it be any text; URIs, and words, are of these characters.
#[must_use]
pub fn is_type_name(name: &str) -> bool {
    let is_graphic = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    !name.is_empty() && name.len() <= MAX_TYPE && name.bytes().all(is_graphic)
}

aggregate!(
    AuthorizationDetailType,
    AuthorizationDetailType,
    "authorization_detail_type",
    AuthorizationDetailTypeCommand,
    AuthorizationDetailTypeEvent,
    AuthorizationDetailTypeRefusal
);

#[cfg(test)]
mod tests {
    use cqrs_es::Aggregate;
    use proptest::prelude::*;

    use super::*;

    fn command() -> impl Strategy<Value = AuthorizationDetailTypeCommand> {
        let terms = (
            "[a-c{]{0,2}",
            proptest::collection::vec("urn:[ab]", 0..3),
            any::<bool>(),
        )
            .prop_map(
                |(text, resources, asked_each_time)| AuthorizationDetailTypeCommand::Define {
                    name: "t".to_owned(),
                    terms: DetailTypeTerms {
                        schema: r#"{"properties":{"type":{}},"additionalProperties":false}"#.to_owned(),
                        template: (!text.is_empty()).then_some(text),
                        resources,
                        asked_each_time,
                    },
                },
            );
        prop_oneof![3 => terms, 1 => Just(AuthorizationDetailTypeCommand::Retire)]
    }

    proptest! {
        #[test]
        fn a_type_is_what_was_last_said_of_it(commands in proptest::collection::vec(command(), 0..20)) {
            let mut state = AuthorizationDetailType::default();
            for command in commands {
                let before = state.clone();
                let decision = state.decide(&command);
                let events = decision.events.len();
                decision.events.into_iter().for_each(|event| state.apply(event));
                if decision.outcome.is_err() {
                    prop_assert_eq!(&state, &before);
                    continue;
                }
                match command {
                    AuthorizationDetailTypeCommand::Define { terms, .. } => {
                        prop_assert_eq!(&state.grantable().unwrap().terms, &terms);
                        let has_brace = terms.template.is_some_and(|text| text.replace("{{", "").contains('{'));
                        prop_assert!(!has_brace);
                    }
                    AuthorizationDetailTypeCommand::Retire => prop_assert!(state.grantable().is_none()),
                }
                prop_assert_eq!(events == 0, state == before, "nothing new appends nothing");
            }
        }
    }
}
