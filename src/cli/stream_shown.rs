//! What `grantlog stream` prints.

use super::arguments::Json;
use super::output;
use super::session::Session;
use crate::operations::stream_shown::ShownProgress;

/// One stream; with a new secret, which is told this once.
pub(super) async fn show(
    session: &Session,
    (name, told): (&str, Option<String>),
    output: Json,
) -> anyhow::Result<()> {
    let mut stream = session.operations.shown_stream(name).await?;
    stream.secret.clone_from(&told);
    if output.json {
        return output::json(&stream);
    }
    for (name, value) in serde_json::to_value(&stream)?.as_object().into_iter().flatten() {
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
    let streams = session.operations.shown_streams().await?;
    if output.json {
        return output::json(&streams);
    }
    let rows: Vec<_> = streams
        .iter()
        .map(|stream| {
            let of = |number: fn(&ShownProgress) -> i64| {
                let progress = stream.progress.as_ref();
                progress.map_or_else(String::new, |progress| number(progress).to_string())
            };
            [
                stream.name.clone(),
                stream.target.kind().to_owned(),
                stream.state.name().to_owned(),
                of(|progress| progress.position),
                of(|progress| progress.lag_events),
                of(|progress| progress.dead_letters),
                stream.target.address().to_owned(),
            ]
        })
        .collect();
    output::table(["NAME", "KIND", "STATE", "POSITION", "LAG", "DEAD", "TO"], &rows)
}
