//! The fold of `client_refresh_tokens`; its contract is `projections/client_refresh_tokens.sql`.

use uuid::Uuid;

use super::cell::{Cell, Change, Columns, Mismatch, RowSink};
use super::known::Known;
use super::recorded::Recorded;
use super::revocation::{Addressing, Mark, Revocable, Revocations};
use super::{Projection, Schema};
use crate::clock::Timestamp;
use crate::domain::AggregateType;
use crate::domain::event::Event;
use crate::domain::grant::{GrantEvent, GrantImported, RefreshToken, Target, TokenRevoked};
use crate::domain::value::ScopeSet;
use crate::ids::{ClientKey, SubjectId};

pub(super) const SCHEMA: Schema = Schema {
    name: "client_refresh_tokens",
    sql: include_str!("../../projections/client_refresh_tokens.sql"),
    fold: 1,
    columns: &[
        "id",
        "client_id",
        "user_id",
        "refresh_token",
        "grant_type",
        "scope",
        "audience",
        "expired_at",
        "family",
        "sequence",
        "generation",
        "issued_at",
        "used_at",
        "replaced_by",
        "revoked_at",
        "revoked_reason",
        "revoked_position",
    ],
};

/// The fold's batch.
#[derive(Default)]
pub(super) struct RefreshTokens {
    rows: Vec<Row>,
    replacements: Vec<Replacement>,
    revocations: Revocations,
}

struct Row {
    id: i64,
    client: Option<i64>,
    user: Option<i64>,
    grant_type: &'static str,
    scope: String,
    audience: String,
    token: RefreshToken,
    family: Uuid,
    sequence: i32,
    issued_at: Timestamp,
    used_at: Option<Timestamp>,
    replaced_by: Option<i64>,
    revoked: Option<Mark>,
}

/// A generation is replaced by the next row: by use, or unused by a retry of the one before it.
struct Replacement {
    family: Uuid,
    generation: i32,
    used_at: Option<Timestamp>,
    by: i64,
}

/// What the three issuing events have in common.
struct Issued<'a> {
    client: ClientKey,
    subject: Option<SubjectId>,
    grant_type: &'static str,
    scope: &'a ScopeSet,
    audience: &'a [String],
    token: &'a RefreshToken,
    at: Timestamp,
}

impl RefreshTokens {
    fn issue(&mut self, recorded: &Recorded, known: &Known, issued: &Issued<'_>) {
        self.rows.push(Row {
            id: recorded.position,
            client: known.client(issued.client, recorded.position),
            user: issued
                .subject
                .and_then(|subject| known.user(subject, recorded.position)),
            grant_type: issued.grant_type,
            scope: issued.scope.to_string(),
            audience: issued.audience.join(" "),
            token: *issued.token,
            family: recorded.aggregate_id,
            sequence: recorded.sequence,
            issued_at: issued.at,
            used_at: None,
            replaced_by: None,
            revoked: None,
        });
    }

    fn replace(&mut self, recorded: &Recorded, successor: &RefreshToken, used_at: Option<Timestamp>) -> i32 {
        let generation = number(successor) - 1;
        self.replacements.push(Replacement {
            family: recorded.aggregate_id,
            generation,
            used_at,
            by: recorded.position,
        });
        generation
    }

    fn import(&mut self, recorded: &Recorded, event: &GrantImported, known: &Known) {
        let issued = Issued {
            client: event.client,
            subject: event.subject,
            grant_type: event.flow.name(),
            scope: &event.scope,
            audience: &event.audience,
            token: &event.refresh,
            at: event.imported_at,
        };
        self.issue(recorded, known, &issued);
    }

    fn revoke(&mut self, recorded: &Recorded, event: &TokenRevoked) {
        match event.target {
            Target::Family => {
                let mark = recorded.mark_at(event.at, event.reason.name());
                self.revocations.family(recorded.aggregate_id, mark);
            }
            Target::Access { .. } => {}
        }
    }

    fn grant(&mut self, recorded: &Recorded, event: &GrantEvent, known: &Known) {
        match event {
            GrantEvent::TokenIssued(event) => {
                if let Some(token) = &event.refresh {
                    let issued = Issued {
                        client: event.client,
                        subject: event.subject,
                        grant_type: event.flow.name(),
                        scope: &event.scope,
                        audience: &event.audience,
                        token,
                        at: event.issued_at,
                    };
                    self.issue(recorded, known, &issued);
                }
            }
            GrantEvent::GrantImported(event) => self.import(recorded, event, known),
            GrantEvent::RefreshRotated(event) => {
                let issued = Issued {
                    client: event.client,
                    subject: event.subject,
                    grant_type: "refresh_token",
                    scope: &event.scope,
                    audience: &event.audience,
                    token: &event.refresh,
                    at: event.issued_at,
                };
                self.issue(recorded, known, &issued);
                self.replace(recorded, &event.refresh, Some(event.issued_at));
            }
            GrantEvent::RefreshRetried(event) => {
                let issued = Issued {
                    client: event.client,
                    subject: event.subject,
                    grant_type: "refresh_token",
                    scope: &event.scope,
                    audience: &event.audience,
                    token: &event.refresh,
                    at: event.issued_at,
                };
                self.issue(recorded, known, &issued);
                let killed = self.replace(recorded, &event.refresh, None);
                let mark = recorded.mark_at(event.issued_at, "retried");
                self.revocations.one(recorded.aggregate_id, killed, mark);
            }
            GrantEvent::TokenRevoked(event) => self.revoke(recorded, event),
            GrantEvent::CodeIssued(_)
            | GrantEvent::AccessTokenRefreshed(_)
            | GrantEvent::TokenExchanged(_)
            | GrantEvent::AssertionAccepted(_)
            | GrantEvent::CodeRedeemed(_)
            | GrantEvent::CodeReplayed(_)
            | GrantEvent::DeviceAuthorizationRequested(_)
            | GrantEvent::DeviceAuthorizationApproved(_)
            | GrantEvent::DeviceAuthorizationDenied(_)
            | GrantEvent::DeviceCodeRedeemed(_)
            | GrantEvent::DeviceCodeReplayed(_)
            | GrantEvent::GrantReplaced(_)
            | GrantEvent::RefreshReplayed(_) => {}
        }
    }

    fn replacements(&mut self) -> Result<Change, Mismatch> {
        let mut given = Columns::default();
        for replaced in self.replacements.drain(..) {
            given.row(&[
                Cell::Uuid(Some(replaced.family)),
                Cell::Small(replaced.generation),
                Cell::Time(replaced.used_at),
                Cell::Int(Some(replaced.by)),
            ])?;
        }
        Ok(Change {
            sql: "UPDATE {table} AS t SET used_at = e.used_at, replaced_by = e.by \
                  FROM {given} AS e (family, generation, used_at, by) \
                  WHERE t.family = e.family AND t.generation = e.generation AND t.replaced_by IS NULL"
                .to_owned(),
            given,
        })
    }
}

/// A generation, as the table has it.
fn number(token: &RefreshToken) -> i32 {
    i32::try_from(token.generation).unwrap_or(i32::MAX)
}

impl Projection for RefreshTokens {
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
        for replaced in self.replacements.drain(..) {
            if let Ok(place) = self
                .rows
                .binary_search_by_key(&replaced.generation, Revocable::number)
                && let Some(row) = self.rows.get_mut(place)
                && row.replaced_by.is_none()
            {
                row.used_at = replaced.used_at;
                row.replaced_by = Some(replaced.by);
            }
        }
        self.revocations.settle(&mut self.rows);
    }

    fn rows(&mut self, sink: &mut dyn RowSink) -> Result<(), Mismatch> {
        for row in self.rows.drain(..) {
            let [revoked_at, revoked_reason, revoked_position] = Mark::cells(row.revoked.as_ref());
            sink.row(&[
                Cell::Int(Some(row.id)),
                Cell::Int(row.client),
                Cell::Int(row.user),
                Cell::Hex(row.token.digest),
                Cell::Word(Some(row.grant_type)),
                Cell::Text(Some(row.scope)),
                Cell::Text(Some(row.audience)),
                Cell::Time(Some(row.token.expires_at)),
                Cell::Uuid(Some(row.family)),
                Cell::Small(row.sequence),
                Cell::Small(number(&row.token)),
                Cell::Time(Some(row.issued_at)),
                Cell::Time(row.used_at),
                Cell::Int(row.replaced_by),
                revoked_at,
                revoked_reason,
                revoked_position,
            ])?;
        }
        Ok(())
    }

    fn changes(&mut self) -> Result<Vec<Change>, Mismatch> {
        let replaced = self.replacements()?;
        let mut changes = self.revocations.changes(Addressing {
            number: "generation",
            outside: "true",
        })?;
        changes.push(replaced);
        Ok(changes)
    }
}

impl Revocable for Row {
    fn id(&self) -> i64 {
        self.id
    }

    fn number(&self) -> i32 {
        number(&self.token)
    }

    fn revoked(&mut self) -> &mut Option<Mark> {
        &mut self.revoked
    }
}
