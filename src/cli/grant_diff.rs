//! `grantlog grant diff`: what changed in a grant between two moments.

use anyhow::{bail, ensure};
use serde_json::{Value, json};

use super::arguments::Json;
use super::grant::{self, Found};
use super::output;
use super::session::Session;
use crate::trail::as_of::AsOf;
use crate::trail::{diff, document};

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
    let changed = diff::changes(&events, from)?;
    let (_, since) = events.split_at(events.partition_point(|event| event.position <= from));
    if output.json {
        let events: Vec<Value> = since.iter().map(document::of).collect::<Result<_, _>>()?;
        return output::json(&json!({"grant": found.grant, "changed": changed, "events": events}));
    }
    output::line(&format!("grant {}", found.grant))?;
    if changed.is_empty() {
        return output::line("nothing changed");
    }
    for change in &changed {
        let word = |value: &Option<Value>| value.as_ref().map_or_else(|| "-".to_owned(), Value::to_string);
        output::line(&format!(
            "{:<32} {} -> {}",
            change.path,
            output::visible(&word(&change.from)),
            output::visible(&word(&change.to))
        ))?;
    }
    output::line("")?;
    grant::table(session, since).await
}
