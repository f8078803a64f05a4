//! What the details of a type may be: a JSON Schema (draft 2020-12) of an operator. Nothing outside of the schema is read,
//! and patterns are matched in linear time: what they are matched against comes from anybody.

use std::sync::{Arc, LazyLock};

use jsonschema::{Draft, PatternOptions, Validator};
use quick_cache::sync::Cache;
use serde_json::{Map, Value};

use super::Detail;
use crate::domain::value::Digest;

/// The most bytes of a schema.
const MAX_SCHEMA: usize = 16 * 1024;
/// The one dialect.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// The most references that a detail can lead through.
const MAX_REFERENCES: u32 = 500;
/// Keywords that would make what a reference means depend on where it is met, or on what is outside.
const UNSUPPORTED: [&str; 6] = [
    "$dynamicRef",
    "$dynamicAnchor",
    "$recursiveRef",
    "$recursiveAnchor",
    "$anchor",
    "$id",
];

/// Schemas that were read: the same text is the same schema.
static READ: LazyLock<Cache<Digest, Arc<Validator>>> = LazyLock::new(|| Cache::new(256));

/// Why a text is no schema for details.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaProblem {
    /// Too long.
    #[error("it has more than {MAX_SCHEMA} bytes")]
    TooLarge,
    /// Not a JSON object.
    #[error("it is not a JSON object")]
    NotAnObject,
    /// Another dialect.
    #[error("its $schema is not {DIALECT}")]
    Dialect,
    /// A keyword that is not taken here.
    #[error("{0} is not supported: write a $ref of the form #/$defs/name")]
    Keyword(String),
    /// A reference that leads outside, nowhere, or back to itself.
    #[error(
        "the $ref {0} does not lead to a place within the schema (#/$defs/name), leads back to itself, or is one too many (500 are followed)"
    )]
    Reference(String),
    /// Unknown members would be accepted.
    #[error(
        "it accepts unknown members, which must be refused (RFC 9396 §5): say additionalProperties or unevaluatedProperties false at the top"
    )]
    Open,
    /// No detail could conform.
    #[error("its properties lack type, which each detail has")]
    TypeMissing,
    /// Not a schema.
    #[error("{0}")]
    Invalid(String),
}

/// A schema, ready to be used.
#[derive(Clone, Debug)]
pub struct Schema(Arc<Validator>);

impl Schema {
    /// Reads a schema.
    pub fn parse(text: &str) -> Result<Self, SchemaProblem> {
        let digest = Digest::of(text.as_bytes());
        if let Some(validator) = READ.get(&digest) {
            return Ok(Self(validator));
        }
        if text.len() > MAX_SCHEMA {
            return Err(SchemaProblem::TooLarge);
        }
        let schema: Value = serde_json::from_str(text).map_err(|_| SchemaProblem::NotAnObject)?;
        let members = schema.as_object().ok_or(SchemaProblem::NotAnObject)?;
        if members.get("$schema").is_some_and(|dialect| dialect != DIALECT) {
            return Err(SchemaProblem::Dialect);
        }
        is_closed(members)?;
        let mut budget = MAX_REFERENCES;
        check_references(&schema, &schema, &mut budget)?;
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .with_pattern_options(PatternOptions::regex())
            .build(&schema)
            .map_err(|error| SchemaProblem::Invalid(error.to_string()))?;
        let validator = Arc::new(validator);
        READ.insert(digest, Arc::clone(&validator));
        Ok(Self(validator))
    }

    /// Whether a detail conforms.
    #[must_use]
    pub fn accepts(&self, detail: &Detail) -> bool {
        self.0.is_valid(&Value::Object(detail.members().clone()))
    }

    /// What is wrong with a detail, for its author.
    #[must_use]
    pub fn faults(&self, detail: &Detail) -> Vec<String> {
        let value = Value::Object(detail.members().clone());
        let faults = self.0.iter_errors(&value);
        faults
            .map(|fault| format!("{}: {fault}", fault.instance_path()))
            .collect()
    }
}

fn is_closed(members: &Map<String, Value>) -> Result<(), SchemaProblem> {
    let is_false = |name: &str| members.get(name) == Some(&Value::Bool(false));
    if !is_false("additionalProperties") && !is_false("unevaluatedProperties") {
        return Err(SchemaProblem::Open);
    }
    let properties = members.get("properties").and_then(Value::as_object);
    if is_false("additionalProperties") && !properties.is_some_and(|known| known.contains_key("type")) {
        return Err(SchemaProblem::TypeMissing);
    }
    Ok(())
}

/// Follows each reference to where it leads, and from there on: what is never through leads back to itself.
fn check_references(root: &Value, at: &Value, budget: &mut u32) -> Result<(), SchemaProblem> {
    match at {
        Value::Object(members) => {
            if let Some(keyword) = UNSUPPORTED.into_iter().find(|name| members.contains_key(*name)) {
                return Err(SchemaProblem::Keyword(keyword.to_owned()));
            }
            if let Some(reference) = members.get("$ref") {
                let name = reference.as_str().unwrap_or_default();
                let wrong = || SchemaProblem::Reference(name.to_owned());
                let pointer = name.strip_prefix('#').filter(|pointer| pointer.starts_with('/'));
                let target = pointer
                    .and_then(|pointer| root.pointer(pointer))
                    .ok_or_else(wrong)?;
                *budget = budget.checked_sub(1).ok_or_else(wrong)?;
                check_references(root, target, budget)?;
            }
            members
                .values()
                .try_for_each(|member| check_references(root, member, budget))
        }
        Value::Array(items) => items
            .iter()
            .try_for_each(|item| check_references(root, item, budget)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn payment() -> Value {
        json!({
            "$schema": DIALECT,
            "type": "object",
            "properties": {
                "type": {"const": "payment"},
                "amount": {"$ref": "#/$defs/amount"},
                "creditor": {"type": "string", "minLength": 1, "pattern": "^[A-Z ]+$"},
            },
            "required": ["type", "amount"],
            "additionalProperties": false,
            "$defs": {"amount": {"type": "number", "multipleOf": 0.01, "exclusiveMinimum": 0}},
        })
    }

    #[test]
    fn a_detail_conforms_to_its_schema_or_is_refused() {
        let schema = Schema::parse(&payment().to_string()).unwrap();
        let detail = |value: Value| Detail::try_from(value).unwrap();
        assert!(schema.accepts(&detail(
            json!({"type": "payment", "amount": 12.5, "creditor": "A SHOP"})
        )));
        for bad in [
            json!({"type": "payment"}),
            json!({"type": "payments", "amount": 1}),
            json!({"type": "payment", "amount": "1"}),
            json!({"type": "payment", "amount": 0}),
            json!({"type": "payment", "amount": 1, "creditor": ""}),
            json!({"type": "payment", "amount": 1, "creditor": "a shop"}),
            json!({"type": "payment", "amount": 1, "more": 1}),
        ] {
            let bad = detail(bad);
            assert!(
                !schema.accepts(&bad) && !schema.faults(&bad).is_empty(),
                "{:?}",
                bad.members()
            );
        }
    }

    #[test]
    fn a_schema_reads_nothing_outside_and_ends() {
        let with = |member: &str, value: Value| {
            let mut schema = payment();
            schema[member] = value;
            Schema::parse(&schema.to_string()).map(|_| ())
        };
        let reference = |name: &str| Err(SchemaProblem::Reference(name.to_owned()));
        let refer = |name: &str| with("allOf", json!([{"$ref": name}]));
        assert_eq!(refer("#/$defs/amount"), Ok(()));
        for name in [
            "https://schemas.example/x.json",
            "file:///etc/passwd",
            "other.json",
            "#",
            "#amount",
            "#/$defs/none",
            "#/allOf/0",
            "",
        ] {
            assert_eq!(refer(name), reference(name), "{name}");
        }
        let mut doubling: Map<String, Value> = (0..20)
            .map(|level| {
                let next = json!({"$ref": format!("#/$defs/{}", level + 1)});
                (level.to_string(), json!({"allOf": [next, next]}))
            })
            .collect();
        doubling.insert("20".to_owned(), json!({}));
        doubling.insert("amount".to_owned(), json!({}));
        assert!(matches!(
            with("$defs", Value::Object(doubling)),
            Err(SchemaProblem::Reference(_))
        ));
        assert_eq!(
            with("$schema", json!("http://json-schema.org/draft-07/schema#")),
            Err(SchemaProblem::Dialect)
        );
        assert_eq!(
            with("$id", json!("urn:x")),
            Err(SchemaProblem::Keyword("$id".to_owned()))
        );
        assert_eq!(
            with("additionalProperties", json!(true)),
            Err(SchemaProblem::Open)
        );
        assert_eq!(with("properties", json!({})), Err(SchemaProblem::TypeMissing));
        assert!(matches!(with("type", json!(7)), Err(SchemaProblem::Invalid(_))));
        // Back-references cannot be matched in linear time.
        let pattern = json!({"type": {"pattern": "(a)\\1"}, "amount": {}, "creditor": {}});
        assert!(matches!(
            with("properties", pattern),
            Err(SchemaProblem::Invalid(_))
        ));
        assert_eq!(Schema::parse("[]").map(|_| ()), Err(SchemaProblem::NotAnObject));
        assert_eq!(
            Schema::parse(&" ".repeat(MAX_SCHEMA + 1)).map(|_| ()),
            Err(SchemaProblem::TooLarge)
        );
    }
}
