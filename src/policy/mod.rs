//! Policies: rules that watch the ledger, raise alerts and act.
//!
//! - A [`rule::Fold`] is pure: events in, findings out, in the ledger's time, with bounded memory. [`rules`] has those that
//!   Grantlog brings along, [`sigma`] runs those that others wrote.
//! - The [`engine`] follows the ledger, on one node at a time, and acts on findings ([`act`]).
//! - A [`backtest`] runs the very same rules over history, and acts on nothing.
//!
//! Revoking on reuse is not here: a grant does that itself, in the append that found it ([`crate::domain::grant`]).
//! `docs/policies.md` is the manual.

mod act;
pub mod agent;
pub mod backtest;
pub mod contain;
pub mod dossier;
pub mod engine;
pub mod geoip;
pub mod kind;
pub mod memory;
pub mod observed;
mod read;
pub mod replay;
pub mod rule;
pub mod rules;
pub mod setting;
pub mod sigma;
mod sigma_cap;
mod state;
pub mod watch;

pub use act::{THROTTLED_FOR, THROTTLED_PER_MINUTE};
pub use engine::PolicyEngine;
pub use state::{EngineStatus, measure, status};

use crate::crypto::CryptoError;
use crate::domain::UnknownEvent;
use crate::ledger::{LedgerError, Misshapen};

/// Why policies, or a back-test, came to a stop. What was acted upon stays, and is not done again.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// The ledger did not take an alert.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// What a policy says cannot be read by this build.
    #[error(transparent)]
    UnknownEvent(#[from] UnknownEvent),
    /// A state could not be sealed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// A state could not be written down.
    #[error("the state of a rule could not be written down")]
    State(#[from] serde_json::Error),
    /// A rule that was brought along cannot be run.
    #[error(transparent)]
    Sigma(#[from] sigma::SigmaError),
    /// The cursor is where the ledger has not come: what is appended until then would not be watched.
    #[error("the cursor of the policies is at {0}, beyond the ledger's head: somebody moved it")]
    Beyond(i64),
    /// The ledger is not the one that was signed: nothing is done because of what it says.
    #[error(transparent)]
    Fault(#[from] crate::evidence::Fault),
    /// Another node moved the cursor.
    #[error("another node has taken over")]
    Overtaken,
    /// A rule of a back-test cannot be set so.
    #[error(transparent)]
    Setting(#[from] setting::SettingError),
    /// A back-test would read more than was let.
    #[error(
        "the rules would read {positions} positions, with those before the stretch that they have to know, and at most \
         {most} may be"
    )]
    TooMuch {
        /// How many it would read.
        positions: i64,
        /// How many it may.
        most: i64,
    },
    /// What the database sent of the ledger is no such thing.
    #[error("the database's copy of the ledger could not be read")]
    Copy,
    /// A reader ended before its time.
    #[error("a reader of the ledger ended before its time")]
    Reader,
}

impl From<Misshapen> for PolicyError {
    fn from(_: Misshapen) -> Self {
        Self::Copy
    }
}
