//! An event as rules see it: what they ask of payloads and metadata, and no more, so that history is read fast.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::agent::AgentFamily;
pub use super::kind::{Kind, Kinds};
use crate::clock::Timestamp;
use crate::domain::client::AuthMethod;
use crate::domain::token_use::TokenUses;
use crate::domain::value::{Digest, ScopeSet};
use crate::ids::{ClientKey, GrantId, SessionId, SubjectId};

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
    /// What makes a client what it is, as the text of its metadata.
    pub registered: Option<Registered>,
    /// How many refusals were not recorded one by one.
    pub suppressed: Option<u64>,
    /// Counts of uses of tokens.
    pub uses: Vec<TokenUses>,
}

/// What a change of which makes a client another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// A digest of its redirect URIs.
    pub redirect_uris: Digest,
    /// A digest of its scope.
    pub scope: Digest,
    /// A digest of how it authenticates, and with which keys.
    pub credentials: Digest,
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
    #[serde(borrow)]
    count: Option<&'a RawValue>,
    #[serde(borrow)]
    network: Option<&'a RawValue>,
    #[serde(borrow)]
    uses: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct SlimClient<'a> {
    #[serde(borrow)]
    redirect_uris: Option<&'a RawValue>,
    #[serde(borrow)]
    scope: Option<&'a RawValue>,
    #[serde(borrow)]
    token_endpoint_auth_method: Option<&'a RawValue>,
    #[serde(borrow)]
    jwks: Option<&'a RawValue>,
    #[serde(borrow)]
    jwks_uri: Option<&'a RawValue>,
    #[serde(borrow)]
    tls_client_auth: Option<&'a RawValue>,
}

impl SlimClient<'_> {
    fn registered(&self) -> Registered {
        let digest = |values: &[Option<&RawValue>]| {
            let texts = values.iter().map(|value| value.map_or("", RawValue::get));
            Digest::of(texts.collect::<Vec<_>>().join("\0").as_bytes())
        };
        Registered {
            redirect_uris: digest(&[self.redirect_uris]),
            scope: digest(&[self.scope]),
            credentials: digest(&[
                self.token_endpoint_auth_method,
                self.jwks,
                self.jwks_uri,
                self.tls_client_auth,
            ]),
        }
    }
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
        // Refusals that were counted were so by the server; whose they were is in the payload.
        let counted = slim.as_ref().filter(|_| kind == Kind::RefusalsSuppressed);
        let source = counted.and_then(|slim| parsed(slim.network));
        let mut facts = slim.map(|slim| facts(kind, slim)).unwrap_or_default();
        if kind.concerns_nobody() {
            (facts.client, facts.subject, facts.grant) = (None, None, None);
        }
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
            network: source.or(metadata.as_ref().and_then(|metadata| metadata.network)),
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
            | Kind::RefusalsSuppressed
            | Kind::ClientRegistered
            | Kind::ClientUpdated
            | Kind::ClientSecretAdded
            | Kind::ScopeApproved
            | Kind::ScopeDefined
            | Kind::ScopeChanged
            | Kind::ConsentGiven
            | Kind::SessionStarted
            | Kind::SessionReauthenticated
            | Kind::SubjectKeyDestroyed
            | Kind::TokenUseCounted
            | Kind::PolicyEnabled
            | Kind::PolicyChanged
            | Kind::PolicyDisabled
            | Kind::LedgerRead
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
    let scope = parsed(slim.scope.filter(|_| kind == Kind::ConsentGiven));
    let registered = slim
        .metadata
        .filter(|_| matches!(kind, Kind::ClientRegistered | Kind::ClientUpdated))
        .and_then(|metadata| serde_json::from_str::<SlimClient<'_>>(metadata.get()).ok())
        .map(|client| client.registered());
    let suppressed = slim.count.filter(|_| kind == Kind::RefusalsSuppressed);
    let uses = slim.uses.filter(|_| kind == Kind::TokenUseCounted);
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
        suppressed: parsed(suppressed),
        uses: parsed(uses).unwrap_or_default(),
    }
}

fn parsed<T: serde::de::DeserializeOwned>(value: Option<&RawValue>) -> Option<T> {
    value.and_then(|value| serde_json::from_str(value.get()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn whatever_json_an_event_holds_it_is_read(payload in ".*", metadata in ".*", kind in 0..Kind::NAMED.len()) {
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

    #[test]
    fn whom_somebody_looked_at_is_not_whom_a_rule_is_about() {
        let id = Uuid::from_u128(7);
        let payload = format!(r#"{{"client":"{id}","subject":"{id}","grant":"{id}"}}"#);
        let observed = |event_type| {
            let columns = Columns {
                position: 1,
                at: chrono::DateTime::UNIX_EPOCH,
                aggregate_type: "trail",
                aggregate: Uuid::nil(),
                event_type,
                payload: &payload,
                metadata: "{}",
            };
            let facts = Observed::read(&columns, false).facts;
            (
                facts.client.is_some(),
                facts.subject.is_some(),
                facts.grant.is_some(),
            )
        };
        assert_eq!(observed("LedgerRead"), (false, false, false));
        assert_eq!(observed("RequestRefused"), (true, true, true));
    }
}
