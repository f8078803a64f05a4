//! The swap: in one short transaction the new tables take in the last events, the public views are pointed at
//! them, and the cursors say so. A reader of a view sees the old table or the new one.

use std::time::Duration;

use sqlx::Connection;

use super::building::Building;
use crate::projection::fold::{BATCH, fold_batch};
use crate::projection::{ProjectionError, error, install};

/// How often a lock is asked for before the swap is given up. Each try waits a quarter of a second at most, so
/// that readers never queue behind it for longer.
const TRIES: u32 = 120;

/// Catches up and swaps.
pub(super) async fn swap(building: &mut Building) -> Result<(), ProjectionError> {
    for _ in 0..TRIES {
        let head = building.head().await?;
        building.catch_up(head).await?;
        match try_swap(building).await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(ProjectionError::Database(error)) if error::is_lock_timeout(&error) => {
                tracing::debug!("a projection is in use, trying the swap again");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => return Err(error),
        }
    }
    Err(ProjectionError::Busy)
}

/// False where too much came in meanwhile to be folded under locks.
async fn try_swap(building: &mut Building) -> Result<bool, ProjectionError> {
    let schemas = building.schemas();
    let names: Vec<&str> = schemas.iter().map(|schema| schema.name).collect();
    let mut transaction = building.connection.begin().await?;
    // The one commit here that must be on disk: it makes everything before it so.
    install::execute(&mut transaction, "SET LOCAL lock_timeout = '250ms'").await?;
    install::execute(&mut transaction, "SET LOCAL synchronous_commit = on").await?;
    sqlx::query("SELECT FROM grantlog.cursors WHERE reader = ANY ($1) ORDER BY reader FOR UPDATE")
        .bind(&names)
        .execute(&mut *transaction)
        .await?;
    let mut position = building.position;
    for rounds in 0.. {
        let folded = fold_batch(
            &mut transaction,
            &building.resolver,
            (position, i64::MAX),
            &mut building.targets,
        )
        .await
        .map_err(|failed| failed.error)?;
        position = folded.last;
        let more = i64::try_from(folded.events).is_ok_and(|events| events >= BATCH);
        if !more {
            break;
        }
        if rounds >= 3 {
            return Ok(false);
        }
    }
    for (schema, target) in schemas.iter().zip(&building.targets) {
        install::point_view(&mut transaction, schema, &target.table).await?;
        sqlx::query(
            "UPDATE grantlog.cursors SET position = $2, version = $3, table_name = $4, \
             moved_at = clock_timestamp(), failed_at = NULL, error = NULL WHERE reader = $1",
        )
        .bind(schema.name)
        .bind(position)
        .bind(schema.version())
        .bind(&target.table)
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    building.position = position;
    Ok(true)
}

/// Drops the tables that were replaced. One that somebody reads for long is left to the next rebuild.
pub(super) async fn drop_replaced(building: &mut Building) -> Result<(), ProjectionError> {
    let schemas = building.schemas();
    install::execute(&mut building.connection, "SET lock_timeout = '250ms'").await?;
    for _ in 0..TRIES {
        match install::drop_leftovers(&mut building.connection, &schemas).await {
            Err(ProjectionError::Database(error)) if error::is_lock_timeout(&error) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            result => return result,
        }
    }
    tracing::warn!("a replaced projection table is in use and stays until the next rebuild");
    Ok(())
}
