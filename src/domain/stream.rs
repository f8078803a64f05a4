//! The `stream` aggregate: where the ledger's events are carried to. One aggregate per name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::policy::derived_id;
use super::{Decision, aggregate};
use crate::ids::{ClientKey, KeyId};

/// The longest name of a stream.
pub const MAX_NAME: usize = 64;
/// The most entries of each part of a filter.
pub const MAX_FILTER: usize = 100;
/// The most events of one delivery.
pub const MAX_BATCH: u32 = 1_000;
/// The most attempts before a stream gives up on an event.
pub const MAX_ATTEMPTS: u32 = 100;

events! {
    /// Events of one stream.
    pub enum StreamEvent of "stream" {
        /// Events are carried from now on, beginning after a position.
        StreamDefined 1 {
            /// The stream's name.
            name: String,
            /// Where to, and what.
            definition: StreamDefinition,
            /// It begins after this position.
            after: i64,
        },
        /// It goes on from where it is, set anew.
        StreamChanged 1 {
            /// Where to, and what, from now on.
            definition: StreamDefinition,
        },
        /// It stands still: nothing is delivered, and nothing is lost.
        StreamPaused 1 {
            /// Why: in the administrator's words, or `gone` where the receiver said so.
            reason: String,
        },
        /// It goes on from where it stood.
        StreamResumed 1 {},
        /// Dead letters are to be delivered once more.
        RedeliveryRequested 1 {
            /// The first position.
            first: i64,
            /// The last position.
            last: i64,
            /// How many dead letters lie between them.
            count: i64,
        },
        /// Nothing is carried any more, and how far it had come is forgotten.
        StreamRemoved 1 {
            /// Why, in the administrator's words.
            reason: String,
        },
    }
}

/// Where a stream goes, and what it carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamDefinition {
    /// Where to.
    pub target: StreamTarget,
    /// What of the ledger.
    #[serde(default)]
    pub filter: StreamFilter,
    /// The most events of one delivery.
    pub batch: u32,
    /// How often an event is tried before the stream gives up on it.
    pub attempts: u32,
    /// What giving up means.
    pub on_failure: OnFailure,
    /// Secrets that it signs or authenticates with, the newest first: each lies in the key material, wrapped.
    #[serde(default)]
    pub secrets: Vec<KeyId>,
}

/// The kinds of targets, with what each needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum StreamTarget {
    /// Standard Webhooks with CloudEvents 1.0.
    Webhook {
        /// Where to post.
        url: String,
        /// Whether a request carries many events (`application/cloudevents-batch+json`).
        batched: bool,
    },
    /// NATS JetStream.
    Nats {
        /// The server.
        url: String,
        /// The first word of the subjects.
        prefix: String,
    },
    /// OCSF events, one per line, in a file of each node's.
    OcsfFile {
        /// Where it is.
        path: String,
        /// Once it has so many bytes it is put aside; 0: never.
        max_bytes: u64,
    },
    /// OCSF events, posted as lines of JSON.
    OcsfHttp {
        /// Where to post.
        url: String,
    },
    /// OCSF events as syslog messages over TCP.
    Syslog {
        /// The receiver.
        url: String,
    },
}

impl StreamTarget {
    /// The kind's name, as on the command line.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Nats { .. } => "nats",
            Self::OcsfFile { .. } => "ocsf-file",
            Self::OcsfHttp { .. } => "ocsf-http",
            Self::Syslog { .. } => "syslog",
        }
    }

    /// Whether it is inside: in the server's file system, or at an address that no allow-list is asked about.
    #[must_use]
    pub fn reaches_inside(&self) -> bool {
        match self {
            Self::Nats { .. } | Self::OcsfFile { .. } | Self::Syslog { .. } => true,
            Self::Webhook { .. } | Self::OcsfHttp { .. } => false,
        }
    }

    /// Whether it goes to a SIEM, where a hole in the record is worse than a delay.
    #[must_use]
    pub fn is_siem(&self) -> bool {
        matches!(
            self,
            Self::OcsfFile { .. } | Self::OcsfHttp { .. } | Self::Syslog { .. }
        )
    }

    /// Where to, for people.
    #[must_use]
    pub fn address(&self) -> &str {
        match self {
            Self::Webhook { url, .. }
            | Self::Nats { url, .. }
            | Self::OcsfHttp { url }
            | Self::Syslog { url } => url,
            Self::OcsfFile { path, .. } => path,
        }
    }
}

/// Which events a stream carries: an empty part lets all pass, and an event must pass every part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamFilter {
    /// Names of events.
    #[serde(default)]
    pub types: Vec<String>,
    /// Types of aggregates.
    #[serde(default)]
    pub aggregates: Vec<String>,
    /// Clients that the event, or its grant, is of, or that caused it.
    #[serde(default)]
    pub clients: Vec<ClientKey>,
}

impl StreamFilter {
    /// Whether every event passes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.types.is_empty() && self.aggregates.is_empty() && self.clients.is_empty()
    }

    /// The names of the parts that narrow it.
    #[must_use]
    pub fn parts(&self) -> Vec<String> {
        let parts = [
            ("type", self.types.is_empty()),
            ("aggregate", self.aggregates.is_empty()),
            ("client", self.clients.is_empty()),
        ];
        let narrowing = parts.into_iter().filter(|(_, empty)| !empty);
        narrowing.map(|(name, _)| name.to_owned()).collect()
    }

    fn fits(&self) -> bool {
        [self.types.len(), self.aggregates.len(), self.clients.len()]
            .iter()
            .all(|entries| *entries <= MAX_FILTER)
    }
}

/// What happens when an event was tried as often as it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// It becomes a dead letter, and the stream goes on after it.
    DeadLetter,
    /// The stream stays where it is and tries on.
    Hold,
}

impl OnFailure {
    /// Where nothing is said: what watches must miss nothing, others must not be kept waiting.
    #[must_use]
    pub fn of(target: &StreamTarget) -> Self {
        if target.is_siem() {
            Self::Hold
        } else {
            Self::DeadLetter
        }
    }

    /// The word on the ledger.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DeadLetter => "dead_letter",
            Self::Hold => "hold",
        }
    }
}

/// A stream's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// How often a stream of this name was defined.
    pub generation: i32,
    /// The stream; none where there is none, or no more.
    pub defined: Option<Defined>,
}

/// A stream that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Defined {
    /// Its name.
    pub name: String,
    /// Where it goes, and what it carries.
    pub definition: StreamDefinition,
    /// It began after this position.
    pub after: i64,
    /// Why it stands still; none where it does not.
    pub paused: Option<String>,
}

/// Commands on a stream.
#[derive(Clone, Debug)]
pub enum StreamCommand {
    /// Carry events from now on.
    Define {
        /// The name.
        name: String,
        /// Where to, and what.
        definition: Box<StreamDefinition>,
        /// Beginning after this position.
        after: i64,
    },
    /// Set it anew.
    Change(Box<StreamDefinition>),
    /// Let it stand still.
    Pause {
        /// Why.
        reason: String,
    },
    /// Let it go on.
    Resume,
    /// Have dead letters delivered once more.
    Redeliver(RedeliveryRequested),
    /// Carry nothing any more.
    Remove {
        /// Why.
        reason: String,
    },
}

/// Why a command on a stream was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamRefusal {
    /// Nobody knows it.
    #[error("there is no such stream")]
    Unknown,
    /// The name is in use.
    #[error("there is a stream of this name: change or remove it")]
    Exists,
    /// It could not be typed or shown.
    #[error("a stream's name has 1 to 64 characters of a-z, 0-9 and -")]
    MalformedName,
    /// What the receiver would get has another form.
    #[error("a stream keeps its kind: define another")]
    OtherKind,
    /// Nothing would be delivered, or nothing ever given up.
    #[error(
        "a delivery has 1 to 1000 events and 1 to 100 attempts, each part of a filter at most 100 entries"
    )]
    Measure,
}

impl Stream {
    /// The aggregate of a name.
    #[must_use]
    pub fn id(name: &str) -> Uuid {
        derived_id(&["grantlog stream", name])
    }

    /// Decides a command.
    #[must_use]
    pub fn decide(&self, command: &StreamCommand) -> Decision<StreamEvent, (), StreamRefusal> {
        let decided = match (command, &self.defined) {
            (
                StreamCommand::Define {
                    name,
                    definition,
                    after,
                },
                None,
            ) => define(name, definition, *after),
            (StreamCommand::Define { .. }, Some(_)) => Err(StreamRefusal::Exists),
            (_, None) => Err(StreamRefusal::Unknown),
            (StreamCommand::Change(definition), Some(known)) => known.change(definition),
            (StreamCommand::Pause { .. }, Some(known)) if known.paused.is_some() => Ok(None),
            (StreamCommand::Pause { reason }, Some(_)) => {
                let reason = reason.clone();
                Ok(Some(StreamPaused { reason }.into()))
            }
            (StreamCommand::Resume, Some(known)) => {
                Ok(known.paused.is_some().then(|| StreamResumed {}.into()))
            }
            (StreamCommand::Redeliver(request), Some(_)) => {
                Ok((request.count > 0).then(|| request.clone().into()))
            }
            (StreamCommand::Remove { reason }, Some(_)) => {
                let reason = reason.clone();
                Ok(Some(StreamRemoved { reason }.into()))
            }
        };
        match decided {
            Ok(event) => Decision::accept(event.into_iter().collect(), ()),
            Err(refusal) => Decision::refuse(refusal),
        }
    }

    fn evolve(&mut self, event: StreamEvent) {
        match event {
            StreamEvent::StreamDefined(event) => {
                self.generation += 1;
                self.defined = Some(Defined {
                    name: event.name,
                    definition: event.definition,
                    after: event.after,
                    paused: None,
                });
            }
            StreamEvent::StreamChanged(event) => {
                if let Some(known) = &mut self.defined {
                    known.definition = event.definition;
                }
            }
            StreamEvent::StreamPaused(event) => {
                if let Some(known) = &mut self.defined {
                    known.paused = Some(event.reason);
                }
            }
            StreamEvent::StreamResumed(_) => {
                if let Some(known) = &mut self.defined {
                    known.paused = None;
                }
            }
            StreamEvent::RedeliveryRequested(_) => {}
            StreamEvent::StreamRemoved(_) => self.defined = None,
        }
    }
}

type Decided = Result<Option<StreamEvent>, StreamRefusal>;

fn define(name: &str, definition: &StreamDefinition, after: i64) -> Decided {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(plain) {
        return Err(StreamRefusal::MalformedName);
    }
    check(definition)?;
    let event = StreamDefined {
        name: name.to_owned(),
        definition: definition.clone(),
        after: after.max(0),
    };
    Ok(Some(event.into()))
}

impl Defined {
    fn change(&self, definition: &StreamDefinition) -> Decided {
        if self.definition.target.kind() != definition.target.kind() {
            return Err(StreamRefusal::OtherKind);
        }
        check(definition)?;
        let changed = self.definition != *definition;
        Ok(changed.then(|| {
            let definition = definition.clone();
            StreamChanged { definition }.into()
        }))
    }
}

fn check(definition: &StreamDefinition) -> Result<(), StreamRefusal> {
    let fits = (1..=MAX_BATCH).contains(&definition.batch)
        && (1..=MAX_ATTEMPTS).contains(&definition.attempts)
        && definition.filter.fits();
    fits.then_some(()).ok_or(StreamRefusal::Measure)
}

aggregate!(
    Stream,
    Stream,
    "stream",
    StreamCommand,
    StreamEvent,
    StreamRefusal
);

#[cfg(test)]
mod tests;
