//! `GET /.well-known/ssf-configuration` (SSF 1.0 §7.1).

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::json;

use super::super::context::Origin;
use super::super::error::ProtocolError;
use super::super::oauth::metadata::is_of_issuer;
use super::{configuration, status, subjects, verification};
use crate::app::App;

/// SSF 1.0 §7.2.
pub(super) const PATH: &str = "/.well-known/ssf-configuration";
/// RFC 8935, as a delivery method.
pub(super) const PUSH: &str = "urn:ietf:rfc:8935";
/// RFC 8936, as a delivery method.
pub(super) const POLL: &str = "urn:ietf:rfc:8936";

/// What this transmitter can do.
pub(super) async fn metadata(State(app): State<App>) -> Response {
    let issuer = &app.settings.issuer;
    let endpoint = |path: &str| format!("{issuer}{path}");
    let document = json!({
        "spec_version": "1_0",
        "issuer": issuer,
        "jwks_uri": endpoint("/oauth/jwks"),
        "delivery_methods_supported": [PUSH, POLL],
        "configuration_endpoint": endpoint(configuration::PATH),
        "status_endpoint": endpoint(status::PATH),
        "add_subject_endpoint": endpoint(subjects::ADD),
        "remove_subject_endpoint": endpoint(subjects::REMOVE),
        "verification_endpoint": endpoint(verification::PATH),
        // Who takes a login's end for that of all logins would end too much.
        "critical_subject_members": ["session", "user"],
        "authorization_schemes": [{ "spec_urn": "urn:ietf:rfc:6749" }],
        "default_subjects": "ALL",
    });
    ([(header::CACHE_CONTROL, "public, max-age=300")], Json(document)).into_response()
}

/// [`metadata`] of an issuer with a path, which stands after the well-known name.
pub(super) async fn metadata_of_path(app: State<App>, origin: Extension<Origin>) -> Response {
    if is_of_issuer(&app.settings.issuer, (PATH, &origin.path)) {
        return metadata(app).await;
    }
    ProtocolError::NotFound.respond(origin.request)
}
