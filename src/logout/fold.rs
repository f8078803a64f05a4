//! The fold: which logins live, which grants were given in them, and what is to be done when one ends.

use std::sync::Arc;

use sqlx::PgConnection;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::{LONGEST_PAUSE, LogoutError, POLL, rest};
use crate::app::App;
use crate::clock::Timestamp;
use crate::domain::event::Event;
use crate::domain::grant::{DeviceAuthorizationRequested, GrantEvent};
use crate::domain::openid::{OFFLINE_ACCESS, OPENID};
use crate::domain::session::{SessionEndRevokes, SessionEnded, SessionEvent};
use crate::domain::user::UserEvent;
use crate::domain::value::ScopeSet;
use crate::ids::{ClientKey, SessionId, SubjectId};
use crate::ledger::LANE;

/// How many positions one transaction reads.
const WINDOW: i64 = 5_000;
/// The events that matter here.
const TYPES: [&str; 12] = [
    "SessionStarted",
    "SessionReauthenticated",
    "SessionEnded",
    "BackchannelLogoutDelivered",
    "BackchannelLogoutAbandoned",
    "CodeIssued",
    "CodeRedeemed",
    "DeviceAuthorizationApproved",
    "DeviceCodeRedeemed",
    "PasswordChanged",
    "UserDisabled",
    "SubjectKeyDestroyed",
];

/// Follows the ledger until told to stop.
pub(super) async fn run(app: App, news: Arc<Notify>, mut stopped: watch::Receiver<bool>) {
    let mut head = app.ledger.head();
    let mut pause = POLL;
    loop {
        match catch_up(&app).await {
            Ok(true) => {
                news.notify_one();
                pause = POLL;
                if *stopped.borrow() {
                    return;
                }
                continue;
            }
            Ok(false) => pause = POLL,
            Err(error) => {
                let cause = &error as &dyn std::error::Error;
                tracing::warn!(error = cause, "logouts cannot be followed, trying again");
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        let failed = pause > POLL;
        let moved = async {
            // A failure waits its time; a ledger that is closed announces nothing any more.
            if failed || head.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        if rest(&mut stopped, pause, moved).await {
            return;
        }
    }
}

type Row = (Uuid, String, String, i16, String, Timestamp);

/// Folds one window. False: there was nothing to do, or another node is at it.
async fn catch_up(app: &App) -> Result<bool, LogoutError> {
    app.evidence.require_sound()?;
    let mut transaction = app.ledger.pool().begin().await?;
    let cursor: Option<(i64, i64)> = sqlx::query_as(
        "SELECT c.position, h.position FROM grantlog.logout_cursor AS c, grantlog.head AS h \
         WHERE h.lane = $1 AND h.position > c.position FOR UPDATE OF c SKIP LOCKED",
    )
    .bind(LANE)
    .fetch_optional(&mut *transaction)
    .await?;
    let Some((position, head)) = cursor else {
        return Ok(false);
    };
    let upto = head.min(position + WINDOW);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT aggregate_id, aggregate_type, event_type, event_version, payload::text, recorded_at \
         FROM grantlog.ledger WHERE lane = $1 AND position > $2 AND position <= $3 AND event_type = ANY ($4) \
         ORDER BY position",
    )
    .bind(LANE)
    .bind(position)
    .bind(upto)
    .bind(TYPES.as_slice())
    .fetch_all(&mut *transaction)
    .await?;
    let now = rows.last().map(|row| row.5);
    for (id, aggregate, event_type, version, payload, at) in rows {
        let event = Event::decode(&aggregate, &event_type, version, &payload)?;
        fold(&mut transaction, id, event, at).await?;
    }
    // On the ledger's time, and with what was given in them.
    sqlx::query("DELETE FROM grantlog.live_sessions WHERE expires_at <= $1")
        .bind(now)
        .execute(&mut *transaction)
        .await?;
    sqlx::query("UPDATE grantlog.logout_cursor SET position = $1")
        .bind(upto)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(true)
}

async fn fold(db: &mut PgConnection, id: Uuid, event: Event, at: Timestamp) -> Result<(), LogoutError> {
    match event {
        Event::Session(event) => Ok(fold_session(db, id, event, at).await?),
        Event::Grant(event) => fold_grant(db, id, event).await,
        Event::User(
            UserEvent::PasswordChanged(_) | UserEvent::UserDisabled(_) | UserEvent::SubjectKeyDestroyed(_),
        ) => Ok(stale(db, SubjectId(id), at).await?),
        Event::User(_)
        | Event::Client(_)
        | Event::Scope(_)
        | Event::Consent(_)
        | Event::Refusal(_)
        | Event::SigningKey(_)
        | Event::Trail(_)
        | Event::InitialAccessToken(_)
        | Event::TrustedIssuer(_)
        | Event::SsfStream(_)
        | Event::Policy(_)
        | Event::Network(_)
        | Event::TokenUse(_)
        | Event::Stream(_)
        | Event::Alert(_)
        | Event::AuthorizationDetailType(_) => Ok(()),
    }
}

async fn fold_session(
    db: &mut PgConnection,
    id: Uuid,
    event: SessionEvent,
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    match event {
        SessionEvent::SessionStarted(event) => {
            sqlx::query(
                "INSERT INTO grantlog.live_sessions (session_id, subject, expires_at) VALUES ($1, $2, $3) \
                 ON CONFLICT DO NOTHING",
            )
            .bind(id)
            .bind(event.subject.0)
            .bind(event.expires_at)
            .execute(db)
            .await?;
        }
        SessionEvent::SessionReauthenticated(event) => {
            sqlx::query("UPDATE grantlog.live_sessions SET expires_at = $2 WHERE session_id = $1")
                .bind(id)
                .bind(event.expires_at)
                .execute(db)
                .await?;
        }
        SessionEvent::SessionEnded(event) => ended(db, id, &event, at).await?,
        SessionEvent::BackchannelLogoutDelivered(event) => told(db, id, event.client.0).await?,
        SessionEvent::BackchannelLogoutAbandoned(event) => told(db, id, event.client.0).await?,
    }
    Ok(())
}

/// Whom to tell, and what to revoke.
async fn ended(
    db: &mut PgConnection,
    session: Uuid,
    event: &SessionEnded,
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    let revokes = event.revokes.unwrap_or(SessionEndRevokes::None);
    sqlx::query(
        "INSERT INTO grantlog.logout_tasks (kind, session_id, target, subject, since, due_at) \
         SELECT 'tell', s.session_id, g.client, s.subject, $2, $2 \
         FROM grantlog.live_sessions AS s JOIN grantlog.session_grants AS g USING (session_id) \
         WHERE s.session_id = $1 AND g.openid AND g.redeemed \
         UNION \
         SELECT 'revoke', s.session_id, g.grant_id, s.subject, $2, $2 \
         FROM grantlog.live_sessions AS s JOIN grantlog.session_grants AS g USING (session_id) \
         WHERE s.session_id = $1 AND ($3 OR ($4 AND g.openid AND NOT g.offline)) \
         ON CONFLICT DO NOTHING",
    )
    .bind(session)
    .bind(at)
    .bind(revokes == SessionEndRevokes::All)
    .bind(revokes == SessionEndRevokes::Online)
    .execute(&mut *db)
    .await?;
    sqlx::query("DELETE FROM grantlog.live_sessions WHERE session_id = $1")
        .bind(session)
        .execute(db)
        .await?;
    Ok(())
}

async fn told(db: &mut PgConnection, session: Uuid, client: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM grantlog.logout_tasks WHERE kind = 'tell' AND session_id = $1 AND target = $2")
        .bind(session)
        .bind(client)
        .execute(db)
        .await
        .map(|_| ())
}

/// The user's logins hold no more, though nothing is written on them: each gets an end of its own, if it is not renewed
/// under the new password by then.
async fn stale(db: &mut PgConnection, subject: SubjectId, at: Timestamp) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO grantlog.logout_tasks (kind, session_id, target, subject, since, due_at) \
         SELECT 'end', session_id, session_id, subject, $2, $2 FROM grantlog.live_sessions WHERE subject = $1 \
         ON CONFLICT DO NOTHING",
    )
    .bind(subject.0)
    .bind(at)
    .execute(db)
    .await
    .map(|_| ())
}

async fn fold_grant(db: &mut PgConnection, id: Uuid, event: GrantEvent) -> Result<(), LogoutError> {
    match event {
        GrantEvent::CodeIssued(event) => {
            if let Some(session) = event.session {
                given(db, id, session, (event.client, &event.scope)).await?;
            }
        }
        GrantEvent::DeviceAuthorizationApproved(event) => {
            if let Some(asked) = device_request(db, id).await? {
                given(db, id, event.session, (asked.client, &asked.scope)).await?;
            }
        }
        GrantEvent::CodeRedeemed(_) | GrantEvent::DeviceCodeRedeemed(_) => {
            sqlx::query("UPDATE grantlog.session_grants SET redeemed = true WHERE grant_id = $1")
                .bind(id)
                .execute(db)
                .await?;
        }
        GrantEvent::DeviceAuthorizationRequested(_)
        | GrantEvent::DeviceAuthorizationDenied(_)
        | GrantEvent::DeviceCodeReplayed(_)
        | GrantEvent::TokenExchanged(_)
        | GrantEvent::AssertionAccepted(_)
        | GrantEvent::CodeReplayed(_)
        | GrantEvent::TokenIssued(_)
        | GrantEvent::GrantImported(_)
        | GrantEvent::RefreshRotated(_)
        | GrantEvent::AccessTokenRefreshed(_)
        | GrantEvent::RefreshRetried(_)
        | GrantEvent::GrantReplaced(_)
        | GrantEvent::RefreshReplayed(_)
        | GrantEvent::TokenRevoked(_) => {}
    }
    Ok(())
}

/// A grant was given in a login; not in one that this reader takes for expired: its row is gone.
async fn given(
    db: &mut PgConnection,
    grant: Uuid,
    session: SessionId,
    (client, scope): (ClientKey, &ScopeSet),
) -> Result<(), LogoutError> {
    sqlx::query(
        "INSERT INTO grantlog.session_grants (grant_id, session_id, client, openid, offline) \
         SELECT $1, session_id, $3, $4, $5 FROM grantlog.live_sessions WHERE session_id = $2 \
         ON CONFLICT DO NOTHING",
    )
    .bind(grant)
    .bind(session.0)
    .bind(client.0)
    .bind(scope.contains(OPENID))
    .bind(scope.contains(OFFLINE_ACCESS))
    .execute(db)
    .await?;
    Ok(())
}

/// What the device had asked for that a user approves.
async fn device_request(
    db: &mut PgConnection,
    grant: Uuid,
) -> Result<Option<DeviceAuthorizationRequested>, LogoutError> {
    let row: Option<(String, i16, String)> = sqlx::query_as(
        "SELECT event_type, event_version, payload::text FROM grantlog.ledger_grant \
         WHERE lane = $1 AND aggregate_type = 'grant' AND aggregate_id = $2 AND sequence = 1",
    )
    .bind(LANE)
    .bind(grant)
    .fetch_optional(db)
    .await?;
    let Some((event_type, version, payload)) = row else {
        return Ok(None);
    };
    let event = Event::decode("grant", &event_type, version, &payload)?;
    Ok(
        if let Event::Grant(GrantEvent::DeviceAuthorizationRequested(event)) = event {
            Some(event)
        } else {
            None
        },
    )
}
