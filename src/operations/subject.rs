//! What clients know users by (OpenID Connect Core §8): the user's id, or a pairwise subject, which leads back to its user
//! only here.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::Operations;
use crate::domain::client::Registration;
use crate::ids::SubjectId;
use crate::ledger::{LANE, LedgerError, retrying};

/// How many users are compared at a time.
const AT_ONCE: i64 = 10_000;

/// Whether a text has the form of a pairwise subject: 32 bytes in base64url.
#[must_use]
pub fn is_pairwise(text: &str) -> bool {
    URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == 32)
}

impl Operations {
    /// The `sub` of a user for a client.
    #[must_use]
    pub fn subject_for(&self, client: &Registration, subject: SubjectId) -> String {
        self.subject_in(client.pairwise_sector().as_deref(), subject)
    }

    /// The `sub` of a user for the clients of a sector; the user's id where there is none.
    #[must_use]
    pub fn subject_in(&self, sector: Option<&str>, subject: SubjectId) -> String {
        match sector {
            None => subject.to_string(),
            Some(sector) => {
                let master = self.ledger.vault().master();
                URL_SAFE_NO_PAD.encode(master.pairwise_subject(sector, subject))
            }
        }
    }

    /// The user whom a client knows by `sub`, erased ones included. A pairwise subject cannot be turned back, so it is
    /// made anew for one user after the other: no table links what is kept apart.
    pub async fn find_subject(
        &self,
        client: &Registration,
        sub: &str,
    ) -> Result<Option<SubjectId>, LedgerError> {
        let sector = client.pairwise_sector();
        let mut after = 0_i64;
        loop {
            let users: Vec<(i64, Uuid)> = retrying(|| async {
                sqlx::query_as(
                    "SELECT position, aggregate_id FROM grantlog.ledger_user \
                     WHERE lane = $1 AND position > $2 AND sequence = 1 ORDER BY position LIMIT $3",
                )
                .bind(LANE)
                .bind(after)
                .bind(AT_ONCE)
                .fetch_all(self.ledger.pool())
                .await
            })
            .await?;
            let Some((last, _)) = users.last() else {
                return Ok(None);
            };
            after = *last;
            let known = |user: &SubjectId| self.subject_in(sector.as_deref(), *user) == sub;
            let found = users.iter().map(|(_, id)| SubjectId(*id)).find(known);
            if found.is_some() {
                return Ok(found);
            }
        }
    }
}
