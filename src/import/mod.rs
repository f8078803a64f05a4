//! Bringing another server's clients, users and live refresh tokens here: Laravel Passport's tables, or the five
//! tables. `docs/import.md` says what becomes what.
//!
//! Everything goes through the ledger's own append, many commands in flight. Files are streamed; what is joined is
//! split into temporary files first, so memory does not grow with them. What is here already is left as it is: a
//! second run changes nothing, and an interrupted one is run again.

mod bounded;
mod clients;
mod dump;
mod files;
mod grants;
mod join;
pub mod key;
mod lexer;
mod literal;
mod passport;
mod record;
mod report;
mod scopes;
mod stages;
mod table;
mod tables;
pub mod token;
mod users;

pub use files::{Files, rows_of_csv, rows_of_dump};
pub use record::SecretForm;
pub use report::{Counts, Group, Groups, Remark, Report};

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::FixedOffset;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use uuid::Uuid;

use crate::domain::client::ClientRefusal;
use crate::domain::trail::{ImportCompleted, Trail, TrailCommand};
use crate::domain::value::ScopeSet;
use crate::ledger::{Context, LedgerError};
use crate::operations::{OperationError, Operations, run};

/// The kind of name under which an imported refresh token is found.
pub const IMPORTED_REFRESH: &str = "imported_refresh";
/// The least length of an opaque refresh token that is taken over.
pub const SHORTEST_TOKEN: usize = 16;
/// The most.
pub const LONGEST_TOKEN: usize = 4096;

/// The most bytes of one value.
const MAX_VALUE: usize = 1 << 20;
/// The advisory lock that an import holds.
const LOCK: i64 = 0x6772_6e74_696d_7074;

/// Which server's tables are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Laravel Passport.
    Passport,
    /// The five tables.
    Tables,
}

/// How to import.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whose tables.
    pub kind: Kind,
    /// The import's name: ids here are derived from it and the ids there.
    pub source: String,
    /// Read and check everything, change nothing.
    pub dry_run: bool,
    /// Scopes that every client may ask for, besides those that its tokens have; what `*` stands for.
    pub scope: ScopeSet,
    /// The offset of moments that have none.
    pub utc_offset: FixedOffset,
    /// How client secrets are stored; none means what is usual for the kind.
    pub client_secrets: Option<SecretForm>,
    /// Whether passwords that are no known hash are passwords in clear.
    pub plain_passwords: bool,
    /// The audience of tokens of clients that have none: the issuer.
    pub issuer: String,
    /// Days that an imported grant lives.
    pub grant_lifetime_days: u32,
    /// A file that every left-out row is written to, as a line of JSON.
    pub skipped_file: Option<PathBuf>,
}

/// How far an import has come: for a bar.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What is being done.
    pub stage: &'static str,
    /// Bytes read, or tokens taken over.
    pub done: u64,
    /// Of how many.
    pub total: u64,
}

/// Told how far the import has come.
pub type Tell = Arc<dyn Fn(Progress) + Send + Sync>;

/// Why an import stopped. What was imported until then stays; the same command goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Nothing to read.
    #[error("there is no .csv or .sql file")]
    NoFiles,
    /// The table without which nothing can be imported.
    #[error("there is no table {0}: give {0}.csv, or a dump that has it")]
    NoTable(&'static str),
    /// Which of the two?
    #[error("there are two files of table {table}: {} and {}", .files[0].display(), .files[1].display())]
    TwoFiles {
        /// The table.
        table: String,
        /// The files.
        files: [PathBuf; 2],
    },
    /// Packed.
    #[error("{} is compressed: unpack it first", .0.display())]
    Compressed(PathBuf),
    /// A file cannot be opened.
    #[error("{} cannot be read: {source}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file cannot be read on.
    #[error("reading failed: {0}")]
    Read(std::io::Error),
    /// A CSV file is damaged.
    #[error("{}{}{}: {problem}", .file.display(), .line.map_or_else(String::new, |line| format!(", line {line}")),
        .column.as_ref().map_or_else(String::new, |column| format!(", column {column}")))]
    Csv {
        /// The file.
        file: PathBuf,
        /// Where.
        line: Option<u64>,
        /// In which column.
        column: Option<String>,
        /// What.
        problem: String,
    },
    /// A dump has something that is not read.
    #[error("line {line}{}: {problem}", .value.map_or_else(String::new, |value| format!(", value {value}")))]
    Dump {
        /// Where.
        line: u64,
        /// Which value of its row, from 1.
        value: Option<usize>,
        /// What.
        problem: &'static str,
    },
    /// The same, with the file's name.
    #[error("{}, {inner}", .file.display())]
    InFile {
        /// The file.
        file: PathBuf,
        /// What.
        inner: Box<ImportError>,
    },
    /// A column that must be there is not.
    #[error("{}: the table {table} has no column {column}", .file.display())]
    NoColumn {
        /// The file.
        file: PathBuf,
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A temporary file failed.
    #[error("a temporary file failed: {0}")]
    Temporary(std::io::Error),
    /// The file of left-out rows cannot be written.
    #[error("the file of skipped rows cannot be written: {0}")]
    Report(std::io::Error),
    /// One at a time: two would register the same users under different keys.
    #[error(
        "another import into this database is under way: wait until it has ended, then run this one again (a dry run \
         need not wait)"
    )]
    Busy,
    /// A thread ended before its time.
    #[error("the import was interrupted")]
    Interrupted,
    /// One key at a time.
    #[error(
        "another Passport key is stored: old tokens under it would be refused; `grantlog import forget-key` deletes it"
    )]
    OtherKey,
    /// The ledger did not take it.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// An operation was refused.
    #[error(transparent)]
    Operation(#[from] OperationError),
}

impl ImportError {
    /// Says in which value of a row it was.
    fn in_value(mut self, number: usize) -> Self {
        if let Self::Dump { value, .. } = &mut self {
            value.get_or_insert(number);
        }
        self
    }

    fn in_file(self, file: &Path) -> Self {
        Self::InFile {
            file: file.to_owned(),
            inner: Box::new(self),
        }
    }
}

impl From<ClientRefusal> for ImportError {
    fn from(refusal: ClientRefusal) -> Self {
        Self::Operation(refusal.into())
    }
}

/// One import under way.
struct Import {
    operations: Operations,
    context: Context,
    files: Files,
    options: Options,
    report: Report,
    tell: Tell,
    /// Subjects that this run imported, or found here: eight bytes each.
    subjects: HashSet<u64>,
    /// Clients that this run has met, by their key in the other server's tables.
    client_ids: HashSet<String>,
    /// Refresh tokens that this run has met: eight bytes each.
    tokens: HashSet<u64>,
}

/// Imports, or says what would be imported.
pub async fn import(
    operations: &Operations,
    context: &Context,
    files: Files,
    options: Options,
    tell: Tell,
) -> Result<Report, ImportError> {
    let skipped: Option<Box<dyn std::io::Write + Send>> = match &options.skipped_file {
        Some(path) => Some(Box::new(std::io::BufWriter::new(
            std::fs::File::create(path).map_err(ImportError::Report)?,
        ))),
        None => None,
    };
    let mut context = context.clone();
    context.note = Some(format!("import {}", options.source));
    let mut import = Import {
        operations: operations.clone(),
        context,
        files,
        report: Report::new(&options.source, options.dry_run, skipped),
        options,
        tell,
        subjects: HashSet::new(),
        client_ids: HashSet::new(),
        tokens: HashSet::new(),
    };
    // Held until the end. A dry run changes nothing, and is in nobody's way.
    let lock = if import.options.dry_run {
        None
    } else {
        Some(lock(operations).await?)
    };
    let done = import.run().await;
    if let Some(lock) = lock {
        // With the connection the lock is gone, whether or not the goodbye arrives.
        let _ = lock.close().await;
    }
    done?;
    import.report.finish()?;
    Ok(import.report)
}

/// A connection of its own that holds the lock of imports.
async fn lock(operations: &Operations) -> Result<PgConnection, ImportError> {
    let unavailable = |error| ImportError::from(LedgerError::Read(error));
    let options = operations.ledger.pool().connect_options();
    let mut connection = options.connect().await.map_err(unavailable)?;
    let is_ours: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
        .bind(LOCK)
        .fetch_one(&mut connection)
        .await
        .map_err(unavailable)?;
    is_ours.then_some(connection).ok_or(ImportError::Busy)
}

impl Import {
    async fn run(&mut self) -> Result<(), ImportError> {
        let table = match self.options.kind {
            Kind::Passport => passport::CLIENTS,
            Kind::Tables => tables::CLIENTS,
        };
        if !self.files.may_have(table) {
            return Err(ImportError::NoTable(table));
        }
        let (usage, tokens) = self.survey().await?;
        let clients = self.clients(&usage).await?;
        self.users().await?;
        self.grants(tokens, clients).await?;
        if self.report.changes_something() && !self.options.dry_run {
            self.complete().await?;
        }
        Ok(())
    }

    fn id_here(&self, kind: &str, id: &str) -> Uuid {
        record::id_here(&self.options.source, kind, id)
    }

    /// Puts the import on the trail.
    async fn complete(&self) -> Result<(), ImportError> {
        let (clients, users, grants) = match self.options.kind {
            Kind::Passport => (passport::CLIENTS, passport::USERS, passport::REFRESH_TOKENS),
            Kind::Tables => (tables::CLIENTS, tables::USERS, tables::REFRESH_TOKENS),
        };
        let event = ImportCompleted {
            source: self.options.source.clone(),
            scopes: u64::try_from(self.report.scopes.len()).unwrap_or_default(),
            clients: self.report.imported(clients),
            users: self.report.imported(users),
            grants: self.report.imported(grants),
            skipped: self.report.tables.values().map(|counts| counts.skipped).sum(),
        };
        let id = self
            .operations
            .ledger
            .random()
            .uuid()
            .map_err(LedgerError::from)?;
        let concluded = async {
            Ok::<_, LedgerError>(run!(
                self.operations,
                &self.context,
                Trail,
                id,
                &TrailCommand::CompleteImport(event.clone())
            ))
        };
        // A fresh random id: there is nothing that could refuse it.
        concluded.await?;
        Ok(())
    }
}

/// A set's entry for something that has a digest or an id: eight bytes of it.
fn short(bytes: &[u8]) -> u64 {
    bytes
        .first_chunk::<8>()
        .map_or(0, |head| u64::from_be_bytes(*head))
}
