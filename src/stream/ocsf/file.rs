//! OCSF events in a file, one per line, each delivery synced to the disk.

use std::io::{ErrorKind, SeekFrom};
use std::path::PathBuf;

use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use super::lines;
use crate::app::App;
use crate::clock::Clock;
use crate::stream::envelope::{Checkpoint, Envelope};
use crate::stream::sink::{Delivering, Delivery, Failure, Sink};

/// How much is read at once when the last whole line is looked for.
const CHUNK: u64 = 64 * 1024;

/// A file that is appended to. One that is full is renamed after the last position in it.
pub struct OcsfFile {
    clock: Clock,
    issuer: String,
    path: PathBuf,
    max_bytes: u64,
    open: Option<Open>,
}

/// The file, and how long it is.
struct Open {
    file: File,
    bytes: u64,
}

impl OcsfFile {
    /// The file at a path; opened by the first delivery.
    #[must_use]
    pub fn open(app: &App, (path, max_bytes): (&str, u64)) -> Self {
        Self {
            clock: app.ledger.clock().clone(),
            issuer: app.settings.issuer.clone(),
            path: PathBuf::from(path),
            max_bytes,
            open: None,
        }
    }

    /// Appends and syncs; what a failure left of a line goes with the next attempt.
    async fn append(&mut self, text: &str, last: i64) -> std::io::Result<()> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => Open::at(&self.path).await?,
        };
        open.file.write_all(text.as_bytes()).await?;
        open.file.flush().await?;
        open.file.sync_data().await?;
        open.bytes += text.len() as u64;
        if self.max_bytes > 0 && open.bytes >= self.max_bytes {
            drop(open);
            let mut full = self.path.clone().into_os_string();
            full.push(format!(".{last:020}"));
            tokio::fs::rename(&self.path, full).await?;
        } else {
            self.open = Some(open);
        }
        Ok(())
    }
}

impl Open {
    /// Opens the file, and cuts off what stands after its last whole line: a crash left that.
    async fn at(path: &std::path::Path) -> std::io::Result<Self> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o640);
        let mut file = options.open(path).await?;
        let length = file.metadata().await?.len();
        let mut end = length;
        while end > 0 {
            let start = end.saturating_sub(CHUNK);
            let mut chunk = vec![0; usize::try_from(end - start).unwrap_or_default()];
            file.seek(SeekFrom::Start(start)).await?;
            file.read_exact(&mut chunk).await?;
            if let Some(newline) = chunk.iter().rposition(|byte| *byte == b'\n') {
                end = start + newline as u64 + 1;
                break;
            }
            end = start;
        }
        if end < length {
            file.set_len(end).await?;
        }
        file.seek(SeekFrom::Start(end)).await?;
        Ok(Self { file, bytes: end })
    }
}

/// A word for what the operating system said.
fn failure(error: &std::io::Error) -> Failure {
    tracing::debug!(%error, "a file of events cannot be written");
    let known = [
        (ErrorKind::NotFound, "no_such_directory"),
        (ErrorKind::PermissionDenied, "permission_denied"),
        (ErrorKind::StorageFull, "storage_full"),
    ];
    let code = known.into_iter().find(|(kind, _)| *kind == error.kind());
    Failure::new(code.map_or("not_written", |(_, code)| code))
}

impl Sink for OcsfFile {
    fn deliver<'a>(&'a mut self, events: &'a [Envelope]) -> Delivering<'a, Delivery> {
        Box::pin(async move {
            let mut text = String::new();
            let (mut read, mut failed) = (0_usize, None);
            for event in events {
                match lines::event(&self.issuer, event) {
                    Ok(line) => {
                        if let Some(line) = line {
                            text.push_str(&line.json);
                            text.push('\n');
                        }
                        read += 1;
                    }
                    Err(failure) => {
                        failed = Some(failure);
                        break;
                    }
                }
            }
            let last = events.get(read.saturating_sub(1)).map_or(0, Envelope::position);
            if !text.is_empty()
                && let Err(error) = self.append(&text, last).await
            {
                return Delivery::failed(0, failure(&error));
            }
            Delivery {
                acknowledged: read,
                failure: failed,
            }
        })
    }

    fn checkpoint<'a>(&'a mut self, checkpoint: &'a Checkpoint) -> Delivering<'a, Result<(), Failure>> {
        Box::pin(async move {
            let line = lines::checkpoint(&self.issuer, checkpoint, self.clock.now());
            let text = format!("{}\n", line.json);
            self.append(&text, checkpoint.size)
                .await
                .map_err(|error| failure(&error))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn half_a_line_that_a_crash_left_is_cut_off() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.ndjson");
        let long = "x".repeat(usize::try_from(CHUNK).unwrap() + 7);
        for (before, kept) in [
            (String::new(), 0),
            ("half".to_owned(), 0),
            ("one\n".to_owned(), 4),
            (format!("one\n{long}"), 4),
            (format!("one\n{long}\nhalf"), 4 + long.len() + 1),
        ] {
            std::fs::write(&path, &before).unwrap();
            let mut open = Open::at(&path).await.unwrap();
            assert_eq!(open.bytes, kept as u64);
            open.file.write_all(b"next\n").await.unwrap();
            open.file.flush().await.unwrap();
            let after = std::fs::read_to_string(&path).unwrap();
            assert_eq!(after, format!("{}next\n", &before[..kept]));
        }
    }
}
