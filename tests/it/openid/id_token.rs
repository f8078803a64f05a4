//! What is in an ID token, when there is one, and what it is not good for.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::{Provider, text};
use crate::flow;
use crate::harness::browser;

#[tokio::test]
async fn an_id_token_says_who_logged_in_when_and_how() {
    let provider = Provider::start().await;
    let before = provider.server.clock.now().timestamp();
    let tokens = provider.tokens(&[]).await;
    assert_eq!(tokens["scope"], "openid");
    let claims = provider.claims(text(&tokens, "id_token"), "RS256").await;
    let mut names: Vec<&str> = claims.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    let expected = [
        "acr",
        "amr",
        "at_hash",
        "aud",
        "auth_time",
        "exp",
        "iat",
        "iss",
        "jti",
        "nonce",
        "sid",
        "sub",
    ];
    assert_eq!(names, expected, "and nothing else");
    assert_eq!(claims["iss"], provider.server.base.as_str());
    assert_eq!(claims["sub"], provider.subject.to_string());
    assert_eq!(claims["aud"], provider.client.client_id.as_str());
    assert_eq!(claims["nonce"], "n-0S6_WzA2Mj");
    assert_eq!(claims["amr"], json!(["pwd"]));
    assert_eq!(
        claims["acr"],
        "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"
    );
    let (iat, auth_time) = (
        claims["iat"].as_i64().unwrap(),
        claims["auth_time"].as_i64().unwrap(),
    );
    assert!(before <= auth_time && auth_time <= iat, "{claims}");
    assert_eq!(claims["exp"].as_i64().unwrap(), iat + 3600);
    let hash = digest(&SHA256, text(&tokens, "access_token").as_bytes());
    assert_eq!(claims["at_hash"], URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16]));
    let session: uuid::Uuid = text(&claims, "sid").parse().unwrap();
    let started: Vec<uuid::Uuid> = sqlx::query_scalar(
        "SELECT aggregate_id FROM grantlog.ledger_session WHERE event_type = 'SessionStarted'",
    )
    .fetch_all(&provider.server.database.owner().await)
    .await
    .unwrap();
    assert_eq!(started, [session], "the login, as the ledger knows it");
}

#[tokio::test]
async fn there_is_an_id_token_only_where_openid_was_granted() {
    let provider = Provider::start().await;
    let tokens = provider.tokens(&[("scope", "view-user")]).await;
    assert!(tokens.get("id_token").is_none(), "{tokens}");
    let stored: Vec<Option<String>> = sqlx::query_scalar(
        "SELECT payload->>'nonce' FROM grantlog.ledger_grant WHERE event_type = 'CodeIssued'",
    )
    .fetch_all(&provider.server.database.owner().await)
    .await
    .unwrap();
    assert_eq!(stored, [None], "a nonce that nothing will repeat is not kept");
}

#[tokio::test]
async fn a_client_may_have_its_id_tokens_signed_with_es256() {
    let provider = Provider::with(json!({"id_token_signed_response_alg": "ES256"})).await;
    let tokens = provider.tokens(&[]).await;
    let claims = provider.claims(text(&tokens, "id_token"), "ES256").await;
    assert_eq!(claims["sub"], provider.subject.to_string());
    let registered = json!({
        "client_name": "Other", "redirect_uris": [flow::REDIRECT_URI],
        "id_token_signed_response_alg": "none",
    });
    let parsed: Result<grantlog::operations::client::ClientRegistration, _> =
        serde_json::from_value(registered);
    assert!(parsed.is_err(), "an unsigned ID token proves nothing");
}

#[tokio::test]
async fn at_hash_is_made_with_the_hash_function_of_the_signature() {
    for (algorithm, function, half) in [("PS256", &SHA256, 16), ("EdDSA", &SHA512, 32)] {
        let provider = Provider::with(json!({"id_token_signed_response_alg": algorithm})).await;
        let tokens = provider.tokens(&[]).await;
        let claims = provider.claims(text(&tokens, "id_token"), algorithm).await;
        let hash = digest(function, text(&tokens, "access_token").as_bytes());
        let expected = URL_SAFE_NO_PAD.encode(&hash.as_ref()[..half]);
        assert_eq!(claims["at_hash"], expected, "{algorithm}");
    }
}

#[tokio::test]
async fn a_refreshed_id_token_is_of_the_same_login_and_has_no_nonce() {
    let provider = Provider::start().await;
    let tokens = provider.tokens(&[("scope", "openid view-user")]).await;
    let first = provider.claims(text(&tokens, "id_token"), "RS256").await;
    provider.server.clock.advance(Duration::from_mins(1));
    let refresh = |token: String, scope: &'static str| {
        let provider = &provider;
        async move {
            let form = [
                ("grant_type", "refresh_token"),
                ("refresh_token", token.as_str()),
                ("scope", scope),
            ];
            provider.token_request(&form).await
        }
    };
    let refreshed = refresh(text(&tokens, "refresh_token").to_owned(), "openid").await;
    let second = provider.claims(text(&refreshed, "id_token"), "RS256").await;
    for same in ["iss", "sub", "aud", "auth_time", "sid", "amr"] {
        assert_eq!(first[same], second[same], "{same}");
    }
    assert!(second.get("nonce").is_none(), "{second}");
    assert!(second["iat"].as_i64().unwrap() >= first["iat"].as_i64().unwrap() + 60);
    assert_ne!(first["at_hash"], second["at_hash"]);
    let narrowed = refresh(text(&refreshed, "refresh_token").to_owned(), "view-user").await;
    assert!(narrowed.get("id_token").is_none(), "{narrowed}");
}

#[tokio::test]
async fn an_id_token_is_no_access_token() {
    let provider = Provider::start().await;
    let tokens = provider.tokens(&[("scope", "openid view-user")]).await;
    for path in ["/api/user", "/oauth/userinfo"] {
        let call = |token: &str| browser().get(provider.server.url(path)).bearer_auth(token).send();
        assert_eq!(call(text(&tokens, "access_token")).await.unwrap().status(), 200);
        assert_eq!(call(text(&tokens, "id_token")).await.unwrap().status(), 401);
    }
}

#[tokio::test]
async fn a_nonce_comes_back_as_it_was_sent_up_to_512_characters() {
    let provider = Provider::start().await;
    let nonce = format!("\"ä\\ +&=%{}", "x".repeat(503));
    let tokens = provider.tokens(&[("nonce", &nonce)]).await;
    let claims = provider.claims(text(&tokens, "id_token"), "RS256").await;
    assert_eq!(claims["nonce"], nonce.as_str());
    let longer = "x".repeat(513);
    let answer = flow::request(
        &provider.server,
        &browser(),
        &provider.query(&[("nonce", &longer)]),
    )
    .await;
    assert_eq!(answer.parameters()["error"], "invalid_request");
}

#[tokio::test]
async fn an_answer_in_camel_case_spells_the_id_token_so() {
    let provider = Provider::with(json!({"response_profile": "camel_case", "legacy": true})).await;
    let tokens = provider.tokens(&[]).await;
    assert!(tokens.get("id_token").is_none(), "{tokens}");
    let claims = provider.claims(text(&tokens, "idToken"), "RS256").await;
    assert_eq!(claims["sub"], provider.subject.to_string());
}
