//! The fold of `client_authorization_codes`; its contract is `projections/client_authorization_codes.sql`.

use uuid::Uuid;

use super::cell::{Cell, Change, Columns, Mismatch, RowSink};
use super::known::Known;
use super::recorded::Recorded;
use super::revocation::{Addressing, Mark, Revocable, Revocations};
use super::{Projection, Schema};
use crate::clock::Timestamp;
use crate::domain::AggregateType;
use crate::domain::event::Event;
use crate::domain::grant::{CodeIssued, GrantEvent, Target};
use crate::domain::pkce::Method;
use crate::domain::value::Digest;
use crate::ids::SessionId;

pub(super) const SCHEMA: Schema = Schema {
    name: "client_authorization_codes",
    sql: include_str!("../../projections/client_authorization_codes.sql"),
    fold: 1,
    columns: &[
        "id",
        "client_id",
        "user_id",
        "code",
        "scope",
        "is_used",
        "redirect_uri",
        "expired_at",
        "family",
        "pkce_method",
        "session_id",
        "issued_at",
        "used_at",
        "used_position",
        "replayed_at",
        "revoked_at",
        "revoked_reason",
        "revoked_position",
    ],
};

/// The fold's batch.
#[derive(Default)]
pub(super) struct Codes {
    rows: Vec<Row>,
    uses: Vec<Use>,
    replays: Vec<(Uuid, Timestamp)>,
    revocations: Revocations,
}

struct Row {
    id: i64,
    client: Option<i64>,
    user: Option<i64>,
    digest: Digest,
    scope: Vec<String>,
    redirect_uri: String,
    expires_at: Timestamp,
    family: Uuid,
    pkce_method: Option<&'static str>,
    session: Option<SessionId>,
    issued_at: Timestamp,
    used: Option<(Timestamp, i64)>,
    replayed_at: Option<Timestamp>,
    revoked: Option<Mark>,
}

struct Use {
    family: Uuid,
    at: Timestamp,
    position: i64,
}

impl Codes {
    fn issue(&mut self, recorded: &Recorded, event: &CodeIssued, known: &Known) {
        self.rows.push(Row {
            id: recorded.position,
            client: known.client(event.client, recorded.position),
            user: known.user(event.subject, recorded.position),
            digest: event.digest,
            scope: event.scope.iter().map(str::to_owned).collect(),
            redirect_uri: event.redirect_uri.clone(),
            expires_at: event.expires_at,
            family: recorded.aggregate_id,
            pkce_method: event.challenge.as_ref().map(|challenge| match challenge.method {
                Method::S256 => "S256",
                Method::Plain => "plain",
            }),
            session: event.session,
            issued_at: event.issued_at,
            used: None,
            replayed_at: None,
            revoked: None,
        });
    }

    fn grant(&mut self, recorded: &Recorded, event: &GrantEvent, known: &Known) {
        let family = recorded.aggregate_id;
        match event {
            GrantEvent::CodeIssued(event) => self.issue(recorded, event, known),
            GrantEvent::CodeRedeemed(event) => self.uses.push(Use {
                family,
                at: event.at,
                position: recorded.position,
            }),
            GrantEvent::CodeReplayed(event) => self.replays.push((family, event.at)),
            GrantEvent::TokenRevoked(event) => match event.target {
                Target::Family => {
                    let mark = recorded.mark_at(event.at, event.reason.name());
                    self.revocations.family(family, mark);
                }
                Target::Access { .. } => {}
            },
            GrantEvent::TokenIssued(_)
            | GrantEvent::DeviceAuthorizationRequested(_)
            | GrantEvent::DeviceAuthorizationApproved(_)
            | GrantEvent::DeviceAuthorizationDenied(_)
            | GrantEvent::DeviceCodeRedeemed(_)
            | GrantEvent::DeviceCodeReplayed(_)
            | GrantEvent::TokenExchanged(_)
            | GrantEvent::AssertionAccepted(_)
            | GrantEvent::GrantImported(_)
            | GrantEvent::RefreshRotated(_)
            | GrantEvent::AccessTokenRefreshed(_)
            | GrantEvent::RefreshRetried(_)
            | GrantEvent::GrantReplaced(_)
            | GrantEvent::RefreshReplayed(_) => {}
        }
    }

    fn uses(&mut self) -> Result<Change, Mismatch> {
        let mut given = Columns::default();
        for used in self.uses.drain(..) {
            given.row(&[
                Cell::Uuid(Some(used.family)),
                Cell::Time(Some(used.at)),
                Cell::Int(Some(used.position)),
            ])?;
        }
        Ok(Change {
            sql: "UPDATE {table} AS t SET is_used = true, used_at = e.at, used_position = e.position \
                  FROM {given} AS e (family, at, position) \
                  WHERE t.family = e.family AND t.used_position IS NULL"
                .to_owned(),
            given,
        })
    }

    fn replays(&mut self) -> Result<Change, Mismatch> {
        let mut given = Columns::default();
        for (family, at) in self.replays.drain(..) {
            given.row(&[Cell::Uuid(Some(family)), Cell::Time(Some(at))])?;
        }
        Ok(Change {
            sql: "UPDATE {table} AS t SET replayed_at = e.at FROM {given} AS e (family, at) \
                  WHERE t.family = e.family AND t.replayed_at IS NULL"
                .to_owned(),
            given,
        })
    }
}

impl Projection for Codes {
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
        // A grant has one code.
        if let Some(row) = self.rows.last_mut() {
            if let Some(used) = self.uses.first() {
                row.used = Some((used.at, used.position));
            }
            row.replayed_at = self.replays.first().map(|(_, at)| *at);
        }
        self.uses.clear();
        self.replays.clear();
        self.revocations.settle(&mut self.rows);
    }

    fn rows(&mut self, sink: &mut dyn RowSink) -> Result<(), Mismatch> {
        for row in self.rows.drain(..) {
            let [revoked_at, revoked_reason, revoked_position] = Mark::cells(row.revoked.as_ref());
            sink.row(&[
                Cell::Int(Some(row.id)),
                Cell::Int(row.client),
                Cell::Int(row.user),
                Cell::Hex(row.digest),
                Cell::Texts(row.scope),
                Cell::Bool(row.used.is_some()),
                Cell::Text(Some(row.redirect_uri)),
                Cell::Time(Some(row.expires_at)),
                Cell::Uuid(Some(row.family)),
                Cell::Word(row.pkce_method),
                Cell::Uuid(row.session.map(Uuid::from)),
                Cell::Time(Some(row.issued_at)),
                Cell::Time(row.used.map(|(at, _)| at)),
                Cell::Int(row.used.map(|(_, position)| position)),
                Cell::Time(row.replayed_at),
                revoked_at,
                revoked_reason,
                revoked_position,
            ])?;
        }
        Ok(())
    }

    fn changes(&mut self) -> Result<Vec<Change>, Mismatch> {
        let mut changes = vec![self.uses()?, self.replays()?];
        changes.extend(self.revocations.changes(Addressing {
            number: "id",
            outside: "(r.used_position IS NULL OR e.position < r.used_position)",
        })?);
        Ok(changes)
    }
}

impl Revocable for Row {
    fn id(&self) -> i64 {
        self.id
    }

    fn number(&self) -> i32 {
        1
    }

    fn revoked(&mut self) -> &mut Option<Mark> {
        &mut self.revoked
    }
}
