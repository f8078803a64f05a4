//! Verification: folds the ledger afresh beside the live tables and reports every row that differs, which is
//! how a table that somebody edited is found.
//!
//! The runner goes on meanwhile. Rows are compared a stretch of ids at a time: the cursor is locked, the fresh
//! table is brought to the cursor's position, the stretch is compared, and the runner may fold on.

use std::collections::HashSet;

use sqlx::Connection;

use super::error::ProjectionError;
use super::fold::{Target, fold_batch};
use super::rebuild::{Building, Progress};
use super::schema::Schema;
use crate::crypto::vault::Vault;
use crate::domain::AggregateType;
use crate::ledger::LANE;

/// How many ids are compared under one lock.
const STRETCH: i64 = 100_000;
/// The most differences that are listed.
const LISTED: usize = 10_000;

/// A row's id, whether it is missing, whether it is one too many, and the columns that differ.
type Row = (i64, bool, bool, Vec<String>);

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The ledger makes it, the table lacks it.
    Missing,
    /// The table has it, the ledger does not make it.
    Extra,
    /// These columns hold something else than the ledger says.
    Changed(Vec<String>),
}

/// A row that is not what the ledger says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The projection.
    pub table: &'static str,
    /// The row.
    pub id: i64,
    /// What is wrong with it. Values are not told: they may be secrets.
    pub wrong: Wrong,
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// The position that the last comparison was made at.
    pub position: i64,
    /// Rows that the ledger makes.
    pub rows: i64,
    /// What differs, in order of table and id; at most 10,000 are listed.
    pub differences: Vec<Difference>,
}

impl Verification {
    /// Takes in what was found of a table, as far as there is room.
    fn list(&mut self, table: &'static str, rows: Vec<Row>) {
        let room = LISTED.saturating_sub(self.differences.len());
        let found = rows
            .into_iter()
            .take(room)
            .map(|(id, missing, extra, columns)| Difference {
                table,
                id,
                wrong: match (missing, extra) {
                    (true, _) => Wrong::Missing,
                    (_, true) => Wrong::Extra,
                    (false, false) => Wrong::Changed(columns),
                },
            });
        self.differences.extend(found);
    }
}

/// Compares projections, as their public names show them, with the ledger.
pub async fn verify(
    pool: &sqlx::PgPool,
    vault: &Vault,
    names: &[&str],
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Verification, ProjectionError> {
    let mut building = Building::begin(pool, vault, names).await?;
    let schemas = building.schemas();
    let compared = compare_all(&mut building, progress).await;
    building.discard(&schemas).await?;
    compared
}

async fn compare_all(
    building: &mut Building,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Verification, ProjectionError> {
    // Not the head: a table that lags must not be behind its own fresh fold.
    let cursors: Vec<(String, i64, String)> =
        sqlx::query_as("SELECT reader, position, version FROM grantlog.cursors")
            .fetch_all(&mut building.connection)
            .await?;
    let mut start = i64::MAX;
    for schema in building.schemas() {
        for (_, position, version) in cursors.iter().filter(|(reader, ..)| reader == schema.name) {
            if *version != schema.version() {
                let why = "its table is of another version: rebuild it".to_owned();
                return Err(ProjectionError::StandsStill(schema.name.to_owned(), why));
            }
            start = start.min(*position);
        }
    }
    building.fill(start, progress).await?;
    let mut found = Verification::default();
    let targets = std::mem::take(&mut building.targets);
    for target in targets {
        compare(building, target, start, &mut found).await?;
    }
    Ok(found)
}

/// Compares one table, stretch by stretch.
async fn compare(
    building: &mut Building,
    target: Target,
    start: i64,
    found: &mut Verification,
) -> Result<(), ProjectionError> {
    let schema = target.projection.schema();
    let statement = difference(schema, &target.table);
    let user_rows = target.projection.whole() == Some(AggregateType::User);
    let mut targets = [target];
    let (mut position, mut lower) = (start, i64::MIN);
    loop {
        let mut transaction = building.connection.begin().await?;
        let cursor: i64 =
            sqlx::query_scalar("SELECT position FROM grantlog.cursors WHERE reader = $1 FOR UPDATE")
                .bind(schema.name)
                .fetch_one(&mut *transaction)
                .await?;
        while position < cursor {
            let folded = fold_batch(
                &mut transaction,
                &building.resolver,
                (position, cursor),
                &mut targets,
            )
            .await
            .map_err(|failed| failed.error)?;
            position = if folded.events == 0 { cursor } else { folded.last };
        }
        let next = lower.max(0).saturating_add(STRETCH);
        let upper = if next < position { next } else { i64::MAX };
        let mut rows: Vec<Row> = sqlx::query_as(&statement)
            .bind(lower)
            .bind(upper)
            .fetch_all(&mut *transaction)
            .await?;
        if user_rows {
            let erased = being_erased(&mut transaction, &rows, position).await?;
            rows.retain(|(id, ..)| !erased.contains(id));
        }
        let detached = being_detached(&mut transaction, &rows, position).await?;
        rows.retain(|(id, ..)| !detached.contains(id));
        transaction.commit().await?;
        found.list(schema.name, rows);
        if upper == i64::MAX {
            break;
        }
        lower = upper;
    }
    found.position = found.position.max(position);
    for target in &targets {
        found.rows += sqlx::query_scalar::<_, i64>(&format!("SELECT count(*) FROM public.{}", target.table))
            .fetch_one(&mut building.connection)
            .await?;
    }
    Ok(())
}

/// Of these rows those whose events were detached, which the tables do not show yet: the fresh fold cannot read what made
/// them.
async fn being_detached(
    connection: &mut sqlx::PgConnection,
    rows: &[Row],
    position: i64,
) -> Result<HashSet<i64>, ProjectionError> {
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let ids: Vec<i64> = rows.iter().map(|(id, ..)| *id).collect();
    let detached: Vec<i64> = sqlx::query_scalar(
        "SELECT id FROM unnest($1::bigint[]) AS id \
         JOIN grantlog.detached_ranges AS r ON id BETWEEN r.first AND r.last \
         JOIN grantlog.detached_partitions AS p USING (partition) WHERE p.event_position > $2",
    )
    .bind(ids)
    .bind(position)
    .fetch_all(connection)
    .await?;
    Ok(detached.into_iter().collect())
}

/// Of these rows those of users whose erasure is in the ledger but not in the tables yet: their keys are gone
/// before their rows are blanked, so the fresh fold cannot read what the live one shows.
async fn being_erased(
    connection: &mut sqlx::PgConnection,
    rows: &[Row],
    position: i64,
) -> Result<HashSet<i64>, ProjectionError> {
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let ids: Vec<i64> = rows.iter().map(|(id, ..)| *id).collect();
    let erased: Vec<i64> = sqlx::query_scalar(
        "SELECT born.position FROM grantlog.ledger_user AS born \
         JOIN grantlog.ledger_user AS erased USING (lane, aggregate_type, aggregate_id) \
         WHERE born.lane = $1 AND born.sequence = 1 AND born.position = ANY ($2) \
           AND erased.event_type = 'SubjectKeyDestroyed' AND erased.position > $3",
    )
    .bind(LANE)
    .bind(ids)
    .bind(position)
    .fetch_all(connection)
    .await?;
    Ok(erased.into_iter().collect())
}

/// The rows with ids in `$1 < id <= $2` that differ, and in which columns.
fn difference(schema: &Schema, fresh: &str) -> String {
    let each = |prefix: &str| {
        let columns: Vec<String> = schema
            .columns
            .iter()
            .map(|column| format!("{prefix}.{column}"))
            .collect();
        columns.join(", ")
    };
    let changed: Vec<String> = schema
        .columns
        .iter()
        .map(|column| format!("CASE WHEN live.{column} IS DISTINCT FROM fresh.{column} THEN '{column}' END"))
        .collect();
    format!(
        "SELECT coalesce(fresh.id, live.id), live.id IS NULL, fresh.id IS NULL, \
                array_remove(ARRAY[{changed}], NULL) \
         FROM (SELECT * FROM public.{name} WHERE id > $1 AND id <= $2) AS live \
         FULL JOIN (SELECT * FROM public.{fresh} WHERE id > $1 AND id <= $2) AS fresh ON live.id = fresh.id \
         WHERE live.id IS NULL OR fresh.id IS NULL OR ROW({live_row}) IS DISTINCT FROM ROW({fresh_row}) \
         ORDER BY 1 LIMIT {LISTED}",
        changed = changed.join(", "),
        name = schema.name,
        live_row = each("live"),
        fresh_row = each("fresh"),
    )
}
