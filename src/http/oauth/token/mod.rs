//! Token endpoint, RFC 6749 §3.2.

mod authorization_code;
mod client_credentials;
mod password;
mod refresh_token;
mod response;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use axum::response::Response;

use super::super::context::Origin;
use super::super::error::{Rejection, TokenError};
use super::{ClientRequest, answer};
use crate::app::App;
use crate::credential::{self, Kind};
use crate::domain::client::{GrantType, Registration};
use crate::domain::grant::{Mint, MintRefresh};
use crate::domain::refusal::RefusalReason;
use crate::domain::value::ScopeSet;
use crate::http::client_auth::AuthenticatedClient;
use crate::ledger::{Actor, LedgerError, UnitOfWork};

pub(crate) use refresh_token::was_issued;
pub use response::TokenResponse;

const ENDPOINT: &str = "/oauth/token";

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
    let request = ClientRequest::read(app, context, headers, body).await?;
    let result = match request.required("grant_type")? {
        "authorization_code" => authorization_code::redeem(app, &request).await,
        "refresh_token" => refresh_token::rotate(app, &request).await,
        "client_credentials" => client_credentials::issue(app, &request).await,
        "password" if app.settings.allow_password_grant => password::issue(app, &request).await,
        _ => Err(Rejection::new(
            TokenError::UnsupportedGrantType,
            RefusalReason::UnsupportedGrantType,
        )),
    };
    if let Err(rejection) = &result {
        request.count_failure(app, rejection.error, app.ledger.clock().now());
    }
    let mut response = result?.into_response();
    request.for_its_origins(&mut response);
    Ok(response)
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

    /// What a decision needs to know of them. A refresh token is for clients that may use it.
    fn mint(&self, client: &Registration, refreshable: bool) -> Mint {
        let refresh = (refreshable && client.metadata.allows(GrantType::RefreshToken)).then(|| MintRefresh {
            digest: credential::digest(Kind::Refresh, &self.refresh),
            lifetime: client.metadata.refresh_token_lifetime,
        });
        Mint {
            access: credential::digest(Kind::TokenId, &self.access),
            access_lifetime: client.metadata.access_token_lifetime,
            refresh,
        }
    }
}

/// The client may use this grant type (RFC 6749 §5.2 `unauthorized_client`).
fn allowed(client: &AuthenticatedClient, grant_type: GrantType) -> Result<(), Rejection<TokenError>> {
    if client.registration.metadata.allows(grant_type) {
        return Ok(());
    }
    Err(Rejection::new(TokenError::UnauthorizedClient, RefusalReason::GrantTypeNotAllowed).client(client.key))
}

/// The audience of tokens issued to this client: its own, or the issuer.
pub(crate) fn audience(app: &App, client: &Registration) -> Vec<String> {
    if client.metadata.audience.is_empty() {
        return vec![app.settings.issuer.clone()];
    }
    client.metadata.audience.clone()
}

/// The `scope` parameter, or the client's default (RFC 6749 §3.3), all of which the client may have.
async fn requested_scope(
    request: &ClientRequest,
    unit: &mut UnitOfWork<'_>,
    client: &AuthenticatedClient,
) -> Result<ScopeSet, Rejection<TokenError>> {
    let refused = |reason| Rejection::new(TokenError::InvalidScope, reason).client(client.key);
    let metadata = &client.registration.metadata;
    let scope = match parameter_scope(request)? {
        Some(scope) => scope,
        None if metadata.default_scopes.is_empty() && !metadata.scope.is_empty() => {
            return Err(refused(RefusalReason::ScopeMissing));
        }
        None => metadata.default_scopes.clone(),
    };
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
