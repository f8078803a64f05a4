//! Sender-constrained tokens by DPoP, over HTTP (RFC 9449).

mod aliases;
mod authorization;
mod contained;
mod exchange;
mod keys;
mod opaque;
pub(crate) mod prover;
mod resource;

use grantlog::config::DpopNonce;
use grantlog::http::one_time::OneTime;
use serde_json::{Value, json};

use self::prover::{Answer, Key, Prover, merged};
use crate::flow;
use crate::harness::TestServer;
use crate::races::Node;

#[tokio::test]
async fn a_proof_of_each_algorithm_binds_the_token_and_opens_the_api() {
    let prover = Prover::confidential().await;
    for alg in ["ES256", "EdDSA", "PS256", "RS256"] {
        let key = Key::new(alg);
        let tokens = prover.redeem(&prover.code(&[]).await, Some(&key)).await;
        assert_eq!(
            (tokens.status, &tokens.body["token_type"]),
            (200, &json!("DPoP")),
            "{alg}"
        );
        let bound = json!({"jkt": key.thumbprint()});
        assert_eq!(tokens.confirmation(), bound, "{alg}");
        let token = tokens.text("access_token");
        for path in ["/api/user", "/oauth/userinfo"] {
            let answer = prover.call_with(path, token, &key).await;
            assert_eq!(answer.status, 200, "{alg} {path}: {}", answer.body);
            assert!(answer.nonce().is_some());
        }
        let state = prover
            .post("/oauth/introspect", &[("token", token)], None)
            .await
            .body;
        assert_eq!(
            (&state["active"], &state["token_type"], &state["cnf"]),
            (&json!(true), &json!("DPoP"), &bound)
        );
    }
    let bearer = prover.own_token(None).await;
    assert_eq!(bearer.body["token_type"], "Bearer");
    assert_eq!(bearer.confirmation(), Value::Null);
}

#[tokio::test]
async fn every_grant_gives_tokens_that_are_bound_to_the_proofs_key() {
    let server = TestServer::start_with(|settings| settings.allow_password_grant = true).await;
    let grants = [
        "authorization_code",
        "refresh_token",
        "client_credentials",
        "password",
    ];
    let prover = Prover::with(server, json!({"legacy": true, "grant_types": grants})).await;
    let key = Key::new("ES256");
    let code = prover.redeem(&prover.code(&[]).await, Some(&key)).await;
    let refreshed = prover.refresh(code.text("refresh_token"), Some(&key)).await;
    let own = prover.own_token(Some(&prover.proof(&key, json!({})))).await;
    let form = [
        ("grant_type", "password"),
        ("username", flow::USERNAME),
        ("password", flow::PASSWORD),
        ("scope", "view-user"),
    ];
    let password = prover
        .post("/oauth/token", &form, Some(&prover.proof(&key, json!({}))))
        .await;
    for answer in [code, refreshed, own, password] {
        assert_eq!(answer.body["token_type"], "DPoP", "{}", answer.body);
        assert_eq!(answer.confirmation(), json!({"jkt": key.thumbprint()}));
    }
}

/// RFC 9700 §2.2.2, §4.14.2.
#[tokio::test]
async fn a_public_clients_refresh_token_without_a_key_is_good_once() {
    let prover = Prover::public().await;
    let first = prover.redeem(&prover.code(&[]).await, None).await;
    let second = prover.refresh(first.text("refresh_token"), None).await;
    assert_eq!(second.status, 200, "{}", second.body);
    assert_ne!(first.text("refresh_token"), second.text("refresh_token"));
    let replayed = prover.refresh(first.text("refresh_token"), None).await;
    assert_eq!(replayed.error(), (400, "invalid_grant"));
    assert_eq!(prover.events("RefreshReplayed").await, 1);
    let dead = prover.refresh(second.text("refresh_token"), None).await;
    assert_eq!(dead.error(), (400, "invalid_grant"));
    assert_eq!(prover.last_reason().await, "grant_revoked");
}

#[tokio::test]
async fn each_check_of_a_proof_refuses_the_token_request_and_uses_nothing_up() {
    let prover = Prover::confidential().await;
    let (key, stranger) = (Key::new("ES256"), Key::new("ES256"));
    let code = prover.code(&[]).await;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", flow::REDIRECT_URI),
        ("code_verifier", flow::VERIFIER),
    ];
    let header = |changes: Value| key.sign(&merged(&key.header(), changes), &prover.claims());
    let claims = |changes: Value| prover.proof(&key, changes);
    let private = merged(&key.jwk(), json!({"d": "AQAB"}));
    let (now, used) = (prover.now(), claims(json!({"jti": "used"})));
    assert_eq!(prover.own_token(Some(&used)).await.status, 200);
    for (reason, proof) in [
        ("dpop_malformed", "not.a.jwt".to_owned()),
        ("dpop_malformed", header(json!({"typ": "JWT"}))),
        ("dpop_malformed", header(json!({"alg": "none"}))),
        ("dpop_malformed", header(json!({"alg": "HS256"}))),
        ("dpop_malformed", header(json!({"jwk": private}))),
        (
            "dpop_malformed",
            header(json!({"jwk": {"kty": "oct", "k": "AQAB"}})),
        ),
        ("dpop_malformed", header(json!({"crit": ["b64"], "b64": false}))),
        ("dpop_malformed", claims(json!({"jti": null}))),
        ("dpop_malformed", claims(json!({"htm": null}))),
        ("dpop_malformed", claims(json!({"htu": null}))),
        ("dpop_malformed", claims(json!({"iat": null}))),
        ("dpop_signature", header(json!({"jwk": stranger.jwk()}))),
        ("dpop_signature", header(json!({"alg": "RS256"}))),
        ("dpop_method", claims(json!({"htm": "GET"}))),
        (
            "dpop_uri",
            claims(json!({"htu": prover.server.url("/oauth/par")})),
        ),
        (
            "dpop_uri",
            claims(json!({"htu": "https://evil.example/oauth/token"})),
        ),
        ("dpop_time", claims(json!({"iat": now - 301}))),
        ("dpop_time", claims(json!({"iat": now + 90}))),
        ("dpop_replayed", used.clone()),
        ("dpop_replayed", claims(json!({"jti": "used"}))),
    ] {
        let answer = prover.post("/oauth/token", &form, Some(&proof)).await;
        assert_eq!(answer.error(), (400, "invalid_dpop_proof"), "{reason} {proof}");
        assert_eq!(prover.last_reason().await, reason);
        assert!(answer.nonce().is_some(), "{reason}");
    }
    let two = prover
        .request(prover.server.url("/oauth/token"), &form, Some(&claims(json!({}))))
        .header("DPoP", claims(json!({})));
    assert_eq!(Answer::of(two).await.error(), (400, "invalid_dpop_proof"));
    assert_eq!(prover.last_reason().await, "dpop_header_doubled");
    // What the Host header says counts for nothing.
    let elsewhere = claims(json!({"htu": "https://evil.example/oauth/token"}));
    let forwarded = prover
        .request(prover.server.url("/oauth/token"), &form, Some(&elsewhere))
        .header("host", "evil.example");
    assert_eq!(Answer::of(forwarded).await.error(), (400, "invalid_dpop_proof"));
    assert_eq!(prover.redeem(&code, Some(&key)).await.status, 200);
}

#[tokio::test]
async fn a_proof_without_the_servers_nonce_is_sent_back_with_one() {
    let mut prover = Prover::confidential().await;
    let key = Key::new("ES256");
    // Nonces change every 150 seconds: this begins with one that is new, whatever the time is.
    let begun = prover.server.clock.now().timestamp().rem_euclid(150);
    prover.wait(u64::try_from(150 - begun).unwrap());
    let answer = prover.own_token(Some(&prover.proof(&key, json!({})))).await;
    prover.nonce = answer.nonce().map(str::to_owned);
    let nonce = prover.nonce.clone().unwrap();
    // §8.1: NQCHAR.
    let is_allowed = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    assert!(!nonce.is_empty() && nonce.bytes().all(is_allowed), "{nonce}");
    for missing in [
        json!({"nonce": null}),
        json!({"nonce": "made up"}),
        json!({"nonce": ""}),
    ] {
        let answer = prover.own_token(Some(&prover.proof(&key, missing))).await;
        assert_eq!(answer.error(), (400, "use_dpop_nonce"));
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(answer.headers.get_all("dpop-nonce").iter().count(), 1);
        let given = answer.nonce().unwrap().to_owned();
        let again = prover
            .own_token(Some(&prover.proof(&key, json!({"nonce": given}))))
            .await;
        assert_eq!(again.status, 200, "{}", again.body);
    }
    assert_eq!(prover.last_reason().await, "dpop_nonce");
    // Another node gives out the same, and accepts it.
    let other = Node::beside(&prover.server).await;
    let form = [("grant_type", "client_credentials"), ("scope", "view-user")];
    let url = format!("{}/oauth/token", other.base);
    let there = Answer::of(prover.request(url, &form, Some(&prover.proof(&key, json!({}))))).await;
    assert_eq!(there.status, 200, "{}", there.body);
    // Every answer gives the next while this one still holds; whoever uses it is never without.
    prover.wait(150);
    let answer = prover.own_token(Some(&prover.proof(&key, json!({})))).await;
    let next = answer.nonce().unwrap().to_owned();
    assert_eq!(answer.status, 200);
    assert_ne!(next, nonce);
    prover.wait(150);
    let over = prover.own_token(Some(&prover.proof(&key, json!({})))).await;
    assert_eq!(over.error(), (400, "use_dpop_nonce"));
    prover.nonce = Some(next);
    let good = prover.own_token(Some(&prover.proof(&key, json!({})))).await;
    assert_eq!(good.status, 200);
    // Without a proof there is nothing to give one for.
    assert_eq!(prover.own_token(None).await.nonce(), None);
}

#[tokio::test]
async fn where_nonces_are_off_none_is_asked_for_and_none_is_given() {
    let server = TestServer::start_with(|settings| settings.dpop_nonce = DpopNonce::Off).await;
    let prover = Prover::with(server, json!({})).await;
    assert_eq!(prover.nonce, None);
    let key = Key::new("ES256");
    for claims in [json!({}), json!({"nonce": "whatever"})] {
        let answer = prover.own_token(Some(&prover.proof(&key, claims))).await;
        assert_eq!((answer.status, answer.nonce()), (200, None));
    }
    let proof = prover.proof(&key, json!({}));
    assert_eq!(prover.own_token(Some(&proof)).await.status, 200);
    assert_eq!(
        prover.own_token(Some(&proof)).await.error(),
        (400, "invalid_dpop_proof")
    );
}

#[tokio::test]
async fn to_be_told_a_nonce_uses_no_client_assertion_up() {
    let signing = Key::new("EdDSA");
    let extra = json!({
        "token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [signing.jwk()]},
        "dpop_bound_access_tokens": true,
    });
    let prover = Prover::with(TestServer::start().await, extra).await;
    let id = &prover.client.client_id;
    let claims = json!({
        "iss": id, "sub": id, "aud": prover.server.base, "jti": "once", "exp": prover.now() + 60,
    });
    let assertion = signing.sign(&json!({"alg": "EdDSA"}), &claims);
    let form = [
        ("grant_type", "client_credentials"),
        ("client_assertion", assertion.as_str()),
        (
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        ),
    ];
    let key = Key::new("ES256");
    let without = prover.proof(&key, json!({"nonce": null}));
    let told = prover.post("/oauth/token", &form, Some(&without)).await;
    assert_eq!(told.error(), (400, "use_dpop_nonce"));
    let proof = prover.proof(&key, json!({}));
    let answer = prover.post("/oauth/token", &form, Some(&proof)).await;
    assert_eq!(
        (answer.status, &answer.body["token_type"]),
        (200, &json!("DPoP")),
        "{}",
        answer.body
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_32_uses_of_one_proof_on_two_nodes_one_succeeds() {
    let prover = Prover::confidential().await;
    let other = Node::beside(&prover.server).await;
    let proof = prover.proof(&Key::new("ES256"), json!({}));
    let form = [("grant_type", "client_credentials"), ("scope", "view-user")];
    let uses: Vec<_> = (0..32)
        .map(|number| {
            let base = [&prover.server.base, &other.base][number % 2];
            let request = prover.request(format!("{base}/oauth/token"), &form, Some(&proof));
            tokio::spawn(Answer::of(request))
        })
        .collect();
    let mut succeeded = 0;
    for answer in uses {
        let answer = answer.await.unwrap();
        if answer.status == 200 {
            succeeded += 1;
        } else {
            assert_eq!(answer.error(), (400, "invalid_dpop_proof"));
        }
    }
    assert_eq!(succeeded, 1);
    assert_eq!(prover.events("TokenIssued").await, 1);
    // Kept, as a digest, until its age alone has it refused.
    let owner = prover.server.database.owner().await;
    let kept = async || {
        sqlx::query_scalar::<_, i64>("SELECT count(*) FROM grantlog.dpop_proofs")
            .fetch_one(&owner)
            .await
            .unwrap()
    };
    let prune = || OneTime::DpopProofs.prune(&prover.server.app);
    prover.wait(301);
    assert_eq!((prune().await.unwrap(), kept().await), (0, 1));
    let late = prover.own_token(Some(&proof)).await;
    assert_eq!(late.error(), (400, "invalid_dpop_proof"));
    assert_eq!(prover.last_reason().await, "dpop_time");
    prover.wait(60);
    assert_eq!((prune().await.unwrap(), kept().await), (1, 0));
}

#[tokio::test]
async fn a_public_clients_refresh_token_is_good_with_its_key_only() {
    let prover = Prover::public().await;
    let (key, thief) = (Key::new("ES256"), Key::new("ES256"));
    let first = prover.redeem(&prover.code(&[]).await, Some(&key)).await;
    let stolen = first.text("refresh_token");
    for other in [Some(&thief), None] {
        let refused = prover.refresh(stolen, other).await;
        assert_eq!(refused.error(), (400, "invalid_grant"));
        assert_eq!(prover.last_reason().await, "other_key");
    }
    // The family is intact, and the client with the key has the grace that confidential ones have.
    let second = prover.refresh(stolen, Some(&key)).await;
    let retried = prover.refresh(stolen, Some(&key)).await;
    assert_eq!((second.status, retried.status), (200, 200));
    prover.wait(11);
    // A token that was used is worth nothing to a thief, not even as a means to end the grant.
    for other in [Some(&thief), None] {
        assert_eq!(
            prover.refresh(stolen, other).await.error(),
            (400, "invalid_grant")
        );
        assert_eq!(prover.last_reason().await, "other_key");
    }
    assert_eq!(prover.events("RefreshReplayed").await, 0);
    let third = prover.refresh(retried.text("refresh_token"), Some(&key)).await;
    assert_eq!(third.status, 200, "{}", third.body);
    // From whoever has the key, it is a replay.
    assert_eq!(
        prover.refresh(stolen, Some(&key)).await.error(),
        (400, "invalid_grant")
    );
    assert_eq!(prover.events("RefreshReplayed").await, 1);
    let dead = prover.refresh(third.text("refresh_token"), Some(&key)).await;
    assert_eq!(dead.error(), (400, "invalid_grant"));
    assert_eq!(prover.last_reason().await, "grant_revoked");
}

#[tokio::test]
async fn a_public_clients_refresh_token_is_bound_from_its_first_proof_on() {
    let prover = Prover::public().await;
    let key = Key::new("EdDSA");
    let bearer = prover.redeem(&prover.code(&[]).await, None).await;
    assert_eq!(bearer.body["token_type"], "Bearer");
    let bound = prover.refresh(bearer.text("refresh_token"), Some(&key)).await;
    assert_eq!(bound.body["token_type"], "DPoP");
    let unproved = prover.refresh(bound.text("refresh_token"), None).await;
    assert_eq!(unproved.error(), (400, "invalid_grant"));
    let next = prover.refresh(bound.text("refresh_token"), Some(&key)).await;
    assert_eq!(next.status, 200, "{}", next.body);
}

#[tokio::test]
async fn a_confidential_client_may_change_its_key_but_a_retry_proves_the_same() {
    let prover = Prover::confidential().await;
    let (one, two) = (Key::new("ES256"), Key::new("EdDSA"));
    let first = prover.redeem(&prover.code(&[]).await, Some(&one)).await;
    let second = prover.refresh(first.text("refresh_token"), Some(&two)).await;
    assert_eq!(second.confirmation(), json!({"jkt": two.thumbprint()}));
    let retried = prover.refresh(first.text("refresh_token"), Some(&two)).await;
    assert_eq!(retried.confirmation(), json!({"jkt": two.thumbprint()}));
    let bearer = prover.refresh(retried.text("refresh_token"), None).await;
    assert_eq!(
        (bearer.status, &bearer.body["token_type"]),
        (200, &json!("Bearer"))
    );
    // The ledger says which key each token is bound to, and that the refresh tokens are bound to none.
    let bound: Vec<(Option<String>, Option<String>)> = sqlx::query_as(
        "SELECT payload #>> '{access,confirmation,jkt}', payload #>> '{refresh,confirmation,jkt}' FROM grantlog.ledger \
         WHERE event_type IN ('TokenIssued', 'RefreshRotated', 'RefreshRetried') ORDER BY position",
    )
    .fetch_all(&prover.server.database.owner().await)
    .await
    .unwrap();
    let keys = [Some(&one), Some(&two), Some(&two), None];
    let keys: Vec<_> = keys.map(|key| (key.map(Key::thumbprint), None)).into();
    assert_eq!(bound, keys);
    // Within the grace period, but with another key: somebody else has the token.
    let replayed = prover.refresh(retried.text("refresh_token"), Some(&one)).await;
    assert_eq!(replayed.error(), (400, "invalid_grant"));
    assert_eq!(prover.events("RefreshReplayed").await, 1);
    let dead = prover.refresh(bearer.text("refresh_token"), None).await;
    assert_eq!(dead.error(), (400, "invalid_grant"));
}

#[tokio::test]
async fn a_client_that_must_use_dpop_is_given_no_bearer_token() {
    let extra = json!({"dpop_bound_access_tokens": true});
    let prover = Prover::with(TestServer::start().await, extra).await;
    let key = Key::new("ES256");
    let code = prover.code(&[]).await;
    for answer in [prover.own_token(None).await, prover.redeem(&code, None).await] {
        assert_eq!(answer.error(), (400, "invalid_request"));
        assert_eq!(prover.last_reason().await, "dpop_proof_missing");
    }
    let tokens = prover.redeem(&code, Some(&key)).await;
    assert_eq!(tokens.body["token_type"], "DPoP", "{}", tokens.body);
    let refused = prover.refresh(tokens.text("refresh_token"), None).await;
    assert_eq!(refused.error(), (400, "invalid_request"));
    let refreshed = prover.refresh(tokens.text("refresh_token"), Some(&key)).await;
    assert_eq!(refreshed.status, 200);
    // The other endpoints take no proof, and need none.
    let token = [("token", refreshed.text("access_token"))];
    let state = prover.post("/oauth/introspect", &token, None).await;
    assert_eq!(state.body["active"], true);
    assert_eq!(prover.post("/oauth/revoke", &token, None).await.status, 200);
}

#[tokio::test]
async fn the_metadata_name_the_algorithms_of_proofs() {
    let prover = Prover::confidential().await;
    for path in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
    ] {
        let document = Answer::of(prover.http.get(prover.server.url(path))).await;
        let algorithms = &document.body["dpop_signing_alg_values_supported"];
        assert_eq!(*algorithms, json!(["ES256", "EdDSA", "PS256", "RS256"]));
        for algorithm in ["none", "HS256"] {
            assert!(!algorithms.to_string().contains(algorithm));
        }
    }
}
