//! The archive of a quarter: an export that has all of its events, and that verifies, before they leave the ledger.

use std::path::Path;

use sqlx::PgPool;

use super::EvidenceError;
use super::bounded;
use super::checkpoint::{self, CheckpointError};
use super::detached::LeavesDigest;
use super::export::{self, ExportError};
use super::leaf::{COLUMNS, Row};
use super::note::MAX_NOTE;
use super::store::{self, signed, unsigned};
use super::tile::WIDTH;
use super::tree::leaf_hash;
use super::verify::{Anchor, Found, Page, Place, verify};
use crate::domain::value::Digest;
use crate::ledger::LANE;

/// Rows read at once.
const PAGE: i64 = 1_000;

/// Why a quarter is not archived.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It could not be exported.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// It could not be read.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// The export's checkpoint cannot be read.
    #[error("the export's checkpoint cannot be read: {0}")]
    File(#[from] std::io::Error),
    /// It is not of this log.
    #[error("the export's checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// It does not verify.
    #[error("the export does not verify: first bad position {0}: {1}")]
    Changed(u64, String),
    /// An event of the quarter is not in it.
    #[error("the export has not the event of position {0}, or another one")]
    Missing(u64),
}

/// Exports the log to a directory (or carries an export on), verifies it, and sees to it that each event of a partition
/// is in it as it is in the ledger. Returns the digest of its leaves' hashes.
pub async fn archive(
    pool: &PgPool,
    directory: &Path,
    partition: &str,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Digest, ArchiveError> {
    let exported = export::export(pool, directory, 0, progress).await?;
    let keys = store::verifier_keys(pool).await.map_err(EvidenceError::from)?;
    let note = bounded::text(&directory.join(export::CHECKPOINT), MAX_NOTE)?;
    let (checkpoint, _) = checkpoint::open(&note, &keys)?;
    let place = Place::Directory(directory.to_owned());
    let anchor = Anchor {
        from: directory.display().to_string(),
        checkpoint,
    };
    let report = verify(&place, vec![anchor], &[], &mut |done| {
        progress(done, exported.size);
    })
    .await?;
    if let Some(finding) = report.finding {
        return Err(ArchiveError::Changed(finding.first_bad_position, finding.detail));
    }
    compare(pool, &place, (partition, exported.size)).await
}

/// Every row of the partition against the export.
async fn compare(
    pool: &PgPool,
    place: &Place,
    (partition, size): (&str, u64),
) -> Result<Digest, ArchiveError> {
    // The name is one that the database gave.
    let query = format!(
        "SELECT {COLUMNS} FROM grantlog.\"ledger_{partition}\" WHERE lane = $1 AND position > $2 \
         ORDER BY position LIMIT {PAGE}"
    );
    let mut digest = LeavesDigest::default();
    let mut bundle: (Option<u64>, Vec<Found>) = (None, Vec::new());
    let mut after = 0_u64;
    loop {
        let rows: Vec<Row> = sqlx::query_as(&query)
            .bind(LANE)
            .bind(signed(after))
            .fetch_all(pool)
            .await
            .map_err(EvidenceError::from)?;
        let Some(last) = rows.last() else {
            return Ok(digest.finish());
        };
        after = unsigned(last.position);
        for row in &rows {
            let position = unsigned(row.position);
            let index = position.saturating_sub(1) / WIDTH;
            if bundle.0 != Some(index) {
                let width = WIDTH.min(size.saturating_sub(index * WIDTH));
                let page = place.page(index, width).await?;
                let (Page::Events(events) | Page::Surplus(events, _)) = page else {
                    return Err(ArchiveError::Missing(position));
                };
                bundle = (Some(index), events);
            }
            let found = bundle.1.iter().find(|event| event.position == position);
            let hash = found.map(|event| leaf_hash(&event.leaf));
            match hash {
                Some(hash) if hash == row.hash() => digest.add(&hash),
                Some(_) | None => return Err(ArchiveError::Missing(position)),
            }
        }
    }
}
