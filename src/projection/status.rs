//! Where each projection stands.

use sqlx::PgPool;

use super::error::ProjectionError;
use crate::clock::Timestamp;
use crate::ledger::LANE;

/// Why a projection is not to be trusted whose cursor is ahead of the ledger.
const BEYOND: &str = "its cursor is beyond the ledger's head, so it skips events: rebuild it";

/// Where one projection stands.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct ProjectionStatus {
    /// Its public name.
    pub name: String,
    /// The version of the table that readers see.
    pub version: String,
    /// Whether that is this build's version; otherwise only a rebuild, or a node of that build, moves it on.
    pub current: bool,
    /// The last position that it shows.
    pub position: i64,
    /// The ledger's last position.
    pub head: i64,
    /// How many events it is behind.
    pub lag: i64,
    /// When it last moved.
    pub moved_at: Timestamp,
    /// The physical table.
    pub table: String,
    /// Why it stands still.
    pub error: Option<String>,
}

/// Where each projection stands, in alphabetical order. One that was never started is not among them.
pub async fn status(pool: &PgPool) -> Result<Vec<ProjectionStatus>, ProjectionError> {
    let mut connection = pool.acquire().await?;
    Ok(read(&mut connection).await?)
}

pub(super) async fn read(connection: &mut sqlx::PgConnection) -> Result<Vec<ProjectionStatus>, sqlx::Error> {
    type Row = (String, i64, String, String, Timestamp, Option<String>, i64);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT c.reader, c.position, c.version, c.table_name, c.moved_at, c.error, h.position \
         FROM grantlog.head AS h, grantlog.cursors AS c \
         WHERE h.lane = $1 AND c.reader = ANY ($2) ORDER BY c.reader COLLATE \"C\"",
    )
    .bind(LANE)
    .bind(super::NAMES.as_slice())
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(
            |(name, position, version, table, moved_at, error, head)| ProjectionStatus {
                current: super::named(&name)
                    .is_some_and(|projection| projection.schema().version() == version),
                name,
                version,
                position,
                head,
                lag: (head - position).max(0),
                moved_at,
                table,
                error: error.or_else(|| (position > head).then(|| BEYOND.to_owned())),
            },
        )
        .collect())
}
