//! The published signing keys, RFC 7517 §5.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::app::App;
use crate::crypto::signing::JWKS_MAX_AGE_SECONDS;

/// The JWK set: the public half of every key whose tokens are accepted, newest first.
pub async fn jwks(State(app): State<App>) -> Response {
    let accepted = app.keys.accepted();
    let keys: Vec<Value> = accepted.iter().filter_map(|key| key.jwk.clone()).collect();
    (
        [(
            header::CACHE_CONTROL,
            format!("public, max-age={JWKS_MAX_AGE_SECONDS}"),
        )],
        Json(json!({ "keys": keys })),
    )
        .into_response()
}
