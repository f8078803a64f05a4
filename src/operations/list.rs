//! Listing aggregates straight from the ledger, page by page, in the order in which they were created.

use uuid::Uuid;

use super::Operations;
use crate::clock::Timestamp;
use crate::domain::LedgerAggregate;
use crate::ledger::{Actor, Context, LANE, LedgerError, Loaded};

/// An aggregate with its creation.
#[derive(Clone, Debug)]
pub struct Listed<A> {
    /// The position of its first event; the next page begins after it.
    pub position: i64,
    /// When that was recorded.
    pub created_at: Timestamp,
    /// Its state now.
    pub loaded: Loaded<A>,
}

impl Operations {
    /// The aggregates of a type that were created after `position`.
    pub async fn list<A: LedgerAggregate>(
        &self,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Listed<A>>, LedgerError> {
        // The type's own partition, by name. Names are constants.
        let query = format!(
            "SELECT aggregate_id, position, recorded_at FROM grantlog.ledger_{} \
             WHERE lane = $1 AND position > $2 AND sequence = 1 ORDER BY position LIMIT $3",
            A::TYPE
        );
        let rows: Vec<(Uuid, i64, Timestamp)> = sqlx::query_as(&query)
            .bind(LANE)
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(self.ledger.pool())
            .await?;
        let mut listed = Vec::with_capacity(rows.len());
        for (id, position, created_at) in rows {
            let loaded = self.load::<A>(id).await?;
            listed.push(Listed {
                position,
                created_at,
                loaded,
            });
        }
        Ok(listed)
    }

    /// An aggregate as it is now.
    pub async fn load<A: LedgerAggregate>(&self, id: Uuid) -> Result<Loaded<A>, LedgerError> {
        let context = Context::local(Uuid::nil(), Actor::System, "load");
        let mut unit = self.ledger.unit_of_work(&context);
        loop {
            let loaded = unit.load::<A>(id).await?;
            if unit.confirm().await? {
                return Ok(loaded);
            }
        }
    }
}
