//! Making proofs: of an event, and from an older checkpoint.

use std::collections::BTreeSet;

use sqlx::PgPool;
use uuid::Uuid;

use super::EvidenceError;
use super::detached;
use super::proof::{ConsistencyProof, InclusionProof};
use super::store::{self, Log, signed, unsigned};
use super::tree::{consistency_ranges, inclusion_ranges, verify_inclusion};
use crate::domain::event::Event;
use crate::ledger::LANE;

/// The proof of the event at a position; none where no checkpoint covers it yet. The event itself is in it.
pub async fn inclusion(pool: &PgPool, position: u64) -> Result<Option<InclusionProof>, EvidenceError> {
    let log = store::read(pool).await?;
    let Some(index) = position.checked_sub(1) else {
        return Ok(None);
    };
    let (Some(ranges), Some(checkpoint)) = (
        inclusion_ranges(index, log.size),
        store::published(pool, &log).await?,
    ) else {
        return Ok(None);
    };
    let hashes = store::answer(pool, &ranges)
        .await?
        .ok_or(EvidenceError::Tiles(log.size))?;
    let rows = store::rows(pool, (index, position), 2).await?;
    let [row] = rows.as_slice() else {
        let gone = detached::within(pool, (index, position)).await?;
        return Err(if detached::covers(&gone, position) {
            EvidenceError::Detached(position)
        } else {
            EvidenceError::Gap(position)
        });
    };
    if !verify_inclusion((index, &row.hash()), (log.size, &log.root), &hashes) {
        return Err(EvidenceError::Changed(position));
    }
    Ok(Some(InclusionProof {
        leaf: Some(row.leaf()),
        index,
        hashes,
        checkpoint,
    }))
}

/// The proof that the tree of a log begins with that of `old` events; none where it is smaller, or has no checkpoint.
pub async fn consistency(
    pool: &PgPool,
    log: &Log,
    old: u64,
) -> Result<Option<ConsistencyProof>, EvidenceError> {
    let (Some(ranges), Some(checkpoint)) = (
        consistency_ranges(old, log.size),
        store::published(pool, log).await?,
    ) else {
        return Ok(None);
    };
    let hashes = store::answer(pool, &ranges)
        .await?
        .ok_or(EvidenceError::Tiles(log.size))?;
    Ok(Some(ConsistencyProof {
        old,
        hashes,
        checkpoint,
    }))
}

/// The positions of an aggregate's events, or of one of them.
pub async fn positions(
    pool: &PgPool,
    aggregate: Uuid,
    sequence: Option<u64>,
) -> Result<Vec<u64>, EvidenceError> {
    // The index is by type and id: without the types all of it would be read.
    let types: BTreeSet<_> = Event::schemas().iter().map(|schema| schema.aggregate).collect();
    let positions: Vec<i64> = sqlx::query_scalar(
        "SELECT position FROM grantlog.ledger WHERE lane = $1 AND aggregate_id = $2 \
           AND ($3::bigint IS NULL OR sequence = $3) AND aggregate_type = ANY ($4) ORDER BY position",
    )
    .bind(LANE)
    .bind(aggregate)
    .bind(sequence.map(signed))
    .bind(Vec::from_iter(types))
    .fetch_all(pool)
    .await?;
    Ok(positions.into_iter().map(unsigned).collect())
}
