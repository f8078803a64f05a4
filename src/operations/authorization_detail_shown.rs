//! Types of authorization details (RFC 9396) as administrators are shown them, and details as they would be taken.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::Operations;
use crate::domain::authorization_detail::{
    AuthorizationDetailType, Detail, DetailTypeDefinition, DetailTypeTerms, Piece, Schema, SchemaProblem,
    ShownDetail,
};
use crate::ledger::LedgerError;

/// Types are few: all are read at once.
const MOST: u32 = 10_000;

/// A type of authorization details.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ShownDetailType {
    /// Its name, as requests have it in `type`.
    pub r#type: String,
    /// The JSON Schema that its details conform to.
    pub schema: Value,
    /// The sentence of the consent page; null where users see the members.
    pub template: Option<String>,
    /// The resource servers that its details are for; empty for any.
    pub resources: Vec<String>,
    /// Whether the user is asked each time, whatever was allowed before.
    pub asked_each_time: bool,
    /// Whether nobody is granted it any more.
    pub retired: bool,
}

impl From<&DetailTypeDefinition> for ShownDetailType {
    fn from(known: &DetailTypeDefinition) -> Self {
        Self {
            r#type: known.name.clone(),
            schema: serde_json::from_str(&known.terms.schema).unwrap_or_default(),
            template: known.terms.template.clone(),
            resources: known.terms.resources.clone(),
            asked_each_time: known.terms.asked_each_time,
            retired: known.retired,
        }
    }
}

/// A detail as it would be taken.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CheckedDetail {
    /// Its `type`.
    pub r#type: String,
    /// The sentence that users would be shown; null where they see the members.
    pub sentence: Option<String>,
    /// What is wrong with it; nothing where it would be taken.
    pub faults: Vec<String>,
    /// Its members, as users see them.
    #[serde(skip)]
    pub members: Vec<(String, String)>,
}

impl Operations {
    /// All types, retired ones too, in the order in which they were first defined.
    pub async fn shown_detail_types(&self) -> Result<Vec<ShownDetailType>, LedgerError> {
        let types = self.list::<AuthorizationDetailType>(0, MOST).await?;
        let definitions = types
            .iter()
            .filter_map(|listed| listed.loaded.definition.as_ref());
        Ok(definitions.map(ShownDetailType::from).collect())
    }

    /// The type of that name, also where it is retired; none where it was never defined.
    pub async fn shown_detail_type(&self, name: &str) -> Result<Option<ShownDetailType>, LedgerError> {
        let id = AuthorizationDetailType::id(name);
        let known = self.load::<AuthorizationDetailType>(id).await?;
        Ok(known.definition.as_ref().map(ShownDetailType::from))
    }

    /// Checks details against their types.
    pub async fn check_details(&self, details: &[Detail]) -> Result<Vec<CheckedDetail>, LedgerError> {
        let mut checked = Vec::with_capacity(details.len());
        for detail in details {
            let known = self.authorization_detail_type(detail.type_name()).await?;
            let terms = known.as_ref().map(|known| &known.terms);
            let faults = match terms.map(|terms| faults(detail, terms)) {
                None => vec!["its type is not defined, or retired".to_owned()],
                Some(Ok(faults)) => faults,
                Some(Err(problem)) => vec![format!("the schema of its type cannot be used: {problem}")],
            };
            let shown = ShownDetail::of(detail, terms);
            checked.push(CheckedDetail {
                r#type: detail.type_name().to_owned(),
                sentence: sentence(&shown),
                faults,
                members: shown.members,
            });
        }
        Ok(checked)
    }
}

fn faults(detail: &Detail, terms: &DetailTypeTerms) -> Result<Vec<String>, SchemaProblem> {
    let mut faults = Schema::parse(&terms.schema)?.faults(detail);
    let places = detail.locations().unwrap_or_default();
    let resources = &terms.resources;
    let strange = |place: &&str| !resources.is_empty() && !resources.iter().any(|one| one == place);
    if let Some(place) = places.into_iter().find(strange) {
        faults.push(format!("/locations: {place} is no resource of the type"));
    }
    Ok(faults)
}

fn sentence(shown: &ShownDetail) -> Option<String> {
    let pieces = shown.sentence.as_ref()?.iter().map(|piece| match piece {
        Piece::Words(text) | Piece::Value(text) => text.as_str(),
    });
    Some(pieces.collect())
}
