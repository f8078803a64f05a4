//! The fold of `client_access_tokens`; its contract is `projections/client_access_tokens.sql`.

use uuid::Uuid;

use super::cell::{Cell, Change, Mismatch, RowSink};
use super::known::Known;
use super::recorded::Recorded;
use super::revocation::{Addressing, Mark, Revocable, Revocations};
use super::{Projection, Schema};
use crate::clock::Timestamp;
use crate::domain::AggregateType;
use crate::domain::event::Event;
use crate::domain::grant::{AccessToken, GrantEvent, Target, TokenRevoked};
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

/// What the issuing events have in common.
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

/// Of the events of a refresh.
macro_rules! refreshed {
    ($event:expr, $with_refresh:literal) => {
        Issued {
            client: $event.client,
            subject: $event.subject,
            grant_type: "refresh_token",
            scope: &$event.scope,
            audience: &$event.audience,
            access: &$event.access,
            with_refresh: $with_refresh,
            at: $event.issued_at,
        }
    };
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

    fn revoke(&mut self, recorded: &Recorded, event: &TokenRevoked) {
        let mark = recorded.mark_at(event.at, event.reason.name());
        match event.target {
            Target::Family => self.revocations.family(recorded.aggregate_id, mark),
            Target::Access { sequence, .. } => {
                let sequence = i32::try_from(sequence).unwrap_or(i32::MAX);
                self.revocations.one(recorded.aggregate_id, sequence, mark);
            }
        }
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
            GrantEvent::RefreshRotated(event) => self.issue(recorded, known, &refreshed!(event, true)),
            GrantEvent::AccessTokenRefreshed(event) => self.issue(recorded, known, &refreshed!(event, false)),
            GrantEvent::RefreshRetried(event) => self.issue(recorded, known, &refreshed!(event, true)),
            GrantEvent::TokenRevoked(event) => self.revoke(recorded, event),
            GrantEvent::CodeIssued(_)
            | GrantEvent::TokenExchanged(_)
            | GrantEvent::AssertionAccepted(_)
            | GrantEvent::CodeRedeemed(_)
            | GrantEvent::CodeReplayed(_)
            | GrantEvent::DeviceAuthorizationRequested(_)
            | GrantEvent::DeviceAuthorizationApproved(_)
            | GrantEvent::DeviceAuthorizationDenied(_)
            | GrantEvent::DeviceCodeRedeemed(_)
            | GrantEvent::DeviceCodeReplayed(_)
            | GrantEvent::GrantImported(_)
            | GrantEvent::GrantReplaced(_)
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
            Event::Client(_)
            | Event::Scope(_)
            | Event::User(_)
            | Event::Session(_)
            | Event::Consent(_)
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
            | Event::AuthorizationDetailType(_) => self.revocations.outside(recorded, known),
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
