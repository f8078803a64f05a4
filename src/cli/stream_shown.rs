//! What `grantlog stream` prints.

use serde_json::{Map, Value, json};

use super::arguments::{Json, Page};
use super::output;
use super::session::Session;
use crate::domain::stream::{Defined, Stream};
use crate::stream::{StreamStatus, status, store};

/// The events that a stream gave up on.
pub(super) async fn dead_letters(
    session: &Session,
    (name, page): (&str, Page),
    output: Json,
) -> anyhow::Result<()> {
    session.operations.stream(name).await?;
    let pool = session.ledger().pool();
    let letters = store::dead_letters(pool, Stream::id(name), (page.after, page.limit)).await?;
    if output.json {
        let documents = letters.iter().map(|letter| {
            json!({
                "position": letter.position, "attempts": letter.attempts, "error": letter.error,
                "failed_at": letter.failed_at, "requested": letter.requested,
            })
        });
        return output::json(&documents.collect::<Vec<_>>());
    }
    let rows: Vec<_> = letters
        .iter()
        .map(|letter| {
            [
                letter.position.to_string(),
                output::moment(letter.failed_at),
                letter.attempts.to_string(),
                letter.error.clone(),
                if letter.requested { "requested" } else { "" }.to_owned(),
            ]
        })
        .collect();
    output::table(["POSITION", "FAILED", "ATTEMPTS", "ERROR", ""], &rows)
}

/// A stream with where it stands; nothing of that before a server has begun with it.
fn document(defined: &Defined, standing: Option<&StreamStatus>) -> Map<String, Value> {
    let definition = &defined.definition;
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| {
        members.insert(name.to_owned(), value);
    };
    put("name", json!(defined.name));
    put("state", json!(state(defined, standing)));
    put("paused", json!(defined.paused));
    put("target", json!(definition.target));
    put("filter", json!(definition.filter));
    put("batch", json!(definition.batch));
    put("attempts", json!(definition.attempts));
    put("on_failure", json!(definition.on_failure));
    put("secrets", json!(definition.secrets.len()));
    put("after", json!(defined.after));
    if let Some(standing) = standing {
        put("position", json!(standing.position));
        put("lag_events", json!(standing.lag()));
        put("lag_seconds", json!(standing.lag_seconds));
        put("delivered_events", json!(standing.events));
        put("failures", json!(standing.failures));
        put("failures_in_a_row", json!(standing.attempts));
        put("failing_since", json!(standing.failing_since));
        put("error", json!(standing.error));
        let due = standing.error.is_some().then_some(standing.due_at);
        put("next_attempt_at", json!(due));
        put("dead_letters", json!(standing.dead_letters));
        put("checkpoint", json!(standing.checkpoint));
    }
    members.retain(|_, value| !value.is_null());
    members
}

fn state(defined: &Defined, standing: Option<&StreamStatus>) -> &'static str {
    match standing {
        _ if defined.paused.is_some() => "paused",
        Some(standing) if standing.error.is_some() => "failing",
        Some(standing) if standing.held => "running",
        Some(_) | None => "waiting for a server",
    }
}

/// One stream; with a new secret, which is told this once.
pub(super) async fn show(
    session: &Session,
    (name, told): (&str, Option<String>),
    output: Json,
) -> anyhow::Result<()> {
    let defined = session.operations.stream(name).await?;
    let all = status(session.ledger().pool()).await?;
    let standing = all.iter().find(|status| status.name == name);
    let mut members = document(&defined, standing);
    if let Some(told) = &told {
        members.insert("secret".to_owned(), json!(told));
    }
    if output.json {
        return output::json(&members);
    }
    for (name, value) in &members {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        output::line(&format!("{name:<18} {}", output::visible(&text)))?;
    }
    if told.is_some() {
        output::note("the secret is not shown again");
    }
    Ok(())
}

/// All streams.
pub(super) async fn list(session: &Session, output: Json) -> anyhow::Result<()> {
    let streams = session.operations.streams().await?;
    let all = status(session.ledger().pool()).await?;
    let standing = |defined: &Defined| all.iter().find(|status| status.name == defined.name);
    if output.json {
        let documents = streams.iter().map(|defined| document(defined, standing(defined)));
        return output::json(&documents.collect::<Vec<_>>());
    }
    let rows: Vec<_> = streams
        .iter()
        .map(|defined| {
            let standing = standing(defined);
            let of = |number: fn(&StreamStatus) -> i64| {
                standing.map_or_else(String::new, |standing| number(standing).to_string())
            };
            [
                defined.name.clone(),
                defined.definition.target.kind().to_owned(),
                state(defined, standing).to_owned(),
                of(|standing| standing.position),
                of(StreamStatus::lag),
                of(|standing| standing.dead_letters),
                defined.definition.target.address().to_owned(),
            ]
        })
        .collect();
    output::table(["NAME", "KIND", "STATE", "POSITION", "LAG", "DEAD", "TO"], &rows)
}
