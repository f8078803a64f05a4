//! The fold of `alerts`; its contract is `projections/alerts.sql`.

use uuid::Uuid;

use super::cell::{Cell, Change, Mismatch, RowSink};
use super::known::Known;
use super::recorded::Recorded;
use super::{Projection, Schema};
use crate::clock::Timestamp;
use crate::domain::AggregateType;
use crate::domain::alert::{AlertEvent, AlertRaised, Cause, ContainmentApplied};
use crate::domain::event::Event;

pub(super) const SCHEMA: Schema = Schema {
    name: "alerts",
    sql: include_str!("../../projections/alerts.sql"),
    fold: 1,
    columns: &[
        "id",
        "alert",
        "rule",
        "rule_version",
        "severity",
        "technique",
        "title",
        "summary",
        "client",
        "subject",
        "grant_id",
        "network",
        "position",
        "happened_at",
        "raised_at",
        "event_count",
        "verdict",
        "action",
        "revoked_grants",
        "acknowledged_at",
        "acknowledged_note",
    ],
};

/// What a containment that no rule led to says in the place of one.
const CONTAINMENT: &str = "containment";

/// The fold's batch: alerts, each from its first event on.
#[derive(Default)]
pub(super) struct Alerts {
    rows: Vec<Row>,
}

struct Row {
    id: i64,
    alert: Uuid,
    raised_at: Timestamp,
    raised: Option<AlertRaised>,
    contained: Option<ContainmentApplied>,
    acknowledged: Option<(Timestamp, Option<String>)>,
}

impl Alerts {
    fn alert(&mut self, recorded: &Recorded, event: &AlertEvent) {
        let alert = recorded.aggregate_id;
        if self.rows.last().is_none_or(|row| row.alert != alert) {
            self.rows.push(Row {
                id: recorded.position,
                alert,
                raised_at: recorded.recorded_at,
                raised: None,
                contained: None,
                acknowledged: None,
            });
        }
        let Some(row) = self.rows.last_mut() else { return };
        match event {
            AlertEvent::AlertRaised(event) => row.raised = Some(event.clone()),
            AlertEvent::ContainmentApplied(event) => row.contained = Some(event.clone()),
            AlertEvent::AlertAcknowledged(event) => {
                row.acknowledged = Some((recorded.recorded_at, event.note.clone()));
            }
        }
    }
}

impl Row {
    fn rule(&self) -> (String, u32) {
        self.raised.as_ref().map_or_else(
            || (CONTAINMENT.to_owned(), 0),
            |raised| (raised.rule.clone(), raised.rule_version),
        )
    }

    fn summary(&self) -> String {
        match (
            &self.raised,
            self.contained.as_ref().map(|contained| &contained.cause),
        ) {
            (Some(raised), _) => raised.summary.clone(),
            (None, Some(Cause::Administrator { reason, .. })) => reason.clone(),
            (None, Some(Cause::Policy { .. }) | None) => String::new(),
        }
    }

    fn cells(self) -> Vec<Cell> {
        let (rule, rule_version) = self.rule();
        let summary = self.summary();
        let raised = self.raised.as_ref();
        let about = raised.map(|raised| raised.about).unwrap_or_default();
        let contained = self.contained.as_ref();
        let (acknowledged_at, note) = self.acknowledged.clone().unzip();
        let position = |position: u64| i64::try_from(position).unwrap_or(i64::MAX);
        let grants = contained.map_or(0, |contained| contained.grants.len());
        vec![
            Cell::Int(Some(self.id)),
            Cell::Uuid(Some(self.alert)),
            Cell::Text(Some(rule)),
            Cell::Small(i32::try_from(rule_version).unwrap_or(i32::MAX)),
            Cell::Word(raised.map(|raised| raised.severity.name())),
            Cell::Text(raised.map(|raised| raised.technique.clone())),
            Cell::Text(Some(raised.map_or_else(
                || "Access was taken away".to_owned(),
                |raised| raised.title.clone(),
            ))),
            Cell::Text(Some(summary)),
            Cell::Uuid(about.client.map(|client| client.0)),
            Cell::Uuid(about.subject.map(|subject| subject.0)),
            Cell::Uuid(about.grant.map(|grant| grant.0)),
            Cell::Text(about.network.map(|network| network.to_string())),
            Cell::Int(raised.map(|raised| position(raised.position))),
            Cell::Time(Some(raised.map_or(self.raised_at, |raised| raised.at))),
            Cell::Time(Some(self.raised_at)),
            Cell::Int(Some(raised.map_or(0, |raised| position(raised.count)))),
            Cell::Word(
                raised
                    .and_then(|raised| raised.dossier.as_ref())
                    .map(|dossier| dossier.verdict.name()),
            ),
            Cell::Word(contained.map(|contained| contained.action.name())),
            Cell::Small(i32::try_from(grants).unwrap_or(i32::MAX)),
            Cell::Time(acknowledged_at),
            Cell::Text(note.flatten()),
        ]
    }
}

impl Projection for Alerts {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn whole(&self) -> Option<AggregateType> {
        Some(AggregateType::Alert)
    }

    fn fold(&mut self, recorded: &Recorded, _known: &Known) {
        // Nothing else is handed to a fold of whole aggregates ([`Projection::whole`]).
        if let Event::Alert(event) = &recorded.event {
            self.alert(recorded, event);
        }
    }

    fn settle(&mut self) {}

    fn rows(&mut self, sink: &mut dyn RowSink) -> Result<(), Mismatch> {
        self.rows.drain(..).try_for_each(|row| sink.row(&row.cells()))
    }

    fn changes(&mut self) -> Result<Vec<Change>, Mismatch> {
        Ok(Vec::new())
    }
}
