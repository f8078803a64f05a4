//! The `refusal` aggregate: one refused request, with the reason that its caller is not told.

mod class;
mod guide;
mod reason;

pub use class::RefusalClass;
pub use guide::{Advice, Guide, Severity};
pub use reason::RefusalReason;

use serde::{Deserialize, Serialize};

use super::{Decision, aggregate};
use crate::clock::Timestamp;
use crate::domain::value::Digest;
use crate::ids::{ClientKey, GrantId, SubjectId};

events! {
    /// Events about refused requests.
    pub enum RefusalEvent of "refusal" {
        /// A request was refused.
        RequestRefused 1 {
            /// The endpoint's path.
            endpoint: String,
            /// The error code that the caller was given.
            error: String,
            /// The precise reason, in a word: which check failed (`RefusalReason`).
            reason: String,
            /// The client, where it is known (claimed or authenticated).
            client: Option<ClientKey>,
            /// The user, where it is known.
            subject: Option<SubjectId>,
            /// The grant, where a credential's digest matched.
            grant: Option<GrantId>,
        },
        /// More requests were refused in a window than a source's budget lets onto the ledger one by one.
        RefusalsSuppressed 1 {
            /// How many were not recorded.
            count: u64,
            /// When the window began.
            since: Timestamp,
            /// When it ended.
            until: Timestamp,
            /// The network that they came from, as a digest keyed per month; none where too many sources were counted.
            network: Option<Digest>,
            /// The client that they named, claimed or authenticated.
            client: Option<ClientKey>,
            /// What they may have been tries at.
            class: Option<RefusalClass>,
        },
    }
}

/// A refusal's state: whether it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    recorded: bool,
}

/// The one command: record it.
pub type RefusalCommand = RefusalEvent;

/// Why a refusal was not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefusalRefusal {
    /// The id is in use.
    #[error("this refusal is recorded already")]
    Recorded,
}

impl Refusal {
    /// Decides the command.
    #[must_use]
    pub fn decide(&self, command: &RefusalCommand) -> Decision<RefusalEvent, (), RefusalRefusal> {
        if self.recorded {
            return Decision::refuse(RefusalRefusal::Recorded);
        }
        Decision::accept(vec![command.clone()], ())
    }

    fn evolve(&mut self, _event: RefusalEvent) {
        self.recorded = true;
    }
}

aggregate!(
    Refusal,
    Refusal,
    "refusal",
    RefusalCommand,
    RefusalEvent,
    RefusalRefusal
);
