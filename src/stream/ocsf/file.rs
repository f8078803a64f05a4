//! OCSF events in a file, one per line, each delivery synced to the disk.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::lines;
use crate::app::App;
use crate::clock::Clock;
use crate::stream::envelope::{Checkpoint, Envelope};
use crate::stream::sink::{Delivering, Delivery, Failure, Sink};

/// How much is read at once when the last whole line is looked for.
const CHUNK: u64 = 64 * 1024;

/// A file that is appended to. One that is full is renamed after the last position in it.
///
/// Others may rename, remove or shorten it meanwhile (`logrotate`): before each delivery it is looked at again, and begun
/// anew where it is another.
pub struct OcsfFile {
    clock: Clock,
    issuer: String,
    place: Place,
    open: Option<Open>,
}

/// Where the lines go.
#[derive(Clone, Debug)]
struct Place {
    path: PathBuf,
    /// From how many bytes on it is put aside; 0: never.
    max_bytes: u64,
}

/// The file, and how long it is. It is locked: a node whose lease is over and that is still at its last delivery, or
/// another stream, must not write between these lines.
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
            place: Place {
                path: PathBuf::from(path),
                max_bytes,
            },
            open: None,
        }
    }

    /// Appends and syncs; what a failure left of a line goes with the next attempt.
    async fn append(&mut self, text: String, last: i64) -> io::Result<()> {
        let (place, open) = (self.place.clone(), self.open.take());
        // Given up in the middle, it goes on, and keeps the lock for as long.
        let written = tokio::task::spawn_blocking(move || place.append(open, &text, last)).await;
        self.open = written.map_err(io::Error::other)??;
        Ok(())
    }
}

impl Place {
    /// Returns the file for the next lines; none where they begin a new one.
    fn append(&self, open: Option<Open>, text: &str, last: i64) -> io::Result<Option<Open>> {
        let mut open = match open.filter(|open| open.is_at(&self.path)) {
            Some(open) => open,
            None => Open::at(&self.path)?,
        };
        open.file.write_all(text.as_bytes())?;
        open.file.sync_data()?;
        open.bytes += text.len() as u64;
        if open.file.metadata()?.nlink() == 0 {
            return Err(io::Error::new(
                ErrorKind::NotFound,
                "the file was removed meanwhile",
            ));
        }
        if self.max_bytes == 0 || open.bytes < self.max_bytes {
            return Ok(Some(open));
        }
        match self.put_aside(last) {
            Ok(()) => Ok(None),
            // The lines are there, so that to write them again would be wrong. It grows until it can be put aside.
            Err(error) => {
                tracing::warn!(%error, "a file of events cannot be renamed");
                Ok(Some(open))
            }
        }
    }

    /// Renames the file. One of that name, of an earlier stream or of a few events only, stays as it is.
    fn put_aside(&self, last: i64) -> io::Result<()> {
        let mut number = 1_u32;
        loop {
            let mut full = self.path.clone().into_os_string();
            full.push(format!(".{last:020}"));
            if number > 1 {
                full.push(format!("-{number}"));
            }
            if !Path::new(&full).try_exists()? {
                fs::rename(&self.path, full)?;
                return sync_directory(&self.path);
            }
            number = number
                .checked_add(1)
                .ok_or_else(|| io::Error::from(ErrorKind::AlreadyExists))?;
        }
    }
}

impl Open {
    /// Opens the file, and cuts off what stands after its last whole line: a crash left that.
    fn at(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o640);
        let mut file = options.open(path)?;
        match file.try_lock() {
            // Where the file system knows no locks there is none.
            Ok(()) | Err(TryLockError::Error(_)) => {}
            Err(TryLockError::WouldBlock) => return Err(ErrorKind::ResourceBusy.into()),
        }
        let length = file.metadata()?.len();
        if length == 0 {
            sync_directory(path)?;
        }
        let end = end_of_lines(&mut file, length)?;
        if end < length {
            file.set_len(end)?;
        }
        Ok(Self { file, bytes: end })
    }

    /// Whether it is still the file of that name, as it was left.
    fn is_at(&self, path: &Path) -> bool {
        let (Ok(there), Ok(here)) = (fs::metadata(path), self.file.metadata()) else {
            return false;
        };
        (there.dev(), there.ino()) == (here.dev(), here.ino()) && here.len() == self.bytes
    }
}

/// Where the last whole line ends.
fn end_of_lines(file: &mut File, length: u64) -> io::Result<u64> {
    let mut end = length;
    while end > 0 {
        let start = end.saturating_sub(CHUNK);
        let mut chunk = vec![0; usize::try_from(end - start).unwrap_or_default()];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut chunk)?;
        if let Some(newline) = chunk.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + newline as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// So that a name outlives a loss of power, and not only what it names.
fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

/// A word for what the operating system said.
fn failure(error: &io::Error) -> Failure {
    tracing::debug!(%error, "a file of events cannot be written");
    let known = [
        (ErrorKind::NotFound, "no_such_directory"),
        (ErrorKind::PermissionDenied, "permission_denied"),
        (ErrorKind::StorageFull, "storage_full"),
        (ErrorKind::ResourceBusy, "file_in_use"),
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
                && let Err(error) = self.append(text, last).await
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
            self.append(text, checkpoint.size)
                .await
                .map_err(|error| failure(&error))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(directory: &tempfile::TempDir, max_bytes: u64) -> Place {
        let path = directory.path().join("events.ndjson");
        Place { path, max_bytes }
    }

    fn names(directory: &tempfile::TempDir) -> Vec<String> {
        let entries = fs::read_dir(directory.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn half_a_line_that_a_crash_left_is_cut_off() {
        let directory = tempfile::tempdir().unwrap();
        let place = place(&directory, 0);
        let long = "x".repeat(usize::try_from(CHUNK).unwrap() + 7);
        for (before, kept) in [
            (String::new(), 0),
            ("half".to_owned(), 0),
            ("one\n".to_owned(), 4),
            (format!("one\n{long}"), 4),
            (format!("one\n{long}\nhalf"), 4 + long.len() + 1),
        ] {
            fs::write(&place.path, &before).unwrap();
            let open = place.append(None, "next\n", 1).unwrap().unwrap();
            assert_eq!(open.bytes, kept as u64 + 5);
            let after = fs::read_to_string(&place.path).unwrap();
            assert_eq!(after, format!("{}next\n", &before[..kept]));
        }
    }

    #[test]
    fn a_file_that_others_rename_remove_or_shorten_is_begun_anew_and_no_line_is_lost() {
        let directory = tempfile::tempdir().unwrap();
        let place = place(&directory, 0);
        let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        let open = place.append(None, "one\n", 1).unwrap();
        fs::rename(&place.path, directory.path().join("rotated")).unwrap();
        let open = place.append(open, "two\n", 2).unwrap();
        assert_eq!(
            (read("rotated"), read("events.ndjson")),
            ("one\n".into(), "two\n".into())
        );
        fs::remove_file(&place.path).unwrap();
        let open = place.append(open, "three\n", 3).unwrap();
        assert_eq!(read("events.ndjson"), "three\n");
        fs::write(&place.path, "").unwrap();
        place.append(open, "four\n", 4).unwrap();
        assert_eq!(read("events.ndjson"), "four\n");
    }

    #[test]
    fn a_full_file_is_put_aside_and_takes_the_name_of_none_that_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let place = place(&directory, 8);
        let open = place.append(None, "one\n", 1).unwrap();
        assert!(place.append(open, "two\n", 2).unwrap().is_none());
        // A checkpoint that alone is as long, after the same position; and another stream that came as far.
        assert!(place.append(None, "checkpoint\n", 2).unwrap().is_none());
        assert!(place.append(None, "checkpoint\n", 2).unwrap().is_none());
        let aside = ["", "-2", "-3"].map(|end| format!("events.ndjson.{:020}{end}", 2));
        assert_eq!(names(&directory), aside);
        let first = fs::read_to_string(directory.path().join(&aside[0])).unwrap();
        assert_eq!(first, "one\ntwo\n");
    }

    #[test]
    fn a_file_that_another_writes_to_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let place = place(&directory, 0);
        let open = place.append(None, "one\n", 1).unwrap();
        let refused = place.append(None, "two\n", 2).err().unwrap();
        assert_eq!(failure(&refused), Failure::new("file_in_use"));
        place.append(open, "two\n", 2).unwrap();
        assert_eq!(fs::read_to_string(&place.path).unwrap(), "one\ntwo\n");
    }
}
