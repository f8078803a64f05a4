//! The fold of `event_postings`; its contract is `projections/event_postings.sql`.

use sqlx::PgConnection;

use super::cell::{Cell, Change, Mismatch, RowSink};
use super::known::Known;
use super::recorded::Recorded;
use super::{Projection, Schema};
use crate::domain::AggregateType;
use crate::trail::key::Tag;

pub(super) const SCHEMA: Schema = Schema {
    name: "event_postings",
    sql: include_str!("../../projections/event_postings.sql"),
    fold: 1,
    columns: &["id", "keys"],
};

/// How far the index has come; 0 where it is of another version, or not there.
pub(crate) async fn postings_cursor(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    let position: Option<i64> =
        sqlx::query_scalar("SELECT position FROM grantlog.cursors WHERE reader = $1 AND version = $2")
            .bind(SCHEMA.name)
            .bind(SCHEMA.version())
            .fetch_optional(connection)
            .await?;
    Ok(position.unwrap_or(0))
}

/// The fold's batch: events, each on its own.
#[derive(Default)]
pub(super) struct EventPostings {
    rows: Vec<(i64, Vec<Tag>)>,
}

impl Projection for EventPostings {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn whole(&self) -> Option<AggregateType> {
        None
    }

    fn takes_all(&self) -> bool {
        true
    }

    fn fold(&mut self, recorded: &Recorded, known: &Known) {
        if let Some(event) = recorded.indexed() {
            self.rows
                .push((recorded.position, known.origins().concerns(&event)));
        }
    }

    fn settle(&mut self) {}

    fn rows(&mut self, sink: &mut dyn RowSink) -> Result<(), Mismatch> {
        self.rows
            .drain(..)
            .try_for_each(|(id, keys)| sink.row(&[Cell::Int(Some(id)), Cell::Ints(keys)]))
    }

    fn changes(&mut self) -> Result<Vec<Change>, Mismatch> {
        Ok(Vec::new())
    }
}
