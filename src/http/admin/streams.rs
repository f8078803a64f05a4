//! `/admin/streams`: what `grantlog stream` does. Streams to files, syslog and NATS are defined on the command line: they
//! reach into the server's file system and network. Those to syslog and NATS may be changed by whoever may do all.

mod dead_letters;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::{JsonBody, NoBody};
use super::endpoint::{About, Asked, Call, Operation, Rejected, operation};
use super::parameters::{Because, Nothing};
use super::scope::AdminScope;
use crate::operations::stream::{Credential, Start};
use crate::operations::stream_shown::ShownStream;
use definition::{ChangedStream, Definition, check_reach, only_on_the_command_line, secret};

mod definition;

/// Which stream.
#[derive(Deserialize, JsonSchema)]
struct Named {
    /// Its name.
    name: String,
}

/// All streams.
#[derive(Serialize, JsonSchema)]
struct Streams {
    /// In the order in which they were first defined.
    items: Vec<ShownStream>,
}

/// A stream to define.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct New {
    /// Its name.
    name: String,
    /// What it carries, and where to.
    definition: Definition,
    /// Where it begins: `beginning`, `now` (where nothing is said), or a position.
    #[serde(default)]
    from: Option<String>,
    /// The `Authorization` header to send (`ocsf-http`).
    #[serde(default)]
    credentials: Option<String>,
}

/// Another secret, or other credentials.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Rotation {
    /// The `Authorization` header to send (`ocsf-http`), or what a NATS server takes: `USER:PASSWORD`, a token, a user's seed, or
    /// the text of a .creds file (`nats`); a webhook's secret is made here.
    #[serde(default)]
    credentials: Option<String>,
}

/// A stream that was removed.
#[derive(Serialize, JsonSchema)]
struct Removed {
    /// The stream's name.
    name: String,
}

const ALL: &str = "/admin/streams";
const ONE: &str = "/admin/streams/{name}";

const LIST: About = About::get(
    ALL,
    (
        "listStreams",
        "Show every stream, how far it has come and how it fares",
    ),
);
const CREATE: About = About::post(
    AdminScope::Configure,
    ALL,
    (
        "createStream",
        "Carry events to a receiver; a webhook's secret is told this once",
    ),
)
.creates();
const SHOW: About = About::get(ONE, ("showStream", "Show one stream"));
const UPDATE: About = About::put(
    ONE,
    ("updateStream", "Set a stream anew; it goes on from where it is"),
);
const PAUSE: About = About::post(
    AdminScope::Operate,
    "/admin/streams/{name}/pause",
    ("pauseStream", "Let a stream stand still; nothing is lost"),
);
const RESUME: About = About::post(
    AdminScope::Operate,
    "/admin/streams/{name}/resume",
    ("resumeStream", "Let it go on from where it stood"),
);
const REMOVE: About = About::post(
    AdminScope::Configure,
    "/admin/streams/{name}/remove",
    (
        "removeStream",
        "Remove a stream, its secrets, its place and its dead letters",
    ),
);
const ROTATE: About = About::post(
    AdminScope::Configure,
    "/admin/streams/{name}/rotate-secret",
    (
        "rotateStreamSecret",
        "Give a stream a new secret; the old one is used too until it is retired",
    ),
);
const RETIRE: About = About::post(
    AdminScope::Configure,
    "/admin/streams/{name}/retire-secret",
    ("retireStreamSecret", "Sign with the newest secret alone"),
);

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(LIST, list),
        operation(CREATE, create),
        operation(SHOW, show),
        operation(UPDATE, update),
        operation(PAUSE, pause),
        operation(RESUME, resume),
        operation(REMOVE, remove),
        operation(ROTATE, rotate),
        operation(RETIRE, retire),
    ]
    .into_iter()
    .chain(dead_letters::operations())
    .collect()
}

async fn list(call: Call, _: Asked) -> Result<Streams, Rejected> {
    let items = call.operations().shown_streams().await?;
    Ok(Streams { items })
}

async fn show(call: Call, asked: Asked<Named>) -> Result<ShownStream, Rejected> {
    Ok(call.operations().shown_stream(&asked.path.name).await?)
}

fn start(call: &Call, from: Option<&str>) -> Result<Start, Rejected> {
    match from {
        None | Some("now") => Ok(Start::Now),
        Some("beginning") => Ok(Start::Beginning),
        Some(position) => match position.parse() {
            Ok(position) if position > 0 => Ok(Start::At(position)),
            _ => Err(call.invalid("from: it is not beginning, now or a position")),
        },
    }
}

async fn create(call: Call, asked: Asked<Nothing, Nothing, JsonBody<New>>) -> Result<ShownStream, Rejected> {
    let New {
        name,
        definition,
        from,
        credentials,
    } = asked.body.0;
    let definition = definition.resolve(&call).await?;
    if definition.target.reaches_inside() {
        return Err(only_on_the_command_line(&call));
    }
    let start = start(&call, from.as_deref())?;
    let (bytes, told) = secret(&call, &definition.target, credentials)?;
    let operations = call.operations();
    operations
        .define_stream(&call.context, (&name, start), definition, bytes.as_deref())
        .await?;
    let mut shown = operations.shown_stream(&name).await?;
    shown.secret = told;
    Ok(shown)
}

async fn update(
    call: Call,
    asked: Asked<Named, Nothing, JsonBody<ChangedStream>>,
) -> Result<ShownStream, Rejected> {
    let name = &asked.path.name;
    let (definition, changed) = asked.body.0.parts();
    let definition = definition.resolve(&call).await?;
    check_reach(&call, &definition.target)?;
    let given = changed.is_some();
    let bytes = match changed {
        Some(credentials) => secret(&call, &definition.target, Some(credentials))?.0,
        None => None,
    };
    let credentials = match &bytes {
        Some(bytes) => Credential::These(bytes),
        None if given => Credential::Nothing,
        None => Credential::Keep,
    };
    let operations = call.operations();
    operations
        .change_stream(&call.context, name, definition, credentials)
        .await?;
    Ok(operations.shown_stream(name).await?)
}

async fn pause(call: Call, asked: Asked<Named, Nothing, JsonBody<Because>>) -> Result<ShownStream, Rejected> {
    let name = &asked.path.name;
    let operations = call.operations();
    operations
        .pause_stream(&call.context, name, &asked.body.0.reason.0)
        .await?;
    Ok(operations.shown_stream(name).await?)
}

async fn resume(call: Call, asked: Asked<Named>) -> Result<ShownStream, Rejected> {
    let name = &asked.path.name;
    let operations = call.operations();
    operations.resume_stream(&call.context, name).await?;
    Ok(operations.shown_stream(name).await?)
}

async fn remove(call: Call, asked: Asked<Named, Nothing, JsonBody<Because>>) -> Result<Removed, Rejected> {
    let name = asked.path.name;
    let operations = call.operations();
    operations
        .remove_stream(&call.context, &name, &asked.body.0.reason.0)
        .await?;
    Ok(Removed { name })
}

async fn rotate(
    call: Call,
    asked: Asked<Named, Nothing, JsonBody<Rotation>>,
) -> Result<ShownStream, Rejected> {
    let name = &asked.path.name;
    let operations = call.operations();
    let defined = operations.stream(name).await?;
    check_reach(&call, &defined.definition.target)?;
    let (bytes, told) = secret(&call, &defined.definition.target, asked.body.0.credentials)?;
    let bytes = bytes.ok_or_else(|| call.invalid("credentials: give the new ones"))?;
    operations
        .rotate_stream_secret(&call.context, name, &bytes)
        .await?;
    let mut shown = operations.shown_stream(name).await?;
    shown.secret = told;
    Ok(shown)
}

async fn retire(call: Call, asked: Asked<Named, Nothing, NoBody>) -> Result<ShownStream, Rejected> {
    let name = &asked.path.name;
    let operations = call.operations();
    operations.retire_stream_secret(&call.context, name).await?;
    Ok(operations.shown_stream(name).await?)
}
