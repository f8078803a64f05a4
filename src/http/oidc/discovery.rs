//! What OpenID Connect adds to the metadata document (Discovery §3, §4): the one of RFC 8414 says it all.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::{end_session, userinfo};
use crate::app::App;
use crate::domain::client::{IdTokenAlgorithm, SubjectType};
use crate::domain::openid::{self, Claim, OPENID};
use crate::domain::scope::Scope;
use crate::http::context::Origin;
use crate::http::error::ProtocolError;
use crate::http::oauth::metadata;
use crate::http::page::{Display, Language};
use crate::ledger::LedgerError;

/// Discovery §4.
pub const PATH: &str = "/.well-known/openid-configuration";

/// Claims that say who, where and when, not what of the user.
const TOKEN_CLAIMS: [&str; 12] = [
    "sub",
    "iss",
    "aud",
    "exp",
    "iat",
    "jti",
    "auth_time",
    "nonce",
    "at_hash",
    "sid",
    "acr",
    "amr",
];

/// The members that OpenID Connect adds.
#[derive(Serialize)]
pub struct OpenidMetadata {
    userinfo_endpoint: String,
    scopes_supported: Vec<&'static str>,
    subject_types_supported: &'static [&'static str],
    id_token_signing_alg_values_supported: Vec<&'static str>,
    userinfo_signing_alg_values_supported: Vec<&'static str>,
    claim_types_supported: &'static [&'static str],
    claims_supported: Vec<&'static str>,
    acr_values_supported: &'static [&'static str],
    prompt_values_supported: &'static [&'static str],
    display_values_supported: [&'static str; 3],
    ui_locales_supported: [&'static str; 3],
    claims_parameter_supported: bool,
    end_session_endpoint: String,
    backchannel_logout_supported: bool,
    backchannel_logout_session_supported: bool,
}

impl OpenidMetadata {
    /// The members; none where the scope `openid` is not defined here, so that nobody can be granted it.
    pub async fn read(app: &App) -> Result<Option<Self>, LedgerError> {
        let mut scopes = Vec::new();
        for name in openid::SCOPES {
            let scope = app.operations.load::<Scope>(Scope::id(name)).await?;
            if scope.grantable().is_some() {
                scopes.push(name);
            }
        }
        if !scopes.contains(&OPENID) {
            return Ok(None);
        }
        let of_user = Claim::ALL.into_iter();
        let of_user = of_user
            .filter(|claim| scopes.contains(&claim.scope()))
            .map(Claim::name);
        let algorithms = IdTokenAlgorithm::ALL.into_iter();
        let algorithms: Vec<&str> = algorithms.map(|algorithm| algorithm.key().name()).collect();
        Ok(Some(Self {
            userinfo_endpoint: format!("{}{}", app.settings.issuer, userinfo::PATH),
            claims_supported: TOKEN_CLAIMS.into_iter().chain(of_user).collect(),
            scopes_supported: scopes,
            subject_types_supported: &SubjectType::NAMES,
            userinfo_signing_alg_values_supported: algorithms.clone(),
            id_token_signing_alg_values_supported: algorithms,
            claim_types_supported: &["normal"],
            acr_values_supported: &[openid::ACR_PASSWORD],
            prompt_values_supported: &["none", "login", "consent", "select_account"],
            display_values_supported: Display::ALL.map(Display::name),
            ui_locales_supported: Language::ALL.map(Language::tag),
            claims_parameter_supported: true,
            end_session_endpoint: format!("{}{}", app.settings.issuer, end_session::PATH),
            backchannel_logout_supported: true,
            backchannel_logout_session_supported: true,
        }))
    }
}

/// The document, where this server is an OpenID provider.
pub async fn configuration(State(app): State<App>, Extension(origin): Extension<Origin>) -> Response {
    match metadata::Defined::read(&app).await {
        Ok(defined) if defined.is_openid_provider() => metadata::document(&app, defined),
        Ok(_) => ProtocolError::NotFound.respond(origin.request),
        Err(error) => metadata::unavailable(error, &origin),
    }
}

/// [`configuration`] of an issuer with a path, where RFC 8414 §3 has it.
pub async fn configuration_of_path(app: State<App>, origin: Extension<Origin>) -> Response {
    if metadata::is_of_issuer(&app.settings.issuer, (PATH, &origin.path)) {
        return configuration(app, origin).await;
    }
    ProtocolError::NotFound.respond(origin.request)
}
