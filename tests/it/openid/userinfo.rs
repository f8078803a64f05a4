//! The `UserInfo` endpoint: which claims, for which token, until when.

use reqwest::header;
use serde_json::{Value, json};

use super::{Provider, text};
use crate::flow;
use crate::harness::browser;

async fn user_info(provider: &Provider, token: &str) -> (u16, Value) {
    let request = browser()
        .get(provider.server.url("/oauth/userinfo"))
        .bearer_auth(token);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn post(provider: &Provider, body: String, token: Option<&str>) -> (u16, Value) {
    let mut request = browser()
        .post(provider.server.url("/oauth/userinfo"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn userinfo_gives_the_claims_that_the_scope_opens() {
    let provider = Provider::start().await;
    let sub = provider.subject.to_string();
    let email = format!("{}@example.com", flow::USERNAME);
    for (scope, expected) in [
        ("openid", json!({"sub": sub})),
        (
            "openid profile",
            json!({"sub": sub, "name": "alice Example", "preferred_username": "alice"}),
        ),
        (
            "openid email",
            json!({"sub": sub, "email": email, "email_verified": false}),
        ),
    ] {
        let tokens = provider.tokens(&[("scope", scope)]).await;
        let (status, body) = user_info(&provider, text(&tokens, "access_token")).await;
        assert_eq!((status, body), (200, expected), "{scope}");
    }
}

#[tokio::test]
async fn a_client_may_have_its_userinfo_answers_signed() {
    let provider = Provider::with(json!({"userinfo_signed_response_alg": "PS256"})).await;
    let tokens = provider.tokens(&[("scope", "openid email")]).await;
    let request = browser()
        .get(provider.server.url("/oauth/userinfo"))
        .bearer_auth(text(&tokens, "access_token"));
    let response = request.send().await.unwrap();
    let headers = response.headers().clone();
    assert_eq!(headers[header::CONTENT_TYPE], "application/jwt");
    assert_eq!(headers[header::CACHE_CONTROL], "no-store");
    assert_eq!(headers[header::PRAGMA], "no-cache");
    let jwt = response.text().await.unwrap();
    let claims = provider.signed(&jwt, "userinfo+jwt", "PS256").await;
    let expected = json!({
        "iss": provider.server.base, "aud": provider.client.client_id, "sub": provider.subject.to_string(),
        "email": format!("{}@example.com", flow::USERNAME), "email_verified": false,
    });
    assert_eq!(claims, expected);
    // It names issuer, client and user as an ID token does, and is none.
    let browser = browser();
    flow::authorize(&provider.server, &browser, &provider.query(&[])).await;
    for (hint, answer) in [(text(&tokens, "id_token"), "code"), (&jwt, "error")] {
        let hinted = provider.query(&[("id_token_hint", hint), ("prompt", "none")]);
        let returned = flow::request(&provider.server, &browser, &hinted)
            .await
            .parameters();
        assert!(returned.contains_key(answer), "{returned:?}");
    }
    // An error is an error as ever.
    let (status, body) = user_info(&provider, "gla_nonsense").await;
    assert_eq!((status, body["error"].is_string()), (401, true), "{body}");
}

#[tokio::test]
async fn userinfo_takes_get_and_post_and_a_token_in_a_form() {
    let provider = Provider::start().await;
    let tokens = provider.tokens(&[]).await;
    let token = text(&tokens, "access_token");
    let (_, expected) = user_info(&provider, token).await;
    assert_eq!(expected["sub"], provider.subject.to_string());
    assert_eq!(
        post(&provider, String::new(), Some(token)).await,
        (200, expected.clone())
    );
    let form = format!("access_token={token}");
    assert_eq!(post(&provider, form.clone(), None).await, (200, expected));
    let (status, body) = post(&provider, form.clone(), Some(token)).await;
    assert_eq!((status, text(&body, "error")), (400, "invalid_request"), "two");
    let (status, body) = post(&provider, format!("{form}&{form}"), None).await;
    assert_eq!(
        (status, text(&body, "error")),
        (400, "invalid_request"),
        "doubled"
    );
    let (status, body) = post(&provider, String::new(), None).await;
    // RFC 6750 §3.1: whoever sends no token is told of no error.
    assert_eq!((status, body.get("error")), (401, None));
}

#[tokio::test]
async fn userinfo_needs_openid_and_a_user() {
    let provider = Provider::with(json!({
        "grant_types": ["authorization_code", "client_credentials"],
    }))
    .await;
    let tokens = provider.tokens(&[("scope", "view-user")]).await;
    let (status, body) = user_info(&provider, text(&tokens, "access_token")).await;
    assert_eq!((status, text(&body, "error")), (403, "insufficient_scope"));
    let form = [("grant_type", "client_credentials"), ("scope", "openid")];
    let machine = provider.token_request(&form).await;
    assert!(machine.get("id_token").is_none(), "no user, no ID token");
    // OpenID Connect Core §5.3.3: in RFC 6750's words. Its scope would do; it is a token of nobody.
    let request = browser().get(provider.server.url("/oauth/userinfo"));
    let request = request.bearer_auth(text(&machine, "access_token"));
    let response = request.send().await.unwrap();
    let challenge = response.headers()[header::WWW_AUTHENTICATE].to_str().unwrap();
    let expected = r#"Bearer realm="grantlog", error="invalid_token", error_description=""#;
    assert!(challenge.starts_with(expected), "{challenge}");
    assert_eq!(response.status(), 401);
    let body: Value = response.json().await.unwrap();
    assert_eq!(text(&body, "error"), "invalid_token");
    assert!(text(&body, "error_description").contains("user"), "{body}");
}

#[tokio::test]
async fn userinfo_sees_a_revocation_at_once() {
    let provider = Provider::start().await;
    let tokens = provider.tokens(&[]).await;
    let token = text(&tokens, "access_token");
    assert_eq!(user_info(&provider, token).await.0, 200);
    let revoked = browser()
        .post(provider.server.url("/oauth/revoke"))
        .basic_auth(
            &provider.client.client_id,
            provider.client.client_secret.as_deref(),
        )
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(format!("token={token}"))
        .send()
        .await
        .unwrap();
    assert_eq!(revoked.status(), 200);
    let (status, body) = user_info(&provider, token).await;
    assert_eq!((status, text(&body, "error")), (401, "invalid_token"));
    assert_eq!(text(&body, "error_description"), text(&body, "message"));
}

#[tokio::test]
async fn a_token_for_other_resource_servers_opens_userinfo_but_not_the_api() {
    let provider = Provider::with(json!({"audience": ["https://api.example"]})).await;
    let tokens = provider.tokens(&[("scope", "openid view-user")]).await;
    let token = text(&tokens, "access_token");
    assert_eq!(user_info(&provider, token).await.0, 200);
    let api = browser().get(provider.server.url("/api/user")).bearer_auth(token);
    assert_eq!(api.send().await.unwrap().status(), 401);
    let tokens = provider.tokens(&[("scope", "view-user")]).await;
    let claims = crate::tokens::part(text(&tokens, "access_token"), 1);
    assert_eq!(claims["aud"], "https://api.example");
}

#[tokio::test]
async fn pages_of_the_clients_own_origins_may_read_userinfo() {
    const ORIGIN: &str = "https://spa.example";
    let provider = Provider::with(json!({"allowed_origins": [ORIGIN]})).await;
    let others = json!({
        "client_name": "Another", "redirect_uris": ["https://other.example/cb"],
        "allowed_origins": ["https://other.example"],
    });
    provider.server.client(others).await;
    let tokens = provider.tokens(&[]).await;
    for (origin, expected) in [(ORIGIN, Some(ORIGIN)), ("https://other.example", None)] {
        let response = browser()
            .get(provider.server.url("/oauth/userinfo"))
            .bearer_auth(text(&tokens, "access_token"))
            .header(header::ORIGIN, origin)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        let allowed = response.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        assert_eq!(allowed.map(|value| value.to_str().unwrap()), expected, "{origin}");
    }
}

#[tokio::test]
async fn a_token_that_is_in_the_form_twice_is_called_that() {
    let provider = Provider::start().await;
    let tokens = provider.tokens(&[]).await;
    let token = text(&tokens, "access_token");
    let answer = browser()
        .post(provider.server.url("/oauth/userinfo"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(format!("access_token={token}&access_token={token}"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 400);
    let body: Value = answer.json().await.unwrap();
    assert!(text(&body, "message").contains("more than once"), "{body}");
}
