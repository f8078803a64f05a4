//! Events in a file.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::ledger::{Ledger, StoredEvent};
use crate::trail::columns::Columns;
use crate::trail::document::WithPeople;

/// Writes events as NDJSON or Parquet, for their owner only. The file has its name once it is complete.
pub(super) struct Writer {
    file: PathBuf,
    partial: PathBuf,
    out: Out,
}

/// What the file's name asks for.
enum Out {
    Lines(BufWriter<File>),
    Columns(Box<Columns<File>>),
}

impl Writer {
    /// A file that is there already is left alone.
    pub(super) fn create(file: PathBuf) -> anyhow::Result<Self> {
        let extension = file.extension().and_then(|extension| extension.to_str());
        let in_columns = match extension {
            Some("ndjson" | "jsonl") => false,
            Some("parquet") => true,
            Some(_) | None => bail!("--export: the name of the file ends with .ndjson or .parquet"),
        };
        if file.exists() {
            bail!("{} is there already", file.display());
        }
        let mut partial = file.clone().into_os_string();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let opened = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&partial)
            .with_context(|| format!("{} cannot be written", partial.display()))?;
        let out = if in_columns {
            Out::Columns(Box::new(Columns::begin(opened)?))
        } else {
            Out::Lines(BufWriter::new(opened))
        };
        Ok(Self { file, partial, out })
    }

    /// Writes one event.
    pub(super) async fn write(
        &mut self,
        ledger: &Ledger,
        event: &StoredEvent,
        reveal: bool,
    ) -> anyhow::Result<()> {
        let event = WithPeople::of(ledger, event, reveal).await?;
        match &mut self.out {
            Out::Columns(columns) => Ok(columns.push(&event)?),
            Out::Lines(out) => {
                serde_json::to_writer(&mut *out, &event.document()?)?;
                Ok(out.write_all(b"\n")?)
            }
        }
    }

    /// Makes it durable and gives it its name.
    pub(super) fn finish(self) -> anyhow::Result<PathBuf> {
        let Self { file, partial, out } = self;
        let written = match out {
            Out::Columns(columns) => columns.finish()?,
            Out::Lines(out) => out.into_inner()?,
        };
        written.sync_all()?;
        let named = || format!("{} cannot be written", file.display());
        std::fs::rename(&partial, &file).with_context(named)?;
        // The name, too, is to survive a loss of power.
        let directory = file.parent().filter(|path| !path.as_os_str().is_empty());
        let directory = File::open(directory.unwrap_or(Path::new("."))).with_context(named)?;
        directory.sync_all().with_context(named)?;
        Ok(file)
    }
}
