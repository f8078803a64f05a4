//! Why a projection could not go on.

use sqlx::error::DatabaseError;

use crate::crypto::vault::VaultError;
use crate::domain::UnknownEvent;
use crate::ledger::Misshapen;

/// Why projections could not be folded, built, compared or waited for.
#[derive(Debug, thiserror::Error)]
pub enum ProjectionError {
    /// The database.
    #[error("{}", describe(.0))]
    Database(#[from] sqlx::Error),
    /// An event that this build cannot read.
    #[error(transparent)]
    UnknownEvent(#[from] UnknownEvent),
    /// The data keys.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A name that no projection has.
    #[error("there is no projection {0}")]
    NoSuchProjection(String),
    /// One rebuild or verification at a time.
    #[error("another rebuild or verification of projections is under way")]
    Busy,
    /// The runner was stopped.
    #[error("the projection runner has stopped")]
    Stopped,
    /// A projection stands still.
    #[error("projection {0} stands still: {1}")]
    StandsStill(String, String),
    /// A fold made a row whose cells are not its columns.
    #[error("a row does not fit its table")]
    Mismatch,
    /// The bytes of a COPY are not what they should be.
    #[error("the database's copy of the ledger could not be read")]
    Copy,
    /// A task of a rebuild ended early.
    #[error("a part of the rebuild ended early")]
    Interrupted,
    /// A schema to replay into that is there and is not to be replaced, or that no replay made.
    #[error(
        "there is a schema {0} already; only one that a replay made can be replaced, and only where that is asked for"
    )]
    SchemaExists(String),
    /// Something about filling a scratch database.
    #[error("{0}")]
    Bench(String),
}

impl From<super::cell::Mismatch> for ProjectionError {
    fn from(_: super::cell::Mismatch) -> Self {
        Self::Mismatch
    }
}

/// Postgres's messages may quote values, so only the code is told.
fn describe(error: &sqlx::Error) -> String {
    error.as_database_error().map_or_else(
        || format!("the database could not be used: {error}"),
        |refused| {
            let code = refused.code().unwrap_or_default();
            format!("the database refused it (SQLSTATE {code})")
        },
    )
}

impl ProjectionError {
    /// Whether the same may succeed on another connection, or a little later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Database(error) | Self::Vault(VaultError::Unavailable(error)) => is_passing(error),
            Self::UnknownEvent(_)
            | Self::Vault(VaultError::Unreadable(_))
            | Self::NoSuchProjection(_)
            | Self::Busy
            | Self::Stopped
            | Self::StandsStill(..)
            | Self::Mismatch
            | Self::SchemaExists(_)
            | Self::Copy
            | Self::Interrupted
            | Self::Bench(_) => false,
        }
    }
}

impl From<Misshapen> for ProjectionError {
    fn from(_: Misshapen) -> Self {
        Self::Copy
    }
}

fn is_passing(error: &sqlx::Error) -> bool {
    if let Some(code) = error.as_database_error().and_then(DatabaseError::code) {
        return ["08", "25", "40", "53", "55P03", "57", "58"]
            .iter()
            .any(|class| code.starts_with(class));
    }
    matches!(
        error,
        sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::PoolClosed
            | sqlx::Error::PoolTimedOut
    )
}

/// Whether a statement gave up waiting for a lock.
pub(super) fn is_lock_timeout(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(DatabaseError::code)
        .is_some_and(|code| code == "55P03")
}
