//! The wire: endpoints as lists of steps, each format with one error type.

pub mod api;
pub mod client_auth;
pub mod context;
pub mod cookie;
pub mod csrf;
pub mod error;
pub mod form;
pub mod limits;
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
    Router::new()
        .merge(oauth::authorize::routes())
        .merge(logout::routes())
        .merge(oauth::routes())
        .merge(api::routes())
        .layer(DefaultBodyLimit::max(form::MAX_BYTES))
        .layer(middleware::from_fn_with_state(app.clone(), context::identify))
        .with_state(app)
}
