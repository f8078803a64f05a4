//! Access tokens that are bound to a key, at this server's own resources (RFC 9449 §7 and §9).

use grantlog::domain::value::Digest;
use serde_json::{Value, json};

use super::prover::{Key, Prover, base64, merged};

const PATH: &str = "/api/user";
const ALGORITHMS: &str = r#"algs="ES256 EdDSA PS256 RS256""#;

#[tokio::test]
async fn a_token_that_is_bound_to_a_key_is_no_bearer_token() {
    let prover = Prover::confidential().await;
    let key = Key::new("ES256");
    let tokens = prover.redeem(&prover.code(&[]).await, Some(&key)).await;
    let token = tokens.text("access_token");
    let proof = prover.proof_for(&key, ("GET", PATH, token));
    for proof in [None, Some(proof.as_str())] {
        // UserInfo says it in RFC 6750's word.
        for (path, error) in [(PATH, "token_invalid"), ("/oauth/userinfo", "invalid_token")] {
            let answer = prover.call(path, &format!("Bearer {token}"), proof).await;
            assert_eq!(answer.error(), (401, error));
            assert_eq!(prover.last_reason().await, "bound_token");
            let [bearer, dpop] = answer.challenges()[..] else {
                panic!("{:?}", answer.challenges())
            };
            assert!(bearer.starts_with(r#"Bearer realm="grantlog", error="invalid_token""#));
            assert_eq!(dpop, format!("DPoP {ALGORITHMS}"));
        }
    }
    // The ledger says of which grant: a token that comes without its key may have been stolen.
    let named: Vec<Option<String>> = sqlx::query_scalar(
        "SELECT payload->>'grant' FROM grantlog.ledger WHERE payload->>'reason' = 'bound_token'",
    )
    .fetch_all(&prover.server.database.owner().await)
    .await
    .unwrap();
    assert!(named.len() == 4 && named.iter().all(Option::is_some), "{named:?}");
    let in_form = prover
        .http
        .post(prover.server.url("/oauth/userinfo"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("access_token={token}"));
    assert_eq!(in_form.send().await.unwrap().status(), 401);
    assert_eq!(prover.last_reason().await, "bound_token");
    // Nor is a bearer token one that is bound.
    let bearer = prover.redeem(&prover.code(&[]).await, None).await;
    let answer = prover.call_with(PATH, bearer.text("access_token"), &key).await;
    assert_eq!(answer.error(), (401, "token_invalid"));
    assert_eq!(prover.last_reason().await, "dpop_other_key");
    let as_it_is = prover
        .call(PATH, &format!("Bearer {}", bearer.text("access_token")), None)
        .await;
    assert_eq!(as_it_is.status, 200);
}

#[tokio::test]
async fn each_check_of_a_proof_refuses_a_call_with_a_challenge() {
    let prover = Prover::confidential().await;
    let (key, thief) = (Key::new("ES256"), Key::new("ES256"));
    let tokens = prover.redeem(&prover.code(&[]).await, Some(&key)).await;
    let token = tokens.text("access_token");
    let claims = json!({
        "htm": "GET", "htu": prover.server.url(PATH), "ath": base64(Digest::of(token.as_bytes()).0),
    });
    let proof = |key: &Key, changes: Value| Some(prover.proof(key, merged(&claims, changes)));
    let authorization = format!("DPoP {token}");
    let used = proof(&key, json!({}));
    let answer = prover.call(PATH, &authorization, used.as_deref()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let (invalid, other) = ("invalid_dpop_proof", "token_invalid");
    for (reason, error, proof) in [
        ("dpop_proof_missing", invalid, None),
        ("dpop_malformed", invalid, Some("x".to_owned())),
        ("dpop_method", invalid, proof(&key, json!({"htm": "POST"}))),
        (
            "dpop_uri",
            invalid,
            proof(&key, json!({"htu": prover.server.url("/api/user/details")})),
        ),
        ("dpop_time", invalid, proof(&key, json!({"iat": 1}))),
        ("dpop_token_hash", invalid, proof(&key, json!({"ath": null}))),
        (
            "dpop_token_hash",
            invalid,
            proof(&key, json!({"ath": base64(Digest::of(b"another").0)})),
        ),
        ("dpop_replayed", invalid, used),
        (
            "dpop_nonce",
            "use_dpop_nonce",
            proof(&key, json!({"nonce": null})),
        ),
        ("dpop_other_key", other, proof(&thief, json!({}))),
    ] {
        let answer = prover.call(PATH, &authorization, proof.as_deref()).await;
        assert_eq!(answer.error(), (401, error), "{reason}");
        assert_eq!(prover.last_reason().await, reason);
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(answer.nonce().is_some(), proof.is_some(), "{reason}");
        let [challenge] = answer.challenges()[..] else {
            panic!("{:?}", answer.challenges())
        };
        let code = if error == other { "invalid_token" } else { error };
        assert!(
            challenge.starts_with(&format!(r#"DPoP realm="grantlog", error="{code}""#)),
            "{challenge}"
        );
        assert!(challenge.ends_with(ALGORITHMS), "{challenge}");
    }
    // The scheme's name has no case.
    let proof = proof(&key, json!({}));
    let answer = prover
        .call(PATH, &authorization.replace("DPoP", "dpop"), proof.as_deref())
        .await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_call_without_a_token_is_told_of_both_schemes_and_other_errors_in_the_one_it_used() {
    let prover = Prover::confidential().await;
    let key = Key::new("EdDSA");
    let tokens = prover.redeem(&prover.code(&[]).await, Some(&key)).await;
    let token = tokens.text("access_token");
    let none = prover.call(PATH, "Basic eDp5", None).await;
    assert_eq!(none.error(), (401, "unauthenticated"));
    let dpop = format!("DPoP {ALGORITHMS}");
    assert_eq!(none.challenges(), [r#"Bearer realm="grantlog""#, dpop.as_str()]);
    let lacking = prover.call_with("/api/user/details", token, &key).await;
    assert_eq!(lacking.error(), (403, "insufficient_scope"));
    let [challenge] = lacking.challenges()[..] else {
        panic!("{:?}", lacking.challenges())
    };
    assert!(challenge.starts_with("DPoP realm") && challenge.contains(r#"scope="detail-user""#));
    let revoked = prover.post("/oauth/revoke", &[("token", token)], None).await;
    assert_eq!(revoked.status, 200);
    let over = prover.call_with(PATH, token, &key).await;
    assert_eq!(over.error(), (401, "token_invalid"));
    assert_eq!(prover.last_reason().await, "token_revoked");
}
