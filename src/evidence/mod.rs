//! Evidence: a Merkle tree over the ledger, by which whoever has an old checkpoint finds every change of what it covers.
//!
//! - [`leaf`]: a row of the ledger as bytes; [`tree`]: RFC 6962; [`tile`]: C2SP tlog-tiles; [`note`] and [`checkpoint`]:
//!   C2SP signed-note and tlog-checkpoint; [`proof`]: C2SP tlog-proof. All pure.
//! - [`sealer`] follows the ledger, extends the tree and signs; [`store`] is where the tree lies; [`standing`] is what a
//!   node remembers of it, so that it notices when it is served an older or another one.
//! - [`export`] and [`verify`] are for auditors, [`witness`] is about those who cosign.
//!
//! `docs/evidence.md` says what all of it is for, and defines it for third parties.

pub mod archive;
pub mod bounded;
pub mod checkpoint;
pub mod detached;
pub mod export;
pub mod leaf;
pub mod note;
pub mod origin;
pub mod proof;
pub mod prove;
pub mod sealer;
pub mod standing;
pub mod store;
pub mod tile;
pub mod tree;
pub mod verify;
pub mod witness;

pub use sealer::Sealer;
pub use standing::{Fault, Standing};

/// Why evidence could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The database did not answer.
    #[error("the database could not be read or written: {0}")]
    Database(#[from] sqlx::Error),
    /// A file of an export could not be read.
    #[error("{} cannot be read: {source}", path.display())]
    File {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The ledger or its keys failed.
    #[error(transparent)]
    Ledger(#[from] crate::ledger::LedgerError),
    /// The log's key could not be made.
    #[error(transparent)]
    Operation(#[from] crate::operations::OperationError),
    /// There is no key to sign with.
    #[error("the evidence log has no key that opens: see `grantlog audit key list`")]
    NoKey,
    /// A position is missing, or is there twice.
    #[error("the ledger has no event at position {0}, or more than one")]
    Gap(u64),
    /// The event is not in the ledger any more.
    #[error(
        "the event at position {0} was taken out of the ledger with its quarter: it and its proof are in the export that \
         was made then"
    )]
    Detached(u64),
    /// A sealed row is not the one that was sealed.
    #[error("the event at position {0} is not the one that was sealed")]
    Changed(u64),
    /// An event does not fit into an entry.
    #[error("the event at position {0} is larger than an entry of the log can be")]
    TooLarge(u64),
    /// The stored tiles are not those of the signed tree.
    #[error("the stored tiles do not make up the tree of {0} leaves that was signed")]
    Tiles(u64),
    /// The stored checkpoint cannot be read.
    #[error("the stored checkpoint cannot be read")]
    Checkpoint,
    /// The ledger is not the one that was signed.
    #[error(transparent)]
    Fault(#[from] Fault),
}
