//! The fold: which streams there are, who has to do with whom, and which signals go to whom.

use sqlx::PgConnection;
use tokio::sync::watch;
use uuid::Uuid;

use super::signals::{self, Signal, Whose};
use super::{SignalError, outbox, rounds};
use crate::app::App;
use crate::clock::Timestamp;
use crate::domain::consent::{Consent, ConsentEvent};
use crate::domain::event::Event;
use crate::domain::grant::GrantEvent;
use crate::domain::ssf_stream::{
    SignalType, SsfStreamEvent, SsfStreamStatusChanged, StreamDelivery, StreamSettings, StreamStatus,
};
use crate::domain::user::UserEvent;
use crate::ids::{ClientKey, SubjectId};
use crate::ledger::{LANE, Ledger, Metadata};

/// How many positions one transaction reads.
const WINDOW: i64 = 5_000;
/// The events that matter here.
const TYPES: [&str; 16] = [
    "ConsentGiven",
    "ConsentWithdrawn",
    "TokenIssued",
    "GrantImported",
    "SessionEnded",
    "PasswordChanged",
    "FreshLoginRequired",
    "UserDisabled",
    "UserEnabled",
    "SubjectKeyDestroyed",
    "SsfStreamCreated",
    "SsfStreamConfigured",
    "SsfStreamStatusChanged",
    "SsfSubjectAdded",
    "SsfSubjectRemoved",
    "SsfStreamDeleted",
];

/// Follows the ledger until told to stop.
pub(super) async fn run(app: App, stopped: watch::Receiver<bool>) {
    rounds(("the fold", &app), stopped, || catch_up(&app.ledger)).await;
}

type Row = (i64, Uuid, String, String, i16, String, String, Timestamp);

/// Folds one window. False: there was nothing to do, or another node is at it.
async fn catch_up(ledger: &Ledger) -> Result<bool, SignalError> {
    let mut transaction = ledger.pool().begin().await?;
    let cursor: Option<(i64, i64)> = sqlx::query_as(
        "SELECT c.position, h.position FROM grantlog.ssf_cursor AS c, grantlog.head AS h \
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
        "SELECT position, aggregate_id, aggregate_type, event_type, event_version, payload::text, metadata::text, \
         recorded_at FROM grantlog.ledger \
         WHERE lane = $1 AND position > $2 AND position <= $3 AND event_type = ANY ($4) ORDER BY position",
    )
    .bind(LANE)
    .bind(position)
    .bind(upto)
    .bind(TYPES.as_slice())
    .fetch_all(&mut *transaction)
    .await?;
    for (_, id, aggregate, event_type, version, payload, metadata, at) in rows {
        let event = Event::decode(&aggregate, &event_type, version, &payload)?;
        let metadata = Metadata::read(&metadata)?;
        fold(&mut transaction, id, &event, (&metadata, at)).await?;
    }
    sqlx::query("UPDATE grantlog.ssf_cursor SET position = $1")
        .bind(upto)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(true)
}

async fn fold(
    db: &mut PgConnection,
    id: Uuid,
    event: &Event,
    (metadata, at): (&Metadata, Timestamp),
) -> Result<(), SignalError> {
    match event {
        Event::Consent(ConsentEvent::ConsentGiven(event)) => {
            related(db, event.client, Some(event.subject)).await?;
        }
        Event::Consent(ConsentEvent::ConsentWithdrawn(_)) => {
            sqlx::query("DELETE FROM grantlog.ssf_relations WHERE consent_id = $1")
                .bind(id)
                .execute(&mut *db)
                .await?;
        }
        Event::Grant(GrantEvent::TokenIssued(event)) => related(db, event.client, event.subject).await?,
        Event::Grant(GrantEvent::GrantImported(event)) => related(db, event.client, event.subject).await?,
        Event::SsfStream(event) => fold_stream(db, id, event, at).await?,
        Event::Grant(_)
        | Event::Session(_)
        | Event::User(_)
        | Event::Client(_)
        | Event::Scope(_)
        | Event::AuthorizationDetailType(_)
        | Event::Refusal(_)
        | Event::SigningKey(_)
        | Event::Trail(_)
        | Event::InitialAccessToken(_)
        | Event::TrustedIssuer(_)
        | Event::Policy(_)
        | Event::Network(_)
        | Event::TokenUse(_)
        | Event::Stream(_)
        | Event::Alert(_) => {}
    }
    for signal in signals::of(event, id, &metadata.actor, at) {
        tell(db, &signal, metadata.request_id.0, at).await?;
    }
    if let Event::User(UserEvent::SubjectKeyDestroyed(_)) = event {
        sqlx::query("DELETE FROM grantlog.ssf_relations WHERE subject = $1")
            .bind(id)
            .execute(db)
            .await?;
    }
    Ok(())
}

/// A client has to do with a user. A consent that is withdrawn ends it.
async fn related(
    db: &mut PgConnection,
    client: ClientKey,
    subject: Option<SubjectId>,
) -> Result<(), sqlx::Error> {
    let Some(subject) = subject else {
        return Ok(());
    };
    sqlx::query(
        "INSERT INTO grantlog.ssf_relations (consent_id, client, subject) VALUES ($1, $2, $3) \
         ON CONFLICT DO NOTHING",
    )
    .bind(Consent::id(subject, client))
    .bind(client.0)
    .bind(subject.0)
    .execute(db)
    .await
    .map(|_| ())
}

/// Writes a token for each stream of a client that has to do with the user and wants to hear of it.
async fn tell(
    db: &mut PgConnection,
    signal: &Signal,
    request: Uuid,
    at: Timestamp,
) -> Result<(), SignalError> {
    let (subject, session) = match signal.whose {
        Whose::User(subject) => (Some(subject.0), None),
        Whose::Session(session) => (user_of(db, session.0).await?, Some(session.0)),
    };
    sqlx::query(
        "INSERT INTO grantlog.ssf_sets (stream_id, event_type, control, subject, session, request, body, made_at) \
         SELECT s.stream_id, $1, false, r.subject, $3, $4, $5, $6 \
         FROM grantlog.ssf_streams AS s JOIN grantlog.ssf_relations AS r USING (client) \
         WHERE r.subject = $2 AND s.status <> 'disabled' AND $1 = ANY (s.events) AND NOT EXISTS ( \
             SELECT FROM grantlog.ssf_exclusions AS e WHERE e.stream_id = s.stream_id AND e.subject = r.subject) \
         ORDER BY s.stream_id",
    )
    .bind(signal.kind.uri())
    .bind(subject)
    .bind(session)
    .bind(request)
    .bind(serde_json::to_string(&signal.body)?)
    .bind(at)
    .execute(db)
    .await?;
    Ok(())
}

/// Whose login it was.
async fn user_of(db: &mut PgConnection, session: Uuid) -> Result<Option<Uuid>, sqlx::Error> {
    let subject: Option<Option<Uuid>> = sqlx::query_scalar(
        "SELECT (payload->>'subject')::uuid FROM grantlog.ledger_session \
         WHERE lane = $1 AND aggregate_type = 'session' AND aggregate_id = $2 AND sequence = 1",
    )
    .bind(LANE)
    .bind(session)
    .fetch_optional(db)
    .await?;
    Ok(subject.flatten())
}

async fn fold_stream(
    db: &mut PgConnection,
    id: Uuid,
    event: &SsfStreamEvent,
    at: Timestamp,
) -> Result<(), SignalError> {
    match event {
        SsfStreamEvent::SsfStreamCreated(event) => {
            configure(db, (id, Some(event.client)), &event.settings, at).await?;
        }
        SsfStreamEvent::SsfStreamConfigured(event) => {
            configure(db, (id, None), &event.settings, at).await?;
        }
        SsfStreamEvent::SsfStreamStatusChanged(event) => change_status(db, id, event, at).await?,
        SsfStreamEvent::SsfSubjectAdded(event) => {
            sqlx::query("DELETE FROM grantlog.ssf_exclusions WHERE stream_id = $1 AND subject = $2")
                .bind(id)
                .bind(event.subject.0)
                .execute(db)
                .await?;
        }
        SsfStreamEvent::SsfSubjectRemoved(event) => {
            sqlx::query(
                "INSERT INTO grantlog.ssf_exclusions (stream_id, subject) VALUES ($1, $2) \
                 ON CONFLICT DO NOTHING",
            )
            .bind(id)
            .bind(event.subject.0)
            .execute(db)
            .await?;
        }
        SsfStreamEvent::SsfStreamDeleted(_) => {
            for table in ["ssf_streams", "ssf_sets", "ssf_push_headers", "ssf_verifications"] {
                sqlx::query(&format!("DELETE FROM grantlog.{table} WHERE stream_id = $1"))
                    .bind(id)
                    .execute(&mut *db)
                    .await?;
            }
        }
    }
    Ok(())
}

async fn configure(
    db: &mut PgConnection,
    (id, client): (Uuid, Option<ClientKey>),
    settings: &StreamSettings,
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    let events: Vec<&str> = settings.delivered().into_iter().map(SignalType::uri).collect();
    let push = matches!(settings.delivery, StreamDelivery::Push { .. });
    let statement = match client {
        Some(_) => {
            "INSERT INTO grantlog.ssf_streams (stream_id, client, status, events, push, due_at) \
             VALUES ($1, $5, 'enabled', $2, $3, $4) ON CONFLICT DO NOTHING"
        }
        // What a receiver cannot take may be what it has just mended.
        None => {
            "UPDATE grantlog.ssf_streams SET events = $2, push = $3, due_at = $4, attempts = 0 \
             WHERE stream_id = $1 AND $5::uuid IS NULL"
        }
    };
    sqlx::query(statement)
        .bind(id)
        .bind(events)
        .bind(push)
        .bind(at)
        .bind(client.map(|client| client.0))
        .execute(db)
        .await
        .map(|_| ())
}

async fn change_status(
    db: &mut PgConnection,
    id: Uuid,
    event: &SsfStreamStatusChanged,
    at: Timestamp,
) -> Result<(), SignalError> {
    sqlx::query(
        "UPDATE grantlog.ssf_streams SET status = $2, due_at = $3, attempts = 0 WHERE stream_id = $1",
    )
    .bind(id)
    .bind(event.status.name())
    .bind(at)
    .execute(&mut *db)
    .await?;
    if event.status == StreamStatus::Disabled {
        // SSF §8.1.2.1: nothing is held.
        sqlx::query("DELETE FROM grantlog.ssf_sets WHERE stream_id = $1")
            .bind(id)
            .execute(&mut *db)
            .await?;
    }
    if event.by_transmitter || event.is_by_operator() {
        outbox::tell_status(db, id, event, at).await?;
    }
    Ok(())
}
