//! The `ssf_stream` aggregate: an event stream of the OpenID Shared Signals Framework 1.0, by which one client, its
//! receiver, hears of the users that it has to do with.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Decision, aggregate};
use crate::ids::{ClientKey, SubjectId};

events! {
    /// Events of one event stream.
    pub enum SsfStreamEvent of "ssf_stream" {
        /// A receiver created it (SSF §8.1.1.1).
        SsfStreamCreated 1 {
            /// The receiver.
            client: ClientKey,
            /// How it is delivered, of what, and what for.
            settings: StreamSettings,
        },
        /// The receiver set it anew (SSF §8.1.1.3, §8.1.1.4).
        SsfStreamConfigured 1 {
            /// How it is set from now on.
            settings: StreamSettings,
        },
        /// It is delivered from now on, held, or off (SSF §8.1.2).
        SsfStreamStatusChanged 1 {
            /// Which of them.
            status: StreamStatus,
            /// Why, in the words of who changed it.
            reason: Option<String>,
            /// Whether this server did, and not the receiver.
            by_transmitter: bool,
            /// Whether an administrator here did: the receiver cannot undo it.
            by_operator: Option<bool>,
        },
        /// The receiver wants to hear of a user again (SSF §8.1.3.2).
        SsfSubjectAdded 1 {
            /// Which one.
            subject: SubjectId,
        },
        /// The receiver does not want to hear of a user (SSF §8.1.3.3).
        SsfSubjectRemoved 1 {
            /// Which one.
            subject: SubjectId,
        },
        /// The receiver deleted it (SSF §8.1.1.5).
        SsfStreamDeleted 1 {},
    }
}

macro_rules! signal_types {
    ($($(#[doc = $doc:literal])* $Variant:ident $uri:literal),* $(,)?) => {
        /// What a receiver can hear of.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum SignalType {
            $($(#[doc = $doc])* #[serde(rename = $uri)] $Variant,)*
        }

        impl SignalType {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$Variant),*];

            /// The event type's URI.
            #[must_use]
            pub const fn uri(self) -> &'static str {
                match self { $(Self::$Variant => $uri,)* }
            }
        }
    };
}

signal_types! {
    /// CAEP 1.0 §3.1: a login is over, or every login of a user.
    SessionRevoked "https://schemas.openid.net/secevent/caep/event-type/session-revoked",
    /// CAEP 1.0 §3.3: a user's credential changed.
    CredentialChange "https://schemas.openid.net/secevent/caep/event-type/credential-change",
    /// RISC 1.0 §2.2: the user was erased.
    AccountPurged "https://schemas.openid.net/secevent/risc/event-type/account-purged",
    /// RISC 1.0 §2.3: the user may not act any more.
    AccountDisabled "https://schemas.openid.net/secevent/risc/event-type/account-disabled",
    /// RISC 1.0 §2.4: the user may act again.
    AccountEnabled "https://schemas.openid.net/secevent/risc/event-type/account-enabled",
}

impl SignalType {
    /// The type with that URI.
    #[must_use]
    pub fn named(uri: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.uri() == uri)
    }
}

/// What the receiver says of its stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSettings {
    /// How it is delivered.
    pub delivery: StreamDelivery,
    /// What it asked for and can get; none: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<BTreeSet<SignalType>>,
    /// What it is for, in the receiver's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl StreamSettings {
    /// What is delivered (`events_delivered`).
    #[must_use]
    pub fn delivered(&self) -> BTreeSet<SignalType> {
        match &self.events {
            Some(events) => events.clone(),
            None => SignalType::ALL.iter().copied().collect(),
        }
    }
}

/// How signals get to the receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamDelivery {
    /// It fetches them (RFC 8936).
    Poll,
    /// They are sent to it (RFC 8935).
    Push {
        /// Where to.
        endpoint_url: String,
        /// Whether an `Authorization` header goes with them. The header itself is not on the ledger.
        authorized: bool,
    },
}

/// What becomes of signals (SSF §8.1.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "SignalStreamStatus")]
pub enum StreamStatus {
    /// They are delivered.
    #[default]
    Enabled,
    /// They are held.
    Paused,
    /// There are none.
    Disabled,
}

impl StreamStatus {
    /// The word on the wire, in the ledger and in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
        }
    }
}

/// An event stream's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SsfStream {
    /// None before it is created and after it is deleted.
    pub open: Option<OpenStream>,
}

/// A stream that has not been deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenStream {
    /// The receiver.
    pub client: ClientKey,
    /// What the receiver says of it.
    pub settings: StreamSettings,
    /// Whether it is delivered.
    pub status: StreamStatus,
    /// Why.
    pub reason: Option<String>,
    /// Whether an administrator paused or disabled it, and has not enabled it since.
    #[serde(default)]
    pub held: bool,
}

impl SsfStreamStatusChanged {
    /// Whether an administrator here did it.
    #[must_use]
    pub fn is_by_operator(&self) -> bool {
        self.by_operator.unwrap_or_default()
    }
}

impl OpenStream {
    /// Whether an administrator holds it after a change.
    fn is_held_after(&self, change: &SsfStreamStatusChanged) -> bool {
        if change.is_by_operator() {
            change.status != StreamStatus::Enabled
        } else {
            self.held
        }
    }
}

/// Commands on an event stream.
#[derive(Clone, Debug)]
pub enum SsfStreamCommand {
    /// Create it.
    Create(SsfStreamCreated),
    /// Set it anew.
    Configure(StreamSettings),
    /// Change its status.
    ChangeStatus(SsfStreamStatusChanged),
    /// Let the receiver hear of a user again.
    AddSubject(SubjectId),
    /// Let the receiver hear nothing of a user.
    RemoveSubject(SubjectId),
    /// Delete it.
    Delete,
}

/// Why a command on an event stream was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SsfStreamRefusal {
    /// The id is in use.
    #[error("this event stream exists already")]
    Exists,
    /// Never created, or deleted.
    #[error("there is no such event stream")]
    Unknown,
    /// The receiver would undo what an administrator did.
    #[error("an administrator holds this event stream")]
    Held,
}

impl SsfStream {
    /// The stream, where it is this client's.
    #[must_use]
    pub fn of(&self, client: ClientKey) -> Option<&OpenStream> {
        self.open.as_ref().filter(|open| open.client == client)
    }

    /// Decides a command.
    #[must_use]
    pub fn decide(&self, command: &SsfStreamCommand) -> Decision<SsfStreamEvent, (), SsfStreamRefusal> {
        let event: SsfStreamEvent = match (command, &self.open) {
            (SsfStreamCommand::Create(_), Some(_)) => return Decision::refuse(SsfStreamRefusal::Exists),
            (SsfStreamCommand::Create(event), None) => event.clone().into(),
            (
                SsfStreamCommand::Configure(_)
                | SsfStreamCommand::ChangeStatus(_)
                | SsfStreamCommand::AddSubject(_)
                | SsfStreamCommand::RemoveSubject(_)
                | SsfStreamCommand::Delete,
                None,
            ) => return Decision::refuse(SsfStreamRefusal::Unknown),
            (SsfStreamCommand::Configure(settings), Some(open)) if *settings == open.settings => {
                return Decision::accept(Vec::new(), ());
            }
            (SsfStreamCommand::Configure(settings), Some(_)) => SsfStreamConfigured {
                settings: settings.clone(),
            }
            .into(),
            (SsfStreamCommand::ChangeStatus(event), Some(open))
                if open.held && !event.is_by_operator() && !event.by_transmitter =>
            {
                return Decision::refuse(SsfStreamRefusal::Held);
            }
            (SsfStreamCommand::ChangeStatus(event), Some(open))
                if event.status == open.status
                    && event.reason == open.reason
                    && open.is_held_after(event) == open.held =>
            {
                return Decision::accept(Vec::new(), ());
            }
            (SsfStreamCommand::ChangeStatus(event), Some(_)) => event.clone().into(),
            (SsfStreamCommand::AddSubject(subject), Some(_)) => SsfSubjectAdded { subject: *subject }.into(),
            (SsfStreamCommand::RemoveSubject(subject), Some(_)) => {
                SsfSubjectRemoved { subject: *subject }.into()
            }
            (SsfStreamCommand::Delete, Some(_)) => SsfStreamDeleted {}.into(),
        };
        Decision::accept(vec![event], ())
    }

    fn evolve(&mut self, event: SsfStreamEvent) {
        match event {
            SsfStreamEvent::SsfStreamCreated(event) => {
                self.open = Some(OpenStream {
                    client: event.client,
                    settings: event.settings,
                    status: StreamStatus::Enabled,
                    reason: None,
                    held: false,
                });
            }
            SsfStreamEvent::SsfStreamConfigured(event) => {
                if let Some(open) = &mut self.open {
                    open.settings = event.settings;
                }
            }
            SsfStreamEvent::SsfStreamStatusChanged(event) => {
                if let Some(open) = &mut self.open {
                    open.held = open.is_held_after(&event);
                    open.status = event.status;
                    open.reason = event.reason;
                }
            }
            SsfStreamEvent::SsfSubjectAdded(_) | SsfStreamEvent::SsfSubjectRemoved(_) => {}
            SsfStreamEvent::SsfStreamDeleted(_) => self.open = None,
        }
    }
}

aggregate!(
    SsfStream,
    SsfStream,
    "ssf_stream",
    SsfStreamCommand,
    SsfStreamEvent,
    SsfStreamRefusal
);

#[cfg(test)]
mod tests {
    use cqrs_es::Aggregate;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn settings(events: Option<&[SignalType]>) -> StreamSettings {
        StreamSettings {
            delivery: StreamDelivery::Poll,
            events: events.map(|events| events.iter().copied().collect()),
            description: None,
        }
    }

    fn command() -> impl Strategy<Value = SsfStreamCommand> {
        let client = ClientKey(Uuid::nil());
        let change = |status: StreamStatus, by_operator: bool| {
            SsfStreamCommand::ChangeStatus(SsfStreamStatusChanged {
                status,
                reason: None,
                by_transmitter: false,
                by_operator: by_operator.then_some(true),
            })
        };
        let status = |status| change(status, false);
        prop::sample::select(vec![
            SsfStreamCommand::Create(SsfStreamCreated {
                client,
                settings: settings(None),
            }),
            SsfStreamCommand::Configure(settings(Some(&[SignalType::AccountPurged]))),
            SsfStreamCommand::Configure(settings(None)),
            status(StreamStatus::Paused),
            status(StreamStatus::Enabled),
            status(StreamStatus::Disabled),
            change(StreamStatus::Paused, true),
            change(StreamStatus::Disabled, true),
            change(StreamStatus::Enabled, true),
            SsfStreamCommand::AddSubject(SubjectId(Uuid::nil())),
            SsfStreamCommand::RemoveSubject(SubjectId(Uuid::nil())),
            SsfStreamCommand::Delete,
        ])
    }

    proptest! {
        #[test]
        fn a_stream_answers_from_its_creation_to_its_deletion_and_says_a_change_once(
            commands in proptest::collection::vec(command(), 0..30),
        ) {
            let mut stream = SsfStream::default();
            for command in commands {
                let before = stream.clone();
                let creates = matches!(command, SsfStreamCommand::Create(_));
                let decision = stream.decide(&command);
                let held = before.open.as_ref().is_some_and(|open| open.held);
                let by_receiver = matches!(&command, SsfStreamCommand::ChangeStatus(change) if !change.is_by_operator());
                let expected = before.open.is_some() != creates && !(held && by_receiver);
                prop_assert_eq!(decision.outcome.is_ok(), expected);
                for event in decision.events {
                    stream.apply(event);
                }
                if let SsfStreamCommand::Configure(_) | SsfStreamCommand::ChangeStatus(_) = command {
                    prop_assert!(stream.decide(&command).events.is_empty());
                }
                if let SsfStreamCommand::Delete = command {
                    prop_assert!(stream.open.is_none());
                }
                if let (true, SsfStreamCommand::ChangeStatus(_)) = (by_receiver, &command) {
                    prop_assert!(!held || stream == before, "an administrator's word stands");
                }
            }
        }
    }

    #[test]
    fn every_signal_is_known_by_its_uri_on_the_ledger_too() {
        for kind in SignalType::ALL {
            assert_eq!(SignalType::named(kind.uri()), Some(*kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.uri());
        }
        assert_eq!(SignalType::named("https://example.com/other"), None);
    }
}
