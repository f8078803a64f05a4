//! The fold of `token_uses`; its contract is `projections/token_uses.sql`.

use super::cell::{Cell, Change, Mismatch, RowSink};
use super::known::Known;
use super::recorded::Recorded;
use super::{Projection, Schema};
use crate::clock::Timestamp;
use crate::domain::AggregateType;
use crate::domain::event::Event;
use crate::domain::token_use::{MAX_USES, TokenUseEvent, TokenUses};

pub(super) const SCHEMA: Schema = Schema {
    name: "token_uses",
    sql: include_str!("../../projections/token_uses.sql"),
    fold: 1,
    columns: &[
        "id",
        "position",
        "hour",
        "grant_id",
        "client_key",
        "subject",
        "asked_by",
        "endpoint",
        "network",
        "uses",
        "first_at",
        "last_at",
    ],
};

/// Ids that each position has for its counts.
const IDS: i64 = 1024;
const _: () = assert!(MAX_USES < 1024);

/// The fold's batch: one row per count.
#[derive(Default)]
pub(super) struct Uses {
    rows: Vec<Row>,
}

struct Row {
    id: i64,
    position: i64,
    hour: Timestamp,
    uses: TokenUses,
}

impl Projection for Uses {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn whole(&self) -> Option<AggregateType> {
        Some(AggregateType::TokenUse)
    }

    fn fold(&mut self, recorded: &Recorded, _known: &Known) {
        // Nothing else is handed to a fold of whole aggregates ([`Projection::whole`]).
        let Event::TokenUse(TokenUseEvent::TokenUseCounted(event)) = &recorded.event else {
            return;
        };
        let rows = (0..).zip(&event.uses).map(|(place, uses)| Row {
            id: recorded.position.saturating_mul(IDS).saturating_add(place),
            position: recorded.position,
            hour: event.hour,
            uses: uses.clone(),
        });
        self.rows.extend(rows);
    }

    fn settle(&mut self) {}

    fn rows(&mut self, sink: &mut dyn RowSink) -> Result<(), Mismatch> {
        self.rows.drain(..).try_for_each(|row| {
            let uses = row.uses;
            sink.row(&[
                Cell::Int(Some(row.id)),
                Cell::Int(Some(row.position)),
                Cell::Time(Some(row.hour)),
                Cell::Uuid(Some(uses.grant.0)),
                Cell::Uuid(Some(uses.client.0)),
                Cell::Uuid(uses.subject.map(|subject| subject.0)),
                Cell::Uuid(uses.asked_by.map(|client| client.0)),
                Cell::Text(Some(uses.endpoint)),
                Cell::Text(uses.network.map(|network| network.to_string())),
                Cell::Int(Some(i64::try_from(uses.count).unwrap_or(i64::MAX))),
                Cell::Time(Some(uses.first)),
                Cell::Time(Some(uses.last)),
            ])
        })
    }

    fn changes(&mut self) -> Result<Vec<Change>, Mismatch> {
        Ok(Vec::new())
    }
}
