//! A command as the ledger takes it: events for one or more aggregates, what they rely on, names they claim.

use uuid::Uuid;

use crate::domain::AggregateType;

/// "The last sequence of this aggregate is `sequence`" (0: it does not exist).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Expectation {
    /// The aggregate's type.
    pub kind: AggregateType,
    /// Its id.
    pub id: Uuid,
    /// The last sequence seen.
    pub sequence: i64,
}

/// An event about to be appended.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The aggregate's type.
    pub kind: AggregateType,
    /// Its id.
    pub id: Uuid,
    /// The event's place in the aggregate.
    pub sequence: i64,
    /// The event's name.
    pub event_type: &'static str,
    /// The version of its payload.
    pub version: i16,
    /// Canonical JSON.
    pub payload: String,
    /// Canonical JSON.
    pub metadata: String,
}

/// A name claimed or given up in the same append.
#[derive(Clone, Debug)]
pub struct NameChange {
    /// What kind of name: `client_id`, `username`, `email`.
    pub kind: &'static str,
    /// Its keyed digest.
    pub digest: [u8; 32],
    /// Who has it.
    pub owner: (AggregateType, Uuid),
    /// Claim it, or give it up.
    pub claim: bool,
}

/// All or nothing: appended whole, or refused whole.
#[derive(Clone, Debug)]
pub struct Command {
    /// Stored with each event; a retry after a lost answer finds it.
    pub id: Uuid,
    /// For each written and each relied-on aggregate, the last sequence seen.
    pub expectations: Vec<Expectation>,
    /// The events, in order; those of one aggregate are numbered on from its expectation.
    pub events: Vec<NewEvent>,
    /// Names to claim or give up.
    pub names: Vec<NameChange>,
}

impl Command {
    /// The aggregates it writes.
    pub(super) fn written(&self) -> impl Iterator<Item = (AggregateType, Uuid)> {
        self.events.iter().map(|event| (event.kind, event.id))
    }
}
