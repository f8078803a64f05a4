//! The `trail` aggregate: what was done with the ledger as a whole. Each act is an aggregate of its own.

use serde::{Deserialize, Serialize};

use super::{Decision, aggregate};

events! {
    /// Events of one act on the ledger.
    pub enum TrailEvent of "trail" {
        /// An import of another server's data came to its end, and had brought something.
        ImportCompleted 1 {
            /// Which import.
            source: String,
            /// Scopes that it defined.
            scopes: u64,
            /// Clients that it registered.
            clients: u64,
            /// Users that it registered.
            users: u64,
            /// Refresh tokens that it took over.
            grants: u64,
            /// Rows that it left out, of all tables.
            skipped: u64,
        },
    }
}

/// One act's state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Trail {
    /// The import that it was.
    pub import: Option<ImportCompleted>,
}

/// Commands on the trail.
#[derive(Clone, Debug)]
pub enum TrailCommand {
    /// Record an import.
    CompleteImport(ImportCompleted),
}

/// Why a command on the trail was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TrailRefusal {
    /// The id is in use.
    #[error("this is on the trail already")]
    Exists,
}

impl Trail {
    /// Decides a command.
    #[must_use]
    pub fn decide(&self, command: &TrailCommand) -> Decision<TrailEvent, (), TrailRefusal> {
        match command {
            TrailCommand::CompleteImport(_) if self.import.is_some() => {
                Decision::refuse(TrailRefusal::Exists)
            }
            TrailCommand::CompleteImport(event) => Decision::accept(vec![event.clone().into()], ()),
        }
    }

    fn evolve(&mut self, event: TrailEvent) {
        let TrailEvent::ImportCompleted(import) = event;
        self.import = Some(import);
    }
}

aggregate!(Trail, Trail, "trail", TrailCommand, TrailEvent, TrailRefusal);
