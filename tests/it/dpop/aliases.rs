//! Proofs for the addresses of clients with certificates (RFC 8705 §5).

use serde_json::json;

use super::prover::{Key, Prover};
use crate::harness::TestServer;

#[tokio::test]
async fn a_proof_may_be_for_the_alias_that_the_metadata_names_and_for_no_other_host() {
    let server = TestServer::start_with(|settings| {
        settings.mtls_url = Some("https://mtls.id.example".to_owned());
    })
    .await;
    let prover = Prover::with(server, json!({})).await;
    let key = Key::new("ES256");
    let proof = |htu: &str| prover.proof(&key, json!({ "htu": htu }));
    let tokens = prover
        .own_token(Some(&proof("https://mtls.id.example/oauth/token")))
        .await;
    assert_eq!(tokens.status, 200, "{}", tokens.body);
    // Once: the same proof does not do again at the other address.
    let once = proof("https://MTLS.id.example:443/oauth/token");
    assert_eq!(prover.own_token(Some(&once)).await.status, 200);
    assert_eq!(
        prover.own_token(Some(&once)).await.error(),
        (400, "invalid_dpop_proof")
    );
    for other in [
        "https://mtls.id.example/oauth/par",
        "https://id.example/oauth/token",
        "http://mtls.id.example/oauth/token",
    ] {
        let refused = prover.own_token(Some(&proof(other))).await;
        assert_eq!(refused.error(), (400, "invalid_dpop_proof"), "{other}");
        assert_eq!(prover.last_reason().await, "dpop_uri", "{other}");
    }
}
