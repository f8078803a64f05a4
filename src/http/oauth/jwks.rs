//! The published signing keys, RFC 7517 §5.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::app::App;

/// The JWK set: the public half of every key whose tokens are accepted, newest first.
pub async fn jwks(State(app): State<App>) -> Response {
    let accepted = app.keys.accepted();
    let keys: Vec<Value> = accepted.iter().filter_map(|key| key.jwk.clone()).collect();
    (
        [(header::CACHE_CONTROL, "public, max-age=60")],
        Json(json!({ "keys": keys })),
    )
        .into_response()
}
