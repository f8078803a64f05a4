//! RFC 9126, pushed authorization requests: the statements that `par.rs` is not about.

use serde_json::{Value, json};

use crate::flow::{self, Query};
use crate::harness::{TestServer, browser};
use crate::rfc6749::post_as;
use crate::token::text;

fn pairs(query: &Query) -> Vec<(&str, &str)> {
    query
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

/// §2.3.
#[tokio::test]
async fn only_a_posted_request_of_a_sane_size_is_pushed() {
    let server = TestServer::start().await;
    let client = flow::client_and_user(&server).await;
    let query = flow::query(&client);
    let url = server.url(&format!("/oauth/par?{}", flow::encode(&query)));
    for method in [reqwest::Method::GET, reqwest::Method::PUT] {
        let request = browser().request(method, &url);
        let request = request.basic_auth(&client.client_id, client.client_secret.as_deref());
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()["allow"], "POST");
    }
    let basic = (
        client.client_id.as_str(),
        client.client_secret.as_deref().unwrap(),
    );
    let huge = "x".repeat(100_000);
    let large = flow::with(&query, &[("login_hint", &huge)]);
    let (status, _) = post_as((&server, "/oauth/par"), Some(basic), &pairs(&large)).await;
    assert_eq!(status, 413);
    let (status, body) = post_as((&server, "/oauth/par"), Some(basic), &pairs(&query)).await;
    assert_eq!(status, 201, "{body}");
    assert!(body["expires_in"].as_u64().unwrap() > 0 && body["request_uri"].is_string());
}

/// §4, §7.4: what is true when the browser comes counts, not what was when the request was pushed.
#[tokio::test]
async fn what_changed_since_a_request_was_pushed_is_seen_when_it_is_used() {
    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    let basic = (
        client.client_id.as_str(),
        client.client_secret.as_deref().unwrap(),
    );
    let mut pushed = Vec::new();
    for _ in 0..3 {
        let query = flow::query(&client);
        let (status, body) = post_as((&server, "/oauth/par"), Some(basic), &pairs(&query)).await;
        assert_eq!(status, 201, "{body}");
        pushed.push(vec![
            ("client_id".to_owned(), client.client_id.clone()),
            ("request_uri".to_owned(), text(&body, "request_uri").to_owned()),
        ]);
    }
    // What was pushed unsigned is not answered once the client's requests must be signed.
    let key = json!({"kty": "EC", "crv": "P-256", "kid": "1", "alg": "ES256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
    let patch = json!({"jwks": {"keys": [key]}, "require_signed_request_object": true});
    server.update_client(client.key, patch).await.unwrap();
    let answer = flow::request(&server, &browser, &pushed[2]).await;
    assert_eq!(answer.parameters()["error"], "invalid_request");
    let patch = json!({"require_signed_request_object": false});
    server.update_client(client.key, patch).await.unwrap();
    let patch: Value = json!({"scope": "server-operations", "default_scopes": null});
    server.update_client(client.key, patch).await.unwrap();
    let answer = flow::request(&server, &browser, &pushed[0]).await;
    assert_eq!(answer.parameters()["error"], "invalid_scope");
    let patch = json!({"scope": "view-user", "redirect_uris": ["https://app.example/elsewhere"]});
    server.update_client(client.key, patch).await.unwrap();
    let answer = flow::request(&server, &browser, &pushed[1]).await;
    assert_eq!(
        (answer.status.as_u16(), answer.location()),
        (400, None),
        "{}",
        answer.body
    );
}
