//! What a node remembers of the log: a database that was restored or failed over to an older state cannot tell by itself
//! that it is older.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use sqlx::PgPool;
use tokio::sync::watch;

use super::EvidenceError;
use super::checkpoint::Checkpoint;
use super::note::{MAX_NOTE, SignedNote};
use super::store::{self, Log};
use super::tree::Hash;

/// The ledger is not the one that was signed. Nothing may be served on it: revocations may be lost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It ends before what was signed.
    #[error("the ledger was rolled back: it ends at position {ledger}, and {signed} events were signed")]
    RolledBack {
        /// Where it ends.
        ledger: u64,
        /// What was signed.
        signed: u64,
    },
    /// It has another tree than the one that was signed.
    #[error("the ledger is another: its first {0} events are not those that were signed")]
    OtherTree(u64),
    /// An event that was signed is gone, or is another.
    #[error("the event at position {0} is not the one that was signed")]
    Changed(u64),
}

/// The last tree that this node has seen, and what is wrong where one does not follow from it.
pub struct Standing {
    seen: Mutex<Option<(u64, Hash)>>,
    file: Option<PathBuf>,
    fault: watch::Sender<Option<Fault>>,
}

impl Standing {
    /// Begins with what the file holds, where there is one.
    pub fn open(file: Option<&Path>) -> std::io::Result<Self> {
        let seen = match file.map(std::fs::read_to_string) {
            None => None,
            Some(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => None,
            Some(text) => Some(remembered(&text?).ok_or_else(damaged)?),
        };
        Ok(Self {
            seen: Mutex::new(seen),
            file: file.map(Path::to_owned),
            fault: watch::Sender::new(None),
        })
    }

    /// What is wrong with the ledger, once something is. It stays.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.fault.borrow().clone()
    }

    /// Fails once something is wrong with the ledger: nobody is told anything, and nothing is done, because of it.
    pub fn require_sound(&self) -> Result<(), Fault> {
        self.fault().map_or(Ok(()), Err)
    }

    /// Something is wrong with it.
    pub fn set_fault(&self, fault: &Fault) {
        if self
            .fault
            .send_if_modified(|known| known.is_none() && known.replace(fault.clone()).is_none())
        {
            tracing::error!(%fault, "nothing is served any more: see docs/evidence.md");
        }
    }

    /// Compares the log with what was seen of it, and remembers it. What does not follow is a fault.
    pub async fn observe(&self, pool: &PgPool, log: &Log) -> Result<(), EvidenceError> {
        let checked = self.check(pool, log).await;
        if let Err(EvidenceError::Fault(fault)) = &checked {
            self.set_fault(fault);
        }
        checked
    }

    async fn check(&self, pool: &PgPool, log: &Log) -> Result<(), EvidenceError> {
        if let Some(fault) = self.fault() {
            return Err(fault.into());
        }
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (size, root) = seen.unwrap_or((log.size, log.root));
        if log.head < log.size.max(size) {
            let signed = log.size.max(size);
            return Err(Fault::RolledBack {
                ledger: log.head,
                signed,
            }
            .into());
        }
        if log.size < size {
            return Err(Fault::RolledBack {
                ledger: log.size,
                signed: size,
            }
            .into());
        }
        let then = if log.size == size {
            Some(log.root)
        } else {
            store::root_at(pool, size).await?
        };
        if then != Some(root) {
            return Err(Fault::OtherTree(size).into());
        }
        self.remember(log);
        Ok(())
    }

    /// Remembers a tree that this node knows to follow from the last.
    pub fn remember(&self, log: &Log) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = *seen != Some((log.size, log.root));
        *seen = Some((log.size, log.root));
        if let Some(file) = self.file.as_ref().filter(|_| is_news && log.size > 0)
            && let Err(error) = replace(file, &log.note)
        {
            tracing::warn!(%error, file = %file.display(), "the checkpoint could not be written to its file");
        }
    }
}

fn damaged() -> std::io::Error {
    let why = "it is no checkpoint: do not delete it before the ledger is compared with another that was kept \
               (docs/evidence.md)";
    std::io::Error::new(std::io::ErrorKind::InvalidData, why)
}

fn remembered(note: &str) -> Option<(u64, Hash)> {
    if note.len() > MAX_NOTE {
        return None;
    }
    let note: SignedNote = note.parse().ok()?;
    let checkpoint: Checkpoint = note.text.parse().ok()?;
    Some((checkpoint.size, checkpoint.root))
}

/// Writes a file so that it is always whole, also after a power loss: it is on the disk before it has its name, and its
/// name is before this returns.
pub fn replace(file: &Path, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
    put(file, bytes)?;
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync_directory(parent.unwrap_or(Path::new(".")))
}

/// As [`replace`], but for the name, which may be lost with the power: then it is as it was before.
pub fn put(file: &Path, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = file.with_file_name(name);
    let mut written = File::create(&beside)?;
    written.write_all(bytes.as_ref())?;
    written.sync_all()?;
    std::fs::rename(&beside, file)
}

/// Lets the names in a directory outlast a power loss.
pub fn sync_directory(directory: &Path) -> std::io::Result<()> {
    match File::open(directory)?.sync_all() {
        // File systems that cannot do it say so, and keep their names by themselves.
        Err(error) if error.kind() == std::io::ErrorKind::Unsupported => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}
