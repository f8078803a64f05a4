//! The pages of the user's own account.

mod password;

use axum::Router;
use axum::routing::get;

use super::oauth::authorize::see_other;
use crate::app::App;

/// The account's pages.
pub fn routes() -> Router<App> {
    Router::new()
        .route(password::ENDPOINT, get(password::show).post(password::submit))
        .route("/account/password/changed", get(password::changed))
        // Where password managers look for it (W3C, A Well-Known URL for Changing Passwords).
        .route(
            "/.well-known/change-password",
            get(async || see_other("../account/password")),
        )
}
