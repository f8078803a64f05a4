//! Codes that are bound to a key: `dpop_jkt`, and pushed requests with a proof (RFC 9449 §10).

use serde_json::json;

use super::prover::{Key, Prover};
use crate::flow;

#[tokio::test]
async fn a_code_that_names_a_key_is_redeemed_with_that_key_only() {
    for prover in [Prover::confidential().await, Prover::public().await] {
        let (key, thief) = (Key::new("ES256"), Key::new("ES256"));
        let code = prover.code(&[("dpop_jkt", &key.thumbprint())]).await;
        for other in [Some(&thief), None] {
            let refused = prover.redeem(&code, other).await;
            assert_eq!(refused.error(), (400, "invalid_grant"));
            assert_eq!(prover.last_reason().await, "other_key");
        }
        let tokens = prover.redeem(&code, Some(&key)).await;
        assert_eq!(tokens.confirmation(), json!({"jkt": key.thumbprint()}));
        // Nor does a used code help a thief to end the grant; whoever has the key ends it.
        assert_eq!(
            prover.redeem(&code, Some(&thief)).await.error(),
            (400, "invalid_grant")
        );
        assert_eq!(prover.events("CodeReplayed").await, 0);
        assert_eq!(
            prover.redeem(&code, Some(&key)).await.error(),
            (400, "invalid_grant")
        );
        assert_eq!(prover.events("CodeReplayed").await, 1);
    }
}

#[tokio::test]
async fn a_key_that_is_no_thumbprint_is_an_invalid_request() {
    let prover = Prover::confidential().await;
    let thumbprint = Key::new("ES256").thumbprint();
    for bad in [
        "x",
        &thumbprint[1..],
        &format!("{thumbprint}="),
        &format!("{thumbprint}A"),
    ] {
        let query = prover.query(&[("dpop_jkt", bad)]);
        let answer = flow::request(&prover.server, &prover.http, &query).await;
        assert_eq!(answer.parameters()["error"], "invalid_request", "{bad}");
        assert_eq!(prover.last_reason().await, "dpop_jkt_malformed");
    }
}

#[tokio::test]
async fn a_pushed_request_binds_its_code_to_the_key_of_its_proof() {
    let prover = Prover::confidential().await;
    let (key, other) = (Key::new("ES256"), Key::new("EdDSA"));
    let endpoint = json!({"htu": prover.server.url("/oauth/par")});
    let thumbprint = key.thumbprint();
    let push = async |jkt: &str, proof: Option<String>| {
        let query = prover.query(&[("dpop_jkt", jkt)]);
        let form: Vec<_> = query
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        prover.post("/oauth/par", &form, proof.as_deref()).await
    };
    // By the proof, by the parameter, or by both.
    for (jkt, proved) in [
        ("", true),
        (thumbprint.as_str(), false),
        (thumbprint.as_str(), true),
    ] {
        let proof = proved.then(|| prover.proof(&key, endpoint.clone()));
        let pushed = push(jkt, proof).await;
        assert_eq!(pushed.status, 201, "{}", pushed.body);
        let query = vec![
            ("client_id".to_owned(), prover.client.client_id.clone()),
            ("request_uri".to_owned(), pushed.text("request_uri").to_owned()),
        ];
        let code = flow::authorize(&prover.server, &prover.http, &query).await["code"].clone();
        let refused = prover.redeem(&code, Some(&other)).await;
        assert_eq!(refused.error(), (400, "invalid_grant"));
        assert_eq!(prover.last_reason().await, "other_key");
        assert_eq!(prover.redeem(&code, Some(&key)).await.status, 200);
    }
    let both = push(&other.thumbprint(), Some(prover.proof(&key, endpoint.clone()))).await;
    assert_eq!(both.error(), (400, "invalid_request"));
    assert_eq!(prover.last_reason().await, "dpop_jkt_mismatch");
    let elsewhere = push("", Some(prover.proof(&key, json!({})))).await;
    assert_eq!(elsewhere.error(), (400, "invalid_dpop_proof"));
    assert_eq!(prover.last_reason().await, "dpop_uri");
    let without = json!({"htu": prover.server.url("/oauth/par"), "nonce": null});
    let asked = push("", Some(prover.proof(&key, without))).await;
    assert_eq!(asked.error(), (400, "use_dpop_nonce"));
    assert!(asked.nonce().is_some());
    let malformed = push("x", None).await;
    assert_eq!(malformed.error(), (400, "invalid_request"));
}
