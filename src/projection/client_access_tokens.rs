//! The fold of `client_access_tokens`; its contract is `projections/client_access_tokens.sql`.

use uuid::Uuid;

use super::cell::{Cell, Change, Mismatch, RowSink};
use super::known::Known;
use super::recorded::Recorded;
use super::revocation::{Addressing, Mark, Revocable, Revocations};
use super::{Projection, Schema};
use crate::clock::Timestamp;
use crate::domain::AggregateType;
use crate::domain::client::ClientEvent;
use crate::domain::consent::ConsentEvent;
use crate::domain::event::Event;
use crate::domain::grant::{AccessToken, GrantEvent, Target};
use crate::domain::refusal::RefusalEvent;
use crate::domain::scope::ScopeEvent;
use crate::domain::session::SessionEvent;
use crate::domain::signing_key::SigningKeyEvent;
use crate::domain::trail::TrailEvent;
use crate::domain::user::UserEvent;
use crate::domain::value::{Digest, ScopeSet};
use crate::ids::{ClientKey, SubjectId};

pub(super) const SCHEMA: Schema = Schema {
    name: "client_access_tokens",
    sql: include_str!("../../projections/client_access_tokens.sql"),
    fold: 1,
    columns: &[
        "id",
        "client_id",
        "user_id",
        "client_refresh_token_id",
        "access_token",
        "grant_type",
        "scope",
        "audience",
        "expired_at",
        "family",
        "sequence",
        "issued_at",
        "revoked_at",
        "revoked_reason",
        "revoked_position",
    ],
};

/// The fold's batch.
#[derive(Default)]
pub(super) struct AccessTokens {
    rows: Vec<Row>,
    revocations: Revocations,
}

struct Row {
    id: i64,
    client: Option<i64>,
    user: Option<i64>,
    with_refresh: bool,
    digest: Digest,
    grant_type: &'static str,
    scope: String,
    audience: String,
    expires_at: Timestamp,
    family: Uuid,
    sequence: i32,
    issued_at: Timestamp,
    revoked: Option<Mark>,
}

/// What the three issuing events have in common.
struct Issued<'a> {
    client: ClientKey,
    subject: Option<SubjectId>,
    grant_type: &'static str,
    scope: &'a ScopeSet,
    audience: &'a [String],
    access: &'a AccessToken,
    with_refresh: bool,
    at: Timestamp,
}

impl AccessTokens {
    fn issue(&mut self, recorded: &Recorded, known: &Known, issued: &Issued<'_>) {
        self.rows.push(Row {
            id: recorded.position,
            client: known.client(issued.client, recorded.position),
            user: issued
                .subject
                .and_then(|subject| known.user(subject, recorded.position)),
            with_refresh: issued.with_refresh,
            digest: issued.access.digest,
            grant_type: issued.grant_type,
            scope: issued.scope.to_string(),
            audience: issued.audience.join(" "),
            expires_at: issued.access.expires_at,
            family: recorded.aggregate_id,
            sequence: recorded.sequence,
            issued_at: issued.at,
            revoked: None,
        });
    }

    fn grant(&mut self, recorded: &Recorded, event: &GrantEvent, known: &Known) {
        match event {
            GrantEvent::TokenIssued(event) => {
                let issued = Issued {
                    client: event.client,
                    subject: event.subject,
                    grant_type: event.flow.name(),
                    scope: &event.scope,
                    audience: &event.audience,
                    access: &event.access,
                    with_refresh: event.refresh.is_some(),
                    at: event.issued_at,
                };
                self.issue(recorded, known, &issued);
            }
            GrantEvent::RefreshRotated(event) => {
                let issued = Issued {
                    client: event.client,
                    subject: event.subject,
                    grant_type: "refresh_token",
                    scope: &event.scope,
                    audience: &event.audience,
                    access: &event.access,
                    with_refresh: true,
                    at: event.issued_at,
                };
                self.issue(recorded, known, &issued);
            }
            GrantEvent::RefreshRetried(event) => {
                let issued = Issued {
                    client: event.client,
                    subject: event.subject,
                    grant_type: "refresh_token",
                    scope: &event.scope,
                    audience: &event.audience,
                    access: &event.access,
                    with_refresh: true,
                    at: event.issued_at,
                };
                self.issue(recorded, known, &issued);
            }
            GrantEvent::TokenRevoked(event) => {
                let mark = recorded.mark_at(event.at, event.reason.name());
                match event.target {
                    Target::Family => self.revocations.family(recorded.aggregate_id, mark),
                    Target::Access { sequence, .. } => {
                        let sequence = i32::try_from(sequence).unwrap_or(i32::MAX);
                        self.revocations.one(recorded.aggregate_id, sequence, mark);
                    }
                }
            }
            GrantEvent::CodeIssued(_)
            | GrantEvent::CodeRedeemed(_)
            | GrantEvent::CodeReplayed(_)
            | GrantEvent::GrantImported(_)
            | GrantEvent::RefreshReplayed(_) => {}
        }
    }
}

impl Projection for AccessTokens {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn whole(&self) -> Option<AggregateType> {
        None
    }

    fn fold(&mut self, recorded: &Recorded, known: &Known) {
        match &recorded.event {
            Event::Grant(event) => self.grant(recorded, event, known),
            Event::User(UserEvent::PasswordChanged(_)) => {
                self.revocations
                    .user(recorded.user(known), recorded.mark("password_changed"));
            }
            Event::User(UserEvent::UserDisabled(_)) => {
                self.revocations
                    .user(recorded.user(known), recorded.mark("user_disabled"));
            }
            Event::User(UserEvent::SubjectKeyDestroyed(_)) => {
                self.revocations
                    .user(recorded.user(known), recorded.mark("erased"));
            }
            Event::Consent(ConsentEvent::ConsentWithdrawn(_)) => {
                let parties = known.consent(recorded.aggregate_id, recorded.position);
                self.revocations
                    .consent(parties, recorded.mark("consent_withdrawn"));
            }
            Event::Client(ClientEvent::ClientRevoked(_)) => {
                self.revocations
                    .client(recorded.client(known), recorded.mark("client_revoked"));
            }
            Event::Client(
                ClientEvent::ClientRegistered(_)
                | ClientEvent::ClientUpdated(_)
                | ClientEvent::ClientSecretAdded(_)
                | ClientEvent::ClientSecretRetired(_)
                | ClientEvent::ClientSuspended(_)
                | ClientEvent::ClientReinstated(_)
                | ClientEvent::ScopeApprovalRequested(_)
                | ClientEvent::ScopeApproved(_)
                | ClientEvent::ScopeRejected(_)
                | ClientEvent::ScopeApprovalWithdrawn(_),
            )
            | Event::Scope(
                ScopeEvent::ScopeDefined(_) | ScopeEvent::ScopeChanged(_) | ScopeEvent::ScopeRetired(_),
            )
            | Event::User(
                UserEvent::UserRegistered(_)
                | UserEvent::PasswordRehashed(_)
                | UserEvent::ProfileUpdated(_)
                | UserEvent::UserEnabled(_)
                | UserEvent::LegalHoldPlaced(_)
                | UserEvent::LegalHoldLifted(_),
            )
            | Event::Session(
                SessionEvent::SessionStarted(_)
                | SessionEvent::SessionReauthenticated(_)
                | SessionEvent::SessionEnded(_),
            )
            | Event::Consent(ConsentEvent::ConsentGiven(_))
            | Event::Refusal(RefusalEvent::RequestRefused(_) | RefusalEvent::RefusalsSuppressed(_))
            | Event::SigningKey(
                SigningKeyEvent::KeyGenerated(_)
                | SigningKeyEvent::KeyActivated(_)
                | SigningKeyEvent::KeyRetired(_),
            )
            | Event::Trail(TrailEvent::ImportCompleted(_)) => {}
        }
    }

    fn settle(&mut self) {
        self.revocations.settle(&mut self.rows);
    }

    fn rows(&mut self, sink: &mut dyn RowSink) -> Result<(), Mismatch> {
        for row in self.rows.drain(..) {
            let [revoked_at, revoked_reason, revoked_position] = Mark::cells(row.revoked.as_ref());
            sink.row(&[
                Cell::Int(Some(row.id)),
                Cell::Int(row.client),
                Cell::Int(row.user),
                Cell::Int(row.with_refresh.then_some(row.id)),
                Cell::Hex(row.digest),
                Cell::Word(Some(row.grant_type)),
                Cell::Text(Some(row.scope)),
                Cell::Text(Some(row.audience)),
                Cell::Time(Some(row.expires_at)),
                Cell::Uuid(Some(row.family)),
                Cell::Small(row.sequence),
                Cell::Time(Some(row.issued_at)),
                revoked_at,
                revoked_reason,
                revoked_position,
            ])?;
        }
        Ok(())
    }

    fn changes(&mut self) -> Result<Vec<Change>, Mismatch> {
        self.revocations.changes(Addressing {
            number: "sequence",
            outside: "true",
        })
    }
}

impl Revocable for Row {
    fn id(&self) -> i64 {
        self.id
    }

    fn number(&self) -> i32 {
        self.sequence
    }

    fn revoked(&mut self) -> &mut Option<Mark> {
        &mut self.revoked
    }
}
