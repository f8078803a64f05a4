//! The pages of the user's own account.

mod applications;
mod overview;
mod password;
mod sessions;
mod visit;

use axum::Router;
use axum::routing::get;

use super::oauth::authorize::see_other;
use crate::app::App;

/// The account's pages.
pub fn routes() -> Router<App> {
    Router::new()
        .route(overview::ENDPOINT, get(overview::show).post(overview::submit))
        .route(
            applications::ENDPOINT,
            get(applications::show).post(applications::submit),
        )
        .route(sessions::ENDPOINT, get(sessions::show).post(sessions::submit))
        .route(password::ENDPOINT, get(password::show).post(password::submit))
        .route("/account/password/changed", get(password::changed))
        // Where password managers look for it (W3C, A Well-Known URL for Changing Passwords).
        .route(
            "/.well-known/change-password",
            get(async || see_other("../account/password")),
        )
}
