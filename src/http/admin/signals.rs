//! `/admin/signals`: what `grantlog signal` does.

use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

use super::body::JsonBody;
use super::endpoint::{About, Asked, Call, Operation, Rejected, operation};
use super::parameters::{Because, Limit, Nothing, Page};
use super::scope::AdminScope;
use crate::domain::ssf_stream::StreamStatus;
use crate::operations::signal::ShownSignalStream;

/// Which event stream.
#[derive(Deserialize, JsonSchema)]
struct Named {
    /// Its `stream_id`.
    id: Uuid,
}

/// Which event streams.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Query {
    /// Of this client only.
    #[serde(default)]
    client: Option<String>,
    /// Begin after this position: `next` of the page before.
    #[serde(default)]
    after: i64,
    /// The most items.
    #[serde(default)]
    limit: Limit,
}

const LIST: About = About::get(
    "/admin/signals",
    (
        "listSignalStreams",
        "List the event streams of shared signals, and what waits for their receivers",
    ),
);
const SHOW: About = About::get(
    "/admin/signals/{id}",
    ("showSignalStream", "Show one event stream"),
);
const PAUSE: About = About::post(
    AdminScope::Operate,
    "/admin/signals/{id}/pause",
    (
        "pauseSignalStream",
        "Hold a receiver's signals; it is told, and cannot undo it",
    ),
);
const DISABLE: About = About::post(
    AdminScope::Operate,
    "/admin/signals/{id}/disable",
    (
        "disableSignalStream",
        "Send a receiver no signals and drop what waits; it is told, and cannot undo it",
    ),
);
const ENABLE: About = About::post(
    AdminScope::Operate,
    "/admin/signals/{id}/enable",
    ("enableSignalStream", "Let an event stream be delivered again"),
);

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(LIST, list),
        operation(SHOW, show),
        operation(PAUSE, pause),
        operation(DISABLE, disable),
        operation(ENABLE, enable),
    ]
}

async fn list(call: Call, asked: Asked<Nothing, Query>) -> Result<Page<ShownSignalStream>, Rejected> {
    let Query { client, after, limit } = asked.query;
    let client = match client {
        Some(client) => Some(call.named_client(&client).await?),
        None => None,
    };
    let operations = call.operations();
    let items = operations.shown_signal_streams(client, (after, limit.0)).await?;
    Ok(Page::new(items, limit, |stream| stream.position))
}

async fn show(call: Call, asked: Asked<Named>) -> Result<ShownSignalStream, Rejected> {
    Ok(call.operations().shown_signal_stream(asked.path.id).await?)
}

type Change = Asked<Named, Nothing, JsonBody<Because>>;

async fn pause(call: Call, asked: Change) -> Result<ShownSignalStream, Rejected> {
    set(call, asked, StreamStatus::Paused).await
}

async fn disable(call: Call, asked: Change) -> Result<ShownSignalStream, Rejected> {
    set(call, asked, StreamStatus::Disabled).await
}

async fn enable(call: Call, asked: Change) -> Result<ShownSignalStream, Rejected> {
    set(call, asked, StreamStatus::Enabled).await
}

async fn set(call: Call, asked: Change, status: StreamStatus) -> Result<ShownSignalStream, Rejected> {
    let id = asked.path.id;
    let context = call.because(Some(asked.body.0.reason.0));
    let operations = call.operations();
    operations.set_signal_stream(&context, id, status).await?;
    Ok(operations.shown_signal_stream(id).await?)
}
