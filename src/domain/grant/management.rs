//! Grants that their client knows by an id (Grant Management for OAuth 2.0): created under it, or taking the place of what
//! was granted under it before. The id is that of the first grant, which remembers by which other it was replaced.

use serde::{Deserialize, Serialize};

use super::{
    Decision, Family, Grant, GrantEvent, GrantRefusal, GrantReplaced, Outcome, Reason, Target, TokenRevoked,
};
use crate::clock::Timestamp;
use crate::ids::GrantId;

/// What the `grant_management_action` of a grant's request was (Grant Management for OAuth 2.0 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Management {
    /// It has an id of its own.
    Create,
    /// It takes the place of what was granted under an id.
    Replace {
        /// The id.
        grant: GrantId,
    },
}

impl Management {
    /// The `grant_id` of a grant with this id of its own.
    #[must_use]
    pub fn grant_id(self, own: GrantId) -> GrantId {
        match self {
            Self::Create => own,
            Self::Replace { grant } => grant,
        }
    }
}

impl Grant {
    /// The family that began under a `grant_id` of its own; none where this grant has none, or another's.
    #[must_use]
    pub fn managed(&self) -> Option<&Family> {
        let family = self.family.as_deref();
        family.filter(|family| family.management == Some(Management::Create))
    }

    /// Whether it has ended because another took its place.
    #[must_use]
    pub fn gave_way(&self) -> bool {
        let family = self.family.as_deref();
        family.is_some_and(|family| family.revoked == Some(Reason::Replaced))
    }

    pub(super) fn is_replaced(&mut self, by: GrantId) {
        if let Some(family) = &mut self.family {
            family.replaced_by = Some(by);
        }
    }

    /// Hands the `grant_id` of this, the first grant under it, on to `by`.
    #[must_use]
    pub fn hand_on(&self, by: GrantId, at: Timestamp) -> Decision {
        if self.managed().is_none() {
            return Decision::refuse(GrantRefusal::Unknown);
        }
        Decision::accept(vec![GrantReplaced { by, at }.into()], Outcome::Revoked)
    }

    /// Ends what was granted before, for what takes its place. What was revoked is not brought back by being replaced.
    #[must_use]
    pub fn give_way(&self, at: Timestamp) -> Decision {
        let Some(family) = self.family.as_deref() else {
            return Decision::refuse(GrantRefusal::Unknown);
        };
        if family.revoked.is_some() {
            return Decision::refuse(GrantRefusal::Revoked);
        }
        let revoked = TokenRevoked {
            target: Target::Family,
            reason: Reason::Replaced,
            at,
        };
        Decision::accept(vec![GrantEvent::from(revoked)], Outcome::Revoked)
    }
}
