//! Tokens that are bound to a key, exchanged (RFC 8693): whoever exchanges one proves to hold its key.

use grantlog::domain::client::{ExchangeMode, ExchangeRule};
use grantlog::domain::value::ScopeSet;
use serde_json::json;

use super::prover::{Key, Prover};
use crate::harness::TestServer;

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

#[tokio::test]
async fn an_id_token_of_a_bound_grant_is_exchanged_with_proof_of_its_key_only() {
    let extra =
        json!({"grant_types": ["authorization_code", "refresh_token", "client_credentials", EXCHANGE]});
    let prover = Prover::with(TestServer::start().await, extra).await;
    let rule = ExchangeRule {
        subject_client: prover.client.key,
        mode: ExchangeMode::Impersonation,
        scope: ScopeSet::parse("view-user").unwrap(),
        audience: vec![prover.server.base.clone()],
    };
    let operations = &prover.server.app.operations;
    operations
        .allow_exchange(&TestServer::context(), prover.client.key, rule)
        .await
        .unwrap();
    let (key, other) = (Key::new("ES256"), Key::new("ES256"));
    let tokens = prover.redeem(&prover.code(&[]).await, Some(&key)).await;
    assert_eq!(tokens.body["token_type"], "DPoP", "{}", tokens.body);
    let form = [
        ("grant_type", EXCHANGE),
        ("subject_token", tokens.text("id_token")),
        ("subject_token_type", ID_TOKEN),
    ];
    for wrong in [None, Some(prover.proof(&other, json!({})))] {
        let refused = prover.post("/oauth/token", &form, wrong.as_deref()).await;
        assert_eq!(refused.error(), (400, "invalid_request"), "{}", refused.body);
        assert_eq!(prover.last_reason().await, "token_key_unproven");
    }
    let proof = prover.proof(&key, json!({}));
    let exchanged = prover.post("/oauth/token", &form, Some(&proof)).await;
    assert_eq!(exchanged.status, 200, "{}", exchanged.body);
    assert_eq!(exchanged.confirmation(), json!({"jkt": key.thumbprint()}));
}
