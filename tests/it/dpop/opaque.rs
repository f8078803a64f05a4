//! Opaque tokens that are bound to a key.

use serde_json::json;

use super::prover::{Key, Prover};
use crate::harness::TestServer;

#[tokio::test]
async fn an_opaque_token_that_is_bound_to_a_key_opens_nothing_without_it() {
    let server = TestServer::start().await;
    let prover = Prover::with(server, json!({"access_token_format": "opaque"})).await;
    let (key, stranger) = (Key::new("ES256"), Key::new("ES256"));
    let tokens = prover.redeem(&prover.code(&[]).await, Some(&key)).await;
    assert_eq!(tokens.body["token_type"], "DPoP", "{}", tokens.body);
    let token = tokens.text("access_token");
    assert!(token.starts_with("gla_"));
    assert_eq!(prover.call_with("/api/user", token, &key).await.status, 200);
    assert_eq!(prover.call_with("/api/user", token, &stranger).await.status, 401);
    let bearer = reqwest::Client::new()
        .get(prover.server.url("/api/user"))
        .bearer_auth(token)
        .send()
        .await
        .unwrap();
    assert_eq!(bearer.status(), 401);
    let state = prover.post("/oauth/introspect", &[("token", token)], None).await;
    assert_eq!(state.body["cnf"], json!({"jkt": key.thumbprint()}));
}
