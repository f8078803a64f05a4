//! What every event type offers: its columns, its coding and its catalogue entry.

use crate::canonical::CanonicalError;
use crate::domain::alert::AlertEvent;
use crate::domain::authorization_detail::AuthorizationDetailTypeEvent;
use crate::domain::client::ClientEvent;
use crate::domain::consent::ConsentEvent;
use crate::domain::grant::GrantEvent;
use crate::domain::initial_access_token::InitialAccessTokenEvent;
use crate::domain::network::NetworkEvent;
use crate::domain::policy::PolicyEvent;
use crate::domain::refusal::RefusalEvent;
use crate::domain::scope::ScopeEvent;
use crate::domain::session::SessionEvent;
use crate::domain::signing_key::SigningKeyEvent;
use crate::domain::ssf_stream::SsfStreamEvent;
use crate::domain::stream::StreamEvent;
use crate::domain::token_use::TokenUseEvent;
use crate::domain::trail::TrailEvent;
use crate::domain::trusted_issuer::TrustedIssuerEvent;
use crate::domain::user::UserEvent;

/// One line of the event catalogue.
#[derive(Clone, Copy, Debug)]
pub struct EventSchema {
    /// The aggregate type.
    pub aggregate: &'static str,
    /// The event's name, past tense.
    pub event_type: &'static str,
    /// The version of its payload.
    pub version: i16,
    /// What it says.
    pub doc: &'static str,
    /// Its payload: name, Rust type and meaning of each member.
    pub fields: &'static [(&'static str, &'static str, &'static str)],
}

/// An event that the ledger can hold.
pub trait LedgerEvent: cqrs_es::DomainEvent + 'static {
    /// The catalogue of this aggregate's events.
    const SCHEMAS: &'static [EventSchema];
    /// The name in the `event_type` column.
    fn name(&self) -> &'static str;
    /// The number in the `event_version` column.
    fn version(&self) -> i16;
    /// The canonical JSON of its fields.
    fn payload(&self) -> Result<String, CanonicalError>;
    /// Reads an event back. Fails closed on a name or version that this build does not know.
    fn decode(event_type: &str, version: i16, payload: &str) -> Result<Self, UnknownEvent>;
}

/// A stored event that this build cannot read: written by a newer node, or damaged.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("cannot read event {event_type} v{version} of {aggregate}: {why}")]
pub struct UnknownEvent {
    aggregate: String,
    event_type: String,
    version: i16,
    why: String,
}

impl UnknownEvent {
    /// `error` is what the payload's parser said, or none where the name or version is unknown.
    #[must_use]
    pub fn new(aggregate: &str, event_type: &str, version: i16, error: Option<&serde_json::Error>) -> Self {
        let why = error.map_or_else(
            || "this build does not know it (was it written by a newer version?)".to_owned(),
            // Category and place only: serde's message may quote the value.
            |error| {
                format!(
                    "{:?} error in its payload at column {}",
                    error.classify(),
                    error.column()
                )
            },
        );
        Self {
            aggregate: aggregate.to_owned(),
            event_type: event_type.to_owned(),
            version,
            why,
        }
    }
}

/// Any event of the ledger.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each variant's type is documented")]
pub enum Event {
    Client(ClientEvent),
    Scope(ScopeEvent),
    User(UserEvent),
    Session(SessionEvent),
    Consent(ConsentEvent),
    Grant(GrantEvent),
    Refusal(RefusalEvent),
    SigningKey(SigningKeyEvent),
    Trail(TrailEvent),
    InitialAccessToken(InitialAccessTokenEvent),
    TrustedIssuer(TrustedIssuerEvent),
    SsfStream(SsfStreamEvent),
    Policy(PolicyEvent),
    Alert(AlertEvent),
    AuthorizationDetailType(AuthorizationDetailTypeEvent),
    Stream(StreamEvent),
    Network(NetworkEvent),
    TokenUse(TokenUseEvent),
}

impl Event {
    /// Reads an event from the ledger's columns.
    pub fn decode(
        aggregate: &str,
        event_type: &str,
        version: i16,
        payload: &str,
    ) -> Result<Self, UnknownEvent> {
        Ok(match aggregate {
            "client" => Self::Client(ClientEvent::decode(event_type, version, payload)?),
            "scope" => Self::Scope(ScopeEvent::decode(event_type, version, payload)?),
            "user" => Self::User(UserEvent::decode(event_type, version, payload)?),
            "session" => Self::Session(SessionEvent::decode(event_type, version, payload)?),
            "consent" => Self::Consent(ConsentEvent::decode(event_type, version, payload)?),
            "grant" => Self::Grant(GrantEvent::decode(event_type, version, payload)?),
            "refusal" => Self::Refusal(RefusalEvent::decode(event_type, version, payload)?),
            "signing_key" => Self::SigningKey(SigningKeyEvent::decode(event_type, version, payload)?),
            "trail" => Self::Trail(TrailEvent::decode(event_type, version, payload)?),
            "initial_access_token" => {
                Self::InitialAccessToken(InitialAccessTokenEvent::decode(event_type, version, payload)?)
            }

            "trusted_issuer" => {
                Self::TrustedIssuer(TrustedIssuerEvent::decode(event_type, version, payload)?)
            }
            "ssf_stream" => Self::SsfStream(SsfStreamEvent::decode(event_type, version, payload)?),
            "policy" => Self::Policy(PolicyEvent::decode(event_type, version, payload)?),
            "alert" => Self::Alert(AlertEvent::decode(event_type, version, payload)?),
            "authorization_detail_type" => Self::AuthorizationDetailType(
                AuthorizationDetailTypeEvent::decode(event_type, version, payload)?,
            ),
            "stream" => Self::Stream(StreamEvent::decode(event_type, version, payload)?),
            "network" => Self::Network(NetworkEvent::decode(event_type, version, payload)?),
            "token_use" => Self::TokenUse(TokenUseEvent::decode(event_type, version, payload)?),
            _ => return Err(UnknownEvent::new(aggregate, event_type, version, None)),
        })
    }

    /// The whole catalogue.
    #[must_use]
    pub fn schemas() -> Vec<EventSchema> {
        [
            ClientEvent::SCHEMAS,
            ScopeEvent::SCHEMAS,
            UserEvent::SCHEMAS,
            SessionEvent::SCHEMAS,
            ConsentEvent::SCHEMAS,
            GrantEvent::SCHEMAS,
            RefusalEvent::SCHEMAS,
            SigningKeyEvent::SCHEMAS,
            TrailEvent::SCHEMAS,
            InitialAccessTokenEvent::SCHEMAS,
            TrustedIssuerEvent::SCHEMAS,
            SsfStreamEvent::SCHEMAS,
            PolicyEvent::SCHEMAS,
            AlertEvent::SCHEMAS,
            AuthorizationDetailTypeEvent::SCHEMAS,
            StreamEvent::SCHEMAS,
            NetworkEvent::SCHEMAS,
            TokenUseEvent::SCHEMAS,
        ]
        .concat()
    }
}
