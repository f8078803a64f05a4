//! Erasures that an export of the evidence log knows: what to repeat on a ledger that came back from an older backup.

use std::path::Path;

use sqlx::PgPool;

use crate::evidence::bounded;
use crate::evidence::leaf::Row;
use crate::evidence::note::MAX_NOTE;
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
    #[error("the export does not verify, from position {0} on ({1}): nothing of it is believed")]
    Changed(u64, String),
    /// Reading failed.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
}

/// What an export says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErasedInExport {
    /// Who was erased.
    pub subjects: Vec<SubjectId>,
    /// Events of which it has the hashes only: they were detached, or lay in one bundle with some that were.
    pub unread: u64,
}

/// The subjects that an export says were erased. It must have every event, and verify under this ledger's own keys: whoever could make one
/// up could have anybody erased.
pub async fn erased_in_export(pool: &PgPool, directory: &Path) -> Result<ErasedInExport, ExportRefused> {
    let keys = store::verifier_keys(pool).await.map_err(EvidenceError::from)?;
    let note = bounded::text(&directory.join(export::CHECKPOINT), MAX_NOTE)?;
    let (checkpoint, _) = checkpoint::open(&note, &keys)?;
    let size = checkpoint.size;
    let place = Place::Directory(directory.to_owned());
    let anchor = Anchor {
        from: directory.display().to_string(),
        checkpoint,
    };
    let report = verify(&place, vec![anchor], &[], &mut |_| {}).await?;
    if let Some(finding) = report.finding {
        return Err(ExportRefused::Changed(finding.first_bad_position, finding.detail));
    }
    let mut subjects = Vec::new();
    for index in 0..size.div_ceil(WIDTH) {
        let width = WIDTH.min(size - index * WIDTH);
        if let Page::Events(events) | Page::Surplus(events, _) = place.page(index, width).await? {
            subjects.extend(events.iter().filter_map(|event| erasure(&event.leaf)));
        }
    }
    Ok(ErasedInExport {
        subjects,
        unread: report.hashes_only,
    })
}

fn erasure(leaf: &[u8]) -> Option<SubjectId> {
    let row = Row::parse(leaf)?;
    let is_erasure = row.aggregate_type == "user" && row.event_type == "SubjectKeyDestroyed";
    is_erasure.then_some(SubjectId(row.aggregate_id))
}
