//! What an import came to: counts, and each row that was left out, with the reason. Never a secret.

use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;

use super::ImportError;

/// The rows that the report itself names, for each table and reason; a file may be given for all of them.
const NAMED: usize = 20;

/// What became of one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Rows that were read.
    pub read: u64,
    /// Rows that were imported (in a dry run: would be).
    pub imported: u64,
    /// Rows that an earlier import had brought.
    pub already_there: u64,
    /// Rows that were left out.
    pub skipped: u64,
}

/// A row that was left out, or imported with something missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// Its table.
    pub table: &'static str,
    /// Its place in the table, from 1.
    pub row: u64,
    /// Its `id`, cut short where it is a token's.
    pub id: String,
    /// Why.
    pub reason: String,
}

/// Rows with the same fate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Group {
    /// How many.
    pub rows: u64,
    /// The first of them.
    pub first: Vec<(u64, String)>,
    /// The last of them.
    #[serde(skip)]
    last: Option<(u64, String)>,
}

/// Groups of rows, by table and reason.
pub type Groups = BTreeMap<&'static str, BTreeMap<String, Group>>;

/// What an import came to.
#[derive(Default)]
pub struct Report {
    /// The import's name.
    pub source: String,
    /// Whether nothing was to be changed.
    pub dry_run: bool,
    /// By table.
    pub tables: BTreeMap<&'static str, Counts>,
    /// Scopes that were defined.
    pub scopes: Vec<String>,
    /// What was left out.
    pub skipped: Groups,
    /// What was imported without something of it.
    pub noted: Groups,
    /// Where every left-out row is written to.
    file: Option<Box<dyn Write + Send>>,
}

impl Report {
    pub(super) fn new(source: &str, dry_run: bool, file: Option<Box<dyn Write + Send>>) -> Self {
        Self {
            source: source.to_owned(),
            dry_run,
            file,
            ..Self::default()
        }
    }

    pub(super) fn counts(&mut self, table: &'static str) -> &mut Counts {
        self.tables.entry(table).or_default()
    }

    /// A row is left out.
    pub(super) fn skip(&mut self, remark: Remark) -> Result<(), ImportError> {
        self.counts(remark.table).skipped += 1;
        if let Some(file) = &mut self.file {
            let line = serde_json::to_string(&remark).unwrap_or_default();
            writeln!(file, "{line}").map_err(ImportError::Report)?;
        }
        add(&mut self.skipped, remark);
        Ok(())
    }

    /// A row is imported without something of it. Where it lacks several things of a kind, it is still one row.
    pub(super) fn note(&mut self, remark: Remark) {
        let group = self
            .noted
            .get(remark.table)
            .and_then(|reasons| reasons.get(&remark.reason));
        let last = group.and_then(|group| group.last.as_ref());
        if last != Some(&(remark.row, remark.id.clone())) {
            add(&mut self.noted, remark);
        }
    }

    /// Whether anything was (or in a dry run: would be) imported.
    #[must_use]
    pub fn changes_something(&self) -> bool {
        !self.scopes.is_empty() || self.tables.values().any(|counts| counts.imported > 0)
    }

    /// Rows of a table that were imported.
    #[must_use]
    pub fn imported(&self, table: &str) -> u64 {
        self.tables.get(table).map_or(0, |counts| counts.imported)
    }

    pub(super) fn finish(&mut self) -> Result<(), ImportError> {
        if let Some(mut file) = self.file.take() {
            file.flush().map_err(ImportError::Report)?;
        }
        Ok(())
    }
}

fn add(groups: &mut Groups, remark: Remark) {
    let group = groups
        .entry(remark.table)
        .or_default()
        .entry(remark.reason)
        .or_default();
    group.rows += 1;
    let named = (remark.row, remark.id);
    group.last = Some(named.clone());
    if group.first.len() < NAMED {
        group.first.push(named);
    }
}
