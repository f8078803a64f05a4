//! The wire: endpoints as lists of steps, each format with one error type.

pub mod account;
pub mod admin;
pub mod api;
pub mod assertion;
pub mod client_assertion;
pub mod client_auth;
pub mod client_certificate;
pub mod client_secret;
pub mod context;
pub mod cookie;
pub mod cors;
pub mod csrf;
pub mod dpop;
pub mod error;
pub mod evidence;
pub mod form;
pub mod health;
pub mod limits;
mod login;
mod login_form;
pub mod logout;
pub mod network_throttles;
pub mod oauth;
pub mod oidc;
pub mod one_time;
pub mod page;
pub mod preference;
pub mod published_keys;
pub mod session;
pub mod ssf;
pub mod token_uses;

use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, Uri, header};
use axum::response::Response;
use axum::{Extension, Router, middleware};

use context::Origin;
use error::ProtocolError;

use crate::app::App;

/// All endpoints.
pub fn router(app: App) -> Router {
    let origins = cors::Origins::new(&app.ledger);
    let pages = Router::new()
        .merge(oauth::authorize::routes())
        .merge(oauth::device::routes())
        .merge(logout::routes())
        .merge(oidc::end_session::routes())
        .merge(account::routes())
        .layer(middleware::from_fn_with_state(app.clone(), csrf::only_our_forms))
        .layer(middleware::from_fn_with_state(app.clone(), page::present));
    Router::new()
        .merge(pages)
        .merge(oauth::routes())
        .merge(oauth::register::routes(app.settings.registration))
        .merge(oauth::status_list::routes(&app.settings))
        .merge(oidc::routes())
        .merge(api::routes())
        .merge(admin::routes())
        .merge(ssf::routes(app.settings.shared_signals))
        .merge(evidence::routes())
        .merge(health::routes())
        .fallback(nothing_here)
        .method_not_allowed_fallback(other_methods)
        .layer(DefaultBodyLimit::max(form::MAX_BYTES))
        .layer(middleware::from_fn_with_state(app.clone(), dpop::tell))
        .layer(middleware::from_fn_with_state(origins, cors::cross_origin))
        .layer(middleware::from_fn_with_state(
            app.clone(),
            evidence::only_on_the_signed_ledger,
        ))
        .layer(middleware::from_fn_with_state(app.clone(), context::identify))
        // The outermost, so that it sees the whole time and the request's id.
        .layer(middleware::from_fn(crate::telemetry::observe))
        .with_state(app)
}

async fn nothing_here(Extension(origin): Extension<Origin>) -> Response {
    ProtocolError::NotFound.respond(origin.request)
}

/// Paths whose `GET` does something, which a link's checker must not (RFC 9110 §9.2.1).
const WITHOUT_HEAD: [&str; 2] = [oauth::authorize::ENDPOINT, oidc::end_session::PATH];

/// The answer to a method that a path does not take; axum's own would name `HEAD` wherever there is a `GET`.
async fn other_methods(Extension(origin): Extension<Origin>, uri: Uri) -> Response {
    let mut response = ProtocolError::MethodNotAllowed.respond(origin.request);
    if WITHOUT_HEAD.contains(&uri.path()) {
        let allowed = HeaderValue::from_static("GET, POST");
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
}
