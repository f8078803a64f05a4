//! Where rows come from: CSV files named after their tables, and SQL dumps.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::ImportError;
use super::bounded::{Bounded, TooLong};
use super::dump::Dump;
use super::table::Row;

/// Rows that are handed on at once.
const CHUNK: usize = 256;
/// The passwords of a chunk are hashed at once.
const _: () = assert!(CHUNK <= crate::crypto::password::MAX_WAITING);

/// The files of an import.
#[derive(Clone, Debug, Default)]
pub struct Files {
    csv: BTreeMap<String, PathBuf>,
    dumps: Vec<PathBuf>,
}

/// Some rows, and how many bytes of the table's files were read for them and all before.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) rows: Vec<Row>,
    pub(super) bytes: u64,
}

impl Files {
    /// Looks at paths: a directory (its `.csv` and `.sql` files), a CSV file named after its table, a dump.
    pub fn find(paths: &[PathBuf]) -> Result<Self, ImportError> {
        let mut files = Self::default();
        for path in paths {
            if path.is_dir() {
                let mut inside = Vec::new();
                for entry in std::fs::read_dir(path).map_err(|error| unreadable(path, error))? {
                    inside.push(entry.map_err(|error| unreadable(path, error))?.path());
                }
                inside.sort();
                for path in inside {
                    if matches!(extension(&path).as_str(), "csv" | "sql") {
                        files.add(&path)?;
                    }
                }
            } else {
                files.add(path)?;
            }
        }
        if files.csv.is_empty() && files.dumps.is_empty() {
            return Err(ImportError::NoFiles);
        }
        Ok(files)
    }

    fn add(&mut self, path: &Path) -> Result<(), ImportError> {
        File::open(path).map_err(|error| unreadable(path, error))?;
        match extension(path).as_str() {
            "csv" => {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                let table = stem.rsplit('.').next().unwrap_or_default().to_owned();
                if let Some(other) = self.csv.insert(table.clone(), path.to_owned()) {
                    return Err(ImportError::TwoFiles {
                        table,
                        files: [other, path.to_owned()],
                    });
                }
            }
            "gz" | "zip" | "xz" | "zst" | "bz2" => return Err(ImportError::Compressed(path.to_owned())),
            // Named twice (a directory, and a file of it): read once.
            _ => {
                let same = |known: &PathBuf| known.canonicalize().ok() == path.canonicalize().ok();
                if !self.dumps.iter().any(same) {
                    self.dumps.push(path.to_owned());
                }
            }
        }
        Ok(())
    }

    /// Whether a CSV file of that table, or a dump that may hold it, was given.
    pub(super) fn may_have(&self, table: &str) -> bool {
        self.csv.contains_key(table) || !self.dumps.is_empty()
    }

    /// The bytes that are read for a table.
    pub(super) fn bytes(&self, table: &str) -> u64 {
        let length = |path: &PathBuf| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        match self.csv.get(table) {
            Some(path) => length(path),
            None => self.dumps.iter().map(length).sum(),
        }
    }

    /// Hands every row of a table to `each`, with the bytes read so far. `needed` columns must be there.
    pub(super) fn for_each(
        &self,
        table: &str,
        needed: &[&str],
        mut each: impl FnMut(Row, u64) -> Result<(), ImportError>,
    ) -> Result<(), ImportError> {
        if let Some(path) = self.csv.get(table) {
            return read_csv(path, (table, needed), each);
        }
        let (mut before, mut rows) = (0, 0);
        for path in &self.dumps {
            let file = File::open(path).map_err(|error| unreadable(path, error))?;
            let mut dump = Dump::new(file, table).map_err(|error| error.in_file(path))?;
            while let Some(mut row) = dump.next().map_err(|error| error.in_file(path))? {
                // Its place in the table, of which each dump has a part.
                rows += 1;
                row.number = rows;
                row.has(needed).map_err(|column| missing(path, table, column))?;
                each(row, before + dump.offset())?;
            }
            before += dump.offset();
        }
        Ok(())
    }

    /// A table's rows, read on a thread of its own.
    pub(super) fn stream(
        &self,
        table: &'static str,
        needed: &'static [&'static str],
    ) -> mpsc::Receiver<Result<Chunk, ImportError>> {
        let (sender, receiver) = mpsc::channel(4);
        let files = self.clone();
        tokio::task::spawn_blocking(move || {
            let (mut rows, mut read) = (Vec::with_capacity(CHUNK), 0);
            let result = files.for_each(table, needed, |row, bytes| {
                rows.push(row);
                read = bytes;
                if rows.len() < CHUNK {
                    return Ok(());
                }
                let rows = std::mem::replace(&mut rows, Vec::with_capacity(CHUNK));
                sender
                    .blocking_send(Ok(Chunk { rows, bytes }))
                    .map_err(|_| ImportError::Interrupted)
            });
            let last = match result {
                Ok(()) => Ok(Chunk { rows, bytes: read }),
                Err(error) => Err(error),
            };
            // A receiver that is gone had an error of its own.
            let _ = sender.blocking_send(last);
        });
        receiver
    }
}

/// How many rows of a table a dump has; for the tests of all parsers.
#[doc(hidden)]
pub fn rows_of_dump(bytes: &[u8], table: &str) -> Result<u64, ImportError> {
    let mut dump = Dump::new(bytes, table)?;
    let mut rows = 0;
    while dump.next()?.is_some() {
        rows += 1;
    }
    Ok(rows)
}

/// How many rows a CSV file has; for the tests of all parsers.
#[doc(hidden)]
pub fn rows_of_csv(bytes: &[u8]) -> Result<u64, ImportError> {
    let mut rows = 0;
    each_of_csv(bytes, Path::new("memory.csv"), ("memory", &[]), |_, _| {
        rows += 1;
        Ok(())
    })?;
    Ok(rows)
}

fn read_csv(
    path: &Path,
    what: (&str, &[&str]),
    each: impl FnMut(Row, u64) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    let file = File::open(path).map_err(|error| unreadable(path, error))?;
    each_of_csv(file, path, what, each)
}

fn each_of_csv(
    file: impl std::io::Read,
    path: &Path,
    (table, needed): (&str, &[&str]),
    mut each: impl FnMut(Row, u64) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    let broken = |columns: &[String], error: csv::Error| damaged(path, columns, error);
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .buffer_capacity(64 * 1024)
        .from_reader(Bounded::new(file));
    let headers = reader.byte_headers().map_err(|error| broken(&[], error))?.clone();
    let columns: Arc<[String]> = headers
        .iter()
        .map(|name| {
            let name = String::from_utf8_lossy(name);
            name.trim_start_matches('\u{feff}').trim().to_owned()
        })
        .collect();
    if let Some(column) = needed
        .iter()
        .find(|needed| !columns.iter().any(|name| name == *needed))
    {
        return Err(missing(path, table, column));
    }
    let mut record = csv::ByteRecord::new();
    let mut number = 0;
    while reader
        .read_byte_record(&mut record)
        .map_err(|error| broken(&columns, error))?
    {
        number += 1;
        let values = record
            .iter()
            .map(|field| (!matches!(field, b"" | b"\\N" | b"NULL")).then(|| field.to_vec()))
            .collect();
        each(
            Row::new(number, Arc::clone(&columns), values),
            reader.position().byte(),
        )?;
    }
    Ok(())
}

fn damaged(path: &Path, columns: &[String], error: csv::Error) -> ImportError {
    let mut line = error.position().map(csv::Position::line);
    let mut column = None;
    let problem = if let csv::ErrorKind::Io(error) = error.into_kind() {
        let too_long = error.get_ref().and_then(|inner| inner.downcast_ref::<TooLong>());
        if let Some(found) = too_long {
            line = Some(found.line);
            let name = columns.get(found.value - 1);
            column = Some(name.map_or_else(|| found.value.to_string(), Clone::clone));
        }
        error.to_string()
    } else {
        "it is not CSV".to_owned()
    };
    ImportError::Csv {
        file: path.to_owned(),
        line,
        column,
        problem,
    }
}

fn extension(path: &Path) -> String {
    path.extension()
        .unwrap_or_default()
        .to_string_lossy()
        .to_ascii_lowercase()
}

fn unreadable(path: &Path, source: std::io::Error) -> ImportError {
    ImportError::Unreadable {
        file: path.to_owned(),
        source,
    }
}

fn missing(path: &Path, table: &str, column: &str) -> ImportError {
    ImportError::NoColumn {
        file: path.to_owned(),
        table: table.to_owned(),
        column: column.to_owned(),
    }
}
