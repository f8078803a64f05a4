//! Codes and tokens: how long, for whom, how hard to guess.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Fields, post_as};
use crate::code::{REDIRECT_URI, VERIFIER};
use crate::flow;
use crate::harness::{TestServer, browser};
use crate::token::{Party, error, text};

/// §4.1.2, §10.5.
#[tokio::test]
async fn a_code_is_good_for_its_lifetime_and_no_longer() {
    let server = TestServer::start_with(|settings| settings.code_lifetime = 30).await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    let secret = client.client_secret.as_deref().unwrap();
    for (seconds, status) in [(29, 200), (30, 400)] {
        let returned = flow::authorize(&server, &browser, &flow::query(&client)).await;
        server.clock.advance(Duration::from_secs(seconds));
        let form = [
            ("grant_type", "authorization_code"),
            ("code", returned["code"].as_str()),
            ("redirect_uri", flow::REDIRECT_URI),
            ("code_verifier", flow::VERIFIER),
        ];
        let answer = post_as(
            (&server, "/oauth/token"),
            Some((&client.client_id, secret)),
            &form,
        )
        .await;
        assert_eq!(answer.0, status, "{seconds} seconds: {}", answer.1);
        assert!(status == 200 || error(&answer) == (400, "invalid_grant"));
    }
}

/// §4.1.3, §10.5, §10.6.
#[tokio::test]
async fn a_code_is_exchanged_by_its_own_client_with_its_own_redirect_uri() {
    let party = Party::new().await;
    let others = json!({"client_name": "Other", "redirect_uris": [REDIRECT_URI], "scope": "view-user"});
    let other = party.server.client(others.clone()).await;
    let mut public = others;
    public["token_endpoint_auth_method"] = json!("none");
    let public = party.server.client(public).await;
    let code = party.code("view-user").await;
    let form = |uri: &'static str| -> Fields<'_> {
        vec![
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", uri),
            ("code_verifier", VERIFIER),
        ]
    };
    let basic = (other.client_id.as_str(), other.client_secret.as_deref().unwrap());
    let answer = post_as((&party.server, "/oauth/token"), Some(basic), &form(REDIRECT_URI)).await;
    assert_eq!(
        error(&answer),
        (400, "invalid_grant"),
        "another confidential client"
    );
    let named = [form(REDIRECT_URI), vec![("client_id", public.client_id.as_str())]].concat();
    let answer = post_as((&party.server, "/oauth/token"), None, &named).await;
    assert_eq!(error(&answer), (400, "invalid_grant"), "a public client");
    let named = [form(REDIRECT_URI), vec![("client_id", party.client_id.as_str())]].concat();
    let answer = post_as((&party.server, "/oauth/token"), None, &named).await;
    assert_eq!(
        error(&answer),
        (401, "invalid_client"),
        "its client, not authenticated"
    );
    for uri in [
        "https://app.example/callback/",
        "https://evil.example/callback",
        "",
    ] {
        let answer = party.post("/oauth/token", &form(uri)).await;
        assert_eq!(error(&answer), (400, "invalid_grant"), "{uri}");
    }
    let (status, tokens) = party.post("/oauth/token", &form(REDIRECT_URI)).await;
    assert_eq!(status, 200, "nobody has used it up: {tokens}");
}

/// §5.1.
#[tokio::test]
async fn answers_with_tokens_are_json_that_nothing_on_the_way_may_keep() {
    let party = Party::new().await;
    let code = party.code("view-user").await;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ];
    let send = async |path: &str, form: &[(&str, &str)]| {
        let request = party.http.post(party.server.url(path)).form(form);
        let request = request.basic_auth(&party.client_id, Some(&party.secret));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        for (name, value) in [
            ("content-type", "application/json"),
            ("cache-control", "no-store"),
            ("pragma", "no-cache"),
        ] {
            assert_eq!(response.headers()[name], value, "{path} {name}");
        }
        response.json::<Value>().await.unwrap()
    };
    let tokens = send("/oauth/token", &form).await;
    for member in ["access_token", "token_type", "refresh_token", "scope"] {
        assert!(!text(&tokens, member).is_empty());
    }
    assert!(tokens["expires_in"].is_u64());
    let refresh = text(&tokens, "refresh_token");
    send(
        "/oauth/token",
        &[("grant_type", "refresh_token"), ("refresh_token", refresh)],
    )
    .await;
    send("/oauth/introspect", &[("token", text(&tokens, "access_token"))]).await;
}

/// §10.10: a guess succeeds with a probability of 2^-128 at most.
#[tokio::test]
async fn codes_and_refresh_tokens_end_with_256_bits_that_differ_each_time() {
    let party = Party::with(json!({"access_token_format": "opaque"})).await;
    let mut seen = std::collections::HashSet::new();
    for _ in 0..4 {
        let code = party.code("view-user").await;
        let (_, tokens) = party.redeem(&code).await;
        let (access, refresh) = (text(&tokens, "access_token"), text(&tokens, "refresh_token"));
        assert!(code.starts_with("glc_") && access.starts_with("gla_") && refresh.starts_with("glr_"));
        for credential in [code.as_str(), access, refresh] {
            let bytes = URL_SAFE_NO_PAD.decode(&credential[4..]).unwrap();
            assert_eq!(bytes.len(), 21 + 32, "an address, then what is random");
            assert!(seen.insert(bytes[21..].to_vec()));
        }
    }
    let secret = party.secret.strip_prefix("gls_").unwrap();
    assert_eq!(URL_SAFE_NO_PAD.decode(secret).unwrap().len(), 32);
}

/// §7, §10.4: a refresh token that nobody uses ends.
#[tokio::test]
async fn a_refresh_token_that_is_not_used_expires() {
    let party = Party::with(json!({"refresh_token_lifetime": 600})).await;
    let (_, tokens) = party.redeem(&party.code("view-user").await).await;
    party.server.clock.advance(Duration::from_secs(599));
    let (status, next) = party.refresh(text(&tokens, "refresh_token")).await;
    assert_eq!(status, 200, "{next}");
    party.server.clock.advance(Duration::from_mins(10));
    assert!(!party.is_active(text(&next, "refresh_token")).await);
    let answer = party.refresh(text(&next, "refresh_token")).await;
    assert_eq!(error(&answer), (400, "invalid_grant"));
}

/// §2.3.1: the id and the secret of HTTP Basic are form-encoded, each by itself.
#[tokio::test]
async fn credentials_that_form_encoding_changes_authenticate() {
    let server = TestServer::start().await;
    let (id, secret) = ("legacy app+1", "p:w \"x\" %41+ long enough");
    server
        .client(json!({
            "client_name": "Moved here", "client_id": id, "client_secret": secret,
            "grant_types": ["client_credentials"], "scope": "server-operations",
        }))
        .await;
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let (encoded, encoded_secret) = (encode(id), encode(secret));
    assert!(encoded != id && encoded_secret != secret);
    let form = [
        ("grant_type", "client_credentials"),
        ("scope", "server-operations"),
    ];
    let at = (&server, "/oauth/token");
    let answer = post_as(at, Some((&encoded, &encoded_secret)), &form).await;
    assert_eq!(answer.0, 200, "{}", answer.1);
    let answer = post_as(at, Some((&encoded, "p%3Aw")), &form).await;
    assert_eq!(error(&answer), (401, "invalid_client"));
}

/// §10.1: not when it is registered, not by a later change, and not by a new secret.
#[tokio::test]
async fn an_administrator_gives_no_native_application_a_secret() {
    let server = TestServer::start_with(|settings| settings.allow_client_secret_jwt = true).await;
    let operations = &server.app.operations;
    let context = TestServer::context();
    let create = async |change: Value| {
        let mut members = json!({"client_name": "App", "scope": "view-user"});
        members
            .as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        let registration = serde_json::from_value(members).unwrap();
        let created = operations.create_client(&context, registration).await;
        created.map_err(|error| error.to_string())
    };
    let stated = json!({"application_type": "native", "redirect_uris": ["http://127.0.0.1/cb"]});
    let plain = json!({"redirect_uris": ["com.example.app:/cb", "http://127.0.0.1/cb"]});
    let merged = |native: &Value, method: &str| {
        let mut members = native.clone();
        members["token_endpoint_auth_method"] = json!(method);
        members
    };
    for native in [&stated, &plain] {
        for method in [
            "client_secret_basic",
            "client_secret_post",
            "client_secret_jwt",
            "any",
        ] {
            let refused = create(merged(native, method)).await.unwrap_err();
            assert!(refused.contains("RFC 6749 §10.1"), "{native} {method}: {refused}");
        }
        let public = create(merged(native, "none")).await.unwrap();
        assert_eq!(public.client_secret, None);
        let patch = json!({"token_endpoint_auth_method": "client_secret_basic"});
        let refused = server
            .update_client(public.key, patch)
            .await
            .unwrap_err()
            .to_string();
        assert!(refused.contains("RFC 6749 §10.1"), "{native}: {refused}");
        let rotated = operations.rotate_client_secret(&context, public.key, 0).await;
        assert!(rotated.is_err(), "{native}");
        let patch = json!({"client_name": "Renamed"});
        server.update_client(public.key, patch).await.unwrap();
    }
    // What is on a server does not become what is on everybody's device.
    let web = json!({"redirect_uris": [REDIRECT_URI]});
    let web = create(web).await.unwrap();
    for native in [stated, plain] {
        let refused = server
            .update_client(web.key, native)
            .await
            .unwrap_err()
            .to_string();
        assert!(refused.contains("RFC 6749 §10.1"), "{refused}");
    }
    operations
        .rotate_client_secret(&context, web.key, 0)
        .await
        .unwrap();
    // So is a web application developed.
    create(json!({"redirect_uris": ["http://localhost:3000/cb"]}))
        .await
        .unwrap();
    // An installation that registered itself has a secret of its own.
    let installed =
        create(json!({"redirect_uris": ["com.example.app:/cb"], "token_endpoint_auth_method": "none"}));
    let installed = installed.await.unwrap().key;
    operations
        .issue_registration_token(&context, installed)
        .await
        .unwrap();
    let patch = json!({"token_endpoint_auth_method": "client_secret_basic"});
    server.update_client(installed, patch).await.unwrap();
    operations
        .rotate_client_secret(&context, installed, 0)
        .await
        .unwrap();
}

/// §10.1: nor one that runs in the browser; an administrator is warned.
#[tokio::test]
async fn a_secret_of_a_client_with_browser_origins_is_warned_of() {
    let server = TestServer::start().await;
    let mut metadata = flow::confidential();
    metadata["allowed_origins"] = json!(["https://app.example"]);
    let confidential = server.client(metadata.clone()).await;
    metadata["token_endpoint_auth_method"] = json!("none");
    let public = server.client(metadata).await;
    let warned = async |key| {
        let shown = server.app.operations.shown_client(key).await.unwrap();
        let warnings = shown.unwrap().warnings;
        warnings
            .iter()
            .any(|warning| (warning.member, warning.section) == ("allowed_origins", "RFC 6749 §10.1"))
    };
    assert!(warned(confidential.key).await);
    assert!(!warned(public.key).await);
}
