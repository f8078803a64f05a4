//! OpenID Connect Core and Discovery, the statements that no other file is about.

use serde_json::{Value, json};

use super::{Provider, text};
use crate::flow::{self, with};
use crate::harness::browser;
use crate::tokens::part;

async fn get(provider: &Provider, path: &str) -> Value {
    let response = browser().get(provider.server.url(path)).send().await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    assert_eq!(response.headers()["content-type"], "application/json", "{path}");
    response.json().await.unwrap()
}

/// Core §3.1.2.1: OAuth lets a client with one redirect URI leave it out; OpenID Connect does not.
#[tokio::test]
async fn an_authentication_request_names_its_redirect_uri() {
    let provider = Provider::start().await;
    let (server, browser) = (&provider.server, browser());
    for scope in ["openid", "view-user openid"] {
        let query = provider.query(&[("redirect_uri", ""), ("scope", scope)]);
        let answer = flow::request(server, &browser, &query).await;
        assert_eq!(
            (answer.status.as_u16(), answer.location()),
            (400, None),
            "{scope}"
        );
        assert!(answer.body.contains("redirect_uri is missing"), "{}", answer.body);
    }
    let plain = provider.query(&[("redirect_uri", ""), ("scope", "view-user")]);
    assert!(flow::request(server, &browser, &plain).await.is_login_page());
}

/// Core §2, §10.1: the header names the key and nothing that would have to be fetched; `sub` is short ASCII.
#[tokio::test]
async fn an_id_tokens_header_names_its_key_and_no_address() {
    let provider = Provider::start().await;
    let tokens = provider.tokens(&[]).await;
    let header = part(text(&tokens, "id_token"), 0);
    let mut members: Vec<&str> = header.as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, ["alg", "kid", "typ"]);
    let claims = part(text(&tokens, "id_token"), 1);
    let sub = text(&claims, "sub");
    assert!(sub.len() <= 255 && sub.is_ascii());
    assert_eq!(
        claims["aud"],
        provider.client.client_id.as_str(),
        "one audience, so no azp"
    );
    assert!(claims.get("azp").is_none());
    assert_eq!(tokens["token_type"], "Bearer");
}

/// Core §3.1.2.2: the ID token is of an authentication request only, and what was left out of it is not made up.
#[tokio::test]
async fn a_nonce_that_was_not_sent_is_not_there() {
    let provider = Provider::start().await;
    let tokens = provider.tokens(&[("nonce", "")]).await;
    let claims = provider.claims(text(&tokens, "id_token"), "RS256").await;
    assert!(claims.get("nonce").is_none(), "{claims}");
}

/// Core §3.1.2.4, §11: nothing is given before the user was asked, and access while the user is away is asked for, too.
#[tokio::test]
async fn offline_access_is_asked_for_whatever_was_consented_to_before() {
    let provider = Provider::start().await;
    let (server, browser) = (&provider.server, browser());
    flow::authorize(server, &browser, &provider.query(&[])).await;
    let silent = provider.query(&[("prompt", "none")]);
    assert!(
        flow::request(server, &browser, &silent)
            .await
            .parameters()
            .contains_key("code")
    );
    let offline = provider.query(&[("scope", "openid offline_access")]);
    let refused = flow::request(server, &browser, &with(&offline, &[("prompt", "none")])).await;
    assert_eq!(refused.parameters()["error"], "consent_required");
    let page = flow::request(server, &browser, &offline).await;
    assert!(page.is_consent_page(), "{}", page.body);
    assert!(
        page.body.contains("Keep this access while you are away"),
        "{}",
        page.body
    );
    let denied = flow::decide(server, &browser, &offline, (&page, "deny")).await;
    assert_eq!(denied.parameters()["error"], "access_denied");
}

/// Core §5.3.2, §5.3.3.
#[tokio::test]
async fn userinfo_answers_in_json_and_refuses_with_a_challenge() {
    let provider = Provider::start().await;
    let tokens = provider.tokens(&[("scope", "openid profile email")]).await;
    let send = async |token: &str| {
        let request = browser()
            .get(provider.server.url("/oauth/userinfo"))
            .bearer_auth(token);
        request.send().await.unwrap()
    };
    let answer = send(text(&tokens, "access_token")).await;
    assert_eq!(answer.headers()["content-type"], "application/json");
    let claims: Value = answer.json().await.unwrap();
    let id_token = provider.claims(text(&tokens, "id_token"), "RS256").await;
    assert_eq!(claims["sub"], id_token["sub"], "always there, and the ID token's");
    for (name, claim) in claims.as_object().unwrap() {
        assert!(!claim.is_null() && *claim != json!(""), "{name}");
    }
    let answer = send("nonsense").await;
    assert_eq!(answer.status(), 401);
    let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
    assert!(challenge.contains(r#"error="invalid_token""#), "{challenge}");
    let plain = provider.tokens(&[("scope", "view-user")]).await;
    let answer = send(text(&plain, "access_token")).await;
    assert_eq!(answer.status(), 403);
    let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
    assert!(challenge.contains(r#"error="insufficient_scope""#), "{challenge}");
}

/// Core §5.5, §5.5.1: what is not understood is ignored; what cannot be had is left out, essential or not.
#[tokio::test]
async fn claims_that_nobody_knows_are_left_out_without_an_error() {
    let provider = Provider::start().await;
    let wanted = json!({
        "id_token": {
            "http://example.info/claims/groups": {"essential": true},
            "birthdate": {"essential": true, "unheard_of": 7},
            "email": {"value": "somebody@else.example"},
        },
        "another_place": {"email": null},
    });
    let tokens = provider.tokens(&[("claims", &wanted.to_string())]).await;
    let claims = provider.claims(text(&tokens, "id_token"), "RS256").await;
    for absent in ["http://example.info/claims/groups", "birthdate", "email"] {
        assert!(claims.get(absent).is_none(), "{absent}: {claims}");
    }
}

/// Core §10.1, Discovery §3: public keys only, each with a name of its own.
#[tokio::test]
async fn the_key_set_has_public_keys_with_names_and_nothing_private() {
    let provider = Provider::with(json!({"id_token_signed_response_alg": "EdDSA"})).await;
    provider.tokens(&[]).await;
    let set = get(&provider, "/oauth/jwks").await;
    let keys = set["keys"].as_array().unwrap();
    assert!(!keys.is_empty());
    let mut names = std::collections::HashSet::new();
    for key in keys {
        assert!(["RSA", "EC", "OKP"].contains(&text(key, "kty")), "{key}");
        assert_eq!(key["use"], "sig");
        assert!(!text(key, "alg").is_empty());
        assert!(names.insert(text(key, "kid")), "{key}");
        for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            assert!(key.get(private).is_none(), "{private}");
        }
    }
}

/// Discovery §3, §4.2, RFC 8414 §3.2: every required member, none empty, RS256 among the algorithms, `none` nowhere.
#[tokio::test]
async fn the_discovery_document_has_what_is_required_and_nothing_empty() {
    let provider = Provider::start().await;
    let document = get(&provider, "/.well-known/openid-configuration").await;
    for required in [
        "issuer",
        "authorization_endpoint",
        "token_endpoint",
        "userinfo_endpoint",
        "jwks_uri",
        "response_types_supported",
        "subject_types_supported",
        "id_token_signing_alg_values_supported",
    ] {
        assert!(document.get(required).is_some(), "{required}");
    }
    for (name, value) in document.as_object().unwrap() {
        assert!(!value.is_null(), "{name}");
        if let Some(values) = value.as_array() {
            assert!(!values.is_empty(), "{name}");
            assert!(
                name == "prompt_values_supported"
                    || name.ends_with("auth_methods_supported")
                    || !values.contains(&json!("none")),
                "{name}"
            );
        }
    }
    let algorithms = document["id_token_signing_alg_values_supported"]
        .as_array()
        .unwrap();
    assert!(algorithms.contains(&json!("RS256")));
    let scopes = document["scopes_supported"].as_array().unwrap();
    assert!(scopes.contains(&json!("openid")));
    let tokens = provider.tokens(&[]).await;
    assert_eq!(part(text(&tokens, "id_token"), 1)["iss"], document["issuer"]);
    assert_eq!(
        part(text(&tokens, "id_token"), 0)["alg"],
        "RS256",
        "unless the client says otherwise"
    );
}

/// Core §3.1.3.2, §3.1.3.4: the code's own client, once, and an error as OAuth has it.
#[tokio::test]
async fn an_id_token_is_given_to_the_client_of_its_code_alone() {
    let provider = Provider::start().await;
    let other = provider.server.client(flow::confidential()).await;
    let returned = flow::authorize(&provider.server, &browser(), &provider.query(&[])).await;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", returned["code"].as_str()),
        ("redirect_uri", flow::REDIRECT_URI),
        ("code_verifier", flow::VERIFIER),
    ];
    let basic = (other.client_id.as_str(), other.client_secret.as_deref().unwrap());
    let (status, body) =
        crate::rfc6749::post_as((&provider.server, "/oauth/token"), Some(basic), &form).await;
    assert_eq!((status, text(&body, "error")), (400, "invalid_grant"));
    assert!(body.get("id_token").is_none());
    let tokens = provider.redeem(&returned["code"]).await;
    provider.claims(text(&tokens, "id_token"), "RS256").await;
}

/// Core §2, §5.7: whoever takes the name of a user who was erased is somebody else.
#[tokio::test]
async fn a_subject_is_given_to_nobody_else() {
    let provider = Provider::start().await;
    let operations = &provider.server.app.operations;
    let context = crate::harness::TestServer::context();
    operations.erase_user(&context, provider.subject).await.unwrap();
    let next = provider.server.user(flow::USERNAME, flow::PASSWORD).await;
    assert_ne!(next, provider.subject);
    let tokens = provider.tokens(&[]).await;
    assert_eq!(part(text(&tokens, "id_token"), 1)["sub"], next.to_string());
}

/// Core §10.2: what is not encrypted is not promised to be.
#[tokio::test]
async fn a_client_that_asks_for_encryption_is_refused() {
    let server = crate::registration::open().await;
    for member in [
        "id_token_encrypted_response_alg",
        "userinfo_encrypted_response_alg",
    ] {
        let metadata = json!({"redirect_uris": [flow::REDIRECT_URI], member: "RSA-OAEP"});
        let answer = crate::registration::register(&server, None, &metadata).await;
        assert_eq!(
            (answer.status, text(&answer.body, "error")),
            (400, "invalid_client_metadata"),
            "{member}"
        );
    }
}
