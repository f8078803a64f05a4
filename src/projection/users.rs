//! The fold of `users`; its contract is `projections/users.sql`.

use uuid::Uuid;

use super::cell::{Cell, Change, Mismatch, RowSink};
use super::known::Known;
use super::recorded::Recorded;
use super::{Projection, Schema};
use crate::clock::Timestamp;
use crate::domain::AggregateType;
use crate::domain::event::Event;
use crate::domain::user::UserEvent;
use crate::domain::value::Sealed;

pub(super) const SCHEMA: Schema = Schema {
    name: "users",
    sql: include_str!("../../projections/users.sql"),
    fold: 1,
    columns: &[
        "id",
        "name",
        "username",
        "password",
        "subject",
        "email",
        "disabled",
        "password_generation",
        "created_at",
        "erased_at",
    ],
};

/// The fold's batch: users, each from its first event on.
#[derive(Default)]
pub(super) struct Users {
    rows: Vec<Row>,
}

struct Row {
    id: i64,
    name: Option<String>,
    username: Option<String>,
    password: Option<String>,
    subject: Uuid,
    email: Option<String>,
    disabled: bool,
    password_generation: i32,
    created_at: Timestamp,
    erased_at: Option<Timestamp>,
}

impl Users {
    fn user(&mut self, recorded: &Recorded, event: &UserEvent, known: &Known) {
        let subject = recorded.aggregate_id;
        if recorded.sequence == 1 {
            self.rows.push(Row::born(recorded));
        }
        let Some(row) = self.rows.last_mut().filter(|row| row.subject == subject) else {
            return;
        };
        let open = |field: &str, sealed: &Sealed| known.open(subject, field, sealed);
        match event {
            UserEvent::UserRegistered(event) => {
                row.username = open("username", &event.username);
                row.name = event.name.as_ref().and_then(|name| open("name", name));
                row.email = event.email.as_ref().and_then(|email| open("email", email));
                row.password = event.password.as_ref().map(|password| password.0.clone());
            }
            UserEvent::PasswordChanged(event) => {
                row.password_generation += 1;
                row.password = Some(event.password.0.clone());
            }
            UserEvent::PasswordRehashed(event) => row.password = Some(event.password.0.clone()),
            UserEvent::ProfileUpdated(event) => {
                if let Some(name) = &event.name {
                    row.name = open("name", name);
                }
                if let Some(email) = &event.email {
                    row.email = open("email", email);
                }
            }
            UserEvent::UserDisabled(_) => {
                row.password_generation += 1;
                row.disabled = true;
            }
            UserEvent::UserEnabled(_) => row.disabled = false,
            UserEvent::SubjectKeyDestroyed(_) => {
                row.password_generation += 1;
                row.erased_at = Some(recorded.recorded_at);
                row.username = None;
                row.name = None;
                row.email = None;
                row.password = None;
            }
            // Further claims are in no table.
            UserEvent::ClaimsUpdated(_)
            | UserEvent::LegalHoldPlaced(_)
            | UserEvent::LegalHoldLifted(_)
            | UserEvent::FreshLoginRequired(_) => {}
        }
    }
}

impl Row {
    fn born(recorded: &Recorded) -> Self {
        Self {
            id: recorded.position,
            name: None,
            username: None,
            password: None,
            subject: recorded.aggregate_id,
            email: None,
            disabled: false,
            password_generation: 0,
            created_at: recorded.recorded_at,
            erased_at: None,
        }
    }
}

impl Projection for Users {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn whole(&self) -> Option<AggregateType> {
        Some(AggregateType::User)
    }

    fn fold(&mut self, recorded: &Recorded, known: &Known) {
        match &recorded.event {
            Event::User(event) => self.user(recorded, event, known),
            // Not handed to a fold of whole aggregates ([`Projection::whole`]).
            Event::Client(_)
            | Event::Scope(_)
            | Event::Session(_)
            | Event::Consent(_)
            | Event::Grant(_)
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
            | Event::AuthorizationDetailType(_) => {}
        }
    }

    fn settle(&mut self) {}

    fn rows(&mut self, sink: &mut dyn RowSink) -> Result<(), Mismatch> {
        for row in self.rows.drain(..) {
            sink.row(&[
                Cell::Int(Some(row.id)),
                Cell::Text(row.name),
                Cell::Text(row.username),
                Cell::Text(row.password),
                Cell::Uuid(Some(row.subject)),
                Cell::Text(row.email),
                Cell::Bool(row.disabled),
                Cell::Small(row.password_generation),
                Cell::Time(Some(row.created_at)),
                Cell::Time(row.erased_at),
            ])?;
        }
        Ok(())
    }

    fn changes(&mut self) -> Result<Vec<Change>, Mismatch> {
        Ok(Vec::new())
    }
}
