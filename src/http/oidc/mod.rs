//! OpenID Connect: what it adds to the OAuth endpoints, one file per mechanism. The authentication request itself is
//! checked where the authorization request is (`oauth/authorize/authentication.rs`).

pub mod claims;
pub mod claims_request;
pub mod discovery;
pub mod end_session;
pub mod id_token;
pub mod userinfo;

use axum::Router;
use axum::routing::get;

use crate::app::App;

/// The endpoints that OpenID Connect adds.
pub fn routes() -> Router<App> {
    Router::new()
        .route(discovery::PATH, get(discovery::configuration))
        .route(
            &format!("{}/{{*path}}", discovery::PATH),
            get(discovery::configuration_of_path),
        )
        .route(userinfo::PATH, get(userinfo::get).post(userinfo::post))
}
