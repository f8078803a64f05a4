//! The fold of `consents`; its contract is `projections/consents.sql`.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::cell::{Cell, Change, Mismatch, RowSink};
use super::known::Known;
use super::recorded::Recorded;
use super::{Projection, Schema};
use crate::clock::Timestamp;
use crate::domain::AggregateType;
use crate::domain::consent::ConsentEvent;
use crate::domain::event::Event;
use crate::domain::openid::Claim;
use crate::domain::value::ScopeSet;

pub(super) const SCHEMA: Schema = Schema {
    name: "consents",
    sql: include_str!("../../projections/consents.sql"),
    fold: 2,
    columns: &[
        "id",
        "consent",
        "subject",
        "client_key",
        "scope",
        "claims",
        "given_at",
        "confirmed_at",
        "withdrawn_at",
        "withdrawals",
    ],
};

/// The fold's batch: consents, each from its first event on.
#[derive(Default)]
pub(super) struct Consents {
    rows: Vec<Row>,
}

struct Row {
    id: i64,
    consent: Uuid,
    subject: Uuid,
    client_key: Uuid,
    scope: ScopeSet,
    claims: BTreeSet<Claim>,
    given_at: Timestamp,
    confirmed_at: Timestamp,
    withdrawn_at: Option<Timestamp>,
    withdrawals: i32,
}

impl Consents {
    fn consent(&mut self, recorded: &Recorded, event: &ConsentEvent) {
        let (consent, at) = (recorded.aggregate_id, recorded.recorded_at);
        let row = self.rows.last_mut().filter(|row| row.consent == consent);
        match (event, row) {
            (ConsentEvent::ConsentGiven(given), None) => self.rows.push(Row {
                id: recorded.position,
                consent,
                subject: given.subject.0,
                client_key: given.client.0,
                scope: given.scope.clone(),
                claims: given.claims.clone().unwrap_or_default(),
                given_at: at,
                confirmed_at: at,
                withdrawn_at: None,
                withdrawals: 0,
            }),
            (ConsentEvent::ConsentGiven(given), Some(row)) => {
                if row.scope.is_empty() {
                    row.given_at = at;
                }
                row.confirmed_at = at;
                row.scope = row.scope.union(&given.scope);
                row.claims.extend(given.claims.iter().flatten());
            }
            (ConsentEvent::ConsentWithdrawn(_), Some(row)) => {
                row.scope = ScopeSet::default();
                row.claims.clear();
                row.withdrawn_at = Some(at);
                row.withdrawals += 1;
            }
            // What was never given cannot be withdrawn.
            (ConsentEvent::ConsentWithdrawn(_), None) => {}
        }
    }
}

fn names(claims: &BTreeSet<Claim>) -> String {
    let names: Vec<&str> = claims.iter().map(|claim| claim.name()).collect();
    names.join(" ")
}

impl Projection for Consents {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn whole(&self) -> Option<AggregateType> {
        Some(AggregateType::Consent)
    }

    fn fold(&mut self, recorded: &Recorded, _known: &Known) {
        match &recorded.event {
            Event::Consent(event) => self.consent(recorded, event),
            // Not handed to a fold of whole aggregates ([`Projection::whole`]).
            Event::Client(_)
            | Event::Scope(_)
            | Event::User(_)
            | Event::Session(_)
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
            sink.row(&[
                Cell::Int(Some(row.id)),
                Cell::Uuid(Some(row.consent)),
                Cell::Uuid(Some(row.subject)),
                Cell::Uuid(Some(row.client_key)),
                Cell::Text(Some(row.scope.to_string())),
                Cell::Text(Some(names(&row.claims))),
                Cell::Time(Some(row.given_at)),
                Cell::Time(Some(row.confirmed_at)),
                Cell::Time(row.withdrawn_at),
                Cell::Small(row.withdrawals),
            ])
        })
    }

    fn changes(&mut self) -> Result<Vec<Change>, Mismatch> {
        Ok(Vec::new())
    }
}
