//! Browser logins within a window: whoever had the cookie could have grants given, as many as the user's consents allow.

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::concern::Concern;
use super::{BlastRadiusError, Window};
use crate::clock::Timestamp;
use crate::domain::LedgerEvent;
use crate::domain::session::SessionEvent;
use crate::ids::{SessionId, SubjectId};
use crate::ledger::{LANE, LedgerError};
use crate::operations::Operations;

/// A browser login that was good within the window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ReachedSession {
    /// The login.
    pub session: SessionId,
    /// The position of the event that began it.
    pub position: i64,
    /// Whose.
    pub subject: SubjectId,
    /// When it was begun.
    pub good_from: Timestamp,
    /// When it expired or was ended, whichever came first.
    pub good_until: Timestamp,
    /// Why it ended before its time.
    pub ended_by: Option<String>,
    /// Whether it was still good when the window ended.
    pub good_at_end: bool,
}

impl ReachedSession {
    fn begun(session: Uuid, (position, at): (i64, Timestamp), event: &SessionEvent) -> Option<Self> {
        let SessionEvent::SessionStarted(event) = event else {
            return None;
        };
        Some(Self {
            session: SessionId(session),
            position,
            subject: event.subject,
            good_from: at,
            good_until: event.expires_at,
            ended_by: None,
            good_at_end: false,
        })
    }

    fn follow(&mut self, at: Timestamp, event: SessionEvent) {
        match event {
            SessionEvent::SessionReauthenticated(event) => self.good_until = event.expires_at,
            SessionEvent::SessionEnded(event) if at < self.good_until => {
                self.good_until = at;
                self.ended_by = Some(event.reason);
            }
            SessionEvent::SessionStarted(_)
            | SessionEvent::SessionEnded(_)
            | SessionEvent::BackchannelLogoutDelivered(_)
            | SessionEvent::BackchannelLogoutAbandoned(_) => {}
        }
    }
}

/// Session, position, event and time.
type Row = (Uuid, i64, String, i16, String, Timestamp);

/// Its logins that were good at some time of the window, in the order in which they began.
pub(super) async fn sessions(
    operations: &Operations,
    concern: &Concern,
    window: &Window,
) -> Result<Vec<ReachedSession>, BlastRadiusError> {
    let ids: Vec<Uuid> = concern.sessions.iter().map(|session| session.0).collect();
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT aggregate_id, position, event_type, event_version, payload::text, recorded_at \
         FROM grantlog.ledger_session WHERE lane = $1 AND aggregate_type = 'session' AND aggregate_id = ANY ($2) \
         ORDER BY aggregate_id, sequence",
    )
    .bind(LANE)
    .bind(ids)
    .fetch_all(operations.ledger.pool())
    .await?;
    let mut found: Vec<ReachedSession> = Vec::new();
    for (session, position, event_type, version, payload, at) in rows {
        let event = SessionEvent::decode(&event_type, version, &payload).map_err(LedgerError::from)?;
        match found.last_mut().filter(|known| known.session.0 == session) {
            Some(known) => known.follow(at, event),
            None => found.extend(ReachedSession::begun(session, (position, at), &event)),
        }
    }
    found.retain(|one| one.good_from < window.until && one.good_until > window.begins());
    for one in &mut found {
        one.good_at_end = one.good_until > window.until;
    }
    found.sort_unstable_by_key(|one| one.position);
    Ok(found)
}
