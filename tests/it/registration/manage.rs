//! RFC 7592: a client reads, replaces and deletes its registration.

use serde_json::{Value, json};

use super::{Answer, open, register, registering, send};
use crate::flow::{self, REDIRECT_URI};
use crate::harness::{TestServer, browser};
use grantlog::config::RegistrationMode;
use grantlog::domain::client::{Client, ClientCommand};
use grantlog::ids::ClientKey;
use grantlog::operations::client::CreatedClient;

/// A client that has registered itself.
struct Registered {
    server: TestServer,
    answer: Value,
}

impl Registered {
    async fn with(metadata: Value) -> Self {
        let server = open().await;
        let answer = register(&server, None, &metadata).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        Self {
            server,
            answer: answer.body,
        }
    }

    async fn new() -> Self {
        Self::with(json!({
            "redirect_uris": [REDIRECT_URI], "client_name": "App", "contacts": ["a@app.example"],
            "scope": "openid profile", "grant_types": ["authorization_code", "refresh_token"],
        }))
        .await
    }

    fn text(&self, name: &str) -> &str {
        self.answer[name].as_str().unwrap()
    }

    fn key(&self) -> ClientKey {
        ClientKey(self.text("client_id").parse().unwrap())
    }

    async fn send(&self, method: &str, body: Option<&Value>) -> Answer {
        let token = Some(self.text("registration_access_token"));
        send((method, self.text("registration_client_uri")), token, body).await
    }

    /// What an update may say: the registration without what the server states.
    fn update(&self, changes: Value) -> Value {
        let mut body = self.answer.clone();
        let members = body.as_object_mut().unwrap();
        for name in SERVERS {
            members.remove(name);
        }
        let Value::Object(changes) = changes else {
            unreachable!()
        };
        members.extend(changes);
        body
    }
}

const SERVERS: [&str; 4] = [
    "registration_access_token",
    "registration_client_uri",
    "client_secret_expires_at",
    "client_id_issued_at",
];

#[tokio::test]
async fn a_client_reads_its_registration_and_sees_no_secret_again() {
    let client = Registered::new().await;
    let answer = client.send("GET", None).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["cache-control"], "no-store");
    let mut expected = client.answer.clone();
    expected.as_object_mut().unwrap().remove("client_secret");
    assert_eq!(answer.body, expected);
}

#[tokio::test]
async fn a_registration_is_opened_by_its_own_token_only() {
    let client = Registered::new().await;
    let other = register(&client.server, None, &json!({"redirect_uris": [REDIRECT_URI]})).await;
    let others = other.body["registration_access_token"].as_str().unwrap();
    let unknown = client
        .server
        .url("/oauth/register/00000000-0000-4000-8000-000000000000");
    let own = client.text("registration_access_token");
    for (url, token) in [
        (client.text("registration_client_uri"), Some(others)),
        (client.text("registration_client_uri"), Some("glm_x")),
        (client.text("registration_client_uri"), None),
        (&unknown, Some(own)),
        (&client.server.url("/oauth/register/not%20there"), Some(own)),
    ] {
        for method in ["GET", "PUT", "DELETE"] {
            let answer = send((method, url), token, Some(&json!({}))).await;
            assert_eq!(
                (answer.status, &answer.body["error"]),
                (401, &json!("invalid_token")),
                "{method}"
            );
            assert!(answer.headers.contains_key("www-authenticate"));
        }
    }
    assert_eq!(client.send("GET", None).await.status, 200);
}

#[tokio::test]
async fn an_update_replaces_all_and_what_it_leaves_out_is_gone() {
    let client = Registered::new().await;
    let body = json!({
        "client_id": client.text("client_id"), "client_secret": client.text("client_secret"),
        "redirect_uris": ["https://app.example/new"], "scope": "openid", "contacts": null,
    });
    let answer = client.send("PUT", Some(&body)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["redirect_uris"], json!(["https://app.example/new"]));
    assert_eq!(answer.body["grant_types"], json!(["authorization_code"]));
    assert_eq!(
        (answer.body.get("contacts"), &answer.body["scope"]),
        (None, &json!("openid"))
    );
    assert!(
        answer.body.get("client_secret").is_none(),
        "it stays, and is not shown again"
    );
    assert_eq!(
        answer.body["registration_access_token"],
        client.answer["registration_access_token"]
    );
    let mut shown = client.send("GET", None).await.body;
    assert_eq!(shown, answer.body);
    // The same again appends nothing.
    shown
        .as_object_mut()
        .unwrap()
        .retain(|name, _| !SERVERS.contains(&name.as_str()));
    let head = *client.server.app.ledger.head().borrow();
    assert_eq!(client.send("PUT", Some(&shown)).await.status, 200);
    assert_eq!(*client.server.app.ledger.head().borrow(), head);
}

#[tokio::test]
async fn an_update_that_is_not_acceptable_changes_nothing() {
    let client = Registered::new().await;
    let others = "00000000-0000-4000-8000-000000000000";
    let mut refused = vec![
        client.update(json!({"client_id": others})),
        client.update(json!({"client_id": null})),
        client.update(json!({"client_secret": "guessed"})),
        client.update(json!({"grant_types": ["password"]})),
        client.update(json!({"scope": "openid detail-user"})),
        client.update(json!({"redirect_uris": ["http://app.example/cb"]})),
    ];
    refused.extend(SERVERS.map(|name| client.update(json!({ name: client.answer[name] }))));
    for body in refused {
        let answer = client.send("PUT", Some(&body)).await;
        assert_eq!(answer.status, 400, "{body}");
    }
    let mut expected = client.answer.clone();
    expected.as_object_mut().unwrap().remove("client_secret");
    assert_eq!(client.send("GET", None).await.body, expected);
}

#[tokio::test]
async fn a_client_that_becomes_confidential_is_given_a_secret_and_stays_confidential() {
    let client = Registered::with(json!({
        "redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": "none",
    }))
    .await;
    assert!(client.answer.get("client_secret").is_none());
    assert!(client.answer.get("client_secret_expires_at").is_none());
    let confidential = client.update(json!({"token_endpoint_auth_method": "client_secret_basic"}));
    let answer = client.send("PUT", Some(&confidential)).await;
    let secret = answer.body["client_secret"].as_str().unwrap().to_owned();
    let revoke = |secret: String| {
        let request = browser().post(client.server.url("/oauth/revoke"));
        let request = request.basic_auth(client.text("client_id"), Some(secret));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        async move { request.body("token=x").send().await.unwrap().status().as_u16() }
    };
    assert_eq!(revoke(secret.clone()).await, 200);
    // Its refresh tokens would be good for whoever finds them.
    let public = client.update(json!({"token_endpoint_auth_method": "none"}));
    let answer = client.send("PUT", Some(&public)).await;
    assert_eq!(
        (answer.status, &answer.body["error"]),
        (400, &json!("invalid_client_metadata"))
    );
    assert_eq!(revoke(secret.clone()).await, 200);
    let by_hand = client
        .server
        .update_client(client.key(), json!({"token_endpoint_auth_method": "none"}))
        .await;
    assert!(by_hand.unwrap_err().to_string().contains("cannot become public"));
    // With keys it needs no secret any more, and what is over stays over.
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let keyed =
        client.update(json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [jwk]}}));
    assert_eq!(client.send("PUT", Some(&keyed)).await.status, 200);
    assert_eq!(revoke(secret.clone()).await, 401);
    let answer = client.send("PUT", Some(&confidential)).await;
    assert!(answer.body["client_secret"].is_string());
    assert_eq!(revoke(secret).await, 401);
}

#[tokio::test]
async fn a_deleted_client_and_its_tokens_are_gone_at_once() {
    let server = registering(RegistrationMode::InitialAccessToken, |_| {}).await;
    let permits = grantlog::domain::initial_access_token::RegistrationPermit {
        scope: Some(grantlog::domain::value::ScopeSet::parse("server-operations").unwrap()),
        grant_types: Some(vec![grantlog::domain::client::GrantType::ClientCredentials]),
        authorization_details_types: None,
        software_statement: false,
        pkce_optional: false,
    };
    let (_, initial) = super::initial(&server, 1, permits).await;
    let machine = json!({"grant_types": ["client_credentials"]});
    let answer = register(&server, Some(&initial), &machine).await.body;
    let client = Registered { server, answer };
    let post = |path: &str, body: String| {
        browser()
            .post(client.server.url(path))
            .basic_auth(client.text("client_id"), Some(client.text("client_secret")))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
    };
    let form = "grant_type=client_credentials&scope=server-operations".to_owned();
    let tokens: Value = post("/oauth/token", form.clone())
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let access = tokens["access_token"].as_str().unwrap();
    let resource_server = client
        .server
        .client(json!({
            "client_name": "RS", "grant_types": ["client_credentials"], "introspects": [client.server.base],
        }))
        .await;
    let introspect = || async {
        let request = browser().post(client.server.url("/oauth/introspect"));
        let request = request.basic_auth(&resource_server.client_id, resource_server.client_secret.as_ref());
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let response = request.body(format!("token={access}")).send().await.unwrap();
        response.json::<Value>().await.unwrap()["active"].clone()
    };
    assert_eq!(introspect().await, true);
    assert_eq!(client.send("DELETE", None).await.status, 204);
    assert_eq!(introspect().await, false);
    assert_eq!(post("/oauth/token", form).await.unwrap().status(), 401);
    for method in ["GET", "PUT", "DELETE"] {
        assert_eq!(
            client.send(method, Some(&json!({}))).await.status,
            401,
            "{method}"
        );
    }
}

/// Nobody vouches for where it sends people: they agreed to return to the host that their page had named.
#[tokio::test]
async fn users_of_a_client_that_sends_them_elsewhere_are_asked_again() {
    let client = Registered::new().await;
    let (server, browser) = (&client.server, browser());
    server.user(flow::USERNAME, flow::PASSWORD).await;
    let created = CreatedClient {
        key: client.key(),
        client_id: client.text("client_id").to_owned(),
        client_secret: None,
    };
    let query = flow::with(&flow::query(&created), &[("scope", "openid")]);
    flow::authorize(server, &browser, &query).await;
    let answer = flow::request(server, &browser, &query).await;
    assert!(answer.parameters().contains_key("code"), "it is remembered");
    let (near, far) = ("https://app.example/other", "https://elsewhere.example/cb");
    let moved = client.update(json!({"redirect_uris": [near, far]}));
    assert_eq!(client.send("PUT", Some(&moved)).await.status, 200);
    let to = |uri: &str| flow::with(&query, &[("redirect_uri", uri)]);
    let answer = flow::request(server, &browser, &to(near)).await;
    assert!(answer.parameters().contains_key("code"), "to the same host");
    let silent = flow::with(&to(far), &[("prompt", "none")]);
    let answer = flow::request(server, &browser, &silent).await;
    assert_eq!(answer.parameters()["error"], "consent_required");
    let page = flow::request(server, &browser, &to(far)).await;
    assert!(
        page.is_consent_page() && page.body.contains("elsewhere.example"),
        "{}",
        page.body
    );
    flow::decide(server, &browser, &to(far), (&page, "approve")).await;
    let answer = flow::request(server, &browser, &to(far)).await;
    assert!(answer.parameters().contains_key("code"), "asked once");
}

#[tokio::test]
async fn a_suspended_client_cannot_manage_itself() {
    let client = Registered::new().await;
    let operations = &client.server.app.operations;
    let suspend = ClientCommand::Suspend {
        reason: "looked into".to_owned(),
    };
    operations
        .command_client(&TestServer::context(), client.key(), &suspend)
        .await
        .unwrap();
    for method in ["GET", "PUT", "DELETE"] {
        let answer = client.send(method, Some(&client.update(json!({})))).await;
        assert_eq!(
            (answer.status, &answer.body["error"]),
            (403, &json!("access_denied")),
            "{method}"
        );
    }
}

#[tokio::test]
async fn an_administrator_gives_a_client_a_new_registration_access_token() {
    let client = Registered::new().await;
    let operations = &client.server.app.operations;
    let context = TestServer::context();
    let issue = operations.issue_registration_token(&context, client.key());
    let token = issue.await.unwrap();
    assert_eq!(
        client.send("GET", None).await.status,
        401,
        "the one before is over"
    );
    let url = client.text("registration_client_uri");
    assert_eq!(send(("GET", url), Some(&token), None).await.status, 200);
    // What an administrator gave stays through updates, and the client may keep it.
    let patch = json!({"access_token_lifetime": 77, "scope": "openid profile server-operations"});
    client.server.update_client(client.key(), patch).await.unwrap();
    let body = client.update(json!({"scope": "openid server-operations"}));
    let answer = send(("PUT", url), Some(&token), Some(&body)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["access_token_lifetime"], 77);
    let loaded = operations.load::<Client>(client.key().0).await.unwrap();
    let scope = &loaded.registration.as_ref().unwrap().metadata.scope;
    assert_eq!(scope.to_string(), "openid server-operations");
}
