//! Pairwise subjects and sectors (OpenID Connect Core §8, Dynamic Client Registration §5).

use axum::Json;
use axum::routing::get;
use grantlog::config::RegistrationMode;
use grantlog::domain::client::{Client, GrantType};
use grantlog::operations::client::CreatedClient;
use serde_json::{Value, json};

use crate::flow::{self, REDIRECT_URI};
use crate::harness::{TestServer, browser, serve};
use crate::openid::{Provider, text};
use crate::registration::{register, registering};

const SECOND_URI: &str = "https://other.example/cb";

/// Serves a sector's document; its URL.
async fn sector(document: Value) -> String {
    let app = axum::Router::new()
        .route("/sector.json", get(move || async move { Json(document) }))
        .route(
            "/moved",
            get(|| async { axum::response::Redirect::to("/sector.json") }),
        );
    serve(|address| (format!("http://{address}/sector.json"), app)).await
}

async fn userinfo(server: &TestServer, access: &str, path: &str) -> (u16, Value) {
    let response = browser()
        .get(server.url(path))
        .bearer_auth(access)
        .send()
        .await
        .unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn introspected(provider: &Provider, client: &CreatedClient, token: &str) -> Value {
    let request = browser().post(provider.server.url("/oauth/introspect"));
    let request = request.basic_auth(&client.client_id, client.client_secret.as_deref());
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let response = request.body(format!("token={token}")).send().await.unwrap();
    response.json().await.unwrap()
}

#[tokio::test]
async fn a_pairwise_subject_is_the_same_wherever_its_client_meets_it() {
    let provider = Provider::with(json!({"subject_type": "pairwise"})).await;
    let server = &provider.server;
    let tokens = provider.tokens(&[("scope", "openid view-user")]).await;
    let claims = provider.claims(text(&tokens, "id_token"), "RS256").await;
    let sub = text(&claims, "sub").to_owned();
    assert_ne!(sub, provider.subject.to_string());
    assert!(sub.is_ascii() && sub.len() == 43, "{sub}");
    let access = text(&tokens, "access_token");
    assert_eq!(
        userinfo(server, access, "/oauth/userinfo").await.1["sub"],
        sub.as_str()
    );
    assert_eq!(userinfo(server, access, "/api/user").await.1["id"], sub.as_str());
    let own = format!("/api/users/{sub}");
    assert_eq!(userinfo(server, access, &own).await.1["id"], sub.as_str());
    // The user's id is what the client must not learn, and so is not a way to ask either.
    let by_id = format!("/api/users/{}", provider.subject);
    assert_eq!(userinfo(server, access, &by_id).await.0, 403);
    for token in ["access_token", "refresh_token"] {
        let state = introspected(&provider, &provider.client, text(&tokens, token)).await;
        assert_eq!(
            (&state["active"], text(&state, "sub")),
            (&json!(true), sub.as_str()),
            "{token}"
        );
    }
    let resource_server = server
        .client(json!({
            "client_name": "RS", "grant_types": ["client_credentials"], "introspects": [server.base],
        }))
        .await;
    let state = introspected(&provider, &resource_server, access).await;
    assert_eq!(
        text(&state, "sub"),
        sub,
        "a resource server sees what the token says"
    );
    let whole = format!("{tokens}{claims}{state}");
    assert!(!whole.contains(&provider.subject.to_string()), "{whole}");
    let refreshed = provider
        .token_request(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", text(&tokens, "refresh_token")),
        ])
        .await;
    let claims = provider.claims(text(&refreshed, "id_token"), "RS256").await;
    assert_eq!(text(&claims, "sub"), sub);
}

#[tokio::test]
async fn a_pairwise_subject_names_its_user_in_hints_and_claims_requests() {
    let provider = Provider::with(json!({"subject_type": "pairwise"})).await;
    let http = browser();
    let returned = flow::authorize(&provider.server, &http, &provider.query(&[])).await;
    let tokens = provider.redeem(&returned["code"]).await;
    let hint = text(&tokens, "id_token");
    let claims = provider.claims(hint, "RS256").await;
    let wanted = |sub: &str| json!({"id_token": {"sub": {"value": sub}}}).to_string();
    let (own, id) = (
        wanted(text(&claims, "sub")),
        wanted(&provider.subject.to_string()),
    );
    for (changes, outcome) in [
        ([("prompt", "none"), ("id_token_hint", hint)], None),
        ([("prompt", "none"), ("claims", own.as_str())], None),
        (
            [("prompt", "none"), ("claims", id.as_str())],
            Some("login_required"),
        ),
    ] {
        let answer = flow::request(&provider.server, &http, &provider.query(&changes)).await;
        let error = answer.parameters().get("error").cloned();
        assert_eq!(error.as_deref(), outcome, "{changes:?}");
    }
}

#[tokio::test]
async fn clients_of_one_sector_know_a_user_by_one_subject_and_others_by_another() {
    let document = sector(json!([REDIRECT_URI, SECOND_URI])).await;
    let server = registering(RegistrationMode::Open, |settings| {
        settings.outbound_allow = vec![toml_value("127.0.0.1")];
    })
    .await;
    let subject = server.user(flow::USERNAME, flow::PASSWORD).await;
    let mut subjects = Vec::new();
    for (uris, sector) in [
        (json!([REDIRECT_URI]), Some(&document)),
        (json!([REDIRECT_URI, SECOND_URI]), Some(&document)),
        (json!([REDIRECT_URI]), None),
    ] {
        let mut metadata = json!({"redirect_uris": uris, "subject_type": "pairwise"});
        if let Some(sector) = sector {
            metadata["sector_identifier_uri"] = json!(sector);
        }
        let answer = register(&server, None, &metadata).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        assert_eq!(answer.body["subject_type"], "pairwise");
        let key: uuid::Uuid = text(&answer.body, "client_id").parse().unwrap();
        let client = server.app.operations.load::<Client>(key).await.unwrap();
        let registration = client.registration.as_deref().unwrap();
        let sub = server.app.operations.subject_for(registration, subject);
        let found = server
            .app
            .operations
            .find_subject(registration, &sub)
            .await
            .unwrap();
        assert_eq!(found, Some(subject), "an administrator finds the user");
        let nobody = server
            .app
            .operations
            .find_subject(registration, "x")
            .await
            .unwrap();
        assert_eq!(nobody, None);
        subjects.push(sub);
    }
    assert_eq!(subjects[0], subjects[1]);
    assert_ne!(subjects[0], subjects[2]);
}

fn toml_value(host: &str) -> grantlog::outbound::Allowed {
    #[derive(serde::Deserialize)]
    struct One {
        host: grantlog::outbound::Allowed,
    }
    toml::from_str::<One>(&format!("host = \"{host}\"")).unwrap().host
}

#[tokio::test]
async fn a_sector_that_does_not_vouch_for_every_redirect_uri_is_refused() {
    let document = sector(json!([REDIRECT_URI])).await;
    let allowing = registering(RegistrationMode::Open, |settings| {
        settings.outbound_allow = vec![toml_value("127.0.0.1")];
    })
    .await;
    let strict = registering(RegistrationMode::Open, |_| {}).await;
    let moved = document.replace("sector.json", "moved");
    let missing = document.replace("sector.json", "nothing");
    let two = json!([REDIRECT_URI, SECOND_URI]);
    for (server, uris, uri) in [
        (&allowing, &two, document.as_str()),
        (&allowing, &json!([REDIRECT_URI]), &moved),
        (&allowing, &json!([REDIRECT_URI]), &missing),
        // Not https, and inside.
        (&strict, &json!([REDIRECT_URI]), &document),
        (
            &strict,
            &json!([REDIRECT_URI]),
            &document.replace("http:", "https:"),
        ),
        (&strict, &json!([REDIRECT_URI]), "ftp://sector.example/list"),
    ] {
        let metadata =
            json!({"redirect_uris": uris, "subject_type": "pairwise", "sector_identifier_uri": uri});
        let answer = register(server, None, &metadata).await;
        assert_eq!(
            (answer.status, &answer.body["error"]),
            (400, &json!("invalid_client_metadata")),
            "{uri}"
        );
        // The same words whatever it was, so that nothing inside can be found out.
        let description = text(&answer.body, "error_description");
        assert!(
            description.contains("cannot be read, is not a JSON list, or lacks"),
            "{description}"
        );
    }
    // Several hosts and no document: nothing says what the sector is.
    let metadata = json!({"redirect_uris": two, "subject_type": "pairwise"});
    let answer = register(&strict, None, &metadata).await;
    assert_eq!(answer.body["error"], "invalid_client_metadata");
}

/// Core §8.1, §12.2.
#[tokio::test]
async fn a_client_does_not_move_into_another_sector() {
    let provider = Provider::with(json!({"subject_type": "pairwise"})).await;
    let server = &provider.server;
    let tokens = provider.tokens(&[]).await;
    let claims = provider.claims(text(&tokens, "id_token"), "RS256").await;
    let key = provider.client.key;
    for moved in [
        json!({"redirect_uris": ["https://victim.example/cb"]}),
        json!({"subject_type": "public"}),
    ] {
        let refused = server.update_client(key, moved).await.unwrap_err();
        assert!(refused.to_string().contains("sector"), "{refused}");
    }
    let another_path = json!({"redirect_uris": ["https://app.example/cb", "https://app.example/second"]});
    server.update_client(key, another_path).await.unwrap();
    let access = text(&tokens, "access_token");
    let known = userinfo(server, access, "/oauth/userinfo").await.1;
    assert_eq!(
        known["sub"], claims["sub"],
        "it is known by the subject of its login"
    );

    // Nor one that registered itself, over the wire.
    let open = registering(RegistrationMode::Open, |settings| {
        settings.registration_grant_types = vec![GrantType::AuthorizationCode, GrantType::DeviceCode];
    })
    .await;
    // With a grant that goes to no redirect URI it would be of any sector that it names.
    let devices = json!({"redirect_uris": ["https://victim.example/cb"], "subject_type": "pairwise",
        "grant_types": ["authorization_code", GrantType::DeviceCode.name()]});
    let refused = register(&open, None, &devices).await;
    assert_eq!(
        (refused.status, &refused.body["error"]),
        (400, &json!("invalid_client_metadata"))
    );
    assert!(text(&refused.body, "error_description").contains("subject_type"));
    let metadata = json!({"redirect_uris": [REDIRECT_URI], "subject_type": "pairwise"});
    let registered = register(&open, None, &metadata).await.body;
    let mut replaced = registered.clone();
    for ours in [
        "registration_access_token",
        "registration_client_uri",
        "client_secret_expires_at",
        "client_id_issued_at",
    ] {
        replaced.as_object_mut().unwrap().remove(ours);
    }
    replaced["redirect_uris"] = json!(["https://victim.example/cb"]);
    let put = browser()
        .put(text(&registered, "registration_client_uri"))
        .bearer_auth(text(&registered, "registration_access_token"))
        .json(&replaced);
    let answer = put.send().await.unwrap();
    assert_eq!(answer.status(), 400);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["error"], "invalid_client_metadata", "{answer}");
    assert!(text(&answer, "error_description").contains("sector"), "{answer}");
}
