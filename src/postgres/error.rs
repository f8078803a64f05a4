//! What can go wrong while a local `PostgreSQL` is found, made, started or stopped.

use std::io;
use std::path::{Path, PathBuf};

/// A failure of the embedded `PostgreSQL`. Every message says what to do next where something can be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// A file or directory could not be read, made or changed.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was attempted, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A program could not be run at all.
    #[error("cannot run {program}: {source}")]
    Spawn {
        /// The program.
        program: String,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A program ran and failed.
    #[error("{program} failed: {detail}")]
    Tool {
        /// The program.
        program: String,
        /// The end of what it printed.
        detail: String,
    },
    /// `PG_BIN` names a directory that cannot be used.
    #[error("PG_BIN is {}, but {problem}; point it at a directory with postgres and initdb, or unset it", directory.display())]
    PgBin {
        /// The directory.
        directory: PathBuf,
        /// Why it cannot be used.
        problem: String,
    },
    /// There is a `PostgreSQL`, but only older ones than we support.
    #[error(
        "PostgreSQL 14 or newer is needed, but only {found} was found; to get a newer one, run: {remedy}"
    )]
    TooOld {
        /// The versions and where they are.
        found: String,
        /// The command for this platform.
        remedy: String,
    },
    /// There is no `PostgreSQL` and none could be obtained.
    #[error("no PostgreSQL server (postgres and initdb) was found{attempts}; to install one, run: {remedy}")]
    NotFound {
        /// Why none was obtained, beginning with punctuation.
        attempts: String,
        /// The command for this platform.
        remedy: String,
    },
    /// The cluster needs another major version than the ones there are.
    #[error(
        "{} was made by PostgreSQL {major}, but there is only {found}; install PostgreSQL {major}, or \
         dump the database with it and restore the dump into a new data directory",
        cluster.display()
    )]
    OtherMajor {
        /// The cluster.
        cluster: PathBuf,
        /// The major version that made it.
        major: u32,
        /// The versions and where they are.
        found: String,
    },
    /// We are root, which `PostgreSQL` refuses to run as, and found nobody else to be.
    #[error("PostgreSQL does not run as root, and /etc/passwd has neither a user postgres nor a user nobody")]
    NoAccount,
    /// No directory is reachable for the user that `PostgreSQL` would run as.
    #[error(
        "the user {account}, as whom PostgreSQL must run, can reach neither {} nor any of the usual places; \
         choose a data directory whose parents that user may enter",
        wanted.display()
    )]
    Unreachable {
        /// The user.
        account: String,
        /// The directory that was asked for.
        wanted: PathBuf,
    },
    /// The data directory already is something else.
    #[error("{} {problem}; give a new or an empty directory", directory.display())]
    Occupied {
        /// The directory.
        directory: PathBuf,
        /// What it is.
        problem: &'static str,
    },
    /// A setting that the caller may not choose.
    #[error("the setting {name} cannot be given: {problem}")]
    Setting {
        /// The setting's name.
        name: String,
        /// Why not.
        problem: &'static str,
    },
    /// The server ended, or did not become ready, while it was starting.
    #[error("PostgreSQL did not start: {detail} (its log is {})", log.display())]
    Start {
        /// The log file.
        log: PathBuf,
        /// The end of the log.
        detail: String,
    },
    /// Another process holds the data directory without ever serving it.
    #[error(
        "another process has been busy with {} for {waited} s; end it, or choose another data directory",
        home.display()
    )]
    Busy {
        /// The data directory.
        home: PathBuf,
        /// For how long we have waited.
        waited: u64,
    },
    /// A server that we did not start offers no Unix socket, or one at another place than its predecessor.
    #[error("the PostgreSQL that already serves {} has no Unix socket where one is expected; stop it and try again", cluster.display())]
    NoSocket {
        /// The cluster.
        cluster: PathBuf,
    },
    /// The server did not end in time.
    #[error("PostgreSQL at {} has not stopped after {waited} s; its log is {}", home.display(), log.display())]
    Stop {
        /// The data directory.
        home: PathBuf,
        /// For how long we have waited.
        waited: u64,
        /// The log file.
        log: PathBuf,
    },
    /// The supervising thread ended early.
    #[error("the PostgreSQL supervisor ended unexpectedly")]
    SupervisorEnded,
}

impl PostgresError {
    /// For `map_err` on file operations.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}
