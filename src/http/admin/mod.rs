//! The administration API: for clients that act for themselves with the restricted scope `admin`.

pub mod refusals;

use axum::Router;
use axum::routing::get;

use crate::app::App;

/// The scope that opens it, to clients that are approved for it.
pub const SCOPE: &str = "admin";

/// The administration endpoints.
pub fn routes() -> Router<App> {
    Router::new().route("/admin/refusals/{request_id}", get(refusals::refusal))
}
