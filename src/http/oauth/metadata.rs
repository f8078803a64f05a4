//! Authorization server metadata, RFC 8414.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;

use super::authorize::ResponseMode;
use crate::app::App;
use crate::domain::client::{AssertionAlgorithm, GrantType};
use crate::http::context::Origin;
use crate::http::error::{ErrorAnswer, Rejection, TokenError};
use crate::http::oidc::discovery::OpenidMetadata;
use crate::ledger::LedgerError;

/// How clients authenticate.
const METHODS: &[&str] = &[
    "client_secret_basic",
    "client_secret_post",
    "private_key_jwt",
    "none",
];
/// Where public clients have nothing to ask.
const CONFIDENTIAL_METHODS: &[&str] = &["client_secret_basic", "client_secret_post", "private_key_jwt"];

#[derive(Serialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    introspection_endpoint: String,
    revocation_endpoint: String,
    pushed_authorization_request_endpoint: String,
    require_pushed_authorization_requests: bool,
    response_types_supported: &'static [&'static str],
    response_modes_supported: Vec<&'static str>,
    grant_types_supported: Vec<&'static str>,
    token_endpoint_auth_methods_supported: &'static [&'static str],
    token_endpoint_auth_signing_alg_values_supported: &'static [&'static str],
    introspection_endpoint_auth_methods_supported: &'static [&'static str],
    introspection_endpoint_auth_signing_alg_values_supported: &'static [&'static str],
    revocation_endpoint_auth_methods_supported: &'static [&'static str],
    revocation_endpoint_auth_signing_alg_values_supported: &'static [&'static str],
    code_challenge_methods_supported: &'static [&'static str],
    authorization_response_iss_parameter_supported: bool,
    #[serde(flatten)]
    openid: Option<OpenidMetadata>,
}

/// What this server can do.
pub async fn metadata(State(app): State<App>, Extension(origin): Extension<Origin>) -> Response {
    match OpenidMetadata::read(&app).await {
        Ok(openid) => document(&app, openid),
        Err(error) => unavailable(error, &origin),
    }
}

/// The answer where the ledger cannot be asked.
pub(crate) fn unavailable(error: LedgerError, origin: &Origin) -> Response {
    Rejection::<TokenError>::from(error).error.respond(origin.request)
}

/// The one document of RFC 8414 and OpenID Connect Discovery.
pub(crate) fn document(app: &App, openid: Option<OpenidMetadata>) -> Response {
    let issuer = app.settings.issuer.clone();
    let endpoint = |path: &str| format!("{issuer}{path}");
    let mut grant_types = vec!["authorization_code", "refresh_token", "client_credentials"];
    // On every server; who may use them is data on the ledger, and by default that is nobody.
    grant_types.extend([GrantType::TokenExchange, GrantType::JwtBearer].map(GrantType::name));
    if app.settings.allow_password_grant {
        grant_types.push("password");
    }
    let metadata = Metadata {
        authorization_endpoint: endpoint("/oauth/authorize"),
        token_endpoint: endpoint("/oauth/token"),
        jwks_uri: endpoint("/oauth/jwks"),
        introspection_endpoint: endpoint("/oauth/introspect"),
        revocation_endpoint: endpoint("/oauth/revoke"),
        pushed_authorization_request_endpoint: endpoint("/oauth/par"),
        require_pushed_authorization_requests: app.settings.require_pushed_authorization_requests,
        response_types_supported: &["code"],
        response_modes_supported: ResponseMode::ALL.into_iter().map(ResponseMode::name).collect(),
        grant_types_supported: grant_types,
        token_endpoint_auth_methods_supported: METHODS,
        token_endpoint_auth_signing_alg_values_supported: &AssertionAlgorithm::NAMES,
        introspection_endpoint_auth_methods_supported: CONFIDENTIAL_METHODS,
        introspection_endpoint_auth_signing_alg_values_supported: &AssertionAlgorithm::NAMES,
        revocation_endpoint_auth_methods_supported: METHODS,
        revocation_endpoint_auth_signing_alg_values_supported: &AssertionAlgorithm::NAMES,
        code_challenge_methods_supported: &["S256"],
        authorization_response_iss_parameter_supported: true,
        openid,
        issuer,
    };
    ([(header::CACHE_CONTROL, "public, max-age=300")], Json(metadata)).into_response()
}
