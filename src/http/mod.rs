//! The wire: endpoints as lists of steps, each format with one error type.

pub mod account;
pub mod api;
pub mod client_auth;
pub mod context;
pub mod cookie;
pub mod cors;
pub mod csrf;
pub mod error;
pub mod form;
pub mod health;
pub mod limits;
mod login;
pub mod logout;
pub mod oauth;
pub mod page;
pub mod session;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;

use crate::app::App;

/// All endpoints.
pub fn router(app: App) -> Router {
    let origins = cors::Origins::new(&app.ledger);
    let pages = Router::new()
        .merge(oauth::authorize::routes())
        .merge(logout::routes())
        .merge(account::routes())
        .layer(middleware::from_fn_with_state(app.clone(), csrf::only_our_forms));
    Router::new()
        .merge(pages)
        .merge(oauth::routes())
        .merge(api::routes())
        .merge(health::routes())
        .layer(DefaultBodyLimit::max(form::MAX_BYTES))
        .layer(middleware::from_fn_with_state(origins, cors::cross_origin))
        .layer(middleware::from_fn_with_state(app.clone(), context::identify))
        // The outermost, so that it sees the whole time and the request's id.
        .layer(middleware::from_fn(crate::telemetry::observe))
        .with_state(app)
}
