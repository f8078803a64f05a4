//! What a stream carries, where to, and with which secret.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::domain::stream::{OnFailure, StreamDefinition, StreamFilter, StreamTarget};
use crate::http::admin::endpoint::{Call, Rejected};
use crate::http::admin::guard::only_in_full;

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
    /// NATS JetStream; only to change one that is there, with `admin`.
    Nats {
        /// The server.
        url: String,
        /// The first words of the subjects.
        #[serde(default = "usual_prefix")]
        prefix: String,
    },
    /// OCSF events as syslog messages over TCP; only to change one that is there, with `admin`.
    Syslog {
        /// The receiver.
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
pub(super) struct Definition {
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

/// What a stream carries from now on, and where to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangedStream {
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
    /// Another `Authorization` header to send (`ocsf-http`), or what a NATS server takes (`nats`); empty: none from now on.
    /// Without it the stream keeps the one that it has, but for another server (scheme, host and port), which must not see
    /// it: 400.
    #[serde(default)]
    credentials: Option<String>,
}

fn usual_prefix() -> String {
    "grantlog".to_owned()
}

fn usual_batch() -> u32 {
    100
}

fn usual_attempts() -> u32 {
    12
}

impl ChangedStream {
    /// What it carries, and the credentials that go with it.
    pub(super) fn parts(self) -> (Definition, Option<String>) {
        let definition = Definition {
            target: self.target,
            filter: self.filter,
            batch: self.batch,
            attempts: self.attempts,
            on_failure: self.on_failure,
        };
        (definition, self.credentials)
    }
}

impl Definition {
    /// As it is recorded.
    pub(super) async fn resolve(self, call: &Call) -> Result<StreamDefinition, Rejected> {
        let mut clients = Vec::with_capacity(self.filter.clients.len());
        for client in &self.filter.clients {
            clients.push(call.named_client(client).await?);
        }
        let target = match self.target {
            Target::Webhook { url, batched } => StreamTarget::Webhook { url, batched },
            Target::OcsfHttp { url } => StreamTarget::OcsfHttp { url },
            Target::Nats { url, prefix } => StreamTarget::Nats { url, prefix },
            Target::Syslog { url } => StreamTarget::Syslog { url },
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
pub(super) fn secret(
    call: &Call,
    target: &StreamTarget,
    credentials: Option<String>,
) -> Result<(Option<Vec<u8>>, Option<String>), Rejected> {
    match target {
        StreamTarget::Webhook { .. } if credentials.is_none() => {
            let (bytes, told) = call.operations().webhook_secret()?;
            Ok((Some(bytes), Some(told)))
        }
        StreamTarget::OcsfHttp { .. } | StreamTarget::Nats { .. } => {
            let credentials = credentials.map(|text| text.trim().to_owned());
            let credentials = credentials.filter(|text| !text.is_empty());
            Ok((credentials.map(String::into_bytes), None))
        }
        StreamTarget::Webhook { .. } => {
            Err(call.invalid("credentials: they are for streams of the kinds ocsf-http and nats"))
        }
        StreamTarget::OcsfFile { .. } | StreamTarget::Syslog { .. } => {
            Err(call.invalid("streams of the kinds ocsf-file and syslog have no secret"))
        }
    }
}

/// Streams that no token defines.
pub(super) fn only_on_the_command_line(call: &Call) -> Rejected {
    call.invalid("streams of the kinds nats, ocsf-file and syslog are defined with `grantlog stream` only")
}

/// Whoever names an address inside may do all: a part of the administration API does not open the server's network.
pub(super) fn check_reach(call: &Call, target: &StreamTarget) -> Result<(), Rejected> {
    if target.reaches_inside() && !call.administrator.is_full {
        return Err(only_in_full(call));
    }
    Ok(())
}
