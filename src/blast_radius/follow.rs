//! What came of something, step by step: of an act what it changed, of a credential or an address what it opened, of a
//! login, a trust or a leave to register what was given on it, of tokens what they were exchanged for.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::concern::{Concern, found_noting};
use super::{BlastRadiusError, Window};
use crate::domain::LedgerEvent;
use crate::domain::grant::GrantEvent;
use crate::ids::{ClientKey, GrantId, IssuerKey, RequestId, SessionId, SubjectId};
use crate::ledger::{LANE, LedgerError, Metadata, StoredEvent};
use crate::operations::Operations;
use crate::trail::{Key, Query, Stretch};

/// The events by which a login is begun or renewed.
const LOGINS: [&str; 2] = ["SessionStarted", "SessionReauthenticated"];

fn of_types(names: &[&str]) -> Query {
    Query::new().and_any(names.iter().map(|name| Key::EventType((*name).to_owned())))
}

fn decode(event: &StoredEvent) -> Result<GrantEvent, LedgerError> {
    Ok(GrantEvent::decode(
        &event.event_type,
        event.event_version,
        &event.payload,
    )?)
}

/// What a request changed: whatever came of that is its own, from then on.
pub(super) async fn act(
    operations: &Operations,
    concern: &mut Concern,
    (request, window): (RequestId, &mut Window),
) -> Result<(), BlastRadiusError> {
    let query = concern.query();
    let noted = (&mut concern.truncated, "request");
    let events = found_noting(operations, (&query, Stretch::ALL), noted).await?;
    let first = events.first().ok_or(BlastRadiusError::UnknownRequest(request))?;
    if first.position > window.stretch.upto {
        return Err(BlastRadiusError::LaterRequest(request));
    }
    window.begin_with(first.position, first.recorded_at);
    for event in &events {
        let id = event.aggregate_id;
        match event.aggregate_type.as_str() {
            "client" => own_client(concern, ClientKey(id)),
            "user" => {
                concern.subjects.insert(SubjectId(id));
                concern.add(Key::Subject(SubjectId(id)));
            }
            "grant" => own_grant(concern, GrantId(id)),
            "session" => {
                concern.sessions.insert(SessionId(id));
                concern.add(Key::Session(SessionId(id)));
            }
            "trusted_issuer" => {
                concern.issuers.insert(IssuerKey(id));
            }
            "initial_access_token" => {
                concern.registrations.insert(id);
            }
            // Found as an event, and no token comes of it by itself.
            _ => {}
        }
    }
    registered(operations, concern, window).await?;
    accepted(operations, concern, window).await
}

fn own_client(concern: &mut Concern, client: ClientKey) {
    concern.acts_as.insert(client);
    concern.clients.insert(client);
    concern.add(Key::Client(client));
}

fn own_grant(concern: &mut Concern, grant: GrantId) {
    concern.grants.insert(grant);
    concern.add(Key::Grant(grant));
}

/// The clients that were registered with its initial access tokens (RFC 7591 §1.2).
async fn registered(
    operations: &Operations,
    concern: &mut Concern,
    window: &Window,
) -> Result<(), BlastRadiusError> {
    let tokens: Vec<Uuid> = concern.registrations.iter().copied().collect();
    let clients: Vec<Uuid> = sqlx::query_scalar(
        "SELECT (payload->>'client')::uuid FROM grantlog.ledger \
         WHERE lane = $1 AND aggregate_type = 'initial_access_token' AND aggregate_id = ANY ($2) \
           AND event_type = 'InitialAccessTokenUsed' AND position > $3 AND position <= $4 ORDER BY position",
    )
    .bind(LANE)
    .bind(tokens)
    .bind(window.stretch.after)
    .bind(window.stretch.upto)
    .fetch_all(operations.ledger.pool())
    .await?;
    for client in clients {
        own_client(concern, ClientKey(client));
    }
    Ok(())
}

/// The grants that assertions of its issuers were accepted for (RFC 7523 §2.1).
async fn accepted(
    operations: &Operations,
    concern: &mut Concern,
    window: &Window,
) -> Result<(), BlastRadiusError> {
    if concern.issuers.is_empty() {
        return Ok(());
    }
    let query = of_types(&["AssertionAccepted"]);
    let noted = (&mut concern.truncated, "assertions");
    for event in &found_noting(operations, (&query, window.stretch), noted).await? {
        if let GrantEvent::AssertionAccepted(accepted) = decode(event)?
            && concern.issuers.contains(&accepted.issuer)
        {
            own_grant(concern, GrantId(event.aggregate_id));
        }
    }
    Ok(())
}

/// The grants that were begun or renewed, the logins that were begun, renewed or used for a grant, and the clients that
/// somebody authenticated as.
pub(super) async fn opened(
    operations: &Operations,
    concern: &mut Concern,
    window: &Window,
) -> Result<(), BlastRadiusError> {
    let query = concern.query();
    let noted = (&mut concern.truncated, "grants");
    for event in &found_noting(operations, (&query, window.stretch), noted).await? {
        let metadata = Metadata::read(&event.metadata)?;
        if event.aggregate_type == "grant" {
            concern.grants.insert(GrantId(event.aggregate_id));
        }
        if !concern.networks.is_empty() {
            // From an address anybody may have authenticated; whoever was there had the login's cookie.
            concern.sessions.extend(login_of(event)?);
            continue;
        }
        // With a key its owner has authenticated.
        let client = metadata.actor.strip_prefix("client:").filter(|_| {
            let how = metadata.authentication.as_ref();
            how.is_some_and(|how| how.kid.is_some() || how.certificate.is_some())
        });
        let client = client.and_then(|client| Uuid::try_parse(client).ok());
        concern.acts_as.extend(client.map(ClientKey));
    }
    Ok(())
}

/// The login that an event began or renewed, or gave a grant in.
fn login_of(event: &StoredEvent) -> Result<Option<SessionId>, LedgerError> {
    if LOGINS.contains(&event.event_type.as_str()) {
        return Ok(Some(SessionId(event.aggregate_id)));
    }
    if event.aggregate_type != "grant" {
        return Ok(None);
    }
    let event = decode(event)?;
    if let GrantEvent::CodeIssued(event) = event {
        return Ok(event.session);
    }
    if let GrantEvent::DeviceAuthorizationApproved(event) = event {
        return Ok(Some(event.session));
    }
    Ok(None)
}

/// The logins of a user, up to the end of the window.
pub(super) async fn logins(
    operations: &Operations,
    concern: &mut Concern,
    (subject, window): (SubjectId, &Window),
) -> Result<(), BlastRadiusError> {
    let query = of_types(&LOGINS).and(&Key::Subject(subject));
    let upto = Stretch {
        after: 0,
        upto: window.stretch.upto,
    };
    let noted = (&mut concern.truncated, "sessions");
    let events = found_noting(operations, (&query, upto), noted).await?;
    let sessions = events.iter().map(|event| SessionId(event.aggregate_id));
    concern.sessions.extend(sessions);
    Ok(())
}

/// The grants that were given in its logins within the window, from wherever.
pub(super) async fn given_in_sessions(
    operations: &Operations,
    concern: &mut Concern,
    window: &Window,
) -> Result<(), BlastRadiusError> {
    // All of a user's grants are the user's own anyway.
    if concern.sessions.is_empty() || !concern.subjects.is_empty() {
        return Ok(());
    }
    let sessions: BTreeSet<SessionId> = concern.sessions.clone();
    let query = Query::new().and_any(sessions.into_iter().map(Key::Session));
    let noted = (&mut concern.truncated, "grants");
    for event in &found_noting(operations, (&query, window.stretch), noted).await? {
        if event.aggregate_type == "grant" {
            concern.grants.insert(GrantId(event.aggregate_id));
        }
    }
    Ok(())
}

/// The grants of tokens that were exchanged for its own, however many exchanges later: each names all that it rests on.
pub(super) async fn exchanged(
    operations: &Operations,
    concern: &mut Concern,
    window: &Window,
) -> Result<(), BlastRadiusError> {
    let grants = concern.grants.iter().copied().map(Key::Grant);
    let clients = concern.clients.iter().copied().map(Key::Client);
    let query = of_types(&["TokenExchanged"]).and_any(grants.chain(clients));
    let upto = Stretch {
        after: 0,
        upto: window.stretch.upto,
    };
    let noted = (&mut concern.truncated, "exchanged");
    for event in &found_noting(operations, (&query, upto), noted).await? {
        if concern.is_behind(&decode(event)?) {
            concern.exchanged.insert(GrantId(event.aggregate_id));
        }
    }
    for grant in concern.exchanged.clone() {
        concern.add(Key::Grant(grant));
    }
    Ok(())
}
