//! Pages of registered origins may call what browser applications call; other pages may not, and never with
//! cookies.

use reqwest::{Method, Response, header};
use serde_json::json;

use crate::harness::TestServer;

const REGISTERED: &str = "https://spa.example";

async fn call(server: &TestServer, method: Method, path: &str, origin: &str) -> Response {
    let mut request = reqwest::Client::new()
        .request(method.clone(), server.url(path))
        .header(header::ORIGIN, origin);
    if method == Method::OPTIONS {
        request = request.header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST");
    }
    request.send().await.unwrap()
}

fn allowed(response: &Response) -> Option<&str> {
    assert!(
        !response
            .headers()
            .contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS)
    );
    let origin = response.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN)?;
    Some(origin.to_str().unwrap())
}

async fn server() -> (TestServer, grantlog::ids::ClientKey) {
    let server = TestServer::start().await;
    let client = server
        .client(json!({
            "client_name": "Single page", "token_endpoint_auth_method": "none",
            "redirect_uris": ["https://spa.example/cb"], "allowed_origins": [REGISTERED],
        }))
        .await;
    (server, client.key)
}

#[tokio::test]
async fn only_registered_origins_may_call() {
    let (server, _) = server().await;
    for path in ["/oauth/token", "/oauth/revoke", "/oauth/par", "/api/user"] {
        for method in [Method::OPTIONS, Method::POST] {
            let response = call(&server, method.clone(), path, REGISTERED).await;
            assert_eq!(allowed(&response), Some(REGISTERED), "{method} {path}");
            assert_eq!(response.headers()[header::VARY], "Origin");
            let exposed = response.headers()[header::ACCESS_CONTROL_EXPOSE_HEADERS]
                .to_str()
                .unwrap();
            assert_eq!(exposed, "WWW-Authenticate, X-Request-Id, Retry-After, DPoP-Nonce");
            for stranger in ["https://evil.example", "https://spa.example.evil.example", "null"] {
                let response = call(&server, method.clone(), path, stranger).await;
                assert_eq!(allowed(&response), None, "{method} {path} {stranger}");
                assert_eq!(response.headers()[header::VARY], "Origin");
            }
        }
    }
    let preflight = call(&server, Method::OPTIONS, "/oauth/token", REGISTERED).await;
    assert_eq!(preflight.status(), 204);
    assert_eq!(preflight.headers()[header::ACCESS_CONTROL_ALLOW_METHODS], "POST");
    assert_eq!(
        preflight.headers()[header::ACCESS_CONTROL_ALLOW_HEADERS],
        "Authorization, Content-Type, DPoP"
    );
}

#[tokio::test]
async fn what_only_servers_and_people_use_is_closed_to_pages() {
    let (server, _) = server().await;
    for path in ["/oauth/introspect", "/oauth/authorize", "/login", "/readyz"] {
        for method in [Method::POST, Method::GET, Method::OPTIONS] {
            let response = call(&server, method.clone(), path, REGISTERED).await;
            assert_eq!(allowed(&response), None, "{method} {path}");
        }
    }
    let response = call(
        &server,
        Method::GET,
        "/.well-known/oauth-authorization-server",
        "https://any.example",
    )
    .await;
    assert_eq!(allowed(&response), Some("*"));
}

#[tokio::test]
async fn a_suspended_clients_origin_is_forgotten_within_seconds() {
    let (server, client) = server().await;
    let registered =
        || async { allowed(&call(&server, Method::POST, "/oauth/token", REGISTERED).await).is_some() };
    assert!(registered().await);
    let context = TestServer::context();
    let command = grantlog::domain::client::ClientCommand::Suspend {
        reason: "test".to_owned(),
    };
    server
        .app
        .operations
        .command_client(&context, client, &command)
        .await
        .unwrap();
    server.clock.advance(std::time::Duration::from_secs(11));
    assert!(!registered().await);
    let command = grantlog::domain::client::ClientCommand::Reinstate;
    server
        .app
        .operations
        .command_client(&context, client, &command)
        .await
        .unwrap();
    server.clock.advance(std::time::Duration::from_secs(11));
    assert!(registered().await);
}

#[tokio::test]
async fn a_browser_application_that_registers_itself_may_call_from_where_it_is_answered() {
    let server = crate::registration::open().await;
    let register = async |method: &str| {
        let metadata = json!({
            "redirect_uris": ["https://app.example:8443/cb", "https://app.example:8443/other"],
            "token_endpoint_auth_method": method,
        });
        let answer = crate::registration::register(&server, None, &metadata).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.body
    };
    let own = "https://app.example:8443";
    let reachable = async || {
        server.clock.advance(std::time::Duration::from_secs(11));
        let response = call(&server, Method::OPTIONS, "/oauth/token", own).await;
        allowed(&response).is_some()
    };
    let confidential = register("client_secret_basic").await;
    assert_eq!(confidential["allowed_origins"], json!([]));
    assert!(!reachable().await);
    let public = register("none").await;
    assert_eq!(public["allowed_origins"], json!([own]));
    assert!(reachable().await);
    // It moves, and its origin with it; what an administrator had given stays.
    let id = public["client_id"].as_str().unwrap();
    let key = server.app.operations.find_client(id).await.unwrap().unwrap();
    let patch = json!({"allowed_origins": [own, "https://given.example"]});
    server.update_client(key, patch).await.unwrap();
    let put = json!({
        "client_id": id, "redirect_uris": ["https://moved.example/cb"], "token_endpoint_auth_method": "none",
    });
    let url = public["registration_client_uri"].as_str().unwrap();
    let token = public["registration_access_token"].as_str();
    let answer = crate::registration::send(("PUT", url), token, Some(&put)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(
        answer.body["allowed_origins"],
        json!(["https://given.example", "https://moved.example"])
    );
    assert!(!reachable().await);
}

#[tokio::test]
async fn a_page_may_not_read_the_tokens_of_a_client_that_did_not_register_it() {
    let (server, _) = server().await;
    for (origins, expected) in [(json!([]), None), (json!([REGISTERED]), Some(REGISTERED))] {
        let client = server
            .client(json!({
                "client_name": "Machine", "grant_types": ["client_credentials"],
                "scope": "server-operations", "allowed_origins": origins,
            }))
            .await;
        let response = reqwest::Client::new()
            .post(server.url("/oauth/token"))
            .header(header::ORIGIN, REGISTERED)
            .basic_auth(client.client_id, client.client_secret)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body("grant_type=client_credentials&scope=server-operations")
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(allowed(&response), expected);
    }
}

#[tokio::test]
async fn a_page_may_not_read_the_errors_of_a_client_that_did_not_register_it() {
    let (server, _) = server().await;
    for (origins, expected) in [(json!([]), None), (json!([REGISTERED]), Some(REGISTERED))] {
        let client = server
            .client(json!({
                "client_name": "Web", "redirect_uris": ["https://app.example/cb"],
                "scope": "server-operations", "allowed_origins": origins,
            }))
            .await;
        for (path, body) in [
            ("/oauth/token", "grant_type=refresh_token&refresh_token=glr_x"),
            ("/oauth/token", "grant_type=authorization_code&code=glc_x"),
            ("/oauth/token", "grant_type=client_credentials"),
            ("/oauth/par", "response_type=token"),
        ] {
            let response = reqwest::Client::new()
                .post(server.url(path))
                .header(header::ORIGIN, REGISTERED)
                .basic_auth(&client.client_id, client.client_secret.as_deref())
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(body)
                .send()
                .await
                .unwrap();
            assert_eq!(response.status(), 400, "{body}");
            assert_eq!(allowed(&response), expected, "{body}");
        }
    }
}
