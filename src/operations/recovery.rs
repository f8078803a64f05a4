//! Recovery: the ledger is older than what was signed, and what is lost is lost for good. A new epoch begins, and
//! everything ends that the lost events may have changed.

use uuid::Uuid;

use super::{OperationError, Operations, run};
use crate::domain::session::{Session, SessionCommand, SessionEndRevokes};
use crate::domain::trail::{EpochOpened, Trail, TrailCommand};
use crate::domain::value::Digest;
use crate::evidence::checkpoint::Checkpoint;
use crate::evidence::store::{self, signed};
use crate::evidence::{EvidenceError, Fault};
use crate::ids::GrantId;
use crate::ledger::{Context, LANE, LedgerError};
use crate::policy::contain::{By, Contained, Containment};

/// What was signed and is not in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The last position that the ledger surely has as it was signed.
    pub kept: u64,
    /// The last position that was signed.
    pub signed: u64,
    /// The root of the tree that was signed.
    pub root: Digest,
}

/// What ended with an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndedWithEpoch {
    /// Grants that were revoked.
    pub grants: usize,
    /// Browser logins that were ended.
    pub sessions: usize,
}

impl Operations {
    /// What of these checkpoints is lost; none where the ledger is the one that they were signed over.
    pub async fn loss(&self, checkpoints: &[Checkpoint]) -> Result<Option<Loss>, EvidenceError> {
        let pool = self.ledger.pool();
        let log = store::read(pool).await?;
        if log.head < log.size {
            // The two are of different moments: no epoch mends that.
            let (ledger, signed) = (log.head, log.size);
            return Err(Fault::RolledBack { ledger, signed }.into());
        }
        let mut kept = 0;
        let mut lost: Option<&Checkpoint> = None;
        for checkpoint in checkpoints {
            if checkpoint.size > log.size {
                kept = kept.max(log.size);
            } else if store::root_at(pool, checkpoint.size).await? == Some(checkpoint.root) {
                kept = kept.max(checkpoint.size);
                continue;
            }
            if lost.is_none_or(|known| known.size < checkpoint.size) {
                lost = Some(checkpoint);
            }
        }
        Ok(lost.map(|lost| Loss {
            kept: kept.min(lost.size),
            signed: lost.size,
            root: Digest(lost.root),
        }))
    }

    /// Records the epoch that the head is in, and revokes every grant and ends every login that may be alive: each may
    /// have been used, revoked or ended in what is lost. Done again it does what was left.
    pub async fn begin_epoch(
        &self,
        context: &Context,
        loss: &Loss,
        reason: &str,
    ) -> Result<EndedWithEpoch, OperationError> {
        let epoch: i64 = sqlx::query_scalar("SELECT epoch FROM grantlog.head WHERE lane = $1")
            .bind(LANE)
            .fetch_one(self.ledger.pool())
            .await
            .map_err(LedgerError::from)?;
        let id = self.ledger.random().uuid().map_err(LedgerError::from)?;
        let command = TrailCommand::OpenEpoch(EpochOpened {
            epoch,
            kept: signed(loss.kept),
            signed: signed(loss.signed),
            root: loss.root,
        });
        run!(self, context, Trail, id, &command).outcome?;
        let grants = self.maybe_alive(LIVE_GRANTS).await?;
        let containment = Containment {
            by: By::Window,
            since: None,
            until: None,
            whole: false,
            reason: reason.to_owned(),
        };
        let found = Contained {
            grants: grants.iter().copied().map(GrantId).collect(),
            ..Contained::default()
        };
        containment
            .apply(self, (context, found), |_| std::future::ready(Ok(true)))
            .await?;
        let mut ended = EndedWithEpoch {
            grants: grants.len(),
            sessions: 0,
        };
        let command = SessionCommand::End {
            reason: "epoch".to_owned(),
            revokes: SessionEndRevokes::All,
        };
        for session in self.maybe_alive(LIVE_SESSIONS).await? {
            let concluded = run!(self, context, Session, session, &command);
            ended.sessions += usize::from(concluded.outcome.is_ok());
        }
        Ok(ended)
    }

    async fn maybe_alive(&self, query: &str) -> Result<Vec<Uuid>, LedgerError> {
        Ok(sqlx::query_scalar(query)
            .bind(LANE)
            .bind(self.ledger.clock().now())
            .fetch_all(self.ledger.pool())
            .await?)
    }
}

/// Grants that have not expired and were not revoked as a whole.
const LIVE_GRANTS: &str = "SELECT g.aggregate_id FROM grantlog.ledger_grant AS g \
    WHERE g.lane = $1 AND g.sequence = 1 AND (g.payload->>'grant_expires_at')::timestamptz > $2 \
      AND NOT EXISTS (SELECT FROM grantlog.ledger_grant AS r WHERE r.lane = $1 AND r.aggregate_type = 'grant' \
          AND r.aggregate_id = g.aggregate_id AND r.event_type = 'TokenRevoked' AND r.payload->>'target' = 'family') \
    ORDER BY g.aggregate_id";

/// Logins that have not expired and were not ended.
const LIVE_SESSIONS: &str = "SELECT s.aggregate_id FROM grantlog.ledger_session AS s \
    WHERE s.lane = $1 AND s.event_type IN ('SessionStarted', 'SessionReauthenticated') \
      AND (s.payload->>'expires_at')::timestamptz > $2 \
      AND NOT EXISTS (SELECT FROM grantlog.ledger_session AS e WHERE e.lane = $1 AND e.aggregate_type = 'session' \
          AND e.aggregate_id = s.aggregate_id AND e.event_type = 'SessionEnded') \
    GROUP BY s.aggregate_id ORDER BY s.aggregate_id";
