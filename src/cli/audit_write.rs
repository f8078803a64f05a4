//! Events in a file.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::{Context as _, bail};

use crate::ledger::{Ledger, StoredEvent};
use crate::trail::document;

/// Writes events as NDJSON, for their owner only. The file has its name once it is complete.
pub(super) struct Writer {
    file: PathBuf,
    partial: PathBuf,
    out: BufWriter<File>,
}

impl Writer {
    /// A file that is there already is left alone.
    pub(super) fn create(file: PathBuf) -> anyhow::Result<Self> {
        let extension = file.extension().and_then(|extension| extension.to_str());
        if !matches!(extension, Some("ndjson" | "jsonl")) {
            bail!("--export: the name of the file ends with .ndjson");
        }
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
        Ok(Self {
            file,
            partial,
            out: BufWriter::new(opened),
        })
    }

    /// Writes one event.
    pub(super) async fn write(
        &mut self,
        ledger: &Ledger,
        event: &StoredEvent,
        reveal: bool,
    ) -> anyhow::Result<()> {
        let document = document::with_people(ledger, event, reveal).await?;
        serde_json::to_writer(&mut self.out, &document)?;
        Ok(self.out.write_all(b"\n")?)
    }

    /// Makes it durable and gives it its name.
    pub(super) fn finish(self) -> anyhow::Result<PathBuf> {
        let Self { file, partial, out } = self;
        out.into_inner()?.sync_all()?;
        std::fs::rename(&partial, &file).with_context(|| format!("{} cannot be written", file.display()))?;
        Ok(file)
    }
}
