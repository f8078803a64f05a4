//! Erasures that an export of the evidence log knows: what to repeat on a ledger that came back from an older backup.

use std::path::Path;

use sqlx::PgPool;

use crate::evidence::leaf::Row;
use crate::evidence::tile::WIDTH;
use crate::evidence::verify::{Anchor, Page, Place, verify};
use crate::evidence::{EvidenceError, checkpoint, export, store};
use crate::ids::SubjectId;

/// Why an export is not believed.
#[derive(Debug, thiserror::Error)]
pub enum ExportRefused {
    /// It cannot be read.
    #[error("the export's checkpoint cannot be read: {0}")]
    File(#[from] std::io::Error),
    /// Its checkpoint is not of this ledger's log.
    #[error("the export's checkpoint: {0}")]
    Checkpoint(#[from] checkpoint::CheckpointError),
    /// It was changed.
    #[error("the export does not verify, from position {0} on: nothing of it is believed")]
    Changed(u64),
    /// Reading failed.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
}

/// The subjects that an export says were erased. It must verify under this ledger's own keys: whoever could make one
/// up could have anybody erased.
pub async fn erased_in_export(pool: &PgPool, directory: &Path) -> Result<Vec<SubjectId>, ExportRefused> {
    let keys = store::verifier_keys(pool).await.map_err(EvidenceError::from)?;
    let note = std::fs::read_to_string(directory.join(export::CHECKPOINT))?;
    let (checkpoint, _) = checkpoint::open(&note, &keys)?;
    let size = checkpoint.size;
    let place = Place::Directory(directory.to_owned());
    let anchor = Anchor {
        from: directory.display().to_string(),
        checkpoint,
    };
    let report = verify(&place, vec![anchor], &[], &mut |_| {}).await?;
    if let Some(finding) = report.finding {
        return Err(ExportRefused::Changed(finding.first_bad_position));
    }
    let mut erased = Vec::new();
    for index in 0..size.div_ceil(WIDTH) {
        let width = WIDTH.min(size - index * WIDTH);
        if let Page::Events(events) | Page::Surplus(events, _) = place.page(index, width).await? {
            erased.extend(events.iter().filter_map(|event| erasure(&event.leaf)));
        }
    }
    Ok(erased)
}

fn erasure(leaf: &[u8]) -> Option<SubjectId> {
    let row = Row::parse(leaf)?;
    let is_erasure = row.aggregate_type == "user" && row.event_type == "SubjectKeyDestroyed";
    is_erasure.then_some(SubjectId(row.aggregate_id))
}
