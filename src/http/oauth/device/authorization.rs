//! `POST /oauth/device_authorization` (RFC 8628 §3.1, §3.2): a device asks, and is told what to show its user.

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use chrono::TimeDelta;
use serde::Serialize;
use tokio::sync::OnceCell;

use super::waiting::{self, Waiting};
use super::{PATH, query};
use crate::app::App;
use crate::clock::Timestamp;
use crate::credential::{self, Address, Kind};
use crate::domain::client::GrantType;
use crate::domain::grant::{DeviceAuthorizationRequested, Grant};
use crate::domain::refusal::RefusalReason;
use crate::http::client_auth::AuthenticatedClient;
use crate::http::context::Origin;
use crate::http::error::{Rejection, TokenError};
use crate::http::limits::{Counted, counted_address};
use crate::http::network_throttles;
use crate::http::oauth::{ClientRequest, answer, authorization_details, resource, rounds, token};
use crate::http::oidc::userinfo;
use crate::ids::GrantId;
use crate::ledger::{Actor, LedgerError, UnitOfWork};
use crate::operations::authorization_detail::Holder;

const ENDPOINT: &str = "/oauth/device_authorization";

/// RFC 8628 §3.2.
#[derive(Serialize)]
struct DeviceAuthorization {
    device_code: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: String,
    expires_in: u32,
    interval: u32,
}

/// Takes a device's request.
pub async fn authorize_device(
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
    let request = ClientRequest::read(app, context, headers, body).await?;
    let result = begin(app, &request).await;
    request.end(app, result.map(|told| Json(told).into_response()))
}

async fn begin(app: &App, request: &ClientRequest) -> Result<DeviceAuthorization, Rejection<TokenError>> {
    let random: [u8; 32] = app.ledger.random().bytes().map_err(LedgerError::from)?;
    // What is kept in the first round does for the others.
    let kept = OnceCell::new();
    let mut unit = app.ledger.unit_of_work(&request.context);
    let (grant, user_code) = rounds!(unit, round(app, request, &mut unit, (&random, &kept)))?;
    let address = Address { grant, sequence: 1 };
    let key = app.ledger.vault().master().address_key();
    let verification_uri = format!("{}{PATH}", app.settings.issuer);
    Ok(DeviceAuthorization {
        device_code: credential::format(Kind::Device, key, address, &random),
        verification_uri_complete: format!("{verification_uri}?{}", query(&user_code)),
        verification_uri,
        user_code: user_code.to_string(),
        expires_in: app.settings.device_code_lifetime,
        interval: app.settings.device_poll_interval,
    })
}

async fn round(
    app: &App,
    request: &ClientRequest,
    unit: &mut UnitOfWork<'_>,
    (random, kept): (&[u8; 32], &OnceCell<Waiting>),
) -> Result<Option<(GrantId, super::UserCode)>, Rejection<TokenError>> {
    let client = request.authenticate(app, unit).await?;
    token::allowed(app, unit, &client, GrantType::DeviceCode).await?;
    // Grants are managed from the authorization endpoint; to create one anew where another was to be replaced would
    // surprise client and user.
    if ["grant_management_action", "grant_id"]
        .iter()
        .any(|name| request.form.get(name).is_some())
    {
        let refused = Rejection::new(TokenError::InvalidRequest, RefusalReason::GrantActionInvalid);
        return Err(refused.client(client.key));
    }
    let scope = token::requested_scope(request, unit, &client).await?;
    let audience = token::audience(app, request, &client)?;
    let refuse = |reason| Rejection::new(TokenError::InvalidAuthorizationDetails, reason).client(client.key);
    let whole = client.registration.metadata.audience_or(&app.settings.issuer);
    let asked = authorization_details::requested(
        unit,
        &request.form,
        (&*client.registration, whole.as_slice()),
        refuse,
    );
    let details = authorization_details::details(&asked.await?);
    let at = unit.at();
    let waiting = kept.get_or_try_init(|| keep(app, request, &client, at)).await?;
    let sealed = app
        .operations
        .seal_details(waiting.grant, Holder::Client(client.key), &details)
        .await?;
    let settings = &app.settings;
    let event = DeviceAuthorizationRequested {
        client: client.key,
        audience: userinfo::audience(settings, &scope, audience),
        scope,
        authorization_details: sealed,
        resources: resource::requested(&request.form).ok().flatten(),
        digest: credential::digest(Kind::Device, random),
        user_code: waiting.digest,
        interval: settings.device_poll_interval,
        issued_at: at,
        expires_at: at + TimeDelta::seconds(i64::from(settings.device_code_lifetime)),
        grant_expires_at: at + TimeDelta::days(i64::from(settings.grant_lifetime_days)),
    };
    let grant = unit.create::<Grant>(waiting.grant.0);
    let Some(concluded) = unit.conclude(&grant, grant.request_device(&event)).await? else {
        return Ok(None);
    };
    match concluded.outcome {
        Ok(_) => Ok(Some((waiting.grant, waiting.user_code.clone()))),
        Err(refusal) => Err(Rejection::from(refusal).client(client.key)),
    }
}

/// Anybody can be a public client: what it may begin is limited by address.
async fn keep(
    app: &App,
    request: &ClientRequest,
    client: &AuthenticatedClient,
    at: Timestamp,
) -> Result<Waiting, Rejection<TokenError>> {
    let address = request.context.address.map(counted_address);
    if let Some(address) = address.filter(|_| client.registration.metadata.is_public()) {
        let most = app.settings.device_requests_per_minute;
        let counted = [Counted::DeviceRequests(address)];
        if let Err(wait) = app.limits.check_and_count(&counted, most, at) {
            let error = TokenError::TooMany(wait.retry_after);
            return Err(Rejection::new(error, RefusalReason::TooManyDeviceRequests).client(client.key));
        }
    }
    let id = app.ledger.random().uuid_at(at).map_err(LedgerError::from)?;
    Ok(waiting::keep(app, GrantId(id), at).await?)
}
