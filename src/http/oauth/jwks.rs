//! The published signing keys, RFC 7517 §5.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::app::App;

/// The JWK set: every published key, newest first.
pub async fn jwks(State(app): State<App>) -> Response {
    let keys: Vec<Value> = app.keys.published().iter().map(|key| key.jwk.clone()).collect();
    (
        [(header::CACHE_CONTROL, "public, max-age=60")],
        Json(json!({ "keys": keys })),
    )
        .into_response()
}
