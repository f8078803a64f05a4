//! Token endpoint, RFC 6749 §3.2.

mod authorization_code;
mod client_credentials;
mod device_code;
mod jwt_bearer;
mod password;
mod presented_token;
mod refresh_token;
mod response;
mod token_exchange;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use axum::response::Response;

use super::super::context::Origin;
use super::super::error::{Rejection, TokenError};
use super::{ClientRequest, answer, authorization_details};
use crate::app::App;
use crate::credential::{self, Kind};
use crate::domain::client::{GrantType, Registration, TokenAlgorithm, TokenFormat};
use crate::domain::confirmation::Confirmation;
use crate::domain::grant::{Mint, MintRefresh};
use crate::domain::openid::OPENID;
use crate::domain::refusal::RefusalReason;
use crate::domain::value::ScopeSet;
use crate::http::client_auth::AuthenticatedClient;
use crate::http::network_throttles;
use crate::ledger::{Actor, LedgerError, UnitOfWork};

pub(crate) use refresh_token::was_issued;
use response::Place;
pub use response::TokenResponse;

pub(crate) const ENDPOINT: &str = "/oauth/token";

/// Whether a text has the form of an assertion (RFC 7523 §2.1); for the tests of all parsers.
#[doc(hidden)]
#[must_use]
pub fn is_assertion(text: &str) -> bool {
    jwt_bearer::is_assertion(text)
}

/// Exchanges a grant for tokens.
pub async fn token(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let result = exchange(&app, &origin, &headers, body).await;
    answer(&app, &origin, ENDPOINT, result).await
}

async fn exchange(
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
    let result = match request.required("grant_type")? {
        "authorization_code" => authorization_code::redeem(app, &request).await,
        "refresh_token" => refresh_token::rotate(app, &request).await,
        grant_type if grant_type == GrantType::DeviceCode.name() => device_code::redeem(app, &request).await,
        "client_credentials" => client_credentials::issue(app, &request).await,
        name if name == GrantType::TokenExchange.name() => token_exchange::exchange(app, &request).await,
        name if name == GrantType::JwtBearer.name() => jwt_bearer::redeem(app, &request).await,
        "password" if app.settings.allow_password_grant => password::issue(app, &request).await,
        _ => Err(Rejection::new(
            TokenError::UnsupportedGrantType,
            RefusalReason::UnsupportedGrantType,
        )),
    };
    request.end(app, result.map(TokenResponse::into_response))
}

/// The random parts of the tokens about to be issued. They may serve several rounds: what is not appended is
/// never given out.
struct Randoms {
    access: [u8; 32],
    refresh: [u8; 32],
}

impl Randoms {
    fn new(app: &App) -> Result<Self, Rejection<TokenError>> {
        let random = app.ledger.random();
        let bytes = || {
            random
                .bytes()
                .map_err(|error| Rejection::from(LedgerError::from(error)))
        };
        Ok(Self {
            access: bytes()?,
            refresh: bytes()?,
        })
    }

    /// What a decision needs to know of them, in a grant that began with `flow`. A refresh token is for clients
    /// that may use it. A public client's is bound to the key that the request proved to hold, if any.
    fn mint(&self, client: &Registration, flow: GrantType, confirmation: Option<Confirmation>) -> Mint {
        let metadata = &client.metadata;
        let refresh = metadata.may_refresh(flow).then(|| MintRefresh {
            digest: credential::digest(Kind::Refresh, &self.refresh),
            lifetime: metadata.refresh_lifetime(flow),
            bound: metadata.is_public(),
        });
        Mint {
            access: credential::digest(access_kind(metadata.access_token_format), &self.access),
            access_lifetime: metadata.access_lifetime(flow),
            confirmation,
            refresh,
        }
    }
}

/// What an access token's random part is part of.
fn access_kind(format: TokenFormat) -> Kind {
    match format {
        TokenFormat::Jwt => Kind::TokenId,
        TokenFormat::Opaque => Kind::Access,
    }
}

/// A decision came to what its command cannot come to.
fn unexpected() -> Rejection<TokenError> {
    Rejection::new(TokenError::ServerError, RefusalReason::UnexpectedOutcome)
}

/// The client may use this grant type, and have tokens at all (RFC 6749 §5.2 `unauthorized_client`): the keys that will
/// sign them are in use by the time of the append.
pub(super) async fn allowed(
    app: &App,
    unit: &mut UnitOfWork<'_>,
    client: &AuthenticatedClient,
    grant_type: GrantType,
) -> Result<(), Rejection<TokenError>> {
    let metadata = &client.registration.metadata;
    let refused = |reason| Rejection::new(TokenError::UnauthorizedClient, reason).client(client.key);
    if !metadata.allows(grant_type) {
        return Err(refused(RefusalReason::GrantTypeNotAllowed));
    }
    // Before anything is appended: a code is not used up for a token that would not be signed.
    if metadata.access_token_format == TokenFormat::Jwt {
        if metadata.access_token_algorithm == TokenAlgorithm::HS256 && !app.settings.allow_hs256_access_tokens
        {
            return Err(refused(RefusalReason::Hs256NotAllowed));
        }
        super::standing::may_sign(app, unit, metadata.access_token_algorithm).await?;
    }
    if metadata.scope.contains(OPENID) {
        super::standing::may_sign(app, unit, metadata.id_token_signed_response_alg.key()).await?;
    }
    Ok(())
}

/// The audience of a grant about to be made without a code.
pub(super) fn audience(
    app: &App,
    request: &ClientRequest,
    client: &AuthenticatedClient,
) -> Result<Vec<String>, Rejection<TokenError>> {
    let allowed = client.registration.metadata.audience_or(&app.settings.issuer);
    super::resource::audience(&request.form, allowed)
        .map_err(|reason| Rejection::new(TokenError::InvalidTarget, reason).client(client.key))
}

/// The `resource` parameters, of a grant that decides on them.
fn parameter_audience(request: &ClientRequest) -> Result<Option<Vec<String>>, Rejection<TokenError>> {
    super::resource::requested(&request.form)
        .map_err(|reason| Rejection::new(TokenError::InvalidTarget, reason))
}

/// The `scope` parameter, or the client's default (RFC 6749 §3.3), all of which the client may have.
pub(super) async fn requested_scope(
    request: &ClientRequest,
    unit: &mut UnitOfWork<'_>,
    client: &AuthenticatedClient,
) -> Result<ScopeSet, Rejection<TokenError>> {
    let refused = |reason| Rejection::new(TokenError::InvalidScope, reason).client(client.key);
    let metadata = &client.registration.metadata;
    let scope = match parameter_scope(request)? {
        Some(scope) => scope,
        None => super::standing::omitted_scope(unit, &client.registration).await?,
    };
    let without_scope = metadata.scope.is_empty() || authorization_details::are_asked_for(&request.form);
    if scope.is_empty() && !without_scope {
        return Err(refused(RefusalReason::ScopeMissing));
    }
    let allowed = super::standing::allowed_scope(unit, &client.registration, &scope).await?;
    if allowed != scope {
        let registered = scope.is_subset(&metadata.scope);
        return Err(refused(if registered {
            RefusalReason::ScopeNotApproved
        } else {
            RefusalReason::ScopeNotAllowed
        }));
    }
    Ok(scope)
}

fn parameter_scope(request: &ClientRequest) -> Result<Option<ScopeSet>, Rejection<TokenError>> {
    let scope = request.form.get("scope").map(ScopeSet::parse).transpose();
    scope.map_err(|_| Rejection::new(TokenError::InvalidScope, RefusalReason::ScopeMalformed))
}
