//! Client registration endpoint, RFC 7591 (with OpenID Connect Dynamic Client Registration) and, in [`manage`], the client
//! configuration endpoint of RFC 7592. There is neither where registration is off.

mod manage;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::answer;
use crate::app::App;
use crate::clock::Timestamp;
use crate::config::{RegistrationMode, Settings};
use crate::domain::client::{Client, Registration, SoftwareStatementAccepted};
use crate::domain::initial_access_token::{InitialAccessToken, RegistrationPermit};
use crate::domain::refusal::RefusalReason;
use crate::domain::value::ScopeSet;
use crate::http::context::Origin;
use crate::http::error::{RegistrationError, Rejection, no_store};
use crate::http::form;
use crate::http::limits::{Counted, counted_address};
use crate::ids::ClientKey;
use crate::ledger::{Actor, LedgerError};
use crate::operations::initial_access_token::PresentedInitialToken;
use crate::operations::self_registration::{self, NewRegistration, Terms};
use crate::unique_json::Unique;

/// The path.
pub const PATH: &str = "/oauth/register";
/// The most bytes of a registration.
const MAX_BYTES: usize = 32 * 1024;
/// What a path's segment holds as it is (RFC 3986 §2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The endpoints, where registration is on.
pub fn routes(mode: RegistrationMode) -> Router<App> {
    match mode {
        RegistrationMode::Off => Router::new(),
        RegistrationMode::InitialAccessToken | RegistrationMode::Open => {
            Router::new().route(PATH, post(register)).route(
                manage::PATH,
                get(manage::show).put(manage::replace).delete(manage::delete),
            )
        }
    }
}

/// A client registers itself.
async fn register(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let result = create(&app, &origin, &headers, body).await;
    answer(&app, &origin, PATH, result).await
}

async fn create(
    app: &App,
    origin: &Origin,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Rejection<RegistrationError>> {
    let (initial, permit) = leave(app, origin, headers).await?;
    let members = read(headers, body)?;
    let (members, statement) = stated(app, members, permit.software_statement)?;
    let terms = terms(app, &permit).await?;
    let returned = statement
        .as_ref()
        .and_then(|_| members.get("software_statement").cloned());
    let metadata = self_registration::metadata(members, &terms, None)?;
    app.operations.check_here(&metadata).await?;
    app.operations.check_sector(&metadata, None).await?;
    let context = origin.context(PATH, Actor::Anonymous);
    let new = NewRegistration {
        metadata,
        statement,
        initial,
    };
    let registered = app.operations.register_self(&context, new).await?;
    let client = app.operations.load::<Client>(registered.key.0).await?;
    let registration = client
        .registration
        .as_deref()
        .ok_or_else(|| Rejection::new(RegistrationError::ServerError, RefusalReason::UnexpectedOutcome))?;
    let secret = registered.client_secret.as_deref();
    let mut document = information(app, (registered.key, registration), &registered.token, secret).await?;
    // RFC 7591 §3.2.1: as it came.
    if let Some(statement) = returned {
        document.insert("software_statement".to_owned(), statement);
    }
    Ok(respond(StatusCode::CREATED, document))
}

/// Whether this caller may register a client, and what.
async fn leave(
    app: &App,
    origin: &Origin,
    headers: &HeaderMap,
) -> Result<(Option<PresentedInitialToken>, RegistrationPermit), Rejection<RegistrationError>> {
    let at = app.ledger.clock().now();
    let counted = failures_of(origin);
    app.limits.check_failures(&counted, at)?;
    let Some(token) = bearer(headers)? else {
        if app.settings.registration == RegistrationMode::Open {
            if let Some(address) = origin.address {
                let counted = Counted::Registration(counted_address(address));
                let most = app.settings.registrations_per_minute;
                app.limits.check_and_count(&[counted], most, at).map_err(|wait| {
                    let error = RegistrationError::TooMany(wait.retry_after);
                    Rejection::new(error, RefusalReason::TooManyRegistrations)
                })?;
            }
            return Ok((None, RegistrationPermit::default()));
        }
        return Err(Rejection::new(
            RegistrationError::Unauthenticated,
            RefusalReason::InitialTokenMissing,
        ));
    };
    let found = initial(app, token, at).await?;
    found.inspect_err(|_| app.limits.record_failure(&counted, at))
}

type Leave = (Option<PresentedInitialToken>, RegistrationPermit);

/// What an initial access token permits. Whether it has a use left is decided again when it is used.
async fn initial(
    app: &App,
    token: &str,
    at: Timestamp,
) -> Result<Result<Leave, Rejection<RegistrationError>>, LedgerError> {
    let unknown = Rejection::new(
        RegistrationError::InvalidToken,
        RefusalReason::InitialTokenUnknown,
    );
    let Some(presented) = PresentedInitialToken::parse(token) else {
        return Ok(Err(unknown));
    };
    let loaded = app.operations.load::<InitialAccessToken>(presented.id).await?;
    Ok(match loaded.usable(&presented.digest, at) {
        Ok(permit) => Ok((Some(presented), permit.clone())),
        Err(refusal) => Err(refusal.into()),
    })
}

/// The token in the Authorization header; none where there is no such header.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Rejection<RegistrationError>> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let malformed = || Rejection::new(RegistrationError::Unauthenticated, RefusalReason::NoBearerToken);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(malformed());
    }
    let text = value.to_str().map_err(|_| malformed())?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Err(malformed()),
    }
}

/// What failures of this caller are counted under.
fn failures_of(origin: &Origin) -> Vec<Counted> {
    let address = origin.address.map(counted_address);
    address.map(Counted::Address).into_iter().collect()
}

/// The metadata: a JSON object (RFC 7591 §3.1).
fn read(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Map<String, Value>, Rejection<RegistrationError>> {
    let malformed = |what: &str, reason| {
        Rejection::new(RegistrationError::InvalidClientMetadata(what.to_owned()), reason)
    };
    form::check_json_type(headers).map_err(|_| {
        malformed(
            "The content type is not application/json in UTF-8.",
            RefusalReason::WrongContentType,
        )
    })?;
    let too_large = || Rejection::new(RegistrationError::TooLarge, RefusalReason::BodyTooLarge);
    let body = body.map_err(|rejection| match rejection.into_response().status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => malformed("The body could not be read.", RefusalReason::UnreadableBody),
    })?;
    if body.len() > MAX_BYTES {
        return Err(too_large());
    }
    match serde_json::from_slice(&body) {
        Ok(Unique(Value::Object(members))) if !has_nul(&body) => Ok(members),
        _ => Err(malformed(
            "The body is not a JSON object, has a member twice, or a NUL character.",
            RefusalReason::RegistrationMetadata,
        )),
    }
}

/// No stored text may have one.
fn has_nul(body: &[u8]) -> bool {
    body.windows(6).any(|part| part == b"\\u0000")
}

/// What a client states of itself, and the software statement that it came with.
type Stated = (Map<String, Value>, Option<SoftwareStatementAccepted>);

/// What a software statement says takes precedence over the request (RFC 7591 §2.3).
fn stated(
    app: &App,
    mut members: Map<String, Value>,
    required: bool,
) -> Result<Stated, Rejection<RegistrationError>> {
    let text = match members.get("software_statement") {
        None | Some(Value::Null) if required || app.settings.registration_requires_software_statement => {
            return Err(Rejection::new(
                RegistrationError::UnapprovedSoftwareStatement,
                RefusalReason::SoftwareStatementMissing,
            ));
        }
        None | Some(Value::Null) => return Ok((members, None)),
        Some(text) => text.as_str().unwrap_or_default(),
    };
    let at = app.ledger.clock().now();
    let statement = app.publishers.verify(text, &app.settings.issuer, at)?;
    let mut stated = statement.members;
    // A statement within the statement means nothing.
    stated.remove("software_statement");
    members.extend(stated);
    Ok((members, Some(statement.accepted)))
}

/// What this caller may register a client for.
async fn terms(app: &App, permit: &RegistrationPermit) -> Result<Terms, LedgerError> {
    let settings = &app.settings;
    let scope = permit.scope.clone();
    let scope: ScopeSet = scope.unwrap_or_else(|| settings.registration_scopes.iter().cloned().collect());
    let grant_types = permit.grant_types.clone();
    let types = permit.authorization_details_types.clone();
    Ok(Terms {
        default_scope: app.operations.unrestricted(&scope).await?,
        scope,
        grant_types: grant_types.unwrap_or_else(|| settings.registration_grant_types.clone()),
        authorization_details_types: types
            .unwrap_or_else(|| settings.registration_authorization_details_types.clone()),
        pkce_optional: settings.registration_pkce_optional || permit.pkce_optional,
    })
}

/// The client information response (RFC 7591 §3.2.1, RFC 7592 §3).
async fn information(
    app: &App,
    (key, registration): (ClientKey, &Registration),
    token: &str,
    secret: Option<&str>,
) -> Result<Map<String, Value>, Rejection<RegistrationError>> {
    let mut document = self_registration::document(&registration.metadata);
    let client_id = &registration.client_id;
    let mut set = |name: &str, value: Value| document.insert(name.to_owned(), value);
    set("client_id", json!(client_id));
    if let Some(at) = app.operations.registered_at(key).await? {
        set("client_id_issued_at", json!(at.timestamp()));
    }
    if let Some(secret) = secret {
        set("client_secret", json!(secret));
    }
    if registration.metadata.has_secret() {
        // It does not expire.
        set("client_secret_expires_at", json!(0));
    }
    set("registration_access_token", json!(token));
    set(
        "registration_client_uri",
        json!(configuration_uri(&app.settings, client_id)),
    );
    Ok(document)
}

/// Where a client finds its registration. Its id may be any text of its choice.
#[must_use]
pub fn configuration_uri(settings: &Settings, client_id: &str) -> String {
    let segment = utf8_percent_encode(client_id, SEGMENT);
    format!("{}{PATH}/{segment}", settings.issuer)
}

fn respond(status: StatusCode, document: Map<String, Value>) -> Response {
    let mut response = (status, Json(document)).into_response();
    no_store(&mut response);
    response
}
