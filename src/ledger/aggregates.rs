//! Where the state of aggregates comes from: for a decision from a unit of work, and for an auditor from the ledger as it
//! was at a position. The same rules read both.

use std::sync::Arc;

use sqlx::PgPool;
use uuid::Uuid;

use super::LANE;
use super::load::{Loaded, retrying};
use super::unit::{LedgerError, UnitOfWork};
use crate::clock::Timestamp;
use crate::domain::{LedgerAggregate, LedgerEvent};

/// Aggregates as they are seen together, at one moment.
pub trait Aggregates: Send {
    /// An aggregate; with sequence 0 and the state of nothing where it does not exist.
    fn load<A: LedgerAggregate>(
        &mut self,
        id: Uuid,
    ) -> impl Future<Output = Result<Loaded<A>, LedgerError>> + Send;

    /// The moment.
    fn at(&self) -> Timestamp;
}

impl Aggregates for UnitOfWork<'_> {
    async fn load<A: LedgerAggregate>(&mut self, id: Uuid) -> Result<Loaded<A>, LedgerError> {
        Self::load(self, id).await
    }

    fn at(&self) -> Timestamp {
        Self::at(self)
    }
}

/// Aggregates as they were at a position, folded from their events: no cache, and nothing to append on.
#[derive(Clone, Debug)]
pub struct AggregatesAt {
    pool: PgPool,
    upto: i64,
    at: Timestamp,
}

impl AggregatesAt {
    /// As of a position, and of a moment that is not before it: what has expired by then has.
    #[must_use]
    pub fn new(pool: PgPool, upto: i64, at: Timestamp) -> Self {
        Self { pool, upto, at }
    }
}

impl Aggregates for AggregatesAt {
    async fn load<A: LedgerAggregate>(&mut self, id: Uuid) -> Result<Loaded<A>, LedgerError> {
        // The type is a name of ours, spelled out so that only its partition is planned for.
        let query = format!(
            "SELECT sequence, event_type, event_version, payload::text FROM grantlog.ledger \
             WHERE lane = $1 AND aggregate_type = '{}' AND aggregate_id = $2 AND position <= $3 ORDER BY sequence",
            A::TYPE
        );
        let rows: Vec<(i64, String, i16, String)> = retrying(|| async {
            sqlx::query_as(&query)
                .bind(LANE)
                .bind(id)
                .bind(self.upto)
                .fetch_all(&self.pool)
                .await
        })
        .await?;
        let (mut sequence, mut state) = (0, A::default());
        for (place, event_type, version, payload) in rows {
            state.apply(A::Event::decode(&event_type, version, &payload)?);
            sequence = place;
        }
        Ok(Loaded {
            id,
            sequence,
            state: Arc::new(state),
        })
    }

    fn at(&self) -> Timestamp {
        self.at
    }
}
