//! An event as rules see it: what they ask of payloads and metadata, and no more, so that history is read fast.

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::agent::AgentFamily;
use crate::clock::Timestamp;
use crate::domain::client::AuthMethod;
use crate::domain::value::{Digest, ScopeSet};
use crate::ids::{ClientKey, GrantId, SessionId, SubjectId};

macro_rules! kinds {
    ($($Kind:ident),* $(,)?) => {
        /// The events that rules ask for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "each is the event of that name")]
        #[repr(u8)]
        pub enum Kind {
            $($Kind,)*
            /// Any other event.
            Other,
        }

        impl Kind {
            /// All that have a name.
            pub const NAMED: &'static [Self] = &[$(Self::$Kind,)*];

            /// Of the event of that name.
            #[must_use]
            pub fn of(event_type: &str) -> Self {
                match event_type {
                    $(stringify!($Kind) => Self::$Kind,)*
                    _ => Self::Other,
                }
            }

            /// The event's name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$Kind => stringify!($Kind),)*
                    Self::Other => "",
                }
            }
        }
    };
}

kinds! {
    RequestRefused,
    CodeIssued,
    CodeRedeemed,
    CodeReplayed,
    TokenIssued,
    RefreshRotated,
    RefreshRetried,
    AccessTokenRefreshed,
    RefreshReplayed,
    DeviceAuthorizationRequested,
    DeviceAuthorizationApproved,
    DeviceCodeRedeemed,
    DeviceCodeReplayed,
    ClientRegistered,
    ClientUpdated,
    ClientSecretAdded,
    ScopeDefined,
    ScopeChanged,
    ConsentGiven,
    SessionStarted,
    SessionReauthenticated,
    SubjectKeyDestroyed,
    PolicyEnabled,
    PolicyChanged,
    PolicyDisabled,
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    bits: u32,
    /// Every event, whatever its kind.
    pub all: bool,
}

impl Kinds {
    /// Every event.
    pub const ALL: Self = Self {
        bits: u32::MAX,
        all: true,
    };

    /// These.
    #[must_use]
    pub const fn of(kinds: &[Kind]) -> Self {
        let mut bits = 0;
        let mut rest = kinds;
        while let [kind, tail @ ..] = rest {
            bits |= 1 << (*kind as u32);
            rest = tail;
        }
        Self { bits, all: false }
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self {
            bits: self.bits | other.bits,
            all: self.all || other.all,
        }
    }

    /// Whether an event of that kind is among them.
    #[must_use]
    pub const fn has(self, kind: Kind) -> bool {
        self.all || self.bits & (1 << (kind as u32)) != 0
    }

    /// The events' names; none where it is every event.
    #[must_use]
    pub fn names(self) -> Option<Vec<&'static str>> {
        let named = Kind::NAMED.iter().filter(|kind| self.has(**kind));
        (!self.all).then(|| named.map(|kind| kind.name()).collect())
    }
}

/// An event's columns as text.
#[derive(Clone, Debug)]
pub struct Raw {
    /// The aggregate's type.
    pub aggregate_type: String,
    /// The event's name.
    pub event_type: String,
    /// Canonical JSON.
    pub payload: String,
    /// Canonical JSON.
    pub metadata: String,
}

/// An event as rules see it.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Its place in the whole log.
    pub position: i64,
    /// When it was recorded.
    pub at: Timestamp,
    /// Which event it is.
    pub kind: Kind,
    /// Its aggregate.
    pub aggregate: Uuid,
    /// Whether a policy caused it.
    pub by_policy: bool,
    /// Whether the client had proven who it is.
    pub authenticated: bool,
    /// The caller's network, as a digest keyed per month.
    pub network: Option<Digest>,
    /// The family of the caller's user agent.
    pub agent: Option<AgentFamily>,
    /// Where the caller is; only where a rule asks for it and a database of places is there.
    pub place: Option<Place>,
    /// What the payload says.
    pub facts: Facts,
    /// Its columns, for rules that somebody else wrote.
    pub raw: Option<Box<Raw>>,
}

/// A place on Earth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// Within how many kilometres it is meant.
    pub radius: f64,
}

/// What rules ask of payloads.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The client.
    pub client: Option<ClientKey>,
    /// The user.
    pub subject: Option<SubjectId>,
    /// The grant, of a refusal.
    pub grant: Option<GrantId>,
    /// The login.
    pub session: Option<SessionId>,
    /// A refusal's endpoint.
    pub endpoint: Option<String>,
    /// A refusal's error code.
    pub error: Option<String>,
    /// A refusal's reason.
    pub reason: Option<String>,
    /// How a token was issued.
    pub flow: Option<String>,
    /// A scope's name.
    pub name: Option<String>,
    /// Whether a scope is restricted.
    pub restricted: Option<bool>,
    /// What was consented to.
    pub scope: Option<ScopeSet>,
    /// A client's redirect URIs and scope, as the text of its metadata.
    pub registered: Option<Registered>,
}

/// What a change of which makes a client another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// A digest of its redirect URIs.
    pub redirect_uris: Digest,
    /// A digest of its scope.
    pub scope: Digest,
}

#[derive(Deserialize)]
struct Slim<'a> {
    client: Option<Uuid>,
    subject: Option<Uuid>,
    grant: Option<Uuid>,
    session: Option<Uuid>,
    endpoint: Option<String>,
    error: Option<String>,
    reason: Option<String>,
    flow: Option<String>,
    name: Option<String>,
    restricted: Option<bool>,
    #[serde(borrow)]
    scope: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct SlimClient<'a> {
    #[serde(borrow)]
    redirect_uris: Option<&'a RawValue>,
    #[serde(borrow)]
    scope: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct SlimMetadata<'a> {
    #[serde(borrow)]
    actor: std::borrow::Cow<'a, str>,
    network: Option<Digest>,
    agent: Option<AgentFamily>,
    #[serde(borrow)]
    authentication: Option<SlimAuthentication<'a>>,
}

#[derive(Deserialize)]
struct SlimAuthentication<'a> {
    #[serde(borrow)]
    method: std::borrow::Cow<'a, str>,
}

/// What the columns of an event come to before its JSON is read.
pub(super) struct Columns<'a> {
    pub(super) position: i64,
    pub(super) at: Timestamp,
    pub(super) aggregate_type: &'a str,
    pub(super) aggregate: Uuid,
    pub(super) event_type: &'a str,
    pub(super) payload: &'a str,
    pub(super) metadata: &'a str,
}

impl Observed {
    /// Reads what rules ask for. What a payload does not have, or has in another shape, is not there: a rule must not
    /// stop at an event of a newer build.
    pub(super) fn read(columns: &Columns<'_>, keep_raw: bool) -> Self {
        let kind = Kind::of(columns.event_type);
        let slim: Option<Slim<'_>> = serde_json::from_str(columns.payload).ok();
        let metadata: Option<SlimMetadata<'_>> = serde_json::from_str(columns.metadata).ok();
        let facts = slim.map(|slim| facts(kind, slim)).unwrap_or_default();
        Self {
            position: columns.position,
            at: columns.at,
            kind,
            aggregate: columns.aggregate,
            by_policy: metadata
                .as_ref()
                .is_some_and(|metadata| metadata.actor == "policy"),
            authenticated: metadata
                .as_ref()
                .and_then(|metadata| metadata.authentication.as_ref())
                .is_some_and(|how| how.method != AuthMethod::None.name()),
            network: metadata.as_ref().and_then(|metadata| metadata.network),
            agent: metadata.and_then(|metadata| metadata.agent),
            place: None,
            facts,
            raw: keep_raw.then(|| {
                Box::new(Raw {
                    aggregate_type: columns.aggregate_type.to_owned(),
                    event_type: columns.event_type.to_owned(),
                    payload: columns.payload.to_owned(),
                    metadata: columns.metadata.to_owned(),
                })
            }),
        }
    }

    /// The grant that the event is of, or that it names.
    #[must_use]
    pub fn grant(&self) -> Option<GrantId> {
        match self.kind {
            Kind::CodeIssued
            | Kind::CodeRedeemed
            | Kind::CodeReplayed
            | Kind::TokenIssued
            | Kind::RefreshRotated
            | Kind::RefreshRetried
            | Kind::AccessTokenRefreshed
            | Kind::RefreshReplayed
            | Kind::DeviceAuthorizationRequested
            | Kind::DeviceAuthorizationApproved
            | Kind::DeviceCodeRedeemed
            | Kind::DeviceCodeReplayed => Some(GrantId(self.aggregate)),
            Kind::RequestRefused
            | Kind::ClientRegistered
            | Kind::ClientUpdated
            | Kind::ClientSecretAdded
            | Kind::ScopeDefined
            | Kind::ScopeChanged
            | Kind::ConsentGiven
            | Kind::SessionStarted
            | Kind::SessionReauthenticated
            | Kind::SubjectKeyDestroyed
            | Kind::PolicyEnabled
            | Kind::PolicyChanged
            | Kind::PolicyDisabled
            | Kind::Other => self.facts.grant,
        }
    }

    /// Whether a client was given an access token.
    #[must_use]
    pub fn issues(&self) -> bool {
        matches!(
            self.kind,
            Kind::TokenIssued | Kind::RefreshRotated | Kind::RefreshRetried | Kind::AccessTokenRefreshed
        )
    }
}

fn facts(kind: Kind, slim: Slim<'_>) -> Facts {
    let scope = slim
        .scope
        .filter(|_| kind == Kind::ConsentGiven)
        .and_then(|scope| serde_json::from_str(scope.get()).ok());
    let registered = slim
        .metadata
        .filter(|_| matches!(kind, Kind::ClientRegistered | Kind::ClientUpdated))
        .and_then(|metadata| serde_json::from_str::<SlimClient<'_>>(metadata.get()).ok())
        .map(|client| {
            let digest = |value: Option<&RawValue>| Digest::of(value.map_or("", RawValue::get).as_bytes());
            Registered {
                redirect_uris: digest(client.redirect_uris),
                scope: digest(client.scope),
            }
        });
    Facts {
        client: slim.client.map(ClientKey),
        subject: slim.subject.map(SubjectId),
        grant: slim.grant.map(GrantId),
        session: slim.session.map(SessionId),
        endpoint: slim.endpoint,
        error: slim.error,
        reason: slim.reason,
        flow: slim.flow,
        name: slim.name,
        restricted: slim.restricted,
        scope,
        registered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_kinds_are_those_of_events() {
        let schemas = crate::domain::event::Event::schemas();
        for kind in Kind::NAMED {
            assert!(
                schemas.iter().any(|schema| schema.event_type == kind.name()),
                "{kind:?}"
            );
            assert_eq!(Kind::of(kind.name()), *kind);
            assert!(Kinds::of(&[*kind]).has(*kind) && !Kinds::of(&[*kind]).has(Kind::Other));
        }
        assert!(Kind::NAMED.len() < 31, "they are bits of a u32");
    }

    proptest::proptest! {
        #[test]
        fn whatever_json_an_event_holds_it_is_read(payload in ".*", metadata in ".*", kind in 0..23_usize) {
            let event_type = Kind::NAMED.get(kind).map_or("", |kind| kind.name());
            let columns = Columns {
                position: 1,
                at: chrono::DateTime::UNIX_EPOCH,
                aggregate_type: "grant",
                aggregate: Uuid::nil(),
                event_type,
                payload: &payload,
                metadata: &metadata,
            };
            let read = Observed::read(&columns, true);
            proptest::prop_assert_eq!(read.position, 1);
        }
    }
}
