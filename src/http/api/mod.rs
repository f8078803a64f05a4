//! The resource API: the user that a token stands for.

pub mod bearer;
pub mod user;

use axum::Router;
use axum::routing::get;

use crate::app::App;

/// The resource endpoints.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/api/user", get(user::user))
        .route("/api/user/details", get(user::details))
}
