//! Legal holds: a user whose data must be kept is not erased, and what their grants did is not detached. The reasons
//! may name persons, so they are sealed under the subject's key.

use schemars::JsonSchema;

use super::user::place;
use super::{OperationError, Operations, run};
use crate::clock::Timestamp;
use crate::crypto::vault::KeyOwner;
use crate::domain::user::{LegalHold, User, UserCommand};
use crate::ids::SubjectId;
use crate::ledger::{Context, LedgerError};

/// The member that a hold's reasons are sealed for.
const FIELD: &str = "legal_hold";
/// The most characters of a reason.
const MAX_REASON: usize = 2000;

/// A hold that is in force, decrypted.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, JsonSchema)]
pub struct StandingHold {
    /// Why, in the administrator's words.
    pub reason: String,
    /// When it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Operations {
    /// Places a hold, or makes one that stands say more or last longer.
    pub async fn place_hold(
        &self,
        context: &Context,
        subject: SubjectId,
        reason: &str,
        until: Option<Timestamp>,
    ) -> Result<(), OperationError> {
        let at = self.ledger.clock().now();
        if until.is_some_and(|until| until <= at) {
            return Err(OperationError::invalid("until", "it is over already"));
        }
        let reason = self.seal_reason(subject, reason).await?;
        let hold = LegalHold { reason, until };
        let command = UserCommand::PlaceHold { hold, at };
        Ok(run!(self, context, User, subject.0, &command).outcome?)
    }

    /// Ends the hold.
    pub async fn lift_hold(
        &self,
        context: &Context,
        subject: SubjectId,
        reason: &str,
    ) -> Result<(), OperationError> {
        let reason = self.seal_reason(subject, reason).await?;
        let command = UserCommand::LiftHold { reason };
        Ok(run!(self, context, User, subject.0, &command).outcome?)
    }

    /// The hold that keeps a user's data now; none where nothing does.
    pub async fn standing_hold(&self, subject: SubjectId) -> Result<Option<StandingHold>, LedgerError> {
        let user = self.load::<User>(subject.0).await?;
        let now = self.ledger.clock().now();
        let hold = user
            .account
            .as_ref()
            .and_then(|account| account.legal_hold.as_ref());
        let Some(hold) = hold.filter(|hold| hold.holds_at(now)) else {
            return Ok(None);
        };
        let key = self.ledger.vault().find(&KeyOwner::subject(subject)).await?;
        let reason = key.and_then(|key| key.open(&place(subject, FIELD), &hold.reason).ok());
        Ok(Some(StandingHold {
            reason: reason.unwrap_or_else(|| "(the reason cannot be read)".to_owned()),
            until: hold.until,
        }))
    }

    async fn seal_reason(
        &self,
        subject: SubjectId,
        reason: &str,
    ) -> Result<crate::domain::value::Sealed, OperationError> {
        let reason = reason.trim();
        if reason.is_empty() || reason.chars().count() > MAX_REASON {
            return Err(OperationError::invalid("reason", "it needs 1 to 2000 characters"));
        }
        self.seal_existing(subject, FIELD, reason).await
    }
}
