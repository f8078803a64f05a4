//! The `claims` parameter.

use serde_json::{Value, json};

use super::{Provider, text};
use crate::flow::{self, PASSWORD};
use crate::harness::browser;

/// The claims of the ID token that such a request leads to.
async fn id_token(provider: &Provider, scope: &str, claims: &Value) -> Value {
    let tokens = provider
        .tokens(&[("scope", scope), ("claims", &claims.to_string())])
        .await;
    provider.claims(text(&tokens, "id_token"), "RS256").await
}

#[tokio::test]
async fn claims_for_the_id_token_are_given_as_far_as_the_scope_opens_them() {
    let provider = Provider::start().await;
    let wanted = json!({
        "id_token": {"email": {"essential": true}, "name": null, "auth_time": {"essential": true}, "picture": null},
        "userinfo": {"preferred_username": null},
    });
    let given = id_token(&provider, "openid email profile", &wanted).await;
    assert_eq!(given["email"], "alice@example.com");
    assert_eq!(given["name"], "alice Example");
    for absent in ["email_verified", "preferred_username", "picture"] {
        assert!(given.get(absent).is_none(), "{absent}: {given}");
    }
    let given = id_token(&provider, "openid email", &wanted).await;
    assert_eq!(given["email"], "alice@example.com");
    assert!(given.get("name").is_none(), "{given}");
    let given = id_token(&provider, "openid", &wanted).await;
    assert!(
        given.get("email").is_none() && given.get("name").is_none(),
        "{given}"
    );
}

#[tokio::test]
async fn a_refreshed_id_token_has_the_same_claims_as_far_as_the_scope_still_opens_them() {
    let provider = Provider::start().await;
    let wanted = json!({"id_token": {"email": null, "name": null}}).to_string();
    let tokens = provider
        .tokens(&[("scope", "openid email profile"), ("claims", &wanted)])
        .await;
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", text(&tokens, "refresh_token")),
        ("scope", "openid email"),
    ];
    let refreshed = provider.token_request(&form).await;
    let given = provider.claims(text(&refreshed, "id_token"), "RS256").await;
    assert_eq!(given["email"], "alice@example.com");
    assert!(given.get("name").is_none(), "{given}");
    let stored: Vec<String> = sqlx::query_scalar("SELECT payload::text FROM grantlog.ledger_grant")
        .fetch_all(&provider.server.database.owner().await)
        .await
        .unwrap();
    assert!(
        stored.iter().all(|payload| !payload.contains("alice")),
        "no personal datum"
    );
}

#[tokio::test]
async fn a_requested_subject_is_the_only_user_that_will_do() {
    let provider = Provider::start().await;
    let server = &provider.server;
    let bob = server.user("bob", PASSWORD).await;
    let browser = browser();
    flow::authorize(server, &browser, &provider.query(&[])).await;
    for (place, subject, expected) in [
        ("id_token", provider.subject, None),
        ("userinfo", provider.subject, None),
        ("id_token", bob, Some("login_required")),
        ("userinfo", bob, Some("login_required")),
    ] {
        let claims = json!({place: {"sub": {"value": subject.to_string()}}}).to_string();
        let silent = provider.query(&[("claims", &claims), ("prompt", "none")]);
        let answer = flow::request(server, &browser, &silent).await.parameters();
        assert_eq!(answer.get("error").map(String::as_str), expected, "{claims}");
        if expected.is_some() {
            let query = provider.query(&[("claims", &claims)]);
            assert!(flow::request(server, &browser, &query).await.is_login_page());
        }
    }
}

#[tokio::test]
async fn an_essential_acr_that_no_login_has_is_refused() {
    let provider = Provider::start().await;
    let ours = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport";
    let silver = "urn:mace:incommon:iap:silver";
    for met in [
        json!({"essential": true, "values": [silver, ours]}),
        json!({"essential": true, "value": ours}),
        json!({"essential": true}),
        json!({"values": [silver]}),
        Value::Null,
    ] {
        let given = id_token(&provider, "openid", &json!({"id_token": {"acr": met}})).await;
        assert_eq!(given["acr"], ours, "{met}");
    }
    let claims = json!({"id_token": {"acr": {"essential": true, "values": [silver]}}}).to_string();
    let query = provider.query(&[("claims", &claims)]);
    let answer = flow::request(&provider.server, &browser(), &query).await;
    assert_eq!(answer.parameters()["error"], "unmet_authentication_requirements");
}

#[tokio::test]
async fn malformed_claims_are_an_invalid_request() {
    let provider = Provider::start().await;
    for claims in [
        "x",
        "[]",
        "{\"id_token\": 1}",
        "{\"userinfo\": {\"email\": true}}",
    ] {
        let query = provider.query(&[("claims", claims)]);
        let answer = flow::request(&provider.server, &browser(), &query).await;
        assert_eq!(answer.parameters()["error"], "invalid_request", "{claims}");
    }
}
