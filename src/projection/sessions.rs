//! The fold of `sessions`; its contract is `projections/sessions.sql`.

use uuid::Uuid;

use super::cell::{Cell, Change, Mismatch, RowSink};
use super::known::Known;
use super::recorded::Recorded;
use super::{Projection, Schema};
use crate::clock::Timestamp;
use crate::domain::AggregateType;
use crate::domain::event::Event;
use crate::domain::session::SessionEvent;

pub(super) const SCHEMA: Schema = Schema {
    name: "sessions",
    sql: include_str!("../../projections/sessions.sql"),
    fold: 1,
    columns: &[
        "id",
        "session",
        "subject",
        "started_at",
        "authenticated_at",
        "expires_at",
        "amr",
        "password_generation",
        "ended_at",
        "ended_reason",
    ],
};

/// The fold's batch: sessions, each from its first event on.
#[derive(Default)]
pub(super) struct Sessions {
    rows: Vec<Row>,
}

struct Row {
    id: i64,
    session: Uuid,
    subject: Uuid,
    started_at: Timestamp,
    authenticated_at: Timestamp,
    expires_at: Timestamp,
    amr: Vec<String>,
    password_generation: u32,
    ended: Option<(Timestamp, String)>,
}

impl Sessions {
    fn session(&mut self, recorded: &Recorded, event: &SessionEvent) {
        let session = recorded.aggregate_id;
        let row = self.rows.last_mut().filter(|row| row.session == session);
        match (event, row) {
            (SessionEvent::SessionStarted(event), None) => self.rows.push(Row {
                id: recorded.position,
                session,
                subject: event.subject.0,
                started_at: recorded.recorded_at,
                authenticated_at: event.authenticated_at,
                expires_at: event.expires_at,
                amr: event.amr.clone(),
                password_generation: event.password_generation,
                ended: None,
            }),
            (SessionEvent::SessionReauthenticated(event), Some(row)) => {
                row.authenticated_at = event.authenticated_at;
                row.expires_at = event.expires_at;
                row.amr.clone_from(&event.amr);
                row.password_generation = event.password_generation;
            }
            (SessionEvent::SessionEnded(event), Some(row)) => {
                row.ended = Some((recorded.recorded_at, event.reason.clone()));
            }
            // The aggregate lets one that has ended begin anew.
            (SessionEvent::SessionStarted(event), Some(row)) => {
                row.authenticated_at = event.authenticated_at;
                row.expires_at = event.expires_at;
                row.amr.clone_from(&event.amr);
                row.password_generation = event.password_generation;
                row.ended = None;
            }
            // Nothing happens to one that never began.
            (SessionEvent::SessionReauthenticated(_) | SessionEvent::SessionEnded(_), None)
            // Whom it was told to is not of the login itself.
            | (
                SessionEvent::BackchannelLogoutDelivered(_) | SessionEvent::BackchannelLogoutAbandoned(_),
                _,
            ) => {}
        }
    }
}

impl Projection for Sessions {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn whole(&self) -> Option<AggregateType> {
        Some(AggregateType::Session)
    }

    fn fold(&mut self, recorded: &Recorded, _known: &Known) {
        match &recorded.event {
            Event::Session(event) => self.session(recorded, event),
            // Not handed to a fold of whole aggregates ([`Projection::whole`]).
            Event::Client(_)
            | Event::Scope(_)
            | Event::User(_)
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
        self.rows.drain(..).try_for_each(|row| {
            let (ended_at, ended_reason) = row.ended.unzip();
            sink.row(&[
                Cell::Int(Some(row.id)),
                Cell::Uuid(Some(row.session)),
                Cell::Uuid(Some(row.subject)),
                Cell::Time(Some(row.started_at)),
                Cell::Time(Some(row.authenticated_at)),
                Cell::Time(Some(row.expires_at)),
                Cell::Texts(row.amr),
                Cell::Small(i32::try_from(row.password_generation).unwrap_or(i32::MAX)),
                Cell::Time(ended_at),
                Cell::Text(ended_reason),
            ])
        })
    }

    fn changes(&mut self) -> Result<Vec<Change>, Mismatch> {
        Ok(Vec::new())
    }
}
