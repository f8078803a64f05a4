//! The log as plain files, in the layout in which it is served: `checkpoint`, `keys`, `tile/…`, `tile/entries/…`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sqlx::PgPool;

use super::EvidenceError;
use super::bounded;
use super::checkpoint::Checkpoint;
use super::detached;
use super::note::{MAX_NOTE, SignedNote};
use super::standing::{put, replace, sync_directory};
use super::store;
use super::tile::{TileKind, TilePath, WIDTH, bundle, levels};

/// The file with the last checkpoint.
pub const CHECKPOINT: &str = "checkpoint";
/// The file with the newest checkpoint that a witness cosigned, where there is one.
pub const WITNESSED: &str = "checkpoint.witnessed";
/// The file with the log's verifier keys.
pub const KEYS: &str = "keys";

/// Why an export was not made.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The evidence could not be read.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// The database did not answer.
    #[error("the database could not be read: {0}")]
    Database(#[from] sqlx::Error),
    /// A file could not be written.
    #[error("{path} cannot be written or read: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Nothing was signed yet.
    #[error("the log has no checkpoint yet: a running server signs one within a second of the first event")]
    NoCheckpoint,
    /// The directory holds another log.
    #[error("the directory holds the log {0}, which is another")]
    OtherLog(String),
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Exported {
    /// How many events the checkpoint covers.
    pub size: u64,
    /// Files that were written.
    pub written: u64,
    /// Files that were there.
    pub kept: u64,
    /// Bundles of events that cannot be written any more: some of their events were detached.
    pub left_out: u64,
}

/// Writes the log to a directory. Full tiles that are there are not written again, so an export that was interrupted, or
/// an older one, is carried on. `since` leaves out the entries up to that position; the hashes are always whole.
pub async fn export(
    pool: &PgPool,
    directory: &Path,
    since: u64,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Exported, ExportError> {
    let log = store::read(pool).await?;
    let note = store::published(pool, &log)
        .await?
        .ok_or(ExportError::NoCheckpoint)?;
    let mut files = Files {
        directory,
        exported: Exported {
            size: log.size,
            written: 0,
            kept: 0,
            left_out: 0,
        },
        unsynced: BTreeSet::new(),
    };
    files.check_log(&note)?;
    files.hashes(pool, log.size).await?;
    for path in TilePath::of_tree(TileKind::Entries, log.size) {
        let last = path.index * WIDTH + path.width;
        progress(last, log.size);
        if last <= since || files.has(path) {
            continue;
        }
        let Some(leaves) = store::entries(pool, path).await? else {
            let first = path.index * WIDTH;
            if detached::within(pool, (first, last)).await?.is_empty() {
                return Err(EvidenceError::Gap(first + 1).into());
            }
            files.exported.left_out += 1;
            continue;
        };
        files.write(path, &bundle(&leaves).ok_or(EvidenceError::TooLarge(last))?)?;
    }
    let keys: Vec<String> = store::verifier_keys(pool)
        .await?
        .iter()
        .map(|key| format!("{key}\n"))
        .collect();
    files.replace(KEYS, &keys.concat())?;
    if let Some(witnessed) = store::witnessed(pool).await? {
        files.replace(WITNESSED, &witnessed.to_string())?;
    }
    let manifest = detached::manifest(pool).await?;
    if !manifest.is_empty() {
        let manifest = serde_json::to_string(&manifest).map_err(|source| ExportError::File {
            path: directory.join(detached::MANIFEST),
            source: source.into(),
        })?;
        files.replace(detached::MANIFEST, &manifest)?;
    }
    files.sync()?;
    // Last: whoever finds it finds all that it covers.
    files.replace(CHECKPOINT, &note.to_string())?;
    Ok(files.exported)
}

struct Files<'a> {
    directory: &'a Path,
    exported: Exported,
    /// Directories whose names may not be on the disk yet.
    unsynced: BTreeSet<PathBuf>,
}

impl Files<'_> {
    /// Every tile of hashes that is not there yet.
    async fn hashes(&mut self, pool: &PgPool, size: u64) -> Result<(), ExportError> {
        for level in levels(size) {
            for path in TilePath::of_tree(TileKind::Hashes(level), size) {
                if self.has(path) {
                    continue;
                }
                let stored = store::tile(pool, (level, path.index)).await?;
                let width = usize::try_from(path.width * 32).unwrap_or(usize::MAX);
                let hashes = stored.as_deref().and_then(|hashes| hashes.get(..width));
                self.write(path, hashes.ok_or(EvidenceError::Tiles(size))?)?;
            }
        }
        Ok(())
    }

    /// A directory is for one log.
    fn check_log(&self, note: &SignedNote) -> Result<(), ExportError> {
        let path = self.directory.join(CHECKPOINT);
        let before = match bounded::text(&path, MAX_NOTE) {
            Ok(before) => before,
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(ExportError::File { path, source }),
        };
        let before = before
            .parse::<SignedNote>()
            .ok()
            .and_then(|note| note.text.parse::<Checkpoint>().ok());
        let origin = before.map_or_else(|| "(unreadable)".to_owned(), |before| before.origin);
        let mine = note.text.lines().next() == Some(&origin);
        if mine {
            Ok(())
        } else {
            Err(ExportError::OtherLog(origin))
        }
    }

    fn has(&mut self, path: TilePath) -> bool {
        let there = self.directory.join(path.to_string()).is_file();
        self.exported.kept += u64::from(there);
        there
    }

    fn write(&mut self, path: TilePath, bytes: &[u8]) -> Result<(), ExportError> {
        let whole = TilePath { width: WIDTH, ..path };
        let partial = self.directory.join(format!("{whole}.p"));
        // What was narrower is the beginning of this one.
        if partial.is_dir() {
            std::fs::remove_dir_all(&partial).map_err(|source| ExportError::File {
                path: partial,
                source,
            })?;
        }
        self.put(&path.to_string(), bytes)?;
        self.exported.written += 1;
        Ok(())
    }

    fn replace(&self, name: &str, text: &str) -> Result<(), ExportError> {
        let path = self.directory.join(name);
        let written = std::fs::create_dir_all(self.directory).and_then(|()| replace(&path, text));
        written.map_err(|source| ExportError::File { path, source })
    }

    /// A file whose name is on the disk after [`Self::sync`].
    fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), ExportError> {
        let path = self.directory.join(name);
        let parent = path.parent().unwrap_or(self.directory).to_owned();
        let written = std::fs::create_dir_all(&parent).and_then(|()| put(&path, bytes));
        if let Err(source) = written {
            return Err(ExportError::File { path, source });
        }
        // The names of the directories themselves, too.
        for directory in parent
            .ancestors()
            .take_while(|directory| directory.starts_with(self.directory))
        {
            self.unsynced.insert(directory.to_owned());
        }
        Ok(())
    }

    /// Once for each directory: an export has thousands of files.
    fn sync(&mut self) -> Result<(), ExportError> {
        for path in std::mem::take(&mut self.unsynced) {
            sync_directory(&path).map_err(|source| ExportError::File { path, source })?;
        }
        Ok(())
    }
}
