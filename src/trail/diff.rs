//! What changed in a grant between two moments.

use std::collections::{BTreeMap, BTreeSet};

use cqrs_es::Aggregate as _;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::pasted::decode;
use crate::domain::grant::Grant;
use crate::ledger::{LedgerError, StoredEvent};

/// One member of a grant's state that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Change {
    /// Where it is in the state: `refresh.current.number`.
    pub path: String,
    /// What it was; null where it was not there.
    pub from: Option<Value>,
    /// What it is then; null where it is gone.
    pub to: Option<Value>,
}

/// What differs in the state between all of these events and those up to a position.
pub fn changes(events: &[StoredEvent], from: i64) -> Result<Vec<Change>, LedgerError> {
    let before = events.partition_point(|event| event.position <= from);
    let (old, new) = (
        flat_state(events.get(..before).unwrap_or_default())?,
        flat_state(events)?,
    );
    let paths: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    Ok(paths
        .into_iter()
        .map(|path| Change {
            path: path.clone(),
            from: old.get(path).cloned(),
            to: new.get(path).cloned(),
        })
        .filter(|change| change.from != change.to)
        .collect())
}

fn flat_state(events: &[StoredEvent]) -> Result<BTreeMap<String, Value>, LedgerError> {
    let mut state = Grant::default();
    for event in events {
        state.apply(decode(event)?);
    }
    Ok(flat(&json!(state.family)))
}

/// A document's leaves by their paths (`refresh.current.number`). Lists are leaves.
fn flat(document: &Value) -> BTreeMap<String, Value> {
    let mut leaves = BTreeMap::new();
    let mut open = vec![(String::new(), document)];
    while let Some((path, value)) = open.pop() {
        match value {
            Value::Object(members) => open.extend(members.iter().map(|(name, value)| {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                (path, value)
            })),
            // What is not there and what is empty are the same to a reader.
            Value::Null => {}
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                leaves.insert(path, value.clone());
            }
        }
    }
    leaves
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_have_paths_and_nothing_is_no_leaf() {
        let leaves = flat(&json!({"a": {"b": 1, "c": null}, "d": ["x"], "e": {}}));
        let expected = [("a.b", json!(1)), ("d", json!(["x"]))].map(|(path, value)| (path.to_owned(), value));
        assert_eq!(leaves, BTreeMap::from(expected));
        assert!(flat(&Value::Null).is_empty());
    }
}
