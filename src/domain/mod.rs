//! The domain: aggregates whose decisions are pure functions (state + command + time → events).
//!
//! Nothing here does I/O, reads a clock or knows HTTP. Personal data arrives sealed, credentials arrive as
//! digests.

pub mod alert;
pub mod authorization_detail;
pub mod claim_value;
pub mod client;
pub mod confirmation;
pub mod consent;
pub mod event;
pub mod grant;
pub mod initial_access_token;
pub mod network;
pub mod openid;
pub mod pkce;
pub mod policy;
pub mod redirect_uri;
pub mod refusal;
pub mod retention;
pub mod scope;
pub mod session;
pub mod signing_key;
pub mod ssf_stream;
pub mod status_list;
pub mod stream;
pub mod token_use;
pub mod trail;
pub mod trusted_issuer;
pub mod uri;
pub mod user;
pub mod value;

pub use event::{EventSchema, LedgerEvent, UnknownEvent};

use cqrs_es::Aggregate;

/// What a command comes to: events to append, and an outcome, which may be a refusal whose events are
/// committed all the same (a replayed code revokes its tokens and is still refused).
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<E, O, R> {
    /// To be appended in this order; may be empty.
    pub events: Vec<E>,
    /// What the caller is told, once the events are durable.
    pub outcome: Result<O, R>,
}

impl<E, O, R> Decision<E, O, R> {
    /// The command is accepted.
    pub fn accept(events: Vec<E>, outcome: O) -> Self {
        Self {
            events,
            outcome: Ok(outcome),
        }
    }

    /// The command is refused and nothing changes.
    pub fn refuse(reason: R) -> Self {
        Self {
            events: Vec::new(),
            outcome: Err(reason),
        }
    }

    /// The command is refused, and what it revealed is recorded.
    pub fn refuse_with(events: Vec<E>, reason: R) -> Self {
        Self {
            events,
            outcome: Err(reason),
        }
    }
}

/// An aggregate of the ledger: cqrs-es's [`Aggregate`] whose events are [`LedgerEvent`]s and which has a place
/// in the ledger's table.
pub trait LedgerAggregate: Aggregate<Event: LedgerEvent> + Clone + std::fmt::Debug + 'static {
    /// Which aggregate type this is.
    const KIND: AggregateType;
}

/// The aggregate types, in the order of the design's catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AggregateType {
    /// A registered client.
    Client,
    /// A scope.
    Scope,
    /// A resource owner.
    User,
    /// A browser login.
    Session,
    /// What one user allowed one client.
    Consent,
    /// An authorization and its tokens.
    Grant,
    /// A refused request.
    Refusal,
    /// A key that signs tokens.
    SigningKey,
    /// An act on the ledger as a whole.
    Trail,
    /// Leave to register clients.
    InitialAccessToken,
    /// The trust in an issuer of assertions.
    TrustedIssuer,
    /// By which a client hears of its users.
    SsfStream,
    /// How a rule that watches the ledger is set.
    Policy,
    /// Something that somebody should look at.
    Alert,
    /// A type of authorization details.
    AuthorizationDetailType,
    /// Where the ledger's events are carried to.
    Stream,
    /// A network that somebody guesses from.
    Network,
    /// Counts of uses of tokens.
    TokenUse,
}

impl AggregateType {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Client,
        Self::Scope,
        Self::User,
        Self::Session,
        Self::Consent,
        Self::Grant,
        Self::Refusal,
        Self::SigningKey,
        Self::Trail,
        Self::InitialAccessToken,
        Self::TrustedIssuer,
        Self::SsfStream,
        Self::Policy,
        Self::Alert,
        Self::AuthorizationDetailType,
        Self::Stream,
        Self::Network,
        Self::TokenUse,
    ];

    /// The name in the ledger's `aggregate_type` column.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Scope => "scope",
            Self::User => "user",
            Self::Session => "session",
            Self::Consent => "consent",
            Self::Grant => "grant",
            Self::Refusal => "refusal",
            Self::SigningKey => "signing_key",
            Self::Trail => "trail",
            Self::InitialAccessToken => "initial_access_token",
            Self::TrustedIssuer => "trusted_issuer",
            Self::SsfStream => "ssf_stream",
            Self::Policy => "policy",
            Self::Alert => "alert",
            Self::AuthorizationDetailType => "authorization_detail_type",
            Self::Stream => "stream",
            Self::Network => "network",
            Self::TokenUse => "token_use",
        }
    }

    /// The type with that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// The services that decisions need: none. (cqrs-es asks for a type.)
#[derive(Clone, Copy, Debug, Default)]
pub struct NoServices;

/// Implements cqrs-es's `Aggregate` by way of the pure `decide`, so that its test kit runs our decisions.
/// Events of a refusal are written too; our own executor commits them, cqrs-es's would drop them.
macro_rules! aggregate {
    ($State:ty, $kind:ident, $name:literal, $Command:ty, $Event:ty, $Refusal:ty) => {
        impl cqrs_es::Aggregate for $State {
            const TYPE: &'static str = $name;
            type Command = $Command;
            type Event = $Event;
            type Error = $Refusal;
            type Services = $crate::domain::NoServices;

            async fn handle(
                &mut self,
                command: Self::Command,
                _services: &Self::Services,
                sink: &cqrs_es::event_sink::EventSink<Self>,
            ) -> Result<(), Self::Error> {
                let decision = self.decide(&command);
                for event in decision.events {
                    sink.write(event, self).await;
                }
                decision.outcome.map(|_| ())
            }

            fn apply(&mut self, event: Self::Event) {
                self.evolve(event);
            }
        }

        impl $crate::domain::LedgerAggregate for $State {
            const KIND: $crate::domain::AggregateType = $crate::domain::AggregateType::$kind;
        }
    };
}
pub(crate) use aggregate;
