//! The `claims` parameter.

use grantlog::operations::account::EndedBy;
use grantlog::projection::ProjectionRunner;
use serde_json::{Value, json};

use super::{Provider, text};
use crate::flow::{self, PASSWORD};
use crate::harness::{TestServer, browser};

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
}

/// `name` in `UserInfo`, the e-mail address in the ID token, with the scope `openid` alone.
fn one_by_one() -> Value {
    json!({"userinfo": {"name": {"essential": true}, "https://example/groups": null}, "id_token": {"email": null}})
}

async fn user_info(provider: &Provider, tokens: &Value) -> Value {
    let request = browser()
        .get(provider.server.url("/oauth/userinfo"))
        .bearer_auth(text(tokens, "access_token"));
    request.send().await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn a_claim_that_is_asked_for_by_itself_is_consented_to_and_given_where_it_was_asked_for() {
    let provider = Provider::start().await;
    let (server, sub) = (&provider.server, provider.subject.to_string());
    let browser = browser();
    // What the user allowed before says nothing of the claims.
    flow::authorize(server, &browser, &provider.query(&[])).await;
    let claims = one_by_one().to_string();
    let silent = provider.query(&[("claims", &claims), ("prompt", "none")]);
    let refused = flow::request(server, &browser, &silent).await.parameters();
    assert_eq!(refused["error"], "consent_required");
    let query = provider.query(&[("claims", &claims)]);
    let page = flow::request(server, &browser, &query).await;
    assert!(page.is_consent_page());
    for shown in ["Your name", "Your e-mail address"] {
        assert!(page.body.contains(shown), "{shown}: {}", page.body);
    }
    let approved = flow::decide(server, &browser, &query, (&page, "approve")).await;
    let tokens = provider.redeem(&approved.parameters()["code"]).await;
    assert_eq!(tokens["scope"], "openid");
    assert_eq!(
        user_info(&provider, &tokens).await,
        json!({"sub": sub, "name": "alice Example"})
    );
    let given = provider.claims(text(&tokens, "id_token"), "RS256").await;
    assert_eq!(
        (&given["email"], given.get("name")),
        (&json!("alice@example.com"), None)
    );
    // It is remembered, claim by claim; a scope that opens a claim allows it, too.
    let again = flow::request(server, &browser, &silent).await.parameters();
    assert!(again.contains_key("code"), "{again:?}");
    let more = json!({"userinfo": {"name": null, "phone_number": null}}).to_string();
    for (scope, expected) in [
        ("openid", "consent_required"),
        ("openid phone", "consent_required"),
    ] {
        let query = provider.query(&[("claims", &more), ("prompt", "none"), ("scope", scope)]);
        let answer = flow::request(server, &browser, &query).await.parameters();
        assert_eq!(answer["error"], expected, "{scope}");
    }
    flow::authorize(server, &browser, &provider.query(&[("scope", "openid phone")])).await;
    let query = provider.query(&[("claims", &more), ("prompt", "none")]);
    let answer = flow::request(server, &browser, &query).await.parameters();
    assert!(answer.contains_key("code"), "{answer:?}");
    // The account's page has it, and what is taken back there ends it.
    let runner = ProjectionRunner::start(&server.app.ledger);
    runner.wait_for(*server.app.ledger.head().borrow()).await.unwrap();
    let consents = server
        .app
        .operations
        .shown_consents(provider.subject)
        .await
        .unwrap();
    let [consent] = consents.as_slice() else {
        panic!("{consents:?}")
    };
    assert_eq!(consent.claims, ["name", "email"]);
    let page = flow::get(server, &browser, "/account/applications").await;
    assert!(page.body.contains("Your e-mail address"), "{}", page.body);
    let operations = &server.app.operations;
    let whose = (provider.subject, provider.client.key);
    let context = TestServer::context();
    let ended = operations.end_application(&context, whose, EndedBy::Administrator);
    ended.await.unwrap();
    assert_eq!(user_info(&provider, &tokens).await["error"], "invalid_token");
    let answer = flow::request(server, &browser, &silent).await.parameters();
    assert_eq!(answer["error"], "consent_required");
    runner.stop().await;
}

#[tokio::test]
async fn a_claim_is_not_had_by_a_client_that_may_not_ask_for_its_scope() {
    let provider = Provider::with(json!({"scope": "openid email", "default_scopes": "openid"})).await;
    let claims = one_by_one();
    let tokens = provider.tokens(&[("claims", &claims.to_string())]).await;
    let expected = json!({"sub": provider.subject.to_string()});
    assert_eq!(
        user_info(&provider, &tokens).await,
        expected,
        "no profile, no name"
    );
    let given = provider.claims(text(&tokens, "id_token"), "RS256").await;
    assert_eq!(given["email"], "alice@example.com");
    // A narrower scope of the client's takes it away from tokens that are there, and is asked about by nobody.
    let narrower = json!({"scope": "openid"});
    let server = &provider.server;
    server.update_client(provider.client.key, narrower).await.unwrap();
    let refreshed = provider
        .token_request(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", text(&tokens, "refresh_token")),
        ])
        .await;
    let given = provider.claims(text(&refreshed, "id_token"), "RS256").await;
    assert!(given.get("email").is_none(), "{given}");
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
