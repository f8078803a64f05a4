//! What is not in the ledger any more: quarters that were taken out of it ([`crate::operations::retention`]). Whatever
//! looks through a stretch of the ledger says which of it could not be looked at.

use schemars::JsonSchema;
use serde::Serialize;
use sqlx::PgExecutor;

use super::postings::Stretch;

/// Events of a stretch that have left the ledger with their quarter. Its export has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "MissingEvents")]
pub struct Missing {
    /// The quarter: `grant_2024q1`.
    pub partition: String,
    /// How many of its events are within the stretch.
    pub events: i64,
    /// The first one's position.
    pub first_position: i64,
    /// The last one's position.
    pub last_position: i64,
}

/// What of a stretch is not in the ledger any more, by quarters; nothing where nothing was taken out.
pub async fn missing(executor: impl PgExecutor<'_>, stretch: Stretch) -> Result<Vec<Missing>, sqlx::Error> {
    let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(
        "SELECT partition, sum(least(last, $2) - greatest(first - 1, $1))::bigint, \
                min(greatest(first, $1 + 1)), max(least(last, $2)) \
         FROM grantlog.detached_ranges WHERE last > $1 AND first <= $2 GROUP BY partition ORDER BY 3",
    )
    .bind(stretch.after)
    .bind(stretch.upto)
    .fetch_all(executor)
    .await?;
    let missing = |(partition, events, first_position, last_position)| Missing {
        partition,
        events,
        first_position,
        last_position,
    };
    Ok(rows.into_iter().map(missing).collect())
}
