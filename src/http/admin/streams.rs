//! `/admin/streams`: what `grantlog stream` does. Streams to files, syslog and NATS are defined on the command line: they
//! reach into the server's file system and network, which no token should open.

mod dead_letters;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::{JsonBody, NoBody};
use super::endpoint::{About, Asked, Call, Operation, Rejected, operation};
use super::parameters::{Because, Nothing};
use super::scope::AdminScope;
use crate::domain::stream::{OnFailure, StreamDefinition, StreamFilter, StreamTarget};
use crate::operations::stream::{Credential, Start};
use crate::operations::stream_shown::ShownStream;

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

/// Where to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
enum Target {
    /// Standard Webhooks with CloudEvents 1.0.
    Webhook {
        /// Where to post.
        url: String,
        /// Whether a request carries many events.
        #[serde(default)]
        batched: bool,
    },
    /// OCSF events, posted as lines of JSON.
    OcsfHttp {
        /// Where to post.
        url: String,
    },
}

/// Which events: an empty part lets all pass, and an event must pass every part.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Filter {
    /// Names of events.
    types: Vec<String>,
    /// Types of aggregates.
    aggregates: Vec<String>,
    /// Client ids.
    clients: Vec<String>,
}

/// What a stream carries, and where to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Definition {
    /// Where to.
    target: Target,
    /// What of the ledger.
    #[serde(default)]
    filter: Filter,
    /// The most events of one delivery, 1 to 1000.
    #[serde(default = "usual_batch")]
    batch: u32,
    /// How often an event is tried, 1 to 100.
    #[serde(default = "usual_attempts")]
    attempts: u32,
    /// What happens then; `dead_letter` for a webhook and `hold` for OCSF where nothing is said.
    #[serde(default)]
    on_failure: Option<OnFailure>,
}

fn usual_batch() -> u32 {
    100
}

fn usual_attempts() -> u32 {
    12
}

/// What a stream carries from now on, and where to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ChangedStream {
    /// Where to.
    target: Target,
    /// What of the ledger.
    #[serde(default)]
    filter: Filter,
    /// The most events of one delivery, 1 to 1000.
    #[serde(default = "usual_batch")]
    batch: u32,
    /// How often an event is tried, 1 to 100.
    #[serde(default = "usual_attempts")]
    attempts: u32,
    /// What happens then; `dead_letter` for a webhook and `hold` for OCSF where nothing is said.
    #[serde(default)]
    on_failure: Option<OnFailure>,
    /// Another `Authorization` header to send (`ocsf-http`); empty: none from now on. Without it the stream keeps the one
    /// that it has, but for another server (scheme, host and port), which must not see it: 400.
    #[serde(default)]
    credentials: Option<String>,
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
    /// The `Authorization` header to send (`ocsf-http`); a webhook's secret is made here.
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

impl Definition {
    async fn resolve(self, call: &Call) -> Result<StreamDefinition, Rejected> {
        let mut clients = Vec::with_capacity(self.filter.clients.len());
        for client in &self.filter.clients {
            clients.push(call.named_client(client).await?);
        }
        let target = match self.target {
            Target::Webhook { url, batched } => StreamTarget::Webhook { url, batched },
            Target::OcsfHttp { url } => StreamTarget::OcsfHttp { url },
        };
        Ok(StreamDefinition {
            on_failure: self.on_failure.unwrap_or_else(|| OnFailure::of(&target)),
            target,
            filter: StreamFilter {
                types: self.filter.types,
                aggregates: self.filter.aggregates,
                clients,
            },
            batch: self.batch,
            attempts: self.attempts,
            secrets: Vec::new(),
        })
    }
}

/// What a stream of this kind signs or authenticates with: the bytes, and what is to be told of them.
fn secret(
    call: &Call,
    target: &StreamTarget,
    credentials: Option<String>,
) -> Result<(Option<Vec<u8>>, Option<String>), Rejected> {
    match target {
        StreamTarget::Webhook { .. } if credentials.is_none() => {
            let (bytes, told) = call.operations().webhook_secret()?;
            Ok((Some(bytes), Some(told)))
        }
        StreamTarget::OcsfHttp { .. } => {
            let credentials = credentials.map(|text| text.trim().to_owned());
            let credentials = credentials.filter(|text| !text.is_empty());
            Ok((credentials.map(String::into_bytes), None))
        }
        StreamTarget::Webhook { .. } => {
            Err(call.invalid("credentials: they are for streams of the kind ocsf-http"))
        }
        StreamTarget::Nats { .. } | StreamTarget::OcsfFile { .. } | StreamTarget::Syslog { .. } => {
            Err(only_on_the_command_line(call))
        }
    }
}

fn only_on_the_command_line(call: &Call) -> Rejected {
    call.invalid("streams of the kinds nats, ocsf-file and syslog are set with `grantlog stream` only")
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
    let changed = asked.body.0;
    let definition = Definition {
        target: changed.target,
        filter: changed.filter,
        batch: changed.batch,
        attempts: changed.attempts,
        on_failure: changed.on_failure,
    };
    let definition = definition.resolve(&call).await?;
    let given = changed.credentials.is_some();
    let bytes = match changed.credentials {
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
