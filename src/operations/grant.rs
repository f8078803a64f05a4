//! Grants, as an administrator sees them.

use super::{OperationError, Operations};
use crate::domain::grant::{Grant, GrantRefusal, Reason, Revoke, Target};
use crate::ids::GrantId;
use crate::ledger::{Context, LANE, LedgerError, StoredEvent};

/// An event's columns, as they are read.
type EventRow = (
    i64,
    String,
    uuid::Uuid,
    i64,
    String,
    i16,
    String,
    String,
    crate::clock::Timestamp,
);

impl Operations {
    /// Ends a grant and everything that came of it. Ending it twice appends nothing.
    pub async fn revoke_grant(&self, context: &Context, grant: GrantId) -> Result<(), OperationError> {
        Ok(self.end_grant(context, grant, Reason::Administrator).await??)
    }

    /// As [`Self::revoke_grant`], for a reason.
    pub(super) async fn end_grant(
        &self,
        context: &Context,
        grant: GrantId,
        reason: Reason,
    ) -> Result<Result<(), GrantRefusal>, LedgerError> {
        let command = Revoke {
            client: None,
            target: Target::Family,
            reason,
            at: self.ledger.clock().now(),
        };
        let mut unit = self.ledger.unit_of_work(context);
        loop {
            let state = unit.load::<Grant>(grant.0).await?;
            unit.about(state.family.as_ref().and_then(|family| family.subject));
            if let Some(concluded) = unit.conclude(&state, state.revoke(&command)).await? {
                return Ok(concluded.outcome.map(|_| ()));
            }
        }
    }

    /// All events of a grant, in order.
    pub async fn grant_events(&self, grant: GrantId) -> Result<Vec<StoredEvent>, LedgerError> {
        self.events(
            "aggregate_type = 'grant' AND aggregate_id = $2 ORDER BY sequence",
            grant.0,
        )
        .await
    }

    /// The events after a position, at most `limit`.
    pub async fn events_after(&self, position: i64, limit: u32) -> Result<Vec<StoredEvent>, LedgerError> {
        self.events(
            &format!("position > $2 ORDER BY position LIMIT {limit}"),
            position,
        )
        .await
    }

    /// The events at these positions, in their order.
    pub async fn events_at(&self, positions: &[i64]) -> Result<Vec<StoredEvent>, LedgerError> {
        if positions.is_empty() {
            return Ok(Vec::new());
        }
        self.events("position = ANY ($2) ORDER BY position", positions)
            .await
    }

    async fn events<B>(&self, condition: &str, value: B) -> Result<Vec<StoredEvent>, LedgerError>
    where
        B: for<'q> sqlx::Encode<'q, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send,
    {
        let query = format!(
            "SELECT position, aggregate_type, aggregate_id, sequence, event_type, event_version, \
             payload::text, metadata::text, recorded_at FROM grantlog.ledger WHERE lane = $1 AND {condition}"
        );
        let rows: Vec<EventRow> = sqlx::query_as(&query)
            .bind(LANE)
            .bind(value)
            .fetch_all(self.ledger.pool())
            .await?;
        Ok(rows.into_iter().map(stored).collect())
    }
}

fn stored(row: EventRow) -> StoredEvent {
    let (
        position,
        aggregate_type,
        aggregate_id,
        sequence,
        event_type,
        event_version,
        payload,
        metadata,
        recorded_at,
    ) = row;
    StoredEvent {
        position,
        aggregate_type,
        aggregate_id,
        sequence,
        event_type,
        event_version,
        payload,
        metadata,
        recorded_at,
    }
}
