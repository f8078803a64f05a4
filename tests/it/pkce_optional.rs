//! Confidential clients that may leave PKCE out (RFC 9700 §2.1.1), registered by administrators and by themselves.

use grantlog::config::RegistrationMode;
use grantlog::domain::initial_access_token::RegistrationPermit;
use grantlog::operations::client::CreatedClient;
use serde_json::{Value, json};

use crate::flow::{self, Query, with};
use crate::harness::{TestServer, browser};
use crate::registration::{initial, register, registering};

/// What of a request's PKCE there may be.
const WITHOUT: [(&str, &str); 2] = [("code_challenge", ""), ("code_challenge_method", "")];

async fn code(server: &TestServer, query: &Query) -> String {
    let answer = flow::authorize(server, &browser(), query).await;
    answer.get("code").unwrap_or_else(|| panic!("{answer:?}")).clone()
}

async fn redeem(
    server: &TestServer,
    client: &CreatedClient,
    (code, verifier): (&str, Option<&str>),
) -> (u16, Value) {
    let mut form = vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", flow::REDIRECT_URI),
    ];
    form.extend(verifier.map(|verifier| ("code_verifier", verifier)));
    let request = browser()
        .post(server.url("/oauth/token"))
        .basic_auth(&client.client_id, client.client_secret.as_ref())
        .form(&form);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn a_confidential_client_may_be_let_without_pkce_and_is_held_to_what_it_sends() {
    let server = TestServer::start().await;
    let client = flow::client_and_user(&server).await;
    let query = flow::query(&client);
    let without = with(&query, &WITHOUT);
    let refused = flow::request(&server, &browser(), &without).await;
    assert_eq!(refused.parameters()["error"], "invalid_request", "the default");
    let patch = json!({"require_pkce": false});
    server.update_client(client.key, patch).await.unwrap();
    // None asked, none needed; and none is taken afterwards (RFC 9700 §4.8.2).
    let (status, tokens) = redeem(&server, &client, (&code(&server, &without).await, None)).await;
    assert_eq!(status, 200, "{tokens}");
    let bare = code(&server, &without).await;
    let (status, body) = redeem(&server, &client, (&bare, Some(flow::VERIFIER))).await;
    assert_eq!((status, &body["error"]), (400, &json!("invalid_grant")));
    // One that was sent is held to, and S256 only.
    let bound = code(&server, &query).await;
    let (status, body) = redeem(&server, &client, (&bound, None)).await;
    assert_eq!((status, &body["error"]), (400, &json!("invalid_grant")));
    let bound = code(&server, &query).await;
    let (status, tokens) = redeem(&server, &client, (&bound, Some(flow::VERIFIER))).await;
    assert_eq!(status, 200, "{tokens}");
    for method in ["plain", ""] {
        let plain = with(&query, &[("code_challenge_method", method)]);
        let refused = flow::request(&server, &browser(), &plain).await;
        assert_eq!(refused.parameters()["error"], "invalid_request", "{method}");
    }
    // Said to administrators; and never for a public client or one that is held to FAPI 2.0.
    let shown = server.app.operations.shown_client(client.key).await.unwrap();
    let warnings = shown.unwrap().warnings;
    assert!(warnings.iter().any(|warning| warning.member == "require_pkce"));
    for change in [
        json!({"token_endpoint_auth_method": "none"}),
        json!({"profile": "fapi2-security", "token_endpoint_auth_method": "tls_client_auth",
               "tls_client_auth_san_dns": "a.example", "tls_client_certificate_bound_access_tokens": true}),
    ] {
        let refused = server.update_client(client.key, change).await.unwrap_err();
        assert!(refused.to_string().contains("require_pkce"), "{refused}");
    }
}

#[tokio::test]
async fn clients_register_themselves_without_pkce_where_the_server_or_their_token_lets_them() {
    let stock = json!({"redirect_uris": [flow::REDIRECT_URI]});
    let stated = |value: bool| json!({"redirect_uris": [flow::REDIRECT_URI], "require_pkce": value});
    let public = json!({"redirect_uris": [flow::REDIRECT_URI], "token_endpoint_auth_method": "none"});
    let strict = registering(RegistrationMode::Open, |_| {}).await;
    let answer = register(&strict, None, &stated(false)).await;
    assert_eq!(answer.status, 400);
    let what = answer.body["error_description"].as_str().unwrap();
    assert!(what.contains("require_pkce"), "{what}");
    let answer = register(&strict, None, &stock).await;
    assert_eq!(answer.body["require_pkce"], true, "{}", answer.body);
    let permit = RegistrationPermit {
        pkce_optional: true,
        ..RegistrationPermit::default()
    };
    let (_, token) = initial(&strict, 1, permit).await;
    let answer = register(&strict, Some(&token), &stock).await;
    assert_eq!(answer.body["require_pkce"], false, "{}", answer.body);
    // It keeps that when it replaces its registration.
    let body = &answer.body;
    let put = json!({"client_id": body["client_id"], "redirect_uris": [flow::REDIRECT_URI]});
    let url = body["registration_client_uri"].as_str().unwrap();
    let own = body["registration_access_token"].as_str();
    let replaced = crate::registration::send(("PUT", url), own, Some(&put)).await;
    assert_eq!(replaced.body["require_pkce"], false, "{}", replaced.body);

    let lenient = registering(RegistrationMode::Open, |settings| {
        settings.registration_pkce_optional = true;
    })
    .await;
    for (metadata, required) in [
        (&stock, false),
        (&stated(true), true),
        (&stated(false), false),
        (&public, true),
    ] {
        let answer = register(&lenient, None, metadata).await;
        assert_eq!(
            answer.body["require_pkce"], required,
            "{metadata}: {}",
            answer.body
        );
    }
    // What a client does that has never heard of PKCE.
    lenient.user(flow::USERNAME, flow::PASSWORD).await;
    let body = register(&lenient, None, &stock).await.body;
    let client_id = body["client_id"].as_str().unwrap().to_owned();
    let client = CreatedClient {
        key: lenient
            .app
            .operations
            .find_client(&client_id)
            .await
            .unwrap()
            .unwrap(),
        client_id,
        client_secret: body["client_secret"].as_str().map(str::to_owned),
    };
    let query = with(&flow::query(&client), &WITHOUT);
    let query = with(&query, &[("scope", "openid")]);
    let (status, tokens) = redeem(&lenient, &client, (&code(&lenient, &query).await, None)).await;
    assert_eq!(status, 200, "{tokens}");
    assert!(tokens["id_token"].is_string());
}
