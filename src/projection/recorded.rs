//! An event as projections take it.

use uuid::Uuid;

use super::known::Known;
use super::revocation::Mark;
use crate::clock::Timestamp;
use crate::domain::AggregateType;
use crate::domain::client::ClientEvent;
use crate::domain::consent::ConsentEvent;
use crate::domain::event::Event;
use crate::domain::grant::GrantEvent;
use crate::domain::user::UserEvent;
use crate::ids::{ClientKey, SubjectId};
use crate::trail::concerns::Columns;
use crate::trail::origins::Indexed;

/// An event with its place in the ledger.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its place in the whole log.
    pub position: i64,
    /// Its aggregate.
    pub aggregate_id: Uuid,
    /// Its place in the aggregate.
    pub sequence: i32,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// What it says.
    pub event: Event,
    /// Its columns as they stand in the ledger, where a projection asks for them.
    pub source: Option<Box<Source>>,
}

/// An event's columns as they stand in the ledger.
#[derive(Clone, Debug)]
pub struct Source {
    /// The aggregate's type.
    pub kind: AggregateType,
    /// The event's name.
    pub event_type: String,
    /// Canonical JSON.
    pub payload: String,
    /// Canonical JSON.
    pub metadata: String,
}

/// The other aggregates that an event's rows point to.
pub(super) enum Parties {
    /// A client, perhaps with a user.
    Client(ClientKey, Option<SubjectId>),
    /// A user alone.
    User(SubjectId),
    /// Those that a consent (the event's own aggregate) is between.
    Consent,
    /// None.
    Nobody,
}

impl Recorded {
    /// Whom a fold may ask for when it takes this event.
    pub(super) fn parties(&self) -> Parties {
        let client = ClientKey(self.aggregate_id);
        let user = SubjectId(self.aggregate_id);
        match &self.event {
            Event::Grant(event) => match event {
                GrantEvent::CodeIssued(event) => Parties::Client(event.client, Some(event.subject)),
                GrantEvent::TokenIssued(event) => Parties::Client(event.client, event.subject),
                GrantEvent::GrantImported(event) => Parties::Client(event.client, event.subject),
                GrantEvent::RefreshRotated(event) => Parties::Client(event.client, event.subject),
                GrantEvent::AccessTokenRefreshed(event) => Parties::Client(event.client, event.subject),
                GrantEvent::RefreshRetried(event) => Parties::Client(event.client, event.subject),
                GrantEvent::CodeRedeemed(_)
                | GrantEvent::TokenExchanged(_)
                | GrantEvent::AssertionAccepted(_)
                | GrantEvent::CodeReplayed(_)
                | GrantEvent::DeviceAuthorizationRequested(_)
                | GrantEvent::DeviceAuthorizationApproved(_)
                | GrantEvent::DeviceAuthorizationDenied(_)
                | GrantEvent::DeviceCodeRedeemed(_)
                | GrantEvent::DeviceCodeReplayed(_)
                | GrantEvent::RefreshReplayed(_)
                | GrantEvent::GrantReplaced(_)
                | GrantEvent::TokenRevoked(_) => Parties::Nobody,
            },
            Event::Client(ClientEvent::ClientRevoked(_)) => Parties::Client(client, None),
            Event::User(
                UserEvent::PasswordChanged(_)
                | UserEvent::UserDisabled(_)
                | UserEvent::SubjectKeyDestroyed(_),
            ) => Parties::User(user),
            Event::Consent(ConsentEvent::ConsentWithdrawn(_)) => Parties::Consent,
            Event::Client(_)
            | Event::User(_)
            | Event::Consent(ConsentEvent::ConsentGiven(_))
            | Event::Scope(_)
            | Event::Session(_)
            | Event::Refusal(_)
            | Event::SigningKey(_)
            | Event::Trail(_)
            | Event::InitialAccessToken(_)
            | Event::TrustedIssuer(_)
            | Event::SsfStream(_)
            | Event::Policy(_)
            | Event::Network(_)
            | Event::TokenUse(_)
            | Event::Stream(_)
            | Event::Alert(_)
            | Event::AuthorizationDetailType(_) => Parties::Nobody,
        }
    }
}

impl Recorded {
    /// The event as the index of the trail takes it.
    pub(super) fn indexed(&self) -> Option<Indexed<'_>> {
        let source = self.source.as_deref()?;
        Some(Indexed {
            sequence: i64::from(self.sequence),
            columns: Columns {
                kind: source.kind,
                aggregate_id: self.aggregate_id,
                event_type: &source.event_type,
                payload: &source.payload,
                metadata: &source.metadata,
            },
        })
    }

    /// The row of the user that this event is about.
    pub(super) fn user(&self, known: &Known) -> Option<i64> {
        known.user(SubjectId(self.aggregate_id), self.position)
    }

    /// The row of the client that this event is about.
    pub(super) fn client(&self, known: &Known) -> Option<i64> {
        known.client(ClientKey(self.aggregate_id), self.position)
    }

    /// The end that this event brings, at the moment it was recorded.
    pub(super) fn mark(&self, reason: &'static str) -> Mark {
        self.mark_at(self.recorded_at, reason)
    }

    /// The end that this event brings, at a moment it names.
    pub(super) fn mark_at(&self, at: Timestamp, reason: &'static str) -> Mark {
        Mark {
            position: self.position,
            at,
            reason,
        }
    }
}

/// The events of clients, users and consents that change rows of grants: those for which
/// [`Recorded::parties`] names somebody. A rebuild applies them after the grants.
/// The detachment of a quarter names nobody: it ends rows by the ids of their grants.
pub(super) const OUTSIDE: [(AggregateType, &[&str]); 4] = [
    (AggregateType::Trail, &["PartitionDetached"]),
    (AggregateType::Client, &["ClientRevoked"]),
    (
        AggregateType::User,
        &["PasswordChanged", "UserDisabled", "SubjectKeyDestroyed"],
    ),
    (AggregateType::Consent, &["ConsentWithdrawn"]),
];
