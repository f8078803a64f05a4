//! The rebuild: a projection is built anew beside the table that readers see, and takes its place.
//!
//! The ledger is read in primary-key order, each grant's events together, and each aggregate is folded in
//! memory to its final rows, which are copied (`COPY`) into tables without indexes. Indexes come next, then what events
//! of users, consents and clients ended, then the events since the reading began, by position; then the swap.
//! Memory is bounded by one grant and a few pages. A rebuild that dies leaves tables that nobody sees; the next
//! one drops them.

mod building;
mod bulk;
mod pace;
mod pages;
mod swap;

use std::time::Duration;

use sqlx::PgPool;
use tokio::task::JoinSet;

pub(super) use building::Building;

use super::error::ProjectionError;
use crate::crypto::vault::Vault;

/// What a rebuild is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Reading the ledger and writing rows.
    Reading,
    /// Building indexes.
    Indexing,
    /// Folding what came in meanwhile, and swapping.
    CatchingUp,
}

/// How far a rebuild is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// Events read.
    pub done: u64,
    /// Events of the ledger when the reading began. Some belong to aggregates that no projection is made of.
    pub total: u64,
}

/// What a rebuild came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// The position that the new tables show.
    pub position: i64,
    /// Events read in bulk.
    pub events: u64,
    /// How long it took, from the first statement to the swap.
    pub took: Duration,
}

/// Rebuilds projections, all of them from one reading of the ledger. Readers and appends go on meanwhile.
pub async fn rebuild(
    pool: &PgPool,
    vault: &Vault,
    names: &[&str],
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Rebuilt, ProjectionError> {
    let started = crate::clock::monotonic();
    let mut building = Building::begin(pool, vault, names).await?;
    let start = building.head().await?;
    let filled = building.fill_telling(start, progress).await;
    if let Err(error) = filled {
        let schemas = building.schemas();
        if let Err(left) = building.discard(&schemas).await {
            tracing::warn!(error = %left, "a rebuild left tables behind; the next one drops them");
        }
        return Err(error);
    }
    swap::swap(&mut building).await?;
    let rebuilt = Rebuilt {
        position: building.position,
        events: building.events(),
        took: crate::clock::monotonic().duration_since(started),
    };
    swap::drop_replaced(&mut building).await?;
    building.end().await?;
    Ok(rebuilt)
}

/// As many parts of the work at once as there are processors.
fn workers() -> u32 {
    std::thread::available_parallelism()
        .ok()
        .and_then(|count| u32::try_from(count.get()).ok())
        .unwrap_or(2)
        .clamp(1, 8)
}

/// Waits for all tasks; the first failure that is not a consequence of another ends them.
async fn join(mut tasks: JoinSet<Result<(), ProjectionError>>) -> Result<(), ProjectionError> {
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|_| ProjectionError::Interrupted)??;
    }
    Ok(())
}
