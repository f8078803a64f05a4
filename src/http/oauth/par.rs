//! Pushed authorization requests, RFC 9126: the client sends its parameters here, authenticated and unseen by the
//! browser, and sends the browser to the authorization endpoint with a `request_uri` that stands for them.

mod request_uri;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use url::form_urlencoded;

use super::super::context::Origin;
use super::super::error::{Rejection, TokenError, WireError};
use super::authorize::request_object;
use super::{ClientRequest, answer, authorize, rounds};
use crate::app::App;
use crate::domain::confirmation::{Confirmation, Thumbprint};
use crate::domain::refusal::RefusalReason;
use crate::http::client_auth::AuthenticatedClient;
use crate::http::dpop::PresentedProof;
use crate::http::form::Form;
use crate::http::limits::{Counted, counted_address};
use crate::http::network_throttles;
use crate::ledger::{Actor, UnitOfWork};

#[doc(hidden)]
pub use request_uri::is_request_uri;
pub(crate) use request_uri::{PushedRequest, is_ours, open};

const ENDPOINT: &str = "/oauth/par";

/// The most bytes of parameters that are kept: a browser's address would hold no more.
const MAX_BYTES: usize = 16 * 1024;

/// What proves who the client is, and is no part of the request.
const CREDENTIALS: [&str; 3] = ["client_secret", "client_assertion", "client_assertion_type"];

/// RFC 9126 §2.2.
#[derive(Serialize)]
struct Pushed {
    request_uri: String,
    expires_in: u32,
}

/// Takes an authorization request.
pub async fn push(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let result = take(&app, &origin, &headers, body).await;
    answer(&app, &origin, ENDPOINT, result).await
}

async fn take(
    app: &App,
    origin: &Origin,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Rejection<TokenError>> {
    let context = origin.context(ENDPOINT, Actor::Anonymous);
    network_throttles::check_client(app, &context)?;
    let request = ClientRequest::read(app, context, headers, body)
        .await?
        .with_proof(app, origin, headers)?;
    let result = keep(app, &request).await;
    request.end(
        app,
        result.map(|pushed| (StatusCode::CREATED, Json(pushed)).into_response()),
    )
}

async fn keep(app: &App, request: &ClientRequest) -> Result<Pushed, Rejection<TokenError>> {
    let mut unit = app.ledger.unit_of_work(&request.context);
    let (client, parameters) = rounds!(unit, round(app, request, &mut unit))?;
    let is_signed = request.form.get(request_object::PARAMETER).is_some();
    limited(app, request, &client)?;
    let usual = app.settings.pushed_request_lifetime;
    let expires_in = client.registration.metadata.pushed_request_lifetime(usual);
    let request_uri = request_uri::keep(app, (client.key, expires_in), (&parameters, is_signed)).await?;
    Ok(Pushed {
        request_uri,
        expires_in,
    })
}

/// Anybody can be a public client: what it may have kept is limited by address.
fn limited(
    app: &App,
    request: &ClientRequest,
    client: &AuthenticatedClient,
) -> Result<(), Rejection<TokenError>> {
    let address = request.context.address.map(counted_address);
    let Some(address) = address.filter(|_| client.registration.metadata.is_public()) else {
        return Ok(());
    };
    let counted = [Counted::PushedRequests(address)];
    let (most, now) = (app.settings.pushed_requests_per_minute, app.ledger.clock().now());
    app.limits.check_and_count(&counted, most, now).map_err(|wait| {
        let error = TokenError::TooMany(wait.retry_after);
        Rejection::new(error, RefusalReason::TooManyPushedRequests).client(client.key)
    })
}

/// Authenticates the client and checks the request as the authorization endpoint would (RFC 9126 §2.1).
async fn round(
    app: &App,
    request: &ClientRequest,
    unit: &mut UnitOfWork<'_>,
) -> Result<Option<(AuthenticatedClient, String)>, Rejection<TokenError>> {
    let client = request.authenticate(app, unit).await?;
    if request.form.get("request_uri").is_some() {
        let error = TokenError::Pushed(
            "invalid_request",
            "A pushed request cannot have a request_uri itself.",
        );
        return Err(Rejection::new(error, RefusalReason::RequestUriPushed).client(client.key));
    }
    let own = own(app, unit, request, &client).await?;
    let key = code_key(request, &own, &client).map_err(|reason| {
        let what = "The dpop_jkt is not the thumbprint of a key, or not of the DPoP proof's.";
        Rejection::new(TokenError::Pushed("invalid_request", what), reason).client(client.key)
    })?;
    let parameters = parameters(&own, &client.registration.client_id, key);
    if parameters.len() > MAX_BYTES {
        return Err(Rejection::new(TokenError::TooLarge, RefusalReason::BodyTooLarge).client(client.key));
    }
    authorize::check_pushed(app, unit, &parameters)
        .await
        .map_err(|rejection| rejection.client(client.key))?;
    Ok(unit.confirm().await?.then_some((client, parameters)))
}

/// The request's own parameters: those of its signed request object alone, where it has one (RFC 9126 §3).
async fn own(
    app: &App,
    unit: &UnitOfWork<'_>,
    request: &ClientRequest,
    client: &AuthenticatedClient,
) -> Result<Form, Rejection<TokenError>> {
    let registration = &client.registration;
    let invalid = |reason| {
        let error = TokenError::Pushed("invalid_request_object", request_object::what(reason));
        Rejection::new(error, reason).client(client.key)
    };
    let Some(object) = request.form.get(request_object::PARAMETER) else {
        if request_object::is_required(&app.settings, registration) {
            let what = "The request must be a signed request object (RFC 9101).";
            let error = TokenError::Pushed("invalid_request", what);
            return Err(Rejection::new(error, RefusalReason::RequestNotSigned).client(client.key));
        }
        return Ok(request.form.clone());
    };
    let beside = |name: &str| request.form.get(name);
    let signed = request_object::parameters(app, registration, object, unit.at(), beside).await;
    let signed = signed.map_err(invalid)?;
    Form::parse(&signed).map_err(|_| invalid(RefusalReason::RequestObjectMalformed))
}

/// The key of the request's DPoP proof, where it has one: the code is bound to it, as if `dpop_jkt` had named it, and
/// where that names one too, it is the same (RFC 9449 §10.1). Where the client's tokens are bound to its certificate, that
/// counts, as in token requests.
fn code_key(
    request: &ClientRequest,
    own: &Form,
    client: &AuthenticatedClient,
) -> Result<Option<Thumbprint>, RefusalReason> {
    let metadata = &client.registration.metadata;
    if metadata.tls_client_certificate_bound_access_tokens {
        return Ok(None);
    }
    let Some(Confirmation::JwkThumbprint(proved)) = request.proof.as_ref().map(PresentedProof::confirmation)
    else {
        return Ok(None);
    };
    let named = own.get("dpop_jkt");
    if named.is_some_and(|named| Thumbprint::parse(named) != Some(proved)) {
        return Err(RefusalReason::DpopJktMismatch);
    }
    Ok(Some(proved))
}

/// The request's own parameters, whose it is, and the key that it proved to hold.
fn parameters(own: &Form, client_id: &str, key: Option<Thumbprint>) -> String {
    let own = own
        .iter()
        .filter(|(name, _)| *name != "client_id" && !CREDENTIALS.contains(name))
        .filter(|(name, _)| key.is_none() || *name != "dpop_jkt");
    form_urlencoded::Serializer::new(String::new())
        .append_pair("client_id", client_id)
        .extend_pairs(own)
        .extend_pairs(key.map(|key| ("dpop_jkt", key.to_string())))
        .finish()
}

/// A refusal of the authorization endpoint as this one gives it: in the same words, and under the same code where that is
/// registered for an answer of this kind (RFC 9126 §2.3). What is wrong with one parameter is an invalid request.
pub(super) fn retold<E: WireError>(rejection: &Rejection<E>) -> Rejection<TokenError> {
    let code = match rejection.error.code() {
        "server_error" => return Rejection::new(TokenError::ServerError, rejection.reason),
        "temporarily_unavailable" => {
            return Rejection::new(TokenError::TemporarilyUnavailable, rejection.reason);
        }
        known @ ("unauthorized_client"
        | "unsupported_response_type"
        | "invalid_scope"
        | "invalid_target"
        | "invalid_authorization_details"
        | "invalid_grant_id") => known,
        _ => "invalid_request",
    };
    let error = match rejection.error.what() {
        Some(what) => TokenError::Pushed(code, what),
        None => TokenError::InvalidRequest,
    };
    Rejection::new(error, rejection.reason)
}
