//! `grantlog grant diff`: what changed in a grant between two moments.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{bail, ensure};
use serde_json::{Value, json};

use super::arguments::Json;
use super::as_of::AsOf;
use super::grant::{self, Found};
use super::output;
use super::session::Session;
use crate::trail::document;

/// Prints what differs in the grant's state between two moments, and the events that made it.
pub(super) async fn run(
    session: &Session,
    grant: String,
    (from, to): (AsOf, Option<AsOf>),
    output: Json,
) -> anyhow::Result<()> {
    let found = Found::find(session, grant).await?;
    let from = from.position(session.ledger()).await?;
    let to = match to {
        Some(to) => to.position(session.ledger()).await?,
        None => i64::MAX,
    };
    ensure!(from <= to, "--from comes after --to");
    let events = found.read(session, "grant diff", (to, false)).await?;
    if events.is_empty() {
        bail!("there was no grant {} at either moment", found.grant);
    }
    let (before, since) = events.split_at(events.partition_point(|event| event.position <= from));
    let state = |events| grant::state(events).map(|state| flat(&json!(state.family)));
    let (old, new) = (state(before)?, state(&events)?);
    let paths: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let changed: Vec<(&String, Option<&Value>, Option<&Value>)> = paths
        .into_iter()
        .map(|path| (path, old.get(path), new.get(path)))
        .filter(|(_, old, new)| old != new)
        .collect();
    if output.json {
        let changed: Vec<Value> = changed
            .iter()
            .map(|(path, old, new)| json!({"path": path, "from": old, "to": new}))
            .collect();
        let events: Vec<Value> = since.iter().map(document::of).collect::<Result<_, _>>()?;
        return output::json(&json!({"grant": found.grant, "changed": changed, "events": events}));
    }
    output::line(&format!("grant {}", found.grant))?;
    if changed.is_empty() {
        return output::line("nothing changed");
    }
    for (path, old, new) in changed {
        let word = |value: Option<&Value>| value.map_or_else(|| "-".to_owned(), Value::to_string);
        output::line(&format!(
            "{path:<32} {} -> {}",
            output::visible(&word(old)),
            output::visible(&word(new))
        ))?;
    }
    output::line("")?;
    grant::table(session, since).await
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
