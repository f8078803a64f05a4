//! Streams: the ledger's events on their way to other systems, in order, at least once.
//!
//! - A stream is defined by events ([`crate::domain::stream`]); how far it has come is a row of its own ([`store`]). One
//!   node at a time leases the row, reads what comes next ([`read`]), hands it to a [`Sink`] and moves the row past what
//!   was acknowledged ([`worker`]). What follows from a delivery is a pure decision ([`course`]).
//! - A [`sink`] is one way to deliver: [`webhook`], [`nats`], [`ocsf::file`], [`ocsf::http`], [`syslog`].
//! - The [`runner`] keeps a worker for each stream on every node.
//!
//! A node that dies in the middle of a delivery leaves the row as it was: the next one repeats that delivery, and skips
//! nothing. `docs/streams.md` is the manual.

pub mod cloud_event;
pub mod course;
pub mod envelope;
pub mod nats;
pub mod ocsf;
pub mod read;
pub mod runner;
pub mod sink;
pub mod standard_webhooks;
pub mod status;
pub mod store;
pub mod syslog;
pub mod webhook;
mod worker;

pub use envelope::{Checkpoint, Envelope};
pub use runner::{StreamRunner, Timing};
pub use sink::{Delivering, Delivery, Failure, Limits, Sink};
pub use status::{StreamStatus, measure, status};

use crate::crypto::CryptoError;
use crate::evidence::EvidenceError;
use crate::ledger::LedgerError;
use crate::operations::OperationError;

/// Why a stream, or the lot of them, came to a stop for a while. Nothing is lost by it.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The stream could not be paused.
    #[error(transparent)]
    Operation(#[from] OperationError),
    /// The last checkpoint could not be read.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// A secret does not open under this master key.
    #[error("a secret of the stream does not open under this master key")]
    Secret(#[from] CryptoError),
    /// Its settings cannot be used by this build.
    #[error("the stream cannot be opened: {0}")]
    Target(String),
    /// Another node holds the stream now.
    #[error("another node has taken over")]
    Overtaken,
}
