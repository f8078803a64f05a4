//! Quarters that were taken out of the ledger: their positions have hashes, and no events any more. The manifest says
//! which positions they are; it is believed only where an event of the log, `PartitionDetached`, has the digest of the
//! very hashes that stand at them.

use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use sqlx::{PgExecutor, PgPool};

use super::EvidenceError;
use super::bounded;
use super::leaf::Row;
use super::store::{self, signed, unsigned};
use super::tree::Hash;
use crate::domain::LedgerEvent;
use crate::domain::trail::{PartitionDetached, TrailEvent};
use crate::domain::value::Digest;

/// The manifest's file in an export.
pub const MANIFEST: &str = "detached";

/// The most bytes of a manifest that is read: some ten millions of ranges.
const MAX_MANIFEST: usize = 1 << 28;

/// Positions from the first to the last, both included.
pub type Positions = (u64, u64);

/// One detached quarter of the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Its name, `grant_2024q1`.
    pub partition: String,
    /// The positions of its events, in order.
    pub ranges: Vec<Positions>,
    /// Where its `PartitionDetached` stands …
    pub position: u64,
    /// … and that event's leaf.
    pub leaf: String,
}

/// The manifest of a database.
pub async fn manifest(pool: &PgPool) -> Result<Vec<Partition>, sqlx::Error> {
    let detached: Vec<(String, i64)> = sqlx::query_as(
        "SELECT partition, event_position FROM grantlog.detached_partitions ORDER BY event_position",
    )
    .fetch_all(pool)
    .await?;
    let mut partitions = Vec::with_capacity(detached.len());
    for (partition, position) in detached {
        let ranges: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT first, last FROM grantlog.detached_ranges WHERE partition = $1 ORDER BY first",
        )
        .bind(&partition)
        .fetch_all(pool)
        .await?;
        let event = store::rows(
            pool,
            (unsigned(position.saturating_sub(1)), unsigned(position)),
            1,
        )
        .await?;
        let leaf = event.first().map(Row::leaf).unwrap_or_default();
        partitions.push(Partition {
            partition,
            ranges: ranges
                .into_iter()
                .map(|(first, last)| (unsigned(first), unsigned(last)))
                .collect(),
            position: unsigned(position),
            leaf: String::from_utf8_lossy(&leaf).into_owned(),
        });
    }
    Ok(partitions)
}

/// The manifest of an export; empty where it has none.
pub fn manifest_of(directory: &Path) -> Result<Vec<Partition>, EvidenceError> {
    let path = directory.join(MANIFEST);
    let read = match bounded::file(&path, MAX_MANIFEST) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(std::io::Error::from),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    };
    read.map_err(|source| EvidenceError::File { path, source })
}

/// The detached ranges that overlap the positions after one and up to another.
pub async fn within(
    executor: impl PgExecutor<'_>,
    (after, upto): (u64, u64),
) -> Result<Vec<Positions>, sqlx::Error> {
    // Ranges do not overlap, so the one that begins before is the one with the greatest first.
    let rows: Vec<(i64, i64)> = sqlx::query_as(
        "(SELECT first, last FROM grantlog.detached_ranges WHERE first <= $1 ORDER BY first DESC LIMIT 1) \
         UNION ALL SELECT first, last FROM grantlog.detached_ranges WHERE first > $1 AND first <= $2 ORDER BY first",
    )
    .bind(signed(after))
    .bind(signed(upto))
    .fetch_all(executor)
    .await?;
    let ranges = rows
        .into_iter()
        .map(|(first, last)| (unsigned(first), unsigned(last)));
    Ok(ranges.filter(|(_, last)| *last > after).collect())
}

/// Whether a position is in one of these ranges.
#[must_use]
pub fn covers(ranges: &[Positions], position: u64) -> bool {
    ranges
        .iter()
        .any(|(first, last)| (*first..=*last).contains(&position))
}

/// The digest of leaves' hashes, one after the other.
pub struct LeavesDigest(Context);

impl Default for LeavesDigest {
    fn default() -> Self {
        Self(Context::new(&SHA256))
    }
}

impl LeavesDigest {
    /// The next hash.
    pub fn add(&mut self, hash: &Hash) {
        self.0.update(hash);
    }

    /// The digest.
    #[must_use]
    pub fn finish(self) -> Digest {
        let mut digest = [0; 32];
        digest.copy_from_slice(self.0.finish().as_ref());
        Digest(digest)
    }
}

/// The event that a leaf is, where it is the detachment of a quarter.
#[must_use]
pub fn detachment(leaf: &[u8]) -> Option<PartitionDetached> {
    let row = Row::parse(leaf).filter(|row| row.aggregate_type == "trail")?;
    match TrailEvent::decode(&row.event_type, row.event_version, &row.payload).ok()? {
        TrailEvent::PartitionDetached(event) => Some(event),
        TrailEvent::ImportCompleted(_)
        | TrailEvent::LedgerRead(_)
        | TrailEvent::LegacyKeyStored(_)
        | TrailEvent::LegacyKeyForgotten(_)
        | TrailEvent::LogKeyGenerated(_)
        | TrailEvent::LogKeyRetired(_)
        | TrailEvent::EpochOpened(_)
        | TrailEvent::RetentionSet(_)
        | TrailEvent::AddressesForgotten(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_covered_by_the_range_that_it_is_in() {
        let ranges = [(3, 5), (9, 9)];
        let covered: Vec<u64> = (1..=10).filter(|position| covers(&ranges, *position)).collect();
        assert_eq!(covered, [3, 4, 5, 9]);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_detachment_or_none(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = detachment(&bytes);
        }
    }
}
