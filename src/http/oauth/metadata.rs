//! Authorization server metadata, RFC 8414.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use url::Url;

use super::authorize::{AuthorizationMetadata, ResponseMode};
use super::grant_management::GrantManagementMetadata;
use super::register;
use super::status_list;
use crate::app::App;
use crate::config::{RegistrationMode, Settings};
use crate::domain::client::{AssertionAlgorithm, AuthMethod, GrantType, IdTokenAlgorithm, SecretAlgorithm};
use crate::http::context::Origin;
use crate::http::dpop;
use crate::http::error::{ErrorAnswer, ProtocolError, Rejection, TokenError};
use crate::http::oidc::discovery::OpenidMetadata;
use crate::http::oidc::userinfo;
use crate::ledger::LedgerError;

/// RFC 8414 §3.
pub const PATH: &str = "/.well-known/oauth-authorization-server";

/// How clients authenticate here, public ones left out.
fn confidential_methods(settings: &Settings) -> Vec<&'static str> {
    let methods = [
        (AuthMethod::ClientSecretBasic, true),
        (AuthMethod::ClientSecretPost, true),
        (AuthMethod::PrivateKeyJwt, true),
        (AuthMethod::ClientSecretJwt, settings.allow_client_secret_jwt),
        (AuthMethod::TlsClientAuth, settings.serves_authorities()),
        (
            AuthMethod::SelfSignedTlsClientAuth,
            settings.serves_client_certificates(),
        ),
    ];
    let enabled = methods.into_iter().filter(|(_, enabled)| *enabled);
    enabled.map(|(method, _)| method.name()).collect()
}

/// What their assertions are signed with.
fn assertion_algorithms(settings: &Settings) -> Vec<&'static str> {
    let secret = settings.allow_client_secret_jwt.then_some(SecretAlgorithm::NAME);
    AssertionAlgorithm::NAMES.into_iter().chain(secret).collect()
}

/// The endpoints for clients with certificates (RFC 8705 §5).
#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the wire's names")]
struct MtlsEndpoints {
    token_endpoint: String,
    introspection_endpoint: String,
    revocation_endpoint: String,
    pushed_authorization_request_endpoint: String,
    userinfo_endpoint: String,
    device_authorization_endpoint: String,
}

impl MtlsEndpoints {
    fn at(base: &str) -> Self {
        let endpoint = |path: &str| format!("{base}{path}");
        Self {
            token_endpoint: endpoint("/oauth/token"),
            introspection_endpoint: endpoint("/oauth/introspect"),
            revocation_endpoint: endpoint("/oauth/revoke"),
            pushed_authorization_request_endpoint: endpoint("/oauth/par"),
            userinfo_endpoint: endpoint(userinfo::PATH),
            device_authorization_endpoint: endpoint("/oauth/device_authorization"),
        }
    }
}

#[derive(Serialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    registration_endpoint: Option<String>,
    introspection_endpoint: String,
    revocation_endpoint: String,
    pushed_authorization_request_endpoint: String,
    require_pushed_authorization_requests: bool,
    device_authorization_endpoint: String,
    response_types_supported: &'static [&'static str],
    response_modes_supported: Vec<&'static str>,
    grant_types_supported: Vec<&'static str>,
    token_endpoint_auth_methods_supported: Vec<&'static str>,
    token_endpoint_auth_signing_alg_values_supported: Vec<&'static str>,
    introspection_endpoint_auth_methods_supported: Vec<&'static str>,
    introspection_endpoint_auth_signing_alg_values_supported: Vec<&'static str>,
    /// RFC 9701 §7.
    introspection_signing_alg_values_supported: Vec<&'static str>,
    /// draft-ietf-oauth-status-list §9.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_list_aggregation_endpoint: Option<String>,
    revocation_endpoint_auth_methods_supported: Vec<&'static str>,
    revocation_endpoint_auth_signing_alg_values_supported: Vec<&'static str>,
    tls_client_certificate_bound_access_tokens: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtls_endpoint_aliases: Option<MtlsEndpoints>,
    code_challenge_methods_supported: &'static [&'static str],
    authorization_response_iss_parameter_supported: bool,
    dpop_signing_alg_values_supported: &'static [&'static str],
    #[serde(flatten)]
    grant_management: GrantManagementMetadata,
    #[serde(flatten)]
    authorization: AuthorizationMetadata,
    /// RFC 9396 §10.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    authorization_details_types_supported: Vec<String>,
    #[serde(flatten)]
    openid: Option<OpenidMetadata>,
}

/// What of the document is data on the ledger.
pub(crate) struct Defined {
    openid: Option<OpenidMetadata>,
    authorization_details_types: Vec<String>,
}

impl Defined {
    pub(crate) async fn read(app: &App) -> Result<Self, LedgerError> {
        Ok(Self {
            openid: OpenidMetadata::read(app).await?,
            authorization_details_types: app.operations.authorization_detail_types().await?,
        })
    }

    /// Whether this server is an OpenID provider.
    pub(crate) fn is_openid_provider(&self) -> bool {
        self.openid.is_some()
    }
}

/// What this server can do.
pub async fn metadata(State(app): State<App>, Extension(origin): Extension<Origin>) -> Response {
    match Defined::read(&app).await {
        Ok(defined) => document(&app, defined),
        Err(error) => unavailable(error, &origin),
    }
}

/// The answer where the ledger cannot be asked.
pub(crate) fn unavailable(error: LedgerError, origin: &Origin) -> Response {
    Rejection::<TokenError>::from(error).error.respond(origin.request)
}

/// The one document of RFC 8414 and OpenID Connect Discovery.
pub(crate) fn document(app: &App, defined: Defined) -> Response {
    let issuer = app.settings.issuer.clone();
    let endpoint = |path: &str| format!("{issuer}{path}");
    let mut grant_types = vec!["authorization_code", "refresh_token", "client_credentials"];
    grant_types.push(GrantType::DeviceCode.name());
    // On every server; who may use them is data on the ledger, and by default that is nobody.
    grant_types.extend([GrantType::TokenExchange, GrantType::JwtBearer].map(GrantType::name));
    if app.settings.allow_password_grant {
        grant_types.push("password");
    }
    let confidential = confidential_methods(&app.settings);
    let methods: Vec<_> = confidential
        .iter()
        .copied()
        .chain([AuthMethod::None.name()])
        .collect();
    let algorithms = assertion_algorithms(&app.settings);
    let metadata = Metadata {
        authorization_endpoint: endpoint("/oauth/authorize"),
        token_endpoint: endpoint("/oauth/token"),
        jwks_uri: endpoint("/oauth/jwks"),
        registration_endpoint: (app.settings.registration != RegistrationMode::Off)
            .then(|| endpoint(register::PATH)),
        introspection_endpoint: endpoint("/oauth/introspect"),
        revocation_endpoint: endpoint("/oauth/revoke"),
        pushed_authorization_request_endpoint: endpoint("/oauth/par"),
        require_pushed_authorization_requests: app.settings.require_pushed_authorization_requests,
        device_authorization_endpoint: endpoint("/oauth/device_authorization"),
        response_types_supported: &["code"],
        response_modes_supported: ResponseMode::ALL.into_iter().map(ResponseMode::name).collect(),
        grant_types_supported: grant_types,
        token_endpoint_auth_methods_supported: methods.clone(),
        token_endpoint_auth_signing_alg_values_supported: algorithms.clone(),
        // Public clients have nothing to ask there.
        introspection_endpoint_auth_methods_supported: confidential,
        introspection_endpoint_auth_signing_alg_values_supported: algorithms.clone(),
        introspection_signing_alg_values_supported: IdTokenAlgorithm::ALL
            .into_iter()
            .map(|algorithm| algorithm.key().name())
            .collect(),
        status_list_aggregation_endpoint: app.settings.status_list.then(|| endpoint(status_list::PATH)),
        revocation_endpoint_auth_methods_supported: methods,
        revocation_endpoint_auth_signing_alg_values_supported: algorithms,
        tls_client_certificate_bound_access_tokens: app.settings.serves_client_certificates(),
        mtls_endpoint_aliases: app.settings.mtls_url.as_deref().map(MtlsEndpoints::at),
        code_challenge_methods_supported: &["S256"],
        authorization_response_iss_parameter_supported: true,
        dpop_signing_alg_values_supported: &dpop::ALGORITHMS,
        grant_management: GrantManagementMetadata::of(&app.settings),
        authorization: AuthorizationMetadata::of(&app.settings),
        authorization_details_types_supported: defined.authorization_details_types,
        openid: defined.openid,
        issuer,
    };
    ([(header::CACHE_CONTROL, "public, max-age=300")], Json(metadata)).into_response()
}

/// [`metadata`] of an issuer with a path, which stands after the well-known name (RFC 8414 §3).
pub async fn metadata_of_path(app: State<App>, origin: Extension<Origin>) -> Response {
    if is_of_issuer(&app.settings.issuer, (PATH, &origin.path)) {
        return metadata(app, origin).await;
    }
    ProtocolError::NotFound.respond(origin.request)
}

/// Whether what follows a well-known name is the issuer's own path.
pub(crate) fn is_of_issuer(issuer: &str, (name, path): (&str, &str)) -> bool {
    let issuer = Url::parse(issuer).ok();
    let own = issuer.as_ref().map(|issuer| issuer.path().trim_end_matches('/'));
    own.filter(|own| !own.is_empty()) == path.strip_prefix(name)
}
